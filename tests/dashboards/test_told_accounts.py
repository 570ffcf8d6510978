"""Accounts told in a few events each, and what the pages say of them, worked out by hand.

They share one warehouse as of 22 November 2026 10:00. A month costs USD 29 (business) and EUR 20
(business_eu).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from test_pages import environment, metrics, run_page, shown
from warehouse_builder import build_warehouse

from dashboards import addresses, figures, queries
from dashboards.filters import Filters
from dashboards.people import People
from ingest.paths import DataDir
from warehouse.reader import connect, published
from warehouse.workbench import Workbench

__all__ = ["environment"]

CATALOGUE = """\
plan_id,plan_name,tier,currency,interval,price,cost,valid_from,valid_to
free,Free,0,USD,month,0,0,2020-01-01,
business,Business,1,USD,month,29,10,2020-01-01,
business_eu,Business EU,1,EUR,month,20,10,2020-01-01,
"""


def event(account: str, at: str, event_type: str, **fields: Any) -> dict[str, Any]:
    """A stored event; `at` is an instant such as `2026-03-01 10:00`."""
    return {
        "event_type": event_type,
        "account_id": f"{account}@x.test",
        "occurred_at": f"{at.replace(' ', 'T')}:00Z",
        **fields,
    }


def plan(account: str, at: str, plan_id: str, workspace: str = "") -> dict[str, Any]:
    """The account's workspace is on the plan from noon of the day on."""
    return event(
        account,
        f"{at} 12:00",
        "plan_changed",
        plan_id=plan_id,
        workspace_id=f"w-{account}{workspace}",
    )


EVENTS = [
    # June: `two` gives up one of two currencies, n1 and n2 come and go, two others stay. July:
    # `two` gives up the other as well. August: `stay2` leaves and returns.
    plan("two", "2026-01-01", "business", "-us"),
    plan("two", "2026-01-01", "business_eu", "-eu"),
    plan("two", "2026-06-10", "free", "-us"),
    plan("two", "2026-07-10", "free", "-eu"),
    plan("n1", "2026-06-05", "business"),
    plan("n1", "2026-06-15", "free"),
    plan("n2", "2026-06-06", "business"),
    plan("n2", "2026-06-20", "free"),
    plan("stay1", "2026-01-01", "business"),
    plan("stay2", "2026-01-01", "business"),
    plan("stay2", "2026-08-05", "free"),
    plan("stay2", "2026-08-10", "business"),
    # March: from one currency to another.
    plan("mover", "2026-03-02", "business_eu"),
    plan("mover", "2026-03-20", "business"),
    plan("mover", "2026-03-25", "free"),
    # September: two plans of one instant, of which the first told decides the cohort's currency.
    plan("tie", "2026-09-01", "business_eu", "-b"),
    plan("tie", "2026-09-01", "business", "-a"),
    # A workspace that was created and no more, and a guest who was told of it later.
    event("maker", "2026-10-10 10:00", "user_registered"),
    event("maker", "2026-10-10 10:05", "workspace_created", workspace_id="W-Made"),
    event("guest", "2026-10-11 10:05", "workspace_created", workspace_id="W-Made"),
    # Known from a change of plan two years before anybody registered.
    plan("old", "2024-02-03", "business"),
    plan("old", "2024-05-01", "free"),
    # October: nobody reported the registration of the first, and the second's plan.
    event("unregistered", "2026-10-01 10:00", "workspace_created", workspace_id="w-unregistered"),
    plan("unregistered", "2026-10-02", "business"),
    event("unregistered", "2026-11-02 12:00", "plan_renewed", workspace_id="w-unregistered"),
    event("planless", "2026-10-01 10:00", "user_registered", source="webinar"),
    event("planless", "2026-10-05 10:00", "plan_renewed"),
]


@pytest.fixture(scope="module")
def told_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with what the models make of EVENTS."""
    bench = Workbench(tmp_path_factory.mktemp("told"))
    bench.data.plan_prices.write_text(CATALOGUE)
    bench.add(EVENTS)
    bench.refresh(as_of="2026-11-22T10:00:00Z")
    return bench.data.root


@pytest.fixture
def told(told_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    version = published(DataDir(told_dir))
    assert version is not None
    with connect(version) as connection:
        yield connection


def month(number: int) -> Filters:
    """A month of 2026."""
    first = date(2026, number, 1)
    return Filters(first, date(2026, number + 1, 1) - timedelta(days=1))


def behind(
    connection: duckdb.DuckDBPyConnection, filters: Filters, kind: str, *parts: object
) -> list[str]:
    """The accounts of the rows behind a number, without their domain."""
    frame = queries.rows_behind(connection, filters, People.of(kind, *parts))
    return sorted(name.removesuffix("@x.test") for name in frame["account_id"])


@pytest.mark.parametrize(
    ("number", "stopped", "of_payers"),
    [(6, ["n1", "n2"], []), (7, ["two"], ["two"]), (8, [], [])],
)
def test_who_stopped_paying_is_counted_once_and_the_rate_follows_who_paid_before(
    told: duckdb.DuckDBPyConnection, number: int, stopped: list[str], of_payers: list[str]
) -> None:
    filters = month(number)
    churn = figures.this_period(queries.churned_by_day(told, filters), filters, "day")
    assert figures.total(churn, "accounts") == len(stopped)
    assert figures.total(churn, "paid_before") == len(of_payers)
    days = (filters.first_day, filters.last_day)
    assert behind(told, filters, "ceased", None, *days) == stopped
    assert behind(told, filters, "ceased", "before", *days) == of_payers


def test_the_card_tells_how_many_of_those_who_paid_before_stopped(told_dir: Path) -> None:
    june = {"period": "custom", "days": (date(2026, 6, 1), date(2026, 6, 30))}
    page = run_page(told_dir, addresses.OVERVIEW, clicks=june)
    assert metrics(page)["Churned accounts"] == "2"
    assert "0 of 3 paying before, 0.0 %; USD 87.00 a month lost" in shown(page)


def test_a_change_of_currency_moves_revenue_in_both(told: duckdb.DuckDBPyConnection) -> None:
    """EUR 20 came and went again; USD 29 came when it went, and went five days later."""
    march = month(3)
    moved = {tuple(row[1:]) for row in queries.movements(told, march).rows()}
    assert moved == {
        ("EUR", "new", 20.0, 1),
        ("EUR", "churn", -20.0, 1),
        ("USD", "new", 29.0, 1),
        ("USD", "churn", -29.0, 1),
    }
    every = People.of("movement", None, "EUR", march.first_day, march.last_day)
    assert queries.total_behind(told, march, every)["rows"].to_list() == [2]
    assert queries.sums_behind(told, march, every).rows() == [("EUR", 0.0)]
    churned = queries.movements(told, march).filter(pl.col("movement") == "churn")
    lost = churned.group_by("currency").agg(-pl.col("amount").sum()).sort("currency")
    assert lost.rows() == [("EUR", 20.0), ("USD", 29.0)]


def test_all_time_begins_before_the_first_registration_where_data_does(told_dir: Path) -> None:
    page = run_page(told_dir, addresses.PLAN_CHANGES, clicks={"period": "all"})
    assert not page.exception and not page.error
    listed = page.dataframe[-1].value
    assert "old@x.test" in set(listed["account_id"])


@pytest.mark.parametrize(
    ("table", "row", "first"),
    [
        (
            "fct_overdue_episodes (episode_id, account_id, opened_at)",
            "('e', 'a', '2023-05-06 23:59Z')",
            date(2023, 5, 6),
        ),
        ("fct_missing_renewals (account_id, end_date)", "('a', '2023-05-07')", date(2023, 5, 7)),
    ],
)
def test_the_oldest_data_may_be_an_overdue_payment_or_a_missing_renewal(
    tmp_path: Path, table: str, row: str, first: date
) -> None:
    build_warehouse(tmp_path, accounts=20)
    with duckdb.connect(str(tmp_path / "warehouse-1.duckdb")) as writer:
        writer.execute(f"insert into {table} values {row}")
        assert queries.coverage(writer)["first_day"].to_list() == [first]


def test_what_a_registration_would_tell_is_not_said_to_be_still_to_come(told_dir: Path) -> None:
    page = run_page(told_dir, addresses.ACCOUNTS, account="unregistered@x.test")
    assert "first renewal is not known without a registration" in shown(page)
    assert page.text[0].value.startswith("Not stuck: pays since 2 Oct 2026.")
    captions = [caption.value for caption in page.caption]
    assert captions.count("not known without a registration") == 2
    assert captions.count("not yet, as far as events tell") == 1  # the registration itself


def test_a_renewal_without_a_plan_is_a_payment(told_dir: Path) -> None:
    page = run_page(told_dir, addresses.ACCOUNTS, account="planless@x.test")
    assert metrics(page)["First paid"] == metrics(page)["First renewal"] == "5 Oct 2026"
    assert "Paid on 5 Oct 2026, as a renewal proves" in shown(page)
    assert "Stuck before paying" not in shown(page) and "deleted" not in shown(page)


def test_the_currency_of_a_cohort_is_that_of_the_plan_told_first(
    told: duckdb.DuckDBPyConnection,
) -> None:
    """Both begin at one instant; w-tie-b in EUR was told first."""
    september = date(2026, 9, 1)
    mart = queries.retention(told).filter(cohort_month=september, period_number=1)
    assert mart.select("currency", "retained", "mrr_retained").rows() == [("EUR", 1, 20.0)]
    for kind in ("started", "retention"):
        assert behind(told, month(9), kind, september, 1, "EUR") == ["tie"]
        assert behind(told, month(9), kind, september, 1, "USD") == []


def test_a_workspace_that_was_only_created_finds_its_account(
    told: duckdb.DuckDBPyConnection,
) -> None:
    found = queries.accounts(told, month(10), " W-Made ")
    assert found["account_id"].to_list() == ["maker@x.test"]


def test_an_event_naming_anothers_workspace_counts_for_its_owner(told_dir: Path) -> None:
    owner = run_page(told_dir, addresses.ACCOUNTS, account="maker@x.test")
    assert len(owner.dataframe[0].value) == 3
    guest = run_page(told_dir, addresses.ACCOUNTS, account="guest@x.test")
    assert not guest.exception and not guest.error
    assert "names workspaces of others alone" in shown(guest)
    assert len(guest.dataframe[0].value) == 1
