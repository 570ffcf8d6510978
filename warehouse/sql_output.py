"""An answer as a table for a person, or as CSV, JSON or Parquet for a program.

Nothing from an event reaches a terminal as a control sequence or a spreadsheet as a formula.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any, BinaryIO, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.errors import UsageError
from ingest.wording import number_of
from warehouse.adhoc import Result

OutputFormat = Literal["table", "csv", "json", "parquet"]
_FORMULA: Final = tuple("=+-@\t\r＝＋－＠")
_CSV_SPECIAL: Final = re.compile(r'[",\r\n]')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PARQUET_ROWS: Final = 20_000


def write_json(result: Result, stream: IO[str]) -> None:
    """One array of objects, a row a line; DECIMAL as string, instants RFC 3339 with Z."""
    separator = "[\n"
    for row in result:
        named = {name: plain(value) for name, value in zip(result.columns, row, strict=True)}
        stream.write(separator + json.dumps(named, ensure_ascii=False, allow_nan=False))
        separator = ",\n"
    stream.write("[]\n" if separator == "[\n" else "\n]\n")


def write_csv(result: Result, stream: IO[str]) -> None:
    """With a header; NULL is empty. Text a spreadsheet would take for a formula gets a quote."""
    stream.write(_csv_line([formula_safe(name) for name in result.columns]))
    for row in result:
        stream.write(_csv_line([_cell(value) for value in row]))


def _csv_line(cells: list[str]) -> str:
    """csv.writer does not quote a lone carriage return when lines end in a newline."""
    quoted = (
        '"' + cell.replace('"', '""') + '"' if _CSV_SPECIAL.search(cell) else cell for cell in cells
    )
    return ",".join(quoted) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(plain(value))
    if isinstance(value, list | dict):
        return formula_safe(json.dumps(plain(value), ensure_ascii=False))
    return formula_safe(str(plain(value)))


def formula_safe(text: str) -> str:
    """Text that no spreadsheet computes: `'` before = + - @ and their full-width twins."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def plain(value: Any) -> Any:
    """A value as JSON shows it; NaN and infinities, which JSON does not know, as text."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(value)]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def write_table(result: Result, stream: IO[str]) -> None:
    """For a person. Control characters in event text are shown, never sent to the terminal."""
    console = Console(file=stream, highlight=False)
    rows = [[_shown(value) for value in row] for row in result]
    if not console.is_terminal:
        console.width = max(console.width, _width(result.columns, rows))
    table = Table()
    for index, name in enumerate(result.columns):
        is_number = result.types[index].startswith(_NUMBERS)
        table.add_column(
            Text(visible(name)), justify="right" if is_number else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    console.print(number_of(len(rows), "row"))


_NUMBERS: Final = ("DECIMAL", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "U")


def _width(columns: Sequence[str], rows: list[list[str]]) -> int:
    widths = [
        max([len(name), *(len(row[index]) for row in rows)]) for index, name in enumerate(columns)
    ]
    return 2 * sum(widths) + 3 * len(widths) + 1


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = plain(value)
    if isinstance(shown, list | dict):
        shown = json.dumps(shown, ensure_ascii=False)
    return visible(str(shown))


def visible(text: str) -> str:
    """Text with control and direction characters written out as \\x1b or \\u202e."""
    return _CONTROL.sub(
        lambda found: found[0].encode("unicode_escape").decode("ascii"),
        text,
    )


def write_parquet(result: Result, stream: BinaryIO) -> None:
    """Numbers, days, instants and booleans as such; what Parquet readers differ about, as text.

    Raises: UsageError for days and instants beyond the years 1 to 9999.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [_arrow_type(pa, name) for name in result.types]
    schema = pa.schema(list(zip(result.columns, kinds, strict=True)))
    waiting: list[tuple[Any, ...]] = []
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:

        def write() -> None:
            columns = []
            for place, kind in enumerate(kinds):
                values = [_as_stored(row[place], kind, pa) for row in waiting]
                try:
                    columns.append(pa.array(values, kind))
                except pa.ArrowTypeError:  # beyond the years 1 to 9999 a day or instant is text
                    name, said = result.columns[place], result.types[place]
                    raise UsageError(
                        f"column {name} holds a {said} that Parquet readers differ about, such as"
                        f" infinity; select cast({name} as varchar) instead"
                    ) from None
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            waiting.clear()

        for row in result:
            waiting.append(row)
            if len(waiting) == _PARQUET_ROWS:
                write()
        write()


def _arrow_type(pa: Any, name: str) -> Any:
    """The type of a column for DuckDB's name of it."""
    found = _DECIMAL.fullmatch(name)
    if found:
        return pa.decimal128(int(found[1]), int(found[2]))
    simple: dict[str, Callable[[], Any]] = {
        "BOOLEAN": pa.bool_,
        "TINYINT": pa.int8,
        "SMALLINT": pa.int16,
        "INTEGER": pa.int32,
        "BIGINT": pa.int64,
        "UTINYINT": pa.uint8,
        "USMALLINT": pa.uint16,
        "UINTEGER": pa.uint32,
        "UBIGINT": pa.uint64,
        "FLOAT": pa.float32,
        "DOUBLE": pa.float64,
        "DATE": pa.date32,
        "TIMESTAMP": lambda: pa.timestamp("us"),
        "TIMESTAMP WITH TIME ZONE": lambda: pa.timestamp("us", "UTC"),
    }
    return simple.get(name, pa.string)()


_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def _as_stored(value: Any, kind: Any, pa: Any) -> Any:
    if value is None or kind != pa.string():
        return value
    shown = plain(value)
    if isinstance(shown, list | dict | bool):
        return json.dumps(shown, ensure_ascii=False)
    return str(shown)


WRITERS: Final[dict[str, Callable[[Result, IO[str]], None]]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
}


def write_answer(result: Result, stream: BinaryIO, output_format: OutputFormat) -> None:
    """The answer as the content of a file, text in UTF-8."""
    if output_format == "parquet":
        write_parquet(result, stream)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    WRITERS[output_format](result, text)
    text.flush()
    text.detach()
