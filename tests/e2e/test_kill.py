"""SIGKILL amid a load: what was acknowledged is in the published tables, once."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from installation import Installation, descendants, end_group, is_alive, sign, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

CYCLES = int(os.environ.get("FAULT_CYCLES", "10"))
CLIENTS = 16
ACKNOWLEDGED_BEFORE_KILL = (20, 400)
FIRST_ACKNOWLEDGEMENT_SECONDS_MAX = 5.0
REFRESH_EVERY_CYCLES = 20


@dataclass
class Load:
    """What the clients of all cycles sent and what they were told, by event id."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    duplicates: int = 0
    unanswered: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_id(self, cycle: int, client: int, number: int) -> str:
        """A new event's id; now and then one that got no answer, as a sender's retry would."""
        with self.lock:
            if self.unanswered and number % 2:
                return self.unanswered.pop()
            event_id = f"cycle-{cycle}-client-{client}-{number}"
            self.sent.add(event_id)
            return event_id


def send_until_dead(hooklake: Installation, load: Load, cycle: int, client: int) -> None:
    """One client: delivery after delivery on one connection, until the receiver is gone."""
    with httpx.Client(trust_env=False, timeout=10) as http:
        for number in range(100_000):
            event_id = load.next_id(cycle, client, number)
            body = event_body(event_id)
            try:
                answer = http.post(
                    hooklake.webhook_url, content=body, headers=sign(body, id=event_id)
                )
            except httpx.TransportError:
                with load.lock:
                    load.unanswered.append(event_id)
                return
            assert answer.status_code == 200, answer.text
            with load.lock:
                load.acknowledged.add(event_id)
                load.duplicates += answer.json()["status"] == "duplicate"


def event_body(event_id: str) -> bytes:
    return json.dumps(
        {
            "event": "workspace_created",
            "occurred_at": "2026-04-01T09:00:00Z",
            "event_id": event_id,
            "data": {
                "workspace_id": f"w-{event_id}",
                "owner_email": f"{event_id}@example.com",
                "workspace_name": "under fire",
            },
        }
    ).encode()


def assert_published_exactly(hooklake: Installation, load: Load) -> None:
    """Everything acknowledged is there, nothing twice, nothing that was never sent."""
    hooklake.command("refresh")
    published = [row["event_id"] for row in hooklake.query("select event_id from events")]
    lost = load.acknowledged - set(published)
    phantom = set(published) - load.sent
    assert (len(lost), len(published) - len(set(published)), len(phantom)) == (0, 0, 0)
    rows = hooklake.query("select count(*) as accounts from dim_accounts")
    assert rows == [{"accounts": len(published)}]


def test_an_acknowledged_event_survives_sigkill_of_the_receiver(
    hooklake: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(20261122)
    load = Load()
    for cycle in range(CYCLES):
        receiver = hooklake.start_receiver()
        family = descendants(receiver.pid)
        enough = len(load.acknowledged) + chance.randint(*ACKNOWLEDGED_BEFORE_KILL)
        with ThreadPoolExecutor(CLIENTS) as clients:
            sending = [
                clients.submit(send_until_dead, hooklake, load, cycle, client)
                for client in range(CLIENTS)
            ]
            first = len(load.acknowledged)
            wait_until(
                lambda first=first: len(load.acknowledged) > first,
                seconds=FIRST_ACKNOWLEDGEMENT_SECONDS_MAX,
                what="the first acknowledgement after a start",
            )
            wait_until(
                lambda enough=enough: len(load.acknowledged) >= enough,
                seconds=30,
                what=f"{enough} acknowledgements",
                every=0.001,
            )
            os.kill(receiver.pid, signal.SIGKILL)
            for client in sending:
                client.result()
        receiver.wait()
        wait_until(
            lambda family=family: not any(map(is_alive, family)),
            seconds=10,
            what="the end of the killed receiver's helpers",
        )
        if (cycle + 1) % REFRESH_EVERY_CYCLES == 0:
            assert_published_exactly(hooklake, load)

    receiver = hooklake.start_receiver()
    assert hooklake.stop(receiver) == 0
    assert_published_exactly(hooklake, load)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nSIGKILL of the receiver: {CYCLES} cycles, {len(load.acknowledged)} acknowledged "
            f"({load.duplicates} duplicates among retries), 0 lost, 0 duplicated, 0 phantom"
        )


def test_sigterm_drains_what_was_acknowledged_into_the_lake(hooklake: Installation) -> None:
    receiver = hooklake.start_receiver()
    for number in range(50):
        assert hooklake.deliver(event_body(f"event-{number}")).status_code == 200

    assert hooklake.stop(receiver) == 0

    # No receiver runs any more and no refresh has: the files are what SIGTERM left behind.
    files = list(hooklake.data_dir.glob("lake/events/**/*.parquet"))
    assert sum(rows_of(file) for file in files) == 50
    assert all(not file.stat().st_mode & 0o077 for file in files)
    assert not hooklake.data_dir.stat().st_mode & 0o077


def rows_of(file: os.PathLike[str]) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(file).num_rows)


@pytest.mark.parametrize("moment", ["state.duckdb", "serve.duckdb", "the new version"])
def test_a_refresher_killed_amid_a_build_leaves_the_last_good_version(
    hooklake: Installation, moment: str
) -> None:
    receiver = hooklake.start_receiver()
    assert hooklake.deliver(event_body("before")).status_code == 200
    hooklake.command("refresh")
    link = hooklake.data_dir / "warehouse.duckdb"
    good = link.resolve()
    versions = set(hooklake.data_dir.glob("*warehouse-*"))
    assert hooklake.deliver(event_body("after")).status_code == 200

    refresher = hooklake.start("refresh", "--full")

    def has_come() -> bool:
        if moment == "the new version":
            return set(hooklake.data_dir.glob("*warehouse-*")) != versions
        return has_open(refresher.pid, hooklake.data_dir / moment)

    wait_until(lambda: has_come() or refresher.poll() is not None, seconds=30, what=moment, every=0)
    end_group(refresher)
    refresher.wait()

    # The link never dangles; only where the kill came after the swap it leads to the new version.
    published = {row["event_id"] for row in hooklake.query("select event_id from events")}
    assert published == ({"before"} if link.resolve() == good else {"before", "after"})
    if moment == "state.duckdb":
        assert link.resolve() == good
    hooklake.command("refresh")
    rows = hooklake.query("select event_id from events order by event_id")
    assert [row["event_id"] for row in rows] == ["after", "before"]
    rows = hooklake.query("select count(*) as accounts from dim_accounts")
    assert rows == [{"accounts": 2}]
    hooklake.stop(receiver)


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if descriptor.readlink() == path:
                return True
        except OSError:
            continue
    return False
