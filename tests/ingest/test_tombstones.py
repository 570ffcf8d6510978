"""Whoever was forgotten stays forgotten: at intake, at a replay, in a column, in another ledger."""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiving import registration, serving

from ingest.ledger import (
    Delivery,
    Outcome,
    open_ledger,
    read_counters,
    store_deliveries,
    transaction,
)
from ingest.parse import Arrival, parse_body
from ingest.quarantine import replay
from ingest.stated import addresses, stated_account, stated_owner
from ingest.tombstones import carry_over, forgotten, lay, tombstones

NOW = 1_790_000_000_000_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def forget(connection: apsw.Connection, kind: Any, *names: str) -> None:
    with transaction(connection):
        lay(connection, "e-1", kind, names)


def deliver(connection: apsw.Connection, body: object) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with transaction(connection):
        (outcome,) = store_deliveries(
            connection, [Delivery(parse_body(raw, Arrival(NOW)), raw, NOW)], "n1"
        )
    return outcome


def kept(connection: apsw.Connection) -> int:
    tables = ("inbox", "duplicates", "quarantine", "fields")
    return sum(
        int(next(connection.execute(f"select count(*) from {table}"))[0]) for table in tables
    )


@pytest.mark.parametrize(
    "body",
    [
        {"event": "user_registered", "data": {"email": "Ann@X.test "}},
        {"event": "plan_changed", "owner_email": "ann@x.test", "plan": "pro", "odd": 1},
        {"event": "plan_changed", "owner_email": "new@x.test", "owner_id": "u-7", "plan": "pro"},
        {"event": "plan_changed", "owner_email": "new@x.test", "owner_id": 77, "plan": "pro"},
        {"event": "workspace_deleted", "data": {"workspace_id": "w-1"}},
        {"event": "never_heard_of", "user_email": "ann@x.test"},
        {"event": "plan_changed", "owner_email": "ann@x.test"},
        {"event": "plan_changed", "data": {"owner_id": "u-7"}},
        {"owner_email": "ann@x.test"},
        b'{"event": "plan_changed", "owner_email": "ANN@x.test", ',
        b"event=plan_changed&email=ann@x.test&plan=pro",
    ],
)
def test_a_delivery_about_a_forgotten_person_is_counted_and_not_kept(
    connection: apsw.Connection, body: object
) -> None:
    forget(connection, "account", "ann@x.test")
    forget(connection, "owner", "u-7", "77")
    forget(connection, "workspace", "w-1")
    assert deliver(connection, body).verdict == "erased"
    assert kept(connection) == 0
    counted = read_counters(connection)
    assert (counted["deliveries"], counted["erased"]) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"event": "user_registered", "data": {"email": "joann@x.test"}},
        {"event": "user_registered", "data": {"email": "u-7"}},
        {"event": "workspace_created", "data": {"email": "bob@x.test", "workspace_id": "w-1"}},
        {"event": "plan_changed", "owner_email": "bob@x.test", "invited_by": "ann@x.test"},
        {"event": "never_heard_of"},
        b"not json",
    ],
)
def test_a_delivery_about_somebody_else_is_kept(connection: apsw.Connection, body: object) -> None:
    forget(connection, "account", "ann@x.test")
    forget(connection, "owner", "u-7")
    forget(connection, "workspace", "w-1")
    assert deliver(connection, body).verdict != "erased"
    assert kept(connection) > 0


def test_an_event_answered_before_the_tombstone_is_no_duplicate_after_it(
    connection: apsw.Connection,
) -> None:
    body = {"event": "user_registered", "event_id": "1", "email": "ann@x.test"}
    assert deliver(connection, body).verdict == "accepted"
    forget(connection, "account", "ann@x.test")
    assert deliver(connection, body).verdict == "erased"


def test_a_replay_out_of_the_quarantine_brings_nobody_back(connection: apsw.Connection) -> None:
    outcome = deliver(connection, {"event": "plan_changed", "plan": "pro"})
    forget(connection, "account", "ann@x.test")
    mended = b'{"event": "plan_changed", "plan": "pro", "email": "ann@x.test"}'
    assert replay(connection, outcome.seq, node="n1", mended_body=mended).verdict == "erased"
    assert kept(connection) == 0
    counted = read_counters(connection)
    assert (counted["deliveries"], counted["quarantined"], counted["erased"]) == (1, 0, 1)


def test_composed_and_decomposed_letters_are_one_person(connection: apsw.Connection) -> None:
    forget(connection, "account", unicodedata.normalize("NFD", "josé@x.test"))
    assert forgotten(connection, [unicodedata.normalize("NFC", "josé@x.test")])


def test_a_column_is_asked_at_once(connection: apsw.Connection) -> None:
    assert forgotten(connection, ["ann@x.test", None]) == frozenset()
    forget(connection, "account", "ann@x.test", "eve@x.test")
    forget(connection, "owner", "bob@x.test")
    column = ["ann@x.test", "bob@x.test", None, "ann@x.test"]
    assert forgotten(connection, column) == {"ann@x.test"}
    assert forgotten(connection, column, "owner") == {"bob@x.test"}


def test_nothing_in_the_ledger_says_who_was_forgotten(
    connection: apsw.Connection, tmp_path: Path
) -> None:
    forget(connection, "account", "ann@x.test")
    for file in tmp_path.iterdir():
        assert b"ann@x" not in file.read_bytes()


def test_a_copy_of_before_takes_tombstones_over(
    connection: apsw.Connection, tmp_path: Path
) -> None:
    connection.execute("vacuum into ?", (str(tmp_path / "restored.sqlite"),))
    forget(connection, "account", "ann@x.test")
    restored = open_ledger(tmp_path / "restored.sqlite")
    for new in (1, 0):
        with transaction(restored):
            assert carry_over(tmp_path / "ledger.sqlite", restored) == new
    assert forgotten(restored, ["ann@x.test"])
    restored.close()


def test_a_ledger_of_another_installation_has_another_key(
    connection: apsw.Connection, tmp_path: Path
) -> None:
    forget(connection, "account", "ann@x.test")
    other = open_ledger(tmp_path / "other.sqlite")
    with pytest.raises(ValueError, match="another installation"), transaction(other):
        carry_over(tmp_path / "ledger.sqlite", other)
    assert tombstones(other) is None
    other.close()


def test_whom_a_body_is_about_is_read_where_it_can_be() -> None:
    assert (
        stated_account(b'{"data": {"user_email": " A@X.test"}, "email": "b@x.test"}') == "a@x.test"
    )
    assert stated_owner(b'{"user_id": 12}') == "12"
    assert stated_account(b"[]") is None
    assert addresses("Mail <Ann@x.test>, bob@x.test.") == ["ann@x.test", "bob@x.test"]
    assert len(addresses(" ".join(f"a{n}@x.test" for n in range(1000)))) == 100


SEEMING = re.compile(r"[^\s\"'<>()\[\]{},;:\\/|=&?]{1,128}@[^\s\"'<>()\[\]{},;:\\/|=&?]{1,255}")


def addresses_by_one_pattern(text: str) -> list[str]:
    return list(dict.fromkeys(found.rstrip(".").lower() for found in SEEMING.findall(text)))[:100]


PIECES = st.one_of(
    st.sampled_from(["@", "a", "B.", ".", " ", "<", "\n", "é"]),
    st.integers(120, 135).map(lambda length: "x" * length),
    st.integers(250, 260).map(lambda length: "y" * length),
)


@given(st.lists(PIECES, max_size=20).map("".join) | st.text(max_size=40))
def test_addresses_are_what_one_pattern_finds(text: str) -> None:
    assert addresses(text) == addresses_by_one_pattern(text)


@pytest.mark.parametrize("end", ["", "@", " @x", "@x.test"])
def test_a_long_text_with_next_to_no_at_sign_costs_next_to_nothing(end: str) -> None:
    """Less than a sixteenth of it costs where every character may begin an address."""
    text = "a" * (1 << 20) + end
    began = time.process_time()
    assert len(addresses(text)) == ("x" in end and end[0] == "@")
    took, began = time.process_time() - began, time.process_time()
    addresses_by_one_pattern("a" * (1 << 16))
    assert took < time.process_time() - began


def test_the_receiver_honours_a_new_tombstone_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as receiver:
        assert receiver.post(registration("ann@x.test")).json()["status"] == "accepted"
        beside = open_ledger(receiver.data_dir / "ledger.sqlite")
        forget(beside, "account", "ann@x.test")
        beside.close()
        answer = receiver.post(registration("ann@x.test"))
        assert answer.status == 200
        assert answer.json() == {"status": "erased", "seq": 2}
        assert receiver.post(registration("bob@x.test")).json()["status"] == "accepted"
        sample = 'hooklake_deliveries_total{event_type="user_registered",verdict="erased"}'
        assert receiver.metric(sample) == 1
        assert receiver.counters() == {"deliveries": 3, "events": 2, "erased": 1}
