"""Plan changes: who went from which plan where, what it did to revenue, and why plans ended."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import streamlit as st

from dashboards import charts, components, definitions, figures, formats, people
from dashboards.filters import Filters
from dashboards.people import Lead, People
from dashboards.queries import EXPORT_ROWS_MAX
from dashboards.source import Source

LISTED = ("upgrade", "downgrade", "cancel", "switch", "reactivation", "new")
LISTED_AT_FIRST = ["upgrade", "downgrade", "cancel"]


def draw(source: Source, filters: Filters) -> None:
    """The whole page."""
    counts = source.ask("change_counts", filters)
    _cards(counts, filters)
    if figures.this_period(counts, filters, "day").is_empty():
        components.nothing("No plan changed in this period for these registration sources.")
        return
    _movements(source, filters)
    _kept(source, filters)
    left, right = st.columns(2, gap="large")
    with left:
        components.section("From plan to plan", definitions.FLOWS)
        flows = source.ask("plan_flows", filters)
        components.chart_of_people(
            charts.plan_flows(
                people.behind(flows, "flow", ["from_plan_id", "to_plan_id"], filters),
                components.palette(),
            ),
            "Number of changes from each plan to each other plan",
            key="flows",
            number="changes",
            sources=filters.sources,
        )
    with right:
        _cancels(source, filters)
    _list(source, filters)


def _cards(counts: pl.DataFrame, filters: Filters) -> None:
    with components.cards("changes"):
        for kind, is_good in (
            ("new", True),
            ("upgrade", True),
            ("reactivation", True),
            ("downgrade", False),
            ("cancel", False),
        ):
            of_kind = counts.filter(pl.col("change_type") == kind)
            now = figures.total(figures.this_period(of_kind, filters, "day"), "changes")
            before = figures.total(figures.previous_period(of_kind, filters, "day"), "changes")
            components.card(
                PLURALS[kind],
                formats.count(now),
                help_text=definitions.CHANGES[kind],
                caption=f"{formats.count(before)} in the period before"
                if filters.has_previous
                else definitions.CHANGES[kind].split(".")[0],
                change=formats.signed(now - before) if filters.has_previous else None,
                change_label=filters.previous_label,
                course=figures.daily(of_kind, filters, "day", "changes"),
                is_more_better=is_good,
                lead=people.counted("change", filters, kind),
            )


PLURALS = {
    "new": "New paid plans",
    "upgrade": "Upgrades",
    "reactivation": "Reactivations",
    "downgrade": "Downgrades",
    "cancel": "Cancels",
}


def _movements(source: Source, filters: Filters) -> None:
    frame = source.ask("movements", filters)
    heading, choice = st.columns([3, 1], vertical_alignment="bottom")
    with choice:
        unit = st.segmented_control(
            "Show",
            ["money", "changes"],
            default="money",
            format_func={"money": "MRR", "changes": "Number"}.__getitem__,
            key="unit",
            bind="query-params",
            required=True,
        )
    with heading:
        components.section("What moved revenue, by month", definitions.MOVEMENTS)
    if frame.is_empty():
        components.nothing("No change of this period moved revenue.")
        return
    for position, currency in enumerate(figures.currencies(frame, "amount")):
        code = formats.currency_label(currency)
        of_currency = frame.filter(pl.col("currency") == currency)
        net = figures.float_total(of_currency, "amount")
        st.markdown(f"**{code}** · net {formats.money(net, code)} a month in the period")
        period = (filters.first_day, filters.last_day)
        components.follow_each(
            {
                f"Show every movement in {code}": Lead(
                    (People.of("movement", None, currency, *period),), filters.sources
                )
            },
            key=f"net-{position}",
        )
        led = people.behind(of_currency, "movement", ["movement", "currency"], filters, "month")
        components.chart_of_people(
            charts.movements(led, code, by_count=unit == "changes", palette=components.palette()),
            f"Movements of monthly recurring revenue in {code} by month",
            key=f"movements-{position}",
            number="changes",
            sources=filters.sources,
        )
    components.say_left_out(figures.currencies_left_out(frame))


def _kept(source: Source, filters: Filters) -> None:
    """NRR, GRR and logo churn: of the last whole month in cards, of all months in a table."""
    frame = source.ask("revenue_by_month", filters)
    if frame.is_empty():
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width="stretch"):
            components.section("What was kept, by month", definitions.KEPT)
        components.download("revenue-by-month.csv", lambda: frame, key="revenue-csv")
    running = source.version.as_of.date().replace(day=1)
    whole = frame.filter(pl.col("month") < running)
    for position, currency in enumerate(figures.currencies(whole, "mrr_end")[:2]):
        months = whole.filter(pl.col("currency") == currency).head(2).to_dicts()
        with components.cards(f"kept-{position}", small=True):
            _kept_cards(months[0], months[1] if len(months) > 1 else {}, position)
    text, number, share = st.column_config.TextColumn, st.column_config.NumberColumn, "%.1f %%"
    chosen = components.table(
        frame.with_columns(
            pl.col("nrr", "grr", "logo_churn") * 100,
            pl.col("month").dt.strftime("%b %Y")
            + pl.when(pl.col("month") == running).then(pl.lit(", so far")).otherwise(pl.lit("")),
        ),
        {
            "month": text("Month"),
            "currency": text("Currency"),
            "mrr_start": number("MRR at start", format="%.2f"),
            "new": number("New", format="%+.2f"),
            "reactivation": number("Reactivation", format="%+.2f"),
            "expansion": number("Expansion", format="%+.2f"),
            "contraction": number("Contraction", format="%+.2f"),
            "churn": number("Churn", format="%+.2f"),
            "mrr_end": number("MRR at end", format="%.2f"),
            "nrr": number("NRR", format=share, help=definitions.NRR),
            "grr": number("GRR", format=share, help=definitions.GRR),
            "logo_churn": number("Logo churn", format=share, help=definitions.LOGO_CHURN),
            "arpa": number("ARPA", format="%.2f", help=definitions.ARPA),
        },
        key="revenue",
        rows_shown=6,
        is_selectable=True,
    )
    components.say_and_open_lead(
        [_of_month(row["month"], row["currency"]) for row in frame.iter_rows(named=True)], chosen
    )


def _of_month(month: date, currency: str) -> Lead:
    """Who paid when the month began and when it ended, and all that moved their MRR in it."""
    last = (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return Lead(
        (
            People.of("kept", currency, month),
            *(
                People.of("shift", movement, currency, month)
                for movement in definitions.MOVEMENT_LABELS
            ),
            People.of("left", currency, month),
            People.of("paying", currency, last),
        )
    )


def _kept_cards(month: dict[str, Any], before: dict[str, Any], position: int) -> None:
    code = formats.currency_label(month["currency"])
    months = [known["month"] for known in (month, before) if known]
    for name, label, meaning, numerator, denominator, is_money in (
        ("nrr", "NRR", definitions.NRR, "expanded_mrr", "mrr_start", True),
        ("grr", "GRR", definitions.GRR, "retained_mrr", "mrr_start", True),
        ("logo_churn", "Logo churn", definitions.LOGO_CHURN, "churned_accounts",
         "paying_accounts_start", False),
    ):  # fmt: skip
        kinds = ("kept",) if is_money else ("left", "kept")
        now, earlier = month[name], before.get(name)
        made_of = (
            formats.money(month[part], code) if is_money else formats.count(month[part])
            for part in (numerator, denominator)
        )
        components.card(
            f"{label} {code}, {month['month']:%b %Y}",
            formats.percent(now),
            help_text=meaning,
            caption=" of ".join(made_of) + ("" if is_money else " accounts"),
            change=None if now is None or earlier is None else formats.points(now - earlier),
            change_label="vs the month before",
            is_more_better=name != "logo_churn",
            key=f"{name}-{position}",
            lead=Lead(
                tuple(People.of(kind, month["currency"], at) for at in months for kind in kinds)
            ),
        )


def _cancels(source: Source, filters: Filters) -> None:
    components.section("Why paid plans ended", definitions.CAUSES)
    frame = source.ask("cancels_by_cause", filters)
    if frame.is_empty():
        components.nothing("No paid plan ended in this period.")
        return
    components.chart_of_people(
        charts.cancels(
            people.behind(frame, "cancel", ["cause"], filters, "month"), components.palette()
        ),
        "Cancels by month, stacked by cause",
        key="cancels",
        number="cancels",
        sources=filters.sources,
    )
    causes = frame.group_by("cause").agg(pl.col("cancels").sum()).sort("cancels", descending=True)
    all_of_them = figures.total(causes, "cancels")
    leads = {}
    for cause, cancels in causes.iter_rows():
        share = formats.percent(formats.rate(cancels, all_of_them))
        label = definitions.CAUSE_LABELS.get(cause or "", "Unknown")
        leads[f"{label} {share} ({formats.count(cancels)})"] = Lead(
            (People.of("cancel", cause, filters.first_day, filters.last_day),), filters.sources
        )
    components.follow_each(leads, key="causes")


def _list(source: Source, filters: Filters) -> None:
    components.section(
        "Every change", "Newest first. MRR: what the change did to this subscription's."
    )
    kinds = st.pills(
        "Kinds of change",
        LISTED,
        selection_mode="multi",
        default=LISTED_AT_FIRST,
        format_func=definitions.CHANGE_LABELS.__getitem__,
        key="change",
        bind="query-params",
    )
    if not kinds:
        components.nothing("Choose at least one kind of change above.")
        return
    frame = source.ask("plan_change_list", filters, tuple(kinds))
    if frame.is_empty():
        components.nothing("No change of these kinds in this period.")
        return
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    components.listing(
        _readable(frame),
        {
            "changed_at": st.column_config.DatetimeColumn(
                "When (UTC)", format="D MMM YYYY HH:mm", timezone="UTC"
            ),
            "account_id": text("Account", width="medium"),
            "change_type": text("Change"),
            "from_plan_id": text("From"),
            "to_plan_id": text("To"),
            "mrr_delta": number("MRR", format="%+.2f"),
            "currency": text("Currency"),
            "cause": text("Cause"),
        },
        key="changes",
        noun=("change", "changes"),
        file_name="plan-changes.csv",
        everything=lambda: source.ask(
            "plan_change_list", filters, tuple(kinds), rows=EXPORT_ROWS_MAX, is_whole=True
        ),
        opens_accounts=True,
    )


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col("change_type").replace(definitions.CHANGE_LABELS),
        pl.col("cause").replace(definitions.CAUSE_LABELS),
        pl.col("from_plan_id").fill_null("no plan"),
        pl.col("to_plan_id").fill_null("no plan"),
    )
