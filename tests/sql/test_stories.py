"""Stories of single accounts, told in events, and what is published of them, worked out by hand.

All stories share one warehouse (an account's rows depend on its own events alone), built as of
1 June 2026 with the shipped catalogue: business costs 29.00 USD a month, business_lite 59.00.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from warehouse.workbench import Workbench

AS_OF = "2026-06-01T00:00:00Z"


def event(account: str, at: str, event_type: str, **fields: Any) -> dict[str, Any]:
    """A stored event; `at` is an instant of 2026 such as `03-01 10:00`."""
    return {
        "event_type": event_type,
        "account_id": f"{account}@x.test",
        "occurred_at": f"2026-{at.replace(' ', 'T')}:00Z",
        **fields,
    }


def instant(text: str) -> datetime:
    """An instant of 2026."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def hashed(text: str) -> str:
    """As the models hash it."""
    return md5(text.encode(), usedforsecurity=False).hexdigest()


STORIES = [
    # The sender's own samples: nothing but the last names a workspace.
    event("seed", "04-01 09:00", "user_registered", source="landing_page"),
    event("seed", "04-01 09:00", "workspace_created", workspace_id="abc123"),
    event(
        "seed", "04-01 12:00", "plan_changed", plan_id="business", auto_renew=True,
        start_date=date(2026, 4, 1), end_date=date(2026, 5, 1),
    ),
    event("seed", "04-20 12:00", "overdue_payment", payment_id="pay789",
          amount=Decimal("49.99"), due_date=date(2026, 4, 20)),
    event("seed", "05-01 00:00", "plan_renewed", plan_id="business",
          renewal_date=date(2026, 5, 1)),
    event("seed", "05-20 10:00", "workspace_deleted", workspace_id="abc123"),
    # Not renewing: three notices on three days, then free without dates.
    event("leaver", "01-01 00:00", "plan_changed", plan_id="business", workspace_id="w-leaver",
          start_date=date(2026, 1, 1), end_date=date(2026, 2, 1), auto_renew=False),
    *(event("leaver", f"02-0{day} 08:00", "overdue_payment", auto_renew=False, amount=29,
            workspace_id="w-leaver") for day in (1, 2, 3)),
    event("leaver", "02-03 09:00", "overdue_payment", auto_renew=False, amount=29,
          workspace_id="w-leaver"),
    event("leaver", "02-04 00:00", "plan_changed", plan_id="free", auto_renew=False,
          workspace_id="w-leaver"),
    # The partner's wallet is short; the nightly run restores the plan within a day.
    event("wallet", "01-01 00:00", "plan_changed", plan_id="business", workspace_id="w-wallet"),
    event("wallet", "02-01 00:00", "overdue_payment", auto_renew=True, payment_id="p1",
          workspace_id="w-wallet"),
    event("wallet", "02-02 00:00", "plan_changed", plan_id="free", workspace_id="w-wallet"),
    event("wallet", "02-02 23:59", "plan_changed", plan_id="business", workspace_id="w-wallet"),
    # The same, but restored after exactly the grace: a cancel and a return.
    event("late", "01-01 00:00", "plan_changed", plan_id="business", workspace_id="w-late"),
    event("late", "02-01 00:00", "overdue_payment", auto_renew=True, payment_id="p1",
          workspace_id="w-late"),
    event("late", "02-02 00:00", "plan_changed", plan_id="free", workspace_id="w-late"),
    event("late", "02-03 00:00", "plan_changed", plan_id="business", workspace_id="w-late"),
    # Two workspaces: the account's movements are not the subscriptions'.
    event("two", "03-01 00:00", "user_registered"),
    event("two", "03-01 01:00", "plan_changed", plan_id="business", workspace_id="w-two-a"),
    event("two", "03-02 00:00", "plan_changed", plan_id="business_lite", workspace_id="w-two-b"),
    event("two", "03-03 00:00", "plan_changed", plan_id="free", workspace_id="w-two-a"),
    # Renewed at account level while a workspace is paid: that opens nothing of its own.
    event("two", "03-04 00:00", "plan_renewed", plan_id="business"),
    # Never registered, on a plan the catalogue has not heard of.
    event("stray", "03-01 00:00", "plan_changed", plan_id="mystery"),
    # Registered at ten; the payment, known by its day alone, was stored at midnight.
    event("dated", "03-01 10:00", "user_registered"),
    event("dated", "03-01 00:00", "plan_changed", plan_id="business", event_time_source="date"),
    # Ids that, joined by a mark, would read as those of another.
    event("mark", "03-01 00:00", "plan_changed", plan_id="business", workspace_id="w-mark",
          event_id="a|b"),
    event("mark", "03-02 00:00", "plan_changed", plan_id="business", workspace_id="w-mark|a",
          event_id="b"),
    event("mark", "03-03 00:00", "overdue_payment", payment_id="@x.test|payment|p"),
    event("mark@x.test|payment|", "03-03 00:00", "overdue_payment", payment_id="p"),
    # Says nothing the models read.
    event("other", "03-01 00:00", "other", sender_event="no_enough_credit"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    bench = Workbench(tmp_path_factory.mktemp("stories"))
    bench.add(STORIES)
    report = bench.refresh(as_of=AS_OF)
    # that AS_OF is still to come is warned of until it has come
    warnings = [text for text in report.warnings if not text.startswith("--as-of ")]
    assert [warning.split(":")[0] for warning in warnings] == ["test every_paid_plan_is_priced"]
    yield bench


def of(bench: Workbench, table: str, account: str, order: str, *columns: str) -> list[Any]:
    """The account's rows of a table as tuples of the columns."""
    return bench.query(
        f"select {', '.join(columns)} from {table}"
        f" where account_id = '{account}@x.test' order by {order}"
    )


def test_ids_that_hold_the_mark_stand_for_nothing_but_their_own(bench: Workbench) -> None:
    changes = bench.query(
        "select subscription_id, event_id, change_id from fct_plan_changes"
        " where account_id = 'mark@x.test' order by all"
    )
    assert changes == [
        ("w-mark", "a|b", hashed("6|w-mark|a|b")),
        ("w-mark|a", "b", hashed("8|w-mark|a|b")),
    ]
    episodes = bench.query(
        "select episode_id from fct_overdue_episodes where account_id like 'mark@%' order by"
        " account_id"
    )
    assert episodes == [
        (hashed("11|mark@x.test|payment|@x.test|payment|p"),),
        (hashed("27|mark@x.test|payment|@x.test|payment|p"),),
    ]
    (nameless,) = bench.query(
        "select episode_id, event_id from fct_overdue_episodes as episodes"
        " inner join events using (account_id) where account_id = 'leaver@x.test'"
        " and events.occurred_at = episodes.opened_at"
    )
    assert nameless[0] == hashed(f"13|leaver@x.test|event|{nameless[1]}")


def test_the_senders_samples_make_a_whole_story(bench: Workbench) -> None:
    assert of(
        bench, "fct_registration_funnel", "seed", "1",
        "source", "workspace_at", "paid_at", "first_paid_plan_id", "renewed_at",
        "seconds_to_paid",
    ) == [(
        "landing_page", instant("04-01 09:00"), instant("04-01 12:00"), "business",
        instant("05-01 00:00"), 3 * 3600,
    )]  # fmt: skip
    # No plan event names a workspace, so the plan is the account's and ends with its last one.
    assert of(
        bench, "int_plan_periods", "seed", "valid_from",
        "subscription_id", "plan_id", "valid_from", "valid_to", "period_end",
    ) == [(
        "seed@x.test", "business", instant("04-01 12:00"), instant("05-20 10:00"),
        date(2026, 6, 1),  # renewed on 1 May, one month on the 1st
    )]  # fmt: skip
    assert of(
        bench, "fct_overdue_episodes", "seed", "1",
        "cause", "status", "closed_at", "days_to_close", "amount", "currency", "days_overdue",
    ) == [(
        "unknown", "recovered", instant("05-01 00:00"), 11, Decimal("49.99"), "USD", None,
    )]  # fmt: skip


def test_three_notices_are_one_episode_and_blamed_for_the_cancel(bench: Workbench) -> None:
    # A second notice of the third day is the same notice.
    assert of(
        bench, "fct_overdue_episodes", "leaver", "1",
        "cause", "notices", "opened_at", "last_notice_at", "amount", "status", "closed_at",
    ) == [(
        "non_renewal", 3, instant("02-01 08:00"), instant("02-03 08:00"), Decimal("29.00"),
        "lost", instant("02-04 00:00"),
    )]  # fmt: skip
    assert of(
        bench, "fct_plan_changes", "leaver", "changed_at",
        "change_type", "from_plan_id", "to_plan_id", "mrr_delta", "mrr_movement", "cause",
    ) == [
        ("new", None, "business", Decimal("29.00"), "new", None),
        ("cancel", "business", "free", Decimal("-29.00"), "churn", "non_renewal"),
    ]  # fmt: skip


def test_a_restore_within_the_grace_recovers_and_changes_nothing(bench: Workbench) -> None:
    assert of(bench, "fct_plan_changes", "wallet", "changed_at", "change_type") == [("new",)]
    assert of(
        bench, "int_plan_periods", "wallet", "valid_from", "plan_id", "valid_from", "valid_to"
    ) == [("business", instant("01-01 00:00"), None)]
    assert of(bench, "fct_overdue_episodes", "wallet", "1", "status", "closed_at") == [
        ("recovered", instant("02-02 23:59"))
    ]


def test_a_restore_after_the_grace_is_a_loss_and_a_return(bench: Workbench) -> None:
    assert of(
        bench, "fct_plan_changes", "late", "changed_at", "change_type", "mrr_movement", "cause"
    ) == [
        ("new", "new", None),
        ("cancel", "churn", "wallet_short"),
        ("reactivation", "reactivation", None),
    ]
    assert of(bench, "fct_overdue_episodes", "late", "1", "status", "closed_at") == [
        ("lost", instant("02-02 00:00"))
    ]


def test_movements_follow_the_account_and_not_the_workspace(bench: Workbench) -> None:
    assert of(
        bench, "fct_plan_changes", "two", "changed_at",
        "change_type", "mrr_before", "mrr_after", "account_mrr_before", "account_mrr_after",
        "mrr_movement", "cause",
    ) == [
        ("new", *map(Decimal, ("0.00", "29.00", "0.00", "29.00")), "new", None),
        ("new", *map(Decimal, ("0.00", "59.00", "29.00", "88.00")), "expansion", None),
        ("cancel", *map(Decimal, ("29.00", "0.00", "88.00", "59.00")), "contraction", "early"),
    ]  # fmt: skip
    assert of(
        bench, "dim_accounts", "two", "1",
        "current_plan_id", "mrr", "currency", "workspaces_live", "lifecycle",
    ) == [("business_lite", Decimal("59.00"), "USD", 2, "paying")]  # fmt: skip


def test_an_account_without_registration_is_an_account_and_not_in_the_funnel(
    bench: Workbench,
) -> None:
    assert of(bench, "fct_registration_funnel", "stray", "1", "account_id") == []
    assert of(
        bench, "dim_accounts", "stray", "1",
        "registered_at", "source", "is_paying", "mrr", "currency", "lifecycle",
    ) == [(None, "unknown", True, Decimal("0.00"), "unknown", "paying")]  # fmt: skip


def test_a_payment_known_by_its_day_counts_on_the_day_of_registration(bench: Workbench) -> None:
    assert of(bench, "fct_registration_funnel", "dated", "1", "paid_at", "seconds_to_paid") == [
        (instant("03-01 10:00"), 0)
    ]


def test_an_unknown_type_makes_no_account(bench: Workbench) -> None:
    assert of(bench, "dim_accounts", "other", "1", "account_id") == []
    assert bench.query("select count(*) from events where event_type = 'other'") == [(1,)]


def test_money_has_two_decimals_and_every_published_column_says_what_it_is(
    bench: Workbench,
) -> None:
    columns = bench.query(
        "select table_name, column_name, data_type, comment from duckdb_columns()"
        " where schema_name = 'main' and not internal and table_name <> 'events'"
    )
    money = {
        (table, column): kind
        for table, column, kind, _ in columns
        if ("mrr" in column.split("_") and column != "mrr_movement") or column == "amount"
    }
    assert set(money.values()) == {"DECIMAL(18,2)"}, money
    assert [row[:2] for row in columns if not row[3]] == []


def test_history_changes_when_an_old_event_arrives_late(bench: Workbench) -> None:
    bench.add([
        event("leaver", "02-03 20:00", "plan_renewed", workspace_id="w-leaver",
              received_at=instant("05-31 00:00"), event_id="late-renewal"),
    ])  # fmt: skip
    bench.refresh(as_of=AS_OF)
    # The renewal closes the episode before the cancel could, which is then the end of a period
    # known until 1 March: early.
    assert of(bench, "fct_overdue_episodes", "leaver", "1", "status", "closed_at") == [
        ("recovered", instant("02-03 20:00"))
    ]
    assert of(bench, "fct_plan_changes", "leaver", "changed_at", "cause") == [(None,), ("early",)]
    incremental = bench.rows("fct_plan_changes")
    bench.refresh(full=True, as_of=AS_OF)
    assert bench.rows("fct_plan_changes") == incremental


@pytest.mark.slow
def test_dbt_unit_tests_hold(tmp_path_factory: pytest.TempPathFactory) -> None:
    bench = Workbench(tmp_path_factory.mktemp("unit"))
    assert bench.unit_tests().nodes >= 25


def test_amounts_too_large_to_add_up_stop_nothing(tmp_path: Path) -> None:
    """A sender may state anything below 10^16; only the sum of its bucket is left out."""
    huge = Decimal("9999999999999999.99")
    bench = Workbench(tmp_path)
    bench.add(
        [
            event("huge1", "04-02 09:00", "overdue_payment", amount=huge),
            event("huge2", "04-02 09:00", "overdue_payment", amount=huge),
            event("usual", "05-30 09:00", "overdue_payment", amount=Decimal("29.00")),
        ]
    )
    bench.refresh(as_of=AS_OF)
    sums = bench.query("select episodes, amount from mart_overdue_ageing order by episodes")
    assert sums == [(1, Decimal("29.00")), (2, None)]
