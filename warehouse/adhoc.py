"""`hooklake sql`: analysts' SELECTs on the published warehouse, in a sandbox.

execute() and opened() are the library; sandbox.py is the process that runs a statement, and
sql_command.py, sql_shell.py and sql_output.py are what a person at a terminal meets. Whoever has a
shell may open the published file in any DuckDB client instead.

AdhocError
|- QueryError             the statement is wrong; line and column where known   exit 1
`- NothingPublishedError  there is no warehouse yet                             exit 1
RefusedError
|- QueryRefusedError      not a single SELECT, or reaches for a file            exit 4
`- QueryStoppedError      time or memory was up, or cancelled                   exit 4
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ingest.errors import HooklakeError, RefusedError, StorageError, UsageError
from ingest.paths import DataDir
from warehouse import sandbox
from warehouse.reader import resolved_path

MAX_ROWS: Final = 10_000
TIMEOUT_SECONDS: Final = 60.0
MEMORY_BYTES_MAX: Final = 2 << 30


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
    """Time or memory was up, or whoever asked wants no answer any more."""

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
    cancelled: threading.Event | None = None,
) -> Answer:
    """The whole answer of one SELECT, at most max_rows rows (0: all).

    cancelled: once set, by whatever thread, the query ends within a tenth of a second.

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
        cancelled=cancelled,
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
    cancelled: threading.Event | None = None,
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
    if cancelled is not None:
        threading.Thread(target=_end_when, args=(cancelled, process), daemon=True).start()
    try:
        parts = _parts(process, request, is_late, timeout_seconds, cancelled)
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


def _end_when(cancelled: threading.Event, process: subprocess.Popen[str]) -> None:
    """Watch for as long as the process lives."""
    while process.poll() is None:
        if cancelled.wait(0.1):
            process.kill()
            return


def _parts(
    process: subprocess.Popen[str],
    request: dict[str, Any],
    is_late: threading.Event,
    timeout_seconds: float,
    cancelled: threading.Event | None,
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
            raise _error(part, request["database"])
        yield part
        if "end" in part:
            return
    if cancelled is not None and cancelled.is_set():
        raise QueryStoppedError("cancelled before it was answered")
    if is_late.is_set():
        raise QueryStoppedError(
            f"stopped after {timeout_seconds:g} s; narrow the query, or give it longer with "
            "--timeout"
        )
    raise _error({"error": "memory"}, request["database"])


def _rows(parts: Iterator[dict[str, Any]], result: Result) -> Iterator[tuple[Any, ...]]:
    for part in parts:
        if "end" in part:
            result.is_capped = bool(part["is_capped"])
            return
        for row in part["rows"]:
            yield tuple(decode(value) for value in row)


def _error(part: dict[str, Any], database: str) -> HooklakeError:
    if part["error"] == "unreadable":
        return StorageError(
            f"{database} cannot be read ({' '.join(part['message'].split())}); "
            "`hooklake refresh --full` publishes a new version"
        )
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
