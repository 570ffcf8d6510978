"""Funnel: how far those who registered have come, from where, when, and how fast."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboards import charts, components, definitions, figures, formats, people
from dashboards.filters import Filters
from dashboards.people import Lead, People
from dashboards.queries import WINDOWS
from dashboards.source import Source
from dashboards.views.overview import conversion_card


def draw(source: Source, filters: Filters) -> None:
    """The whole page."""
    by_day = source.ask("funnel_by_day", filters)
    period = figures.this_period(by_day, filters, "cohort_date")
    registered = figures.total(period, "registered")
    if not registered:
        components.nothing(
            "Nobody registered in this period from these sources. Choose a longer period or "
            "fewer sources above."
        )
        return
    _steps(period, filters)
    if filters.has_previous:
        _comparison(by_day, filters)
    with components.cards("conversion"):
        for days in WINDOWS:
            conversion_card(by_day, filters, days)
        _time_cards(source, filters)
    _cohorts(by_day, filters)
    left, right = st.columns(2, gap="large")
    with left:
        _sources(source, filters)
    with right:
        _curve(source, filters, registered)
    _source_table(source, filters)


def _steps(period: pl.DataFrame, filters: Filters) -> None:
    steps = figures.funnel_steps(period)
    components.section("From registration to renewal", definitions.FUNNEL)
    components.chart_of_people(
        charts.funnel(people.behind(steps, "funnel", ["step"], filters), components.palette()),
        "Funnel: " + ", ".join(f"{row['label']} {row['accounts']}" for row in steps.to_dicts()),
        key="funnel-steps",
        number="accounts",
        sources=filters.sources,
    )
    rates = [
        f"{label.lower()}: **{formats.percent(rate)}** of the step before"
        for label, rate in steps.select("label", "step_rate").rows()[1:]
    ]
    st.caption(" · ".join(rates))


def _comparison(by_day: pl.DataFrame, filters: Filters) -> None:
    """Both periods step by step, those of the earlier one having had the longer time."""
    compared = figures.funnel_comparison(by_day, filters)
    with st.expander(f"Against the {formats.counted(filters.days, 'day')} before"):
        st.caption(
            "Shares are of all who registered in their period. Whoever registered in the earlier "
            "one has had longer to come this far; the cards below compare equal times."
        )
        number, share = st.column_config.NumberColumn, "%.1f %%"
        chosen = components.table(
            compared,
            {
                "label": st.column_config.TextColumn("Step"),
                "accounts": number("This period", format="localized"),
                "percent": number("of registered", format=share),
                "accounts_before": number("Period before", format="localized"),
                "percent_before": number("of registered ", format=share),
                "points": number("Change, points", format="%+.1f"),
            },
            key="comparison",
            is_selectable=True,
        )
        leads = [people.counted("funnel", filters, step) for step in figures.STEPS]
        components.say_and_open_lead(leads, chosen)


def _time_cards(source: Source, filters: Filters) -> None:
    times = {row["window"]: row for row in source.ask("time_to_paid", filters).to_dicts()}
    now, before = times.get("now", {}), times.get("before", {})
    paid = int(now.get("paid") or 0)
    for label, column, share in (
        ("Median time to paid", "median_seconds", "half"),
        ("90 % paid within", "p90_seconds", "nine in ten"),
    ):
        earlier = before.get(column) if filters.has_previous else None
        components.card(
            label,
            formats.span(now.get(column)),
            help_text=definitions.TIME_TO_PAID,
            caption=f"{share} of {formats.counted(paid, 'payer')} were faster"
            + (f"; before: {formats.span(earlier)}" if earlier is not None else ""),
            lead=people.counted("funnel", filters, "paid"),
        )


def _cohorts(by_day: pl.DataFrame, filters: Filters) -> None:
    palette = components.palette()
    heading, choice = st.columns([3, 1], vertical_alignment="bottom")
    with choice:
        days = (
            st.segmented_control(
                "Window",
                list(WINDOWS),
                default=WINDOWS[1],
                format_func=lambda window: f"{window} days",
                key="window",
                bind="query-params",
                required=True,
            )
            or WINDOWS[1]
        )
    with heading:
        components.section(
            f"Paid within {days} days, by {filters.grain} of registration",
            definitions.COHORTS.format(grain=filters.grain, days=days),
        )
    cohorts = figures.cohorts(by_day, filters, days)
    unripe = cohorts.filter(pl.col("rate").is_null())
    if unripe.height == cohorts.height:
        components.nothing(
            f"Nobody of this period has had {days} days yet. Choose a longer period above."
        )
    else:
        led = people.behind(
            cohorts.with_columns(pl.lit(days).alias("days"), pl.lit("").alias("source")),
            "converted",
            ["days", "source"],
            filters,
            "cohort",
            filters.grain,
        )
        components.chart_of_people(
            charts.cohort_conversion(led, filters.grain, days, palette),
            f"Share paid within {days} days by {filters.grain} of registration",
            key="cohorts",
            number="paid",
            sources=filters.sources,
        )
    if unripe.height:
        st.caption(
            f"Not drawn: {formats.counted(figures.total(unripe, 'registered'), 'registration')} "
            f"of the last {formats.counted(unripe.height, filters.grain)}, of whom nobody has had "
            f"{days} days yet."
        )
        first = max(filters.first_day, min(unripe["cohort"].to_list()))
        components.follow_each(
            {
                "Show who they are": Lead(
                    (People.of("registered", None, first, filters.last_day),), filters.sources
                )
            },
            key="unripe",
        )


def _sources(source: Source, filters: Filters) -> None:
    components.section("Paid within 30 days, by source", definitions.SOURCES)
    by_source = source.ask("funnel_by_source", filters).with_columns(pl.lit(30).alias("days"))
    components.chart_of_people(
        charts.source_conversion(
            people.behind(by_source, "converted", ["days", "source"], filters),
            30,
            components.palette(),
        ),
        "Share paid within 30 days by registration source",
        key="sources",
        number="paid_30",
        sources=filters.sources,
    )


def _curve(source: Source, filters: Filters, registered: int) -> None:
    components.section(
        "How fast they start paying",
        "Of all who registered in the period, the share that had started paying by each day "
        "after. Recent registrations pull its right end down until they mature.",
    )
    curve = figures.paid_by_day(source.ask("days_to_paid", filters), registered)
    components.chart_of_people(
        charts.paid_over_time(
            people.behind(curve, "paid-by", ["day"], filters), components.palette()
        ),
        "Share of the registered who pay, by days since registration",
        key="paid-over-time",
        number="paid",
        sources=filters.sources,
    )


def _source_table(source: Source, filters: Filters) -> None:
    by_source = source.ask("funnel_by_source", filters)
    frame = by_source.with_columns(
        *(
            (
                100 * pl.col(step) / pl.when(pl.col("registered") > 0).then(pl.col("registered"))
            ).alias(f"{step}_percent")
            for step in figures.STEPS[1:]
        ),
        *(
            (
                100
                * pl.col(f"paid_{days}")
                / pl.when(pl.col(f"matured_{days}") > 0).then(pl.col(f"matured_{days}"))
            ).alias(f"paid_{days}_percent")
            for days in WINDOWS
        ),
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width="stretch"):
            components.section("Every step by source", definitions.FUNNEL, shown=False)
        components.download("funnel-by-source.csv", lambda: frame, key="funnel-csv")
    count, share = "localized", "%.1f %%"
    number, matured = st.column_config.NumberColumn, "Of those who have had {} days"
    chosen = components.table(
        frame,
        {
            "source": st.column_config.TextColumn("Source"),
            "registered": number("Registered", format=count),
            "workspace": number("Workspace", format=count),
            "workspace_percent": number("of registered", format=share),
            "paid": number("Paid", format=count),
            "paid_percent": number("of registered ", format=share),
            "renewed": number("Renewed", format=count),
            "renewed_percent": number("of registered  ", format=share),
            "paid_14_percent": number("in 14 days", format=share, help=matured.format(14)),
            "paid_30_percent": number("in 30 days", format=share, help=matured.format(30)),
            "paid_90_percent": number("in 90 days", format=share, help=matured.format(90)),
        },
        key="by-source",
        is_selectable=True,
    )
    days = (filters.first_day, filters.last_day)
    parts = (
        *(People.of("funnel", step, *days) for step in figures.STEPS),
        *(
            People.of(kind, window, None, *days)
            for window in WINDOWS
            for kind in ("converted", "matured")
        ),
    )
    leads = [Lead(parts, (str(name),)) for name in frame["source"]]
    components.say_and_open_lead(leads, chosen)
