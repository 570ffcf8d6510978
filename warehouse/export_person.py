"""`hooklake export-person EMAIL`: everything kept about a person, as one JSON document.

For a request of access: the events with the very bytes received, deliveries that were duplicates or
no events, and the person's rows of every published table. Other people's rows that merely speak of
the person are theirs, and are counted only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import duckdb

from ingest.catalogue import live_files
from ingest.contract import LAKE_COLUMNS
from ingest.errors import StorageError, UsageError
from ingest.ledger import INBOX_COLUMNS, LANDED_UNTIL, open_read_only
from ingest.paths import DataDir
from ingest.settings import Settings
from ingest.since import rfc3339
from warehouse.erase_lake import Found, judge, search
from warehouse.forget import read_address
from warehouse.output_file import output_file
from warehouse.person import IS_THEIRS, Person, alone, known_as, lake_reader, name_in, named
from warehouse.reader import Published, connect, published
from warehouse.sql_output import plain

_INSTANTS = frozenset(("occurred_at", "received_at", "replayed_at", "signed_at"))


def run(
    settings: Settings,
    email: str | None,
    *,
    owner_id: str | None = None,
    is_linked: bool = True,
    output: Path | None = None,
) -> int:
    """Print the document, or write it to `output` (0600); 0, also where nothing is kept.

    email: `-` reads it from standard input. Raises: UsageError, RefusedError, StorageError.
    """
    person = named(read_address(email), owner_id)
    document = everything_about(settings.paths, person, is_linked=is_linked)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return 0
    with output_file(output, settings.paths) as stream:
        stream.write(text.encode("utf-8", "surrogatepass"))
    return 0


def everything_about(paths: DataDir, person: Person, *, is_linked: bool) -> dict[str, Any]:
    """The document. Instants are RFC 3339, amounts text, bodies as received.

    Raises: UsageError where nothing was ever received, LedgerError, StorageError.
    """
    if not paths.ledger.exists():
        raise UsageError(f"nothing was ever received below {paths.root}; check --data-dir")
    files = live_files(paths.ledger)
    try:
        with open_read_only(paths.ledger) as ledger, lake_reader(paths.lake, files) as reader:
            whole = (known_as if is_linked else alone)(person, reader, ledger)
            found = search(reader, str(paths.lake.resolve()), files, whole)
            kept = _of_ledger(ledger, whole)
            events = _of_lake(paths, whole, found)
            tables = _of_warehouse(paths, whole)
    except duckdb.Error as error:
        raise StorageError(
            f"reading the lake for a person failed ({type(error).__name__}); `hooklake doctor` says"
            " which file is damaged"
        ) from None
    return {
        "exported_at": rfc3339(int(datetime.now(UTC).timestamp() * 1e6)),
        "accounts": sorted(whole.accounts),
        "owner_ids": sorted(whole.owners),
        "workspaces": sorted(whole.workspaces),
        "events": sorted([*events, *kept.pop("waiting")], key=lambda row: str(row["occurred_at"])),
        **kept,
        "tables": tables,
    }


def _of_lake(paths: DataDir, person: Person, found: Iterable[Found]) -> list[dict[str, Any]]:
    """Every stored row that an erasure would take, those recognised by their payload included."""
    events: list[dict[str, Any]] = []
    for each in found:
        place = {"event_type": each.file.event_type, "event_month": each.file.event_month}
        for row in judge(paths, each.file, person).theirs.to_dicts():
            whole = {**row, **place}
            events.append({name: _plain(whole[name]) for name in LAKE_COLUMNS})
    return events


def _of_ledger(ledger: apsw.Connection, person: Person) -> dict[str, list[dict[str, Any]]]:
    """What waits to be landed, duplicates, and deliveries that are no events."""
    ledger.execute("pragma query_only = 0")  # for a temporary table, which query_only refuses
    name_in(ledger, person)
    ledger.execute("pragma query_only = 1")
    waiting = [
        row
        for row in _rows(
            ledger,
            f"select {', '.join(INBOX_COLUMNS)}, {IS_THEIRS} as is_theirs from inbox"
            f" where seq > {LANDED_UNTIL}"
            f" and ({IS_THEIRS} or (account_id is null and owner_id is null))",
        )
        if row.pop("is_theirs") or person.is_stated(row["payload"].encode())
    ]
    duplicates = _rows(
        ledger,
        "select * from duplicates where account_id in"
        " (select name from theirs where kind = 'accounts')"
        f" or event_id in (select event_id from inbox where {IS_THEIRS})",
    )
    quarantined = [
        row | {"body": bytes(row["body"]).decode("utf-8", "backslashreplace")}
        for row in _rows(ledger, "select * from quarantine")
        if person.is_stated(bytes(row["body"]))
    ]
    return {"waiting": waiting, "duplicates": duplicates, "quarantined": quarantined}


def _rows(ledger: apsw.Connection, query: str) -> list[dict[str, Any]]:
    cursor = ledger.execute(query)
    rows: list[Any] = cursor.fetchall()
    if not rows:
        return []
    names = [column[0] for column in ledger.execute(f"{query} limit 1").get_description()]
    return [
        {
            name: rfc3339(value) if name in _INSTANTS and isinstance(value, int) else value
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]


def _of_warehouse(paths: DataDir, person: Person) -> dict[str, list[dict[str, Any]]]:
    """The person's rows of every published table that has accounts, `events` left out."""
    try:
        version = published(paths)
        return {} if version is None else _of_version(version, person)
    except duckdb.Error as error:
        raise StorageError(
            f"reading {paths.warehouse.resolve()} for a person failed ({type(error).__name__});"
            " `hooklake refresh --full` publishes a new version"
        ) from None


def _of_version(version: Published, person: Person) -> dict[str, list[dict[str, Any]]]:
    tables = {}
    with connect(version) as connection:
        names = connection.execute(
            "select table_name from duckdb_columns() where schema_name = 'main' and column_name ="
            " 'account_id' and table_name <> 'events' order by table_name"
        ).fetchall()
        for (table,) in names:
            cursor = connection.execute(
                f"select * from {table} where account_id in (select unnest(?)) order by all",
                [sorted(person.accounts)],
            )
            columns = [column[0] for column in cursor.description]
            tables[str(table)] = [
                {name: _plain(value) for name, value in zip(columns, row, strict=True)}
                for row in cursor.fetchall()
            ]
    return tables


def _plain(value: Any) -> Any:
    return plain(value.astimezone(UTC)) if isinstance(value, datetime) else plain(value)
