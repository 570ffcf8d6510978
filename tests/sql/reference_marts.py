"""The published aggregates, counted account by account from the sequential reading.

Every figure is worked out from what was true at the instants it speaks of: no running totals,
no spans, no movement of an instant carried on to the next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from tests.sql.reference import NOTHING, Account, State, add_months

Row = dict[str, Any]
_MOVEMENTS = ("new", "expansion", "contraction", "churn", "reactivation")
_DAYS = (14, 30, 90)


def marts(accounts: Iterable[Account], as_of: datetime) -> dict[str, list[Row]]:
    """Rows by table, in no order."""
    everyone = list(accounts)
    return {
        "mart_funnel_daily": funnel_daily(everyone, as_of),
        "mart_mrr_monthly": mrr_monthly(everyone, as_of),
        "mart_mrr_daily": mrr_daily(everyone, as_of),
        "mart_plan_changes_daily": plan_changes_daily(everyone, as_of),
        "mart_overdue_ageing": overdue_ageing(everyone, as_of),
        "mart_overdue_monthly": overdue_monthly(everyone, as_of),
        "mart_retention_monthly": retention_monthly(everyone, as_of),
        "mart_renewals_monthly": renewals_monthly(everyone, as_of),
        "fct_missing_renewals": missing_renewals(everyone, as_of),
    }


def funnel_daily(accounts: list[Account], as_of: datetime) -> list[Row]:
    counts: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    for row in filter(None, (account.funnel() for account in accounts)):
        count = counts[row["registered_at"].date(), row["source"]]
        count["registered"] += 1
        for step in ("workspace", "paid", "renewed"):
            count[step] += row[f"{step}_at"] is not None
        for days in _DAYS:
            span = timedelta(days=days)
            if row["registered_at"] <= as_of - span:
                count[f"matured_{days}"] += 1
                paid_at = row["paid_at"]
                count[f"paid_{days}"] += bool(paid_at and paid_at < row["registered_at"] + span)
    names = ["registered", "workspace", "paid", "renewed"]
    names += [f"{what}_{days}" for days in _DAYS for what in ("matured", "paid")]
    return [
        {"cohort_date": day, "source": source} | {name: count[name] for name in names}
        for (day, source), count in counts.items()
    ]


def mrr_monthly(accounts: list[Account], as_of: datetime) -> list[Row]:
    rows = []
    movements = [movement for account in accounts for movement in account.movements]
    for currency in {movement[1] for movement in movements}:
        month = min(at for at, name, _, _ in movements if name == currency).date().replace(day=1)
        while month <= as_of.date():
            following = add_months(month, 1, 1)
            rows.append(_revenue_of(accounts, movements, currency, month, following))
            month = following
    return rows


def _revenue_of(
    accounts: list[Account],
    movements: list[tuple[datetime, str, str, Decimal]],
    currency: str,
    month: date,
    following: date,
) -> Row:
    start, end = _midnight(month), _midnight(following)
    before = [_holding(account, currency, start) for account in accounts]
    after = [_holding(account, currency, end) for account in accounts]
    both = [(was, now) for was, now in zip(before, after, strict=True) if was[0]]
    moved = dict.fromkeys(_MOVEMENTS, NOTHING)
    for at, name, kind, amount in movements:
        if name == currency and start <= at < end and kind != "none":
            moved[kind] += amount
    return {
        "month": month,
        "currency": currency,
        "mrr_start": _sum(mrr for _, mrr, _ in before),
        **moved,
        "mrr_end": _sum(mrr for _, mrr, _ in after),
        "mrr_cost_end": _sum(cost for _, _, cost in after),
        "paying_accounts_start": sum(plans > 0 for plans, _, _ in before),
        "paying_accounts_end": sum(plans > 0 for plans, _, _ in after),
        "churned_accounts": sum(not now[0] for _, now in both),
        "retained_mrr": _sum(min(was[1], now[1]) for was, now in both),
        "expanded_mrr": _sum(now[1] for _, now in both),
    }


def _holding(account: Account, currency: str, instant: datetime) -> tuple[int, Decimal, Decimal]:
    """Paid plans in a currency right before an instant: how many, MRR, cost."""
    held = [
        state
        for state in _paid_states(account)
        if state.currency == currency
        and state.start < instant
        and (state.end is None or state.end >= instant)
    ]
    return len(held), _sum(state.mrr for state in held), _sum(state.cost for state in held)


def mrr_daily(accounts: list[Account], as_of: datetime) -> list[Row]:
    """Without paying_delta: which of two currencies of a day has it is nobody's concern."""
    deltas: dict[tuple[date, str, str], Decimal] = defaultdict(lambda: NOTHING)
    for account in accounts:
        source = account.account(as_of)["source"]
        for day, currency in {(at.date(), name) for at, name, _, _ in account.movements}:
            start, end = _midnight(day), _midnight(day + timedelta(days=1))
            had, has = (_holding(account, currency, instant)[1] for instant in (start, end))
            deltas[day, currency, source] += has - had
    return [
        {"day": day, "currency": currency, "source": source, "mrr_delta": delta}
        for (day, currency, source), delta in deltas.items()
    ]


def paying_daily(accounts: list[Account], as_of: datetime) -> dict[tuple[date, str], int]:
    """Accounts paying in any currency at a day's end less those at its start, by source."""
    deltas: Counter[tuple[date, str]] = Counter()
    for account in accounts:
        source = account.account(as_of)["source"]
        for day in {at.date() for at, _, _, _ in account.movements}:
            deltas[day, source] += _pays(account, day + timedelta(days=1)) - _pays(account, day)
    return {key: delta for key, delta in deltas.items() if delta}


def _pays(account: Account, day: date) -> bool:
    """Whether anything was paid right before the day began."""
    currencies = {name for _, name, _, _ in account.movements}
    return any(_holding(account, currency, _midnight(day))[0] for currency in currencies)


def plan_changes_daily(accounts: list[Account], as_of: datetime) -> list[Row]:
    told = ("change_type", "from_plan_id", "to_plan_id", "cause", "currency", "mrr_movement")
    found: dict[tuple[Any, ...], list[Decimal]] = defaultdict(list)
    for account in accounts:
        source = account.account(as_of)["source"]
        for row in account.changes():
            moved = row["account_mrr_after"] - row["account_mrr_before"]
            kind = tuple(row[name] for name in told)
            found[row["changed_at"].date(), source, *kind].append(moved)
    return [
        dict(zip(("day", "source", *told), kind, strict=True))
        | {"changes": len(moved), "account_mrr_delta": _sum(moved)}
        for kind, moved in found.items()
    ]


def overdue_ageing(accounts: list[Account], as_of: datetime) -> list[Row]:
    groups: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for account in accounts:
        for row in account.overdue(as_of.date()):
            if row["status"] == "open":
                key = row["ageing_bucket"], row["cause"], row["currency"]
                groups[key].append(row["amount"] or NOTHING)
    return [
        {
            "bucket": bucket,
            "cause": cause,
            "currency": currency,
            "episodes": len(amounts),
            "amount": _sum(amounts),
        }
        for (bucket, cause, currency), amounts in groups.items()
    ]


def overdue_monthly(accounts: list[Account], as_of: datetime) -> list[Row]:
    groups: dict[tuple[date, str, str], list[Row]] = defaultdict(list)
    for account in accounts:
        for row in account.overdue(as_of.date()):
            month = row["opened_at"].date().replace(day=1)
            groups[month, row["cause"], row["currency"]].append(row)
    span = timedelta(days=30)
    rows = []
    for (month, cause, currency), opened in groups.items():
        matured = [row for row in opened if row["opened_at"] + span <= as_of]
        closed = [r for r in matured if r["closed_at"] and r["closed_at"] - r["opened_at"] < span]
        recovered = [row for row in closed if row["status"] == "recovered"]
        rows.append(
            {
                "month": month,
                "cause": cause,
                "currency": currency,
                "opened": len(opened),
                "amount": _sum(row["amount"] or NOTHING for row in opened),
                "matured_30d": len(matured),
                "recovered_30d": len(recovered),
                "recovered_amount_30d": _sum(row["amount"] or NOTHING for row in recovered),
                "lost_30d": len(closed) - len(recovered),
            }
        )
    return rows


def retention_monthly(accounts: list[Account], as_of: datetime) -> list[Row]:
    cohorts: dict[tuple[date, str], list[tuple[Account, datetime]]] = defaultdict(list)
    for account in accounts:
        paid = [state for state in _paid_states(account) if state.end != state.start]
        if paid:
            first = min(paid, key=lambda s: (s.start, s.event["received_at"], s.event["node"],
                                             s.event["seq"]))  # fmt: skip
            month = first.start.date().replace(day=1)
            cohorts[month, str(first.currency)].append((account, first.start))
    rows = []
    for (month, currency), members in cohorts.items():
        for number in range(25):
            judged = [
                (account, start, _judgement(start, number))
                for account, start in members
                if _judgement(start, number) <= as_of
            ]
            retained = [
                each for each in judged if any(s.runs_at(each[2]) for s in _paid_states(each[0]))
            ]
            rows.append(
                {
                    "cohort_month": month,
                    "currency": currency,
                    "period_number": number,
                    "cohort_size": len(members),
                    "matured": len(judged),
                    "retained": len(retained) if judged else None,
                    "mrr_start": _sum(_mrr_at(a, currency, start) for a, start, _ in judged),
                    "mrr_retained": (
                        _sum(_mrr_at(a, currency, at) for a, _, at in judged) if judged else None
                    ),
                }
            )
    return rows


def _judgement(start: datetime, number: int) -> datetime:
    if number == 0:
        return start
    day = add_months(start.date(), number, start.day)
    return datetime.combine(day, start.timetz()) + timedelta(days=4)


def _mrr_at(account: Account, currency: str, instant: datetime) -> Decimal:
    return _sum(
        state.mrr
        for state in _paid_states(account)
        if state.currency == currency and state.runs_at(instant)
    )


def renewals_monthly(accounts: list[Account], as_of: datetime) -> list[Row]:
    counts: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    for account in accounts:
        for row in account.renewals():
            if _midnight(row["end_date"]) <= as_of:
                outcome = row["outcome"] or ("missing" if _is_over(row, as_of) else "pending")
                count = counts[row["end_date"].replace(day=1), row["currency"]]
                count["expected"] += 1
                count[outcome] += 1
    names = ("expected", "renewed", "ended", "overdue", "missing", "pending")
    return [
        {"month": month, "currency": currency} | {name: count[name] for name in names}
        for (month, currency), count in counts.items()
    ]


def missing_renewals(accounts: list[Account], as_of: datetime) -> list[Row]:
    return [
        {name: value for name, value in row.items() if name != "outcome"}
        for account in accounts
        for row in account.renewals()
        if row["outcome"] is None and _is_over(row, as_of)
    ]


def _is_over(renewal: Row, as_of: datetime) -> bool:
    return as_of >= _midnight(renewal["end_date"] + timedelta(days=5))


def _paid_states(account: Account) -> list[State]:
    return [
        state
        for subscription in account.subscriptions.values()
        for state in subscription.states
        if state.is_paid
    ]


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, NOTHING)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
