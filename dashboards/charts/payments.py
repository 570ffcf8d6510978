"""Overdue payments by age and by what became of them."""

from __future__ import annotations

import polars as pl

from dashboards import definitions
from dashboards.charts.parts import (
    BUCKETS,
    CAUSES,
    HEIGHT,
    LABEL_PIXELS_MAX,
    LEGEND,
    PEOPLE,
    cause_labelled,
    coloured_causes,
    first_people,
    legend_columns,
    most_of,
    stacked,
    time_axis,
    time_tooltip,
    unled,
)
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows


def ageing(frame: pl.DataFrame, value: str, title: str, palette: Palette) -> Chart:
    """Horizontal bars by bucket, stacked by cause, the total written out.

    frame: overdue_ageing(), of one currency where value is `amount`.
    """
    shown = (
        frame.with_columns(
            cause_labelled().alias("why"),
            pl.col("ageing_bucket").replace(definitions.BUCKET_LABELS).alias("bucket"),
        )
        .group_by("bucket", "why")
        .agg(pl.col("episodes").sum(), pl.col("amount").sum(), *first_people(frame))
    )
    shown = stacked(shown, "bucket", "why", value, CAUSES)
    totals = shown.group_by("bucket").agg(pl.col(value).sum().alias("total"))
    most = most_of(totals["total"])
    y = shows(
        "bucket:N",
        sort=list(BUCKETS),
        scale={"domain": list(BUCKETS)},
        title=None,
        axis={"ticks": False, "domain": False, "labelLimit": LABEL_PIXELS_MAX},
    )
    bars = (
        Layer(shown)
        .mark("bar", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=shows("low:Q", title=None, axis=None, scale={"domain": [0, most * 1.25]}),
            x2="high:Q",
            y=y,
            color=coloured_causes(shown, palette),
            tooltip=[
                shows("bucket:N", title="Overdue for"),
                shows("why:N", title="Cause"),
                shows("episodes:Q", title="Episodes", format=",.0f"),
                *([shows("amount:Q", title=title, format=",.2f")] * (value == "amount")),
            ],
        )
    )
    text = (
        Layer(totals)
        .mark("text", align="left", dx=6, color=palette.text, fontSize=12)
        .encode(x="total:Q", y=y, text=shows("total:Q", format=",.0f"))
    )
    return chart(bars, text, height=250, leads_by=PEOPLE)


def recovery(frame: pl.DataFrame, palette: Palette) -> Chart:
    """One line for each cause; months of which nothing has matured are left out.

    frame: recovery(). A month only part of which has matured is drawn hollow.
    """
    shown = frame.filter(pl.col("matured") > 0).with_columns(
        cause_labelled().alias("why"),
        (pl.col("recovered") / pl.col("matured")).alias("rate"),
        pl.when(pl.col("matured") == pl.col("opened"))
        .then(pl.lit("all had 30 days"))
        .otherwise(pl.lit("still maturing"))
        .alias("state"),
    )
    colour = coloured_causes(shown, palette)
    present = set(shown["why"].to_list())
    causes = [name for name in CAUSES if name in present]

    def of(state: str | None) -> Layer:
        rows = unled(shown) if state is None else shown.filter(pl.col("state") == state)
        return Layer(rows).encode(
            x=time_axis("month", "month", shown["month"]),
            y=shows("rate:Q", title=None, scale={"domain": [0, 1]}, axis={"format": ".0%"}),
            color=colour,
            shape=shows(
                "why:N",
                sort=causes,
                scale={"domain": causes, "range": ["square", "circle", "diamond"][: len(causes)]},
                legend=dict(**LEGEND, columns=legend_columns(causes)),
            ),
            tooltip=[
                time_tooltip("month", "month"),
                shows("why:N", title="Cause"),
                shows("rate:Q", title="Recovered within 30 days", format=".1%"),
                shows("recovered:Q", title="Recovered", format=",.0f"),
                shows("matured:Q", title="Had 30 days", format=",.0f"),
                shows("opened:Q", title="Opened", format=",.0f"),
                shows("state:N", title="Month"),
            ],
        )

    lines = of(None).mark("line", strokeWidth=2)
    ripe = of("all had 30 days").mark("point", size=60, strokeWidth=2, filled=True, opacity=1)
    unripe = of("still maturing").mark(
        "point", size=60, strokeWidth=2, fill=palette.surface, opacity=1
    )
    return chart(lines, ripe, unripe, height=HEIGHT, leads_by=PEOPLE)
