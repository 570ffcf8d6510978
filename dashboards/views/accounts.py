"""Accounts: the people behind the numbers, and one person's whole way."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from dashboards import components, definitions, figures, formats, journeys, people
from dashboards.charts import PEOPLE
from dashboards.filters import Filters
from dashboards.people import Lead, People
from dashboards.queries import EXPORT_ROWS_MAX
from dashboards.source import Source
from dashboards.views import behind

LIFECYCLES = tuple(definitions.LIFECYCLE_LABELS)
SEARCH_LETTERS_MAX = 254
ACCOUNT = "account"


def draw(source: Source, filters: Filters) -> None:
    """The whole page: one account or the rows behind a number where the address says so."""
    chosen = st.query_params.get(ACCOUNT)
    if chosen:
        _one(source, chosen[:SEARCH_LETTERS_MAX].strip().lower())
        return
    wanted = people.read(st.query_params.get(PEOPLE, ""))
    if wanted is not None:
        behind.draw(source, filters, wanted)
    else:
        _all(source, filters)


def _all(source: Source, filters: Filters) -> None:
    counts = source.ask("lifecycle_counts", filters)
    by_lifecycle = dict(counts.iter_rows())
    everybody = figures.total(counts, "accounts")
    with components.cards("lifecycles"):
        for lifecycle, label in definitions.LIFECYCLE_LABELS.items():
            number = by_lifecycle.get(lifecycle, 0)
            components.card(
                label,
                formats.count(number),
                help_text=definitions.LIFECYCLES[lifecycle],
                caption=f"{formats.percent(formats.rate(number, everybody))} of "
                f"{formats.counted(everybody, 'account')}",
                lead=Lead(
                    (People.of("lifecycle", lifecycle), People.of("lifecycle", None)),
                    filters.sources,
                ),
            )
    with st.container(horizontal=True, vertical_alignment="bottom", key="account-filters"):
        search = st.text_input(
            "E-mail or workspace",
            type="search",
            max_chars=SEARCH_LETTERS_MAX,
            placeholder="part of an address, or a whole workspace id",
            key="search",
            bind="query-params",
            width=320,
        )
        plan_ids = st.multiselect(
            "Paid plan",
            source.ask("plans")["plan_id"].to_list(),
            placeholder="Any plan",
            key="plan",
            bind="query-params",
            width=240,
        )
        is_overdue = st.toggle("With an overdue payment", key="overdue", bind="query-params")
    lifecycles = st.pills(
        "Where they are",
        LIFECYCLES,
        selection_mode="multi",
        format_func=definitions.LIFECYCLE_LABELS.__getitem__,
        key="lifecycle",
        bind="query-params",
    )
    wanted = ((search or "").strip(), tuple(lifecycles), tuple(plan_ids), is_overdue)
    frame = source.ask("accounts", filters, *wanted)
    if frame.is_empty():
        components.nothing("No account fits. Search for less, or choose fewer conditions.")
        return
    components.listing(
        frame.with_columns(pl.col("lifecycle").replace(definitions.LIFECYCLE_LABELS)),
        behind.account_columns(),
        key="accounts",
        noun=("account", "accounts"),
        file_name="accounts.csv",
        everything=lambda: source.ask("accounts", filters, *wanted, rows=EXPORT_ROWS_MAX),
        opens_accounts=True,
    )


def _one(source: Source, account_id: str) -> None:
    if st.button("← All accounts", key="all-accounts"):
        del st.query_params[ACCOUNT]
        st.rerun()
    st.code(account_id, language=None, wrap_lines=True)
    found = source.ask("account", account_id)
    events = source.ask("account_events", account_id)
    if found.is_empty() and events.height:
        components.nothing(
            "What was received of this account names workspaces of others alone: it counts for the "
            "account that each workspace was first named with."
        )
        _timeline(source, account_id, events)
        return
    if found.is_empty():
        components.nothing(
            "No event of this account is in the warehouse. Addresses are in lower case."
        )
        return
    account = found.row(0, named=True)
    episodes = source.ask("account_episodes", account_id)
    with st.container(border=True):
        st.markdown("**Where is this person stuck?**")
        st.text(journeys.stuck_at(account, episodes, as_of=source.version.as_of))
    _cards(account)
    _timeline(source, account_id, events)
    _periods(source.ask("account_periods", account_id))
    _episodes(episodes)
    _workspaces(events)


def _cards(account: dict[str, Any]) -> None:
    with components.cards("account"):
        lifecycle = account["lifecycle"]
        components.card(
            "Where they are",
            definitions.LIFECYCLE_LABELS.get(lifecycle, "Unknown"),
            help_text=definitions.LIFECYCLES.get(lifecycle, ""),
            caption=f"last event {formats.instant(account['last_event_at'])}"
            if account["last_event_at"]
            else "no dated event",
        )
        components.card(
            "MRR",
            formats.money(account["mrr"] or 0.0, account["currency"])
            if account["is_paying"]
            else formats.NOTHING,
            help_text=definitions.ACCOUNT_MRR,
            caption=f"paid until {formats.day(account['period_end'])}"
            if account["period_end"]
            else "end of the paid time not known"
            if account["is_paying"]
            else "pays nothing now",
        )
        for label, column, start in (
            ("Registered", "registered_at", None),
            ("First workspace", "workspace_at", "registered_at"),
            ("First paid", "first_paid_at", "registered_at"),
            ("First renewal", "renewed_at", "first_paid_at"),
        ):
            moment, begin = account[column], account[start] if start else None
            components.card(
                label,
                formats.day(moment) if moment else formats.NOTHING,
                help_text=definitions.ACCOUNT_STEPS,
                caption=_not_reached(account, column)
                if moment is None
                else f"{formats.span(max(0.0, (moment - begin).total_seconds()))} after "
                + ("registering" if start == "registered_at" else "first paying")
                if begin
                else formats.instant(moment),
            )
        components.card(
            "Overdue payments",
            formats.count(account["open_overdue"] or 0),
            help_text=definitions.OPEN_OVERDUE,
            caption="open now",
        )
        components.card(
            "Workspaces",
            formats.count(account["workspaces_live"] or 0),
            help_text="Workspaces of this owner that no event has deleted.",
            caption=f"of {formats.count(account['workspaces_total'] or 0)} ever seen",
        )


def _not_reached(account: dict[str, Any], column: str) -> str:
    """Why a step has no date. The funnel follows those alone whose registration is known."""
    if account["registered_at"] is None and column in ("workspace_at", "renewed_at"):
        return "not known without a registration"
    return "not yet, as far as events tell"


def _timeline(source: Source, account_id: str, events: pl.DataFrame) -> None:
    components.section("Every event", definitions.TIMELINE)
    if events.is_empty():
        components.nothing("No stored event names this account.")
        return
    text, day = st.column_config.TextColumn, st.column_config.DateColumn
    picked = components.listing(
        events,
        {
            "occurred_at": _instant("Happened (UTC)"),
            "event_type": text("Event"),
            "workspace_id": text("Workspace"),
            "plan_id": text("Plan"),
            "amount": st.column_config.NumberColumn("Amount", format="accounting"),
            "currency": text("Currency"),
            "auto_renew": st.column_config.CheckboxColumn("Auto-renew"),
            "end_date": day("Ends", format="D MMM YYYY"),
            "due_date": day("Due", format="D MMM YYYY"),
            "origin": text("Came by"),
            "received_at": _instant("Received (UTC)"),
        },
        key="timeline",
        noun=("event", "events"),
        file_name="account-events.csv",
        everything=lambda: source.ask("account_events", account_id, rows=EXPORT_ROWS_MAX),
        is_selectable=True,
    )
    if picked is None:
        st.caption("Choose a row to see the event as it was received.")
        return
    event = events.row(picked, named=True)
    body = source.ask("event_body", event["event_id"], event["event_type"], event["event_month"])
    st.caption("As received:")
    st.code(body["payload"][0] if body.height else "", language="json", wrap_lines=True)


def _periods(periods: pl.DataFrame) -> None:
    components.section("Plans", definitions.PERIODS)
    if periods.is_empty():
        components.nothing("This account was never on a plan, as far as events tell.")
        return
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    components.table(
        periods,
        {
            "plan_id": text("Plan"),
            "valid_from": _instant("From (UTC)"),
            "valid_to": _instant("Until (UTC)"),
            "is_paid": st.column_config.CheckboxColumn("Paid"),
            "mrr": number("MRR", format="%.2f"),
            "currency": text("Currency"),
            "subscription_id": text("Workspace or account"),
        },
        key="periods",
    )


def _episodes(episodes: pl.DataFrame) -> None:
    components.section("Overdue payments", definitions.OPEN_OVERDUE, shown=False)
    if episodes.is_empty():
        components.nothing("No payment of this account was ever overdue.")
        return
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    components.table(
        episodes.with_columns(
            pl.col("cause").replace(definitions.CAUSE_LABELS),
            pl.col("status").replace(definitions.STATUS_LABELS),
        ),
        {
            "opened_at": _instant("Opened (UTC)"),
            "status": text("Outcome"),
            "cause": text("Cause"),
            "amount": number("Amount", format="accounting"),
            "currency": text("Currency"),
            "days_overdue": number("Days overdue"),
            "closed_at": _instant("Closed (UTC)"),
            "notices": number("Notices"),
            "workspace_id": text("Workspace"),
        },
        key="episodes",
    )


def _workspaces(events: pl.DataFrame) -> None:
    components.section("Workspaces", definitions.WORKSPACES)
    frame = journeys.workspaces(events)
    if frame.is_empty():
        components.nothing("No event of this account names a workspace.")
        return
    text = st.column_config.TextColumn
    components.table(
        frame,
        {
            "workspace_id": text("Workspace"),
            "workspace_name": text("Name"),
            "first_seen_at": _instant("First seen (UTC)"),
            "deleted_at": _instant("Deleted (UTC)"),
            "events": st.column_config.NumberColumn("Events"),
        },
        key="workspaces",
    )


def _instant(title: str) -> Any:
    return st.column_config.DatetimeColumn(title, format="D MMM YYYY HH:mm", timezone="UTC")
