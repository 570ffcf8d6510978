"""Made-up lives: the same for the same seed, plausible, and true to what they tell."""

from __future__ import annotations

import csv
import itertools
import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract import BUSINESS_COLUMNS, EVENT_TYPES
from ingest.lifecycles import Life, in_time_order, life, lives
from ingest.parse import Arrival, Event, parse_body
from ingest.payloads import SEED_DIALECT, Dialect, Happening, body_bytes, random_dialect, render
from ingest.population import PLANS, World
from ingest.truth import PlanPeriod

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
YEAR = World(seed=7, accounts=2_000, until=UNTIL)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def year() -> list[Life]:
    return list(lives(YEAR))


def test_a_life_is_the_same_whenever_and_in_whatever_order_it_is_made(year: list[Life]) -> None:
    assert [life(YEAR, number) for number in (1_999, 0, 700)] == [year[1_999], year[0], year[700]]


def test_another_seed_size_span_or_end_makes_other_people() -> None:
    worlds = (
        YEAR,
        replace(YEAR, seed=8),
        replace(YEAR, accounts=1_999),
        replace(YEAR, days=364),
        replace(YEAR, until=UNTIL + DAY),
    )
    first = [life(world, 0) for world in worlds]
    assert len({each.truth.funnel.account_id for each in first}) == len(worlds)
    assert len({each.happenings[0].event_id for each in first}) == len(worlds)


def test_the_merged_stream_is_in_time_order_and_complete(year: list[Life]) -> None:
    merged = list(in_time_order(lives(YEAR)))
    instants = [happening.occurred_at for happening in merged]
    assert instants == sorted(instants)
    assert len(merged) == sum(len(each.happenings) for each in year)
    assert len({happening.event_id for happening in merged}) == len(merged)


def test_everything_happens_within_the_world(year: list[Life]) -> None:
    instants = [happening.occurred_at for each in year for happening in each.happenings]
    assert min(instants) >= YEAR.since - timedelta(seconds=20)
    assert max(instants) < UNTIL
    assert all(at.microsecond == 0 for at in instants)


def test_people_have_reserved_addresses_and_each_their_own(year: list[Life]) -> None:
    emails = [each.truth.funnel.account_id for each in year]
    assert len(set(emails)) == len(emails)
    assert {email.partition("@")[2] for email in emails} == {
        "example.com",
        "example.net",
        "example.org",
    }


def test_a_year_looks_like_one(year: list[Life]) -> None:
    funnels = [each.truth.funnel for each in year]
    paid = sum(funnel.paid_at is not None for funnel in funnels) / len(funnels)
    assert 0.15 <= paid <= 0.25
    assert len({funnel.source for funnel in funnels}) == 6
    statuses = {(e.cause, e.status) for each in year for e in each.truth.episodes}
    assert {
        ("wallet_short", "recovered"),
        ("wallet_short", "lost"),
        ("non_renewal", "recovered"),
        ("non_renewal", "lost"),
    } <= statuses
    kinds = {happening.event_type for each in year for happening in each.happenings}
    assert kinds == set(EVENT_TYPES)
    plans = {period.plan_id for each in year for period in each.truth.periods}
    assert plans == {"free", "trial", *PLANS}
    months = [funnel.registered_at.strftime("%Y-%m") for funnel in funnels]
    assert months.count("2026-10") > 1.5 * months.count("2026-01")


def test_plans_cost_what_the_shipped_catalogue_says() -> None:
    catalogue = Path(__file__).parents[2] / "sql" / "seeds" / "plan_prices.csv"
    with catalogue.open(newline="") as lines:
        shipped = {
            row["plan_id"]: (Decimal(row["price"]), {"month": 1, "year": 12}[row["interval"]])
            for row in csv.DictReader(lines)
            if Decimal(row["price"])
        }
    assert shipped == {plan.plan_id: (plan.price, plan.months) for plan in PLANS.values()}
    for plan in PLANS.values():
        assert {*plan.up, *plan.down} <= set(PLANS)


def test_funnel_steps_come_in_order(year: list[Life]) -> None:
    for funnel in (each.truth.funnel for each in year):
        steps = (funnel.registered_at, funnel.workspace_at, funnel.paid_at, funnel.renewed_at)
        reached = [step for step in steps if step is not None]
        assert reached == sorted(reached)
        assert list(steps[: len(reached)]) == reached
        assert (funnel.paid_at is None) == (funnel.first_paid_plan_id is None)


def test_a_lapse_has_three_notices_on_three_days_and_then_the_free_plan(year: list[Life]) -> None:
    lapsed = [
        (each, episode)
        for each in year
        for episode in each.truth.episodes
        if episode.cause == "non_renewal" and episode.status == "lost"
    ]
    assert lapsed
    for each, episode in lapsed:
        assert episode.notices == 3
        days = {
            happening.occurred_at.date()
            for happening in each.happenings
            if happening.event_type == "overdue_payment"
            and happening.fields["due_date"] == episode.due_date
            and episode.opened_at <= happening.occurred_at <= episode.last_notice_at
        }
        assert days >= {episode.due_date + timedelta(days=n) for n in range(3)}
        assert episode.closed_at is not None
        assert episode.closed_at.date() == episode.due_date + timedelta(days=3)


def test_periods_of_a_subscription_are_half_open_and_do_not_overlap(year: list[Life]) -> None:
    for each in year:
        subscriptions = defaultdict(list)
        for period in each.truth.periods:
            subscriptions[period.subscription_id].append(period)
        for periods in subscriptions.values():
            for before, after in itertools.pairwise(periods):
                assert before.valid_to is not None
                assert before.valid_from < before.valid_to <= after.valid_from
                assert before.plan_id != after.plan_id or before.valid_to < after.valid_from


def test_the_truth_about_plans_is_what_a_reader_of_the_events_finds(year: list[Life]) -> None:
    """A second reading, by other code: fold the plan events, heal short gaps, end at deletions."""
    healed = 0
    for each in year:
        found, gaps = _periods_by_reading(each)
        healed += gaps
        assert found == sorted(each.truth.periods, key=_period_key), each.truth.funnel.account_id
    assert healed > 0


def _periods_by_reading(each: Life) -> tuple[list[PlanPeriod], int]:
    account = each.truth.funnel.account_id
    named = {
        happening.fields["workspace_id"]
        for happening in each.happenings
        if happening.event_type in ("plan_changed", "plan_renewed", "overdue_payment")
        and happening.fields.get("workspace_id")
    }
    live: set[object] = set()
    found: dict[str, list[PlanPeriod]] = defaultdict(list)
    healed = 0
    for happening in each.happenings:
        workspace = happening.fields.get("workspace_id")
        if happening.event_type == "workspace_created":
            live.add(workspace)
        if happening.event_type == "workspace_deleted":
            live.discard(workspace)
            for subscription, periods in found.items():
                is_over = subscription == workspace or (subscription == account and not live)
                if is_over and periods and periods[-1].valid_to is None:
                    periods[-1] = replace(periods[-1], valid_to=happening.occurred_at)
        if happening.event_type != "plan_changed":
            continue
        subscription = str(workspace or (next(iter(named)) if len(named) == 1 else account))
        periods = found[subscription]
        plan = str(happening.fields["plan_id"])
        if periods and periods[-1].valid_to is None:
            if periods[-1].plan_id == plan:
                continue
            periods[-1] = replace(periods[-1], valid_to=happening.occurred_at)
        if (
            len(periods) > 1
            and plan in PLANS
            and periods[-2].plan_id == plan
            and periods[-1].plan_id not in PLANS
            and happening.occurred_at - periods[-1].valid_from < DAY
        ):
            periods.pop()
            periods[-1] = replace(periods[-1], valid_to=None)
            healed += 1
            continue
        periods.append(PlanPeriod(account, subscription, plan, happening.occurred_at))
    flat = [period for periods in found.values() for period in periods]
    return sorted(flat, key=_period_key), healed


def _period_key(period: PlanPeriod) -> tuple[datetime, str]:
    return period.valid_from, period.subscription_id


@settings(max_examples=150)
@given(number=st.integers(0, 1_999), seed=st.integers(0, 2**32))
def test_every_dialect_is_read_as_the_same_event(number: int, seed: int) -> None:
    dialect = random_dialect(random.Random(seed))
    for happening in life(YEAR, number).happenings:
        body = body_bytes(render(happening, dialect))
        event = parse_body(body, Arrival(stored_at=int(UNTIL.timestamp() * 1e6)))
        assert isinstance(event, Event), (body, event)
        assert event.warnings == ()
        assert event.unknown_fields == ()
        assert event.event_id == happening.event_id
        assert event.event_type == happening.event_type
        assert event.occurred_at == int(happening.occurred_at.timestamp()) * 1_000_000
        assert event.event_time_source == "payload"
        assert dict(zip(BUSINESS_COLUMNS, event.business, strict=True)) == _row(happening)


def _row(happening: Happening) -> dict[str, object]:
    said = {
        ("account_id" if name == "owner_email" else name): value
        for name, value in happening.fields.items()
    }
    return {column: _stored(said.get(column)) for column in BUSINESS_COLUMNS}


def _stored(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return value.isoformat() if isinstance(value, date) else value


def test_the_seeds_dialect_spells_as_the_lesson_does() -> None:
    at = datetime(2024, 4, 27, 10, tzinfo=UTC)
    deleted = Happening(
        "workspace_deleted", at, {"workspace_id": "abc123", "owner_email": "a@example.com"}
    )
    assert render(deleted, SEED_DIALECT) == {
        "event": "workspace_deleted",
        "data": {
            "workspace_id": "abc123",
            "owner_email": "a@example.com",
            "deletion_time": "2024-04-27T10:00:00Z",
        },
    }
    flat = Dialect(type_key="type", is_nested=False, instant_style="unix")
    assert render(replace(deleted, event_id="e1"), flat) == {
        "type": "workspace_deleted",
        "event_id": "e1",
        "occurred_at": 1_714_212_000,
        "workspace_id": "abc123",
        "owner_email": "a@example.com",
    }
