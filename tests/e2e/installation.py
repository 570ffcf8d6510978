"""One hooklake of a test's own: a data directory, free ports, real processes, signed deliveries."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import duckdb
import httpx
from standardwebhooks.webhooks import Webhook

HOOKLAKE = Path(sys.executable).with_name("hooklake")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
TOKEN = "a-token-of-the-end-to-end-tests"
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
COMMAND_SECONDS_MAX = 120.0

Result = TypeVar("Result")


def wait_until(
    condition: Callable[[], Result], *, seconds: float, what: str, every: float = 0.02
) -> Result:
    """The first truthy value of `condition`; an AssertionError saying `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, children before grandchildren; a thread may end meanwhile."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in task.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def runs(pid: int, module: str) -> bool:
    """Whether the process was started as `python -m module`."""
    try:
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def sign(body: bytes, *, secret: str = SECRET, at: datetime | None = None, id: str | None = None):
    """Standard Webhooks headers, made by that project's own library and not by ours."""
    message_id = id or f"msg_{uuid.uuid4().hex}"
    moment = at or datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, moment, body.decode()),
    }


@dataclass
class Installation:
    """Paths, ports and environment of one installation, and the processes a test starts on it."""

    data_dir: Path
    logs: Path
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    credentials: dict[str, str] = field(
        default_factory=lambda: {"HOOKLAKE_SECRETS": SECRET, "HOOKLAKE_TOKENS": TOKEN}
    )
    parse: ClassVar[bytes] = b""
    """dbt's partial parse of the first refresh that ended well, which later installations begin
    with: reading the models takes most of a first refresh, and they are the same."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook_url(self) -> str:
        return f"{self.url}/webhooks/uchat"

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("HOOKLAKE_")
        }
        return inherited | {
            "HOOKLAKE_DATA_DIR": str(self.data_dir),
            "HOOKLAKE_PORT": str(self.port),
            "HOOKLAKE_DASHBOARD_PORT": str(self.dashboard_port),
            **self.credentials,
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `hooklake <arguments>` in a process group of its own, its output in a file."""
        self.hand_parse_on(arguments[0])
        with self.log_of(arguments[0]).open("ab") as log:
            process = subprocess.Popen(
                [HOOKLAKE, *arguments],
                cwd=self.logs,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_receiver(self) -> subprocess.Popen[bytes]:
        """A receiver that can durably write by the time this returns."""
        process = self.start("serve")
        self.wait_for(f"{self.url}/readyz", process, "serve")
        return process

    def start_dashboard(self) -> subprocess.Popen[bytes]:
        process = self.start("dashboard")
        self.wait_for(f"{self.dashboard_url}/_stcore/health", process, "dashboard")
        return process

    def wait_for(self, url: str, process: subprocess.Popen[bytes], name: str) -> None:
        def answers() -> bool:
            assert process.poll() is None, f"{name} ended early:\n{self.said(name)}"
            try:
                return httpx.get(url, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, seconds=START_SECONDS_MAX, what=f"200 from {url}")

    def command(
        self, *arguments: str, expect: int = 0, seconds: float = COMMAND_SECONDS_MAX
    ) -> str:
        """Standard output of `hooklake <arguments>`, which must exit with `expect`."""
        self.hand_parse_on(arguments[0])
        done = subprocess.run(
            [HOOKLAKE, *arguments],
            cwd=self.logs,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == expect, f"{arguments}: {done.stdout}{done.stderr}"
        if arguments[0] == "refresh" and expect == 0 and self._parsed.exists():
            Installation.parse = self._parsed.read_bytes()
        return done.stdout

    @property
    def _parsed(self) -> Path:
        return self.data_dir / "dbt" / "target" / "partial_parse.msgpack"

    def hand_parse_on(self, command: str) -> None:
        """Before a refresh: what an earlier installation's refresh has read."""
        if command == "refresh" and self.parse and not self._parsed.exists():
            for folder in (self.data_dir, *reversed(self._parsed.parents[:2])):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._parsed.touch(mode=0o600)
            self._parsed.write_bytes(self.parse)

    def query(self, question: str) -> list[dict[str, Any]]:
        """Rows of the newest published version, read as any DuckDB client does."""
        newest = (self.data_dir / "warehouse.duckdb").resolve()
        with duckdb.connect(newest, read_only=True) as connection:
            found = connection.execute(question)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def deliver(self, event: dict[str, Any] | bytes, **signing: Any) -> httpx.Response:
        """The receiver's answer to one signed delivery."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return httpx.post(
            self.webhook_url, content=body, headers=sign(body, **signing), trust_env=False
        )

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def said(self, name: str) -> str:
        return self.log_of(name).read_text("utf-8", "replace")

    def stop(self, process: subprocess.Popen[bytes], by: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code after the signal; everything of its group is gone then."""
        process.send_signal(by)
        code = process.wait(STOP_SECONDS_MAX)
        end_group(process)
        return code

    def close(self) -> None:
        for process in self.processes:
            end_group(process)
            process.wait(STOP_SECONDS_MAX)


def end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An empty installation; whatever was started on it is gone afterwards."""
    logs = tmp_path / "logs"
    logs.mkdir()
    fresh = Installation(tmp_path / "data", logs)
    try:
        yield fresh
    finally:
        fresh.close()
