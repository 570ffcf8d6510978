"""What `refresh --watch` starts beside itself now and then: a compaction, as a process of its own.

It runs at low priority and apart, so that a refresh waits for no merge and its memory is given
back. It never outlives the watcher; killed anywhere it has changed everything or nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import Final

import apsw

from ingest.errors import HooklakeError
from ingest.ledger import open_read_only
from ingest.settings import Settings

NICENESS: Final = 10
SWEEP_SECONDS: Final = 600.0
ALWAYS_SECONDS: Final = 3600.0
PAUSE_SECONDS_MAX: Final = 3600.0
STOP_SECONDS_MAX: Final = 10.0


class Upkeep:
    """Call `look` often; it costs nothing until the interval is over."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = settings.compact_interval_seconds
        self._ran_at = float("-inf")
        self._next_look = time.monotonic() + self._pause

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def look(self) -> None:
        """Start a compaction where the interval is over and there is something to do."""
        now = time.monotonic()
        if not self._settings.compact_interval_seconds or now < self._next_look or self.is_running:
            return
        self._note_end()
        self._next_look = now + self._pause
        if self._has_work(now - self._ran_at):
            self._ran_at = now
            self._start()

    def stop(self) -> None:
        """End a compaction under way; the next one clears up."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _note_end(self) -> None:
        """One that failed has said why; ever longer pauses keep it from saying so every minute."""
        if self._process is None:
            return
        if self._process.returncode:
            self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        else:
            self._pause = self._settings.compact_interval_seconds
        self._process = None

    def _has_work(self, seconds_since: float) -> bool:
        from ingest.rewrites import replaced_before, unfinished
        from warehouse.compact import due

        if seconds_since >= ALWAYS_SECONDS:
            return True
        grace = self._settings.compact_grace_seconds
        try:
            with open_read_only(self._settings.paths.ledger) as connection:
                if due(connection, self._settings) or unfinished(connection):
                    return True
                before = int((time.time() - grace) * 1e6)
                return seconds_since >= SWEEP_SECONDS and bool(replaced_before(connection, before))
        except (HooklakeError, apsw.Error):
            return False  # no ledger yet, or one that a refresh will say more about

    def _start(self) -> None:
        command = ("compact", "--json", "--data-dir", str(self._settings.data_dir))
        with contextlib.suppress(OSError):  # no memory or process left: the next look tries again
            self._process = subprocess.Popen(
                [sys.executable, "-m", "warehouse.child", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # a Ctrl-C is for the watcher, which then ends it
            )
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
