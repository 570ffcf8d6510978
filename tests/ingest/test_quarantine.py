"""Quarantine: kept byte for byte, listed, shown, and replayed to where it now belongs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ingest.errors import UsageError
from ingest.ledger import (
    Delivery,
    open_ledger,
    read_counters,
    store_deliveries,
    transaction,
)
from ingest.parse import Arrival, parse_body
from ingest.quarantine import (
    one_quarantined,
    quarantined,
    replay,
    run_list,
    run_replay,
    run_show,
)
from ingest.settings import Settings

NOW = 1_790_000_000_000_000
BROKEN = b'{"event": "plan_changed", "data": {"plan_id": "business"}}'
MENDED = b'{"event":"plan_changed","data":{"plan_id":"business","owner_email":"a@example.com"}}'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def connection(settings: Settings) -> Iterator[apsw.Connection]:
    opened = open_ledger(settings.paths.ledger)
    yield opened
    opened.close()


def receive(connection: apsw.Connection, body: bytes, **known: Any) -> int:
    arrival = Arrival(stored_at=NOW, signed_id=known.get("delivery_id"))
    delivery = Delivery(parse_body(body, arrival), body, NOW, verified_by="standard:s", **known)
    with transaction(connection):
        return store_deliveries(connection, [delivery], "n1")[0].seq


def test_a_mended_replay_becomes_an_event_received_when_the_original_was(
    connection: apsw.Connection,
) -> None:
    seq = receive(connection, BROKEN)
    outcome = replay(connection, seq, node="n1", mended_body=MENDED)
    assert outcome.verdict == "accepted"
    row = connection.execute(
        "select received_at, occurred_at, origin, payload, verified_by from inbox where seq = ?",
        (outcome.seq,),
    ).fetchone()
    assert row == (NOW, NOW, "replay", MENDED.decode(), "standard:s")


def test_a_replay_keeps_the_original_bytes_and_says_what_became_of_them(
    connection: apsw.Connection,
) -> None:
    seq = receive(connection, BROKEN)
    outcome = replay(connection, seq, node="n1", mended_body=MENDED)
    kept = one_quarantined(connection, seq)
    assert (kept.body, kept.status, kept.replayed_seq) == (BROKEN, "replayed", outcome.seq)
    assert kept.problems[0].field == "account_id"


def test_a_replay_moves_the_count_and_leaves_the_deliveries_as_they_were(
    connection: apsw.Connection,
) -> None:
    seq = receive(connection, BROKEN)
    before = read_counters(connection)
    replay(connection, seq, node="n1", mended_body=MENDED)
    after = read_counters(connection)
    assert (before["deliveries"], before["events"], before["quarantined"]) == (1, 0, 1)
    assert (after["deliveries"], after["events"], after["quarantined"]) == (1, 1, 0)


def test_a_body_that_is_still_malformed_stays_and_names_todays_problems(
    connection: apsw.Connection,
) -> None:
    seq = receive(connection, b"not json")
    outcome = replay(connection, seq, node="n1", mended_body=BROKEN)
    assert outcome.verdict == "quarantined"
    assert [problem.field for problem in outcome.problems] == ["account_id"]
    assert one_quarantined(connection, seq).status == "open"
    assert read_counters(connection)["quarantined"] == 1


def test_a_replay_of_an_event_that_came_again_meanwhile_is_a_duplicate(
    connection: apsw.Connection,
) -> None:
    seq = receive(connection, BROKEN, delivery_id="msg_1")
    receive(connection, MENDED, delivery_id="msg_1")
    outcome = replay(connection, seq, node="n1", mended_body=MENDED)
    assert (outcome.verdict, outcome.event_id) == ("duplicate", "msg_1")
    counted = read_counters(connection)
    assert (counted["events"], counted["duplicates"], counted["quarantined"]) == (1, 1, 0)


def test_nothing_is_replayed_twice(connection: apsw.Connection) -> None:
    seq = receive(connection, BROKEN)
    replay(connection, seq, node="n1", mended_body=MENDED)
    with pytest.raises(UsageError, match="replayed already"):
        replay(connection, seq, node="n1", mended_body=MENDED)


def test_an_unknown_number_says_where_to_look(connection: apsw.Connection) -> None:
    with pytest.raises(UsageError, match="quarantine list"):
        replay(connection, 7, node="n1")


def test_the_list_shows_the_open_ones_newest_first(connection: apsw.Connection) -> None:
    first, second = receive(connection, BROKEN), receive(connection, b"[]")
    replay(connection, first, node="n1", mended_body=MENDED)
    assert [row.seq for row in quarantined(connection)] == [second]
    assert [row.seq for row in quarantined(connection, status="all")] == [second, first]
    assert [row.seq for row in quarantined(connection, status="replayed")] == [first]


def test_the_list_is_json_without_bodies(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    seq = receive(connection, BROKEN)
    assert run_list(settings, status="open", limit=10, as_json=True) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["seq"] == seq
    assert row["received_at"] == "2026-09-21T14:13:20.000000Z"
    assert row["errors"][0]["code"] == "missing"
    assert "body" not in row


def test_show_raw_prints_the_very_bytes(
    settings: Settings, connection: apsw.Connection, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    body = b"\xff\x00 not even text\n"
    seq = receive(connection, body)
    assert run_show(settings, seq, as_json=False, is_raw=True) == 0
    assert capfdbinary.readouterr().out == body


def test_show_steers_no_terminal(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    seq = receive(connection, b'{"event": "\x1b]0;owned\x07"')
    assert run_show(settings, seq, as_json=False, is_raw=False) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_replaying_all_exits_1_while_one_is_left(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    receive(connection, BROKEN)
    assert run_replay(settings, [], is_all=True, body_file=None, as_json=True) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == "quarantined"


def test_a_body_from_a_file_mends_exactly_one(
    settings: Settings, connection: apsw.Connection, tmp_path: Path
) -> None:
    seq = receive(connection, BROKEN)
    mended = tmp_path / "mended.json"
    mended.write_bytes(MENDED)
    assert run_replay(settings, [seq], is_all=False, body_file=mended, as_json=False) == 0
    with pytest.raises(UsageError, match="exactly one"):
        run_replay(settings, [1, 2], is_all=False, body_file=mended, as_json=False)


@pytest.mark.parametrize(("seqs", "is_all"), [([], False), ([1], True)])
def test_replay_wants_numbers_or_all(settings: Settings, seqs: list[int], is_all: bool) -> None:
    with pytest.raises(UsageError, match="--all"):
        run_replay(settings, seqs, is_all=is_all, body_file=None, as_json=False)


def test_a_replay_counts_unknown_and_unreadable_fields_as_a_delivery_does(
    connection: apsw.Connection,
) -> None:
    seq = receive(connection, BROKEN)
    mended = json.loads(MENDED)
    mended["data"] |= {"colour": "red", "start_date": "soon"}
    replay(connection, seq, node="n1", mended_body=json.dumps(mended).encode())
    assert set(connection.execute("select kind, event_type, name, count from fields")) == {
        ("unknown", "plan_changed", "data.colour", 1),
        ("unreadable", "plan_changed", "start_date", 1),
    }


def test_a_replay_under_an_id_already_taken_counts_as_its_reuse(
    connection: apsw.Connection,
) -> None:
    receive(connection, MENDED.replace(b"business", b"pro"), delivery_id="msg_1")
    seq = receive(connection, BROKEN, delivery_id="msg_1")
    outcome = replay(connection, seq, node="n1", mended_body=MENDED)
    assert (outcome.verdict, outcome.id_reused) == ("accepted", True)
    assert read_counters(connection)["ids_reused"] == 1
