"""The ledger: one SQLite file that knows every delivery and every lake file. Durable truth.

A delivery is answered only after the transaction holding it has been synced (WAL mode,
synchronous=FULL). Every delivery takes one number of `sequence`, in commit order, whatever its
verdict; a backfill takes a block of them. Landing needs no flag on a row: what lies behind the last
landed number is landed.

    inbox        accepted events, as stored; their ids make a second delivery a duplicate
    duplicates   deliveries of an event the inbox holds
    quarantine   authentic deliveries that are no event yet, byte for byte
    rejections   a bounded record of refused requests, without bodies
    landings     ranges planned and landed;  files: the lake's catalogue;  batches: backfills
    rewrites     lake files about to be written from others
    counters     row accounting: deliveries = events + duplicates + quarantined + erased
    fields       unknown and unreadable fields, counted
    seen         what the checklist remembers of rows that may be gone (sightings.py)
    erasures, tombstones   who was forgotten (tombstones.py); their deliveries are counted alone

The tables themselves, and how an older ledger comes by them: ledger_format.py.
Source: events.md "One stored row"; design.md decisions 1 and 2; quality.md "Durability rules".
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import apsw

from ingest import sightings
from ingest.contract import BUSINESS_COLUMNS
from ingest.errors import LedgerError
from ingest.identity import renamed_id
from ingest.ledger_format import FIRST_FORMAT, FORMAT_VERSION, STEPS
from ingest.parse import Event, Malformed, Problem
from ingest.paths import DataDir
from ingest.tombstones import tombstones

BUSY_TIMEOUT_MS: Final = 5_000
CREATION_SECONDS_MAX: Final = 1.0
CREATION_POLL_SECONDS: Final = 0.01
FIELD_NAMES_MAX: Final = 1_000
FIELD_NAMES_OF_A_DELIVERY_MAX: Final = 100
FURTHER_FIELDS: Final = "…"
REJECTIONS_MAX: Final = 1_000

Verdict = Literal["accepted", "duplicate", "quarantined", "erased"]

INBOX_COLUMNS: Final = (
    "seq",
    "node",
    "event_id",
    "digest",
    "event_type",
    "sender_event",
    "occurred_at",
    "event_time_source",
    "received_at",
    "origin",
    "delivery_id",
    "batch_id",
    "verified_by",
    *BUSINESS_COLUMNS,
    "payload",
)

LANDED_UNTIL: Final = (
    "coalesce((select last_seq from landings where status = 'landed'"
    " order by first_seq desc limit 1), 0)"
)
"""The last number that is in the lake, as an expression. Ranges are planned and landed one at a
time, each above all before, so the newest rows say it; there may be millions."""

_INSERT_EVENT: Final = (
    f"insert into inbox ({', '.join(INBOX_COLUMNS)}) values"
    f" ({', '.join('?' * len(INBOX_COLUMNS))}) on conflict (event_id) do nothing"
)
_INSERT_DUPLICATE: Final = "insert into duplicates values (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_QUARANTINED: Final = (
    "insert into quarantine (seq, received_at, origin, event_type, sender_event, delivery_id,"
    " signed_at, verified_by, batch_id, file, line, problems, body)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT: Final = (
    "insert into counters values (?, ?)"
    " on conflict (name) do update set value = value + excluded.value"
)
_COUNT_FIELD: Final = (
    "insert into fields values (?, ?, ?, ?)"
    " on conflict (kind, event_type, name) do update set count = count + excluded.count"
)


class Delivery(NamedTuple):
    """An authentic delivery on its way into the ledger. received_at: microseconds UTC."""

    content: Event | Malformed
    body: bytes
    received_at: int
    origin: str = "webhook"
    delivery_id: str | None = None
    signed_at: int | None = None
    verified_by: str = ""
    batch_id: str | None = None
    file: str | None = None
    line: int | None = None


class Outcome(NamedTuple):
    """What became of a delivery, known once its transaction has committed."""

    verdict: Verdict
    seq: int
    event_id: str | None = None
    event_type: str | None = None
    id_reused: bool = False
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def open_ledger(path: Path) -> apsw.Connection:
    """A connection that may write; creates the ledger, or upgrades one of an older format.

    Raises: LedgerError, also for a newer format.
    """
    if not path.exists():  # an empty one would be taken for the whole of what was kept
        DataDir(path.parent).must_be_whole()
    try:
        connection = apsw.Connection(str(path))
        _configure(connection)
        _create_or_upgrade(connection, path)
    except apsw.Error as error:
        raise LedgerError(f"cannot open the ledger {path}: {describe(error)}") from error
    return connection


@contextlib.contextmanager
def open_read_only(path: Path) -> Iterator[apsw.Connection]:
    """A connection that cannot write, closed at the end.

    Raises: LedgerError where the file is missing, is no ledger or has another format.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}; start `hooklake serve` once to make it")
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.execute("pragma query_only = 1")
        _check_readable(connection, path)
    except apsw.Error as error:
        raise LedgerError(f"cannot open the ledger {path}: {describe(error)}") from error
    try:
        yield connection
    except apsw.Error as error:
        raise LedgerError(f"cannot read the ledger {path}: {describe(error)}") from error
    finally:
        connection.close()


_NEXT_STEPS: Final = {
    (apsw.NotADBError, apsw.CorruptError): (
        "keep it and its -wal file as they are, and run `hooklake restore` with a backup"
    ),
    (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError): (
        "it is to be a file, in a folder, that this user may read and write: see `ls -la`"
    ),
    (apsw.BusyError, apsw.LockedError): "another process holds it; try again shortly",
}


def describe(error: apsw.Error) -> str:
    """SQLite's own words for an error, without the statement or its values.

    With the next step where there is one.
    """
    told = f"{type(error).__name__.removesuffix('Error')}: {error}"
    step = next((step for kinds, step in _NEXT_STEPS.items() if isinstance(error, kinds)), None)
    return told if step is None else f"{told}; {step}"


@contextlib.contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """One write transaction, synced at its end; rolled back where the block raises."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("rollback")
        raise


def store_deliveries(
    connection: apsw.Connection, deliveries: Sequence[Delivery], node: str
) -> list[Outcome]:
    """Write a group of deliveries within the caller's transaction; outcomes in their order.

    Nothing may be acknowledged before that transaction has committed.
    """
    first = take_sequence(connection, len(deliveries))
    forgotten = tombstones(connection)
    cursor = connection.cursor()
    fields: dict[tuple[str, str, str], int] = {}
    outcomes = []
    for seq, delivery in enumerate(deliveries, first):
        content = delivery.content
        if forgotten is not None and forgotten.cover(content, delivery.body):
            outcome = Outcome("erased", seq, event_type=content.event_type)
        elif isinstance(content, Malformed):
            outcome = _quarantine(cursor, delivery, content, seq)
        else:
            outcome = store_event(cursor, delivery, seq, node)
            if content.unknown_fields or content.warnings:
                note_fields(fields, content)
        outcomes.append(outcome)
    count(connection, _amounts(outcomes))
    if fields:
        count_fields(connection, fields)
    return outcomes


_COUNTER_OF: Final[dict[str, str]] = {
    "accepted": "events",
    "duplicate": "duplicates",
    "quarantined": "quarantined",
    "erased": "erased",
}


def _amounts(outcomes: list[Outcome]) -> dict[str, int]:
    """What a group of deliveries adds to the counters."""
    verdicts = Counter([outcome.verdict for outcome in outcomes])
    amounts = {_COUNTER_OF[verdict]: number for verdict, number in verdicts.items()}
    reused = sum([outcome.id_reused for outcome in outcomes])
    return {"deliveries": len(outcomes), **amounts, **({"ids_reused": reused} if reused else {})}


def _quarantine(cursor: apsw.Cursor, delivery: Delivery, content: Malformed, seq: int) -> Outcome:
    cursor.execute(
        _INSERT_QUARANTINED,
        (
            seq,
            delivery.received_at,
            delivery.origin,
            content.event_type,
            content.sender_event,
            delivery.delivery_id,
            delivery.signed_at,
            delivery.verified_by,
            delivery.batch_id,
            delivery.file,
            delivery.line,
            json.dumps([problem.as_dict() for problem in content.problems]),
            delivery.body,
        ),
    )
    return Outcome("quarantined", seq, event_type=content.event_type, problems=content.problems)


def store_event(cursor: apsw.Cursor, delivery: Delivery, seq: int, node: str) -> Outcome:
    """Write one readable delivery as an event or a duplicate, within the caller's transaction.

    Counts nothing: `store_deliveries` does, and so must every other caller.
    """
    event = delivery.content
    assert isinstance(event, Event)
    event_id, reused = event.event_id, False
    verdict: Verdict = "accepted"
    while not _insert_event(cursor, delivery, event, event_id, seq, node):
        if _is_known(cursor, event_id, event.digest):
            verdict = "duplicate"
            cursor.execute(
                _INSERT_DUPLICATE,
                (
                    seq,
                    delivery.received_at,
                    event_id,
                    event.event_type,
                    event.account_id,
                    delivery.delivery_id,
                    delivery.origin,
                    delivery.verified_by,
                ),
            )
            break
        event_id, reused = renamed_id(event_id, event.digest), True
    reused = reused and verdict == "accepted"  # a retry of a renamed event reuses nothing again
    return Outcome(verdict, seq, event_id, event.event_type, reused, (), event.warnings)


def _insert_event(
    cursor: apsw.Cursor, delivery: Delivery, event: Event, event_id: str, seq: int, node: str
) -> bool:
    cursor.execute(
        _INSERT_EVENT,
        (
            seq,
            node,
            event_id,
            event.digest,
            event.event_type,
            event.sender_event,
            event.occurred_at,
            event.event_time_source,
            delivery.received_at,
            delivery.origin,
            delivery.delivery_id,
            delivery.batch_id,
            delivery.verified_by,
            *event.business,
            event.payload.decode(),
        ),
    )
    return cursor.connection.changes() == 1


def _is_known(cursor: apsw.Cursor, event_id: str, digest: str) -> bool:
    row = cursor.execute("select digest from inbox where event_id = ?", (event_id,)).fetchone()
    return row is not None and row[0] == digest


def take_sequence(connection: apsw.Connection, count: int) -> int:
    """The first of `count` fresh numbers, within the caller's transaction."""
    connection.execute("update sequence set next = next + ?", (count,))
    return single_integer(connection, "select next from sequence") - count


def single_integer(connection: apsw.Connection, query: str, parameters: Sequence[Any] = ()) -> int:
    """The one number that `query` yields."""
    return int(next(connection.execute(query, parameters))[0])


def count(connection: apsw.Connection, amounts: dict[str, int]) -> None:
    """Add to the ledger's counters, within the caller's transaction."""
    connection.executemany(_COUNT, amounts.items())


def read_counters(connection: apsw.Connection) -> dict[str, int]:
    """deliveries, events, duplicates, quarantined, erased, ids_reused; 0 where never counted."""
    found = dict.fromkeys(
        ("deliveries", "events", "duplicates", "quarantined", "erased", "ids_reused"), 0
    )
    found.update(connection.execute("select name, value from counters"))
    return found


def record_rejection(
    connection: apsw.Connection,
    *,
    received_at: int,
    reason: str,
    detail: str,
    client: str | None,
    body_bytes: int,
) -> None:
    """Remember one refused request; only the newest 1,000 stay, and what the others showed."""
    with transaction(connection):
        connection.execute(
            "insert into rejections (received_at, reason, detail, client, body_bytes)"
            " values (?, ?, ?, ?, ?)",
            (received_at, reason, detail, client, body_bytes),
        )
        last_to_go = connection.last_insert_rowid() - REJECTIONS_MAX
        if last_to_go > 0:
            sightings.remember(connection, sightings.of_refusals(connection, last_to_go))
            connection.execute("delete from rejections where rejection_id <= ?", (last_to_go,))


def note_fields(fields: dict[tuple[str, str, str], int], event: Event) -> None:
    """Add an event's unknown and unreadable fields to what `count_fields` is to count."""
    names = event.unknown_fields[:FIELD_NAMES_OF_A_DELIVERY_MAX]
    further = len(event.unknown_fields) - len(names)
    for name in names:
        key = ("unknown", event.event_type, name[:128])
        fields[key] = fields.get(key, 0) + 1
    if further:
        key = ("unknown", event.event_type, FURTHER_FIELDS)
        fields[key] = fields.get(key, 0) + further
    for warning in event.warnings:
        key = ("unreadable", event.event_type, warning.field)
        fields[key] = fields.get(key, 0) + 1


def count_fields(connection: apsw.Connection, fields: dict[tuple[str, str, str], int]) -> None:
    """Add to the counts of fields, by (kind, event type, name), within the caller's transaction.

    A sender that invents names cannot grow the table: past its bound they count as `…`.
    """
    known = single_integer(connection, "select count(*) from fields")
    for (kind, event_type, name), amount in fields.items():
        stored = name
        if not connection.execute(
            "select 1 from fields where kind = ? and event_type = ? and name = ?",
            (kind, event_type, name),
        ).fetchone():
            if known >= FIELD_NAMES_MAX:
                stored = FURTHER_FIELDS
            else:
                known += 1
        connection.execute(_COUNT_FIELD, (kind, event_type, stored, amount))


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    (mode,) = next(connection.execute("pragma journal_mode = wal"))
    if mode != "wal":
        raise LedgerError(
            f"the ledger's file system does not support SQLite's WAL mode (it says {mode}); "
            "keep the data directory on a local disk"
        )
    connection.execute("pragma synchronous = full")
    connection.execute("pragma wal_autocheckpoint = 4000")
    connection.execute("pragma journal_size_limit = 67108864")
    connection.execute("pragma temp_store = memory")


def _create_or_upgrade(connection: apsw.Connection, path: Path) -> None:
    """Of several processes that open an old ledger at once one takes a step, the others see it."""
    found = _format_of(connection)
    while found != FORMAT_VERSION:
        if found is not None and found > FORMAT_VERSION:
            raise _newer(path, found)
        with transaction(connection):
            if found is None and _format_of(connection) is None:
                connection.execute(FIRST_FORMAT)
                for step in STEPS:
                    connection.execute(step)
                path.chmod(0o600)
                _note_format(connection, FORMAT_VERSION)
            elif found is not None and _format_of(connection) == found:
                connection.execute(STEPS[found - 1])
                _note_format(connection, found + 1)
        found = _format_of(connection)


def _check_readable(connection: apsw.Connection, path: Path) -> None:
    found, deadline = _format_of(connection), time.monotonic() + CREATION_SECONDS_MAX
    while found is None and time.monotonic() < deadline:  # its file is there before its tables
        time.sleep(CREATION_POLL_SECONDS)
        found = _format_of(connection)
    if found is None:
        raise LedgerError(f"{path} is no ledger of hooklake; name the right one with --data-dir")
    if found > FORMAT_VERSION:
        raise _newer(path, found)
    if found < FORMAT_VERSION:
        raise LedgerError(
            f"the ledger {path} has format {found}, and this hooklake reads {FORMAT_VERSION}; "
            "`hooklake refresh` or `hooklake serve` upgrades it"
        )


def _format_of(connection: apsw.Connection) -> int | None:
    """None: the file is empty, or another process is about to fill it."""
    if not connection.execute("select 1 from sqlite_schema where name = 'meta'").fetchone():
        return None
    return single_integer(connection, "select value from meta where key = 'format_version'")


def _note_format(connection: apsw.Connection, version: int) -> None:
    connection.execute("insert or replace into meta values ('format_version', ?)", (str(version),))


def _newer(path: Path, found: int) -> LedgerError:
    return LedgerError(
        f"the ledger {path} has format {found}, and this hooklake knows {FORMAT_VERSION}; "
        "upgrade hooklake"
    )
