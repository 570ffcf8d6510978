"""An analyst's answer as a frame, a file and perhaps a chart: pure functions of warehouse.adhoc's.

Nothing here asks anything: queries run in the sandbox's process, never on the pages' connection.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from warehouse.adhoc import Answer, QueryError
from warehouse.sql_output import plain

CHART_ROWS_MAX: Final = 400
CATEGORIES_MAX: Final = 40
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_REFERENCE: Final = re.compile(r"\{\{\s*(?:ref|source)\((?:[^()]*,)?\s*['\"](\w+)['\"]\s*\)\s*\}\}")
_INTEGERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_KINDS: Final[dict[str, Any]] = {
    **dict.fromkeys(_INTEGERS, pl.Int64),
    **dict.fromkeys(("DOUBLE", "FLOAT"), pl.Float64),
    "BOOLEAN": pl.Boolean,
    "DATE": pl.Date,
    "TIMESTAMP": pl.Datetime("us"),
    "TIMESTAMP WITH TIME ZONE": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True)
class Example:
    """One question of sql/analyses: its title is the first line of the comment above it."""

    title: str
    query: str


def frame_of(answer: Answer) -> pl.DataFrame:
    """The answer with its own types; what has no counterpart is text, as `hooklake sql` has it.

    Columns of one name get a number behind it.
    """
    names = _distinct(answer.columns)
    columns = zip(*answer.rows, strict=True) if answer.rows else ((),) * len(names)
    return pl.DataFrame(
        [
            _series(name, kind, list(values))
            for name, kind, values in zip(names, answer.types, columns, strict=True)
        ]
    )


def parquet(frame: pl.DataFrame) -> bytes:
    """The frame as one Parquet file."""
    written = io.BytesIO()
    frame.write_parquet(written, compression="zstd")
    return written.getvalue()


def charted(frame: pl.DataFrame) -> tuple[str, str] | None:
    """The column to draw along and the number to draw, of an answer that is just those two.

    None where a chart would not tell anything: other columns, fewer than two rows, too many.
    """
    if frame.width != 2 or not 2 <= frame.height <= CHART_ROWS_MAX:
        return None
    numbers = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    others = [
        name
        for name, kind in frame.schema.items()
        if kind == pl.String or kind == pl.Date or isinstance(kind, pl.Datetime)
    ]
    if len(numbers) != 1 or len(others) != 1:
        return None
    along = others[0]
    if frame[along].dtype == pl.String and frame.height > CATEGORIES_MAX:
        return None
    return (along, numbers[0]) if frame[along].n_unique() == frame.height else None


def pointed(query: str, error: QueryError) -> str | None:
    """The line of the query the error is about, with a caret under the place; None if unknown."""
    lines = query.splitlines()
    if error.line is None or error.column is None or not 1 <= error.line <= len(lines):
        return None
    line = lines[error.line - 1]
    before = "".join("\t" if letter == "\t" else " " for letter in line[: error.column - 1])
    return f"{line}\n{before}^"


def examples(folder: Path) -> list[Example]:
    """The questions kept in that folder, by file name; none where there is no folder.

    References of dbt become the names of the tables; a file with more of dbt in it is left out.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        query = _REFERENCE.sub(r"\1", path.read_text("utf-8")).strip()
        if not query or "{{" in query or "{%" in query:
            continue
        first = query.splitlines()[0]
        title = first.removeprefix("--").strip() if first.startswith("--") else ""
        title = title.removeprefix("Question:").strip()
        found.append(Example(title or path.stem.replace("_", " ").capitalize(), query))
    return found


def _series(name: str, kind: str, values: list[Any]) -> pl.Series:
    decimal = _DECIMAL.fullmatch(kind)
    wanted: Any = pl.Decimal(int(decimal[1]), int(decimal[2])) if decimal else _KINDS.get(kind)
    if wanted is None and kind in ("HUGEINT", "UBIGINT", "UHUGEINT") and _fit(values):
        wanted = pl.Int64
    if wanted is not None and not any(isinstance(value, str) for value in values):
        return pl.Series(name, values, dtype=wanted)
    return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _fit(values: list[Any]) -> bool:
    return all(value is None or -(2**63) <= value < 2**63 for value in values)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    shown = plain(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _distinct(names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return found
