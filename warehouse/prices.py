"""The plan catalogue: a CSV file edited by people, so every mistake is named by line and column.

`<data-dir>/plan_prices.csv` replaces the one shipped in sql/seeds. It is loaded here and not by
`dbt seed`, which takes a second for what is a dozen rows; `ref('plan_prices')` finds the table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ingest.errors import UsageError
from ingest.paths import DataDir
from warehouse.state import Engine
from warehouse.transform import PROJECT

SHIPPED: Final = PROJECT / "seeds" / "plan_prices.csv"
COLUMNS: Final[dict[str, str]] = {
    "plan_id": "varchar",
    "plan_name": "varchar",
    "tier": "integer",
    "currency": "varchar",
    "interval": "varchar",
    "price": "decimal(18, 2)",
    "cost": "decimal(18, 2)",
    "valid_from": "date",
    "valid_to": "date",
}
_AMOUNT: Final = re.compile(r"\d+(\.\d{1,2})?")
AMOUNT_MAX: Final = Decimal("9999999999.99")
"""A million subscriptions of it still add up to what DECIMAL(18, 2) holds."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class PlanPricesError(UsageError):
    """The plan catalogue has mistakes; all of them are listed."""

    code = "plan_prices"

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"reading {path}: mend {len(problems)} mistake(s):\n{listed}")


@dataclass(frozen=True)
class PlanPrices:
    """`rows`: values in the order of COLUMNS."""

    path: Path
    rows: tuple[tuple[Any, ...], ...]

    @property
    def text(self) -> str:
        """Equal for equal catalogues, however the file spells them."""
        return repr(self.rows)


def read_plan_prices(data: DataDir) -> PlanPrices:
    """The catalogue in force.

    Raises: PlanPricesError naming every wrong line and column.
    """
    path = data.plan_prices if data.plan_prices.exists() else SHIPPED
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanPricesError(path, [f"byte {error.start} is not UTF-8"]) from None
    return PlanPrices(path, parse_plan_prices(text, path))


def parse_plan_prices(text: str, path: Path) -> tuple[tuple[Any, ...], ...]:
    """Rows of a catalogue in the order of COLUMNS, blank lines left out.

    Raises: PlanPricesError.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    problems: list[str] = []
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        header = [name.strip() for name in next(lines, [])]
        if sorted(header) != sorted(COLUMNS):
            raise PlanPricesError(
                path, [f"line 1: the columns are to be {', '.join(COLUMNS)}; found {header}"]
            )
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(
                    f"line {lines.line_num}: {len(header)} columns expected, {len(cells)} found"
                )
                continue
            row: dict[str, Any] = {}
            for name, cell in zip(header, cells, strict=True):
                try:
                    row[name] = _READERS[name](cell.strip())
                except ValueError as error:
                    problems.append(f"line {lines.line_num}, column {name}: {error}")
            if len(row) == len(header):
                rows.append((lines.line_num, row))
    except csv.Error as error:
        problems.append(f"line {lines.line_num}: {error}")
    problems += _contradictions(rows)
    if problems:
        raise PlanPricesError(path, problems)
    return tuple(tuple(row[name] for name in COLUMNS) for _, row in rows)


def _text(cell: str) -> str:
    if not cell:
        raise ValueError("must not be empty")
    return cell


def _plan_id(cell: str) -> str:
    return _text(cell).lower()


def _tier(cell: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", cell):
        raise ValueError(f"{cell!r} is no whole number")
    return int(cell)


def _interval(cell: str) -> str:
    if cell.lower() not in ("month", "year"):
        raise ValueError(f"{cell!r} is neither month nor year")
    return cell.lower()


def _amount(cell: str) -> Decimal:
    if not _AMOUNT.fullmatch(cell):
        raise ValueError(f"{cell!r} is no amount such as 49 or 49.90; write 0 for none")
    if (amount := Decimal(cell)) > AMOUNT_MAX:
        raise ValueError(f"{cell!r} is too large; {AMOUNT_MAX} is the largest that is taken")
    return amount


def _day(cell: str) -> date:
    if not _DAY.fullmatch(cell):
        raise ValueError(f"{cell!r} is no day such as 2026-01-31")
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not in the calendar") from None


def _open_day(cell: str) -> date | None:
    return _day(cell) if cell else None


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "plan_id": _plan_id,
    "plan_name": _text,
    "tier": _tier,
    "currency": _text,
    "interval": _interval,
    "price": _amount,
    "cost": _amount,
    "valid_from": _day,
    "valid_to": _open_day,
}


def _contradictions(rows: list[tuple[int, dict[str, Any]]]) -> Iterator[str]:
    """What is wrong between lines: periods that overlap, a plan in two currencies."""
    by_plan: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for line, row in rows:
        if row["valid_to"] is not None and row["valid_to"] <= row["valid_from"]:
            yield f"line {line}, column valid_to: must be later than valid_from (it is exclusive)"
        by_plan.setdefault(row["plan_id"], []).append((line, row))
    for plan, lines in by_plan.items():
        ordered = sorted(lines, key=lambda item: item[1]["valid_from"])
        for (line, earlier), (next_line, later) in pairwise(ordered):
            if earlier["valid_to"] is None or earlier["valid_to"] > later["valid_from"]:
                yield (
                    f"line {next_line}, column valid_from: overlaps line {line} of plan {plan}; "
                    f"end that one with valid_to {later['valid_from']} or earlier"
                )
            if earlier["currency"] != later["currency"]:
                yield (
                    f"line {next_line}, column currency: plan {plan} is in "
                    f"{earlier['currency']} on line {line}; a plan has one currency"
                )


def write_plan_prices(engine: Engine, prices: PlanPrices) -> None:
    """Put the catalogue where `ref('plan_prices')` looks for it."""
    with engine.transaction():
        typed = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        engine.execute(f"create or replace table serve.main.plan_prices ({typed})")
        if prices.rows:
            marks = ", ".join("?" for _ in COLUMNS)
            engine.connection.executemany(
                f"insert into serve.main.plan_prices values ({marks})", list(prices.rows)
            )
