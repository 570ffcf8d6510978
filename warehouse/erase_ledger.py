"""A person's rows out of the ledger, in one transaction with the lake's new catalogue; then bytes.

SQLite keeps what was deleted in free pages, in the slack of others and in its log: only after
VACUUM and a truncated log is it gone from the files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import apsw

from ingest.errors import LedgerError
from ingest.ledger import INBOX_COLUMNS, LANDED_UNTIL, count, describe, single_integer, transaction
from ingest.paths import DataDir
from warehouse.erase_lake import Rewritten, enter, is_theirs_by_payload, redacted_row
from warehouse.person import IS_THEIRS, Person, name_in

TRUNCATE_SECONDS_MAX: Final = 60.0
TRUNCATE_POLL_SECONDS: Final = 0.05
_OWN_TABLES: Final = (
    "inbox",
    "erasures",
    "tombstones",
    "sequence",
    "counters",
    "files",
    "rewrites",
    "seen",
)
"""Tables that are handled by themselves, or hold nothing anybody sent."""


@dataclass(frozen=True)
class Removed:
    """Deliveries that are no more, by what they were; redacted: other people's rows changed."""

    events: int = 0
    duplicates: int = 0
    quarantined: int = 0
    replayed: int = 0
    redacted: int = 0

    @property
    def deliveries(self) -> int:
        """Those that row accounting counts as erased from now on."""
        return self.events + self.duplicates + self.quarantined


def remove(
    connection: apsw.Connection,
    person: Person,
    done: Sequence[Rewritten],
    conclude: Callable[[Removed], None],
) -> Removed:
    """Delete the person's rows, enter the rewritten lake files and count: all or nothing.

    conclude: called at the end, inside the transaction. The caller holds the landing lock and has
    landed all that was pending; what has arrived since is found in the inbox alone.
    """
    _prepare(connection, person)
    seen = _spoken_of(connection, person, 0)
    with transaction(connection):
        newest = seen.newest
        late = _spoken_of(connection, person, newest)
        theirs = [*seen.theirs, *late.theirs]
        connection.execute("delete from gone")
        connection.execute(f"insert into gone select seq, event_id from inbox where {IS_THEIRS}")
        connection.executemany(
            "insert or ignore into gone select seq, event_id from inbox where seq = ?",
            [(seq,) for seq in theirs],
        )
        waiting = single_integer(
            connection,
            f"select count(*) from gone where seq > {LANDED_UNTIL}",
        )
        duplicates = _delete(
            connection,
            "duplicates",
            "account_id in (select name from theirs where kind = 'accounts')"
            " or event_id in (select event_id from gone)",
        )
        quarantined, replayed = _empty_quarantine(connection)
        _delete(connection, "inbox", "seq in (select seq from gone)")
        redacted = _redact_inbox(connection, person, [*seen.others, *late.others])
        _redact_the_rest(connection)
        enter(connection, done)
        removed = Removed(
            events=sum(each.erased for each in done) + waiting,
            duplicates=duplicates,
            quarantined=quarantined,
            replayed=replayed,
            redacted=max(redacted, sum(each.redacted for each in done)),
        )
        count(
            connection,
            {
                "events": -removed.events,
                "duplicates": -removed.duplicates,
                "quarantined": -removed.quarantined,
                "erased": removed.deliveries,
            },
        )
        conclude(removed)
    return removed


def census(connection: apsw.Connection, person: Person) -> Removed:
    """What `remove` would find beside what is in the lake; changes nothing."""
    _prepare(connection, person)
    landed = single_integer(connection, f"select {LANDED_UNTIL}")
    spoken_of = _spoken_of(connection, person, landed)
    waiting = single_integer(
        connection, f"select count(*) from inbox where {IS_THEIRS} and seq > ?", (landed,)
    )
    duplicates = single_integer(
        connection,
        "select count(*) from duplicates where account_id in"
        " (select name from theirs where kind = 'accounts')"
        f" or event_id in (select event_id from inbox where {IS_THEIRS})",
    )
    rows: list[Any] = connection.execute(
        "select status, count(*) from quarantine where is_stated(body) group by status"
    ).fetchall()
    kept = {str(status): int(number) for status, number in rows}
    return Removed(
        events=waiting + len(spoken_of.theirs),
        duplicates=duplicates,
        quarantined=kept.get("open", 0),
        replayed=sum(kept.values()) - kept.get("open", 0),
        redacted=len(spoken_of.others),
    )


def scrub(connection: apsw.Connection, paths: DataDir) -> None:
    """Have no byte of a deleted row left in the ledger's files. Raises: LedgerError.

    VACUUM writes the ledger once more into its log; deliveries wait for it meanwhile, and are
    answered 503 where that takes longer than 5 s.
    """
    with _temporary_files_in(paths):
        connection.execute("pragma temp_store = file")
        connection.execute("vacuum")
        deadline = time.monotonic() + TRUNCATE_SECONDS_MAX
        while True:
            busy = single_integer(connection, "pragma wal_checkpoint(truncate)")
            if not busy:
                return
            if time.monotonic() > deadline:
                raise LedgerError(
                    "the ledger's log cannot be emptied: another program has been reading the"
                    f" ledger for over {TRUNCATE_SECONDS_MAX:.0f} s; end it, and `hooklake refresh`"
                    " completes the erasure"
                )
            time.sleep(TRUNCATE_POLL_SECONDS)


@dataclass(frozen=True)
class _SpokenOf:
    """Numbers of inbox rows that state nobody of `theirs` and yet speak of the person."""

    theirs: list[int]
    others: list[int]
    newest: int


def _spoken_of(connection: apsw.Connection, person: Person, after: int) -> _SpokenOf:
    rows: Any = connection.execute(
        "select seq, account_id, owner_id, payload from inbox where seq > ?"
        f" and not {IS_THEIRS} and (mentions(payload) or mentions(event_id)"
        " or mentions(delivery_id)) order by seq",
        (after,),
    )
    theirs: list[int] = []
    others: list[int] = []
    newest = after
    for seq, account_id, owner_id, payload in rows:
        is_theirs = is_theirs_by_payload(person, account_id, owner_id, payload)
        (theirs if is_theirs else others).append(int(seq))
    newest = max(newest, single_integer(connection, "select coalesce(max(seq), 0) from inbox"))
    return _SpokenOf(theirs, others, newest)


def _prepare(connection: apsw.Connection, person: Person) -> None:
    """The person's names, and functions over texts, for this connection alone."""
    mentions = person.mentions

    def is_spoken_of(*values: Any) -> bool:
        (value,) = values
        if isinstance(value, bytes):
            return mentions.found_in_bytes(value)
        return isinstance(value, str) and mentions.found(value)

    def redacted(*values: Any) -> str | bytes:
        (value,) = values
        if isinstance(value, bytes):
            return mentions.redacted_bytes(value)
        return mentions.redacted(value)

    def is_stated(*bodies: Any) -> bool:
        return person.is_stated(bytes(bodies[0]))

    connection.create_scalar_function("mentions", is_spoken_of, 1)
    connection.create_scalar_function("redacted", redacted, 1)
    connection.create_scalar_function("is_stated", is_stated, 1)
    connection.execute("pragma secure_delete = on")
    connection.execute(
        "create temp table if not exists gone (seq integer primary key, event_id text)"
    )
    name_in(connection, person)


def _empty_quarantine(connection: apsw.Connection) -> tuple[int, int]:
    """Delete the person's; how many were open, and how many had been replayed."""
    connection.execute(
        "delete from quarantine where status <> 'open' and (replayed_seq in (select seq from gone)"
        " or is_stated(body))"
    )
    replayed = connection.changes()
    return _delete(connection, "quarantine", "is_stated(body)"), replayed


def _redact_inbox(connection: apsw.Connection, person: Person, numbers: Sequence[int]) -> int:
    names = [name for name in INBOX_COLUMNS if name not in ("seq", "digest")]
    for seq in numbers:
        row = connection.execute(
            f"select {', '.join(names)} from inbox where seq = ?", (seq,)
        ).fetchone()
        if row is None:
            continue
        changed = redacted_row(person, dict(zip(names, row, strict=True)) | {"seq": seq})
        connection.execute(
            f"update inbox set {', '.join(f'{name} = ?' for name in names)} where seq = ?",
            (*(changed[name] for name in names), seq),
        )
    return len(numbers)


def _redact_the_rest(connection: apsw.Connection) -> None:
    """Every other text of every other table: file names of backfills, reasons, unknown fields."""
    tables = connection.execute(
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
    ).fetchall()
    for (table,) in tables:
        if table in _OWN_TABLES:
            continue
        for _, column, kind, *_ in connection.execute(f"pragma table_info({table})").fetchall():
            if str(kind).lower() in ("text", "blob"):
                connection.execute(
                    f"update or replace {table} set {column} = redacted({column})"
                    f" where mentions({column})"
                )


def _delete(connection: apsw.Connection, table: str, condition: str) -> int:
    connection.execute(f"delete from {table} where {condition}")
    return connection.changes()


@contextmanager
def _temporary_files_in(paths: DataDir) -> Iterator[None]:
    """SQLite's own temporary files, which have no name from the start, on the ledger's disk."""
    before = os.environ.get("SQLITE_TMPDIR")
    os.environ["SQLITE_TMPDIR"] = str(paths.root.resolve())
    try:
        yield
    except apsw.Error as error:
        raise LedgerError(f"vacuuming the ledger {paths.ledger}: {describe(error)}") from error
    finally:
        if before is None:
            del os.environ["SQLITE_TMPDIR"]
        else:
            os.environ["SQLITE_TMPDIR"] = before
