"""The ledger: what is a duplicate, what a reused id, and that nothing is ever lost or unbounded."""

from __future__ import annotations

import json
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from ingest import ledger
from ingest.errors import LedgerError
from ingest.ledger import (
    Delivery,
    Outcome,
    describe,
    open_ledger,
    open_read_only,
    read_counters,
    record_rejection,
    store_deliveries,
    transaction,
)
from ingest.parse import Arrival, parse_body

NOW = 1_790_000_000_000_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def delivery(body: object, **known: Any) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    arrival = Arrival(stored_at=NOW, signed_id=known.get("delivery_id"))
    return Delivery(parse_body(raw, arrival), raw, NOW, verified_by="token:t", **known)


def plan(plan_id: str, **more: Any) -> dict[str, Any]:
    return {"event": "plan_changed", "email": "a@b.c", "plan": plan_id, **more}


def store(connection: apsw.Connection, *deliveries: Delivery) -> list[Outcome]:
    with transaction(connection):
        return store_deliveries(connection, deliveries, "n1")


def one(connection: apsw.Connection, query: str) -> Any:
    return next(connection.execute(query))[0]


def accounts_for_everything(connection: apsw.Connection) -> dict[str, int]:
    """The counters, once they agree with each other and with the tables."""
    counted = read_counters(connection)
    assert counted["deliveries"] == (
        counted["events"] + counted["duplicates"] + counted["quarantined"] + counted["erased"]
    )
    for table, name in (
        ("inbox", "events"),
        ("duplicates", "duplicates"),
        ("quarantine", "quarantined"),
    ):
        assert one(connection, f"select count(*) from {table}") == counted[name]
    assert one(connection, "select next - 1 from sequence") == counted["deliveries"]
    return counted


def test_it_is_private_synced_and_in_wal_mode(connection: apsw.Connection, tmp_path: Path) -> None:
    assert one(connection, "pragma journal_mode") == "wal"
    assert one(connection, "pragma synchronous") == 2  # full
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600


def test_sqlite_is_new_enough_for_several_processes() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))

    assert version >= (3, 51, 3)


def test_the_same_id_with_the_same_fields_is_a_duplicate_also_within_one_group(
    connection: apsw.Connection,
) -> None:
    first, again = store(
        connection, delivery(plan("pro", event_id="x")), delivery(plan("Pro ", event_id="x"))
    )
    (later,) = store(connection, delivery(plan("pro", event_id="x", extra=1)))

    assert [found.verdict for found in (first, again, later)] == [
        "accepted",
        "duplicate",
        "duplicate",
    ]
    assert {found.event_id for found in (first, again, later)} == {"x"}
    assert not any(found.id_reused for found in (first, again, later))
    assert accounts_for_everything(connection)["duplicates"] == 2


@pytest.mark.parametrize(
    "other",
    [
        plan("free", event_id="x"),
        plan("pro", event_id="x", workspace_id="w"),
        plan("pro", event_id="x", timestamp="2024-04-01T09:00:00Z"),
        {"event": "plan_renewed", "email": "a@b.c", "plan": "pro", "event_id": "x"},
    ],
)
def test_the_same_id_with_other_fields_is_another_event(
    connection: apsw.Connection, other: dict[str, Any]
) -> None:
    sent = delivery(other)
    first, second, again = store(
        connection, delivery(plan("pro", event_id="x")), sent, delivery(other)
    )

    assert (first.verdict, first.id_reused) == ("accepted", False)
    assert (second.verdict, second.id_reused) == ("accepted", True)
    assert second.event_id == f"x~{sent.content.digest[:12]}"  # type: ignore[union-attr]
    assert (again.verdict, again.event_id) == ("duplicate", second.event_id)
    assert not again.id_reused
    counted = accounts_for_everything(connection)
    assert (counted["events"], counted["ids_reused"]) == (2, 1)


def test_an_id_that_looks_like_a_renamed_one_swallows_no_event(
    connection: apsw.Connection,
) -> None:
    """Whoever guesses `id~hash` of an event to come must not make it a duplicate."""
    victim = delivery(plan("pro", event_id="x"))
    guessed = f"x~{victim.content.digest[:12]}"  # type: ignore[union-attr]
    outcomes = store(
        connection,
        delivery(plan("first", event_id="x")),
        delivery(plan("squatter", event_id=guessed)),
        victim,
        victim,
    )

    assert [found.verdict for found in outcomes] == ["accepted"] * 3 + ["duplicate"]
    assert one(connection, "select count(*) from inbox where plan_id = 'pro'") == 1


def test_a_signed_delivery_id_sent_twice_is_one_event_and_kept_with_it(
    connection: apsw.Connection,
) -> None:
    outcomes = store(connection, *(delivery(plan("pro"), delivery_id="msg_1") for _ in range(2)))

    assert [found.verdict for found in outcomes] == ["accepted", "duplicate"]
    assert one(connection, "select delivery_id from inbox") == "msg_1"


def test_three_overdue_notices_without_id_or_instant_are_three_events(
    connection: apsw.Connection,
) -> None:
    notice = {"event": "overdue_payment", "email": "a", "due_date": "2024-04-20"}
    outcomes = store(connection, *(delivery(notice) for _ in range(3)))

    assert [found.verdict for found in outcomes] == ["accepted"] * 3


def test_each_quarantined_delivery_is_kept_and_blocks_no_id(connection: apsw.Connection) -> None:
    broken = {"event": "plan_changed", "event_id": "x", "email": "a@b.c"}
    body = b'{"broken": \xff\x00'
    outcomes = store(
        connection,
        delivery(broken),
        delivery(broken),
        delivery(body),
        delivery(plan("pro", event_id="x")),
    )

    assert [found.verdict for found in outcomes] == ["quarantined"] * 3 + ["accepted"]
    rows = list(connection.execute("select body, problems, status from quarantine order by seq"))
    assert rows[2][0] == body
    assert json.loads(rows[0][1])[0]["field"] == "plan_id"
    assert {row[2] for row in rows} == {"open"}
    accounts_for_everything(connection)


def test_what_is_stored_is_what_was_sent(connection: apsw.Connection) -> None:
    body = '{"event":"plan_changed","email":" Ädä@B.c","plan":"Pro","auto_renew":"off","x":"é"}'
    store(connection, delivery(body.encode()))
    row = next(
        connection.execute("select account_id, plan_id, auto_renew, payload, node from inbox")
    )

    assert row == ("ädä@b.c", "pro", 0, body, "n1")


def test_sequence_numbers_rise_in_the_order_of_delivery(connection: apsw.Connection) -> None:
    outcomes = []
    for size in (1, 3, 2):
        outcomes += store(connection, *(delivery(plan("p")) for _ in range(size)))

    assert [found.seq for found in outcomes] == [1, 2, 3, 4, 5, 6]


def test_a_group_that_fails_leaves_nothing_behind(connection: apsw.Connection) -> None:
    with pytest.raises(ZeroDivisionError), transaction(connection):
        store_deliveries(connection, [delivery(plan("p")), delivery(b"x")], "n1")
        raise ZeroDivisionError

    assert read_counters(connection)["deliveries"] == 0
    (outcome,) = store(connection, delivery(plan("p")))
    assert outcome.seq == 1
    accounts_for_everything(connection)


def test_every_row_is_accounted_for_after_any_sequence(connection: apsw.Connection) -> None:
    source = random.Random(7)
    expected: dict[tuple[str, str], int] = {}
    for _ in range(150):
        group = []
        for _ in range(source.randint(1, 12)):
            event_id, plan_id = f"id-{source.randrange(40)}", f"plan-{source.randrange(3)}"
            if source.random() < 0.2:
                group.append(delivery(source.randbytes(9)))
            else:
                group.append(delivery(plan(plan_id, event_id=event_id)))
                expected[event_id, plan_id] = expected.get((event_id, plan_id), 0) + 1
        if source.random() < 0.1:  # this one is rolled back: as if it had never been sent
            with pytest.raises(InterruptedError), transaction(connection):
                store_deliveries(connection, group, "n1")
                raise InterruptedError
            for sent in group:
                if (found := json.loads(sent.body) if sent.body[:1] == b"{" else None) is not None:
                    key = (found["event_id"], found["plan"])
                    expected[key] -= 1
        else:
            store(connection, *group)
        accounts_for_everything(connection)

    kept = {key for key, times in expected.items() if times}
    assert one(connection, "select count(*) from inbox") == len(kept)
    assert one(connection, "select count(distinct event_id) from inbox") == len(kept)
    assert one(connection, "select count(*) from duplicates") == sum(expected.values()) - len(kept)


def test_unknown_and_unreadable_fields_are_counted(connection: apsw.Connection) -> None:
    body = {"event": "overdue_payment", "email": "a", "amount": "much", "data": {"new": 1}}
    store(connection, delivery(body), delivery(body))

    assert set(connection.execute("select kind, event_type, name, count from fields")) == {
        ("unreadable", "overdue_payment", "amount", 2),
        ("unknown", "overdue_payment", "data.new", 2),
    }


def test_a_sender_that_invents_names_cannot_grow_the_fields_without_bound(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FIELD_NAMES_MAX", 50)
    monkeypatch.setattr(ledger, "FIELD_NAMES_OF_A_DELIVERY_MAX", 10)
    sent = 0
    for number in range(12):
        names = {f"invented_{number}_{position}_{'x' * 200}": 1 for position in range(15)}
        sent += len(names)
        store(connection, delivery({"event": "user_registered", "email": "a", **names}))

    assert one(connection, "select count(*) from fields") <= 51
    assert one(connection, "select sum(count) from fields") == sent
    assert one(connection, "select max(length(name)) from fields") <= 128
    known = one(connection, "select name from fields where name like 'invented_0_0%'")
    store(
        connection,
        delivery({"event": "user_registered", "email": "a", f"invented_0_0_{'x' * 200}": 1}),
    )
    assert one(connection, f"select count from fields where name = '{known}'") == 2


def test_names_known_already_leave_as_much_room_for_new_ones(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FIELD_NAMES_MAX", 8)
    known = {f"a{number}": 1 for number in range(5)}
    fresh = {f"b{number}": 1 for number in range(4)}
    store(connection, delivery({"event": "user_registered", "email": "a", **known}))
    store(connection, delivery({"event": "user_registered", "email": "a", **known, **fresh}))

    assert dict(connection.execute("select name, count from fields")) == {
        **dict.fromkeys(known, 2),
        **dict.fromkeys(("b0", "b1", "b2"), 1),
        "…": 1,
    }


def test_only_the_newest_rejections_stay(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "REJECTIONS_MAX", 20)
    for number in range(50):
        record_rejection(
            connection,
            received_at=number,
            reason="wrong_signature",
            detail="d",
            client="127.0.0.1",
            body_bytes=1,
        )

    assert one(connection, "select count(*) from rejections") == 20
    assert one(connection, "select min(received_at) from rejections") == 30
    assert read_counters(connection)["deliveries"] == 0


def test_it_opens_again_with_everything_in_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    for expected in (1, 2, 3):
        opened = open_ledger(path)
        store(opened, delivery(plan("p")))
        assert accounts_for_everything(opened)["events"] == expected
        opened.close()


def test_a_ledger_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    opened = open_ledger(path)
    opened.execute("update meta set value = '99' where key = 'format_version'")
    opened.close()

    with pytest.raises(LedgerError, match="upgrade hooklake"):
        open_ledger(path)
    with pytest.raises(LedgerError, match="upgrade hooklake"), open_read_only(path):
        pass


@pytest.mark.parametrize("content", [b"no database at all, but longer than a header" * 9])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)

    with pytest.raises(LedgerError, match=r"cannot open the ledger .* `hooklake restore`"):
        open_ledger(path)
    assert path.read_bytes() == content


def test_a_folder_in_its_place_is_told_with_what_to_look_at(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.mkdir()
    told = r"cannot open the ledger .*CantOpen.*see `ls -la`"
    with pytest.raises(LedgerError, match=told):
        open_ledger(path)
    with pytest.raises(LedgerError, match=told), open_read_only(path):
        pass


def test_one_that_another_process_holds_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    holder = open_ledger(path)
    holder.execute("begin immediate")
    other = apsw.Connection(str(path))
    with pytest.raises(apsw.BusyError) as busy:
        other.execute("begin immediate")
    assert describe(busy.value).endswith("another process holds it; try again shortly")


def test_a_reader_cannot_write_and_a_missing_ledger_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(LedgerError, match="no ledger"), open_read_only(path):
        pass
    assert not path.exists()

    open_ledger(path).close()
    with pytest.raises(LedgerError), open_read_only(path) as reader:
        reader.execute("delete from sequence")
