"""What each number means, in the words shown beside it.

A word that the tables' comments explain is explained by the same text, from the glossary of the
models; what is written here says how a page shows it. Static text of ours only: it is drawn as
Markdown.
"""

from __future__ import annotations

from typing import Final

from warehouse.glossary import glossary


def _said(key: str, *also: str) -> str:
    """The glossary's definition, as a sentence, and what a page has to add to it."""
    definition = glossary()[key].definition
    return " ".join((definition[0].upper() + definition[1:], *also))


def _named(key: str) -> str:
    """The glossary's entry, the word before its definition."""
    return f"{glossary()[key].title}: {glossary()[key].definition}"


AT_THE_END: Final = "Shown as it was at the end of the period."
REGISTERED: Final = _said("registration", "Counted are those of the period; days are UTC.")
CONVERSION: Final = (
    _said("conversion").replace(" W ", " {days} ").replace("_W", "_{days}")
    + " Here: of those who registered in the period."
)
PAYING: Final = _said("paying_accounts", _named("paid"), AT_THE_END)
MRR: Final = _said("mrr", AT_THE_END)
CHURNED: Final = (
    "Accounts that stopped paying in the period and pay nothing at its end. "
    f"{_named('restore_grace')} The rate is of those paying when the period began, whoever began "
    "later left out."
)
OPEN_OVERDUE: Final = _said("open_overdue", _named("overdue_episode"), AT_THE_END)
FUNNEL: Final = (
    "Everybody who registered in the period, and how far they have come **until now**. A later "
    "step implies the earlier ones, since a webhook can get lost. Step rate: of those who reached "
    "the step before. Overall: of all who registered."
)
TIME_TO_PAID: Final = _said("time_to_paid", "Here: of those who registered in the period.")
COHORTS: Final = (
    "Each point is everybody who registered in that {grain}. A hollow point on a dashed line is "
    "**still maturing**: not all of them have had {days} days yet, and it covers those who have."
)
SOURCES: Final = (
    f"By where people came from, within 30 days. {_named('matured')} "
    "`unknown`: the registration named no source."
)
CHANGES: Final = {
    kind: _said(f"change_{kind}")
    for kind in ("new", "upgrade", "downgrade", "switch", "cancel", "reactivation")
}
FLOWS: Final = (
    "How many times somebody went from the plan on the left to the plan above. Repeated notices "
    "of an unchanged plan and gaps that healed do not count."
)
MOVEMENTS: Final = "What changed MRR each month, by account and currency. " + " ".join(
    _named(kind) for kind in ("mrr_new", "expansion", "contraction", "churn", "reactivation")
)
NRR: Final = _said("nrr")
GRR: Final = _said("grr")
LOGO_CHURN: Final = _said("logo_churn")
ARPA: Final = _said("arpa")
KEPT: Final = (
    "Each month from the revenue at its start to that at its end, and what was kept of it. Over "
    "all registration sources, whole months of the period; the running one ends now."
)
MISSING_RENEWALS: Final = (
    f"{_said('missing_renewal')} {_named('expected_renewal')} Listed by that day, of the period."
)
CAUSES: Final = _named("cancel_cause")
AGEING: Final = (
    f"Everything open now, by days overdue: {glossary()['days_overdue'].definition} The period "
    "chosen above does not apply."
)
RECOVERY: Final = (
    f"{_said('recovery')} {_named('overdue_cause')} A hollow point is a month of which some "
    "episodes are not 30 days old yet; they are in neither number."
)

LIFECYCLES: Final = {
    lifecycle: _said(f"lifecycle_{lifecycle}")
    for lifecycle in ("past_due", "paying", "churned", "trialing", "activated", "registered")
}
ACCOUNT_MRR: Final = _said(
    "mrr", "Here: of all this account's paid plans in the currency of the largest."
)
ACCOUNT_STEPS: Final = (
    "The steps of the funnel for this owner. A later step implies the earlier ones, since a "
    "webhook can get lost."
)
TIMELINE: Final = (
    "Everything received about this owner, newest first: each event once, as it was stated. An "
    "event that names a workspace of theirs and nobody, or somebody else, is here too."
)
PERIODS: Final = (
    "Which plan held from when until when, for each workspace (or for the account, where events "
    "name no workspace). An open end runs still."
)
WORKSPACES: Final = "Workspaces that these events name, with the last name told."
RETENTION: Final = _said("retention")
TRIANGLE: Final = (
    "Each row is the accounts that first paid in that month, their number in brackets; each cell "
    "the percentage kept that many months later. Empty: nobody's time has come yet."
)
RETENTION_CURVE: Final = (
    "All cohorts added up, so large months weigh more. The right end rests on older cohorts alone."
)
VERDICTS: Final = {
    "accepted": "Proved, readable, and new: stored as an event.",
    "duplicate": "The same event again, as senders do when an answer is lost. Counted, not stored.",
    "quarantined": (
        "Proved to be the sender's, but no event yet: a required field is missing or the body is "
        "no JSON. Kept byte for byte and answered 202; nothing is lost."
    ),
    "rejected": (
        "Not proved to be the sender's, or refused for its form. Of these only the newest 1,000 "
        "are remembered, without bodies."
    ),
}
VERDICT_LABELS: Final = {
    "accepted": "Accepted",
    "duplicate": "Duplicate",
    "quarantined": "Quarantined",
    "rejected": "Rejected",
}
DELIVERIES: Final = "Everything that reached the receiver, by what became of it. Times are UTC."
LANDING_LAG: Final = (
    "How long the oldest accepted event has been waiting to get from the ledger into the lake. "
    "Normally about a second. It is safe meanwhile."
)
REFRESH_LAG: Final = (
    "How much newer the receiver's newest event is than the newest one in the numbers. Needs "
    "`hooklake refresh --watch` running, and is then a few seconds."
)
UNKNOWN_TYPES: Final = (
    "Events of a type hooklake does not know. They are stored whole, and move no number until a "
    "version that knows them reads them again."
)
FIELDS: Final = (
    "Unknown: fields beyond the contract, kept in the event's body only. Unreadable: known fields "
    "with a value that could not be read, left empty in the event."
)
FIELD_LABELS: Final = {"unknown": "Unknown", "unreadable": "Unreadable"}
SANDBOX: Final = (
    "One SELECT over the published tables, read-only, in a process of its own. Days and instants "
    "are UTC. At most 10,000 rows come back; whoever needs more runs `hooklake sql`."
)

CAUSE_LABELS: Final = {
    "wallet_short": "Wallet short",
    "non_renewal": "Not renewing",
    "unknown": "Unknown",
    "overdue": "Overdue, unknown why",
    "workspace_deleted": "Workspace deleted",
    "expiry": "Expired",
    "early": "Ended early",
}
STATUS_LABELS: Final = {"open": "Open", "recovered": "Recovered", "lost": "Lost"}
LIFECYCLE_LABELS: Final = {
    "past_due": "Past due",
    "paying": "Paying",
    "churned": "Churned",
    "trialing": "In trial",
    "activated": "Activated",
    "registered": "Registered only",
}
CAUSE_ACTIONS: Final = {
    "wallet_short": "Top up your UChat wallet",
    "non_renewal": "Ask the owner to renew",
    "unknown": "Check auto-renew in UChat",
}
CHANGE_LABELS: Final = {
    "new": "New",
    "reactivation": "Reactivation",
    "upgrade": "Upgrade",
    "downgrade": "Downgrade",
    "switch": "Switch",
    "cancel": "Cancel",
    "trial_over": "Trial over",
    "start_free": "Started free",
    "closed": "Closed",
}
MOVEMENT_LABELS: Final = {
    "new": "New",
    "reactivation": "Reactivation",
    "expansion": "Expansion",
    "contraction": "Contraction",
    "churn": "Churn",
}
BUCKET_LABELS: Final = {
    "not_due": "Not due yet",
    "0-7": "0–7 days",
    "8-30": "8–30 days",
    "31-60": "31–60 days",
    "61-90": "61–90 days",
    "90+": "Over 90 days",
}
HAPPENED_LABELS: Final = {
    "registered": "Registered",
    "workspace": "First workspace",
    "new": "Started paying",
    "reactivation": "Came back",
    "upgrade": "Upgraded",
    "downgrade": "Downgraded",
    "switch": "Switched plan",
    "cancel": "Cancelled",
    "overdue": "Payment overdue",
    "recovered": "Payment recovered",
}
