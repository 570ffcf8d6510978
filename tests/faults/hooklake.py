"""A hooklake of a fault run's own: any wrapper before the command, any place for its data."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ingest.settings import Settings, load_settings
from tests.e2e.installation import (
    HOOKLAKE,
    Installation,
    descendants,
    end_group,
    is_alive,
    wait_until,
)

END_SECONDS_MAX = 15.0
START_SECONDS_MAX = 30.0


@dataclass
class Besieged(Installation):
    """An installation whose processes run under `wrapper`, with `variables` in the environment."""

    wrapper: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"HOOKLAKE_LOG_LEVEL": "error"} | self.variables

    @property
    def settings(self) -> Settings:
        """As this process has to see them to sign, land and examine."""
        given = {
            name.removeprefix("HOOKLAKE_").lower(): value
            for name, value in self.environment.items()
            if name.startswith("HOOKLAKE_")
        }
        given.pop("data_dir")
        return load_settings(self.data_dir, **given)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.processes = [process for process in self.processes if process.poll() is None]
        self.hand_parse_on(arguments[0])
        with self.log_of(arguments[0]).open("ab") as log:
            process = subprocess.Popen(
                [*self.wrapper, str(HOOKLAKE), *arguments],
                cwd=self.logs,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Only what still runs: the id of what has ended may be another's by now."""
        self.processes = [process for process in self.processes if process.poll() is None]
        super().close()

    def kill(self, process: subprocess.Popen[bytes], *, orphans: bool = False) -> None:
        """SIGKILL it and wait until its children have gone by themselves; `orphans`: at once."""
        family = [process.pid, *descendants(process.pid)]
        if orphans:
            end_group(process)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait(END_SECONDS_MAX)
        wait_until(
            lambda: not any(map(is_alive, family)),
            seconds=END_SECONDS_MAX,
            what="the end of a killed process's children",
        )


@contextmanager
def besieged(
    *, data_dir: Path | None = None, wrapper: tuple[str, ...] = (), **settings: str
) -> Iterator[Besieged]:
    """An empty installation below the temporary directory, or at `data_dir`; gone afterwards."""
    variables = {f"HOOKLAKE_{name.upper()}": value for name, value in settings.items()}
    with working_folder() as folder:
        logs = folder / "logs"
        logs.mkdir()
        fresh = Besieged(
            data_dir or folder / "data",
            logs,
            port=port_to_knock_at(),
            wrapper=wrapper,
            variables=variables,
        )
        try:
            yield fresh
        finally:
            fresh.close()


def port_to_knock_at() -> int:
    """A free port that no connection is ever given as its own.

    Clients that knock at a closed port of the ephemeral range sooner or later connect to
    themselves, and then hold the very port the receiver wants to have back.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, low)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def working_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hooklake-faults-") as folder:
        yield Path(folder)
