"""Every question of sql/analyses is stated, answered from the public tables, and true."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ingest.lifecycles import lives
from ingest.population import World
from tests.sql.made_up import deliveries
from warehouse.adhoc import execute
from warehouse.transform import PROJECT
from warehouse.workbench import Workbench

pytestmark = pytest.mark.slow

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
PRICES = "".join(
    f"{currency.lower()}{price},{currency} {price},{tier},{currency},month,{price},0,2020-01-01,\n"
    for currency in ("USD", "EUR", "CHF", "SEK")
    for tier, price in enumerate((10, 20, 40, 80), 1)
)
ANALYSES = {path.stem: path for path in sorted((PROJECT / "analyses").glob("*.sql"))}
HEADER = re.compile(
    r"-- Question: .+\?\n-- One row per: .+\.\n-- How to read: (.+\n-- )*.+\.\n(?!--)"
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Five hundred days of 400 accounts; one renewal in twelve was lost on its way."""
    chance = random.Random(11)
    bench = Workbench(tmp_path_factory.mktemp("analyses"))
    bench.add(
        delivery
        for life in lives(World(seed=11, accounts=400, until=UNTIL, days=500))
        for happening in life.happenings
        if happening.event_type != "plan_renewed" or chance.random() > 1 / 12
        for delivery in deliveries(happening, chance)
    )
    bench.refresh(as_of=UNTIL)
    yield bench


def answer(bench: Workbench, name: str) -> list[dict[str, Any]]:
    found = execute(bench.data, ANALYSES[name].read_text())
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_there_is_a_question_for_every_side_of_the_business() -> None:
    assert len(ANALYSES) >= 12


@pytest.mark.parametrize("name", ANALYSES)
def test_a_question_says_what_it_asks_and_how_to_read_the_answer(name: str) -> None:
    assert HEADER.match(ANALYSES[name].read_text())


@pytest.mark.parametrize("name", ANALYSES)
def test_a_question_is_answered_in_the_analysts_sandbox(bench: Workbench, name: str) -> None:
    rows = answer(bench, name)
    assert rows, "an answer without rows says nothing"
    for column in rows[0]:
        values = [row[column] for row in rows if row[column] is not None]
        assert values, f"{column} is never known"
        if column.endswith(("_rate", "_share")):
            assert all(0 <= value <= 1 for value in values), column
    plain = bench.query(ANALYSES[name].read_text())
    assert len(plain) == len(rows)


@pytest.mark.parametrize("name", ANALYSES)
def test_a_question_reads_public_tables_only(bench: Workbench, name: str) -> None:
    public = {table for (table,) in bench.query("select table_name from duckdb_columns()"
              " where schema_name = 'main' and not internal")}  # fmt: skip
    text = re.sub(r"--.*", "", ANALYSES[name].read_text())
    ctes = set(re.findall(r"(\w+) as \(\n", text))
    read = set(re.findall(r"(?:from|join) ([\w.]+)", text)) - ctes
    assert read and read <= public


def total(rows: list[dict[str, Any]], column: str) -> Any:
    return sum(row[column] for row in rows)


def test_answers_add_up_to_what_the_tables_hold(bench: Workbench) -> None:
    [(accounts, registered)] = bench.query(
        "select count(*), count(registered_at) from dim_accounts"
    )
    assert total(answer(bench, "conversion_by_source_and_month"), "registered") == registered
    assert total(answer(bench, "where_people_stop"), "accounts") == registered
    assert total(answer(bench, "workspaces_per_account"), "accounts") == accounts
    [(mrr, paying)] = bench.query("select sum(mrr), count(*) from dim_accounts where is_paying")
    [(subscriptions, mrr_of_all)] = bench.query(
        "select count(*), sum(mrr) from int_plan_periods where is_paid and valid_to is null"
    )
    assert total(answer(bench, "revenue_at_risk"), "mrr") == mrr_of_all
    # An account is counted once under each reason that one of its subscriptions has.
    assert paying <= total(answer(bench, "revenue_at_risk"), "accounts") <= subscriptions
    assert total(answer(bench, "plan_mix_and_margin"), "mrr") == mrr
    bridge = answer(bench, "mrr_bridge")
    assert bridge[0]["mrr_end"] == mrr
    assert total(bridge, "net_change") == mrr
    lost = answer(bench, "why_people_cancel")
    [(cancels,)] = bench.query("select count(*) from fct_plan_changes where change_type = 'cancel'")
    assert total(lost, "cancels") == cancels
    [(missing,)] = bench.query("select sum(missing) from mart_renewals_monthly")
    assert len(answer(bench, "missing_renewals")) == missing
    [(overdue,)] = bench.query("select sum(episodes) from mart_overdue_ageing")
    assert len(answer(bench, "who_is_overdue")) == overdue


def test_notices_after_the_third_day_recover_nothing_of_a_lapse(bench: Workbench) -> None:
    # The made-up customers who let it lapse are told on three days and then fall to free.
    rows = {
        row["notice_number"]: row
        for row in answer(bench, "recovery_by_notice_number")
        if row["cause"] == "non_renewal"
    }
    assert sorted(rows) == [1, 2, 3]
    assert rows[1]["reached"] >= rows[2]["reached"] >= rows[3]["reached"] > 0
    assert rows[3]["lost"] > rows[3]["recovered"]


def test_a_revenue_ratio_is_one_at_the_first_payment(bench: Workbench) -> None:
    first = answer(bench, "retention_curve")[0]
    assert first["period_number"] == 0
    assert Decimal(str(first["revenue_ratio"])) == 1
    assert first["retained"] == first["matured"]


def told(account: str, at: str, event_type: str, **fields: Any) -> dict[str, Any]:
    """A stored event at an instant of 2026 such as `03-01 10:00`; the account has one workspace."""
    return {
        "event_type": event_type,
        "account_id": f"{account}@x.test",
        "workspace_id": f"w-{account}",
        "occurred_at": f"2026-{at.replace(' ', 'T')}:00Z",
        **fields,
    }


def on_plan(account: str, at: str, plan_id: str, **fields: Any) -> dict[str, Any]:
    return told(account, f"{at} 00:00", "plan_changed", plan_id=plan_id, **fields)


STORIES = [
    # Leaves USD on 20 January and for EUR on 1 March, and comes back to it each time.
    on_plan("mover", "01-01", "usd10"),
    on_plan("mover", "01-20", "free"),
    on_plan("mover", "02-20", "usd10"),
    on_plan("mover", "03-01", "eur10"),
    on_plan("mover", "05-01", "usd10"),
    # Pays and leaves at one instant, so that the plan has no period.
    on_plan("glance", "03-10", "usd10"),
    on_plan("glance", "03-10", "free"),
    on_plan("glance", "04-12", "usd10"),
    # The second tier in USD to the first in EUR, and from there to the third.
    on_plan("crosser", "01-01", "usd20"),
    on_plan("crosser", "04-10", "eur10"),
    on_plan("crosser", "04-20", "eur40"),
    # Two workspaces, of which the smaller waits for a renewal.
    on_plan("silent", "05-01", "chf80", workspace_id="w-large", end_date=date(2026, 6, 20)),
    on_plan("silent", "04-01", "chf10", workspace_id="w-small", end_date=date(2026, 5, 1)),
    # Two currencies; the smaller subscription will not renew.
    on_plan("leaving", "04-01", "chf40", workspace_id="w-chf", auto_renew=True),
    on_plan("leaving", "04-01", "sek10", workspace_id="w-sek", auto_renew=False),
    # One of two workspaces owes, and in the next account nobody says which.
    on_plan("owing", "04-01", "chf20", workspace_id="w-owing"),
    on_plan("owing", "04-01", "sek80", workspace_id="w-fine"),
    told(
        "owing",
        "05-20 08:00",
        "overdue_payment",
        workspace_id="w-owing",
        auto_renew=True,
        payment_id="p1",
        amount=Decimal(15),
        currency="EUR",
    ),
    on_plan("either", "04-01", "sek40", workspace_id="w-one"),
    on_plan("either", "04-01", "sek20", workspace_id="w-other"),
    told(
        "either",
        "05-21 08:00",
        "overdue_payment",
        workspace_id=None,
        auto_renew=True,
        payment_id="p1",
        amount=Decimal(40),
        currency="SEK",
    ),
    # Renewed after the first notice of two; the second comes late.
    on_plan("prompt", "04-01", "usd10"),
    told("prompt", "05-01 08:00", "overdue_payment", payment_id="p1"),
    told("prompt", "05-02 08:00", "plan_renewed", plan_id="usd10"),
    told("prompt", "05-03 08:00", "overdue_payment", payment_id="p1"),
    # Lost after two.
    on_plan("lost", "04-01", "usd10"),
    told("lost", "05-01 08:00", "overdue_payment", payment_id="p1"),
    told("lost", "05-02 08:00", "overdue_payment", payment_id="p1"),
    on_plan("lost", "05-03", "free"),
]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """STORIES as of 1 June 2026; a plan such as eur20 costs 20 EUR a month, the second tier."""
    bench = Workbench(tmp_path_factory.mktemp("stories"))
    seed = (PROJECT / "seeds" / "plan_prices.csv").read_text()
    bench.data.plan_prices.write_text(seed + PRICES)
    bench.add(STORIES)
    bench.refresh(as_of="2026-06-01T00:00:00Z")
    return bench


def test_days_away_count_from_the_last_payment_in_the_currency(stories: Workbench) -> None:
    rows = answer(stories, "reactivations")
    # 1 March to 1 May: 31 + 30; 10 March to 12 April: 21 + 12; 20 January to 20 February: 31.
    assert [(row["month"].month, row["currency"], row["median_days_away"]) for row in rows] == [
        (5, "USD", 61),
        (4, "USD", 33),
        (2, "USD", 31),
    ]


def test_a_move_from_another_currency_is_counted_without_an_amount(stories: Workbench) -> None:
    # 20 USD to 10 EUR is a downgrade by no amount; 10 EUR to 40 EUR is 30 more.
    assert answer(stories, "upgrades_against_downgrades") == [
        {
            "month": date(2026, 4, 1),
            "currency": "EUR",
            "upgrades": 1,
            "downgrades": 1,
            "across_currencies": 1,
            "upgrade_mrr": 30,
            "downgrade_mrr": 0,
            "net_mrr": 30,
        }
    ]


def test_revenue_is_at_risk_by_subscription_and_in_its_own_currency(stories: Workbench) -> None:
    rows = {
        (row["currency"], row["risk"]): (row["accounts"], row["mrr"], float(row["mrr_share"]))
        for row in answer(stories, "revenue_at_risk")
        if row["currency"] in ("CHF", "SEK")
    }
    # CHF: 20 + 10 + (80 + 40) = 150. SEK: (40 + 20) + 10 + 80 = 150.
    assert rows == {
        ("CHF", "1 overdue"): (1, 20, 20 / 150),
        ("CHF", "3 renewal missing"): (1, 10, 10 / 150),
        ("CHF", "4 none"): (2, 80 + 40, 120 / 150),
        ("SEK", "1 overdue"): (1, 40 + 20, 60 / 150),
        ("SEK", "2 auto-renew off"): (1, 10, 10 / 150),
        ("SEK", "4 none"): (1, 80, 80 / 150),
    }


def test_what_an_account_pays_stands_beside_its_own_currency(stories: Workbench) -> None:
    names = ("amount", "currency", "account_mrr", "account_currency")
    rows = [tuple(row[name] for name in names) for row in answer(stories, "who_is_overdue")]
    # `owing` owes EUR and pays 80 SEK beside 20 CHF; `either` pays 40 + 20 SEK.
    assert rows == [(15, "EUR", 80, "SEK"), (40, "SEK", 60, "SEK")]


def test_a_notice_after_the_payment_recovers_nothing(stories: Workbench) -> None:
    rows = [
        (row["notice_number"], row["reached"], row["recovered"], row["lost"])
        for row in answer(stories, "recovery_by_notice_number")
        if row["cause"] == "unknown"
    ]
    # `prompt` pays after its first notice, `lost` leaves after its second.
    assert rows == [(1, 2, 1, 0), (2, 1, 0, 1)]
    assert stories.query(
        "select notices, notices_before_close from fct_overdue_episodes"
        " where cause = 'unknown' order by account_id"
    ) == [(2, 2), (2, 1)]
