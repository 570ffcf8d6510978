"""The level of recurring revenue and what moved it."""

from __future__ import annotations

from datetime import date

import polars as pl

from dashboards import definitions
from dashboards.charts.parts import (
    HEIGHT,
    MOVEMENTS,
    PEOPLE,
    coloured,
    stacked,
    time_axis,
    time_tooltip,
    unled,
    unseen,
    with_spans,
)
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows


def level(frame: pl.DataFrame, title: str, number_format: str, palette: Palette) -> Chart:
    """An area over days. frame: day (date), value; the scale begins at zero."""
    tooltip = [
        time_tooltip("day", "day"),
        shows("value:Q", title=title, format=number_format),
    ]
    figure = (
        Layer(unled(frame))
        .mark(
            "area",
            line={"color": palette.blue, "strokeWidth": 2},
            color=palette.blue,
            fillOpacity=0.12,
            interpolate="step-after",
        )
        .encode(
            x=time_axis("day", "month" if frame.height > 200 else "day"),
            y=shows("value:Q", title=None, axis={"format": "~s", "tickCount": 5}),
        )
    )
    whole_days = frame.with_columns((pl.col("day") + pl.duration(days=1)).alias("day_to"))
    days = unseen(whole_days).encode(x="day:T", x2="day_to:T", tooltip=tooltip)
    return chart(figure, days, height=HEIGHT - 60, leads_by=PEOPLE)


def movements(frame: pl.DataFrame, currency: str, *, by_count: bool, palette: Palette) -> Chart:
    """Gains above and losses below zero, by month. frame: movements() of one currency."""
    value = "changes" if by_count else "amount"
    losses = frame["movement"].is_in(["churn", "contraction"])
    shown = frame.with_columns(
        pl.col("movement").replace(definitions.MOVEMENT_LABELS).alias("kind"),
        pl.when(losses).then(-pl.col(value).abs()).otherwise(pl.col(value).abs()).alias("height"),
    )
    shown = with_spans(stacked(shown, "month", "kind", "height", MOVEMENTS), "month", "month")
    moved: list[date] = frame["month"].sort().to_list()
    months = pl.date_range(moved[0], moved[-1], "1mo", eager=True)
    net = (
        with_spans(pl.DataFrame({"month": months}), "month", "month")
        .join(shown.group_by("month").agg(pl.col("height").sum().alias("net")), "month", "left")
        .with_columns(pl.col("net").fill_null(0))
    )
    colours = {
        "New": palette.blue,
        "Reactivation": palette.sky,
        "Expansion": palette.green,
        "Contraction": palette.yellow,
        "Churn": palette.red,
    }
    unit = "changes" if by_count else f"{currency} a month"
    bars = (
        Layer(shown)
        .mark("rect", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=time_axis("month", "month", frame["month"], drawn="month_from"),
            x2="month_to:T",
            y=shows("low:Q", title=None, axis={"format": "~s", "tickCount": 6}),
            y2="high:Q",
            color=coloured("kind", list(MOVEMENTS), palette, colours),
            tooltip=[
                time_tooltip("month", "month"),
                shows("kind:N", title="Movement"),
                shows("amount:Q", title=f"{currency} a month", format="+,.2f"),
                shows("changes:Q", title="Changes", format=",.0f"),
            ],
        )
    )
    line = (
        Layer(net.sort("month"))
        .mark(
            "line",
            color=palette.text,
            strokeWidth=1.5,
            point={"fill": palette.text, "size": 28, "shape": "diamond"},
        )
        .encode(
            x="month_middle:T",
            y="net:Q",
            tooltip=[
                time_tooltip("month", "month"),
                shows("net:Q", title=f"Net, {unit}", format="+,.2f"),
            ],
        )
    )
    return chart(bars, line, height=HEIGHT + 20, leads_by=PEOPLE)
