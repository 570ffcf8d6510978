"""The plan catalogue: what is read, and every mistake named by line and column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.paths import DataDir
from warehouse.prices import (
    AMOUNT_MAX,
    COLUMNS,
    PlanPricesError,
    parse_plan_prices,
    read_plan_prices,
)

HEADER = ",".join(COLUMNS) + "\n"
GOOD = "pro,Pro,2,USD,month,49.90,10,2026-01-01,2026-07-01\n"


def problems(text: str) -> list[str]:
    with pytest.raises(PlanPricesError) as raised:
        parse_plan_prices(text, Path("plan_prices.csv"))
    return raised.value.problems


def test_a_row_becomes_typed_values() -> None:
    assert parse_plan_prices(HEADER + GOOD.replace("pro,", " PRO ,"), Path("x")) == (
        (
            "pro",
            "Pro",
            2,
            "USD",
            "month",
            Decimal("49.90"),
            Decimal(10),
            date(2026, 1, 1),
            date(2026, 7, 1),
        ),
    )


def test_the_largest_price_is_taken() -> None:
    ((*_, price, _cost, _from, _to),) = parse_plan_prices(
        HEADER + GOOD.replace("49.90", "9999999999.99"), Path("x")
    )
    assert price == AMOUNT_MAX


def test_columns_may_come_in_any_order_and_blank_lines_are_nothing() -> None:
    names = list(COLUMNS)[::-1]
    values = GOOD.strip().split(",")[::-1]
    text = f"{','.join(names)}\n\n{','.join(values)}\n,,,,,,,,\n"
    assert parse_plan_prices(text, Path("x")) == parse_plan_prices(HEADER + GOOD, Path("x"))


@pytest.mark.parametrize(
    ("found", "changed", "problem"),
    [
        ("pro,", ",", "line 2, column plan_id: must not be empty"),
        (",2,", ",two,", "line 2, column tier: 'two' is no whole number"),
        ("month", "week", "line 2, column interval: 'week' is neither month nor year"),
        ("49.90", "49.905", "line 2, column price: '49.905' is no amount"),
        ("49.90", "10000000000", "line 2, column price: '10000000000' is too large; 9999999999.99"),
        (",10,", f",1{'0' * 30},", f"line 2, column cost: '1{'0' * 30}' is too large"),
        ("49.90", "-1", "line 2, column price: '-1' is no amount"),
        ("2026-01-01", "01/01/2026", "line 2, column valid_from: '01/01/2026' is no day"),
        ("2026-07-01", "2026-02-30", "line 2, column valid_to: '2026-02-30' is not in the"),
        ("2026-07-01", "2026-01-01", "line 2, column valid_to: must be later than valid_from"),
        (",2026-07-01", "", "line 2: 9 columns expected, 8 found"),
    ],
)
def test_a_mistake_names_its_line_and_column(found: str, changed: str, problem: str) -> None:
    (only,) = problems(HEADER + GOOD.replace(found, changed, 1))
    assert only.startswith(problem)


def test_all_mistakes_come_at_once() -> None:
    assert len(problems(HEADER + GOOD.replace(",2,", ",x,").replace("month", "y") + "a\n")) == 3


def test_periods_of_a_plan_must_not_overlap_and_touching_ones_do_not() -> None:
    later = GOOD.replace("2026-01-01,2026-07-01", "2026-06-30,")
    assert problems(HEADER + GOOD + later) == [
        "line 3, column valid_from: overlaps line 2 of plan pro; end that one with valid_to "
        "2026-06-30 or earlier"
    ]
    assert len(parse_plan_prices(HEADER + GOOD + later.replace("06-30", "07-01"), Path("x"))) == 2


def test_a_plan_has_one_currency() -> None:
    later = GOOD.replace("2026-01-01,2026-07-01", "2026-07-01,").replace("USD", "EUR")
    assert problems(HEADER + GOOD + later) == [
        "line 3, column currency: plan pro is in USD on line 2; a plan has one currency"
    ]


def test_a_wrong_header_is_said_at_once() -> None:
    (only,) = problems("plan,price\npro,1\n")
    assert only.startswith("line 1: the columns are to be plan_id, plan_name, tier")


def test_the_teams_file_goes_before_the_shipped_one(tmp_path: Path) -> None:
    data = DataDir(tmp_path).ensure()
    shipped = read_plan_prices(data)
    data.plan_prices.write_text("\ufeff" + HEADER + GOOD, "utf-8")
    own = read_plan_prices(data)
    assert own.path == data.plan_prices
    assert shipped.text != own.text
    assert [row[0] for row in own.rows] == ["pro"]


def test_bytes_that_are_no_text_are_said_to_be_none(tmp_path: Path) -> None:
    data = DataDir(tmp_path).ensure()
    data.plan_prices.write_bytes(b"\xff\xfe")
    with pytest.raises(PlanPricesError, match="is not UTF-8"):
        read_plan_prices(data)
