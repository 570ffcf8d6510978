"""Retention: rates are the mart's, weighted; what has not matured is empty."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from drawn_charts import told
from test_pages import environment, expected, metrics, run_page, shown
from warehouse_builder import Rows, build_warehouse

from dashboards import addresses, charts, figures, queries, theme

__all__ = ["environment"]  # a fixture of the pages' tests, used here as well

# January: 4 accounts, all matured for period 1, of whom 3 stay. February: 2, one matured, it stays.
# Period 2: only January has matured, and 1 of 4 stays. EUR has one account, of January, gone at 1.
MART = pl.DataFrame(
    [
        (date(2026, 1, 1), "USD", 0, 4, 4, 4, 40.0, 40.0),
        (date(2026, 1, 1), "USD", 1, 4, 4, 3, 40.0, 50.0),
        (date(2026, 1, 1), "USD", 2, 4, 4, 1, 40.0, 10.0),
        (date(2026, 1, 1), "EUR", 0, 1, 1, 1, 7.0, 7.0),
        (date(2026, 1, 1), "EUR", 1, 1, 1, 0, 7.0, 0.0),
        (date(2026, 1, 1), "EUR", 2, 1, 0, None, 0.0, None),
        (date(2026, 2, 1), "USD", 0, 2, 2, 2, 20.0, 20.0),
        (date(2026, 2, 1), "USD", 1, 2, 1, 1, 10.0, 10.0),
        (date(2026, 2, 1), "USD", 2, 2, 0, None, 0.0, None),
    ],
    schema=[
        "cohort_month", "currency", "period_number", "cohort_size", "matured", "retained",
        "mrr_start", "mrr_retained",
    ],
    orient="row",
)  # fmt: skip


def test_accounts_are_added_over_currencies_and_weighted() -> None:
    curve = figures.retention_curve(figures.retention(MART, "accounts", None))
    # period 1: (3 + 0 + 1) of (4 + 1 + 1); period 2: 1 of 4
    assert curve.select("period_number", "kept", "matured").rows() == [
        (0, 7, 7), (1, 4, 6), (2, 1, 4),
    ]  # fmt: skip
    assert curve["rate"].to_list() == pytest.approx([1, 4 / 6, 1 / 4])


def test_revenue_is_of_one_currency_and_may_grow() -> None:
    cells = figures.retention(MART, "revenue", "USD")
    first = cells.filter(cohort_month=date(2026, 1, 1), period_number=1).row(0, named=True)
    assert (first["kept"], first["matured"], first["rate"]) == (50, 40, 1.25)
    curve = figures.retention_curve(cells)
    assert curve["rate"].to_list() == pytest.approx([1, 60 / 50, 10 / 40])


def test_what_a_month_pays_that_began_without_a_price_is_kept() -> None:
    unpriced = MART.filter(currency="USD").with_columns(
        pl.when(pl.col("cohort_month") == date(2026, 1, 1))
        .then(0.0)
        .otherwise("mrr_start")
        .alias("mrr_start")
    )
    cells = figures.retention(unpriced, "revenue", "USD")
    first = cells.filter(cohort_month=date(2026, 1, 1), period_number=1).row(0, named=True)
    assert (first["kept"], first["matured"], first["rate"]) == (50, 0, None)
    empty = cells.filter(cohort_month=date(2026, 2, 1), period_number=2).row(0, named=True)
    assert (empty["kept"], empty["rate"]) == (None, None)
    # period 1: 50 of January and 10 of February, of which only the latter had 10 at the start
    curve = figures.retention_curve(cells).filter(period_number=1)
    assert curve.select("kept", "matured").rows() == [(60, 10)]


def test_what_has_not_matured_is_empty_and_what_half_has_is_marked() -> None:
    cells = figures.retention(MART, "accounts", None).filter(cohort_month=date(2026, 2, 1))
    assert cells["rate"].to_list() == [1.0, 1.0, None]
    assert cells["is_whole"].to_list() == [True, False, False]
    drawn = told(charts.retention(cells, "accounts", theme.LIGHT))
    values = [row for rows in drawn["datasets"].values() for row in rows]
    assert all(row["rate"] is not None for row in values)
    assert {row["state"] for row in values if row["period_number"] == 1} == {"still maturing"}


def test_the_page_shows_the_marts_sums(full_dir: Path) -> None:
    test = run_page(full_dir, addresses.RETENTION)
    assert not test.exception and not test.error
    for months in (1, 3, 6, 12):
        kept, matured = expected(
            full_dir,
            "select sum(retained), sum(matured) from mart_retention_monthly "
            f"where period_number = {months} and matured > 0",
        )
        label = f"After {months} month{'s' if months > 1 else ''}"
        assert metrics(test)[label] == f"{100 * kept / matured:.1f} %"
        assert f"{kept:,} of {matured:,} accounts" in shown(test)
    assert len(test.get("vega_lite_chart")) == 2


def test_revenue_is_shown_in_one_currency(full_dir: Path) -> None:
    test = run_page(full_dir, addresses.RETENTION, clicks={"retained": "revenue"})
    assert not test.exception and not test.error
    kept, base = expected(
        full_dir,
        "select sum(mrr_retained), sum(mrr_start) from mart_retention_monthly "
        "where period_number = 3 and matured > 0 and currency = 'USD'",
    )
    assert metrics(test)["After 3 months"] == f"{100 * kept / base:.1f} %"
    assert "USD a month" in shown(test)


def test_nobody_paid_yet_is_a_sentence(tmp_path: Path) -> None:
    def unpaid(rows: Rows) -> None:
        rows.tables["int_plan_periods"] = []

    build_warehouse(tmp_path, accounts=20, edit=unpaid)
    test = run_page(tmp_path, addresses.RETENTION)
    assert not test.exception and not test.error
    assert "Nobody has begun to pay yet" in shown(test)


def test_the_question_is_the_mart(full: duckdb.DuckDBPyConnection) -> None:
    [(rows,)] = full.execute("select count(*) from mart_retention_monthly").fetchall()
    assert queries.retention(full).height == rows > 0
