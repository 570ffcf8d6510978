"""The people behind a cell are those its number counts, and their way is in the address."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from test_pages import run_page
from test_queries import of
from warehouse_builder import AS_OF, Rows, build_warehouse

from dashboards import addresses, figures, people, queries
from dashboards.filters import Filters
from dashboards.people import People
from dashboards.views import behind, overview
from ingest.paths import DataDir
from warehouse.reader import connect, published

BEHIND = "People behind a mark of this chart"
SOME = ("referral", "webinar")


def found(connection: duckdb.DuckDBPyConnection, address: str, filters: Filters) -> list[str]:
    """The account of each row that the list shows for an address."""
    chosen = people.read(address)
    assert chosen is not None and chosen.address == address and chosen.label
    frame = queries.rows_behind(connection, filters, chosen, rows=queries.EXPORT_ROWS_MAX)
    assert frame.is_empty() or frame["total"][0] == frame.height
    return frame["account_id"].to_list()


@pytest.mark.parametrize("sources", [(), SOME])
def test_a_step_of_the_funnel_leads_to_those_who_reached_it(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...]
) -> None:
    filters = of("90d", *sources)
    by_day = queries.funnel_by_day(full, filters)
    steps = figures.funnel_steps(figures.this_period(by_day, filters, "cohort_date"))
    for row in people.behind(steps, "funnel", ["step"], filters).to_dicts():
        assert len(found(full, row["people"], filters)) == row["accounts"] > 0


def test_a_cell_of_the_triangle_leads_to_those_who_still_pay(
    full: duckdb.DuckDBPyConnection,
) -> None:
    cells = figures.retention(queries.retention(full), "accounts", None).with_columns(
        pl.lit("").alias("currency")
    )
    parts = ["cohort_month", "period_number", "currency"]
    judged = people.behind(cells, "retention", parts).filter(
        pl.col("kept") > 0, pl.col("period_number").is_in([0, 1, 7])
    )
    assert judged.height > 10
    for row in judged.to_dicts():
        assert len(found(full, row["people"], of("90d"))) == row["kept"]


def test_a_flow_leads_to_those_who_went_that_way(full: duckdb.DuckDBPyConnection) -> None:
    filters = of("12m")
    flows = queries.plan_flows(full, filters)
    led = people.behind(flows, "flow", ["from_plan_id", "to_plan_id"], filters)
    for row in led.to_dicts():
        went = full.execute(
            "select account_id from fct_plan_changes where changed_at >= ? and"
            " changed_at < ? and from_plan_id is not distinct from ?"
            " and to_plan_id is not distinct from ?",
            [filters.starts_at, filters.ends_before, row["from_plan_id"], row["to_plan_id"]],
        ).fetchall()
        assert sorted(found(full, row["people"], filters)) == sorted(name for (name,) in went)
        assert 0 < len(went) == row["changes"]


def test_a_piece_of_the_ageing_leads_to_those_who_owe_it(full: duckdb.DuckDBPyConnection) -> None:
    ageing = queries.overdue_ageing(full, of("90d"))
    led = people.behind(ageing, "ageing", ["ageing_bucket", "cause", "currency"])
    for row in led.to_dicts():
        owing = full.execute(
            "select account_id from fct_overdue_episodes where status = 'open'"
            " and ageing_bucket = ? and cause = ? and currency = ?",
            [row["ageing_bucket"], row["cause"], row["currency"]],
        ).fetchall()
        assert sorted(found(full, row["people"], of("90d"))) == sorted(name for (name,) in owing)
        chosen = people.read(row["people"])
        assert chosen is not None
        (sums,) = queries.sums_behind(full, of("90d"), chosen)["amount"]
        assert len(owing) == row["episodes"] and sums == pytest.approx(row["amount"])


@pytest.mark.parametrize(
    ("question", "kind", "parts", "amount"),
    [
        (queries.cancels_by_cause, "cancel", ["cause"], "cancels"),
        (queries.movements, "movement", ["movement", "currency"], "changes"),
    ],
)
def test_a_piece_of_a_month_leads_to_those_of_that_month_within_the_period(
    full: duckdb.DuckDBPyConnection, question: object, kind: str, parts: list[str], amount: str
) -> None:
    filters = of("90d")
    led = people.behind(question(full, filters), kind, parts, filters, "month")  # type: ignore[operator]
    firsts = {people.read(row).parts[-2] for row in led["people"]}  # type: ignore[union-attr]
    assert min(firsts) == filters.first_day.isoformat()  # the first month is cut, as the chart is
    for row in led.to_dicts():
        assert 0 < len(found(full, row["people"], filters)) == row[amount]


@pytest.mark.parametrize("period", ["30d", "90d", "12m"])
def test_a_piece_of_the_registrations_leads_to_those_who_registered_then(
    tmp_path: Path, period: str
) -> None:
    """Ten sources, of which three or two are together; by day, week and month."""

    def scatter(rows: Rows) -> None:
        for table in ("fct_registration_funnel", "dim_accounts"):
            rows.tables[table] = [
                (*row[:2], f"source {int(str(row[0])[5:10]) % 10}", *row[3:])
                for row in rows.tables[table]
            ]

    build_warehouse(tmp_path / "data", accounts=500, edit=scatter)
    version = published(DataDir(tmp_path / "data"))
    assert version is not None
    with connect(version) as connection:
        for filters in (of(period), of(period, *(f"source {number}" for number in range(9)))):
            led = overview.who_registered(
                queries.registrations_by_bucket(connection, filters), filters
            )
            others = led.filter("is_others")
            assert others.height > 2 and set(others["source"]) == {"other sources"}
            for row in led.to_dicts():
                assert len(found(connection, row["people"], filters)) == row["registered"] > 0


@pytest.mark.parametrize("sources", [(), SOME])
@pytest.mark.parametrize("days", queries.WINDOWS)
def test_a_point_of_the_cohorts_leads_to_those_who_paid_in_time(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...], days: int
) -> None:
    filters = of("12m" if days == 90 else "90d", *sources)
    cohorts = figures.cohorts(queries.funnel_by_day(full, filters), filters, days)
    led = people.behind(
        cohorts.with_columns(pl.lit(days).alias("days"), pl.lit("").alias("source")),
        "converted",
        ["days", "source"],
        filters,
        "cohort",
        filters.grain,
    )
    assert figures.total(led, "paid") > 0
    for row in led.to_dicts():
        assert len(found(full, row["people"], filters)) == row["paid"]


def test_a_bar_of_the_sources_leads_to_those_who_paid_in_time(
    full: duckdb.DuckDBPyConnection,
) -> None:
    filters = of("90d")
    by_source = queries.funnel_by_source(full, filters).with_columns(pl.lit(30).alias("days"))
    for row in people.behind(by_source, "converted", ["days", "source"], filters).to_dicts():
        assert len(found(full, row["people"], filters)) == row["paid_30"]


@pytest.mark.parametrize("sources", [(), SOME])
def test_a_day_of_the_curve_leads_to_those_who_had_paid_by_then(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...]
) -> None:
    filters = of("12m", *sources)
    curve = figures.paid_by_day(queries.days_to_paid(full, filters), 1)
    for row in people.behind(curve, "paid-by", ["day"], filters).to_dicts()[::11]:
        assert len(found(full, row["people"], filters)) == row["paid"]


@pytest.mark.parametrize("sources", [(), SOME])
def test_a_day_of_the_revenue_leads_to_those_it_came_from(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...]
) -> None:
    filters = of("90d", *sources)
    deltas = queries.mrr_deltas(full, filters)
    for currency in ("USD", "EUR"):
        level = figures.balance(deltas.filter(pl.col("currency") == currency), filters)
        course = figures.course_frame(level, filters).with_columns(
            pl.lit(currency).alias("currency")
        )
        for row in people.behind(course, "paying", ["currency", "day"]).to_dicts()[::13]:
            paying = found(full, row["people"], filters)
            [(mrr,)] = full.execute(
                "select sum(mrr)::double from int_plan_periods where is_paid and currency = ?"
                " and valid_from < ?::date + 1 and coalesce(valid_to, 'infinity') >= ?::date + 1"
                " and account_id in (select unnest(?))",
                [currency, row["day"], row["day"], paying],
            ).fetchall()
            assert mrr == pytest.approx(row["value"])


def test_a_point_of_the_recovery_leads_to_those_who_paid_after_all(
    full: duckdb.DuckDBPyConnection,
) -> None:
    filters = of("12m")
    rates = queries.recovery(full, filters, AS_OF)
    led = people.behind(rates, "recovered", ["cause"], filters, "month")
    assert figures.total(led, "recovered") > 20
    for row in led.to_dicts():
        paid = full.execute(
            "select account_id from fct_overdue_episodes where status = 'recovered'"
            " and date_trunc('month', opened_at)::date = ? and cause = ? and opened_at >= ?"
            " and epoch(closed_at) - epoch(opened_at) < 30 * 86400"
            " and opened_at <= ?::timestamptz - interval 30 days",
            [row["month"], row["cause"], filters.starts_at, AS_OF],
        ).fetchall()
        assert sorted(found(full, row["people"], filters)) == sorted(name for (name,) in paid)
        assert len(paid) == row["recovered"]


def test_a_point_of_the_retention_curve_leads_to_those_of_all_months(
    full: duckdb.DuckDBPyConnection,
) -> None:
    cells = figures.retention(queries.retention(full), "accounts", None)
    curve = figures.retention_curve(cells).with_columns(
        pl.lit("").alias("cohort"), pl.lit("").alias("currency")
    )
    led = people.behind(curve, "retention", ["cohort", "period_number", "currency"])
    assert led.height > 6
    for row in led.to_dicts():
        assert len(found(full, row["people"], of("90d"))) == row["kept"]


@pytest.mark.parametrize(
    ("place", "charts"),
    [
        (addresses.OVERVIEW, 3),
        (addresses.FUNNEL, 4),
        (addresses.RETENTION, 2),
        (addresses.PLAN_CHANGES, 4),
        (addresses.OVERDUE_PAYMENTS, 4),
    ],
)
def test_every_mark_is_in_a_list_beneath_its_chart(full_dir: Path, place: str, charts: int) -> None:
    lists = [box for box in run_page(full_dir, place).selectbox if box.label.startswith(BEHIND)]
    assert len(lists) == charts
    for box in lists:
        assert box.value is None and box.options and len(set(box.options)) == len(box.options)


@pytest.mark.parametrize(
    ("address", "of"),
    [
        ("converted,30,,2026-01-01,2026-01-31", ["matured,30,,2026-01-01,2026-01-31",
                                                  "maturing,30,,2026-01-01,2026-01-31"]),
        ("retention,2026-01-01,3,", ["started,2026-01-01,3,"]),
        ("recovered,wallet_short,2026-01-01,2026-01-31",
         ["judged,wallet_short,2026-01-01,2026-01-31",
          "returned,wallet_short,2026-01-01,2026-01-31"]),
        ("funnel,paid,2026-01-01,2026-01-31", ["registered,,2026-01-01,2026-01-31"]),
        ("funnel,registered,2026-01-01,2026-01-31", []),
        ("paid-by,7,2026-01-01,2026-01-31", ["registered,,2026-01-01,2026-01-31"]),
        ("payers,2026-01-01", []),
    ],
)  # fmt: skip
def test_a_mark_that_is_a_share_leads_to_what_it_is_a_share_of(address: str, of: list[str]) -> None:
    chosen = people.read(address)
    assert chosen is not None
    assert [part.address for part in people.read_all([], chosen)] == [address, *of]
    assert all(people.read(part) is not None for part in of)


def test_the_parts_an_address_names_are_kept_in_order_once_and_bounded() -> None:
    chosen = People("payers", ("2026-01-01",))
    other = "payers,2025-12-31"
    assert people.read_all([other, "nonsense", chosen.address, other], chosen) == [
        People("payers", ("2025-12-31",)), chosen,
    ]  # fmt: skip
    many = [f"payers,2025-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    assert len(people.read_all(many, chosen)) == people.PARTS_MAX + 1


def test_names_with_commas_and_nothing_at_all_survive_the_address() -> None:
    frame = pl.DataFrame({"before": ["a,b%2C&"], "after": [None]}, schema_overrides={"after": str})
    period = Filters(date(2026, 1, 1), date(2026, 1, 1))
    (address,) = people.behind(frame, "flow", ["before", "after"], period)["people"]
    chosen = people.read(address)
    assert chosen == People("flow", ("a,b%2C&", "", "2026-01-01", "2026-01-01"))
    assert chosen is not None and chosen.label == "Went from a,b%2C& to no plan on 1 Jan 2026"


def test_names_of_any_length_survive_the_address() -> None:
    going = People.of("flow", "\N{PARTY POPPER}" * 256, "é" * 256, *[date(2026, 1, 1)] * 2)
    assert people.read(going.address) == going


def test_the_foot_of_a_list_says_how_many_currencies_it_leaves_out() -> None:
    total = {"rows": 12, "accounts": 12, "median": None, "p90": None}
    sums = pl.DataFrame({"currency": [f"C{letter}X" for letter in "ABCDEFGHIJ"], "mrr": [1.0] * 10})
    foot = behind.foot(total, sums, "paying")
    assert foot.startswith("All together: 12 accounts · MRR **CAX 1.00** · ")
    assert foot.endswith("MRR **CHX 1.00** · and in 2 more currencies")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "everybody",
        "funnel,paid",
        "funnel,bought,2026-01-01,2026-03-31",
        "funnel,paid,2026-01-01,2026-13-31",
        "funnel,paid,20260101,2026-03-31",
        "retention,2026-01-01,25,",
        "retention,2026-01-01,-1,",
        "retention,2026-01-01,²,",
        "retention,2026-01-01,00,",
        "retention,never,1,",
        "converted,91,,2026-01-01,2026-01-31",
        "converted,x,,2026-01-01,2026-01-31",
        "paying,USD,now",
        "others,2026-01-01,2026-01-31,2026-01-01",
        "ageing,soon,wallet_short,",
        "payers,2026-13-01",
        "kept,USD",
        "came,left,2026-01-01T00:00:00+00:00",
        "came,registered,2026-01-01T00:00:00",
        "came,registered,2026-01-01T00:00:00+01:00",
        "came,registered,yesterday",
        "overdue,soon,USD",
        "movement,anything,USD,2026-01-01,2026-01-31",
        "lifecycle,alive",
        "flow,a,b,2026-01-01,2026-01-31,more",
    ],
)
def test_a_made_up_address_names_nobody(address: str) -> None:
    assert people.read(address) is None
