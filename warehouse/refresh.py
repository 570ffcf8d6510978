"""`hooklake refresh`: once, or with --watch on every change, one refresher at a time.

Idle, a watcher costs a look at SQLite's data_version four times a second. It wakes for new files in
the catalogue, for an edited plan catalogue, and once a minute while an open page touches `viewing`;
whatever arrives while a refresh runs goes into the next one. A failed refresh is reported in
refresh.json, leaves the last good version published, and is tried again with growing pauses.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw
import duckdb
from rich.console import Console

from ingest.catalogue import live_files
from ingest.errors import DiskFullError, HooklakeError, UsageError
from ingest.paths import DataDir, keep_files_private, write_file_durably
from ingest.settings import Settings
from ingest.wording import number_of
from warehouse.build import Report, Stopwatch, Wanted, build
from warehouse.erasure import erased, under_way
from warehouse.publish import versions
from warehouse.restore_mark import remove_mark
from warehouse.transform import Transformer
from warehouse.upkeep import Upkeep
from warehouse.watch import Watcher

LOCK_SECONDS_MAX: Final = 900.0


class RefreshError(HooklakeError):
    """The refresh failed; the last good version stays published."""

    code = "refresh"
    is_retryable = True


def run(
    settings: Settings,
    watch: bool = False,
    full: bool = False,
    as_of: datetime | None = None,
    as_json: bool = False,
) -> int:
    """Refresh once, or until told to stop; the exit code.

    Raises: HooklakeError when a single refresh fails, or a second watcher is started.
    """
    keep_files_private()
    paths = settings.paths.ensure() if as_json else settings.paths.ensure_telling()
    paths.must_be_whole()
    if watch and as_of is not None:
        raise UsageError("--watch shows the present: leave out --as-of, or refresh once with it")
    console = Console(soft_wrap=True, highlight=False)
    refresher = Refresher(settings, _teller(console, as_json=as_json))
    if watch:
        return _watch(refresher, console, full=full, as_json=as_json)
    refresher.refresh(Wanted(full=full, as_of=as_of), land=True)
    remove_mark(settings.paths)
    return 0


def _teller(console: Console, *, as_json: bool) -> Callable[[Report], None]:
    def tell(report: Report) -> None:
        if as_json:
            told = asdict(report) | {
                "path": str(report.path),
                "as_of": _rfc3339(report.as_of),
                "seconds": round(report.seconds, 3),
            }
            console.out(json.dumps(told), highlight=False)
            return
        whose = "all accounts" if report.accounts is None else number_of(report.accounts, "account")
        console.print(
            f"version {report.version}: {report.rows:,} new of "
            f"{number_of(report.events, 'event')}, {whose}, "
            f"{report.seconds:.2f} s",
            markup=False,
        )
        for warning in report.warnings:
            console.print(f"warning: {warning}", markup=False)

    return tell


@dataclass
class Refresher:
    """Refreshes of one data directory in this process; keeps the parsed models between them."""

    settings: Settings
    tell: Callable[[Report], None]
    transformer: Transformer = field(init=False)

    def __post_init__(self) -> None:
        self.data: DataDir = self.settings.paths
        self.transformer = Transformer(self.data.root.resolve() / "dbt")

    def refresh(self, wanted: Wanted, *, land: bool, is_patient: bool = False) -> Report:
        """Refresh once and leave the outcome in refresh.json; first complete what was to be erased.

        land: first land what no running receiver holds. is_patient: an erasure waits for a running
        backfill. Raises: HooklakeError.
        """
        watch = Stopwatch()
        attempted_at = datetime.now(UTC)
        try:
            with (
                under_way(self.settings, is_patient=is_patient) as erasing,
                _only_one(self.data),
                erased(erasing),
            ):
                if erasing is not None and erasing.needs_build:
                    wanted = replace(wanted, full=True)
                if land:
                    watch.begin("landing")
                    self._land()
                self._check_room()
                report = build(
                    self.data, live_files(self.data.ledger), self.transformer, wanted, watch
                )
        except (HooklakeError, duckdb.Error, apsw.Error, OSError) as error:
            failure = _named(error, watch.stage)
            self._leave_status(attempted_at, watch, None, str(failure))
            raise failure from error
        self._leave_status(attempted_at, watch, report, None)
        self.tell(report)
        return report

    def _land(self) -> None:
        from ingest.landing import land_now

        land_now(self.settings)

    def _check_room(self) -> None:
        """A refresh stops before intake has to: it doubles the tables for a moment."""
        status = os.statvfs(self.data.root)
        free = status.f_bavail * status.f_frsize
        serve = self.data.serve.stat().st_size if self.data.serve.exists() else 0
        wanted = 2 * self.settings.free_bytes_min + 2 * serve
        if free < wanted:
            raise DiskFullError(
                f"refreshing {self.data.root}: {free >> 20} MiB are free and {wanted >> 20} MiB "
                "are wanted; free some space and the next refresh goes on"
            )

    def _leave_status(
        self, attempted_at: datetime, watch: Stopwatch, report: Report | None, error: str | None
    ) -> None:
        newest = versions(self.data)
        status = {
            "ok": report is not None,
            "attempted_at": _rfc3339(attempted_at),
            "version": report.version if report else (newest[0][0] if newest else None),
            "seconds": round(watch.total, 3),
            "stage": watch.stage,
            "error": error,
            "warnings": list(report.warnings) if report else [],
        }
        try:
            write_file_durably(self.data.refresh_status, json.dumps(status).encode())
        except OSError:
            if report is not None:
                raise  # a failed refresh on a full disk is told by the exception under way


def _named(error: Exception, stage: str) -> HooklakeError:
    if isinstance(error, HooklakeError):
        return error
    advice = (
        "Run it as the user whose data directory it is"
        if "permission denied" in str(error).lower()
        else "Try again, and if it persists `hooklake refresh --full`"
    )
    return RefreshError(
        f"refreshing failed at stage {stage!r}: {error}; the last good version stays. {advice}"
    )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def _only_one(data: DataDir) -> Iterator[None]:
    """Hold the refresh lock; the kernel frees it when the process dies, however it does.

    Raises: RefreshError when another refresh has not ended after LOCK_SECONDS_MAX.
    """
    with _opened(data.refresh_lock) as descriptor:
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        has_told = False
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise RefreshError(
                    f"another refresh of {data.root} has been running for over "
                    f"{LOCK_SECONDS_MAX / 60:.0f} minutes; stop it or wait, then refresh again"
                )
            if not has_told:
                has_told = True
                Console(stderr=True).print(
                    f"another refresh of {data.root} is running; waiting for it", markup=False
                )
            time.sleep(0.05)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _watch(refresher: Refresher, console: Console, *, full: bool, as_json: bool) -> int:
    errors = Console(stderr=True, soft_wrap=True, highlight=False)

    def refresh(is_first: bool) -> None:
        try:
            wanted = Wanted(full=full and is_first, rehearse=is_first)
            refresher.refresh(wanted, land=is_first)
            remove_mark(refresher.data)
        except HooklakeError as error:
            if not watcher.is_stopping:
                errors.print(f"error: {error}", markup=False)
            raise

    upkeep = Upkeep(refresher.settings)
    watcher = Watcher(refresher.data, refresh, upkeep.look)
    with _opened(refresher.data.root / "watch.lock") as descriptor:
        if not _try_lock(descriptor):
            raise RefreshError(
                f"another `hooklake refresh --watch` looks after {refresher.data.root} already"
            )
        before = {
            number: signal.signal(number, watcher.stop)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        if not as_json:
            console.print(f"watching {refresher.data.root}; Ctrl-C ends it", markup=False)
        try:
            watcher.run()
        finally:
            upkeep.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
    return 0
