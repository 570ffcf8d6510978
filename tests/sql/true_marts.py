"""What the tables must hold, worked out from what really happened and never from events.

From the truth of made-up lives (ingest/truth.py): who was on which plan when, what was overdue,
which renewals were due. The catalogue is the shipped one but for IN_EUROS.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

from ingest.lifecycles import Life
from ingest.population import CURRENCY, PLANS
from ingest.truth import AccountTruth, PlanPeriod
from warehouse.transform import PROJECT

IN_EUROS = "business_large"
"""Here the catalogue has this plan in another currency than the shipped one; its price stays."""
NOTHING = Decimal("0.00")
_SEED = PROJECT / "seeds" / "plan_prices.csv"
_BUCKETS = ((-1, "not_due"), (7, "0-7"), (30, "8-30"), (60, "31-60"), (90, "61-90"))

Row = dict[str, Any]


def catalogue() -> str:
    lines = _SEED.read_text().splitlines(keepends=True)
    return "".join(
        line.replace(f",{CURRENCY},", ",EUR,") if line.startswith(f"{IN_EUROS},") else line
        for line in lines
    )


_LINES = list(csv.DictReader(_SEED.read_text().splitlines()))


def _monthly(column: str) -> dict[str, Decimal]:
    months = {"month": 1, "year": 12}
    return {
        line["plan_id"]: (Decimal(line[column]) / months[line["interval"]]).quantize(
            Decimal("0.01"), ROUND_HALF_UP
        )
        for line in _LINES
    }


MRR, COST = _monthly("price"), _monthly("cost")
TIER = {line["plan_id"]: int(line["tier"]) for line in _LINES}


def currency_of(plan_id: str) -> str:
    return "EUR" if plan_id == IN_EUROS else CURRENCY


def paid_periods(truth: AccountTruth) -> list[PlanPeriod]:
    return [period for period in truth.periods if period.plan_id in PLANS]


@dataclass(frozen=True)
class Change:
    """A subscription goes from one plan to another; None is no plan."""

    account_id: str
    subscription_id: str
    at: datetime
    before: str | None
    after: str | None
    paid_ever: bool
    known_end: date | None


def changes(truth: AccountTruth) -> list[Change]:
    """All of an account's, in the order of time. Where no plan follows, a deletion ended it."""
    found = []
    subscriptions: dict[str, list[PlanPeriod]] = defaultdict(list)
    for period in truth.periods:
        subscriptions[period.subscription_id].append(period)
    for subscription_id, periods in subscriptions.items():
        paid_ever, left = False, None
        for period, following in pairwise([*periods, None]):
            assert period is not None
            made = [(period.valid_from, left, period.plan_id, None)]
            left = period.plan_id
            if period.valid_to and (following is None or following.valid_from > period.valid_to):
                made.append((period.valid_to, left, None, period))
                left = None
            for at, before, after, _ in made:
                ended = next((p for p in periods if p.valid_to == at), None)
                known = ended and truth.known_ends.get((subscription_id, ended.valid_from))
                account_id = period.account_id
                found.append(
                    Change(account_id, subscription_id, at, before, after, paid_ever, known)
                )
                paid_ever = paid_ever or after in PLANS
    return sorted(found, key=lambda change: change.at)


@dataclass(frozen=True)
class Movement:
    """What one change did to its account's revenue in one currency."""

    change: Change
    currency: str
    mrr_before: Decimal
    mrr_after: Decimal
    account_before: Decimal
    account_after: Decimal
    kind: str
    is_departure: bool


def movements(truth: AccountTruth) -> list[Movement]:
    held: dict[str, str] = {}
    paid_ever: set[str] = set()
    found = []
    for change in changes(truth):
        touched = {currency_of(p) for p in (change.before, change.after) if p in PLANS}
        arrives = currency_of(change.after) if change.after in PLANS else None
        for currency in sorted(touched, key=lambda name: name != arrives):
            before = [p for p in held.values() if currency_of(p) == currency]
            was, now = (
                MRR[p] if p in PLANS and currency_of(p) == currency else NOTHING
                for p in (change.before, change.after)
            )
            counts = Counter(before)
            if change.before in PLANS and currency_of(change.before) == currency:
                counts[change.before] -= 1
            if change.after in PLANS and currency_of(change.after) == currency:
                counts[change.after] += 1
            total_before = sum((MRR[p] for p in before), NOTHING)
            total_after = sum((MRR[p] * n for p, n in counts.items()), NOTHING)
            if not before:
                kind = "reactivation" if currency in paid_ever else "new"
            elif not counts.total():
                kind = "churn"
            elif total_after != total_before:
                kind = "expansion" if total_after > total_before else "contraction"
            else:
                kind = "none"
            is_departure = arrives is not None and currency != arrives
            found.append(
                Movement(change, currency, was, now, total_before, total_after, kind, is_departure)
            )
        held.pop(change.subscription_id, None)
        if change.after in PLANS:
            held[change.subscription_id] = str(change.after)
            paid_ever.add(currency_of(str(change.after)))
    return found


def plan_changes(world: list[Life]) -> Iterator[Row]:
    for life in world:
        moved = {
            (m.change.subscription_id, m.change.at): m
            for m in movements(life.truth)
            if not m.is_departure
        }
        for change in changes(life.truth):
            movement = moved.get((change.subscription_id, change.at))
            before, after = (
                (movement.mrr_before, movement.mrr_after) if movement else (NOTHING,) * 2
            )
            yield {
                "account_id": change.account_id,
                "subscription_id": change.subscription_id,
                "changed_at": change.at,
                "from_plan_id": change.before,
                "to_plan_id": change.after,
                "change_type": _kind(change),
                "mrr_before": before,
                "mrr_after": after,
                "mrr_delta": after - before,
                "account_mrr_before": movement.account_before if movement else NOTHING,
                "account_mrr_after": movement.account_after if movement else NOTHING,
                "mrr_movement": movement.kind if movement else "none",
                "currency": movement.currency if movement else None,
                "cause": _cause(life.truth, change),
            }


def _kind(change: Change) -> str:
    before, after = change.before, change.after
    if after in PLANS and before in PLANS:
        rise = TIER[str(after)] - TIER[str(before)]
        if not rise and currency_of(str(before)) != currency_of(str(after)):
            return "switch"
        rise = rise or (MRR[str(after)] > MRR[str(before)]) - (MRR[str(after)] < MRR[str(before)])
        return "upgrade" if rise > 0 else "downgrade" if rise < 0 else "switch"
    if after in PLANS:
        return "reactivation" if change.paid_ever else "new"
    if before in PLANS:
        return "cancel"
    named = {("trial", "free"): "trial_over", ("free", None): "closed"}
    return named.get((str(before), after), "start_free")


def _cause(truth: AccountTruth, change: Change) -> str | None:
    if _kind(change) != "cancel":
        return None
    if change.after is None:
        return "workspace_deleted"
    blamed = [
        episode.cause
        for episode in truth.episodes
        if episode.subscription_id == change.subscription_id
        and episode.status != "recovered"
        and change.at - timedelta(days=30) <= episode.opened_at <= change.at
    ]
    if blamed:
        return blamed[-1]
    is_over = change.known_end and change.at.date() >= change.known_end - timedelta(days=1)
    return "expiry" if is_over else "early"


def funnel_daily(world: list[Life], as_of: datetime) -> Iterator[Row]:
    counts: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    for funnel in (life.truth.funnel for life in world):
        count = counts[funnel.registered_at.date(), funnel.source]
        count["registered"] += 1
        for step in ("workspace", "paid", "renewed"):
            count[step] += getattr(funnel, f"{step}_at") is not None
        for days in (14, 30, 90):
            ripe_at = funnel.registered_at + timedelta(days=days)
            if ripe_at <= as_of:
                count[f"matured_{days}"] += 1
                count[f"paid_{days}"] += bool(funnel.paid_at and funnel.paid_at < ripe_at)
    names = ["registered", "workspace", "paid", "renewed"]
    names += [f"{what}_{days}" for days in (14, 30, 90) for what in ("matured", "paid")]
    for (day, source), count in counts.items():
        yield {"cohort_date": day, "source": source} | {name: count[name] for name in names}


def ageing(world: list[Life], as_of: datetime) -> Iterator[Row]:
    """Without the currency: whether a notice states one is its dialect's, and no truth."""
    sums: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for episode in (episode for life in world for episode in life.truth.episodes):
        if episode.status == "open":
            age = (as_of.date() - episode.due_date).days
            bucket = next((name for last, name in _BUCKETS if age <= last), "90+")
            sums[bucket, episode.cause].append(episode.amount)
    for (bucket, cause), amounts in sums.items():
        yield {
            "bucket": bucket,
            "cause": cause,
            "episodes": len(amounts),
            "amount": sum(amounts, NOTHING),
        }


def renewals(world: list[Life], as_of: datetime) -> Iterator[Row]:
    counts: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    for renewal in (renewal for life in world for renewal in life.truth.renewals):
        if renewal.end_date <= as_of.date():
            month = renewal.end_date.replace(day=1)
            count = counts[month, currency_of(renewal.plan_id)]
            count["expected"] += 1
            silent = "missing" if _is_over(renewal.end_date, as_of) else "pending"
            count[renewal.outcome or silent] += 1
    names = ("expected", "renewed", "ended", "overdue", "missing", "pending")
    for (month, currency), count in counts.items():
        yield {"month": month, "currency": currency} | {name: count[name] for name in names}


def missing_renewals(world: list[Life], as_of: datetime) -> Iterator[Row]:
    for renewal in (renewal for life in world for renewal in life.truth.renewals):
        if renewal.outcome is None and _is_over(renewal.end_date, as_of):
            yield {
                "account_id": renewal.account_id,
                "subscription_id": renewal.subscription_id,
                "plan_id": renewal.plan_id,
                "end_date": renewal.end_date,
                "mrr": MRR[renewal.plan_id],
                "currency": currency_of(renewal.plan_id),
            }


def _is_over(end: date, as_of: datetime) -> bool:
    return as_of.date() > end + timedelta(days=4)


def accounts(world: list[Life], as_of: datetime) -> Iterator[Row]:
    for life in world:
        truth = life.truth
        paid = paid_periods(truth)
        running = [period for period in paid if period.valid_to is None]
        chief = max(running, key=lambda p: (MRR[p.plan_id], p.valid_from), default=None)
        currency = currency_of(chief.plan_id) if chief else None
        overdue = sum(episode.status == "open" for episode in truth.episodes)
        yield {
            "account_id": truth.funnel.account_id,
            "registered_at": truth.funnel.registered_at,
            "source": truth.funnel.source,
            "first_paid_at": min((period.valid_from for period in paid), default=None),
            "current_plan_id": chief.plan_id if chief else None,
            "auto_renew": True if chief else None,
            "period_end": (
                truth.known_ends[chief.subscription_id, chief.valid_from] if chief else None
            ),
            "is_paying": chief is not None,
            "mrr": sum(
                (MRR[p.plan_id] for p in running if currency_of(p.plan_id) == currency), NOTHING
            ),
            "currency": currency,
            "workspaces_live": truth.workspaces_live,
            "workspaces_total": truth.workspaces_total,
            "open_overdue": overdue,
            "lifecycle": _lifecycle(truth, bool(paid), bool(running), overdue, as_of),
            "last_event_at": life.happenings[-1].occurred_at,
        }


def _lifecycle(
    truth: AccountTruth, ever_paid: bool, is_paying: bool, overdue: int, as_of: datetime
) -> str:
    if is_paying:
        return "past_due" if overdue else "paying"
    if ever_paid:
        return "churned"
    if as_of - truth.funnel.registered_at < timedelta(days=14):
        return "trialing"
    return "activated" if truth.workspaces_total else "registered"
