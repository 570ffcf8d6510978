"""The writing process's own part: what becomes of a group when SQLite or we fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ingest import ledger, writer
from ingest.frames import Frames, Handed, Health, frame
from ingest.ledger import Outcome, open_ledger
from ingest.writer import SICK_PROBES_MAX, Writer

pytestmark = pytest.mark.alone

NOW = 1_790_000_000_000_000
Message = tuple[Any, ...]


def handed(number: int) -> Handed:
    event = {"event": "plan_changed", "event_id": f"e-{number}", "email": "a", "plan": "p"}
    return json.dumps(event).encode(), NOW, None, None, "token:t"


@pytest.fixture
def told() -> list[Message]:
    return []


@pytest.fixture
def writing(tmp_path: Path, told: list[Message]) -> Iterator[Writer]:
    made = Writer(tmp_path / "ledger.sqlite", "n1", told.append)
    assert told.pop() == ("ready",)
    yield made
    made.close()


def store(writing: Writer, told: list[Message], *numbers: int) -> list[Message]:
    """What the writer says to a group."""
    told.clear()
    writing.take(("store", [handed(number) for number in numbers]))
    return list(told)


def failing(error: Exception) -> Callable[..., list[Outcome]]:
    """`store_deliveries`, failing once: stands for a failing disk."""
    errors = [error]
    true = ledger.store_deliveries

    def fail_once(*arguments: Any) -> list[Outcome]:
        if errors:
            raise errors.pop()
        return true(*arguments)

    return fail_once


def test_a_stored_group_is_answered_in_order_and_counted(
    writing: Writer, told: list[Message]
) -> None:
    malformed = (b"{}", NOW, None, None, "token:t")
    writing.take(("store", [handed(1), malformed, handed(1), handed(2)]))
    (kind, seconds, answers, tally, ids_reused), logged = told
    assert kind == "stored"
    assert logged == (
        "log",
        "warning",
        "quarantined",
        {"seq": 2, "problems": ["event_type:missing"]},
    )
    assert seconds > 0
    assert [status for status, _ in answers] == [200, 202, 200, 200]
    assert [json.loads(body)["seq"] for _, body in answers] == [1, 2, 3, 4]
    assert [json.loads(body)["status"] for _, body in answers] == [
        "accepted",
        "quarantined",
        "duplicate",
        "accepted",
    ]
    assert tally == {
        ("accepted", "plan_changed"): 2,
        ("quarantined", "none"): 1,
        ("duplicate", "plan_changed"): 1,
    }
    assert ids_reused == 0


def test_a_busy_ledger_refuses_that_group_and_is_no_sickness(
    tmp_path: Path, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "BUSY_TIMEOUT_MS", 50)
    writing = Writer(tmp_path / "ledger.sqlite", "n1", told.append)
    other = open_ledger(tmp_path / "ledger.sqlite")
    other.execute("begin immediate")
    assert store(writing, told, 1) == [("refused", "ledger_busy")]
    other.execute("rollback")
    other.close()
    assert writing.health is Health.OK
    assert store(writing, told, 1)[0][0] == "stored"
    writing.close()


def test_after_an_io_error_a_fresh_connection_proves_itself_and_it_goes_on(
    writing: Writer, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "store_deliveries", failing(apsw.IOError("disk I/O error")))
    before = writing._connection
    assert store(writing, told, 1) == [("health", "ledger_sick"), ("refused", "ledger_sick")]
    assert store(writing, told, 1) == [("refused", "ledger_sick")]
    told.clear()
    writing.probe()
    assert told == [("health", "ok")]
    assert writing._connection is not before, "never again on the same handle"
    assert store(writing, told, 1)[0][0] == "stored"


def test_a_full_disk_waits_for_space_for_ever_and_a_sick_one_gives_up(
    writing: Writer, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> apsw.Connection:
        raise apsw.FullError("full")

    def broken(_: Path) -> apsw.Connection:
        raise apsw.IOError("I/O")

    monkeypatch.setattr(writer, "store_deliveries", failing(apsw.FullError("full")))
    assert store(writing, told, 1) == [("health", "disk_full"), ("refused", "disk_full")]
    told.clear()
    monkeypatch.setattr(writer, "open_ledger", full)
    for _ in range(20):
        writing.probe()
    assert (told, writing.has_given_up) == ([], False)
    monkeypatch.setattr(writer, "open_ledger", open_ledger)
    writing.probe()
    assert told == [("health", "ok")]
    assert store(writing, told, 1)[0][0] == "stored"

    monkeypatch.setattr(writer, "store_deliveries", failing(apsw.IOError("I/O")))
    store(writing, told, 2)
    told.clear()
    monkeypatch.setattr(writer, "open_ledger", broken)
    for probes in range(1, SICK_PROBES_MAX + 1):
        writing.probe()
        assert writing.has_given_up == (probes == SICK_PROBES_MAX)
    assert told == [("sick", "IO: I/O; then I/O")]


def test_a_bug_while_storing_refuses_its_group_alone(
    writing: Writer, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "store_deliveries", failing(TypeError("a bug")))
    logged = ("log", "error", "failed", {"kind": "TypeError", "records": 1})
    assert store(writing, told, 1) == [logged, ("refused", "failed")]
    assert store(writing, told, 1)[0][0] == "stored"


def test_messages_are_put_together_from_any_pieces() -> None:
    messages = [("store", [handed(number)]) for number in range(5)] + [("refused", "x" * 70_000)]
    stream = b"".join(map(frame, messages))
    for size in (1, 3, 7, 1000, len(stream)):
        frames = Frames()
        found = [
            message
            for start in range(0, len(stream), size)
            for message in frames.take(stream[start : start + size])
        ]
        assert found == messages


def test_a_message_that_its_hearer_fails_at_is_not_told_again() -> None:
    frames = Frames()
    first, second = ("refused", "full"), ("refused", "draining")
    for message in frames.take(frame(first) + frame(second)):
        assert message == first
        break
    assert list(frames.take(b"")) == [second]
