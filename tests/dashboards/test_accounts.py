"""The people behind the numbers: lists, one account's way, and where it is stuck."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from test_pages import environment, expected, metrics, run_page, shown
from warehouse_builder import AS_OF, Rows, build_warehouse

from dashboards import addresses, formats, journeys, queries
from dashboards.definitions import LIFECYCLE_LABELS
from dashboards.filters import Filters

__all__ = ["environment"]  # a fixture of the pages' tests, used here as well
ACCOUNTS = addresses.ACCOUNTS
DAY = timedelta(days=1)


def test_the_cards_and_the_list_are_dim_accounts(full_dir: Path) -> None:
    test = run_page(full_dir, ACCOUNTS)
    assert not test.exception and not test.error
    for lifecycle, label in LIFECYCLE_LABELS.items():
        [number] = expected(
            full_dir, f"select count(*) from dim_accounts where lifecycle = '{lifecycle}'"
        )
        assert metrics(test)[label] == f"{number:,}"
    assert "3,000 accounts, the first 1,000 shown" in shown(test)


@pytest.mark.parametrize(
    ("clicks", "condition"),
    [
        ({"lifecycle": ["past_due"]}, "lifecycle = 'past_due'"),
        ({"plan": ["business"]}, "current_plan_id = 'business'"),
        ({"source": ["webinar"]}, "source = 'webinar'"),
        ({"overdue": True}, "open_overdue > 0"),
        ({"search": " OWNER0001 "}, "account_id like '%owner0001%'"),
        (
            {"lifecycle": ["paying"], "plan": ["business", "business_large"]},
            "lifecycle = 'paying' and current_plan_id in ('business', 'business_large')",
        ),
    ],
    ids=str,
)
def test_each_condition_narrows_the_list(
    full_dir: Path, clicks: dict[str, Any], condition: str
) -> None:
    test = run_page(full_dir, ACCOUNTS, clicks=clicks)
    assert not test.exception and not test.error
    [number] = expected(full_dir, f"select count(*) from dim_accounts where {condition}")
    assert number
    assert formats.counted(number, "account") in shown(test)


def test_a_workspace_finds_its_account(
    full: duckdb.DuckDBPyConnection, last_90_days: Filters
) -> None:
    workspace, account = full.execute(
        "select subscription_id, account_id from int_plan_periods order by valid_from limit 1"
    ).fetchall()[0]
    found = queries.accounts(full, last_90_days, workspace)
    assert found["account_id"].to_list() == [account] and found["total"].to_list() == [1]


def test_a_search_is_text_and_never_a_pattern(
    full: duckdb.DuckDBPyConnection, last_90_days: Filters
) -> None:
    for search in ("%", "_", "' or true --", "\\", "*"):
        assert queries.accounts(full, last_90_days, search).is_empty()


def test_an_account_shows_every_event_period_and_episode(full_dir: Path) -> None:
    [account] = expected(
        full_dir,
        "select account_id from fct_overdue_episodes "
        "where account_id in (select account_id from fct_plan_changes where to_plan_id is null) "
        "order by account_id limit 1",
    )
    test = run_page(full_dir, ACCOUNTS, account=account.upper())
    assert not test.exception and not test.error
    timeline, periods, episodes, workspaces = (frame.value for frame in test.dataframe)
    of = f"where account_id = '{account}'"
    [stated] = expected(full_dir, f"select count(*) from events {of}")
    [deleted] = expected(
        full_dir,
        "select count(*) from events where event_type = 'workspace_deleted' "
        f"and workspace_id in (select workspace_id from events {of})",
    )
    assert deleted >= 1  # which name no account at all
    assert len(timeline) == stated + deleted
    assert timeline["occurred_at"].is_monotonic_decreasing
    assert len(periods) == expected(full_dir, f"select count(*) from int_plan_periods {of}")[0]
    assert len(episodes) == expected(full_dir, f"select count(*) from fct_overdue_episodes {of}")[0]
    assert set(workspaces["workspace_id"]) == set(timeline["workspace_id"].dropna())
    assert account in [code.value for code in test.code]
    assert "Where is this person stuck?" in shown(test)


def test_a_stranger_is_a_sentence(full_dir: Path) -> None:
    test = run_page(full_dir, ACCOUNTS, account="![x](http://evil)@example.com")
    assert not test.exception and not test.error
    assert "No event of this account" in shown(test)
    assert all("evil" not in part.value for part in (*test.markdown, *test.caption))


def test_nobody_fits(full_dir: Path) -> None:
    test = run_page(full_dir, ACCOUNTS, clicks={"search": "no such person"})
    assert "No account fits" in shown(test)


def test_a_body_is_read_from_its_own_files(full: duckdb.DuckDBPyConnection) -> None:
    event_id, kind, month, payload = full.execute(
        "select event_id, event_type, event_month, payload from events limit 1"
    ).fetchall()[0]
    assert queries.event_body(full, event_id, kind, month)["payload"].to_list() == [payload]
    assert queries.event_body(full, event_id, kind, "1999-01").is_empty()


def test_an_account_whose_events_are_gone_is_still_shown(tmp_path: Path) -> None:
    def alone(rows: Rows) -> None:
        rows.add("dim_accounts", "lonely@example.com", None, None, None, None, None, None, False,
                 0, None, 0, 0, 0, "registered", None)  # fmt: skip

    build_warehouse(tmp_path, accounts=5, edit=alone)
    test = run_page(tmp_path, ACCOUNTS, account="lonely@example.com")
    assert not test.exception and not test.error
    assert "No registration was reported" in shown(test)


ACCOUNT: dict[str, Any] = {
    "lifecycle": "registered",
    "registered_at": AS_OF - 40 * DAY,
    "workspace_at": None,
    "first_paid_at": None,
    "renewed_at": None,
    "workspaces_live": 0,
    "workspaces_total": 0,
    "auto_renew": None,
    "period_end": None,
    "last_cancel_at": None,
    "last_cancel_cause": None,
}
EPISODES = pl.DataFrame(
    {
        "status": ["recovered", "open", "open"],
        "cause": ["unknown", "non_renewal", "wallet_short"],
        "days_overdue": [None, 3, 12],
    }
)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "Stuck before the first workspace: registered on 13 Oct 2026, 40 days ago, and never"),
        (
            {
                "lifecycle": "activated",
                "workspace_at": AS_OF - 39 * DAY,
                "workspaces_total": 1,
                "workspaces_live": 1,
            },
            "Stuck before paying: registered on 13 Oct 2026, had a workspace since 14 Oct 2026, "
            "and has not paid in the 40 days since registering.",
        ),
        (
            {"lifecycle": "trialing", "registered_at": AS_OF - 11 * DAY},
            "In the trial for another 3.0 days: registered on 11 Nov 2026 and has no workspace",
        ),
        (
            {"lifecycle": "trialing", "registered_at": AS_OF - 20 * DAY},
            "In the trial: registered on 2 Nov 2026 and has no workspace yet.",
        ),
        (
            {
                "lifecycle": "paying",
                "first_paid_at": datetime(2026, 11, 1, tzinfo=UTC),
                "auto_renew": True,
            },
            "Not stuck: pays since 1 Nov 2026; the first renewal is still to come.",
        ),
        (
            {
                "lifecycle": "paying",
                "first_paid_at": datetime(2026, 11, 1, tzinfo=UTC),
                "auto_renew": False,
                "period_end": date(2026, 12, 1),
            },
            "About to leave: pays since 1 Nov 2026, but auto-renew is off and the plan ends on "
            "1 Dec 2026.",
        ),
        (
            {
                "lifecycle": "churned",
                "first_paid_at": datetime(2026, 9, 1, tzinfo=UTC),
                "last_cancel_at": AS_OF - 5 * DAY,
                "last_cancel_cause": "wallet_short",
            },
            "Left: the last paid plan ended on 17 Nov 2026, 5 days ago after first paying on "
            "1 Sep 2026. Cause: wallet short.",
        ),
        (
            {"lifecycle": "past_due", "first_paid_at": AS_OF - 30 * DAY},
            "Pays, with 2 payments open, the oldest 12 days overdue; your UChat wallet could not "
            "pay: top it up.",
        ),
        (
            {
                "lifecycle": "paying",
                "registered_at": None,
                "first_paid_at": datetime(2026, 11, 1, tzinfo=UTC),
            },
            "Not stuck: pays since 1 Nov 2026. Its first renewal is not known without a",
        ),
        (
            {"lifecycle": "activated", "first_paid_at": datetime(2026, 11, 1, tzinfo=UTC)},
            "Paid on 1 Nov 2026, as a renewal proves, but no event told for which plan",
        ),
        ({"registered_at": None}, "No registration was reported for this address"),
    ],
)
def test_where_a_person_is_stuck(changed: dict[str, Any], sentence: str) -> None:
    assert sentence in journeys.stuck_at({**ACCOUNT, **changed}, EPISODES, as_of=AS_OF)
