"""Writes a published warehouse by itself: the public tables of metrics.md, plausibly filled.

The life cycles are drawn from a fixed seed; tables of facts come straight from them, the marts by
SQL of their own, so that what a page shows can be held against numbers the page had no part in.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl

AS_OF = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
DAYS = 425

# for each plan: name, tier, currency, interval, price, cost
PLANS = {
    "free": ("Free", 0, "USD", "month", "0", "0"),
    "trial": ("Trial", 0, "USD", "month", "0", "0"),
    "business_lite": ("Business Lite", 1, "USD", "month", "29", "10"),
    "business": ("Business", 2, "USD", "month", "79", "30"),
    "business_yearly": ("Business, yearly", 2, "USD", "year", "790", "300"),
    "business_large": ("Business Large", 3, "USD", "month", "249", "100"),
    "business_lite_eu": ("Business Lite EU", 1, "EUR", "month", "27", "10"),
    "business_eu": ("Business EU", 2, "EUR", "month", "75", "30"),
}
UP = {
    "business_lite": "business",
    "business": "business_large",
    "business_lite_eu": "business_eu",
    "business_yearly": "business_large",
}
DOWN = {
    "business_large": "business",
    "business": "business_lite",
    "business_eu": "business_lite_eu",
}
# for each source: its share of registrations, its chance to pay
SOURCES = {
    "landing_page": (0.38, 0.17),
    "facebook_ads": (0.24, 0.09),
    "referral": (0.16, 0.31),
    "webinar": (0.10, 0.25),
    "agency_partner": (0.08, 0.34),
    "unknown": (0.04, 0.10),
}

SCHEMA = """
create schema hooklake;
create schema hooklake_inner;
create table hooklake_inner.waiting (workspace_id varchar);
create table hooklake.build (
    version bigint, built_at timestamptz, as_of timestamptz, newest_received_at timestamptz,
    events bigint, is_full boolean, seconds double
);
create table plan_prices (
    plan_id varchar, plan_name varchar, tier integer, currency varchar, "interval" varchar,
    price decimal(18, 2), cost decimal(18, 2), valid_from date, valid_to date
);
create table int_plan_periods (
    account_id varchar, subscription_id varchar, plan_id varchar,
    valid_from timestamptz, valid_to timestamptz, is_paid boolean, is_unpriced boolean,
    mrr decimal(18, 2), currency varchar
);
create table fct_registration_funnel (
    account_id varchar, registered_at timestamptz, source varchar, workspace_at timestamptz,
    paid_at timestamptz, first_paid_plan_id varchar, renewed_at timestamptz,
    seconds_to_paid bigint
);
create table fct_plan_changes (
    change_id varchar, account_id varchar, subscription_id varchar, attribution varchar,
    changed_at timestamptz, from_plan_id varchar, to_plan_id varchar, change_type varchar,
    mrr_before decimal(18, 2), mrr_after decimal(18, 2), mrr_delta decimal(18, 2),
    account_mrr_before decimal(18, 2), account_mrr_after decimal(18, 2), mrr_movement varchar,
    currency varchar, auto_renew boolean, start_date date, end_date date, cause varchar
);
create table fct_overdue_episodes (
    episode_id varchar, account_id varchar, subscription_id varchar, workspace_id varchar,
    payment_id varchar, cause varchar, opened_at timestamptz, last_notice_at timestamptz,
    notices bigint, amount decimal(18, 2), currency varchar, due_date date, status varchar,
    closed_at timestamptz, days_to_close bigint, days_overdue bigint, ageing_bucket varchar
);
create table dim_accounts (
    account_id varchar, registered_at timestamptz, source varchar, first_paid_at timestamptz,
    current_plan_id varchar, auto_renew boolean, period_end date, is_paying boolean,
    mrr decimal(18, 2), currency varchar, workspaces_live bigint, workspaces_total bigint,
    open_overdue bigint, lifecycle varchar, last_event_at timestamptz
);
"""

MARTS = """
alter table int_plan_periods add column event_number bigint;
update int_plan_periods set event_number = epoch_us(valid_from);
alter table fct_plan_changes add column source varchar;
update fct_plan_changes set source = coalesce(
    (select min(source) from dim_accounts where account_id = fct_plan_changes.account_id), 'unknown'
);
create table mart_funnel_daily as
select
    registered_at::date as cohort_date,
    source,
    count(*) as registered,
    count(workspace_at) as workspace,
    count(paid_at) as paid,
    count(renewed_at) as renewed,
    {windows}
from fct_registration_funnel
group by all;
create table mart_overdue_ageing as
select
    ageing_bucket as bucket, cause, currency, count(*) as episodes,
    sum(amount)::decimal(18, 2) as amount
from fct_overdue_episodes
where status = 'open'
group by all;
-- Views, and not from movements as the models have it: a period begins, a period ends.
create view mart_mrr_daily as
with periods as (
    select
        periods.*,
        coalesce(accounts.source, 'unknown') as source,
        max(coalesce(valid_to, 'infinity')) over (
            partition by account_id
            order by valid_from, valid_to nulls last
            rows between unbounded preceding and 1 preceding
        ) as paid_until,
        max(coalesce(valid_to, 'infinity')) over (partition by account_id) as paid_at_last
    from int_plan_periods as periods
    left join dim_accounts as accounts using (account_id)
    where periods.is_paid
),

moved as (
    select
        valid_from as moved_at, currency, source, mrr as mrr_delta,
        (paid_until is null or valid_from > paid_until)::integer as paying_delta
    from periods
    union all
    select valid_to, currency, source, -mrr, 0 from periods where valid_to is not null
    union all
    select paid_until, currency, source, 0, -1 from periods where valid_from > paid_until
    union all
    select paid_at_last, min(currency), min(source), 0, -1
    from periods
    group by account_id, paid_at_last
    having paid_at_last < 'infinity'::timestamptz
)

select
    moved_at::date as day, currency, source,
    sum(mrr_delta)::decimal(18, 2) as mrr_delta, sum(paying_delta)::bigint as paying_delta
from moved
group by all;
create view mart_plan_changes_daily as
select
    changed_at::date as day, source, change_type, from_plan_id, to_plan_id, cause, currency,
    mrr_movement, count(*) as changes,
    sum(account_mrr_after - account_mrr_before)::decimal(18, 2) as account_mrr_delta
from fct_plan_changes
group by all;
create view hooklake_inner.int_mrr_movements as
select
    account_id, currency, source, changed_at as occurred_at, account_mrr_before, account_mrr_after,
    mrr_movement,
    case
        when mrr_movement in ('new', 'reactivation') then 1
        when mrr_movement = 'churn' then -1
        else 0
    end as paying_delta
from fct_plan_changes
where currency is not null;
"""

# What the receiver would have stored for those lives, as far as the facts tell.
EVENTS = """
create table events as
with told as (
    select 'user_registered' as event_type, registered_at as occurred_at, account_id, source,
        null::varchar as workspace_id, null::varchar as plan_id, null::boolean as auto_renew,
        null::date as end_date, null::decimal(18, 2) as amount, null::varchar as currency,
        null::date as due_date, null::varchar as payment_id
    from fct_registration_funnel
    union all
    select 'workspace_created', workspace_at, account_id, null, 'ws' || account_id[6:10],
        null, null, null, null, null, null, null
    from fct_registration_funnel
    where workspace_at is not null
    union all
    select 'plan_changed', changed_at, account_id, null, subscription_id, to_plan_id,
        auto_renew, end_date, null, null, null, null
    from fct_plan_changes
    where to_plan_id is not null
    union all
    select 'workspace_deleted', changed_at, null, null, subscription_id, null, null, null, null,
        null, null, null
    from fct_plan_changes
    where to_plan_id is null
    union all
    select 'overdue_payment', opened_at, account_id, null, workspace_id, null,
        cause = 'wallet_short', null, amount, currency, due_date, payment_id
    from fct_overdue_episodes
)

select
    'event-' || row_number() over (order by occurred_at, account_id, event_type) as event_id,
    event_type,
    strftime(occurred_at, '%Y-%m') as event_month,
    event_type as sender_event,
    occurred_at,
    'payload' as event_time_source,
    occurred_at + interval 2 seconds as received_at,
    'webhook' as origin,
    null::varchar as delivery_id,
    null::varchar as batch_id,
    'n1' as node,
    row_number() over (order by occurred_at, account_id, event_type) as seq,
    account_id,
    null::varchar as owner_id,
    workspace_id,
    case when event_type = 'workspace_created' then 'Shop ' || workspace_id end as workspace_name,
    source,
    plan_id,
    payment_id,
    currency,
    auto_renew,
    amount,
    null::date as start_date,
    end_date,
    null::date as renewal_date,
    due_date,
    '{"event": "' || event_type || '", "data": {}}' as payload
from told;
"""

# metrics.md: period n is judged n months and 4 days after the first paid instant, n = 0 at it.
RETENTION = """
create table mart_retention_monthly as
with firsts as (
    select account_id, currency, valid_from as began
    from int_plan_periods
    where is_paid
    qualify row_number() over (
        partition by account_id order by valid_from, subscription_id
    ) = 1
),

judged as (
    select
        firsts.*,
        n as period_number,
        began + to_months(n::integer)
            + case when n > 0 then interval 4 days else interval 0 days end as judged_at
    from firsts
    cross join unnest(generate_series(0, 24)) as numbers (n)
),

found as (
    select
        judged.account_id,
        judged.currency,
        judged.began,
        judged.period_number,
        judged.judged_at <= '{as_of}'::timestamptz as is_matured,
        bool_or(periods.account_id is not null) as is_paying,
        coalesce(sum(periods.mrr) filter (where periods.currency = judged.currency), 0) as mrr
    from judged
    left join int_plan_periods as periods
        on
            judged.account_id = periods.account_id
            and periods.is_paid
            and periods.valid_from <= judged.judged_at
            and (periods.valid_to is null or periods.valid_to > judged.judged_at)
    group by all
),

with_start as (
    select *, first(mrr) over (partition by account_id order by period_number) as mrr_at_start
    from found
)

select
    date_trunc('month', began)::date as cohort_month,
    currency,
    period_number::integer as period_number,
    count(*) as cohort_size,
    count(*) filter (where is_matured) as matured,
    case when bool_or(is_matured)
        then count(*) filter (where is_matured and is_paying) end as retained,
    coalesce(sum(mrr_at_start) filter (where is_matured), 0)::decimal(18, 2) as mrr_start,
    (sum(mrr) filter (where is_matured))::decimal(18, 2) as mrr_retained
from with_start
group by all;
"""

# By looking at every month's two ends; metrics.md says what each column is.
REVENUE = """
create table mart_mrr_monthly as
with months as (
    select unnest(
        generate_series(
            date_trunc('month', min(valid_from)), '{as_of}'::timestamptz, interval 1 month
        )
    ) as begins
    from int_plan_periods
    where is_paid
),

held as (
    select
        begins,
        account_id,
        currency,
        coalesce(sum(mrr) filter (
            where valid_from < begins and coalesce(valid_to, 'infinity') >= begins
        ), 0) as at_start,
        coalesce(sum(mrr) filter (where valid_from < ends and coalesce(valid_to, 'infinity') >= ends
        ), 0) as at_end
    from (select *, least(begins + interval 1 month, '{as_of}'::timestamptz) as ends from months)
    cross join int_plan_periods
    where is_paid
    group by all
),

moved as (
    select
        date_trunc('month', changed_at) as begins,
        currency,
        mrr_movement,
        sum(account_mrr_after - account_mrr_before) as amount
    from fct_plan_changes
    group by all
)

select
    begins::date as month,
    currency,
    sum(at_start)::decimal(18, 2) as mrr_start,
    {movements},
    sum(at_end)::decimal(18, 2) as mrr_end,
    0::decimal(18, 2) as mrr_cost_end,
    count(*) filter (where at_start > 0) as paying_accounts_start,
    count(*) filter (where at_end > 0) as paying_accounts_end,
    count(*) filter (where at_start > 0 and at_end = 0) as churned_accounts,
    (sum(least(at_start, at_end)) filter (where at_start > 0))::decimal(18, 2) as retained_mrr,
    (sum(at_end) filter (where at_start > 0))::decimal(18, 2) as expanded_mrr
from held
group by begins, currency;
create table fct_missing_renewals as
select
    account_id, subscription_id, 'workspace' as attribution, plan_id,
    '{as_of}'::timestamptz::date - 5 - (length(plan_id) * 9)::integer as end_date, mrr, currency
from int_plan_periods
where is_paid and valid_to is null and account_id like '%7@example.com';
"""


@dataclass
class Rows:
    """Rows of each table, in the order of its columns."""

    tables: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)

    def add(self, table: str, *values: object) -> None:
        self.tables.setdefault(table, []).append(values)

    def count(self, table: str) -> int:
        return len(self.tables.get(table, ()))


@dataclass
class Subscription:
    """One life: (instant, plan or None, cause of a cancel), and its overdue episodes."""

    subscription_id: str
    states: list[tuple[datetime, str | None, str | None]] = field(default_factory=list)


def build_warehouse(
    data_dir: Path,
    *,
    accounts: int = 3_000,
    seed: int = 7,
    version: int = 1,
    as_of: datetime = AS_OF,
    built_at: datetime | None = None,
    edit: Callable[[Rows], None] | None = None,
    refresh_ok: bool = True,
) -> Path:
    """Publish version `version` below data_dir as `refresh` does; returns the version's file.

    accounts 0: the empty warehouse of a first refresh. edit may change any row before writing.
    """
    rows = Rows()
    for plan_id, (name, tier, currency, interval, price, cost) in PLANS.items():
        rows.add(
            "plan_prices", plan_id, name, tier, currency, interval, Decimal(price), Decimal(cost),
            date(2025, 1, 1), None,
        )  # fmt: skip
    draw = random.Random(seed)
    for number in range(accounts):
        _live(rows, draw, number, as_of)
    if edit:
        edit(rows)
    events = 3 * accounts + 4 * rows.count("fct_plan_changes")
    rows.tables["hooklake.build"] = [
        (version, built_at or as_of, as_of, as_of if accounts else None, events, False, 0.5)
    ]
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / f"warehouse-{version}.duckdb"
    _write(path, rows, as_of)
    link = data_dir / ".warehouse.duckdb.new"
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    os.replace(link, data_dir / "warehouse.duckdb")
    (data_dir / "refresh.json").write_text(
        json.dumps(
            {
                "ok": refresh_ok,
                "attempted_at": as_of.isoformat(),
                "version": version,
                "seconds": 0.5,
                "stage": "publish",
                "error": None,
                "warnings": [],
            }
        )
    )
    return path


def _live(rows: Rows, draw: random.Random, number: int, as_of: datetime) -> None:
    """One account from registration to as_of."""
    account = f"owner{number:05d}@example.com"
    age = DAYS * (1 - draw.random() ** 0.75)  # more of them lately
    registered = as_of - timedelta(days=age, seconds=draw.randrange(3600))
    source = draw.choices(list(SOURCES), [share for share, _ in SOURCES.values()])[0]
    workspace_at = None
    if draw.random() < 0.74:
        workspace_at = registered + timedelta(minutes=draw.expovariate(1 / 240))
    paid_at = None
    if workspace_at and draw.random() < SOURCES[source][1] / 0.74:
        paid_at = workspace_at + timedelta(days=min(draw.lognormvariate(2.2, 0.9), 200))
    workspace_at = workspace_at if workspace_at and workspace_at <= as_of else None
    paid_at = paid_at if paid_at and paid_at <= as_of else None
    subscriptions = [Subscription(f"ws{number:05d}")]
    renewed_at: list[datetime] = []
    open_count = 0
    if workspace_at:
        first = subscriptions[0]
        first.states.append((workspace_at, "trial", None))
        trial_end = registered + timedelta(days=14)
        if (paid_at is None or paid_at > trial_end) and workspace_at < trial_end <= as_of:
            first.states.append((trial_end, "free", None))
    if paid_at:
        if draw.random() < 0.05:
            subscriptions.append(Subscription(f"ws{number:05d}b"))
        for position, subscription in enumerate(subscriptions):
            begins = paid_at + timedelta(days=20 * position)
            if begins <= as_of:
                open_count += _pay(rows, draw, account, subscription, begins, as_of, renewed_at)
    _write_changes(rows, account, subscriptions)
    state = {s.subscription_id: s.states[-1][1] for s in subscriptions if s.states}
    paid = [plan for plan in state.values() if plan and monthly(plan)[0] > 0]
    ever_paid = paid_at is not None
    plan = max(paid, key=lambda one: monthly(one)[0]) if paid else None
    lifecycle = (
        ("past_due" if open_count else "paying") if paid
        else "churned" if ever_paid
        else "trialing" if as_of - registered < timedelta(days=14)
        else "activated" if workspace_at
        else "registered"
    )  # fmt: skip
    first_plan = next(
        (p for s in subscriptions for t, p, _ in s.states if p and monthly(p)[0] and t == paid_at),
        None,
    )
    rows.add(
        "fct_registration_funnel", account, registered, source, workspace_at, paid_at, first_plan,
        min(renewed_at, default=None),
        int((paid_at - registered).total_seconds()) if paid_at else None,
    )  # fmt: skip
    rows.add(
        "dim_accounts", account, registered, source, paid_at, plan, True if plan else None,
        (as_of + timedelta(days=12)).date() if plan else None, bool(paid),
        sum((monthly(one)[0] for one in paid), Decimal(0)), monthly(plan)[1] if plan else None,
        int(workspace_at is not None), int(workspace_at is not None), open_count, lifecycle,
        max(filter(None, (registered, workspace_at, paid_at))),
    )  # fmt: skip


def _pay(
    rows: Rows,
    draw: random.Random,
    account: str,
    subscription: Subscription,
    begins: datetime,
    as_of: datetime,
    renewed_at: list[datetime],
) -> int:
    """Monthly renewals with changes, overdue payments, cancels and returns; open episodes."""
    plan = draw.choices(
        ["business_lite", "business", "business_yearly", "business_lite_eu", "business_large"],
        [0.42, 0.24, 0.08, 0.2, 0.06],
    )[0]
    subscription.states.append((begins, plan, None))
    now, still_open = begins, 0
    while (now := now + timedelta(days=30)) <= as_of:
        chance = draw.random()
        if chance < 0.08:
            wallet = draw.random() < 0.62
            recovered = draw.random() < (0.86 if wallet else 0.34)
            closes = now + timedelta(days=draw.uniform(0.5, 9 if recovered else 4))
            _episode(rows, draw, account, subscription, plan, now, closes, recovered, wallet, as_of)
            still_open += closes > as_of
            if not recovered:
                cause = "wallet_short" if wallet else "non_renewal"
                if closes <= as_of and draw.random() < 0.9:
                    subscription.states.append((closes, "free", cause))
                    if draw.random() > 0.25:
                        return still_open
                    now = closes + timedelta(days=draw.uniform(3, 60))
                    if now > as_of:
                        return still_open
                    subscription.states.append((now, plan, None))
                continue
        elif chance < 0.105:
            gone = draw.random() < 0.3
            cause = "workspace_deleted" if gone else draw.choice(["early", "early", "expiry"])
            subscription.states.append((now, None if gone else "free", cause))
            return still_open
        elif chance < 0.15 and plan in UP:
            plan = UP[plan]
            subscription.states.append((now, plan, None))
            continue
        elif chance < 0.165 and plan in DOWN:
            plan = DOWN[plan]
            subscription.states.append((now, plan, None))
            continue
        renewed_at.append(now)
    return still_open


def _episode(
    rows: Rows,
    draw: random.Random,
    account: str,
    subscription: Subscription,
    plan: str,
    opened: datetime,
    closes: datetime,
    recovered: bool,
    wallet: bool,
    as_of: datetime,
) -> None:
    lingering = draw.random() < 0.12  # nobody ever closed it
    is_open = closes > as_of or lingering
    price, currency = PLANS[plan][4], PLANS[plan][2]
    due = opened.date() + timedelta(days=draw.choice([0, 0, 0, 3]))
    overdue = (as_of.date() - due).days
    notices = 1 if wallet else 3
    rows.add(
        "fct_overdue_episodes", f"ep{rows.count('fct_overdue_episodes'):06d}", account,
        subscription.subscription_id, subscription.subscription_id,
        f"pay_{draw.randrange(10**6):06d}", "wallet_short" if wallet else "non_renewal", opened,
        min(opened + timedelta(days=notices - 1), as_of), notices,
        None if draw.random() < 0.05 else Decimal(price), currency, due,
        "open" if is_open else "recovered" if recovered else "lost",
        None if is_open else closes, None if is_open else (closes.date() - opened.date()).days,
        overdue if is_open else None, bucket(overdue) if is_open else None,
    )  # fmt: skip


def bucket(days_overdue: int) -> str:
    """The ageing bucket of metrics.md."""
    if days_overdue < 0:
        return "not_due"
    bounds = ((7, "0-7"), (30, "8-30"), (60, "31-60"), (90, "61-90"))
    return next((name for most, name in bounds if days_overdue <= most), "90+")


def monthly(plan: str | None) -> tuple[Decimal, str | None]:
    """Monthly price and currency of a plan of the catalogue."""
    if plan not in PLANS:
        return Decimal(0), None
    _, _, currency, interval, price, _ = PLANS[plan]
    cents = int(Decimal(price) * 100)
    return Decimal((cents + 6) // 12 if interval == "year" else cents) / 100, currency


def _write_changes(rows: Rows, account: str, subscriptions: list[Subscription]) -> None:
    """Periods and changes of state, with the account's totals around each change."""
    moves: list[tuple[datetime, Subscription, str | None, str | None]] = []
    for subscription in subscriptions:
        states = subscription.states
        for position, (begins, plan, cause) in enumerate(states):
            ends = states[position + 1][0] if position + 1 < len(states) else None
            if plan is not None:
                price, currency = monthly(plan)
                rows.add(
                    "int_plan_periods", account, subscription.subscription_id, plan, begins, ends,
                    price > 0, False, price, currency,
                )  # fmt: skip
            moves.append((begins, subscription, plan, cause))
    current: dict[str, str | None] = {}
    paid_before: set[str] = set()
    ever: set[str | None] = set()
    for at, subscription, after, cause in sorted(moves, key=lambda move: move[0]):
        name = subscription.subscription_id
        before = current.get(name)
        was, had = monthly(before)
        will, has = monthly(after)
        currency = has if will > 0 else had if was > 0 else None
        total_before = _total(current, currency)
        current[name] = after
        total_after = _total(current, currency)
        kind = _change_type(before, after, was, will, name in paid_before)
        rows.add(
            "fct_plan_changes", f"ch{rows.count('fct_plan_changes'):06d}", account, name,
            "workspace", at, before, after, kind, was, will, will - was, total_before, total_after,
            _movement(total_before, total_after, currency, ever), currency, will > 0 or None,
            at.date() if will > 0 else None, (at + timedelta(days=30)).date() if will else None,
            cause if kind == "cancel" else None,
        )  # fmt: skip
        if will > 0:
            paid_before.add(name)
            ever.add(currency)


def _total(current: dict[str, str | None], currency: str | None) -> Decimal:
    priced = (monthly(plan) for plan in current.values())
    return sum((price for price, of in priced if of == currency), Decimal(0))


def _change_type(
    before: str | None, after: str | None, was: Decimal, will: Decimal, paid_before: bool
) -> str:
    if was == 0 and will > 0:
        return "reactivation" if paid_before else "new"
    if was > 0 and will > 0:
        tiers = (PLANS[before or ""][1], was), (PLANS[after or ""][1], will)
        return "upgrade" if tiers[1] > tiers[0] else "downgrade"
    if was > 0:
        return "cancel"
    if before == "trial" and after == "free":
        return "trial_over"
    return "closed" if before == "free" and after is None else "start_free"


def _movement(before: Decimal, after: Decimal, currency: str | None, ever: set[str | None]) -> str:
    if currency is None or before == after:
        return "none"
    if before == 0:
        return "reactivation" if currency in ever else "new"
    if after == 0:
        return "churn"
    return "expansion" if after > before else "contraction"


def _write(path: Path, rows: Rows, as_of: datetime) -> None:
    path.unlink(missing_ok=True)
    windows = ", ".join(_windows(as_of))
    with duckdb.connect(str(path)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(SCHEMA)
        for table, values in rows.tables.items():
            names = [column[0] for column in connection.sql(f"select * from {table}").description]
            frame = pl.DataFrame(values, schema=names, orient="row", infer_schema_length=None)
            connection.register("incoming", frame)
            connection.execute(f"insert into {table} by name select * from incoming")
            connection.unregister("incoming")
        connection.execute(MARTS.format(windows=windows))
        connection.execute(EVENTS)
        connection.execute(RETENTION.format(as_of=as_of.isoformat()))
        movements = ", ".join(
            f"coalesce((select sum(amount) from moved where moved.begins = held.begins and"
            f" moved.currency = held.currency and mrr_movement = '{name}'), 0)::decimal(18, 2)"
            f' as "{name}"'
            for name in ("new", "expansion", "contraction", "churn", "reactivation")
        )
        connection.execute(REVENUE.format(as_of=as_of.isoformat(), movements=movements))
    os.chmod(path, 0o600)


def _windows(as_of: datetime) -> Iterator[str]:
    for days in (14, 30, 90):
        matured = f"registered_at <= '{as_of.isoformat()}'::timestamptz - interval {days} days"
        in_time = f"paid_at < registered_at + interval {days} days"
        yield f"count(*) filter (where {matured}) as matured_{days}"
        yield f"count(*) filter (where {matured} and {in_time}) as paid_{days}"
