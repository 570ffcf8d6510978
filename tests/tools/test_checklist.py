"""The checklist: a row is seen when it really was, and its own command makes it so."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import apsw
import pytest
from kept import HOUR, keep
from receiver_process import HOOKLAKE, Receiver, environment

from ingest.checklist import CHECKS, checklist, command_of
from ingest.contract import EVENT_TYPES
from ingest.ledger import open_ledger, record_rejection
from ingest.settings import Settings

DAY = 24 * HOUR
NOW = time.time_ns() // 1_000
T0 = 1_777_000_000  # 2026-04-24T03:06:40Z


@pytest.fixture
def connection(tmp_path: Any) -> Iterator[apsw.Connection]:
    opened = open_ledger(Settings(data_dir=tmp_path).paths.ledger)  # type: ignore[call-arg]
    yield opened
    opened.close()


def seen(connection: apsw.Connection) -> set[str]:
    return {item.key for item in checklist(connection) if item.is_seen}


def tell(connection: apsw.Connection, event: str, day: float = 0.0, **fields: Any) -> None:
    """One event of one account, so many days after T0."""
    data = {"owner_email": "a@example.com", **fields}
    body = {"event": event, "occurred_at": T0 + int(day * 86_400), "data": data}
    keep(connection, body, NOW)


def test_nothing_is_seen_in_an_empty_ledger(connection: apsw.Connection) -> None:
    items = list(checklist(connection))
    assert len(items) == len(EVENT_TYPES) + 8
    assert not any(item.is_seen or item.last_at for item in items)
    assert len({item.key for item in items}) == len(items)


def test_an_event_is_seen_with_its_number_and_its_last_receipt(connection: apsw.Connection) -> None:
    for number in range(3):
        body = {"event": "user_registered", "data": {"email": f"{number}@example.com"}}
        keep(connection, body, NOW + number)
    [item] = [item for item in checklist(connection) if item.is_seen]
    assert (item.key, item.count, item.last_at) == ("user_registered", 3, NOW + 2)
    assert command_of(item, "my data").endswith("--data-dir 'my data'")


def test_what_nobody_proved_or_what_a_file_held_is_not_seen(connection: apsw.Connection) -> None:
    body = {"event": "user_registered", "data": {"email": "a@example.com"}}
    keep(connection, body, NOW)
    connection.execute("update inbox set verified_by = 'none:none'")
    assert seen(connection) == set()
    connection.execute("update inbox set verified_by = 'standard:s', origin = 'backfill'")
    assert seen(connection) == set()
    connection.execute("update inbox set verified_by = 'token:none:x', origin = 'replay'")
    assert seen(connection) == {"user_registered"}


def test_several_workspaces_are_two_of_one_owner(connection: apsw.Connection) -> None:
    tell(connection, "workspace_created", workspace_id="w1")
    tell(connection, "workspace_created", workspace_id="w2", owner_email="b@example.com")
    tell(connection, "workspace_created", day=1, workspace_id="w1")
    assert "several_workspaces" not in seen(connection)
    tell(connection, "workspace_created", workspace_id="w3")
    assert "several_workspaces" in seen(connection)


@pytest.mark.parametrize(
    ("fields", "is_seen"),
    [
        ({"auto_renew": False}, True),
        ({}, True),
        ({"auto_renew": True}, False),
        ({"start_date": "2026-04-01"}, False),
        ({"end_date": "2026-04-01"}, False),
        ({"plan_id": "business"}, False),
    ],
)
def test_a_downgrade_to_free_has_no_dates(
    connection: apsw.Connection, fields: dict[str, Any], is_seen: bool
) -> None:
    tell(connection, "plan_changed", **{"plan_id": "free", **fields})
    assert ("downgrade_to_free" in seen(connection)) is is_seen


@pytest.mark.parametrize(
    ("before", "day", "is_seen"),
    [
        ([("plan_changed", 0, {"plan_id": "business", "end_date": "2026-05-24"})], 29, True),
        ([("plan_changed", 0, {"plan_id": "business", "end_date": "2026-05-24"})], 30, False),
        ([("plan_changed", 0, {"plan_id": "trial", "end_date": "2026-05-24"})], 3, False),
        ([("plan_changed", 0, {"plan_id": "business"})], 3, False),
        (
            [
                ("plan_changed", 0, {"plan_id": "business", "end_date": "2026-05-24"}),
                ("plan_renewed", 30, {"plan_id": "business", "end_date": "2026-06-24"}),
            ],
            40,
            True,
        ),
        (
            [
                ("plan_changed", 0, {"plan_id": "business", "end_date": "2026-05-24"}),
                ("plan_changed", 1, {"plan_id": "free", "workspace_id": "w"}),
            ],
            40,
            False,
        ),
        ([], 3, False),
    ],
)
def test_a_cancellation_lies_before_the_end_of_what_was_paid_for(
    connection: apsw.Connection,
    before: list[tuple[str, float, dict[str, Any]]],
    day: float,
    is_seen: bool,
) -> None:
    for event, at, fields in before:
        tell(connection, event, at, **fields)
    tell(connection, "plan_changed", day, plan_id="free", auto_renew=False)
    assert ("cancellation" in seen(connection)) is is_seen


def test_a_renewal_is_of_the_plan_that_was_begun(connection: apsw.Connection) -> None:
    tell(connection, "plan_renewed", plan_id="business")
    tell(connection, "plan_changed", 1, plan_id="free")
    tell(connection, "plan_renewed", 2, plan_id="business")
    assert "renewal" not in seen(connection)
    tell(connection, "plan_changed", 3, plan_id="business")
    tell(connection, "plan_renewed", 33)
    assert "renewal" in seen(connection)


def test_three_notices_are_of_one_payment_on_three_days(connection: apsw.Connection) -> None:
    for day in (0, 0.1, 1):
        tell(connection, "overdue_payment", day, due_date="2026-04-24")
    tell(connection, "overdue_payment", 2, due_date="2026-05-24")
    tell(connection, "overdue_payment", 2, due_date="2026-04-24", owner_email="b@example.com")
    assert "three_notices" not in seen(connection)
    tell(connection, "overdue_payment", 2, due_date="2026-04-24")
    assert "three_notices" in seen(connection)


def test_a_retry_is_a_duplicate(connection: apsw.Connection) -> None:
    for _ in range(2):
        assert "duplicate" not in seen(connection)
        tell(connection, "plan_changed", plan_id="free")
    assert "duplicate" in seen(connection)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("missing_header+missing_token", {"signature_missing"}),
        ("missing_header", {"signature_missing"}),
        ("missing_token+wrong_signature", {"signature_wrong"}),
        ("missing_header+unknown_token", {"signature_wrong"}),
        ("missing_token+stale_timestamp", set()),
        ("malformed_header", set()),
    ],
)
def test_a_rejection_says_what_was_wrong_with_the_proof(
    connection: apsw.Connection, reason: str, expected: set[str]
) -> None:
    record_rejection(
        connection, received_at=NOW, reason=reason, detail="", client=None, body_bytes=2
    )
    assert seen(connection) == expected


@pytest.mark.slow
def test_every_command_turns_its_own_row_green(receiver: Receiver) -> None:
    def hooklake(line: str) -> subprocess.CompletedProcess[str]:
        path = f"{HOOKLAKE.parent}{os.pathsep}{os.environ['PATH']}"
        known = {"PATH": path, "HOOKLAKE_PORT": str(receiver.port)}
        return subprocess.run(
            ["/bin/sh", "-c", line],
            env=environment(**known),
            capture_output=True,
            text=True,
            check=False,
        )

    def rows() -> dict[str, Any]:
        done = hooklake(f"hooklake checklist --json --data-dir '{receiver.data_dir}'")
        found = json.loads(done.stdout)
        assert done.returncode == (0 if found["seen"] == found["of"] else 1)
        return {item["key"]: item for item in found["items"]}

    for check in CHECKS:
        [item] = [each for each in rows().values() if each["key"] == check.key]
        assert item["command"].endswith(f" --data-dir {receiver.data_dir}")
        hooklake(item["command"])
        for _ in range(50):  # a rejection is written down after it was answered
            if rows()[check.key]["seen"]:
                break
            time.sleep(0.1)
        else:
            pytest.fail(check.key)
    text = hooklake(f"hooklake checklist --data-dir '{receiver.data_dir}'")
    assert text.returncode == 0
    assert "14 of 14 seen and proved" in text.stdout
    assert text.stdout.count("✓") == 14
    for check in CHECKS:
        assert f"{check.command} --data-dir {receiver.data_dir}" in text.stdout
