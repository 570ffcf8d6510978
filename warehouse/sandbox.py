"""The process an analyst's SQL runs in; started by adhoc.py with this file's path, `python -I`.

DuckDB alone does not hold: a function folded while planning heeds neither interrupt nor memory
limit (`count(*) from (select unnest(range(1000000000)))` took 20 GB and 105 s, DuckDB 2.0.0). So
the statement gets a process of its own with kernel limits, which can be killed at any moment, and
inside it the locked-down connection of design.md decision 7: the published file attached read-only
to an in-memory database, one SELECT, wrapped, the lake the only readable folder, settings locked.

One JSON request on standard input; on standard output one JSON line with the columns or an error,
then one line per block of rows, then `{"end": true}`. Nothing of ours is imported: starting takes
as long as importing DuckDB.
"""

from __future__ import annotations

import ctypes
import json
import math
import re
import resource
import signal
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TextIO
from uuid import UUID

import duckdb

DESCRIBING: Final = "describe select * from (\n"
ANSWERING: Final = "from (\n".rjust(len(DESCRIBING))  # a place in one is that in the other
BLOCK_ROWS: Final = 1000
PR_SET_PDEATHSIG: Final = 1  # Source: prctl(2), linux/prctl.h

# They run text as SQL, or functions by name, behind the back of every check made here.
FUNCTIONS_REFUSED: Final = re.compile(
    r"query|json_execute_serialized_sql|\w*external_resource\w*|write_log|(force_)?checkpoint"
    r"|truncate_duckdb_logs",
    re.IGNORECASE,
)
_WITH_INFINITY: Final = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
_INTERVAL: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\b(INTERVAL)\b""")
_WRITES_IN_CTE: Final = re.compile(r"WITH clause containing a", re.IGNORECASE)


class RefusedStatementError(Exception):
    """The statement is not allowed; the reason is for the person who wrote it."""


def main() -> None:
    _end_with_parent()
    request = json.load(sys.stdin)
    answer = sys.stdout
    _limit_process(request["memory_bytes"], request["cpu_seconds"])
    try:
        connection = _locked_connection(
            request["database"], request["lake"], request["memory_bytes"]
        )
    except duckdb.Error as error:
        _say(answer, {"error": "unreadable", "message": str(error)})
        return
    try:
        for part in _answer(connection, request["query"], request["rows_max"]):
            _say(answer, part)
    except RefusedStatementError as refusal:
        _say(answer, {"error": "refused", "message": str(refusal)})
    except (duckdb.Error, OverflowError, ValueError) as error:
        _say(answer, _failure(error, request["query"]))
    except MemoryError:
        _say(answer, {"error": "memory", "message": "no memory left"})


def _end_with_parent() -> None:
    """Have the kernel kill this process when the one that asked is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _limit_process(memory_bytes: int, cpu_seconds: int) -> None:
    """What DuckDB allots beside its own limit ends here."""
    room = 2 * memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (room, room))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _locked_connection(database: str, lake: str, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    for statement in (
        "set timezone = 'UTC'",
        f"attach {_literal(database)} as warehouse (read_only)",
        "use warehouse",
        "set errors_as_json = true",
        "set temp_directory = ''",  # it would be a second folder that may be written
        "set autoinstall_known_extensions = false",
        "set autoload_known_extensions = false",
        "set python_enable_replacements = false",
        f"set memory_limit = '{memory_bytes} B'",
        f"set allowed_directories = [{_literal(lake)}]",
        "set enable_external_access = false",
        "set lock_configuration = true",
    ):
        connection.execute(statement)
    return connection


def _answer(
    connection: duckdb.DuckDBPyConnection, query: str, rows_max: int
) -> Iterator[dict[str, Any]]:
    statement = _only_select(connection, query)
    described = connection.execute(f"{DESCRIBING}{statement}\n)").fetchall()
    types = [column[1] for column in described]
    yield {"columns": _distinct([column[0] for column in described]), "types": types}
    names = [f"c{place}" for place in range(len(types))]
    chosen = ", ".join(_sayable(*column) for column in zip(names, types, strict=True))
    limit = f" limit {rows_max + 1}" if rows_max else ""
    cursor = connection.execute(
        f"{ANSWERING}{statement}\n) as answer ({', '.join(names)}) select {chosen}{limit}"
    )
    sent = 0
    while rows := cursor.fetchmany(BLOCK_ROWS):
        block = rows[: rows_max - sent] if rows_max else rows
        yield {"rows": [[encode(value) for value in row] for row in block]}
        sent += len(rows)
    yield {"end": True, "is_capped": bool(rows_max) and sent > rows_max}


def _sayable(name: str, kind: str) -> str:
    """The column as an expression whose values Python can hold: to it a month is 30 days and
    infinity the end of the year 9999, so both come as DuckDB's text."""
    if kind in _WITH_INFINITY:
        either = f"union(value {kind}, text varchar)"
        return (
            f"case when isinf({name}) then cast(cast({name} as varchar) as {either})"
            f" else cast({name} as {either}) end"
        )
    told = _INTERVAL.sub(lambda found: "VARCHAR" if found[1] else found[0], kind)
    return name if told == kind else f"cast({name} as {told})"


def _only_select(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """The query without its closing semicolon. Raises: RefusedStatementError, duckdb.Error."""
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise RefusedStatementError(
            f"one statement at a time is run here, and this is {len(statements)}"
        )
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name.replace("_", " ")
        raise RefusedStatementError(
            f"only SELECT is run here, and this is {kind}: the warehouse is read-only"
        )
    text = _without_semicolons(query)
    for name in _functions(connection, text):
        if FUNCTIONS_REFUSED.fullmatch(name):
            raise RefusedStatementError(f"the function {name}() is not available here")
    return text


def _without_semicolons(query: str) -> str:
    """Blank the semicolons that end the statement, keeping every position in it.

    tokenize tells them from those in strings and comments.
    """
    ends = [
        offset
        for offset, _ in duckdb.tokenize(query)
        if query.encode()[offset : offset + 1] == b";"
    ]
    text = bytearray(query.encode())
    for offset in ends:
        text[offset : offset + 1] = b" "
    return text.decode()


def _functions(connection: duckdb.DuckDBPyConnection, statement: str) -> Iterator[str]:
    """Names of the functions a statement calls, macros not opened."""
    tree = json.loads(
        connection.execute("select json_serialize_sql(cast(? as varchar))", [statement]).fetchall()[
            0
        ][0]
    )
    waiting: list[Any] = [tree]
    if tree.get("error"):  # cannot be serialised: take every word for a function's name
        yield from re.findall(r"\w+", statement)
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = node.get("function_name")
            if isinstance(name, str):
                yield name
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _distinct(names: list[str]) -> list[str]:
    """Names made unique, so that a row can be an object: a, a_2."""
    taken: set[str] = set()
    answer = []
    for name in names:
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate)
        answer.append(candidate)
    return answer


def encode(value: Any) -> Any:
    """A value for JSON; what JSON has no word for becomes `[kind, text]`, read by adhoc.decode."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else ["float", repr(value)]
    if isinstance(value, Decimal):
        return ["decimal", format(value, "f")]
    if isinstance(value, datetime):
        return ["instant" if value.tzinfo else "timestamp", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, time):
        return ["text", value.isoformat()]
    if isinstance(value, timedelta | UUID):
        return ["text", str(value)]
    if isinstance(value, bytes | bytearray):
        return ["text", bytes(value).hex()]
    if isinstance(value, list | tuple):
        return ["list", [encode(item) for item in value]]
    if isinstance(value, dict):
        return ["object", {str(key): encode(item) for key, item in value.items()}]
    return ["text", str(value)]


def _failure(error: Exception, query: str) -> dict[str, Any]:
    """An error with its place in the query: line and column count from 1."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return {"error": "memory", "message": "no memory left"}
    message, position = str(error), None
    start = message.find("{")
    try:
        told = json.loads(message[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        told = {}
    if isinstance(told, dict) and "exception_message" in told:
        message = str(told["exception_message"])
        position = int(told["position"]) if str(told.get("position", "")).isdigit() else None
    if isinstance(error, duckdb.PermissionException) or _WRITES_IN_CTE.search(message):
        return {"error": "refused", "message": message}
    failure: dict[str, Any] = {"error": "query", "message": message}
    if position is not None:
        if not _is_parse_error_of(query):
            position -= len(DESCRIBING)
        before = query.encode()[: max(position, 0)].decode(errors="ignore")
        failure["line"] = before.count("\n") + 1
        failure["column"] = len(before) - (before.rfind("\n") + 1) + 1
    return failure


def _is_parse_error_of(query: str) -> bool:
    """Whether the query itself does not parse, so that positions are its own."""
    try:
        duckdb.extract_statements(query)
    except duckdb.Error:
        return True
    return False


def _say(stream: TextIO, part: dict[str, Any]) -> None:
    stream.write(json.dumps(part, ensure_ascii=False) + "\n")
    stream.flush()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    main()
