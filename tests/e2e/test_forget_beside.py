"""A person is forgotten while everything runs, and also when the forgetting is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import pytest
from installation import Installation, wait_until

from ingest.ledger import open_read_only, read_counters

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ANN = "ann@example.com"


def registered(email: str, number: int) -> dict[str, Any]:
    return {
        "event": "user_registered",
        "id": f"{email}-{number}" if email != ANN else f"a-{number}",
        "data": {"email": email, "registration_timestamp": "2026-01-01T00:00:00Z"},
    }


def counters(hooklake: Installation) -> dict[str, int]:
    with open_read_only(hooklake.data_dir / "ledger.sqlite") as connection:
        return read_counters(connection)


def erasures(hooklake: Installation) -> list[str]:
    with open_read_only(hooklake.data_dir / "ledger.sqlite") as connection:
        return [str(row[0]) for row in connection.execute("select status from erasures")]


def files_with(hooklake: Installation, wanted: bytes) -> list[str]:
    return [
        path.name
        for path in hooklake.data_dir.rglob("*")
        if path.is_file() and not path.is_symlink() and wanted in path.read_bytes()
    ]


def test_receiver_and_refresher_go_on_while_somebody_is_forgotten(hooklake: Installation) -> None:
    hooklake.start_receiver()
    refresher = hooklake.start("refresh", "--watch")
    for number in range(5):
        assert hooklake.deliver(registered(ANN, number)).json()["status"] == "accepted"
    verdicts: list[str] = []
    is_over = threading.Event()

    def keep_sending() -> None:
        number = 0
        while not is_over.is_set():
            for email in (f"p{number}@example.com", ANN):
                answer = hooklake.deliver(registered(email, number))
                verdicts.append(f"{answer.status_code} {answer.json()['status']}")
            number += 1
            time.sleep(0.02)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        wait_until(
            lambda: (hooklake.data_dir / "warehouse.duckdb").exists(),
            seconds=60,
            what="a published version",
        )
        report = json.loads(hooklake.command("forget", ANN, "--yes", "--json"))
        told = len(verdicts)
        wait_until(lambda: len(verdicts) >= told + 10, seconds=30, what="further deliveries")
    finally:
        is_over.set()
        sender.join()

    assert report["removed"]["events"] >= 5
    assert set(verdicts) <= {"200 accepted", "200 erased", "200 duplicate", "503 unavailable"}
    assert verdicts[-1] == "200 erased"
    assert refresher.poll() is None
    hooklake.command("refresh")
    assert files_with(hooklake, ANN.encode()) == []
    people = verdicts.count("200 accepted")
    events = hooklake.query("select count(*) as n from events where account_id like 'p%'")[0]["n"]
    assert 0 < events <= people
    found = counters(hooklake)
    assert found["deliveries"] == sum(
        found[name] for name in ("events", "duplicates", "quarantined", "erased")
    )
    assert events == found["events"]
    assert json.loads(hooklake.command("doctor", "--json"))["ok"]


def test_what_a_kill_has_left_is_completed_by_the_next_start_of_the_receiver(
    hooklake: Installation,
) -> None:
    receiver = hooklake.start_receiver()
    assert hooklake.deliver(registered(ANN, 1)).json()["status"] == "accepted"
    hooklake.command("refresh")
    forgetting = hooklake.start("forget", ANN, "--yes")
    wait_until(lambda: erasures(hooklake), seconds=60, what="the erasure's first step", every=0.001)
    os.killpg(forgetting.pid, signal.SIGKILL)
    assert erasures(hooklake) != ["done"]
    assert hooklake.deliver(registered(ANN, 2)).json()["status"] == "erased"
    hooklake.stop(receiver)

    hooklake.start_receiver()
    wait_until(lambda: erasures(hooklake) == ["done"], seconds=60, what="its completion")
    assert files_with(hooklake, ANN.encode()) == []
    assert hooklake.query("select count(*) as n from events") == [{"n": 0}]
