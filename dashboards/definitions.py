"""What each number means, in the words shown beside it; the exact rules are the models' docs.

Static text of ours only: it is drawn as Markdown.
"""

from __future__ import annotations

from typing import Final

REGISTERED: Final = (
    "Owners whose registration UChat reported in the period, each e-mail address once. "
    "Days are UTC."
)
CONVERSION: Final = (
    "Of those who registered in the period at least **{days} days** ago, the share whose first "
    "paid plan began within {days} days of registering. Whoever registered later has not had the "
    "time yet and counts in neither number.\n\n"
    "Formula: paid within {days} days ÷ registered at least {days} days ago"
)
PAYING: Final = (
    "Owners with at least one paid plan at the end of the period. Several paid workspaces of one "
    "owner count once. A plan is paid when its price is above zero."
)
MRR: Final = (
    "Monthly recurring revenue at the end of the period: the monthly price of every running paid "
    "plan, a yearly price divided by 12, from your plan catalogue. Currencies are never added up."
)
CHURNED: Final = (
    "Owners whose last paid plan ended in the period. A gap that healed within 24 hours on the "
    "same plan never happened. The rate is over those paying when the period began."
)
OPEN_OVERDUE: Final = (
    "Overdue payments that nothing has closed by the end of the period: no renewal, no paid plan "
    "chosen, no end of the plan. Several notices about one payment are one episode."
)
FUNNEL: Final = (
    "Everybody who registered in the period, and how far they have come **until now**. A later "
    "step implies the earlier ones, since a webhook can get lost. Step rate: of those who reached "
    "the step before. Overall: of all who registered."
)
TIME_TO_PAID: Final = (
    "From registration to the start of the first paid plan, over those of the period who pay or "
    "paid. Recent registrations that will pay later are not in it yet, so it reads low for "
    "short, recent periods."
)
COHORTS: Final = (
    "Each point is everybody who registered in that {grain}. A hollow point on a dashed line is "
    "**still maturing**: not all of them have had {days} days yet, and it covers those who have."
)
SOURCES: Final = (
    "Conversion within 30 days by where people came from, matured registrations only. "
    "`unknown`: the registration named no source."
)
CHANGES: Final = {
    "new": "First paid plan of a subscription that never paid before.",
    "upgrade": "From one paid plan to a higher tier, or to a higher price of the same tier.",
    "downgrade": "From one paid plan to a lower tier or price, still paid.",
    "switch": "Between paid plans that cannot be ranked: one has no price, or currencies differ.",
    "cancel": "From a paid plan to a free one or none.",
    "reactivation": "Paid again, after a time without paying.",
}
FLOWS: Final = (
    "How many times somebody went from the plan on the left to the plan above. Repeated notices "
    "of an unchanged plan and gaps that healed do not count."
)
MOVEMENTS: Final = (
    "What changed monthly recurring revenue each month, by owner and currency. New: never paid "
    "before. Reactivation: paid before. Expansion and contraction: more or less than before. "
    "Churn: pays nothing any more."
)
CAUSES: Final = (
    "Workspace deleted: it took the plan with it. Wallet short: your UChat wallet could not pay "
    "the renewal. Non-renewal: overdue with auto-renew off. Expiry: ended when the paid time was "
    "over. Early: ended before that."
)
AGEING: Final = (
    "Everything open now, by days since the due date (since the first notice where none is "
    "stated). The period chosen above does not apply."
)
RECOVERY: Final = (
    "Of the episodes opened in the month at least 30 days ago, the share that recovered within "
    "30 days: a renewal, or a paid plan chosen. The two causes are never mixed: one waits for "
    "your wallet, the other for a customer's decision. A hollow point is a month of which some "
    "episodes are not 30 days old yet; they are in neither number."
)

LIFECYCLES: Final = {
    "past_due": "Pays, and has an overdue payment that nothing has closed.",
    "paying": "Has at least one paid plan now, and nothing overdue.",
    "churned": "Paid once and has no paid plan now.",
    "trialing": "Never paid, and registered less than 14 days ago (or as long as your trial is).",
    "activated": "Never paid, out of the trial, and has or had a workspace.",
    "registered": "Never paid, out of the trial, and never had a workspace.",
}
ACCOUNT_MRR: Final = (
    "Monthly recurring revenue of all this owner's paid plans in the currency of the largest."
)
ACCOUNT_STEPS: Final = (
    "The steps of the funnel for this owner. A later step implies the earlier ones, since a "
    "webhook can get lost."
)
TIMELINE: Final = (
    "Everything received about this owner, newest first: each event once, as it was stated. A "
    "deletion that names only a workspace of theirs is here too."
)
PERIODS: Final = (
    "Which plan held from when until when, for each workspace (or for the account, where events "
    "name no workspace). An open end runs still."
)
WORKSPACES: Final = "Workspaces that these events name, with the last name told."
RETENTION: Final = (
    "Of everybody who began to pay, those who still did that many months and 4 days later (after "
    "the renewal and UChat's days of grace). Only those for whom that moment has come are in "
    "either number.\n\n"
    "Formula: still paying ÷ had the time. Revenue: their MRR then ÷ their MRR at first, in the "
    "currency of the first plan; it can exceed 100 %."
)
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
