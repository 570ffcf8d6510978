"""Charts are valid Vega-Lite, hold the frame's numbers, and read the same in UTC everywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import altair as alt
import duckdb
import polars as pl
import pytest
from drawn_charts import told
from warehouse_builder import AS_OF

from dashboards import charts, figures, queries, theme
from dashboards.filters import Filters, chosen_filters
from dashboards.theme import DARK, LIGHT, Palette
from dashboards.vega import Chart, Layer, chart

Draw = Callable[[duckdb.DuckDBPyConnection, Filters, Palette], Chart]


def _only(frame: pl.DataFrame, currency: str) -> pl.DataFrame:
    return frame.filter(pl.col("currency") == currency)


def _kept(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    return figures.retention(queries.retention(connection), "accounts", None)


DRAWN: dict[str, Draw] = {
    "registrations": lambda c, f, p: charts.registrations(
        queries.registrations_by_bucket(c, f), f.grain, p
    ),
    "level": lambda c, f, p: charts.level(
        figures.course_frame(figures.balance(queries.paying_deltas(c, f), f), f), "n", ",.0f", p
    ),
    "funnel": lambda c, f, p: charts.funnel(figures.funnel_steps(queries.funnel_by_day(c, f)), p),
    "cohorts": lambda c, f, p: charts.cohort_conversion(
        figures.cohorts(queries.funnel_by_day(c, f), f, 30), f.grain, 30, p
    ),
    "sources": lambda c, f, p: charts.source_conversion(queries.funnel_by_source(c, f), 30, p),
    "curve": lambda c, f, p: charts.paid_over_time(
        figures.paid_by_day(queries.days_to_paid(c, f), 100), p
    ),
    "movements": lambda c, f, p: charts.movements(
        _only(queries.movements(c, f), "USD"), "USD", by_count=False, palette=p
    ),
    "movements-count": lambda c, f, p: charts.movements(
        _only(queries.movements(c, f), "USD"), "USD", by_count=True, palette=p
    ),
    "flows": lambda c, f, p: charts.plan_flows(queries.plan_flows(c, f), p),
    "cancels": lambda c, f, p: charts.cancels(queries.cancels_by_cause(c, f), p),
    "ageing": lambda c, f, p: charts.ageing(queries.overdue_ageing(c, f), "episodes", "n", p),
    "ageing-amount": lambda c, f, p: charts.ageing(
        _only(queries.overdue_ageing(c, f), "USD"), "amount", "USD", p
    ),
    "recovery": lambda c, f, p: charts.recovery(queries.recovery(c, f, AS_OF), p),
    "retention": lambda c, _, p: charts.retention(_kept(c), "accounts", p),
    "retention-curve": lambda c, _, p: charts.retention_curve(
        figures.retention_curve(_kept(c)), "accounts", p
    ),
    "deliveries": lambda _c, _f, p: charts.deliveries(
        pl.DataFrame({"bucket": [AS_OF], "verdict": ["rejected"], "deliveries": [3]}),
        timedelta(hours=1),
        p,
        until=AS_OF,
    ),
    "answer": lambda _c, _f, p: charts.answer(
        pl.DataFrame({"day": [AS_OF.date()], "n": [1]}), "day", "n", p
    ),
    "answer-bars": lambda _c, _f, p: charts.answer(
        pl.DataFrame({"plan": ["a", None], "n": [1, 2]}), "plan", "n", p
    ),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_a_chart_is_valid_for_every_period(
    full: duckdb.DuckDBPyConnection, name: str, palette: Palette
) -> None:
    for period in ("7d", "90d", "all"):
        filters = chosen_filters(period, (), (), first_day=date(2025, 9, 23), today=AS_OF.date())
        spec = told(DRAWN[name](full, filters, palette))
        alt.LayerChart.from_dict(spec, validate=True)
        assert spec["height"] >= 120


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_never_rests_on_the_zone_of_the_browser(
    full: duckdb.DuckDBPyConnection, last_90_days: Filters, name: str
) -> None:
    for encoding in _encodings(told(DRAWN[name](full, last_90_days, LIGHT))):
        x = encoding.get("x", {})
        if x.get("type") == "temporal" and "scale" in x:
            assert x["scale"]["type"] == "utc"
        for tooltip in encoding.get("tooltip", ()):
            if tooltip.get("type") == "temporal":
                assert tooltip["timeUnit"].startswith("utc")


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_makes_no_link_and_loads_no_picture(
    full: duckdb.DuckDBPyConnection, last_90_days: Filters, name: str
) -> None:
    spec = told(DRAWN[name](full, last_90_days, LIGHT))
    assert not {"href", "url"} & set(itertools.chain(*map(dict.keys, _encodings(spec))))
    assert "image" not in _marks(spec)


def test_pieces_of_a_column_lie_on_each_other_gains_up_and_losses_down() -> None:
    """New 5, expansion 2 -> 0..5, 5..7; churn -3, contraction -1 -> contraction 0..-1, -1..-4."""
    frame = pl.DataFrame(
        {
            "month": [date(2026, 1, 1)] * 4,
            "currency": ["USD"] * 4,
            "movement": ["churn", "expansion", "new", "contraction"],
            "amount": [-3.0, 2.0, 5.0, -1.0],
            "changes": [1, 1, 1, 1],
        }
    )
    spec = told(charts.movements(frame, "USD", by_count=False, palette=LIGHT))
    rows = {row["kind"]: (row["low"], row["high"]) for row in _rows(spec) if "kind" in row}
    assert rows == {
        "New": (0, 5),
        "Expansion": (5, 7),
        "Contraction": (0, -1),
        "Churn": (-1, -4),
    }
    [net] = [row["net"] for row in _rows(spec) if "net" in row]
    assert net == 3


def test_a_month_in_which_nothing_moved_is_zero_on_the_line_of_net_movement() -> None:
    frame = pl.DataFrame(
        {
            "month": [date(2025, 12, 1), date(2026, 2, 1)],
            "currency": ["USD"] * 2,
            "movement": ["new"] * 2,
            "amount": [4.0, 6.0],
            "changes": [1, 1],
        }
    )
    spec = told(charts.movements(frame, "USD", by_count=False, palette=LIGHT))
    assert [row["net"] for row in _rows(spec) if "net" in row] == [4, 0, 6]


def test_counting_changes_draws_losses_below_zero_as_well() -> None:
    frame = pl.DataFrame(
        {
            "month": [date(2026, 1, 1)],
            "currency": ["USD"],
            "movement": ["churn"],
            "amount": [-30.0],
            "changes": [4],
        }
    )
    spec = told(charts.movements(frame, "USD", by_count=True, palette=LIGHT))
    assert [row["high"] for row in _rows(spec) if "kind" in row] == [-4]


def test_maturing_cohorts_are_hollow_and_unripe_ones_left_out() -> None:
    cohorts = pl.DataFrame(
        {
            "cohort": [date(2026, month, 1) for month in (1, 2, 3)],
            "registered": [10, 10, 10],
            "matured": [10, 4, 0],
            "paid": [3, 1, 0],
            "rate": [0.3, 0.25, None],
            "is_matured": [True, False, False],
        }
    )
    spec = told(charts.cohort_conversion(cohorts, "month", 30, LIGHT))
    points = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    rows = spec["datasets"][points["data"]["name"]]
    assert [row["state"] for row in rows] == ["all had the time", "still maturing"]
    fill = dict(
        zip(
            points["encoding"]["fill"]["scale"]["domain"],
            points["encoding"]["fill"]["scale"]["range"],
            strict=True,
        )
    )
    assert fill["still maturing"] == LIGHT.surface


def test_every_bucket_has_its_place_even_when_nothing_is_in_it() -> None:
    frame = pl.DataFrame(
        {"ageing_bucket": ["90+"], "cause": [None], "episodes": [2], "amount": [1.0]},
        schema_overrides={"cause": pl.String},
    )
    spec = told(charts.ageing(frame, "episodes", "n", LIGHT))
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == list(charts.BUCKETS)
    assert {row["why"] for row in _rows(spec) if "why" in row} == {"Unknown"}


def test_data_is_named_by_what_is_in_it_so_that_a_browser_notices_a_change() -> None:
    def named(*values: int) -> list[str]:
        frames = (Layer(pl.DataFrame({"value": [value]})).mark("bar") for value in values)
        return [layer["data"]["name"] for layer in told(chart(*frames, height=100))["layer"]]

    assert named(1, 1, 2) == named(1, 1, 2)
    one, again, other = named(1, 1, 2)
    assert one == again != other


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_enough_contrast_on_its_surface(palette: Palette) -> None:
    """WCAG 2.1: 4.5 for text, 3 for graphical objects."""
    assert _contrast(palette.text, palette.surface) >= 7
    assert _contrast(palette.muted, palette.surface) >= 4.5
    for colour in (palette.blue, palette.green, palette.red, palette.pink, palette.grey):
        assert _contrast(colour, palette.surface) >= 3


def test_colours_stay_apart_for_readers_who_see_no_red_or_no_green() -> None:
    """Vienot's matrices for protanopia and deuteranopia, on linear sRGB."""
    matrices = (
        ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
        ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
    )
    for palette in (LIGHT, DARK):
        for matrix in matrices:
            seen = [
                tuple(
                    sum(f * v for f, v in zip(row, _linear(colour), strict=True)) for row in matrix
                )
                for colour in (palette.blue, palette.orange, palette.green, palette.red)
            ]
            for one, other in itertools.combinations(seen, 2):
                assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.04


def test_an_unknown_theme_is_drawn_light() -> None:
    assert theme.palette(None) is LIGHT
    assert theme.palette("dark") is DARK


def _layers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = spec["layer"]
    return layers


def _encodings(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [layer["encoding"] for layer in _layers(spec)]


def _marks(spec: dict[str, Any]) -> list[str]:
    return [layer["mark"]["type"] for layer in _layers(spec)]


def _rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in spec["datasets"].values() for row in rows]


def _linear(colour: str) -> tuple[float, ...]:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return tuple(p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)


def _contrast(one: str, other: str) -> float:
    light = sorted(
        sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), _linear(colour), strict=True)) + 0.05
        for colour in (one, other)
    )
    return light[1] / light[0]


def test_deliveries_of_one_hour_do_not_fill_the_axis_of_a_day() -> None:
    """Of 10 o'clock alone, at 11:30: the axis goes from 12 o'clock the day before to 12."""
    hour, at = timedelta(hours=1), AS_OF.replace(hour=10)
    frame = pl.DataFrame({"bucket": [at], "verdict": ["accepted"], "deliveries": [9]})
    drawn = told(charts.deliveries(frame, hour, LIGHT, until=at + 1.5 * hour))
    first, last = drawn["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert last == (at + 2 * hour).timestamp() * 1000
    assert last - first == 24 * 3_600_000
