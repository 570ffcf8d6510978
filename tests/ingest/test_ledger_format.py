"""A ledger of an older hooklake: opened to write it is upgraded, whole, and loses nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import apsw
import pytest

from ingest import ledger
from ingest.catalogue import live_files
from ingest.errors import LedgerError
from ingest.ledger import (
    INBOX_COLUMNS,
    Delivery,
    open_ledger,
    open_read_only,
    read_counters,
    store_deliveries,
    transaction,
)
from ingest.ledger_format import FIRST_FORMAT, FORMAT_VERSION, STEPS
from ingest.parse import Arrival, parse_body

NOW = 1_790_000_000_000_000
FORMAT_1 = Path(__file__).with_name("ledger_format_1.sql")
"""A ledger as hooklake 0.1.0 left it: two events, one landed, a duplicate and a quarantined one."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode = wal")
    connection.execute(FORMAT_1.read_text("utf-8"))
    connection.close()
    return path


def schema_of(connection: apsw.Connection) -> dict[str, list[tuple[str, str, int, int]]]:
    tables = connection.execute(
        "select name from sqlite_schema where type in ('table', 'index') order by name"
    ).fetchall()
    return {
        name: [
            (column, kind, is_needed, is_key)
            for _, column, kind, is_needed, _, is_key in connection.execute(
                f"pragma table_info({name})"
            )
        ]
        for (name,) in tables
    }


def format_of(path: Path) -> int:
    connection = apsw.Connection(str(path))
    try:
        return int(
            next(connection.execute("select value from meta where key = 'format_version'"))[0]
        )
    finally:
        connection.close()


def test_the_first_version_is_upgraded_and_nothing_in_it_is_lost(old: Path) -> None:
    connection = open_ledger(old)

    assert read_counters(connection) == {
        "deliveries": 4,
        "events": 2,
        "duplicates": 1,
        "quarantined": 1,
        "erased": 0,
        "ids_reused": 0,
    }
    assert connection.execute("select event_id from inbox order by seq").fetchall() == [
        ("first",),
        ("second",),
    ]
    assert [file.path for file in live_files(old)] == [
        "event_type=plan_changed/event_month=2026-09/n1-1-1.parquet"
    ]
    assert format_of(old) == FORMAT_VERSION > 1
    connection.close()


def test_an_upgraded_ledger_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    upgraded, new = open_ledger(old), open_ledger(tmp_path / "new.sqlite")

    assert schema_of(upgraded) == schema_of(new)
    assert {column for column, *_ in schema_of(new)["inbox"]} == set(INBOX_COLUMNS)
    upgraded.close()
    new.close()


def test_an_upgraded_ledger_still_knows_its_duplicates(old: Path) -> None:
    body = b'{"event": "plan_changed", "email": "a@b.c", "plan": "pro", "event_id": "first"}'
    connection = open_ledger(old)
    with transaction(connection):
        (outcome,) = store_deliveries(
            connection, [Delivery(parse_body(body, Arrival(stored_at=NOW)), body, NOW)], "n1"
        )

    assert (outcome.verdict, outcome.seq) == ("duplicate", 5)
    connection.close()


def test_a_reader_of_an_older_ledger_says_what_to_do_and_changes_nothing(old: Path) -> None:
    with pytest.raises(LedgerError, match=r"hooklake refresh.* upgrades it"), open_read_only(old):
        pass
    assert format_of(old) == 1


def test_a_step_that_fails_leaves_the_version_before(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (*STEPS, "create table further (x integer); select no_such_function();")
    monkeypatch.setattr(ledger, "STEPS", steps)
    monkeypatch.setattr(ledger, "FORMAT_VERSION", FORMAT_VERSION + 1)

    with pytest.raises(LedgerError, match="cannot open the ledger"):
        open_ledger(old)
    monkeypatch.undo()
    connection = open_ledger(old)
    assert format_of(old) == FORMAT_VERSION
    assert "further" not in schema_of(connection)
    connection.close()


def test_many_processes_opening_an_old_ledger_at_once_upgrade_it_once(old: Path) -> None:
    failures: list[Exception] = []

    def open_it() -> None:
        try:
            open_ledger(old).close()
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert format_of(old) == FORMAT_VERSION


def test_a_process_of_the_version_before_goes_on_while_a_step_is_taken(old: Path) -> None:
    before = apsw.Connection(str(old))
    before.execute("select count(*) from files").fetchall()
    open_ledger(old).close()

    before.execute(
        "insert into files (path, event_type, event_month, node, first_seq, last_seq, rows, bytes,"
        " sha256, added_at) values ('p', 't', 'm', 'n1', 4, 4, 1, 1, 's', 1)"
    )
    before.close()
    assert [file.path for file in live_files(old)][1:] == ["p"]


def test_the_first_format_is_what_the_first_version_made(tmp_path: Path, old: Path) -> None:
    """FIRST_FORMAT must not be edited: ledgers made by it exist."""
    connection, kept = apsw.Connection(":memory:"), apsw.Connection(str(old))
    connection.execute(FIRST_FORMAT)

    assert schema_of(connection) == schema_of(kept)
    kept.close()


def test_a_reader_waits_for_a_ledger_that_is_just_being_made(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    apsw.Connection(str(path)).execute("pragma journal_mode = wal")
    assert path.stat().st_size > 0
    making = threading.Timer(0.2, lambda: open_ledger(path).close())
    making.start()

    assert live_files(path) == []
    making.join()


def test_a_database_that_is_no_ledger_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    apsw.Connection(str(path)).execute("create table other (x integer)")

    with pytest.raises(LedgerError, match="is no ledger of hooklake"), open_read_only(path):
        pass
