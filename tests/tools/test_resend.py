"""`hooklake replay`: the same bytes under the same ids, to a receiver that knows them or not."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from kept import HOUR, keep, plan_changed, refuse
from receiver_process import HOOKLAKE, Receiver, environment

from ingest import resend
from ingest.deliver import Delivery, Target, request_bytes, send_one, signer_of
from ingest.delivery_log import Filter, Logged
from ingest.errors import UsageError
from ingest.ledger import open_ledger, open_read_only, read_counters
from ingest.settings import Settings

NOW = time.time_ns() // 1_000
EVENTS = Filter(verdicts=frozenset(("accepted",)))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def five(connection: apsw.Connection) -> apsw.Connection:
    """1 an event, 2 its duplicate, 3 quarantined, 4 and 5 events an hour later."""
    keep(connection, plan_changed(event_id="e1"), NOW - 2 * HOUR)
    keep(connection, plan_changed(event_id="e1"), NOW - 2 * HOUR)
    keep(connection, {"event": "plan_changed"}, NOW - 2 * HOUR, delivery_id="msg_3")
    keep(connection, plan_changed("b@example.com"), NOW - HOUR, delivery_id="msg_4")
    keep(connection, {"event": "overdue", "data": {"email": "b@example.com"}}, NOW - HOUR)
    refuse(connection, NOW)
    return connection


def seqs(
    connection: apsw.Connection,
    *numbers: str,
    ids: tuple[str, ...] = (),
    wanted: Filter = EVENTS,
) -> list[int | None]:
    choice = resend.choose(connection, numbers, ids, wanted)
    return [logged.seq for logged in resend.chosen(connection, choice)]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((), [1, 4, 5]),
        (("4",), [4]),
        (("3",), [3]),
        (("2",), [1]),
        (("1", "2", "1-1"), [1]),
        (("1-4",), [1, 4]),
        (("1-4", "4-999999999999"), [1, 4, 5]),
        (("3", "1-4"), [3, 1, 4]),
    ],
)
def test_numbers_and_ranges_choose_what_has_a_body_each_once(
    five: apsw.Connection, numbers: tuple[str, ...], expected: list[int]
) -> None:
    assert seqs(five, *numbers) == expected


def test_ids_of_events_and_of_deliveries_choose_one_each(five: apsw.Connection) -> None:
    assert seqs(five, ids=("e1",)) == [1]
    assert seqs(five, ids=("msg_4",)) == [4]
    assert seqs(five, ids=("msg_3",)) == [3]
    with pytest.raises(UsageError, match="'nobody'"):
        seqs(five, ids=("nobody",))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"event": "overdue"}, [5]),
        ({"account": "b@example.com"}, [4, 5]),
        ({"since": NOW - HOUR}, [4, 5]),
        ({"since": NOW - HOUR + 1}, []),
        ({"until": NOW - HOUR}, [1]),
        ({"verdicts": frozenset(("accepted", "quarantined"))}, [1, 3, 4, 5]),
    ],
)
def test_filters_choose_by_event_account_and_receipt(
    five: apsw.Connection, wanted: dict[str, Any], expected: list[int]
) -> None:
    chosen = Filter(**({"verdicts": EVENTS.verdicts} | wanted))
    assert seqs(five, wanted=chosen) == expected


@pytest.mark.parametrize("number", ["6", "0", "a", "-1", "1-", "4-1", "1--2", ""])
def test_a_number_without_a_delivery_is_a_usage_error(five: apsw.Connection, number: str) -> None:
    with pytest.raises(UsageError):
        seqs(five, number)


def test_sending_everything_again_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--all"):
        resend.run(Settings(data_dir=tmp_path))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (Logged("accepted", 0, seq=9, event_id="msg_1", delivery_id="msg_1"), "msg_1"),
        (Logged("accepted", 0, seq=9, event_id="e~0a~0a", is_id_reused=True), "e"),
        (Logged("accepted", 0, seq=9, event_id="e~0a"), "e~0a"),
        (Logged("accepted", 0, seq=9, event_id="größe"), "replay-9"),
        (Logged("accepted", 0, seq=9, event_id="two words"), "replay-9"),
        (Logged("quarantined", 0, seq=9, delivery_id="msg_1"), "msg_1"),
        (Logged("quarantined", 0, seq=9), "replay-9"),
    ],
)
def test_a_replay_has_the_id_its_delivery_was_stored_under(stored: Logged, expected: str) -> None:
    assert resend.replay_id(stored) == expected


def test_a_replay_is_marked_with_its_number(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, verify="none")  # type: ignore[arg-type]
    delivery = resend.as_delivery(Logged("accepted", 0, seq=7, event_id="e", body=b"{}"))
    target = Target.of("http://127.0.0.1:1/webhooks/uchat")
    assert b"\r\nX-Hooklake-Replay: 7\r\n" in request_bytes(
        target, delivery, signer_of(settings), 0
    )


def replayed(receiver: Receiver, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HOOKLAKE, "replay", "--data-dir", receiver.data_dir, *arguments],
        env=environment(HOOKLAKE_PORT=str(receiver.port), **more),
        capture_output=True,
        text=True,
        check=False,
    )


def deliver_some(receiver: Receiver) -> None:
    """Ids of the body, signed, made of the content and made up; reused ones; malformed ones."""
    url = f"http://127.0.0.1:{receiver.port}/webhooks/uchat"
    signer = signer_of(receiver.settings)
    bearer = {"Authorization": f"Bearer {receiver.settings.tokens[0].value}"}
    at = "2026-01-02T03:04:05Z"
    bodies = (
        plan_changed(event_id="e1"),
        plan_changed(event_id="e1", plan_id="business"),
        plan_changed(event_id="größe"),
        plan_changed(occurred_at=at),
        plan_changed(),
        plan_changed(),
        {"event": "brand_new", "data": {"x": 1}},
        {"event": "plan_changed"},
    )
    for body in bodies:
        assert httpx.post(url, json=body, headers=bearer).is_success
    for delivery_id, body in (("m1", plan_changed()), ("m1", plan_changed(plan_id="pro"))):
        raw = json.dumps(body).encode()
        assert send_one(url, Delivery(raw, delivery_id), signer).verdict == "accepted"


def stored(receiver: Receiver) -> Counter[tuple[str, ...]]:
    with open_read_only(receiver.settings.paths.ledger) as ledger:
        rows = ledger.execute("select event_id, event_type, sender_event, payload from inbox")
        return Counter(rows.fetchall())


def test_the_same_receiver_knows_all_and_another_one_stores_the_same(
    receiver: Receiver, tmp_path: Path
) -> None:
    deliver_some(receiver)
    before = stored(receiver)
    dry = replayed(receiver, "--all", "--dry-run", "--json")
    assert [json.loads(line)["seq"] for line in dry.stdout.splitlines()] == [*range(1, 8), 9, 10]

    again = replayed(receiver, "--all", "--json")
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    assert (summary["sent"], summary["duplicate"], summary["other"]) == (9, 9, 0)
    assert stored(receiver) == before

    other = Receiver(tmp_path / "other")
    try:
        secrets = other.settings.secrets[0].value
        url = f"http://127.0.0.1:{other.port}/webhooks/uchat"
        stranger = replayed(receiver, "--all", "--url", url)
        assert stranger.returncode == 1
        assert "HOOKLAKE_SECRETS" in stranger.stderr
        known = replayed(
            receiver, "--since", "1h", "--quarantined", "--url", url, HOOKLAKE_SECRETS=secrets
        )
        assert known.returncode == 0, known.stderr
        assert "10 sent again" in known.stdout
        assert stored(other) == before
        with open_read_only(other.settings.paths.ledger) as ledger:
            counters = read_counters(ledger)
        assert (counters["events"], counters["quarantined"]) == (9, 1)
    finally:
        other.close()


def test_a_scheme_that_signs_no_id_says_what_that_means(receiver: Receiver) -> None:
    deliver_some(receiver)
    done = replayed(receiver, "1-4", HOOKLAKE_VERIFY="token")
    assert done.returncode == 0, done.stderr
    assert "signs no id" in done.stderr
    assert "duplicate          4" in done.stdout
