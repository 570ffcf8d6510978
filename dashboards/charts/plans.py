"""Who went from which plan where, and why plans ended."""

from __future__ import annotations

import polars as pl

from dashboards import definitions
from dashboards.charts.parts import (
    HEIGHT,
    PEOPLE,
    cause_labelled,
    coloured,
    count_axis,
    inked,
    kept_apart,
    most_of,
    stacked,
    time_axis,
    time_tooltip,
    with_spans,
)
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows


def plan_flows(frame: pl.DataFrame, palette: Palette) -> Chart:
    """A table of cells, from the plan on the left to the plan above. frame: plan_flows()."""
    frame = kept_apart(frame, "from_plan", "to_plan")
    largest = most_of(frame["changes"])
    before = _by_tier(frame, "from")
    after = _by_tier(frame, "to")
    base = Layer(frame).encode(
        x=shows(
            "to_plan:N",
            sort=after,
            title="to",
            axis={
                "orient": "top",
                "labelAngle": -40,
                "labelLimit": 110,
                "labelOverlap": False,
                "ticks": False,
                "domain": False,
            },
        ),
        y=shows(
            "from_plan:N",
            sort=before,
            title="from",
            axis={"labelLimit": 110, "ticks": False, "domain": False},
        ),
        tooltip=[
            shows("from_plan:N", title="From"),
            shows("to_plan:N", title="To"),
            shows("changes:Q", title="Changes", format=",.0f"),
        ],
    )
    cells = base.mark("rect", cornerRadius=3, stroke=palette.surface, strokeWidth=2).encode(
        color=shows(
            "changes:Q",
            scale={"type": "sqrt", "domain": [0, largest], "range": list(palette.heat)},
            legend=None,
        )
    )
    deep = f"datum.changes > {largest * 0.35}"
    numbers = base.mark("text", fontSize=12, fontWeight=600).encode(
        text=shows("changes:Q", format=",.0f"),
        color=inked(deep, palette),
    )
    return chart(cells, numbers, height=max(200, 38 * len(before) + 90), leads_by=PEOPLE)


def _by_tier(frame: pl.DataFrame, side: str) -> list[str]:
    ordered = frame.select(f"{side}_plan", f"{side}_tier").unique()
    return ordered.sort(f"{side}_tier", f"{side}_plan")[f"{side}_plan"].to_list()


def cancels(frame: pl.DataFrame, palette: Palette) -> Chart:
    """Stacked columns by month and cause. frame: cancels_by_cause()."""
    named = frame.with_columns(cause_labelled().alias("why"))
    order = [
        definitions.CAUSE_LABELS[cause]
        for cause in (
            "early",
            "non_renewal",
            "wallet_short",
            "workspace_deleted",
            "expiry",
            "overdue",
        )
    ]
    colours = {"Unknown": palette.muted} | dict(
        zip(
            order,
            (
                palette.red,
                palette.orange,
                palette.blue,
                palette.pink,
                palette.grey,
                palette.yellow,
            ),
            strict=True,
        )
    )
    present = [name for name in (*order, "Unknown") if name in set(named["why"].to_list())]
    shown = with_spans(stacked(named, "month", "why", "cancels", present), "month", "month")
    figure = (
        Layer(shown)
        .mark("rect", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=time_axis("month", "month", frame["month"], drawn="month_from"),
            x2="month_to:T",
            y=shows("low:Q", title=None, axis=count_axis()),
            y2="high:Q",
            color=coloured("why", present, palette, colours),
            tooltip=[
                time_tooltip("month", "month"),
                shows("why:N", title="Cause"),
                shows("cancels:Q", title="Cancels", format=",.0f"),
            ],
        )
    )
    return chart(figure, height=HEIGHT, leads_by=PEOPLE)
