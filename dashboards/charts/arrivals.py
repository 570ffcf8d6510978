"""Deliveries over time by verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from dashboards import definitions
from dashboards.charts.parts import HEIGHT, coloured, count_axis, stacked
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows

BUCKETS_SHOWN_MIN: Final = 24


def deliveries(
    frame: pl.DataFrame, bucket: timedelta, palette: Palette, *, until: datetime
) -> Chart:
    """Stacked columns over time by verdict. frame: bucket (instant), verdict, deliveries.

    until: the end of the axis, which then begins with the oldest bucket or BUCKETS_SHOWN_MIN
    buckets before, so that a single one does not fill the width.
    """
    labels = definitions.VERDICT_LABELS
    order = [label for name, label in labels.items() if name in set(frame["verdict"])]
    colours = dict(
        zip(labels.values(), (palette.blue, palette.grey, palette.orange, palette.red), strict=True)
    )
    named = frame.with_columns(pl.col("verdict").replace(labels))
    drawn = stacked(named, "bucket", "verdict", "deliveries", order).with_columns(
        (pl.col("bucket") + bucket / 16).alias("bucket_from"),
        (pl.col("bucket") + bucket * 15 / 16).alias("bucket_to"),
    )
    written = "%e %b %Y" if bucket >= timedelta(days=1) else "%e %b %H:%M"
    figure = (
        Layer(drawn)
        .mark("rect", stroke=palette.surface, strokeWidth=0.5)
        .encode(
            x=shows(
                "bucket_from:T",
                title=None,
                scale={"type": "utc", "padding": 8} | _domain(frame, bucket, until),
                axis={
                    "format": "%e %b" if bucket >= timedelta(hours=6) else "%H:%M",
                    "grid": False,
                    "ticks": False,
                    "tickCount": 8,
                    "labelOverlap": True,
                },
            ),
            x2="bucket_to:T",
            y=shows("low:Q", title=None, axis=count_axis()),
            y2="high:Q",
            color=coloured("verdict", order, palette, colours),
            tooltip=[
                shows(
                    "bucket:T",
                    timeUnit="utcyearmonthdatehoursminutes",
                    title="From (UTC)",
                    format=written,
                ),
                shows("verdict:N", title="Verdict"),
                shows("deliveries:Q", title="Deliveries", format=",.0f"),
            ],
        )
    )
    return chart(figure, height=HEIGHT - 60)


def _domain(frame: pl.DataFrame, bucket: timedelta, until: datetime) -> dict[str, Any]:
    """The axis in milliseconds, in whole buckets: it stays as it is while one lasts."""
    begins: list[datetime] = frame["bucket"].to_list()
    seconds = bucket.total_seconds()
    began = datetime.fromtimestamp(until.timestamp() // seconds * seconds, UTC)
    ends = max(began, *begins) + bucket
    first = min(ends - BUCKETS_SHOWN_MIN * bucket, *begins)
    return {"domain": [int(moment.timestamp() * 1000) for moment in (first, ends)]}
