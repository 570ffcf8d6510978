"""Every page on a full, an empty, a missing and a broken warehouse, run as Streamlit runs it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest
from warehouse_builder import AS_OF, Rows, build_warehouse

from dashboards import addresses, context, frame, states
from ingest.paths import DataDir
from warehouse.reader import connect, published

PAGES = addresses.PAGES
FIGURES = (
    addresses.OVERVIEW,
    addresses.FUNNEL,
    addresses.PLAN_CHANGES,
    addresses.OVERDUE_PAYMENTS,
    addresses.ACCOUNTS,
)


def run_page(
    data_dir: Path,
    page: str = addresses.OVERVIEW,
    *,
    clicks: dict[str, Any] | None = None,
    **address: str,
) -> AppTest:
    """The page as a reader of data_dir gets it, after choosing the values of `clicks`.

    address: what stands behind the question mark.
    """
    script = (
        "import streamlit as st\n"
        "from dashboards.app import draw_safely\n"
        "from dashboards.views import VIEWS\n"
        f"draw_safely(next(view for view in VIEWS if view.url_path == {page!r}))\n"
    )
    os.environ["HOOKLAKE_DATA_DIR"] = str(data_dir)
    test = AppTest.from_string(script, default_timeout=30)
    for name, value in (clicks or {}).items():
        test.session_state[name] = value
    for name, value in address.items():
        test.query_params[name] = value
    return test.run()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLAKE_DATA_DIR", "unset")
    monkeypatch.setattr(context, "_chosen", [])


def shown(test: AppTest) -> str:
    """All text on the page."""
    kinds = ("title", "header", "subheader", "caption", "markdown", "text", "warning", "error",
             "code", "metric")  # fmt: skip
    return "\n".join(
        str(part)
        for kind in kinds
        for element in getattr(test, kind)
        for part in (getattr(element, "label", ""), element.value)
    )


def metrics(test: AppTest) -> dict[str, str]:
    """By label; of two with one label the first, which is the one of the period."""
    return {metric.label: metric.value for metric in reversed(test.metric)}


def expected(data_dir: Path, sql: str) -> Any:
    version = published(DataDir(data_dir))
    assert version is not None
    with connect(version) as connection:
        return connection.execute(sql).fetchall()[0]


@pytest.mark.parametrize("page", FIGURES)
@pytest.mark.parametrize("period", ["7d", "all", "custom"])
def test_a_page_is_drawn_for_every_period(full_dir: Path, page: str, period: str) -> None:
    test = run_page(full_dir, page, clicks={"period": period})
    assert not test.exception and not test.error
    assert len(test.metric) >= 5
    assert "22 Nov 2026 10:00 UTC" in shown(test)
    assert "UTC" in test.caption[0].value


def test_the_whole_app_begins_with_the_overview(full_dir: Path) -> None:
    os.environ["HOOKLAKE_DATA_DIR"] = str(full_dir)
    script = Path(context.__file__).with_name("app.py")
    test = AppTest.from_file(str(script), default_timeout=30).run()
    assert not test.exception and not test.error
    assert test.title[0].value == "Overview"


def test_the_overview_shows_what_the_marts_say(full_dir: Path) -> None:
    found = metrics(run_page(full_dir, addresses.OVERVIEW, clicks={"period": "90d"}))
    since = (AS_OF - timedelta(days=89)).date()
    registered, paid_30, matured_30 = expected(
        full_dir,
        "select sum(registered), sum(paid_30), sum(matured_30) from mart_funnel_daily "
        f"where cohort_date >= '{since}'",
    )
    [paying] = expected(full_dir, "select count(*) from dim_accounts where is_paying")
    [overdue] = expected(full_dir, "select sum(episodes) from mart_overdue_ageing")
    assert found["Registered"] == f"{registered:,}"
    assert found["Paid within 30 days"] == f"{100 * paid_30 / matured_30:.1f} %"
    assert found["Paying accounts"] == f"{paying:,}"
    assert found["Open overdue payments"] == f"{overdue:,}"
    assert found["MRR USD"].startswith("USD ") and found["MRR EUR"].startswith("EUR ")


def test_a_source_narrows_every_number(full_dir: Path) -> None:
    found = metrics(
        run_page(full_dir, addresses.OVERVIEW, clicks={"period": "all", "source": ["referral"]})
    )
    [registered] = expected(
        full_dir, "select sum(registered) from mart_funnel_daily where source = 'referral'"
    )
    [paying] = expected(
        full_dir, "select count(*) from dim_accounts where is_paying and source = 'referral'"
    )
    [overdue] = expected(
        full_dir,
        "select count(*) from fct_overdue_episodes where status = 'open' and account_id in "
        "(select account_id from dim_accounts where source = 'referral')",
    )
    assert (found["Registered"], found["Paying accounts"]) == (f"{registered:,}", f"{paying:,}")
    assert found["Open overdue payments"] == f"{overdue:,}"


def test_numerator_and_denominator_stand_beside_a_rate(full_dir: Path) -> None:
    test = run_page(full_dir, "funnel", clicks={"period": "all"})
    paid, matured = expected(
        full_dir, "select sum(paid_30), sum(matured_30) from mart_funnel_daily"
    )
    assert f"{paid:,} of {matured:,} matured" in shown(test)


def test_the_lists_are_the_facts(full_dir: Path) -> None:
    changes = run_page(full_dir, "plan-changes", clicks={"period": "all"}).dataframe[-1].value
    [count] = expected(
        full_dir,
        "select count(*) from fct_plan_changes "
        "where change_type in ('upgrade', 'downgrade', 'cancel')",
    )
    assert len(changes) == count
    tables = (frame.value for frame in run_page(full_dir, "overdue-payments").dataframe)
    overdue = next(table for table in tables if "days_overdue" in table.columns)
    [count] = expected(full_dir, "select count(*) from fct_overdue_episodes where status = 'open'")
    assert len(overdue) == count


def test_an_empty_warehouse_shows_how_to_send_the_first_event(tmp_path: Path) -> None:
    build_warehouse(tmp_path, accounts=0)
    for page in PAGES:
        text = shown(run_page(tmp_path, page))
        assert "Ready for the first event" in text
        assert "hooklake trigger user_registered" in text
        assert "curl" in text and "/webhooks/uchat/$TOKEN" in text
        assert str(tmp_path / "secrets.env") in text


def test_no_page_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_warehouse(tmp_path, accounts=0)
    (tmp_path / "secrets.env").write_text(
        "HOOKLAKE_SECRETS=whsec_c2VjcmV0c2VjcmV0c2VjcmV0\nHOOKLAKE_TOKENS=tok_never_shown\n"
    )
    for state in ("empty", "missing"):
        test = run_page(tmp_path)
        assert "tok_never_shown" not in shown(test) and "whsec_" not in shown(test), state
        (tmp_path / "warehouse.duckdb").unlink(missing_ok=True)


def test_no_data_directory_says_what_to_start(tmp_path: Path) -> None:
    text = shown(run_page(tmp_path / "nowhere"))
    assert "Nothing has been received here yet" in text and "make run" in text
    assert not (tmp_path / "nowhere").exists()


def test_no_warehouse_yet_says_what_is_missing(tmp_path: Path) -> None:
    text = shown(run_page(tmp_path))
    assert "first numbers are not there yet" in text and "hooklake refresh --watch" in text


@pytest.mark.parametrize("damage", ["cut", "text", "other", "directory"])
def test_a_broken_warehouse_is_a_calm_page(tmp_path: Path, full_dir: Path, damage: str) -> None:
    file = tmp_path / "warehouse-9.duckdb"
    if damage == "cut":
        whole = (full_dir / "warehouse-1.duckdb").read_bytes()
        file.write_bytes(whole[: len(whole) // 3])
    elif damage == "text":
        file.write_text("no database at all" * 1000)
    elif damage == "other":
        with duckdb.connect(str(file)) as writer:
            writer.execute("create table something_else (x integer)")
    else:
        file.mkdir()
    (tmp_path / "warehouse.duckdb").symlink_to(file.name)
    for page in PAGES:
        test = run_page(tmp_path, page)
        text = shown(test)
        assert not test.exception
        assert "cannot be read" in text and "hooklake refresh --full" in text
        assert "Traceback" not in text


def test_a_failed_refresh_keeps_the_numbers_and_says_why(tmp_path: Path, full_dir: Path) -> None:
    shutil.copytree(full_dir, tmp_path / "data", symlinks=True)
    status = {
        "ok": False,
        "attempted_at": "2026-11-22T10:05:00Z",
        "version": 1,
        "seconds": 1.5,
        "stage": "test",
        "error": "unique_dim_accounts: 2 rows ![x](http://evil)",
        "warnings": [],
    }
    (tmp_path / "data" / "refresh.json").write_text(json.dumps(status))
    test = run_page(tmp_path / "data")
    assert "last refresh at 22 Nov 2026 10:05 UTC did not succeed" in test.warning[0].value
    assert status["error"] in [text.value for text in test.text]
    assert all("evil" not in element.value for element in (*test.markdown, *test.warning))
    assert metrics(test)["Registered"] == metrics(run_page(full_dir))["Registered"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ok": true}', '{"ok":0,"attempted_at":5}'])
def test_an_unreadable_refresh_status_is_no_banner(tmp_path: Path, content: str) -> None:
    (tmp_path / "refresh.json").write_text(content)
    assert states.refresh_status(tmp_path / "refresh.json") is None


def test_a_filter_without_rows_is_a_sentence(tmp_path: Path) -> None:
    def long_ago(rows: Rows) -> None:
        rows.tables["fct_registration_funnel"] = [
            (row[0], AS_OF - timedelta(days=400), *row[2:])
            for row in rows.tables["fct_registration_funnel"]
        ]
        rows.tables["fct_plan_changes"] = []

    build_warehouse(tmp_path, accounts=20, edit=long_ago)
    for page, sentence in (
        (addresses.OVERVIEW, "Nobody registered in this period"),
        ("funnel", "Nobody registered in this period"),
        ("plan-changes", "No plan changed in this period"),
    ):
        test = run_page(tmp_path, page, clicks={"period": "7d"})
        assert not test.exception and not test.error
        assert sentence in shown(test)


def test_nothing_overdue_is_good_news_in_words(tmp_path: Path) -> None:
    def settled(rows: Rows) -> None:
        rows.tables["fct_overdue_episodes"] = []

    build_warehouse(tmp_path, accounts=50, edit=settled)
    test = run_page(tmp_path, "overdue-payments")
    assert not test.exception and not test.error
    assert "No payment is overdue" in shown(test)


def test_an_overdue_payment_without_an_amount_is_not_nothing(tmp_path: Path) -> None:
    def owed(rows: Rows) -> None:
        rows.tables["fct_overdue_episodes"] = [
            ("e", "owner00001@example.com", "w", "w", "p", "unknown", AS_OF - timedelta(days=2),
             AS_OF - timedelta(days=2), 1, None, "USD", None, "open", None, None, 2, "0-7"),
        ]  # fmt: skip

    build_warehouse(tmp_path, accounts=5, edit=owed)
    page = run_page(tmp_path)
    assert metrics(page)["Open overdue payments"] == "1"
    assert "1 with no amount stated" in shown(page) and "nothing is owed" not in shown(page)


def test_a_first_workspace_is_among_what_happened_last(tmp_path: Path) -> None:
    def only(rows: Rows) -> None:
        for table in ("fct_plan_changes", "fct_overdue_episodes", "int_plan_periods"):
            rows.tables[table] = []
        person = ("owner00001@example.com", AS_OF - timedelta(days=9), "webinar")
        hour = timedelta(hours=1)
        rows.tables["fct_registration_funnel"] = [(*person, AS_OF - hour, None, None, None, None)]

    build_warehouse(tmp_path, accounts=5, edit=only)
    page = run_page(tmp_path)
    assert metrics(page)["First workspace"] == "1"
    assert "Nothing happened in the last 24 hours" not in shown(page)
    (listed,) = (frame.value for frame in page.dataframe)
    assert listed.iloc[0].to_list()[1:] == ["First workspace", "owner00001@example.com", "webinar"]


def test_a_plan_without_a_price_is_loud(tmp_path: Path) -> None:
    def unpriced(rows: Rows) -> None:
        rows.add("int_plan_periods", "x@example.com", "ws", "enterprise", AS_OF, None,
                 True, True, 0, "USD")  # fmt: skip

    build_warehouse(tmp_path, accounts=50, edit=unpriced)
    test = run_page(tmp_path)
    assert "no price" in test.warning[0].value
    assert "enterprise" in str(test.dataframe[0].value)


def test_a_fault_of_a_page_is_a_reference_and_no_traceback(
    full_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> pl.DataFrame:
        raise ZeroDivisionError("a detail for the log alone")

    monkeypatch.setattr("dashboards.queries.happened_counts", fail)
    test = run_page(full_dir, clicks={"period": "30d", "source": ["webinar"]})
    assert not test.exception
    assert "could not be drawn" in test.error[0].value
    assert "a detail for the log alone" not in shown(test)
    assert "a detail for the log alone" in caplog.text


def test_wrong_settings_are_listed(monkeypatch: pytest.MonkeyPatch, full_dir: Path) -> None:
    monkeypatch.setenv("HOOKLAKE_PORT", "many")
    test = run_page(full_dir)
    assert "settings need mending" in shown(test)
    assert "HOOKLAKE_PORT" in shown(test)


def test_a_login_is_asked_for_before_anything_is_shown(
    full_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ["HOOKLAKE_DATA_DIR"] = str(full_dir)
    guarded = replace(context.installation(), is_login_required=True)
    monkeypatch.setattr(context, "_chosen", [guarded])
    monkeypatch.setattr("streamlit.user", type("Nobody", (), {"is_logged_in": False})())
    test = run_page(full_dir)
    assert [button.label for button in test.button] == ["Log in"]
    assert not test.metric


def test_two_currencies_that_are_no_codes_stay_apart(tmp_path: Path) -> None:
    def odd(rows: Rows) -> None:
        for at, row in enumerate(rows.tables["fct_overdue_episodes"]):
            rows.tables["fct_overdue_episodes"][at] = (*row[:10], f"![x]({at % 2})", *row[11:])
        rows.tables["int_plan_periods"] = [
            (*row[:8], f"<b>{at % 3}</b>") for at, row in enumerate(rows.tables["int_plan_periods"])
        ]

    build_warehouse(tmp_path, accounts=400, edit=odd)
    for page in PAGES:
        test = run_page(tmp_path, page, clicks={"period": "all"})
        assert not test.exception and not test.error
        assert "![x]" not in shown(test) and "<b>" not in shown(test)


def test_the_mark_of_a_viewer_is_renewed_at_most_every_20_seconds(tmp_path: Path) -> None:
    mark = tmp_path / "viewing"
    assert frame.touch(mark, now=1_000_000.0)
    assert not frame.touch(mark, now=1_000_019.9)
    assert mark.stat().st_mtime == 1_000_000.0
    assert frame.touch(mark, now=1_000_020.0)
    assert frame.touch(mark, now=999_000.0)  # a clock set back does not silence it
    assert mark.stat().st_mode & 0o077 == 0
    assert not frame.touch(tmp_path / "gone" / "viewing")


def test_what_a_page_depends_on_changes_with_version_and_refresh(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    nothing = frame.seen(data_dir)
    build_warehouse(data_dir.root, accounts=1, version=1)
    first = frame.seen(data_dir)
    assert first == frame.seen(data_dir) != nothing
    status = json.loads(data_dir.refresh_status.read_text())
    data_dir.refresh_status.write_text(json.dumps(status | {"attempted_at": "2026-11-23T00:00Z"}))
    assert frame.seen(data_dir) == first  # another attempt that went as well is no news
    data_dir.refresh_status.write_text(json.dumps(status | {"ok": False, "error": "no room"}))
    failed = frame.seen(data_dir)
    assert failed != first
    build_warehouse(data_dir.root, accounts=2, version=2)
    assert frame.seen(data_dir) not in (first, failed)


def test_the_age_line_says_as_of_when_and_in_which_zone(full_dir: Path) -> None:
    version = published(DataDir(full_dir))
    assert version is not None
    line = frame.age_line(version, datetime(2026, 11, 22, 10, 2, tzinfo=UTC))
    assert "**22 Nov 2026 10:00 UTC** (2 min ago)" in line
    assert "version 1" in line and "UTC" in line
