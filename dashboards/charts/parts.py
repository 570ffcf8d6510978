"""What charts are made of: axes, colours, tooltips, and where marks begin and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal

import polars as pl

from dashboards import definitions
from dashboards.theme import Palette
from dashboards.vega import Layer, shows

HEIGHT: Final = 300
BUCKETS: Final = tuple(definitions.BUCKET_LABELS.values())
MOVEMENTS: Final = tuple(definitions.MOVEMENT_LABELS.values())
CAUSES: Final = ("Wallet short", "Not renewing", "Unknown")
PEOPLE: Final = "people"
"""Column of a frame, where a page adds it: whom to show when that mark is chosen (people.py)."""
LABEL_PIXELS_MAX: Final = 150
LEGEND: Final[dict[str, Any]] = {"orient": "top", "title": None, "labelLimit": 220}


def unled(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame of a line, which is no mark for anybody of it alone."""
    return frame.drop(PEOPLE, strict=False)


def inked(deep: str, palette: Palette) -> dict[str, Any]:
    """Text in the colour that can be read upon a cell, whose colour is deep where that holds."""
    return {"condition": {"test": deep, "value": palette.surface}, "value": palette.text}


def most_of(values: pl.Series) -> float:
    """The largest value, 1 where there is none above zero: a scale needs some length."""
    return max((float(value) for value in values if value), default=1.0)


def coloured(
    column: str,
    values: Sequence[str],
    palette: Palette,
    colours: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    chosen = colours or dict(
        zip(values, [palette.series[i % 8] for i in range(len(values))], strict=True)
    )
    return shows(
        f"{column}:N",
        sort=list(values),
        scale={"domain": list(values), "range": [chosen[value] for value in values]},
        legend=dict(**LEGEND, columns=legend_columns(values)),
    )


def kept_apart(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The frame with names that Vega can keep apart.

    Vega looks values up in plain objects, where `__proto__` is no key of its own: one source of
    that name would leave the reader without a chart.
    """
    return frame.with_columns(
        pl.col(column).replace({"__proto__": "__proto__\u200b"}) for column in columns
    )


def legend_columns(values: Sequence[str]) -> int | dict[str, str]:
    """As many as there is room for, which Vega finds out when it draws; 0 is one row.

    A row of the legend is taken from the height of the plot.
    """
    if len(values) < 3:
        return 0
    letters = max(len(value) for value in values)
    on_phone = 3 if letters <= 14 else 2
    pixels = min(letters * 8, LEGEND["labelLimit"]) + 44
    return {"expr": f"max({on_phone}, floor(containerSize()[0] / {pixels}))"}


def stacked(
    frame: pl.DataFrame, along: str, of: str, value: str, order: Sequence[str]
) -> pl.DataFrame:
    """The frame with `low` and `high`: where each piece of a column begins and ends.

    Pieces lie in the given order, gains up and losses down from zero; Vega-Lite itself does not
    stack columns that say where they begin and end in time.
    """
    rank = pl.col(of).replace_strict({name: i for i, name in enumerate(order)}, default=len(order))
    side = [along, pl.col(value) < 0]
    return (
        frame.sort(along, rank)
        .with_columns(pl.col(value).cum_sum().over(side).alias("high"))
        .with_columns((pl.col("high") - pl.col(value)).alias("low"))
    )


def with_spans(frame: pl.DataFrame, column: str, grain: str) -> pl.DataFrame:
    """The frame with `<column>_from`, `<column>_to` and `<column>_middle` for drawing columns.

    A column leaves a gap to the next of an eighth of its time.
    """
    width = {"day": "1d", "week": "1w", "month": "1mo"}[grain]
    begins = pl.col(column).cast(pl.Datetime("ms", "UTC"))
    length = begins.dt.offset_by(width) - begins
    return frame.with_columns(
        (begins + length / 16).alias(f"{column}_from"),
        (begins + length * 15 / 16).alias(f"{column}_to"),
        (begins + length / 2).alias(f"{column}_middle"),
    )


def time_axis(
    column: str, grain: str, begins: pl.Series | None = None, drawn: str | None = None
) -> dict[str, Any]:
    """A UTC time axis; the browser's zone would move a midnight to another day.

    begins: days that get a tick, for buckets that do not begin where Vega would put one; a month
    drawn as a column gets it in its middle. drawn: the column that says where marks begin.
    """
    ticks: dict[str, Any] = {"tickCount": "month" if grain == "month" else 8}
    if begins is not None:
        inset = 15 if drawn and grain == "month" else 0
        ticks = {"values": [tick(day, inset) for day in begins.unique().sort()]}
    return shows(
        f"{drawn or column}:T",
        title=None,
        scale={"type": "utc", "padding": 8},
        axis=dict(
            format="%b %y" if grain == "month" else "%e %b",
            grid=False,
            ticks=False,
            labelAngle=0,
            labelOverlap=True,
            labelFlush=False,
            **ticks,
        ),
    )


def tick(day: date, inset_days: int) -> dict[str, Any]:
    moved = day + timedelta(days=inset_days)
    return {"year": moved.year, "month": moved.month, "date": moved.day, "utc": True}


def time_tooltip(column: str, grain: str) -> dict[str, Any]:
    units: dict[str, tuple[str, Literal["utcyearmonthdate", "utcyearmonth"], str]] = {
        "day": ("Day (UTC)", "utcyearmonthdate", "%e %b %Y"),
        "week": ("Week from (UTC)", "utcyearmonthdate", "%e %b %Y"),
        "month": ("Month (UTC)", "utcyearmonth", "%b %Y"),
    }
    title, unit, written = units[grain]
    return shows(f"{column}:T", timeUnit=unit, title=title, format=written)


def count_axis() -> dict[str, Any]:
    return {"format": "~s", "tickMinStep": 1, "tickCount": 5}


def unseen(frame: pl.DataFrame) -> Layer:
    """Marks that can be pointed at and are not drawn: an area is one mark for all its days."""
    return Layer(frame).mark("rect", opacity=0)


def first_people(frame: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col(PEOPLE).first()] if PEOPLE in frame.columns else []


def coloured_causes(frame: pl.DataFrame, palette: Palette) -> dict[str, Any]:
    """The colour of a cause stays the same whichever of them a frame has."""
    colours = dict(zip(CAUSES, (palette.blue, palette.orange, palette.grey), strict=True))
    present = set(frame["why"].to_list())
    return coloured("why", [name for name in CAUSES if name in present], palette, colours)


def cause_labelled() -> pl.Expr:
    return pl.col("cause").replace(definitions.CAUSE_LABELS).fill_null("Unknown")
