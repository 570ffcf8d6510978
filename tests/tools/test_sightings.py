"""What the checklist has once seen it remembers, when the ledger has long let go of the rows."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from kept import keep, refuse

from ingest import checklist, ledger, sightings
from ingest.checklist import CHECKS, Item
from ingest.ledger import open_ledger, record_rejection, single_integer
from ingest.settings import Settings
from ingest.sightings import DAY, Seen
from warehouse import retention
from warehouse.retention import PATIENCE, prune

NOW = time.time_ns() // 1_000
T0 = 1_777_000_000  # 2026-04-24T03:06:40Z
ROW_BY_ROW = ("user_registered", "plan_changed", "plan_renewed", "downgrade_to_free")


def items(connection: apsw.Connection) -> dict[str, Item]:
    return {item.key: item for item in checklist.checklist(connection)}


def counts(connection: apsw.Connection) -> dict[str, int]:
    return {key: item.count for key, item in items(connection).items() if item.is_seen}


def tell(connection: apsw.Connection, event: str, day: float = 0.0, **fields: Any) -> None:
    data = {"owner_email": "a@example.com", **fields}
    body = {"event": event, "occurred_at": T0 + int(day * 86_400), "data": data}
    keep(connection, body, NOW)


def tell_everything(connection: apsw.Connection) -> None:
    """Every row of the checklist comes true once; the six events as often as they must."""
    tell(connection, "user_registered")
    for workspace in ("w1", "w2"):
        tell(connection, "workspace_created", workspace_id=workspace)
    tell(connection, "workspace_deleted", workspace_id="w2")
    tell(connection, "plan_changed", plan_id="business", end_date="2026-05-24")
    tell(connection, "plan_renewed", 30, plan_id="business", end_date="2026-06-24")
    for day in (31, 32, 33):
        tell(connection, "overdue_payment", day, due_date="2026-05-24")
    for _ in range(2):
        tell(connection, "plan_changed", 40, plan_id="free", auto_renew=False)
    refuse(connection, NOW)
    record_rejection(
        connection,
        received_at=NOW,
        reason="missing_header+missing_token",
        detail="",
        client=None,
        body_bytes=2,
    )


def landed(connection: apsw.Connection, microseconds_ago: int) -> None:
    """All that came was landed then; another landing says that the clock goes right."""
    newest = single_integer(connection, "select next - 1 from sequence")
    first = single_integer(connection, "select coalesce(max(last_seq), 0) + 1 from landings")
    for last, at in ((newest, NOW - microseconds_ago), (newest + 1, time.time_ns() // 1_000)):
        if first <= last:
            connection.execute(
                "insert into landings values (?, ?, 'landed', ?, ?, 1)", (first, last, at, at)
            )
            first = last + 1


def test_every_row_stays_green_when_all_that_showed_it_is_gone(
    connection: apsw.Connection, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_everything(connection)
    before = counts(connection)
    assert set(before) == {check.key for check in CHECKS}
    connection.execute("update rejections set received_at = received_at - ?", (31 * DAY,))
    landed(connection, 31 * DAY)

    pruned = prune(connection, settings)

    assert (pruned["events"], pruned["duplicates"], pruned["rejections"]) == (10, 1, 2)
    assert single_integer(connection, "select count(*) from inbox") == 0
    assert counts(connection) == before
    assert all(item.is_last_a_day for item in items(connection).values())
    assert checklist.run(settings) == 0
    told = capsys.readouterr().out
    assert "14 of 14 seen and proved" in told
    assert f"2 times, last {time.strftime('%Y-%m-%d', time.gmtime(NOW / 1e6))}  " in told
    assert checklist.run(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(item["last_at"].endswith("T00:00:00.000000Z") for item in found["items"])


def test_what_is_remembered_names_nobody(connection: apsw.Connection, settings: Settings) -> None:
    tell_everything(connection)
    landed(connection, 31 * DAY)
    prune(connection, settings)
    rows = connection.execute("select * from seen").fetchall()
    assert {key for key, *_ in rows} <= {check.key for check in CHECKS}
    assert all(isinstance(value, int) for _, *values in rows for value in values)
    assert all(last_at % DAY == 0 for _, _, last_at, _ in rows)


def test_what_comes_later_is_counted_once_and_told_to_the_second(
    connection: apsw.Connection, settings: Settings
) -> None:
    tell_everything(connection)
    before = counts(connection)
    landed(connection, 31 * DAY)
    prune(connection, settings)
    prune(connection, settings)
    assert counts(connection) == before
    tell(connection, "user_registered", 50, owner_email="b@example.com")
    refuse(connection, NOW + 5)
    after = items(connection)
    assert counts(connection) == before | {"user_registered": 2, "signature_wrong": 2}
    assert after["user_registered"].last_at == NOW
    assert after["signature_wrong"].last_at == NOW + 5


def test_a_turn_is_remembered_though_only_the_event_before_it_is_gone(
    connection: apsw.Connection, settings: Settings
) -> None:
    tell(connection, "plan_changed", plan_id="business")
    landed(connection, 31 * DAY)
    tell(connection, "plan_renewed", 30, plan_id="business")
    prune(connection, settings)
    assert single_integer(connection, "select count(*) from inbox") == 1
    assert counts(connection)["renewal"] == 1
    tell(connection, "plan_renewed", 60)
    assert counts(connection)["renewal"] == 2


def test_nothing_goes_before_its_hour_of_company_is_over(
    connection: apsw.Connection, settings: Settings
) -> None:
    tell(connection, "user_registered")
    landed(connection, 30 * DAY + PATIENCE // 2)
    assert prune(connection, settings)["events"] == 0
    assert connection.execute("select * from seen").fetchall() == []
    connection.execute("update landings set landed_at = landed_at - ? where first_seq = 1", (DAY,))
    assert prune(connection, settings)["events"] == 1


def test_refused_requests_that_newer_ones_push_out_are_remembered(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "REJECTIONS_MAX", 3)
    refuse(connection, NOW)
    for number in range(10):
        record_rejection(
            connection,
            received_at=NOW + number,
            reason="stale_timestamp",
            detail="",
            client=None,
            body_bytes=2,
        )
    assert single_integer(connection, "select count(*) from rejections") == 3
    assert counts(connection) == {"signature_wrong": 1}
    for number in range(5):
        refuse(connection, NOW + number)
        assert counts(connection) == {"signature_wrong": 2 + number}


@pytest.mark.parametrize("seed", range(8))
def test_pruned_at_any_time_it_says_what_an_unpruned_ledger_says(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one row shows is counted to the unit; no row that was green is ever grey again."""
    choose = random.Random(seed)
    monkeypatch.setattr(retention, "ROWS_OF_A_TRANSACTION", 3)
    monkeypatch.setattr(retention, "ROWS_OF_A_RUN", choose.choice((3, 7, 1_000)))
    pruned = Settings(data_dir=tmp_path / "pruned")
    whole = Settings(data_dir=tmp_path / "whole")
    one, other = (open_ledger(each.paths.ensure().ledger) for each in (pruned, whole))
    green: dict[str, int] = {}
    for step in range(60):
        event = choose.choice(("user_registered", "plan_changed", "plan_renewed", "overdue"))
        fields = {
            "owner_email": choose.choice(("a@x.test", "b@x.test")),
            "plan_id": choose.choice(("free", "business")),
            "due_date": "2026-04-24",
            "event_id": f"e{step}",
        }
        for connection in (one, other):
            tell(connection, event, step, **fields)
        if choose.random() < 0.2:
            landed(one, choose.choice((1, 31)) * DAY)
            prune(one, pruned)
        now, truth = counts(one), counts(other)
        assert all(now.get(key, 0) >= count for key, count in green.items())
        assert all(now.get(key) == truth.get(key) for key in ROW_BY_ROW)
        green = now
    one.close()
    other.close()


def test_refusals_are_counted_up_to_a_number(connection: apsw.Connection) -> None:
    for number in range(3):
        refuse(connection, NOW + number)
    assert sightings.of_refusals(connection, 2) == {"signature_wrong": Seen(2, NOW + 1, 2)}
