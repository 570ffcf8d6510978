"""Watch the catalogue and refresh on every change, at next to no cost while there is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Final

import apsw

from ingest.errors import HooklakeError
from ingest.ledger import open_read_only
from ingest.paths import DataDir

POLL_SECONDS: Final = 0.2
CLOCK_SECONDS: Final = 60.0
"""How often clock-dependent numbers are computed while somebody looks."""
VIEWING_SECONDS: Final = 45.0
"""A page touches `viewing` every 20 s; older than this, nobody looks."""
RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Pauses after the first, second, ... failure in a row."""


_EMPTY: Final[tuple[Any, ...]] = (None, 0)
"""Newest file_id and number of files: a ledger without files is no change from no ledger."""


class StoppedError(KeyboardInterrupt):
    """A signal gave up the build under way.

    dbt cancels its queries on a KeyboardInterrupt. Not that class itself: when one passes through
    exec() of a string, as dbt's imports do, CPython ends the process by SIGINT though it is caught.
    """


class Changes:
    """Whether there is anything new to refresh for, at the price of one pragma while there is not.

    Deliveries commit to the ledger far more often than files are landed: only when SQLite says the
    database changed is the catalogue itself looked at.
    """

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._stack = ExitStack()
        self._ledger: apsw.Connection | None = None
        self._data_version: int | None = None
        self._catalogue = _EMPTY

    def look(self) -> tuple[Any, ...]:
        """A value that differs from an earlier one when files or the plan catalogue changed."""
        return (self._files(), _modified(self._data.plan_prices))

    def close(self) -> None:
        self._stack.close()
        self._ledger = None

    def _files(self) -> tuple[Any, ...]:
        try:
            if self._ledger is None:
                if not self._data.ledger.exists():
                    return _EMPTY
                self._ledger = self._stack.enter_context(open_read_only(self._data.ledger))
                self._data_version = None
            version = self._ledger.pragma("data_version")
            if version != self._data_version:
                self._catalogue = self._ledger.execute(
                    "select max(file_id), count(*) from files where status = 'live'"
                ).fetchall()[0]
                self._data_version = version
        except (apsw.Error, HooklakeError):
            # Replaced or locked for a moment: open it again at the next look. What is really
            # wrong with a ledger is for the refresh itself to say.
            self._stack.close()
            self._stack = ExitStack()
            self._ledger = None
        return self._catalogue


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


class Watcher:
    """Calls `refresh(is_first)` on change until stopped.

    refresh: raises HooklakeError when it fails; is tried again with growing pauses. between: called
    between refreshes, several times a second.
    """

    def __init__(
        self,
        data: DataDir,
        refresh: Callable[[bool], object],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._data = data
        self._refresh = refresh
        self._between = between
        self._stop = threading.Event()
        self._is_building = False

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self, signum: int = 0, _frame: FrameType | None = None) -> None:
        """End now; a signal also gives up a build under way, which the next refresh does again."""
        self._stop.set()
        if self._is_building and signum:
            self._is_building = False
            raise StoppedError

    def run(self) -> None:
        """Refresh at once and then on every change; returns after `stop`."""
        changes = Changes(self._data)
        try:
            self._loop(changes)
        except StoppedError:
            self._stop.set()
        except RuntimeError:  # DuckDB, met amid a query, says "Query interrupted" in its place
            if not self._stop.is_set():
                raise
        finally:
            changes.close()

    def _loop(self, changes: Changes) -> None:
        seen: tuple[Any, ...] | None = None
        failures, next_try, refreshed_at = 0, 0.0, float("-inf")
        while not self._stop.is_set():
            found, now = changes.look(), time.monotonic()
            is_due = seen != found or (
                now - refreshed_at >= CLOCK_SECONDS and _is_viewed(self._data)
            )
            if is_due and now >= next_try:
                if self._attempt(is_first=seen is None):
                    seen, refreshed_at, failures = found, now, 0
                else:
                    pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                    failures, next_try = failures + 1, time.monotonic() + pause
            self._between()
            self._stop.wait(POLL_SECONDS)

    def _attempt(self, *, is_first: bool) -> bool:
        self._is_building = True
        try:
            self._refresh(is_first)
        except HooklakeError:
            return False
        finally:
            self._is_building = False
        return True


def _is_viewed(data: DataDir) -> bool:
    try:
        return time.time() - data.viewing.stat().st_mtime < VIEWING_SECONDS
    except FileNotFoundError:
        return False
