"""The landing process as its parent sees it: started, watched, restarted, drained."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from typing import Final

from ingest.children import start_deaf
from ingest.logs import log
from ingest.settings import Settings

LANDER_DRAIN_SECONDS_MAX: Final = 4.0
LANDER_RESTART_SECONDS: Final = 1.0


class Lander:
    """The landing process; its standard input is the string it hangs on."""

    def __init__(self, settings: Settings) -> None:
        given = {
            "data_dir": str(settings.data_dir),
            "land_interval_seconds": settings.land_interval_seconds,
            "land_rows_max": settings.land_rows_max,
            "log_level": settings.log_level,
        }
        self._command = [sys.executable, "-m", "ingest.landing", json.dumps(given)]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        self._started_at = time.monotonic()
        self._process = start_deaf(self._command, stdin=subprocess.PIPE)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_running(self) -> None:
        """Start it again where it has ended, at most once a second."""
        now = time.monotonic()
        if self.is_running() or now - self._started_at < LANDER_RESTART_SECONDS:
            return
        log("receiver").error("landing_process_ended", next="starting it again")
        try:
            self.start()
        except OSError as error:  # no memory or process left
            log("receiver").error("landing_process_not_started", error=error.strerror)

    def drain(self) -> None:
        """Have the rest landed and the process end; where that takes too long it is stopped."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            is_done = process.wait(LANDER_DRAIN_SECONDS_MAX) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            is_done = False
        if not is_done:
            log("receiver").warning(
                "landing_unfinished", next="the next start or refresh lands the rest"
            )
