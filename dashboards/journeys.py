"""One account's way in a sentence, and its workspaces: pure functions of the warehouse's rows.

The sentences hold dates, counts and words of ours only, never text of an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from dashboards import formats
from dashboards.definitions import CAUSE_LABELS

_NEXT_STEPS: Final = {
    "wallet_short": "your UChat wallet could not pay: top it up",
    "non_renewal": "auto-renew is off: ask the owner to renew",
    "unknown": "why is not known: check auto-renew in UChat",
}


def stuck_at(
    account: Mapping[str, Any], episodes: pl.DataFrame, *, as_of: datetime, trial_days: int = 14
) -> str:
    """Where the person is on the way from registering to renewing, and what would move them on.

    account: the row of queries.account; episodes: of queries.account_episodes.
    """
    lifecycle = account["lifecycle"]
    if lifecycle == "past_due":
        return _past_due(episodes)
    if lifecycle == "paying":
        return _paying(account)
    if lifecycle == "churned":
        return _churned(account, as_of)
    registered = account["registered_at"]
    if registered is None:
        return (
            "No registration was reported for this address; the other events made the account. "
            "It has never paid."
        )
    if account["first_paid_at"] is not None:
        return (
            f"Paid on {formats.day(account['first_paid_at'])}, as a renewal proves, but no event "
            "told for which plan: what is paid now is not known, and counts as nothing."
        )
    workspace = account["workspace_at"]
    since = f"registered on {formats.day(registered)}"
    if lifecycle == "trialing":
        left = registered + timedelta(days=trial_days) - as_of
        step = (
            f"made a first workspace after {formats.span((workspace - registered).total_seconds())}"
            if workspace
            else "has no workspace yet"
        )
        # a longer trial than the default is the models' setting, which is not published
        ends = f" for another {formats.span(left.total_seconds())}" if left > timedelta(0) else ""
        return f"In the trial{ends}: {since} and {step}."
    if workspace is None and not account["workspaces_total"]:
        return (
            f"Stuck before the first workspace: {since}, {_days_before(registered, as_of)}, and "
            "never made one."
        )
    made = f"a workspace since {formats.day(workspace)}" if workspace else "a workspace"
    is_gone = account["workspaces_total"] and not account["workspaces_live"]
    gone = " It is deleted by now." if is_gone else ""
    return (
        f"Stuck before paying: {since}, had {made}, and has not paid in the "
        f"{formats.counted(max(0, (as_of - registered).days), 'day')} since registering.{gone}"
    )


def workspaces(events: pl.DataFrame) -> pl.DataFrame:
    """workspace_id, workspace_name (the last one told), first_seen_at, deleted_at, is_live, events.

    events: queries.account_events. Newest first.
    """
    return (
        events.filter(pl.col("workspace_id").is_not_null())
        .sort("occurred_at")
        .group_by("workspace_id")
        .agg(
            pl.col("workspace_name").drop_nulls().last(),
            pl.col("occurred_at").first().alias("first_seen_at"),
            pl.col("occurred_at")
            .filter(pl.col("event_type") == "workspace_deleted")
            .first()
            .alias("deleted_at"),
            pl.len().alias("events"),
        )
        .with_columns(pl.col("deleted_at").is_null().alias("is_live"))
        .sort("first_seen_at", "workspace_id", descending=[True, False])
    )


def _past_due(episodes: pl.DataFrame) -> str:
    still = episodes.filter(pl.col("status") == "open").sort(
        "days_overdue", descending=True, nulls_last=True
    )
    if still.is_empty():
        return "Pays, with a payment overdue."
    worst = still.row(0, named=True)
    days = worst["days_overdue"] or 0
    when = f"{formats.counted(days, 'day')} overdue" if days >= 0 else "not due yet"
    return (
        f"Pays, with {formats.counted(still.height, 'payment')} open, the oldest {when}; "
        f"{_NEXT_STEPS.get(worst['cause'], _NEXT_STEPS['unknown'])}."
    )


def _paying(account: Mapping[str, Any]) -> str:
    first = account["first_paid_at"]
    since = f" since {formats.day(first)}" if first else ""
    if account["auto_renew"] is False:
        end = account["period_end"]
        until = f" on {formats.day(end)}" if end else " when the paid time is over"
        return f"About to leave: pays{since}, but auto-renew is off and the plan ends{until}."
    if account["registered_at"] is None:
        return f"Not stuck: pays{since}. Its first renewal is not known without a registration."
    if account["renewed_at"] is None:
        return f"Not stuck: pays{since}; the first renewal is still to come."
    return f"Not stuck: pays{since} and renewed first on {formats.day(account['renewed_at'])}."


def _churned(account: Mapping[str, Any], as_of: datetime) -> str:
    ended = account["last_cancel_at"]
    if ended is None:
        return "Paid once and pays nothing now."
    first = account["first_paid_at"]
    after = f" after first paying on {formats.day(first)}" if first else ""
    cause = CAUSE_LABELS.get(account["last_cancel_cause"] or "", "Unknown").lower()
    return (
        f"Left: the last paid plan ended on {formats.day(ended)}, {_days_before(ended, as_of)}"
        f"{after}. Cause: {cause}."
    )


def _days_before(moment: datetime, as_of: datetime) -> str:
    return f"{formats.counted(max(0, (as_of - moment).days), 'day')} ago"
