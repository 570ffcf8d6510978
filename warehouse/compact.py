"""`hooklake compact`: small lake files into large ones, unnoticed by whoever reads.

choose (tiers.py) -> write one file of many in the staging folder, synced, proved equal (merge.py)
-> under the landing lock: name it in the ledger, rename it into the lake, swap the catalogue in
one transaction (ingest/rewrites.py) -> let go of what is too old (retention.py) -> remove replaced
files when their time has come (sweep.py)

Landing waits for a rename and two transactions, never for the writing. Killed anywhere, readers
have the old files or the new one; the next run clears up. No event changes: a refresh afterwards
reads no row again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import apsw
import duckdb
from rich.console import Console

from ingest.catalogue import LakeFile, live_files
from ingest.errors import DiskFullError, HooklakeError, LedgerError, RefusedError, StorageError
from ingest.ledger import describe, open_ledger
from ingest.paths import (
    DataDir,
    ensure_directory_durably,
    fsync_directory,
    keep_files_private,
    write_file_durably,
)
from ingest.rewrites import begin, swap, undo_unfinished
from ingest.settings import Settings
from ingest.upkeep_status import CompactionStatus, as_json, read_compaction_status
from ingest.wording import number_of
from warehouse.locks import held
from warehouse.merge import UNFINISHED, MergeError, write_merged
from warehouse.retention import prune
from warehouse.sweep import sweep
from warehouse.tiers import Candidate, Merge, choose

LANDING_WAIT_SECONDS_MAX: Final = 30.0
FREE_SPACE_FACTOR: Final = 2


class CompactionRunningError(RefusedError):
    code = "compaction_running"


@dataclass
class Report:
    """merged: input files; written: files made of them; removed: files gone from the disk; pruned:
    what was older than the settings say (retention.py); skipped: why files were left as they are.
    """

    merged: int = 0
    written: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    removed: int = 0
    pruned: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)


def run(settings: Settings, *, full: bool = False, as_json: bool = False) -> int:
    """Compact once and print the report; 1 where a damaged file had to be left out.

    Raises: UsageError, CompactionRunningError, DiskFullError, StorageError.
    """
    keep_files_private()
    settings.paths.must_exist()
    report = compact(settings, everything=full)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        for text in report.skipped:  # a watcher hears of it this way
            sys.stderr.write(f"warning: {text}\n")
        return int(bool(report.skipped))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{number_of(report.merged, 'file')} merged into {report.written:,}, "
        f"{number_of(report.rows, 'event')}, "
        f"{report.bytes_before / 1e6:,.1f} MB -> {report.bytes_after / 1e6:,.1f} MB, "
        f"{number_of(report.removed, 'old file')} removed, {report.seconds:.1f} s"
    )
    gone = ", ".join(f"{number} {name}" for name, number in report.pruned.items() if number)
    if gone:
        console.print(f"past their time: {gone}")
    for text in report.skipped:
        console.print(f"warning: {text}")
    return int(bool(report.skipped))


def compact(settings: Settings, *, everything: bool = False) -> Report:
    """Merge what is due (or `everything` that may still grow), then prune and sweep.

    Raises: CompactionRunningError, DiskFullError, StorageError.
    """
    began = time.monotonic()
    paths, report = settings.paths, Report()
    if not paths.ledger.exists():
        return report
    with held(paths.rewrite_lock) as is_alone:
        if not is_alone:
            raise CompactionRunningError(
                f"lake files of {paths.root} are being rewritten by another process; wait for it"
            )
        try:
            _compact(settings, report, everything=everything)
        except HooklakeError as error:
            _leave_word(paths, report, began, str(error))
            raise
        _leave_word(paths, report, began, "; ".join(report.skipped) or None)
    return report


def _compact(settings: Settings, report: Report, *, everything: bool) -> None:
    paths = settings.paths
    connection = open_ledger(paths.ledger)
    try:
        clear_up(connection, paths)
        _merge_all(connection, settings, report, everything=everything)
        report.pruned = prune(connection, settings)
        report.removed = sweep(connection, paths, grace_seconds=settings.compact_grace_seconds)
    except apsw.Error as error:
        raise LedgerError(f"compacting {paths.lake}: {describe(error)}") from error
    except (OSError, duckdb.Error) as error:
        raise StorageError(
            f"compacting {paths.lake}: {error}; nothing is lost, run it again"
        ) from error
    finally:
        connection.close()


def _leave_word(paths: DataDir, report: Report, began: float, error: str | None) -> None:
    """Note in compaction.json what was done, or why not; a disk that refuses even this has told."""
    report.seconds = round(time.monotonic() - began, 3)
    now = time.time()
    before = read_compaction_status(paths.compaction_status)
    succeeded_at = None if before is None else before.succeeded_at
    with contextlib.suppress(OSError, HooklakeError):
        files = live_files(paths.ledger)
        status = CompactionStatus(
            at=now,
            succeeded_at=now if error is None else succeeded_at,
            seconds=report.seconds,
            merged=report.merged,
            written=report.written,
            removed=report.removed,
            files=len(files),
            bytes=sum(file.bytes for file in files),
            error=error,
        )
        write_file_durably(paths.compaction_status, as_json(status))


def due(
    connection: apsw.Connection, settings: Settings, *, everything: bool = False
) -> list[Merge]:
    """The merges that are due now."""
    rows = connection.execute(
        "select file_id, path, event_type, event_month, node, first_seq, last_seq, rows, bytes,"
        " sha256, batch_id, added_at from files where status = 'live'"
    )
    return choose(
        (Candidate(LakeFile(*row[:-1]), int(row[-1])) for row in rows),
        now=time.time_ns() // 1_000,
        bytes_max=settings.compact_file_bytes_max,
        everything=everything,
    )


def clear_up(connection: apsw.Connection, paths: DataDir) -> None:
    """Remove what a killed compaction has left. The caller holds the rewrite lock."""
    with _landing(paths):
        undo_unfinished(connection, paths)
    for left in paths.staging.glob(f"*{UNFINISHED}"):
        left.unlink()


def _merge_all(
    connection: apsw.Connection, settings: Settings, report: Report, *, everything: bool
) -> None:
    """Until nothing is due: a merged file may make the next merge due."""
    damaged: set[int] = set()
    while True:
        merges = [
            merge
            for merge in due(connection, settings, everything=everything)
            if damaged.isdisjoint(file.file_id for file in merge.files)
        ]
        if not merges:
            return
        for merge in merges:
            _check_room(settings, merge)
            try:
                size = merge_one(connection, settings.paths, merge)
            except MergeError as error:
                damaged |= {file.file_id for file in merge.files}
                report.skipped.append(str(error))
                continue
            report.merged += len(merge.files)
            report.written += 1
            report.rows += merge.rows
            report.bytes_before += merge.bytes
            report.bytes_after += size


def merge_one(
    connection: apsw.Connection,
    paths: DataDir,
    merge: Merge,
    tell: Callable[[Path], None] = lambda _: None,
) -> int:
    """Write one merge and swap it in; the new file's bytes. The caller holds the rewrite lock.

    Raises: MergeError, StorageError (ReplacedMeanwhileError among them); all stays as it was then.
    """
    ensure_directory_durably(paths.staging, below=paths.staging)
    temporary = paths.staging / f"{Path(merge.path).name}{UNFINISHED}"
    try:
        temporary, written = write_merged(paths, merge)
        tell(temporary)
        with _landing(paths):
            begin(connection, written.path)
            try:
                target = paths.lake / written.path
                temporary.rename(target)
                fsync_directory(target.parent)
                swap(
                    connection,
                    [file.file_id for file in merge.files],
                    written,
                    batch_id=merge.files[0].batch_id,
                )
            except BaseException:
                with contextlib.suppress(apsw.Error, OSError):  # else the next run does it
                    undo_unfinished(connection, paths)
                raise
    finally:
        temporary.unlink(missing_ok=True)
    return written.bytes


@contextlib.contextmanager
def _landing(paths: DataDir) -> Iterator[None]:
    """Hold the landing lock. Raises: StorageError where landing does not end for long."""
    with held(paths.landing_lock, wait_seconds=LANDING_WAIT_SECONDS_MAX) as is_held:
        if not is_held:
            raise StorageError(
                f"compacting {paths.lake}: events have been landing for over "
                f"{LANDING_WAIT_SECONDS_MAX:.0f} s; compact again later"
            )
        yield


def _check_room(settings: Settings, merge: Merge) -> None:
    """Raises: DiskFullError where compaction must stop so that the receiver can go on."""
    wanted = FREE_SPACE_FACTOR * settings.free_bytes_min + 2 * merge.bytes
    free = shutil.disk_usage(settings.data_dir).free
    if free < wanted:
        raise DiskFullError(
            f"compacting {settings.paths.lake}: {free >> 20} MiB are free and {wanted >> 20} MiB "
            "are wanted; free some space and the next compaction goes on"
        )
