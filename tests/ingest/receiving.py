"""A real receiver of a test's own: its process, its data directory, raw sockets, its ledger."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
from standardwebhooks.webhooks import Webhook

from tests.e2e.installation import runs, wait_until

HOOKLAKE = Path(sys.executable).with_name("hooklake")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "token-of-the-ingest-tests"
PATH = f"/webhooks/uchat/{TOKEN}"
START_SECONDS_MAX = 20.0
STOP_SECONDS_MAX = 10.0  # the agreed bound from SIGTERM to exit


def registration(email: str, **fields: Any) -> bytes:
    """A body that the contract takes."""
    return json.dumps({"event": "user_registered", "data": {"email": email, **fields}}).encode()


def sign(body: bytes, *, message_id: str | None = None, secret: str = SECRET) -> dict[str, str]:
    """Standard Webhooks headers, made by that project's own library and not by ours."""
    name, now = message_id or f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, now, body.decode()),
    }


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A running `hooklake serve`."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path
    port: int

    def post(self, body: bytes, path: str = PATH, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("POST", path, body, headers)

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    @contextlib.contextmanager
    def socket(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as opened:
            yield opened

    def send(self, request: bytes) -> bytes:
        """All that comes back for raw bytes, until the receiver closes."""
        with self.socket() as opened:
            opened.sendall(request)
            return read_until_closed(opened)

    def query(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of the ledger, asked beside the running receiver."""
        connection = apsw.Connection(str(self.data_dir / "ledger.sqlite"))
        try:
            connection.set_busy_timeout(5000)
            return list(connection.execute(question))
        finally:
            connection.close()

    def counters(self) -> dict[str, int]:
        return dict(self.query("select name, value from counters"))

    def metric(self, sample: str) -> float:
        """The value of one sample such as `hooklake_refused_total{reason="method"}`; 0 unseen."""
        for line in self.get("/metrics").body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def memory(self) -> int:
        """Bytes of the listening process alone (VmRSS)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS_MAX)


def read_until_closed(opened: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := opened.recv(65536):
            parts.append(part)
    return b"".join(parts)


def environment(**settings: str) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("HOOKLAKE_")
    }
    given = {"secrets": SECRET, "tokens": TOKEN, **settings}
    return inherited | {f"HOOKLAKE_{name.upper()}": value for name, value in given.items()}


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    data_dir: Path | None = None,
    arguments: tuple[str, ...] = (),
    stderr: int = subprocess.STDOUT,
    **settings: str,
) -> Iterator[Receiver]:
    """A receiver on a port of its own; it and its children are gone afterwards."""
    place = data_dir or folder / "data"
    log = folder / f"serve-{uuid.uuid4().hex[:8]}.log"
    command = [str(HOOKLAKE), "serve", "--data-dir", str(place), "--port", "0", *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        receiver = Receiver(process, place, log, 0)
        found = wait_until(
            lambda: _port(process, log), seconds=START_SECONDS_MAX, what="a receiver that started"
        )
        assert found is not None
        receiver.port = found
        yield receiver
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS_MAX)


def _port(process: subprocess.Popen[bytes], log: Path) -> int | None:
    """The port, once a request on it has been answered."""
    said = log.read_text("utf-8", "replace")
    assert process.poll() is None, f"it ended with {process.returncode}: {said}"
    found = re.search(r"receives at http://127\.0\.0\.1:(\d+)/", said)
    if not found:
        return None
    port = int(found[1])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as opened:
            opened.sendall(b"GET /readyz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            answered = read_until_closed(opened).startswith(b"HTTP/1.1 200")
    except (ConnectionRefusedError, TimeoutError):  # on a busy machine it listens before it answers
        return None
    return port if answered else None


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def children(pid: int, module: str = "") -> list[int]:
    """The processes that `pid` has started; only those that run `module`, where one is named."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return [child for child in found if not module or runs(child, module)]
