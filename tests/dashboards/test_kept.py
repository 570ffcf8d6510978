"""What was kept of revenue, renewals that never came, and a file of every page."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from test_health import deliver, registered
from test_pages import environment, metrics, run_page, shown
from test_queries import of
from warehouse_builder import AS_OF, build_warehouse

from dashboards import addresses, figures, queries
from dashboards.views import overview
from ingest.paths import DataDir

__all__ = ["environment"]


def test_the_kept_shares_of_the_last_whole_month_are_the_marts(
    full_dir: Path, full: duckdb.DuckDBPyConnection
) -> None:
    [(nrr, grr, churn)] = full.execute(
        "select expanded_mrr / mrr_start, retained_mrr / mrr_start,"
        " churned_accounts / paying_accounts_start"
        " from mart_mrr_monthly where month = '2026-10-01' and currency = 'USD'"
    ).fetchall()
    page = run_page(full_dir, addresses.PLAN_CHANGES)
    found = metrics(page)
    assert found["NRR USD, Oct 2026"] == f"{nrr * 100:.1f} %"
    assert found["GRR USD, Oct 2026"] == f"{grr * 100:.1f} %"
    assert found["Logo churn USD, Oct 2026"] == f"{churn * 100:.1f} %"
    assert 0 < grr <= nrr and 0 < churn < 1
    table = next(frame.value for frame in page.dataframe if "nrr" in frame.value.columns)
    assert table["month"].iloc[0] == "Nov 2026, so far"


def test_a_month_leads_from_its_start_to_its_end_to_the_cent(
    full: duckdb.DuckDBPyConnection,
) -> None:
    months = queries.revenue_by_month(full, of("12m"))
    assert months.height >= 24
    moved = months.select(
        (
            pl.sum_horizontal(
                "mrr_start", "new", "reactivation", "expansion", "contraction", "churn"
            )
            - pl.col("mrr_end")
        ).abs()
    )
    assert moved.max().item() < 0.005
    assert (
        months.filter(pl.col("mrr_start") == 0)["nrr"].null_count()
        == months.filter(pl.col("mrr_start") == 0).height
    )


def test_missing_renewals_are_those_expected_in_the_period(
    full: duckdb.DuckDBPyConnection,
) -> None:
    for filters in (of("90d"), of("all"), of("90d", "referral")):
        listed = queries.missing_renewals(full, filters)
        expected = full.execute(
            "select count(*) from fct_missing_renewals inner join dim_accounts using (account_id)"
            " where end_date between ? and ? and (? = 0 or source = 'referral')",
            [filters.first_day, filters.last_day, len(filters.sources)],
        ).fetchall()[0][0]
        assert listed.height == expected > 0 and listed["total"][0] == expected
        assert listed["end_date"].is_sorted(descending=True)
    assert queries.missing_renewals(full, of("7d")).is_empty()


def test_the_page_lists_missing_renewals_or_says_that_none_is(full_dir: Path) -> None:
    assert "missing renewals" in shown(run_page(full_dir, addresses.OVERDUE_PAYMENTS))
    none = shown(run_page(full_dir, addresses.OVERDUE_PAYMENTS, clicks={"period": "7d"}))
    assert "Every renewal expected in this period came" in none


@pytest.mark.parametrize("page", [page for page in addresses.PAGES if page != addresses.SQL])
def test_every_page_can_be_taken_home_as_a_file(tmp_path: Path, page: str) -> None:
    """The SQL page's answers can as well: test_sql_page.py."""
    build_warehouse(tmp_path, accounts=200)
    deliver(DataDir(tmp_path).ledger, registered("a@example.com"))
    exports = run_page(tmp_path, page).get("download_button")
    assert [part.label for part in exports][:1] == ["Export CSV"]


@pytest.mark.parametrize("sources", [(), ("referral",)])
def test_the_days_of_the_overview_add_up_to_its_cards(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...]
) -> None:
    filters = of("90d", *sources)
    funnel = queries.funnel_by_day(full, filters)
    churn = queries.churned_by_day(full, filters)
    paying = figures.balance(queries.paying_deltas(full, filters), filters)
    mrr = queries.mrr_deltas(full, filters)
    levels = {currency: overview.of_currency(mrr, currency, filters) for currency in ("USD", "EUR")}
    days = figures.day_by_day(funnel, churn, paying, levels, filters)
    assert days["day"].to_list() == [
        filters.first_day + timedelta(days=offset) for offset in range(filters.days)
    ]
    assert days["day"][-1] == AS_OF.date()
    period = figures.this_period(funnel, filters, "cohort_date")
    for column in ("registered", "paid", "matured_30", "paid_30"):
        assert days[column].sum() == figures.total(period, column)
    assert days["churned"].sum() == figures.total(
        figures.this_period(churn, filters, "day"), "accounts"
    )
    assert days["paying"][-1] == paying.now
    assert days["mrr_USD"][-1] == pytest.approx(levels["USD"].now, abs=0.005)
    assert not any(days.null_count().row(0))
