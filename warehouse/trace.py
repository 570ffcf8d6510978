"""`hooklake log NUMBER`: one delivery from its receipt to its stored row and the tables it moved.

A table is said to be moved where it holds rows of the event itself or of its account; of the
aggregates, which carry neither, the rows are told that count the account (`trace_marts`).
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

import apsw
import duckdb
from rich.console import Console

from ingest.delivery_log import Filter, Logged, deliveries
from ingest.errors import UsageError
from ingest.ledger import open_read_only
from ingest.log_lines import json_line, text_line
from ingest.paths import DataDir
from ingest.settings import Settings
from ingest.terminal import one_line
from warehouse.reader import connect, published
from warehouse.trace_marts import Counted, account_of, as_text, counted

NOT_STORED: Final = "not_stored"
WAITS_FOR_LANDING: Final = "waits_for_landing"
WAITS_FOR_REFRESH: Final = "waits_for_refresh"
PUBLISHED: Final = "published"
_SAID: Final = {
    NOT_STORED: "no row of it is stored",
    WAITS_FOR_LANDING: "it is in the ledger and waits to be landed into the lake",
    WAITS_FOR_REFRESH: "it is in the lake; the next `hooklake refresh` publishes it",
    PUBLISHED: "it is in the published warehouse",
}


@dataclass(frozen=True)
class Holding:
    """How many rows of a table are of the event itself, and of its account; None: no such column"""

    table: str
    of_event: int | None
    of_account: int | None


@dataclass(frozen=True)
class Trace:
    """Where a delivery got to.

    seq: of the event stored, which a duplicate only repeats. seq, file: None where the ledger has
    let go of that event. account_id: whose it is, also where only its workspace says so. row: what
    the published `events` hold of it, without its payload and what is NULL; empty before that.
    """

    logged: Logged
    state: str
    event_id: str | None
    seq: int | None
    file: str | None
    version: int | None
    account_id: str | None
    row: dict[str, str]
    holdings: tuple[Holding, ...]
    counted: tuple[Counted, ...]


def run(settings: Settings, number: int, *, as_json: bool = False) -> int:
    """Print the trace of the delivery with that number; always 0.

    Raises: UsageError, LedgerError.
    """
    found = trace(settings.paths, number)
    if as_json:
        document = {
            "delivery": json.loads(json_line(found.logged)),
            "state": found.state,
            "event_id": found.event_id,
            "stored_seq": found.seq,
            "file": found.file,
            "version": found.version,
            "account_id": found.account_id,
            "row": found.row,
            "tables": [asdict(holding) for holding in found.holdings],
            "aggregates": [each.as_dict() for each in found.counted],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(Console(highlight=False, markup=False, soft_wrap=True), found)
    return 0


def trace(paths: DataDir, number: int) -> Trace:
    """Raises: UsageError where no delivery has that number, LedgerError."""
    with open_read_only(paths.ledger) as connection:
        logged = next(deliveries(connection, Filter(), after=number - 1, until=number), None)
        if logged is None:
            raise UsageError(
                f"no delivery has the number {number}: `hooklake log` lists those that are kept;"
                f" a refused request is explained by `hooklake verify --record {number}`"
            )
        stored = _stored(connection, logged)
    if stored is None:
        return _of_old(paths, logged)
    event_id, seq, file = stored
    if file is None:
        return Trace(logged, WAITS_FOR_LANDING, event_id, seq, None, *_NOWHERE)
    found = _published(paths, event_id, logged.account_id)
    state = PUBLISHED if _is_in(found) else WAITS_FOR_REFRESH
    return Trace(logged, state, event_id, seq, file, *found)


def _of_old(paths: DataDir, logged: Logged) -> Trace:
    """A repetition of what the ledger has let go of is known by its event in the warehouse."""
    if logged.event_id is not None:
        found = _published(paths, logged.event_id, logged.account_id)
        if _is_in(found):
            return Trace(logged, PUBLISHED, logged.event_id, None, None, *found)
    return Trace(logged, NOT_STORED, None, None, None, *_NOWHERE)


def _stored(connection: apsw.Connection, logged: Logged) -> tuple[str, int, str | None] | None:
    """The event's id and number, and the lake file that holds its row."""
    if logged.verdict == "quarantined":
        seq = connection.execute(
            "select replayed_seq from quarantine where seq = ?", (logged.seq,)
        ).fetchone()
        wanted = None if seq is None else seq[0]
    else:
        wanted = logged.seq if logged.first_seq is None else logged.first_seq
    row: tuple[Any, ...] | None = connection.execute(
        "select event_id, seq, node, event_type, strftime('%Y-%m', occurred_at / 1000000,"
        " 'unixepoch') from inbox where seq = ?",
        (wanted,),
    ).fetchone()
    if row is None:
        return None
    event_id, seq, node, event_type, month = row
    file = connection.execute(
        "select path from files where status = 'live' and node = ? and event_type = ?"
        " and event_month = ? and first_seq <= ? and last_seq >= ? order by file_id desc limit 1",
        (node, event_type, month, seq, seq),
    ).fetchone()
    return str(event_id), int(seq), None if file is None else str(file[0])


_Published = tuple[int | None, str | None, dict[str, str], tuple[Holding, ...], tuple[Counted, ...]]
_NOWHERE: Final[_Published] = (None, None, {}, (), ())


def _is_in(found: _Published) -> bool:
    return bool(found[2])


def _published(paths: DataDir, event_id: str, account_id: str | None) -> _Published:
    """The warehouse's version, whose event it is, and what it holds of both."""
    version = published(paths)
    if version is None:
        return _NOWHERE
    with connect(version) as warehouse:
        row = _row(warehouse, event_id)
        account_id = account_id or account_of(warehouse, event_id)
        columns: dict[str, set[str]] = {}
        for table, column in warehouse.execute(
            "select table_name, column_name from duckdb_columns()"
            " where schema_name = 'main' and not internal"
            " and column_name in ('event_id', 'account_id') order by table_name"
        ).fetchall():
            columns.setdefault(table, set()).add(column)
        found = tuple(
            Holding(
                table,
                _count(warehouse, table, "event_id", event_id) if "event_id" in names else None,
                _count(warehouse, table, "account_id", account_id)
                if "account_id" in names and account_id is not None
                else None,
            )
            for table, names in columns.items()
        )
        aggregates = () if account_id is None else tuple(counted(warehouse, event_id, account_id))
    holdings = tuple(each for each in found if each.of_event or each.of_account)
    return version.version, account_id, row, holdings, aggregates


def _row(warehouse: duckdb.DuckDBPyConnection, event_id: str) -> dict[str, str]:
    cursor = warehouse.execute(
        "select * exclude (payload) from main.events where event_id = ?", (event_id,)
    )
    names = [column[0] for column in cursor.description]
    return {
        name: as_text(value)
        for row in cursor.fetchall()
        for name, value in zip(names, row, strict=True)
        if value is not None
    }


def _count(warehouse: duckdb.DuckDBPyConnection, table: str, column: str, value: str) -> int:
    rows = warehouse.execute(
        f'select count(*) from main."{table}" where {column} = ?', (value,)
    ).fetchall()
    return int(rows[0][0])


def _show(console: Console, found: Trace) -> None:
    console.print(text_line(found.logged))
    console.print(f"  {_SAID[found.state]}")
    if found.file is not None:
        console.print(f"  row {found.seq} of lake/events/{found.file}")
    if found.version is not None:
        for name, value in found.row.items():
            console.print(f"    {name:<26}{one_line(value, 200)}")
        console.print(f"  warehouse version {found.version}: rows of the event, of its account")
    for each in found.holdings:
        of_event = "-" if each.of_event is None else f"{each.of_event:,}"
        of_account = "-" if each.of_account is None else f"{each.of_account:,}"
        console.print(f"    {each.table:<26}{of_event:>8}{of_account:>8}")
    if found.counted:
        console.print("  rows of the aggregates that count the account; * rests on this event")
    for row in found.counted:
        named = ", ".join(f"{name} {one_line(value or '-')}" for name, value in row.row.items())
        console.print(f"  {'*' if row.of_event else ' '} {row.table:<26}{named}")
