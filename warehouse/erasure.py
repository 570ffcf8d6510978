"""Forgetting a person: what was asked for is in the ledger, and completed by whoever comes by.

pending     tombstones are laid: nothing new is kept. Next: land, find, rewrite lake files, and one
            transaction for the ledger's rows and the catalogue
rewritten   lake and ledger hold nothing any more. Next: a warehouse built anew from the lake; the
            older versions, the replaced files and what else tells of the person are deleted
scrubbing   the names are gone from the ledger. Next: VACUUM, an empty log, the certificate
done        only the tombstones and the certificate are left

Every step can be done again, so a process killed anywhere leaves work for the next: `forget`,
`refresh` (the watcher too) and `serve` at its start all take it up.

Source: quality.md, "Erasure of a person" and durability rule 6.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import apsw
import duckdb

from ingest import checklist
from ingest.catalogue import live_files
from ingest.errors import LedgerError, StorageError
from ingest.landing import land_all
from ingest.ledger import describe, open_ledger, transaction
from ingest.paths import DataDir, fsync_directory
from ingest.rewrites import remove_returned, undo_unfinished
from ingest.settings import Settings
from ingest.tombstones import Kind, lay
from warehouse import erase_files
from warehouse.certificate import certificate_of, write_certificate
from warehouse.erase_lake import remove_replaced, remove_strangers, rewrite, search
from warehouse.erase_ledger import Removed, remove, scrub
from warehouse.locks import held
from warehouse.person import Person, TooManyAccountsError, alone, known_as, lake_reader
from warehouse.publish import versions
from warehouse.state import remove_database

LANDING_WAIT_SECONDS_MAX: Final = 60.0
SHORT_WAIT_SECONDS_MAX: Final = 5.0
LONG_WAIT_SECONDS_MAX: Final = 900.0
_KINDS: Final[tuple[tuple[Kind, str], ...]] = (
    ("account", "accounts"),
    ("owner", "owners"),
    ("workspace", "workspaces"),
)


class ErasureError(StorageError):
    """The erasure is not complete; whatever runs next takes it up."""

    code = "erasure"


@dataclass
class Erasure:
    """One erasure. person: None once the names are gone. report: what is told of it so far."""

    erasure_id: str
    status: str
    requested_at: int
    person: Person | None
    report: dict[str, Any] = field(default_factory=dict)


def request(connection: apsw.Connection, person: Person, *, is_linked: bool) -> str:
    """Enter the erasure and lay its first tombstones: from now on nothing new is kept.

    is_linked: owner ids lead to further accounts. Returns the erasure's id.
    """
    now = time.time_ns() // 1_000
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now / 1e6))
    erasure_id = f"e-{stamp}-{uuid.uuid4().hex[:8]}"
    with transaction(connection):
        connection.execute(
            "insert into erasures (erasure_id, status, requested_at, subject, report)"
            " values (?, 'pending', ?, ?, ?)",
            (erasure_id, now, person.as_json(), json.dumps({"is_linked": is_linked})),
        )
        _lay_all(connection, erasure_id, person)
    return erasure_id


def unfinished(connection: apsw.Connection) -> list[Erasure]:
    """Erasures that are not done, the oldest first."""
    rows = connection.execute(
        "select erasure_id, status, requested_at, subject, report from erasures"
        " where status <> 'done' order by requested_at"
    ).fetchall()
    return [_erasure(row) for row in rows]


def report_of(connection: apsw.Connection, erasure_id: str) -> dict[str, Any]:
    """What is told of an erasure, with its status."""
    row = connection.execute(
        "select erasure_id, status, requested_at, subject, report from erasures"
        " where erasure_id = ?",
        (erasure_id,),
    ).fetchone()
    assert row is not None
    erasure = _erasure(row)
    return {"erasure_id": erasure.erasure_id, "status": erasure.status, **erasure.report}


@dataclass
class Work:
    """The erasures under way in this process, between the rewriting and the rest."""

    settings: Settings
    connection: apsw.Connection
    erasures: list[Erasure]

    @property
    def paths(self) -> DataDir:
        return self.settings.paths

    @property
    def needs_build(self) -> bool:
        """Whether anything was computed from what is gone now."""
        return any(erasure.status == "rewritten" for erasure in self.erasures)

    def clear_the_way(self) -> None:
        """Delete the refresh's working files, so that the next build starts from the lake alone.

        The caller holds the refresh lock.
        """
        for path in (self.paths.state, self.paths.serve):
            remove_database(path)
        shutil.rmtree(self.paths.root / "spill", ignore_errors=True)
        fsync_directory(self.paths.root)

    def complete(self, *, is_published: bool) -> None:
        """Delete what is left, and make sure of it. is_published: the current version is without.

        The caller holds the refresh lock. Raises: ErasureError, LedgerError.
        """
        try:
            dropped = _drop_versions(self.paths, keep_current=is_published)
            if not is_published:
                self.clear_the_way()
            remove_replaced(self.connection, self.paths)
            for erasure in self.erasures:
                if erasure.status == "rewritten":
                    self._forget_names(erasure, dropped)
            scrub(self.connection, self.paths)
            for erasure in self.erasures:
                write_certificate(self.paths, erasure.erasure_id, erasure.report)
                _close(self.connection, erasure)
        except apsw.Error as error:
            raise LedgerError(f"completing an erasure: {describe(error)}") from error
        except OSError as error:
            raise ErasureError(
                f"completing an erasure below {self.paths.root}: {error.strerror}; mend it, and"
                " `hooklake refresh` goes on"
            ) from error

    def _forget_names(self, erasure: Erasure, dropped: int) -> None:
        assert erasure.person is not None
        changed, left = erase_files.clean(self.paths, erasure.person.mentions)
        erasure.report |= {"versions_dropped": dropped, "other_files": changed, "left": left}
        erasure.report["certificate"] = certificate_of(
            self.connection,
            erasure.erasure_id,
            erasure.requested_at,
            erasure.person,
            erasure.report,
        )
        self.connection.execute("pragma secure_delete = on")
        with transaction(self.connection):
            self.connection.execute(
                "update erasures set status = 'scrubbing', subject = null, report = ?"
                " where erasure_id = ?",
                (json.dumps(erasure.report), erasure.erasure_id),
            )
        erasure.status, erasure.person = "scrubbing", None


@contextmanager
def under_way(settings: Settings, *, is_patient: bool) -> Iterator[Work | None]:
    """The unfinished erasures with lake and ledger done; None where there is nothing to do.

    is_patient: wait for a running backfill's end; otherwise it is left to a later call. Raises:
    ErasureError, LedgerError, LandingError.
    """
    paths = settings.paths
    if not paths.ledger.exists():
        yield None
        return
    connection = open_ledger(paths.ledger)
    try:
        if not unfinished(connection):
            yield None
            return
        with _writers_out(paths, is_patient=is_patient) as is_alone:
            if is_alone:
                _rewrite_all(settings, connection)
        if not is_alone and is_patient:
            raise ErasureError(
                f"erasing from {paths.root}: a backfill, a backup, a compaction or a landing has"
                " been going on for too long; nothing new is kept of the person, and the next"
                " `hooklake refresh` after its end erases the rest"
            )
        if not is_alone:
            yield None
            return
        yield Work(settings, connection, unfinished(connection))
    except apsw.Error as error:
        raise LedgerError(f"erasing from {paths.ledger}: {describe(error)}") from error
    finally:
        connection.close()


@contextmanager
def erased(work: Work | None) -> Iterator[None]:
    """Around a refresh that publishes without them: completes the erasures, also where it fails.

    A refresh that fails publishes nothing, and the versions before tell of the person: then there
    is no warehouse until one succeeds. The caller holds the refresh lock.
    """
    if work is None:
        yield
        return
    if work.needs_build:
        work.clear_the_way()
    try:
        yield
    except Exception:
        work.complete(is_published=not work.needs_build)
        raise
    work.complete(is_published=True)


@contextmanager
def _writers_out(paths: DataDir, *, is_patient: bool) -> Iterator[bool]:
    """Whether nobody else writes to the lake until the block ends: no backfill, compaction, backup
    or landing. Where there is one for long, False; is_patient: its end is waited for first.
    """
    wait = LONG_WAIT_SECONDS_MAX if is_patient else SHORT_WAIT_SECONDS_MAX
    with ExitStack() as stack:
        for lock in (paths.backfill_lock, paths.rewrite_lock, paths.backup_lock):
            if not stack.enter_context(held(lock, wait_seconds=wait)):
                yield False
                return
        yield stack.enter_context(held(paths.landing_lock, wait_seconds=LANDING_WAIT_SECONDS_MAX))


def _rewrite_all(settings: Settings, connection: apsw.Connection) -> None:
    undo_unfinished(connection, settings.paths)
    remove_returned(connection, settings.paths)
    for erasure in unfinished(connection):
        if erasure.status == "pending":
            land_all(connection, settings)
            _rewrite_one(settings, connection, erasure)


def _rewrite_one(settings: Settings, connection: apsw.Connection, erasure: Erasure) -> None:
    assert erasure.person is not None
    paths = settings.paths
    files = live_files(paths.ledger)
    try:
        with lake_reader(paths.lake, files) as reader:
            person = _known_now(erasure, reader, connection)
            with transaction(connection):
                _lay_all(connection, erasure.erasure_id, person)
            found = search(reader, str(paths.lake.resolve()), files, person)
    except duckdb.Error as error:
        raise ErasureError(
            f"searching the lake for a person failed ({type(error).__name__}); `hooklake doctor`"
            " says which file is damaged"
        ) from None
    _empty_staging(paths)
    remove_strangers(connection, paths, person)
    done = rewrite(connection, paths, found, person)
    checklist.remember(connection)

    def conclude(removed: Removed) -> None:
        erasure.report |= {
            "removed": {
                "events": removed.events,
                "duplicates": removed.duplicates,
                "quarantined": removed.quarantined + removed.replayed,
            },
            "redacted_rows": removed.redacted,
            "files": [
                {
                    "replaced": each.old.path,
                    "by": None if each.new is None else each.new.path,
                    "rows_before": each.old.rows,
                    "rows_after": 0 if each.new is None else each.new.rows,
                }
                for each in done
            ],
        }
        connection.execute(
            "update erasures set status = 'rewritten', subject = ?, report = ?"
            " where erasure_id = ?",
            (person.as_json(), json.dumps(erasure.report), erasure.erasure_id),
        )

    remove(connection, person, done, conclude)


def _known_now(
    erasure: Erasure, reader: duckdb.DuckDBPyConnection, connection: apsw.Connection
) -> Person:
    """As `forget` found them before it asked; an owner id that became everybody's is left out."""
    assert erasure.person is not None
    if erasure.report["is_linked"]:
        with contextlib.suppress(TooManyAccountsError):
            return known_as(erasure.person, reader, connection)
    return alone(erasure.person, reader, connection)


def _lay_all(connection: apsw.Connection, erasure_id: str, person: Person) -> None:
    for kind, names in _KINDS:
        lay(connection, erasure_id, kind, sorted(getattr(person, names)))


def _empty_staging(paths: DataDir) -> None:
    """Nobody writes now: what is there was left by a kill."""
    for path in (*paths.staging.glob("*"), *paths.root.glob(".dry-run-*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _drop_versions(paths: DataDir, *, keep_current: bool) -> int:
    """Delete published versions; how many. Readers that have one open keep it until they close."""
    current = paths.warehouse.resolve() if keep_current else None
    if not keep_current:
        paths.warehouse.unlink(missing_ok=True)
    dropped = 0
    for _, path in versions(paths):
        if current is None or path.resolve() != current:
            path.unlink(missing_ok=True)
            dropped += 1
    for left in paths.root.glob(".warehouse*.tmp"):
        left.unlink(missing_ok=True)
    fsync_directory(paths.root)
    return dropped


def _close(connection: apsw.Connection, erasure: Erasure) -> None:
    with transaction(connection):
        connection.execute(
            "update erasures set status = 'done', completed_at = ? where erasure_id = ?",
            (time.time_ns() // 1_000, erasure.erasure_id),
        )


def _erasure(row: Sequence[Any]) -> Erasure:
    erasure_id, status, requested_at, subject, report = row
    return Erasure(
        str(erasure_id),
        str(status),
        int(requested_at),
        None if subject is None else Person.of_json(str(subject)),
        json.loads(report or "{}"),
    )
