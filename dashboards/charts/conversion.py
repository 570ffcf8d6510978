"""Registrations and how they become paying accounts."""

from __future__ import annotations

from typing import Any

import polars as pl

from dashboards.charts.parts import (
    HEIGHT,
    LABEL_PIXELS_MAX,
    LEGEND,
    PEOPLE,
    coloured,
    count_axis,
    kept_apart,
    most_of,
    stacked,
    time_axis,
    time_tooltip,
    unled,
    unseen,
    with_spans,
)
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows


def registrations(frame: pl.DataFrame, grain: str, palette: Palette) -> Chart:
    """Stacked columns. frame: bucket (date), source, registered."""
    frame = kept_apart(frame, "source")
    order = (
        frame.group_by("source")
        .agg(pl.col("registered").sum())
        .sort(["registered", "source"], descending=[True, False])["source"]
        .to_list()
    )
    figure = (
        Layer(with_spans(stacked(frame, "bucket", "source", "registered", order), "bucket", grain))
        .mark("rect", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=time_axis("bucket", grain, frame["bucket"], drawn="bucket_from"),
            x2="bucket_to:T",
            y=shows("low:Q", title=None, axis=count_axis()),
            y2="high:Q",
            color=coloured("source", order, palette),
            tooltip=[
                time_tooltip("bucket", grain),
                shows("source:N", title="Source"),
                shows("registered:Q", title="Registered", format=",.0f"),
            ],
        )
    )
    return chart(figure, height=HEIGHT, leads_by=PEOPLE)


def funnel(frame: pl.DataFrame, palette: Palette) -> Chart:
    """Horizontal bars, one per step, with count and rates written out. frame: funnel_steps()."""
    shown = frame.with_columns(
        pl.format(
            "{}{}",
            pl.col("accounts").map_elements(lambda n: f"{n:,}", return_dtype=pl.String),
            pl.col("overall_rate")
            .map_elements(
                lambda rate: "" if rate == 1 else f"  ·  {rate * 100:.1f} %",
                return_dtype=pl.String,
                skip_nulls=True,
            )
            .fill_null(""),
        ).alias("written")
    )
    most = most_of(frame["accounts"])
    base = Layer(shown).encode(
        y=_names_of_bars("label:N"),
        tooltip=[
            shows("label:N", title="Step"),
            shows("accounts:Q", title="Accounts", format=",.0f"),
            shows("step_rate:Q", title="Of the step before", format=".1%"),
            shows("overall_rate:Q", title="Of all registered", format=".1%"),
        ],
    )
    bars = base.mark("bar", cornerRadiusEnd=4, size=34, color=palette.blue).encode(
        x=shows("accounts:Q", title=None, axis=None, scale={"domain": [0, most * 1.4]})
    )
    text = base.mark("text", align="left", dx=8, fontSize=14, color=palette.text).encode(
        x="accounts:Q", text="written:N"
    )
    return chart(bars, text, height=220, leads_by=PEOPLE)


def cohort_conversion(frame: pl.DataFrame, grain: str, days: int, palette: Palette) -> Chart:
    """A line of filled points for matured cohorts; dashed, with hollow points, while maturing.

    frame: cohorts(). Cohorts in which nobody has matured are left out.
    """
    known = frame.filter(pl.col("rate").is_not_null()).with_columns(
        pl.when("is_matured")
        .then(pl.lit("all had the time"))
        .otherwise(pl.lit("still maturing"))
        .alias("state")
    )
    matured = known.filter("is_matured")
    joined = known.filter(~pl.col("is_matured"))
    tail = pl.concat([matured.tail(1), joined])
    x = time_axis("cohort", grain, known["cohort"])
    y = shows("rate:Q", title=None, axis={"format": ".0%", "tickCount": 5})
    tooltip = [
        time_tooltip("cohort", grain),
        shows("rate:Q", title=f"Paid within {days} days", format=".1%"),
        shows("paid:Q", title="Paid in time", format=",.0f"),
        shows("matured:Q", title=f"Had {days} days", format=",.0f"),
        shows("registered:Q", title="Registered", format=",.0f"),
        shows("state:N", title="Cohort"),
    ]
    solid = Layer(unled(matured)).mark("line", color=palette.blue, strokeWidth=2).encode(x=x, y=y)
    dashed = (
        Layer(unled(tail))
        .mark("line", color=palette.blue, strokeWidth=2, strokeDash=[4, 4], opacity=0.7)
        .encode(x=x, y=y)
    )
    points = (
        Layer(known)
        .mark("point", size=64, strokeWidth=2, stroke=palette.blue, opacity=1)
        .encode(
            x=x,
            y=y,
            fill=shows(
                "state:N",
                scale={
                    "domain": ["all had the time", "still maturing"],
                    "range": [palette.blue, palette.surface],
                },
                legend=dict(**LEGEND, symbolStrokeColor=palette.blue, symbolStrokeWidth=2),
            ),
            tooltip=tooltip,
        )
    )
    return chart(solid, dashed, points, height=HEIGHT, leads_by=PEOPLE)


def source_conversion(frame: pl.DataFrame, days: int, palette: Palette) -> Chart:
    """Horizontal bars of the rate with numerator and denominator written out.

    frame: funnel_by_source(); at most the twelve largest sources.
    """
    shown = (
        kept_apart(frame.head(12), "source")
        .with_columns(
            (
                pl.col(f"paid_{days}")
                / pl.when(pl.col(f"matured_{days}") > 0).then(pl.col(f"matured_{days}"))
            ).alias("rate"),
        )
        .with_columns(
            pl.when(pl.col("rate").is_null())
            .then(pl.lit("still maturing"))
            .otherwise(
                pl.format(
                    "{} %  ·  {} of {}",
                    (pl.col("rate") * 100).round(1),
                    f"paid_{days}",
                    f"matured_{days}",
                )
            )
            .alias("written"),
            pl.col("rate").fill_null(0.0),
        )
    )
    most = most_of(shown["rate"])
    base = Layer(shown).encode(
        y=_names_of_bars("source:N"),
        tooltip=[
            shows("source:N", title="Source"),
            shows("rate:Q", title=f"Paid within {days} days", format=".1%"),
            shows(f"paid_{days}:Q", title="Paid in time", format=",.0f"),
            shows(f"matured_{days}:Q", title=f"Had {days} days", format=",.0f"),
            shows("registered:Q", title="Registered", format=",.0f"),
        ],
    )
    bars = base.mark("bar", cornerRadiusEnd=4, color=palette.green).encode(
        x=shows("rate:Q", title=None, axis=None, scale={"domain": [0, most * 1.9]})
    )
    text = base.mark("text", align="left", dx=8, color=palette.text, fontSize=13).encode(
        x="rate:Q", text="written:N"
    )
    return chart(bars, text, height=max(120, 38 * shown.height + 20), leads_by=PEOPLE)


def paid_over_time(frame: pl.DataFrame, palette: Palette) -> Chart:
    """How the share that pays grows with the days since registration. frame: paid_by_day()."""
    curve = (
        Layer(unled(frame))
        .mark(
            "area",
            line={"color": palette.green, "strokeWidth": 2},
            color=palette.green,
            fillOpacity=0.12,
        )
        .encode(
            x=shows(
                "day:Q",
                title="days since registration",
                axis={"values": [0, 14, 30, 60, 90], "grid": False},
                scale={"domain": [0, 90]},
            ),
            y=shows("share:Q", title=None, axis={"format": ".0%", "tickCount": 5}),
        )
    )
    around = frame.with_columns(
        (pl.col("day") - 0.5).clip(0).alias("day_from"), (pl.col("day") + 0.5).alias("day_to")
    )
    days = unseen(around).encode(
        x="day_from:Q",
        x2="day_to:Q",
        tooltip=[
            shows("day:Q", title="Days since registration"),
            shows("paid:Q", title="Paid by then", format=",.0f"),
            shows("share:Q", title="Of all registered", format=".1%"),
        ],
    )
    marks = pl.DataFrame({"day": [14, 30], "name": ["trial ends", "30 days"]})
    rules = Layer(marks).mark("rule", strokeDash=[3, 4], color=palette.muted).encode(x="day:Q")
    names = (
        Layer(marks)
        .mark("text", align="left", dx=4, baseline="top", color=palette.muted, fontSize=12)
        .encode(x="day:Q", y={"value": 0}, text="name:N")
    )
    return chart(curve, rules, names, days, height=HEIGHT, leads_by=PEOPLE)


def _names_of_bars(field: str) -> dict[str, Any]:
    """In the frame's order, with nothing but the names."""
    axis = {"labelLimit": LABEL_PIXELS_MAX, "ticks": False, "domain": False}
    return shows(field, sort=None, title=None, axis=axis)
