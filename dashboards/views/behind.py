"""The rows behind one number: what it is made of, each part listed, added up and exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl
import streamlit as st

from dashboards import components, definitions, formats, people
from dashboards.charts import PEOPLE
from dashboards.filters import Filters
from dashboards.people import People
from dashboards.queries import EXPORT_ROWS_MAX, unit_of
from dashboards.source import Source

OF: Final = "of"
_ACCOUNTS: Final = ("account", "accounts")
_NOUNS: Final = {
    "change": ("change", "changes"),
    "movement": ("movement", "movements"),
    "episode": ("overdue payment", "overdue payments"),
}
_SUMS: Final = {
    "moved": "MRR moved",
    "amount": "amount stated",
    "mrr": "MRR",
    "mrr_start": "MRR at the start",
    "mrr_end": "MRR at the end",
    "mrr_kept": "the smaller of both",
    "mrr_then": "MRR then",
}


def draw(source: Source, filters: Filters, chosen: People) -> None:
    """The list of the part chosen, with all parts of the number to choose from."""
    parts = people.read_all(st.query_params.get_all(OF), chosen)
    totals = {part: source.ask("total_behind", filters, part).row(0, named=True) for part in parts}
    _say_who(chosen)
    if len(parts) > 1:
        _choose(parts, totals, chosen)
    total = totals[chosen]
    unit = unit_of(chosen)
    frame = source.ask("rows_behind", filters, chosen)
    if frame.is_empty():
        components.nothing("Nobody: there is no row behind this number.")
        return
    components.listing(
        _readable(frame),
        _COLUMNS[unit](),
        key="accounts",
        noun=_NOUNS.get(unit, _ACCOUNTS),
        file_name=f"{chosen.kind}.csv",
        everything=lambda: source.ask("rows_behind", filters, chosen, rows=EXPORT_ROWS_MAX),
        opens_accounts=True,
        foot=foot(total, source.ask("sums_behind", filters, chosen), unit),
    )


def foot(total: dict[str, Any], sums: pl.DataFrame, unit: str) -> str:
    """What all the rows add up to, listed or not; of the times, the middle one. Safe text."""
    told = [formats.counted(total["rows"], *_NOUNS.get(unit, _ACCOUNTS))]
    if total["accounts"] != total["rows"]:
        told[0] += f" of {formats.counted(total['accounts'], 'account')}"
    if total["median"] is not None:
        what, length = ("close", 1) if unit == "episode" else ("paid", 86_400)
        told.append(
            f"days to {what}: median **{total['median'] / length:.1f}**, nine in ten within"
            f" **{total['p90'] / length:.1f}**"
        )
    for row in sums.head(components.CURRENCIES_ADDED_MAX).iter_rows(named=True):
        currency = formats.currency_label(row["currency"])
        told += [
            f"{_SUMS[name]} **{currency} {row[name]:,.2f}**".replace("-", formats.MINUS)
            for name in sums.columns[1:]
        ]
    unsaid = sums.height - components.CURRENCIES_ADDED_MAX
    if unsaid > 0:
        told.append(f"and in {formats.counted(unsaid, 'more currency', 'more currencies')}")
    return "All together: " + " · ".join(told)


def _say_who(chosen: People) -> None:
    """Which rows they are, and the way back to everybody."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="people"):
        st.text(f"Only: {chosen.label}")
        if st.button("Show everybody", key="everybody"):
            st.query_params.pop(PEOPLE, None)
            st.query_params.pop(OF, None)
            st.rerun()


def _choose(parts: list[People], totals: dict[People, dict[str, Any]], chosen: People) -> None:
    """The parts of the number with how many rows each has; the choice goes into the address."""
    picked = st.selectbox(
        "What this number is made of",
        parts,
        index=parts.index(chosen),
        format_func=lambda part: f"{formats.count(totals[part]['rows'])} · {part.label}",
        width=640,
    )
    if picked != chosen:
        st.query_params[PEOPLE] = picked.address
        st.rerun()


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Our own words for the codes a column may hold."""
    words = {
        "cause": definitions.CAUSE_LABELS,
        "status": definitions.STATUS_LABELS,
        "change_type": definitions.CHANGE_LABELS,
        "mrr_movement": definitions.MOVEMENT_LABELS,
        "lifecycle": definitions.LIFECYCLE_LABELS,
    }
    return frame.with_columns(
        pl.col(column).replace(labels)
        for column, labels in words.items()
        if column in frame.columns
    )


def _text(title: str, **how: Any) -> Any:
    return st.column_config.TextColumn(title, **how)


def _number(title: str, form: str | None = None) -> Any:
    return st.column_config.NumberColumn(title, format=form)


def _instant(title: str) -> Any:
    return st.column_config.DatetimeColumn(title, format="D MMM YYYY HH:mm", timezone="UTC")


def _account() -> Any:
    return _text("Account", width="medium")


def _journey() -> dict[str, Any]:
    return {
        "account_id": _account(),
        "source": _text("Source"),
        "registered_at": _instant("Registered (UTC)"),
        "workspace_at": _instant("First workspace (UTC)"),
        "paid_at": _instant("First paid (UTC)"),
        "days_to_paid": _number("Days to paid", "%.1f"),
        "first_paid_plan_id": _text("First paid plan"),
        "renewed_at": _instant("First renewal (UTC)"),
    }


def _change() -> dict[str, Any]:
    return {
        "changed_at": _instant("When (UTC)"),
        "account_id": _account(),
        "change_type": _text("Change"),
        "from_plan_id": _text("From"),
        "to_plan_id": _text("To"),
        "moved": _number("MRR moved", "%+.2f"),
        "currency": _text("Currency"),
        "mrr_movement": _text("Movement"),
        "cause": _text("Cause"),
    }


def _movement() -> dict[str, Any]:
    return {
        "occurred_at": _instant("When (UTC)"),
        "account_id": _account(),
        "mrr_movement": _text("Movement"),
        "account_mrr_before": _number("MRR before", "%.2f"),
        "account_mrr_after": _number("MRR after", "%.2f"),
        "moved": _number("MRR moved", "%+.2f"),
        "currency": _text("Currency"),
    }


def _episode() -> dict[str, Any]:
    return {
        "opened_at": _instant("Opened (UTC)"),
        "account_id": _account(),
        "cause": _text("Cause"),
        "status": _text("Outcome"),
        "amount": _number("Amount", "accounting"),
        "currency": _text("Currency"),
        "due_date": st.column_config.DateColumn("Due", format="D MMM YYYY"),
        "closed_at": _instant("Closed (UTC)"),
        "days_to_close": _number("Days to close"),
        "days_overdue": _number("Days overdue"),
    }


def _payer() -> dict[str, Any]:
    return {
        "account_id": _account(),
        "plans": _text("Paid plans then"),
        "since": _instant("On them since (UTC)"),
    }


def _ceased() -> dict[str, Any]:
    return {
        "account_id": _account(),
        "plans": _text("Paid plans in the period"),
        "since": _instant("On the first of them since (UTC)"),
        "ended_at": _instant("Stopped paying (UTC)"),
        "is_before": st.column_config.CheckboxColumn("Paid when it began"),
    }


def _paying() -> dict[str, Any]:
    return _payer() | {"mrr": _number("MRR", "%.2f"), "currency": _text("Currency")}


def _kept() -> dict[str, Any]:
    return {
        "account_id": _account(),
        "mrr_start": _number("MRR at the start", "%.2f"),
        "mrr_end": _number("MRR at the end", "%.2f"),
        "mrr_kept": _number("The smaller of both", "%.2f"),
        "currency": _text("Currency"),
        "is_paying": st.column_config.CheckboxColumn("Pays at the end"),
    }


def _retained() -> dict[str, Any]:
    return {
        "account_id": _account(),
        "first_paid_at": _instant("First paid (UTC)"),
        "judged_at": _instant("Looked at (UTC)"),
        "is_paying": st.column_config.CheckboxColumn("Paid then"),
        "mrr_start": _number("MRR at the start", "%.2f"),
        "mrr_then": _number("MRR then", "%.2f"),
        "currency": _text("Currency"),
    }


def account_columns() -> dict[str, Any]:
    """The columns of a list of accounts as they are now."""
    return {
        "account_id": _account(),
        "lifecycle": _text("Where they are"),
        "source": _text("Source"),
        "registered_at": _instant("Registered (UTC)"),
        "current_plan_id": _text("Plan"),
        "mrr": _number("MRR", "%.2f"),
        "currency": _text("Currency"),
        "workspaces_live": _number("Workspaces"),
        "open_overdue": _number("Overdue"),
        "last_event_at": _instant("Last event (UTC)"),
    }


_COLUMNS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "journey": _journey,
    "change": _change,
    "movement": _movement,
    "episode": _episode,
    "payer": _payer,
    "ceased": _ceased,
    "paying": _paying,
    "kept": _kept,
    "retained": _retained,
    "account": account_columns,
}
