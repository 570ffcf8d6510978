"""Overdue payments: what is open and how old, whom to contact, and how much comes back."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboards import charts, components, definitions, figures, formats, people
from dashboards.filters import Filters
from dashboards.people import Lead, People
from dashboards.queries import EXPORT_ROWS_MAX
from dashboards.source import Source

CAUSES = ("wallet_short", "non_renewal", "unknown")


def draw(source: Source, filters: Filters) -> None:
    """The whole page."""
    ageing = source.ask("overdue_ageing", filters)
    _cards(source, filters, ageing)
    components.say_left_out(figures.currencies_left_out(ageing))
    _ageing(ageing, filters)
    _contacts(source, filters)
    _recovery(source, filters)
    _missing(source, filters)


def _cards(source: Source, filters: Filters, ageing: pl.DataFrame) -> None:
    rates = source.ask("recovery", filters, source.version.as_of)
    days = {row["cause"]: row for row in source.ask("days_to_recover", filters).to_dicts()}
    with components.cards("overdue"):
        late = figures.total(ageing.filter(pl.col("ageing_bucket") != "not_due"), "episodes")
        components.card(
            "Open now",
            formats.count(figures.total(ageing, "episodes")),
            help_text=definitions.OPEN_OVERDUE,
            caption=f"{formats.count(late)} past the due date",
            lead=Lead(
                (People.of("overdue", None, None), People.of("overdue", "late", None)),
                filters.sources,
            ),
        )
        for position, currency in enumerate(figures.currencies(ageing, "amount")):
            of_currency = ageing.filter(pl.col("currency") == currency)
            components.card(
                f"Amount open, {formats.currency_label(currency)}",
                formats.money(figures.float_total(of_currency, "amount"), currency),
                help_text=definitions.OPEN_OVERDUE
                + " An episode whose notices state no amount adds nothing here.",
                caption=f"in {formats.counted(figures.total(of_currency, 'episodes'), 'episode')}",
                key=f"amount-{position}",
                lead=Lead((People.of("overdue", None, currency),), filters.sources),
            )
        for cause in CAUSES[:2]:
            of_cause = rates.filter(pl.col("cause") == cause)
            recovered = figures.total(of_cause, "recovered")
            matured = figures.total(of_cause, "matured")
            median = days.get(cause, {}).get("median_days")
            components.card(
                f"Recovered, {definitions.CAUSE_LABELS[cause].lower()}",
                formats.percent(formats.rate(recovered, matured)),
                help_text=definitions.RECOVERY,
                caption=f"{formats.count(recovered)} of {formats.count(matured)} within 30 days"
                + (f"; median {median:.0f} days" if median is not None else ""),
                lead=Lead(
                    tuple(
                        People.of(kind, cause, filters.first_day, filters.last_day)
                        for kind in ("recovered", "judged", "returned")
                    ),
                    filters.sources,
                ),
            )


def _ageing(ageing: pl.DataFrame, filters: Filters) -> None:
    components.section("How old, and why", definitions.AGEING)
    if ageing.is_empty():
        components.nothing("No payment is overdue. Nothing to do here.")
        return
    palette = components.palette()
    panels = [("episodes", "Episodes", ageing)]
    panels += [
        ("amount", formats.currency_label(currency), ageing.filter(pl.col("currency") == currency))
        for currency in figures.currencies(ageing, "amount")[:3]
    ]
    for start in range(0, len(panels), 2):
        places = st.columns(2, gap="large")
        for position, (value, title, frame) in enumerate(panels[start : start + 2], start):
            place = places[position - start]
            with place:
                named = "Number of episodes" if value == "episodes" else f"Amount, {title}"
                st.markdown(f"**{named}**")
                whose = pl.lit("") if value == "episodes" else pl.col("currency")
                led = people.behind(
                    frame.with_columns(whose.alias("whose")),
                    "ageing",
                    ["ageing_bucket", "cause", "whose"],
                )
                components.chart_of_people(
                    charts.ageing(led, value, title, palette),
                    f"{named} by days overdue, stacked by cause",
                    key=f"ageing-{position}",
                    number="episodes",
                    sources=filters.sources,
                )


def _contacts(source: Source, filters: Filters) -> None:
    components.section(
        "Who to contact",
        "Open episodes, longest overdue first. Wallet short: top up your own UChat wallet, the "
        "customer has nothing to do. Not renewing: the owner decides.",
    )
    causes = st.pills(
        "Cause",
        CAUSES,
        selection_mode="multi",
        default=list(CAUSES),
        format_func=definitions.CAUSE_LABELS.__getitem__,
        key="cause",
        bind="query-params",
    )
    frame = source.ask("open_episodes", filters, tuple(causes))
    if frame.is_empty():
        components.nothing("No open episode of these causes.")
        return
    text, number, day = (
        st.column_config.TextColumn,
        st.column_config.NumberColumn,
        st.column_config.DateColumn,
    )
    components.listing(
        frame.with_columns(
            pl.col("cause").replace(definitions.CAUSE_ACTIONS).alias("action"),
            pl.col("cause").replace(definitions.CAUSE_LABELS),
        ),
        {
            "account_id": text("Account", width="medium"),
            "action": text("What to do"),
            "days_overdue": number("Days overdue", format="localized"),
            "amount": number("Amount", format="accounting"),
            "currency": text("Currency"),
            "due_date": day("Due", format="D MMM YYYY"),
            "notices": number("Notices"),
            "last_notice_at": st.column_config.DatetimeColumn(
                "Last notice (UTC)", format="D MMM YYYY HH:mm", timezone="UTC"
            ),
            "workspace_id": text("Workspace"),
            "payment_id": text("Payment"),
        },
        key="contacts",
        noun=("open episode", "open episodes"),
        file_name="overdue-payments.csv",
        everything=lambda: source.ask(
            "open_episodes", filters, tuple(causes), rows=EXPORT_ROWS_MAX
        ),
        opens_accounts=True,
    )


def _recovery(source: Source, filters: Filters) -> None:
    components.section("Recovered within 30 days, by month opened", definitions.RECOVERY)
    rates = source.ask("recovery", filters, source.version.as_of)
    if not figures.total(rates, "matured"):
        components.nothing(
            "No episode of this period is 30 days old yet. Choose a longer period above."
        )
        return
    components.chart_of_people(
        charts.recovery(
            people.behind(rates, "recovered", ["cause"], filters, "month"), components.palette()
        ),
        "Share of overdue payments recovered within 30 days by month, one line for each cause",
        key="recovery",
        number="recovered",
        sources=filters.sources,
    )


def _missing(source: Source, filters: Filters) -> None:
    components.section("Missing renewals", definitions.MISSING_RENEWALS)
    frame = source.ask("missing_renewals", filters)
    if frame.is_empty():
        components.nothing("Every renewal expected in this period came, or its absence is told.")
        return
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    components.listing(
        frame,
        {
            "end_date": st.column_config.DateColumn("Expected on", format="D MMM YYYY"),
            "account_id": text("Account", width="medium"),
            "plan_id": text("Plan"),
            "mrr": number("MRR", format="%.2f"),
            "currency": text("Currency"),
            "subscription_id": text("Workspace or account"),
        },
        key="missing",
        noun=("missing renewal", "missing renewals"),
        file_name="missing-renewals.csv",
        everything=lambda: source.ask("missing_renewals", filters, rows=EXPORT_ROWS_MAX),
        opens_accounts=True,
    )
