"""Attacks on a real receiver: memory, disk, log and metrics stay bounded, others are answered.

The bound of 16 MiB is quality.md's; memory is the listening process's own (VmRSS).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from receiving import PATH, Receiver, registration, serving

pytestmark = [pytest.mark.slow, pytest.mark.alone]

GROWTH_MAX_BYTES = 16 * 1024 * 1024
MIB = 1024 * 1024


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver of its own that has seen traffic, so that what it needs anyway is in memory."""
    with serving(tmp_path) as running:
        for number in range(200):
            assert running.post(registration(f"warm{number}@example.com")).status == 200
        yield running


def disk(receiver: Receiver) -> int:
    return sum(path.stat().st_size for path in receiver.data_dir.rglob("*") if path.is_file())


@contextlib.contextmanager
def connections(receiver: Receiver, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", receiver.port), timeout=30))
            for _ in range(count)
        ]


def is_answered(receiver: Receiver, email: str) -> bool:
    return receiver.post(registration(email)).status == 200


def flood(opened: list[socket.socket], part: Callable[[int], bytes], rounds: int) -> None:
    """Send on every connection until its other end has had enough."""
    for number in range(rounds):
        for connection in opened:
            with contextlib.suppress(OSError):
                connection.sendall(part(number))


def test_900_silent_connections_cost_little_and_lock_nobody_out(receiver: Receiver) -> None:
    before = receiver.memory()
    with connections(receiver, 900):
        for number in range(20):
            assert is_answered(receiver, f"beside{number}@example.com")
        assert receiver.memory() - before <= GROWTH_MAX_BYTES


def test_endless_headers_cost_little(receiver: Receiver) -> None:
    before = receiver.memory()
    with connections(receiver, 50) as opened:
        flood(opened, lambda _: b"POST / HTTP/1.1\r\nHost: t\r\n", 1)
        flood(opened, lambda number: b"X-%d: %b\r\n" % (number, b"a" * 8000), 40)
        assert is_answered(receiver, "headers@example.com")
        assert receiver.memory() - before <= GROWTH_MAX_BYTES


def test_ten_declared_gigabytes_are_never_taken_in(receiver: Receiver) -> None:
    before = receiver.memory()
    head = b"POST %b HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000000\r\n\r\n" % PATH.encode()
    with connections(receiver, 8) as opened:
        flood(opened, lambda _: head, 1)
        flood(opened, lambda _: b"a" * MIB, 16)
        assert is_answered(receiver, "length@example.com")
        assert receiver.memory() - before <= GROWTH_MAX_BYTES


def test_a_flood_without_proof_grows_neither_disk_nor_log_nor_metrics(
    receiver: Receiver,
) -> None:
    assert receiver.post(b"{}", "/webhooks/uchat/wrong").status == 401
    assert receiver.get("/nowhere").status == 404
    series = len(receiver.get("/metrics").body.splitlines())
    disk_before, lines_before = disk(receiver), len(receiver.said().splitlines())
    for number in range(1_500):
        body = b'{"event":"user_registered","email":"%d@example.com"}' % number
        path = f"/webhooks/uchat/guess-{number}" if number % 2 else f"/random/{number}"
        assert receiver.post(body, path, {"X-Made-Up": str(number)}).status in (401, 404)
    assert len(receiver.get("/metrics").body.splitlines()) == series
    assert len(receiver.said().splitlines()) - lines_before <= 20  # two minutes may be touched
    assert disk(receiver) - disk_before <= MIB
    assert receiver.query("select count(*) from rejections")[0][0] <= 1_000
    assert receiver.counters()["deliveries"] == 200
