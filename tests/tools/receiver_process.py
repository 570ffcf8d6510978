"""A real receiver in its own process, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from ingest.settings import Settings, load_settings

HOOKLAKE = Path(sys.executable).with_name("hooklake")


class Receiver:
    """`hooklake serve` on a data directory; it may be killed and started again on its port."""

    def __init__(self, data_dir: Path, port: int = 0, **settings: str) -> None:
        self.data_dir = data_dir
        self._environment = environment(**settings)
        self._log = data_dir.with_suffix(".log").open("ab")
        self.start(port)

    def start(self, port: int) -> None:
        self.process = subprocess.Popen(
            [HOOKLAKE, "serve", "--data-dir", self.data_dir, "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            text=True,
        )
        assert self.process.stdout
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/webhooks/uchat", line)
            if found:
                self.port = int(found[1])
                self._await_ready()
                return
        raise AssertionError(f"the receiver ended: {self.data_dir.with_suffix('.log').read_text()}")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError("the receiver is not ready after 10 s")

    @property
    def settings(self) -> Settings:
        return load_settings(self.data_dir, port=self.port)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._close()

    def stop(self) -> None:
        """A clean end: everything is landed and the exit status is 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0
        self._close()

    def _close(self) -> None:
        assert self.process.stdout
        self.process.stdout.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOOKLAKE_")}
    return kept | more
