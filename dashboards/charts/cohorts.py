"""Retention: the triangle of cohorts and the curve over all of them."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from dashboards.charts.parts import HEIGHT, LABEL_PIXELS_MAX, PEOPLE, inked, most_of, unled
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows


def retention(frame: pl.DataFrame, measure: str, palette: Palette) -> Chart:
    """The cohort triangle: a cell for each cohort and period, with its share written in it.

    frame: figures.retention(); at most the newest 36 cohorts. Cells of which nobody has matured
    stay empty; those of which not all have are framed.
    """
    cohorts = frame["cohort_month"].unique().sort(descending=True).head(36)
    shown = frame.filter(pl.col("cohort_month").is_in(cohorts.implode())).with_columns(
        pl.format(
            "{}  ({})",
            pl.col("cohort_month").dt.strftime("%b %Y"),
            pl.col("cohort_size"),
        ).alias("cohort"),
        pl.when("is_whole")
        .then(pl.lit("all had the time"))
        .otherwise(pl.lit("still maturing"))
        .alias("state"),
    )
    order = shown.sort("cohort_month")["cohort"].unique(maintain_order=True).to_list()
    known = shown.filter(pl.col("rate").is_not_null())
    whole, maturing = known.filter("is_whole"), known.filter(~pl.col("is_whole"))
    base_title, kept_title, number = (
        ("Had the time", "Still pay", ",.0f")
        if measure == "accounts"
        else ("MRR at first", "MRR now", ",.2f")
    )
    most = min(1.5, max(1.0, most_of(known["rate"])))  # one outlier must not pale all others

    def drawn(cells: pl.DataFrame) -> Layer:
        return Layer(cells).encode(
            x=shows(
                "period_number:O",
                title="months since the first payment",
                scale={"domain": sorted(shown["period_number"].unique().to_list())},
                axis={"orient": "top", "labelAngle": 0, "ticks": False, "domain": False},
            ),
            y=shows(
                "cohort:N",
                sort=order,
                scale={"domain": order},
                title=None,
                axis={"ticks": False, "domain": False, "labelLimit": LABEL_PIXELS_MAX},
            ),
            tooltip=[
                shows("cohort:N", title="First paid (accounts)"),
                shows("period_number:O", title="Months later"),
                shows("rate:Q", title="Retained", format=".1%"),
                shows("kept:Q", title=kept_title, format=number),
                shows("matured:Q", title=base_title, format=number),
                shows("state:N", title="Cohort"),
            ],
        )

    fill = shows(
        "rate:Q",
        scale={"domain": [0, most], "range": list(palette.heat), "clamp": True},
        legend=None,
    )
    cells = drawn(whole).mark("rect", stroke=palette.surface, strokeWidth=2).encode(color=fill)
    framed = (
        drawn(maturing)
        .mark("rect", stroke=palette.muted, strokeWidth=1, strokeDash=[3, 2], fillOpacity=0.55)
        .encode(color=fill)
    )
    deep = f"datum.rate > {most * 0.7} && datum.state === 'all had the time'"
    written = (
        drawn(known.with_columns((pl.col("rate") * 100).alias("percent")))
        .mark("text", fontSize=11)
        .encode(
            text=shows("percent:Q", format=".0f"),
            color=inked(deep, palette),
        )
    )
    height = max(180, 28 * len(order) + 70)
    return chart(cells, framed, written, height=height, leads_by=PEOPLE)


def retention_curve(frame: pl.DataFrame, measure: str, palette: Palette) -> Chart:
    """A line over the months since the first payment. frame: figures.retention_curve()."""
    base_title, kept_title, number = (
        ("Had the time", "Still pay", ",.0f")
        if measure == "accounts"
        else ("MRR at first", "MRR now", ",.2f")
    )
    base = Layer(frame).encode(
        x=shows(
            "period_number:Q",
            title="months since the first payment",
            axis={"grid": False, "tickMinStep": 1, "format": "d"},
        ),
        y=shows(
            "rate:Q",
            title=None,
            scale={"domain": [0, max(1.0, most_of(frame["rate"]))]},
            axis={"format": ".0%", "tickCount": 5},
        ),
        tooltip=[
            shows("period_number:Q", title="Months later"),
            shows("rate:Q", title="Retained", format=".1%"),
            shows("kept:Q", title=kept_title, format=number),
            shows("matured:Q", title=base_title, format=number),
        ],
    )
    lines = replace(base, frame=unled(frame)).mark("line", color=palette.blue, strokeWidth=2)
    points = base.mark("point", color=palette.blue, filled=True, size=50, opacity=1)
    return chart(lines, points, height=HEIGHT, leads_by=PEOPLE)
