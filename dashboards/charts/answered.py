"""An analyst's own two columns."""

from __future__ import annotations

import polars as pl

from dashboards.charts.parts import HEIGHT, LABEL_PIXELS_MAX, kept_apart
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows


def answer(frame: pl.DataFrame, along: str, value: str, palette: Palette) -> Chart:
    """An analyst's two columns: a line over time, or bars in the order of the answer.

    Columns are renamed for drawing, since Vega reads dots and brackets in a name as a path.
    """
    shown = frame.select(
        pl.col(along).alias("along"), pl.col(value).cast(pl.Float64).alias("value")
    )
    tooltip_value = shows("value:Q", title=value[:60], format=",")
    if shown["along"].dtype == pl.String:
        names = kept_apart(shown.with_columns(pl.col("along").fill_null("(null)")), "along")
        figure = (
            Layer(names)
            .mark("bar", color=palette.blue, cornerRadiusEnd=3)
            .encode(
                x=shows("value:Q", title=value[:60], axis={"format": "~s", "tickCount": 5}),
                y=shows(
                    "along:N",
                    sort=None,
                    title=None,
                    axis={"labelLimit": LABEL_PIXELS_MAX, "ticks": False, "domain": False},
                ),
                tooltip=[shows("along:N", title=along[:60]), tooltip_value],
            )
        )
        return chart(figure, height=max(120, 26 * shown.height + 50))
    dated = shown.with_columns(pl.col("along").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"))
    figure = (
        Layer(dated)
        .mark("line", color=palette.blue, strokeWidth=2, point=shown.height <= 60)
        .encode(
            x=shows("along:T", title=None, scale={"type": "utc"}, axis={"grid": False}),
            y=shows("value:Q", title=value[:60], axis={"format": "~s", "tickCount": 5}),
            tooltip=[
                shows(
                    "along:T",
                    timeUnit="utcyearmonthdatehoursminutes",
                    title=along[:60],
                    format="%e %b %Y %H:%M",
                ),
                tooltip_value,
            ],
        )
    )
    return chart(figure, height=HEIGHT)
