"""Overview: the numbers of the morning, each with its change, its course and what it is made of."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import streamlit as st

from dashboards import charts, components, definitions, figures, formats, people
from dashboards.figures import Balance, Share
from dashboards.filters import Filters
from dashboards.people import Lead, People
from dashboards.queries import WINDOWS
from dashboards.source import Source


def draw(source: Source, filters: Filters) -> None:
    """The whole page."""
    funnel = source.ask("funnel_by_day", filters)
    mrr = source.ask("mrr_deltas", filters)
    with components.cards("overview"):
        _registered(funnel, filters)
        for days in WINDOWS:
            conversion_card(funnel, filters, days)
        _paying(source, filters)
        for position, currency in enumerate(figures.currencies(mrr, "delta")):
            _mrr(mrr, currency, position, filters)
        _churned(source, filters)
        _open_overdue(source, filters)
    components.say_left_out(figures.currencies_left_out(mrr))
    _last_day(source, filters)
    _registrations_chart(source, filters)
    _mrr_charts(mrr, filters)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Every number of this page day by day, for the period chosen.", width="stretch")
        components.download(
            "overview.csv", lambda: _day_by_day(source, funnel, mrr, filters), key="overview-csv"
        )


def _day_by_day(
    source: Source, funnel: pl.DataFrame, mrr: pl.DataFrame, filters: Filters
) -> pl.DataFrame:
    return figures.day_by_day(
        funnel,
        source.ask("churned_by_day", filters),
        figures.balance(source.ask("paying_deltas", filters), filters),
        {
            currency: of_currency(mrr, currency, filters)
            for currency in figures.currencies(mrr, "delta")
        },
        filters,
    )


def _registered(funnel: pl.DataFrame, filters: Filters) -> None:
    now = figures.total(figures.this_period(funnel, filters, "cohort_date"), "registered")
    before = figures.total(figures.previous_period(funnel, filters, "cohort_date"), "registered")
    components.card(
        "Registered",
        formats.count(now),
        help_text=definitions.REGISTERED,
        caption=f"{now / filters.days:.1f} a day; {formats.count(before)} in the period before",
        change=formats.relative_change(now, before) if filters.has_previous else None,
        change_label=filters.previous_label,
        course=figures.daily(funnel, filters, "cohort_date", "registered"),
        lead=people.counted("registered", filters, None),
    )


def conversion_card(funnel: pl.DataFrame, filters: Filters, days: int) -> None:
    """Paid within `days`, over those of the period who have had them."""
    period = figures.this_period(funnel, filters, "cohort_date")
    now = figures.conversion(period, days)
    before = figures.conversion(figures.previous_period(funnel, filters, "cohort_date"), days)
    waiting = figures.total(period, "registered") - now.denominator
    caption = f"{formats.count(now.numerator)} of {formats.count(now.denominator)} matured"
    if now.rate is None and before.rate is not None and filters.has_previous:
        caption = f"nobody has had {days} days yet; before: {formats.percent(before.rate)}"
    elif waiting:
        caption += f"; {formats.count(waiting)} still maturing"
    components.card(
        f"Paid within {days} days",
        formats.percent(now.rate),
        help_text=definitions.CONVERSION.format(days=days),
        caption=caption,
        change=formats.points(_difference(now, before)) if filters.has_previous else None,
        change_label=filters.previous_label,
        course=figures.conversion_course(funnel, filters, days),
        lead=people.counted_each(
            filters, *((kind, days, None) for kind in ("converted", "matured", "maturing"))
        ),
    )


def _paying(source: Source, filters: Filters) -> None:
    paying = figures.balance(source.ask("paying_deltas", filters), filters)
    components.card(
        "Paying accounts",
        formats.count(paying.now),
        help_text=definitions.PAYING,
        caption=f"{formats.count(paying.before)} when the period began",
        change=formats.signed(paying.now - paying.before),
        change_label="in the period",
        course=figures.thinned(paying.course),
        lead=people.levels("payers", filters),
    )


def _mrr(mrr: pl.DataFrame, currency: str, position: int, filters: Filters) -> None:
    level = of_currency(mrr, currency, filters)
    components.card(
        f"MRR {formats.currency_label(currency)}",
        formats.money(level.now, currency),
        help_text=definitions.MRR,
        caption=f"{formats.money(level.before, currency)} when the period began",
        change=formats.relative_change(level.now, level.before),
        change_label="in the period",
        course=figures.thinned(level.course),
        key=f"mrr-{position}",
        lead=people.levels("paying", filters, currency),
    )


def _churned(source: Source, filters: Filters) -> None:
    churn = source.ask("churned_by_day", filters)
    period = figures.this_period(churn, filters, "day")
    now = figures.total(period, "accounts")
    before = figures.total(figures.previous_period(churn, filters, "day"), "accounts")
    began = figures.balance(source.ask("paying_deltas", filters), filters).before
    of_these = figures.total(period, "paid_before")
    moved = source.ask("movements", filters).filter(pl.col("movement") == "churn")
    lost = " and ".join(
        formats.money(
            -figures.float_total(moved.filter(pl.col("currency") == name), "amount"), name
        )
        for name in figures.currencies(moved, "amount")
    )
    components.card(
        "Churned accounts",
        formats.count(now),
        help_text=definitions.CHURNED,
        caption=f"{formats.count(of_these)} of {formats.count(began)} paying before, "
        + formats.percent(formats.rate(of_these, began))
        + (f"; {lost} a month lost" if lost else ""),
        change=formats.signed(now - before) if filters.has_previous else None,
        change_label=filters.previous_label,
        course=figures.daily(churn, filters, "day", "accounts"),
        is_more_better=False,
        lead=Lead(
            (
                *people.counted_each(
                    filters, ("ceased", None), ("ceased", "before"), ("movement", "churn", None)
                ).parts,
                People.of("payers", filters.previous_last_day),
            ),
            filters.sources,
        ),
    )


def _open_overdue(source: Source, filters: Filters) -> None:
    end = min(filters.ends_before, source.version.as_of)
    step = max(1, filters.days // 12)
    starts = [filters.starts_at + timedelta(days=day) for day in range(0, filters.days, step)]
    moments = [*(start for start in starts if start < end), end]
    open_then = source.ask("overdue_balance", filters, moments)
    at_end = open_then.filter(pl.col("moment") == end)
    now = figures.total(at_end, "episodes")
    before = figures.total(open_then.filter(pl.col("moment") == moments[0]), "episodes")
    by_moment = dict(open_then.group_by("moment").agg(pl.col("episodes").sum()).iter_rows())
    owed = [
        formats.money(amount, currency)
        for currency in figures.currencies(at_end, "amount")
        if (amount := figures.float_total(at_end.filter(pl.col("currency") == currency), "amount"))
    ]
    if unstated := figures.total(at_end, "unstated"):
        owed.append(f"{formats.count(unstated)} with no amount stated")
    components.card(
        "Open overdue payments",
        formats.count(now),
        help_text=definitions.OPEN_OVERDUE,
        caption=", ".join(owed) or "nothing is owed",
        change=formats.signed(now - before),
        change_label="in the period",
        course=[float(by_moment.get(moment, 0)) for moment in moments],
        is_more_better=False,
        lead=people.levels("open", filters),
    )


def _last_day(source: Source, filters: Filters) -> None:
    as_of = source.version.as_of
    counts = {
        what: (now, before)
        for what, now, before in source.ask("happened_counts", filters, as_of).iter_rows()
    }
    components.section(
        "The last 24 hours",
        f"Up to {formats.instant(as_of)}, against the 24 hours before. "
        "The period chosen above does not apply.",
    )
    with components.cards("last-day", small=True):
        for what in ("registered", "workspace", "new", "upgrade", "downgrade", "cancel",
                     "overdue", "recovered"):  # fmt: skip
            now, before = counts.get(what, (0, 0))
            with st.container(border=True, key=f"card-day-{what}"):
                st.metric(
                    definitions.HAPPENED_LABELS[what],
                    formats.count(now),
                    delta=formats.signed(now - before) if now != before else None,
                    delta_color="inverse"
                    if what in ("downgrade", "cancel", "overdue")
                    else "normal",
                    delta_description=None if now != before else "as before",
                )
                components.follow(
                    _happened(what, as_of, filters),
                    f"{definitions.HAPPENED_LABELS[what]} in the last 24 hours",
                )
    latest = source.ask("happened_latest", filters, as_of)
    if latest.is_empty():
        components.nothing("Nothing happened in the last 24 hours that these filters let through.")
        return
    with st.expander(f"The latest {formats.count(latest.height)}, newest first", expanded=False):
        chosen = components.table(
            latest.with_columns(
                pl.col("what").replace(definitions.HAPPENED_LABELS),
                pl.col("detail").replace(definitions.CAUSE_LABELS),
            ),
            {
                "happened_at": st.column_config.DatetimeColumn(
                    "When (UTC)", format="D MMM HH:mm", timezone="UTC"
                ),
                "what": st.column_config.TextColumn("What"),
                "account_id": st.column_config.TextColumn("Account", width="medium"),
                "detail": st.column_config.TextColumn("Source, plans or cause"),
            },
            key="latest",
            is_selectable=True,
        )
        components.say_and_open_account(latest, chosen)


def _happened(what: str, as_of: datetime, filters: Filters) -> Lead:
    """Those of the 24 hours up to as_of, and of the 24 before."""
    kind = {"registered": "came", "workspace": "came", "overdue": "owed", "recovered": "owed"}
    moments = (as_of, as_of - timedelta(hours=24))
    parts = (People.of(kind.get(what, "moved"), what, moment) for moment in moments)
    return Lead(tuple(parts), filters.sources)


def _registrations_chart(source: Source, filters: Filters) -> None:
    components.section(
        f"Registrations by {filters.grain} and source",
        f"{definitions.REGISTERED} The newest {filters.grain} is not over yet.",
    )
    buckets = source.ask("registrations_by_bucket", filters)
    if buckets.is_empty():
        components.nothing("Nobody registered in this period from these sources.")
        return
    components.chart_of_people(
        charts.registrations(who_registered(buckets, filters), filters.grain, components.palette()),
        f"Registrations by {filters.grain}, stacked by registration source",
        key="registrations",
        number="registered",
        sources=filters.sources,
    )


def who_registered(buckets: pl.DataFrame, filters: Filters) -> pl.DataFrame:
    """queries.registrations_by_bucket() with the `people` of each piece."""
    grain = filters.grain
    of_one = people.behind(
        buckets.filter(~pl.col("is_others")), "registered", ["source"], filters, "bucket", grain
    )
    of_others = people.behind(buckets.filter("is_others"), "others", [], filters, "bucket", grain)
    period = people.days(filters.first_day, filters.last_day)
    return pl.concat([of_one, of_others.with_columns(pl.col("people") + period)])


def _mrr_charts(mrr: pl.DataFrame, filters: Filters) -> None:
    for position, currency in enumerate(figures.currencies(mrr, "delta")):
        course = figures.course_frame(of_currency(mrr, currency, filters), filters)
        led = course.with_columns(pl.lit(currency).alias("currency"))
        code = formats.currency_label(currency)
        components.section(f"MRR, {code}", definitions.MRR, shown=False)
        components.chart_of_people(
            charts.level(
                people.behind(led, "paying", ["currency", "day"]),
                f"{code} a month",
                ",.2f",
                components.palette(),
            ),
            f"Monthly recurring revenue in {code} by day",
            key=f"level-{position}",
            number=None,
            sources=filters.sources,
        )


def of_currency(mrr: pl.DataFrame, currency: str, filters: Filters) -> Balance:
    """MRR of one currency, from queries.mrr_deltas()."""
    return figures.balance(mrr.filter(pl.col("currency") == currency), filters)


def _difference(now: Share, before: Share) -> float | None:
    if now.rate is None or before.rate is None:
        return None
    return now.rate - before.rate
