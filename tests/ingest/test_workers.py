"""Several workers: one port, one ledger, one set of metrics, and nobody left of a dead parent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from receiving import Receiver, children, is_alive, registration, serving, wait_until

from ingest.ledger import open_read_only, read_counters, single_integer

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with serving(tmp_path, workers="2") as running:
        yield running


def workers(receiver: Receiver) -> set[int]:
    return set(children(receiver.process.pid, "ingest.worker"))


def send(receiver: Receiver, count: int, prefix: str) -> list[int]:
    with ThreadPoolExecutor(8) as pool:
        emails = [f"{prefix}{number}@example.com" for number in range(count)]
        return list(pool.map(lambda email: receiver.post(registration(email)).status, emails))


def test_workers_share_the_port_and_the_ledger_without_losing_or_doubling(
    receiver: Receiver,
) -> None:
    assert send(receiver, 200, "a") == [200] * 200
    with open_read_only(receiver.data_dir / "ledger.sqlite") as connection:
        assert read_counters(connection)["events"] == 200
        assert single_integer(connection, "select count(distinct seq) from inbox") == 200
        assert single_integer(connection, "select max(seq) from inbox") == 200


def test_the_metrics_of_all_workers_are_told_by_any(receiver: Receiver) -> None:
    send(receiver, 60, "m")
    accepted = 'hooklake_deliveries_total{event_type="user_registered",verdict="accepted"} 60.0'
    for _ in range(4):
        assert accepted in receiver.get("/metrics").body.decode()


def test_a_killed_worker_is_replaced_and_what_it_acknowledged_is_there(
    receiver: Receiver,
) -> None:
    first = workers(receiver)
    assert len(first) == 2
    assert send(receiver, 20, "k") == [200] * 20
    os.kill(min(first), signal.SIGKILL)
    wait_until(
        lambda: len(workers(receiver) - first) == 1,
        seconds=20,
        what="another worker",
    )
    assert send(receiver, 20, "l") == [200] * 20


def test_killing_the_parent_leaves_no_orphan_answering(receiver: Receiver) -> None:
    family = children(receiver.process.pid)
    assert len(family) == 3  # two workers and the landing process
    receiver.process.kill()
    receiver.process.wait()
    wait_until(lambda: not any(map(is_alive, family)), seconds=15, what="the children's end")


def test_sigterm_ends_all_within_ten_seconds_and_lands_the_rest(receiver: Receiver) -> None:
    assert send(receiver, 30, "t") == [200] * 30
    assert receiver.stop() == 0
    with open_read_only(receiver.data_dir / "ledger.sqlite") as connection:
        assert single_integer(connection, "select sum(rows) from files") == 30
