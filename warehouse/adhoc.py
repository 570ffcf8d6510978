"""`hooklake sql`: analysts' SELECTs on the published warehouse, in a sandbox.

execute() and opened() are the library for the dashboard; sandbox.py is the process that runs a
statement. Whoever has a shell may open the published file in any DuckDB client instead.

AdhocError
|- QueryError             the statement is wrong; line and column where known   exit 1
`- NothingPublishedError  there is no warehouse yet                             exit 1
RefusedError
|- QueryRefusedError      not a single SELECT, or reaches for a file            exit 4
`- QueryStoppedError      time or memory was up                                 exit 4
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.errors import HooklakeError, RefusedError, UsageError
from ingest.paths import DataDir
from ingest.settings import Settings
from warehouse import sandbox
from warehouse.reader import resolved_path

MAX_ROWS: Final = 10_000
TIMEOUT_SECONDS: Final = 60.0
MEMORY_BYTES_MAX: Final = 2 << 30
_HISTORY_LINES_MAX: Final = 1_000
_CAPPED_EXIT: Final = 3
_FORMULA: Final = tuple("=+-@\t\r＝＋－＠")
_CSV_SPECIAL: Final = re.compile(r'[",\r\n]')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

OutputFormat = Literal["table", "csv", "json"]


class AdhocError(HooklakeError):
    code = "sql"


class NothingPublishedError(AdhocError):
    """There is no warehouse to ask yet."""


class QueryError(AdhocError):
    """DuckDB cannot run the statement; `line` and `column` count from 1, None where unknown."""

    code = "query"

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        self.reason, self.line, self.column = message, line, column
        place = f"line {line}, column {column}: " if line is not None else ""
        super().__init__(f"{place}{message}")


class QueryRefusedError(RefusedError):
    """The statement is not one the sandbox runs."""

    code = "query_refused"


class QueryStoppedError(RefusedError):
    """Time or memory was up."""

    code = "query_stopped"


@dataclass
class Result:
    """An open answer. Iterating gives tuples of Python values; is_capped is true once all rows up
    to the cap were read and there were more."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]] = field(repr=False)
    is_capped: bool = False

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.rows


@dataclass(frozen=True)
class Answer:
    """A complete answer. types: DuckDB's names, such as `DECIMAL(18,2)`."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_capped: bool


def execute(
    data: DataDir,
    query: str,
    *,
    max_rows: int = MAX_ROWS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    memory_bytes: int = MEMORY_BYTES_MAX,
) -> Answer:
    """The whole answer of one SELECT, at most max_rows rows (0: all).

    Values: DECIMAL as Decimal, TIMESTAMPTZ as datetime in UTC, DATE as date, LIST as list, STRUCT
    and MAP as dict, what Python has no type for as text.
    Raises: NothingPublishedError, QueryError, QueryRefusedError, QueryStoppedError.
    """
    with opened(
        data,
        query,
        max_rows=max_rows,
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
    ) as result:
        rows = list(result)
        return Answer(result.columns, result.types, rows, result.is_capped)


@contextmanager
def opened(
    data: DataDir,
    query: str,
    *,
    max_rows: int = MAX_ROWS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    memory_bytes: int = MEMORY_BYTES_MAX,
) -> Iterator[Result]:
    """As execute(), row by row. The time runs until the block ends; then the process is gone.

    Raises: as execute(), on entering and while iterating.
    """
    path = resolved_path(data)
    if path is None:
        raise NothingPublishedError(
            f"nothing is published below {data.root} yet; run `hooklake refresh` once"
        )
    if not query.strip():
        raise UsageError("there is no query; try `hooklake sql 'select count(*) from events'`")
    request = {
        "database": str(path),
        "lake": str(data.lake.resolve()),
        "query": query,
        "rows_max": max_rows,
        "memory_bytes": memory_bytes,
        "cpu_seconds": int(timeout_seconds * 64) + 1,
    }
    process = subprocess.Popen(
        [sys.executable, "-I", str(Path(sandbox.__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        text=True,
        encoding="utf-8",
    )
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        process.kill()

    timer = threading.Timer(timeout_seconds, end)
    timer.daemon = True
    timer.start()
    try:
        parts = _parts(process, request, is_late, timeout_seconds)
        head = next(parts)
        result = Result(tuple(head["columns"]), tuple(head["types"]), iter(()))
        result.rows = _rows(parts, result)
        yield result
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _parts(
    process: subprocess.Popen[str],
    request: dict[str, Any],
    is_late: threading.Event,
    timeout_seconds: float,
) -> Iterator[dict[str, Any]]:
    """The sandbox's lines up to its last; its errors, and its death, as ours."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        json.dump(request, process.stdin)
        process.stdin.close()
    for line in process.stdout:
        if not line.endswith("\n"):
            break  # killed within a line
        part: dict[str, Any] = json.loads(line)
        if "error" in part:
            raise _error(part)
        yield part
        if "end" in part:
            return
    if is_late.is_set():
        raise QueryStoppedError(
            f"stopped after {timeout_seconds:g} s; narrow the query, or give it longer with "
            "--timeout"
        )
    raise _error({"error": "memory", "message": ""})


def _rows(parts: Iterator[dict[str, Any]], result: Result) -> Iterator[tuple[Any, ...]]:
    for part in parts:
        if "end" in part:
            result.is_capped = bool(part["is_capped"])
            return
        for row in part["rows"]:
            yield tuple(decode(value) for value in row)


def _error(part: dict[str, Any]) -> HooklakeError:
    if part["error"] == "refused":
        return QueryRefusedError(
            f"refused: {part['message']}. One SELECT over the published tables and the lake's "
            "files is what runs here"
        )
    if part["error"] == "memory":
        return QueryStoppedError(
            "stopped: the query needs more memory than it may have; aggregate or filter earlier"
        )
    return QueryError(part["message"], part.get("line"), part.get("column"))


def decode(value: Any) -> Any:
    """The inverse of sandbox.encode."""
    if not isinstance(value, list):
        return value
    kind, text = value
    if kind == "list":
        return [decode(item) for item in text]
    if kind == "object":
        return {key: decode(item) for key, item in text.items()}
    return _DECODERS[kind](text)


_DECODERS: Final[dict[str, Any]] = {
    "float": float,
    "decimal": Decimal,
    "instant": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "text": str,
}


def run(
    settings: Settings,
    query: str | None,
    output_format: OutputFormat = "table",
    max_rows: int = MAX_ROWS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> int:
    """Print the answer; 0, or 3 when it was capped. Without a query: standard input or a prompt.

    Raises: AdhocError (exit 1), UsageError (2), QueryRefusedError, QueryStoppedError (4).
    """
    data = settings.paths
    if query is None and sys.stdin.isatty():
        return _prompt(data, output_format, max_rows, timeout_seconds)
    return _ask(
        data, sys.stdin.read() if query is None else query, output_format, max_rows, timeout_seconds
    )


def _ask(
    data: DataDir, query: str, output_format: str, max_rows: int, timeout_seconds: float
) -> int:
    with opened(data, query, max_rows=max_rows, timeout_seconds=timeout_seconds) as result:
        _WRITERS[output_format](result, sys.stdout)
        if not result.is_capped:
            return 0
    sys.stderr.write(f"only the first {max_rows} rows are shown; --max-rows 0 lifts the cap\n")
    return _CAPPED_EXIT


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
    console.print(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}")


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


_WRITERS: Final = {"table": write_table, "csv": write_csv, "json": write_json}


def _prompt(data: DataDir, output_format: str, max_rows: int, timeout_seconds: float) -> int:
    """Statements typed at a terminal, each ended by `;`; the data directory keeps the history."""
    import readline

    history = data.root / "sql_history"
    if history.exists():
        readline.read_history_file(history)
    readline.set_history_length(_HISTORY_LINES_MAX)
    console = Console(stderr=True, highlight=False)
    width = shutil.get_terminal_size().columns
    console.print(
        "One SELECT, ended by a semicolon; `show tables;` lists tables, Ctrl-D leaves."[:width],
        markup=False,
    )
    lines: list[str] = []
    try:
        while True:
            try:
                line = input("    ...> " if lines else "hooklake> ")
            except KeyboardInterrupt:
                console.print()
                lines = []
                continue
            if not lines and line.strip().lower() in ("", "exit", "quit", ".quit", ".exit"):
                if line.strip():
                    return 0
                continue
            lines.append(line)
            if not line.rstrip().endswith(";"):
                continue
            query, lines = "\n".join(lines), []
            try:
                _ask(data, query, output_format, max_rows, timeout_seconds)
            except HooklakeError as error:
                console.print(f"error: {error}", markup=False)
            except KeyboardInterrupt:
                console.print("stopped", markup=False)
    except EOFError:
        console.print()
        return 0
    finally:
        readline.write_history_file(history)
        history.chmod(0o600)
