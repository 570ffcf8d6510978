"""What is published is what really happened: made-up lives against the truth they wrote down.

The lives are told in any mixture of dialects, parsed as the receiver does it, delivered late, out
of order and some of them twice; then a part of the history comes once more under other ids. Of
every table of metrics.md all is compared but ids. Whoever writes the truth never looks at events.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.lifecycles import Life, lives
from ingest.population import CURRENCY, World
from ingest.truth import PlanPeriod
from tests.sql import true_marts
from tests.sql.made_up import deliveries
from tests.sql.reference import add_months
from tests.sql.true_marts import COST, MRR, NOTHING, Row, currency_of, movements, paid_periods
from warehouse.workbench import Workbench

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
SEEDS = (7, 2026)
PAYERS, OTHERS = 260, 140
_MOVEMENTS = ("new", "expansion", "contraction", "churn", "reactivation")
# Whether a notice states its currency is the dialect's, and no part of the truth.
_OVERDUE = """(
    select month, cause, sum(opened) as opened, sum(amount) as amount,
        sum(matured_30d) as matured_30d, sum(recovered_30d) as recovered_30d,
        sum(recovered_amount_30d) as recovered_amount_30d, sum(lost_30d) as lost_30d
    from mart_overdue_monthly
    group by month, cause
)"""
_AGEING = """(
    select bucket, cause, sum(episodes) as episodes, sum(amount) as amount
    from mart_overdue_ageing
    group by bucket, cause
)"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_warehouse_tells_what_really_happened(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    world = _world(seed)
    sent = [
        delivery
        for life in world
        for happening in life.happenings
        for delivery in deliveries(happening, chance)
    ]
    chance.shuffle(sent)
    bench = Workbench(tmp_path)
    bench.data.plan_prices.write_text(true_marts.catalogue())
    half = chance.randrange(len(sent))
    for batch in (sent[:half], sent[half:], _resent(world, chance)):
        bench.add(batch)
        bench.refresh(as_of=UNTIL)
    _assert_equal(bench, "fct_registration_funnel", (asdict(life.truth.funnel) for life in world))
    _assert_equal(
        bench, "int_plan_periods", (asdict(p) for life in world for p in life.truth.periods)
    )
    _assert_equal(
        bench, "fct_overdue_episodes", (asdict(e) for life in world for e in life.truth.episodes)
    )
    _assert_equal(bench, "dim_accounts", true_marts.accounts(world, UNTIL))
    _assert_equal(bench, "mart_funnel_daily", true_marts.funnel_daily(world, UNTIL))
    _assert_equal(bench, "fct_plan_changes", true_marts.plan_changes(world))
    _assert_equal(bench, _AGEING, true_marts.ageing(world, UNTIL))
    _assert_equal(bench, "mart_renewals_monthly", true_marts.renewals(world, UNTIL))
    _assert_equal(bench, "fct_missing_renewals", true_marts.missing_renewals(world, UNTIL))
    _assert_equal(bench, "mart_mrr_monthly", _revenue(world))
    _assert_equal(bench, "mart_retention_monthly", _retention(world))
    _assert_equal(bench, _OVERDUE, _overdue(world))


def _world(seed: int) -> list[Life]:
    """Lives of a larger world: as many who ever paid as there are, and some who never did."""
    paying, others = [], []
    for life in lives(World(seed=seed, accounts=2_000, until=UNTIL, days=500)):
        (paying if paid_periods(life.truth) else others).append(life)
    return paying[-PAYERS:] + others[-OTHERS:]


def _resent(world: list[Life], chance: random.Random) -> list[Row]:
    """A part of the history once more, much later, under other ids and in other dialects."""
    return [
        delivery | {"received_at": UNTIL - timedelta(seconds=1)}
        for life in world
        for happening in life.happenings
        if chance.random() < 0.15
        for delivery in deliveries(
            replace(happening, event_id=f"again-{happening.event_id}"), chance
        )
    ]


def test_the_made_up_world_has_every_case_that_truth_is_compared_for() -> None:
    worlds = [life for seed in SEEDS for life in _world(seed)]
    changes = list(true_marts.plan_changes(worlds))
    assert {row["change_type"] for row in changes} == {
        *("new", "reactivation", "upgrade", "downgrade", "cancel"),
        *("trial_over", "closed", "start_free"),
    }
    assert {row["cause"] for row in changes} == {
        *(None, "workspace_deleted", "wallet_short", "non_renewal", "expiry", "early"),
    }
    assert {row["mrr_movement"] for row in changes} == {"none", *_MOVEMENTS}
    renewals = list(true_marts.renewals(worlds, UNTIL))
    for outcome in ("renewed", "ended", "overdue", "missing", "pending"):
        assert any(row[outcome] for row in renewals), outcome
    lifecycles = {row["lifecycle"] for row in true_marts.accounts(worlds, UNTIL)}
    assert lifecycles == {
        *("past_due", "paying", "churned", "trialing", "activated", "registered"),
    }


def _revenue(world: list[Life]) -> Iterator[Row]:
    """Of every month what ran right before it and right before the next, by currency."""
    for currency in (CURRENCY, "EUR"):
        paid = [
            [p for p in paid_periods(life.truth) if currency_of(p.plan_id) == currency]
            for life in world
        ]
        moved: dict[tuple[date, str], Decimal] = defaultdict(lambda: NOTHING)
        for movement in (m for life in world for m in movements(life.truth)):
            if movement.currency == currency:
                month = movement.change.at.date().replace(day=1)
                moved[month, movement.kind] += movement.account_after - movement.account_before
        yield from _revenue_in(currency, paid, moved)


def _revenue_in(
    currency: str, paid: list[list[PlanPeriod]], moved: dict[tuple[date, str], Decimal]
) -> Iterator[Row]:
    month = min(p.valid_from for periods in paid for p in periods).date().replace(day=1)
    while month <= UNTIL.date():
        following = add_months(month, 1, 1)
        held = [(_held(periods, month), _held(periods, following)) for periods in paid]
        stayed = [(start, end) for start, end in held if start]
        yield {
            "month": month,
            "currency": currency,
            "mrr_start": sum((sum(start) for start, _ in held), NOTHING),
            **{kind: moved[month, kind] for kind in _MOVEMENTS},
            "mrr_end": sum((sum(end) for _, end in held), NOTHING),
            "mrr_cost_end": sum((sum(_held(each, following, COST)) for each in paid), NOTHING),
            "paying_accounts_start": len(stayed),
            "paying_accounts_end": sum(bool(end) for _, end in held),
            "churned_accounts": sum(not end for _, end in stayed),
            "retained_mrr": sum((min(sum(start), sum(end)) for start, end in stayed), NOTHING),
            "expanded_mrr": sum((sum(end) for _, end in stayed), NOTHING),
        }
        month = following


def _held(
    periods: Iterable[PlanPeriod], day: date, monthly: dict[str, Decimal] = MRR
) -> list[Decimal]:
    """Monthly prices of the plans running right before the day begins."""
    at = datetime(day.year, day.month, 1, tzinfo=UTC)
    return [
        monthly[p.plan_id]
        for p in periods
        if p.valid_from < at and (p.valid_to is None or p.valid_to >= at)
    ]


def _retention(world: list[Life]) -> Iterator[Row]:
    cohorts: dict[tuple[date, str], list[list[PlanPeriod]]] = defaultdict(list)
    for life in world:
        paid = paid_periods(life.truth)
        if paid:
            month = paid[0].valid_from.date().replace(day=1)
            cohorts[month, currency_of(paid[0].plan_id)].append(paid)
    for (month, currency), members in cohorts.items():
        for number in range(25):
            judged = [(paid, _judgement(paid[0].valid_from, number)) for paid in members]
            judged = [(paid, at) for paid, at in judged if at <= UNTIL]
            then = [_running(paid, at) for paid, at in judged]
            first = [_running(paid, paid[0].valid_from) for paid, _ in judged]
            kept, began = ([_in(plans, currency) for plans in each] for each in (then, first))
            yield {
                "cohort_month": month,
                "currency": currency,
                "period_number": number,
                "cohort_size": len(members),
                "matured": len(judged),
                "retained": sum(bool(plans) for plans in then) if judged else None,
                "mrr_start": sum(began, NOTHING),
                "mrr_retained": sum(kept, NOTHING) if judged else None,
            }


def _judgement(start: datetime, number: int) -> datetime:
    if number == 0:
        return start
    day = add_months(start.date(), number, start.day)
    return datetime.combine(day, start.timetz()) + timedelta(days=4)


def _running(periods: Iterable[PlanPeriod], at: datetime) -> list[str]:
    return [
        p.plan_id for p in periods if p.valid_from <= at and (p.valid_to is None or at < p.valid_to)
    ]


def _in(plan_ids: Iterable[str], currency: str) -> Decimal:
    return sum((MRR[name] for name in plan_ids if currency_of(name) == currency), NOTHING)


def _overdue(world: list[Life]) -> Iterator[Row]:
    counts: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    amounts: dict[tuple[date, str], list[Decimal]] = defaultdict(lambda: [NOTHING, NOTHING])
    for episode in (episode for life in world for episode in life.truth.episodes):
        key = episode.opened_at.date().replace(day=1), episode.cause
        counts[key]["opened"] += 1
        amounts[key][0] += episode.amount
        if episode.opened_at > UNTIL - timedelta(days=30):
            continue
        counts[key]["matured_30d"] += 1
        if episode.closed_at and episode.closed_at < episode.opened_at + timedelta(days=30):
            counts[key][f"{episode.status}_30d"] += 1
            amounts[key][1] += episode.amount if episode.status == "recovered" else 0
    for (month, cause), count in counts.items():
        yield {
            "month": month,
            "cause": cause,
            "amount": amounts[month, cause][0],
            "recovered_amount_30d": amounts[month, cause][1],
            **{
                name: count[name] for name in ("opened", "matured_30d", "recovered_30d", "lost_30d")
            },
        }


def _assert_equal(bench: Workbench, table: str, truth: Iterable[Row]) -> None:
    expected = list(truth)
    found = [{name: row[name] for name in expected[0]} for row in bench.rows(table)]
    wanted, got = Counter(map(_comparable, expected)), Counter(map(_comparable, found))
    assert wanted - got == Counter(), f"{table}: happened, but not published"
    assert got - wanted == Counter(), f"{table}: published, but never happened"


def _comparable(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in row.items())
