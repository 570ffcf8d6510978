"""Charts as pure functions: a frame of queries.py or figures.py in, a Vega-Lite chart out.

Text of events appears in axes, legends and tooltips only, which Vega draws as text. Colours come
from the palette and are never the only difference: what they tell is in a label, an order or a
shape as well. Sizes are left to the page; every chart says its height.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final, Literal

import polars as pl

from dashboards import definitions
from dashboards.theme import Palette
from dashboards.vega import Chart, Layer, chart, shows

HEIGHT: Final = 300
BUCKETS: Final = tuple(definitions.BUCKET_LABELS.values())
MOVEMENTS: Final = tuple(definitions.MOVEMENT_LABELS.values())
CAUSES: Final = ("Wallet short", "Not renewing", "Unknown")
PEOPLE: Final = "people"
"""Column of a frame, where a page adds it: whom to show when that mark is chosen (people.py)."""
_LABEL_PIXELS_MAX: Final = 150
_LEGEND: Final[dict[str, Any]] = {"orient": "top", "title": None, "labelLimit": 220}


def registrations(frame: pl.DataFrame, grain: str, palette: Palette) -> Chart:
    """Stacked columns. frame: bucket (date), source, registered."""
    frame = _names(frame, "source")
    order = (
        frame.group_by("source")
        .agg(pl.col("registered").sum())
        .sort(["registered", "source"], descending=[True, False])["source"]
        .to_list()
    )
    figure = (
        Layer(_spans(_stacked(frame, "bucket", "source", "registered", order), "bucket", grain))
        .mark("rect", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=_time("bucket", grain, frame["bucket"], drawn="bucket_from"),
            x2="bucket_to:T",
            y=shows("low:Q", title=None, axis=_count_axis()),
            y2="high:Q",
            color=_colour("source", order, palette),
            tooltip=[
                _time_tooltip("bucket", grain),
                shows("source:N", title="Source"),
                shows("registered:Q", title="Registered", format=",.0f"),
            ],
        )
    )
    return chart(figure, height=HEIGHT, leads_by=PEOPLE)


def level(frame: pl.DataFrame, title: str, number_format: str, palette: Palette) -> Chart:
    """An area over days. frame: day (date), value; the scale begins at zero."""
    tooltip = [
        _time_tooltip("day", "day"),
        shows("value:Q", title=title, format=number_format),
    ]
    figure = (
        Layer(_unled(frame))
        .mark(
            "area",
            line={"color": palette.blue, "strokeWidth": 2},
            color=palette.blue,
            fillOpacity=0.12,
            interpolate="step-after",
        )
        .encode(
            x=_time("day", "month" if frame.height > 200 else "day"),
            y=shows("value:Q", title=None, axis={"format": "~s", "tickCount": 5}),
        )
    )
    whole_days = frame.with_columns((pl.col("day") + pl.duration(days=1)).alias("day_to"))
    days = _unseen(whole_days).encode(x="day:T", x2="day_to:T", tooltip=tooltip)
    return chart(figure, days, height=HEIGHT - 60, leads_by=PEOPLE)


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
    most = _most(frame["accounts"])
    base = Layer(shown).encode(
        y=shows(
            "label:N",
            sort=None,
            title=None,
            axis={"labelLimit": _LABEL_PIXELS_MAX, "ticks": False, "domain": False},
        ),
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
    x = _time("cohort", grain, known["cohort"])
    y = shows("rate:Q", title=None, axis={"format": ".0%", "tickCount": 5})
    tooltip = [
        _time_tooltip("cohort", grain),
        shows("rate:Q", title=f"Paid within {days} days", format=".1%"),
        shows("paid:Q", title="Paid in time", format=",.0f"),
        shows("matured:Q", title=f"Had {days} days", format=",.0f"),
        shows("registered:Q", title="Registered", format=",.0f"),
        shows("state:N", title="Cohort"),
    ]
    solid = Layer(_unled(matured)).mark("line", color=palette.blue, strokeWidth=2).encode(x=x, y=y)
    dashed = (
        Layer(_unled(tail))
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
                legend=dict(**_LEGEND, symbolStrokeColor=palette.blue, symbolStrokeWidth=2),
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
        _names(frame.head(12), "source")
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
    most = _most(shown["rate"])
    base = Layer(shown).encode(
        y=shows(
            "source:N",
            sort=None,
            title=None,
            axis={"labelLimit": _LABEL_PIXELS_MAX, "ticks": False, "domain": False},
        ),
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
        Layer(_unled(frame))
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
    days = _unseen(around).encode(
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


def movements(frame: pl.DataFrame, currency: str, *, by_count: bool, palette: Palette) -> Chart:
    """Gains above and losses below zero, by month. frame: movements() of one currency."""
    value = "changes" if by_count else "amount"
    losses = frame["movement"].is_in(["churn", "contraction"])
    shown = frame.with_columns(
        pl.col("movement").replace(definitions.MOVEMENT_LABELS).alias("kind"),
        pl.when(losses).then(-pl.col(value).abs()).otherwise(pl.col(value).abs()).alias("height"),
    )
    shown = _spans(_stacked(shown, "month", "kind", "height", MOVEMENTS), "month", "month")
    moved: list[date] = frame["month"].sort().to_list()
    months = pl.date_range(moved[0], moved[-1], "1mo", eager=True)
    net = (
        _spans(pl.DataFrame({"month": months}), "month", "month")
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
            x=_time("month", "month", frame["month"], drawn="month_from"),
            x2="month_to:T",
            y=shows("low:Q", title=None, axis={"format": "~s", "tickCount": 6}),
            y2="high:Q",
            color=_colour("kind", list(MOVEMENTS), palette, colours),
            tooltip=[
                _time_tooltip("month", "month"),
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
                _time_tooltip("month", "month"),
                shows("net:Q", title=f"Net, {unit}", format="+,.2f"),
            ],
        )
    )
    return chart(bars, line, height=HEIGHT + 20, leads_by=PEOPLE)


def plan_flows(frame: pl.DataFrame, palette: Palette) -> Chart:
    """A table of cells, from the plan on the left to the plan above. frame: plan_flows()."""
    frame = _names(frame, "from_plan", "to_plan")
    largest = _most(frame["changes"])
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
        color=_inked(deep, palette),
    )
    return chart(cells, numbers, height=max(200, 38 * len(before) + 90), leads_by=PEOPLE)


def cancels(frame: pl.DataFrame, palette: Palette) -> Chart:
    """Stacked columns by month and cause. frame: cancels_by_cause()."""
    named = frame.with_columns(_cause_label().alias("why"))
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
    shown = _spans(_stacked(named, "month", "why", "cancels", present), "month", "month")
    figure = (
        Layer(shown)
        .mark("rect", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=_time("month", "month", frame["month"], drawn="month_from"),
            x2="month_to:T",
            y=shows("low:Q", title=None, axis=_count_axis()),
            y2="high:Q",
            color=_colour("why", present, palette, colours),
            tooltip=[
                _time_tooltip("month", "month"),
                shows("why:N", title="Cause"),
                shows("cancels:Q", title="Cancels", format=",.0f"),
            ],
        )
    )
    return chart(figure, height=HEIGHT, leads_by=PEOPLE)


def ageing(frame: pl.DataFrame, value: str, title: str, palette: Palette) -> Chart:
    """Horizontal bars by bucket, stacked by cause, the total written out.

    frame: overdue_ageing(), of one currency where value is `amount`.
    """
    shown = (
        frame.with_columns(
            _cause_label().alias("why"),
            pl.col("ageing_bucket").replace(definitions.BUCKET_LABELS).alias("bucket"),
        )
        .group_by("bucket", "why")
        .agg(pl.col("episodes").sum(), pl.col("amount").sum(), *_first_people(frame))
    )
    shown = _stacked(shown, "bucket", "why", value, CAUSES)
    totals = shown.group_by("bucket").agg(pl.col(value).sum().alias("total"))
    most = _most(totals["total"])
    y = shows(
        "bucket:N",
        sort=list(BUCKETS),
        scale={"domain": list(BUCKETS)},
        title=None,
        axis={"ticks": False, "domain": False, "labelLimit": _LABEL_PIXELS_MAX},
    )
    bars = (
        Layer(shown)
        .mark("bar", stroke=palette.surface, strokeWidth=1)
        .encode(
            x=shows("low:Q", title=None, axis=None, scale={"domain": [0, most * 1.25]}),
            x2="high:Q",
            y=y,
            color=_causes(shown, palette),
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
        _cause_label().alias("why"),
        (pl.col("recovered") / pl.col("matured")).alias("rate"),
        pl.when(pl.col("matured") == pl.col("opened"))
        .then(pl.lit("all had 30 days"))
        .otherwise(pl.lit("still maturing"))
        .alias("state"),
    )
    colour = _causes(shown, palette)
    present = set(shown["why"].to_list())
    causes = [name for name in CAUSES if name in present]

    def of(state: str | None) -> Layer:
        rows = _unled(shown) if state is None else shown.filter(pl.col("state") == state)
        return Layer(rows).encode(
            x=_time("month", "month", shown["month"]),
            y=shows("rate:Q", title=None, scale={"domain": [0, 1]}, axis={"format": ".0%"}),
            color=colour,
            shape=shows(
                "why:N",
                sort=causes,
                scale={"domain": causes, "range": ["square", "circle", "diamond"][: len(causes)]},
                legend=dict(**_LEGEND, columns=_legend_columns(causes)),
            ),
            tooltip=[
                _time_tooltip("month", "month"),
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
    most = min(1.5, max(1.0, _most(known["rate"])))  # one outlier must not pale all others

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
                axis={"ticks": False, "domain": False, "labelLimit": _LABEL_PIXELS_MAX},
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
            color=_inked(deep, palette),
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
            scale={"domain": [0, max(1.0, _most(frame["rate"]))]},
            axis={"format": ".0%", "tickCount": 5},
        ),
        tooltip=[
            shows("period_number:Q", title="Months later"),
            shows("rate:Q", title="Retained", format=".1%"),
            shows("kept:Q", title=kept_title, format=number),
            shows("matured:Q", title=base_title, format=number),
        ],
    )
    lines = replace(base, frame=_unled(frame)).mark("line", color=palette.blue, strokeWidth=2)
    points = base.mark("point", color=palette.blue, filled=True, size=50, opacity=1)
    return chart(lines, points, height=HEIGHT, leads_by=PEOPLE)


def deliveries(frame: pl.DataFrame, bucket: timedelta, palette: Palette) -> Chart:
    """Stacked columns over time by verdict. frame: bucket (instant), verdict, deliveries."""
    labels = definitions.VERDICT_LABELS
    order = [label for name, label in labels.items() if name in set(frame["verdict"])]
    colours = dict(
        zip(labels.values(), (palette.blue, palette.grey, palette.orange, palette.red), strict=True)
    )
    named = frame.with_columns(pl.col("verdict").replace(labels))
    drawn = _stacked(named, "bucket", "verdict", "deliveries", order).with_columns(
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
                scale={"type": "utc", "padding": 8},
                axis={
                    "format": "%e %b" if bucket >= timedelta(hours=6) else "%H:%M",
                    "grid": False,
                    "ticks": False,
                    "tickCount": 8,
                    "labelOverlap": True,
                },
            ),
            x2="bucket_to:T",
            y=shows("low:Q", title=None, axis=_count_axis()),
            y2="high:Q",
            color=_colour("verdict", order, palette, colours),
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


def answer(frame: pl.DataFrame, along: str, value: str, palette: Palette) -> Chart:
    """An analyst's two columns: a line over time, or bars in the order of the answer.

    Columns are renamed for drawing, since Vega reads dots and brackets in a name as a path.
    """
    shown = frame.select(
        pl.col(along).alias("along"), pl.col(value).cast(pl.Float64).alias("value")
    )
    tooltip_value = shows("value:Q", title=value[:60], format=",")
    if shown["along"].dtype == pl.String:
        names = _names(shown.with_columns(pl.col("along").fill_null("(null)")), "along")
        figure = (
            Layer(names)
            .mark("bar", color=palette.blue, cornerRadiusEnd=3)
            .encode(
                x=shows("value:Q", title=value[:60], axis={"format": "~s", "tickCount": 5}),
                y=shows(
                    "along:N",
                    sort=None,
                    title=None,
                    axis={"labelLimit": _LABEL_PIXELS_MAX, "ticks": False, "domain": False},
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


def _unseen(frame: pl.DataFrame) -> Layer:
    """Marks that can be pointed at and are not drawn: an area is one mark for all its days."""
    return Layer(frame).mark("rect", opacity=0)


def _unled(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame of a line, which is no mark for anybody of it alone."""
    return frame.drop(PEOPLE, strict=False)


def _first_people(frame: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col(PEOPLE).first()] if PEOPLE in frame.columns else []


def _inked(deep: str, palette: Palette) -> dict[str, Any]:
    """Text in the colour that can be read upon a cell, whose colour is deep where that holds."""
    return {"condition": {"test": deep, "value": palette.surface}, "value": palette.text}


def _most(values: pl.Series) -> float:
    """The largest value, 1 where there is none above zero: a scale needs some length."""
    return max((float(value) for value in values if value), default=1.0)


def _causes(frame: pl.DataFrame, palette: Palette) -> dict[str, Any]:
    """The colour of a cause stays the same whichever of them a frame has."""
    colours = dict(zip(CAUSES, (palette.blue, palette.orange, palette.grey), strict=True))
    present = set(frame["why"].to_list())
    return _colour("why", [name for name in CAUSES if name in present], palette, colours)


def _cause_label() -> pl.Expr:
    return pl.col("cause").replace(definitions.CAUSE_LABELS).fill_null("Unknown")


def _colour(
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
        legend=dict(**_LEGEND, columns=_legend_columns(values)),
    )


def _names(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The frame with names that Vega can keep apart.

    Vega looks values up in plain objects, where `__proto__` is no key of its own: one source of
    that name would leave the reader without a chart.
    """
    return frame.with_columns(
        pl.col(column).replace({"__proto__": "__proto__\u200b"}) for column in columns
    )


def _legend_columns(values: Sequence[str]) -> int:
    """As many as a phone has room for; 0 is one row."""
    letters = max((len(value) for value in values), default=0)
    return 0 if len(values) < 3 else 3 if letters <= 14 else 2


def _by_tier(frame: pl.DataFrame, side: str) -> list[str]:
    ordered = frame.select(f"{side}_plan", f"{side}_tier").unique()
    return ordered.sort(f"{side}_tier", f"{side}_plan")[f"{side}_plan"].to_list()


def _stacked(
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


def _spans(frame: pl.DataFrame, column: str, grain: str) -> pl.DataFrame:
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


def _time(
    column: str, grain: str, begins: pl.Series | None = None, drawn: str | None = None
) -> dict[str, Any]:
    """A UTC time axis; the browser's zone would move a midnight to another day.

    begins: days that get a tick, for buckets that do not begin where Vega would put one; a month
    drawn as a column gets it in its middle. drawn: the column that says where marks begin.
    """
    ticks: dict[str, Any] = {"tickCount": "month" if grain == "month" else 8}
    if begins is not None:
        inset = 15 if drawn and grain == "month" else 0
        ticks = {"values": [_instant(day, inset) for day in begins.unique().sort()]}
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


def _instant(day: date, inset_days: int) -> dict[str, Any]:
    moved = day + timedelta(days=inset_days)
    return {"year": moved.year, "month": moved.month, "date": moved.day, "utc": True}


def _time_tooltip(column: str, grain: str) -> dict[str, Any]:
    units: dict[str, tuple[str, Literal["utcyearmonthdate", "utcyearmonth"], str]] = {
        "day": ("Day (UTC)", "utcyearmonthdate", "%e %b %Y"),
        "week": ("Week from (UTC)", "utcyearmonthdate", "%e %b %Y"),
        "month": ("Month (UTC)", "utcyearmonth", "%b %Y"),
    }
    title, unit, written = units[grain]
    return shows(f"{column}:T", timeUnit=unit, title=title, format=written)


def _count_axis() -> dict[str, Any]:
    return {"format": "~s", "tickMinStep": 1, "tickCount": 5}
