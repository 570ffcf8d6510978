"""Loads are listed and taken back; live and loaded events never double, whichever came first."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import apsw
import duckdb
import pytest

from ingest import delivery_log
from ingest.catalogue import live_files
from ingest.errors import LedgerError, UsageError
from ingest.landing import land_now, pending_since
from ingest.ledger import Delivery, open_ledger, open_read_only, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings, load_settings
from tests.warehouse.test_backfill import (
    WORLD,
    amounts,
    check_books,
    events,
    export,
    lake,
    load,
    quarantined,
    receive,
)
from warehouse import refresh, undo
from warehouse.compact import compact
from warehouse.doctor import examine as examine_directory

NOW = int(WORLD.until.timestamp()) * 1_000_000


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings(tmp_path / "data", free_bytes_min=0)


def failures(settings: Settings) -> list[str]:
    return [
        finding.message
        for finding in examine_directory(settings)
        if finding.level == "failure" and finding.check != "refresh"
    ]


def listed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert undo.run_list(settings, as_json=True) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_load_taken_back_leaves_nothing_and_comes_back_when_loaded_again(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = events()
    receive(settings, bodies[:30], at=NOW)
    land_now(settings)
    live = lake(settings)
    path = export(settings, [*bodies, b"nonsense"])
    report = load(settings, capsys, path)
    undone = undo.undo(settings, report["batch_id"])
    assert (undone.events, undone.quarantined) == (len(bodies) - 30, 1)
    assert lake(settings) == live
    assert quarantined(settings) == []
    assert failures(settings) == []
    again = load(settings, capsys, path)
    assert amounts(again) == (len(bodies) + 1, len(bodies) - 30, 30, 1)
    assert failures(settings) == []
    assert undo.undo(settings, report["batch_id"]).events == 0  # the first one again
    assert [batch["status"] for batch in listed(settings, capsys)] == ["landed", "undone"]


def test_merged_files_of_a_load_are_taken_back_as_well(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.backfill_staging.ROWS_OF_A_FILE", 2)
    monkeypatch.setattr("warehouse.text_lines.PIECE_BYTES", 2_000)
    other = load(settings, capsys, export(settings, events()[:40], "other.ndjson"))
    report = load(settings, capsys, export(settings, events()))
    compact(settings, everything=True)
    assert any("-g" in file.path for file in live_files(settings.paths.ledger))
    undone = undo.undo(settings, report["batch_id"])
    assert undone.events == report["new"]
    assert {row[0] for row in lake(settings, "batch_id")} == {other["batch_id"]}
    assert failures(settings) == []


def test_loads_are_listed_newest_first_with_what_is_still_there(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.data_dir.mkdir()
    assert listed(settings, capsys) == []
    first = load(settings, capsys, export(settings, [*events()[:9], b"bad"], "a.ndjson"))
    second = load(settings, capsys, export(settings, events(), "b.ndjson"))
    found = listed(settings, capsys)
    assert [batch["batch_id"] for batch in found] == [second["batch_id"], first["batch_id"]]
    assert (found[1]["events"], found[1]["quarantined"], found[1]["read"]) == (9, 1, 10)
    assert found[1]["files"][0].endswith("a.ndjson")
    assert undo.run_list(settings, as_json=False) == 0
    assert first["batch_id"] in capsys.readouterr().out


def test_an_unknown_or_unfinished_load_is_refused(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="--list"):
        undo.undo(settings, "b-nothing")
    report = load(settings, capsys, export(settings, events()[:3]))
    with pytest.raises(UsageError, match="--list"):
        undo.undo(settings, "b-nothing")
    ledger = open_ledger(settings.paths.ledger)
    ledger.execute("update batches set status = 'planned'")
    ledger.close()
    with pytest.raises(UsageError, match="never finished"):
        undo.undo(settings, report["batch_id"])


def test_a_load_whose_undoing_fails_halfway_is_still_there_as_a_whole(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = load(settings, capsys, export(settings, [*events()[:9], b"bad"]))

    def fail(*_: Any) -> None:
        raise apsw.FullError("disk full")

    before = lake(settings)
    with monkeypatch.context() as patch:
        patch.setattr("warehouse.undo.count", fail)
        with pytest.raises(LedgerError, match="undoing"):
            undo.undo(settings, report["batch_id"])
    assert lake(settings) == before
    assert len(quarantined(settings)) == 1
    assert failures(settings) == []
    assert undo.undo(settings, report["batch_id"]).events == 9


def test_what_was_replayed_out_of_the_quarantine_stays(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    from ingest.quarantine import replay

    report = load(settings, capsys, export(settings, [events()[0], b"bad"]))
    ledger = open_ledger(settings.paths.ledger)
    (seq,) = next(ledger.execute("select seq from quarantine"))
    replay(ledger, seq, node=settings.node, mended_body=events()[1])
    ledger.close()
    undone = undo.undo(settings, report["batch_id"])
    land_now(settings)
    assert (undone.events, undone.quarantined) == (1, 0)
    assert [row[0] for row in lake(settings, "origin")] == ["replay"]
    assert failures(settings) == []


def published(settings: Settings) -> tuple[int, int]:
    """Rows and ids of the published events."""
    assert refresh.run(settings, full=False, watch=False, as_json=True) == 0
    with duckdb.connect(str(settings.paths.warehouse.resolve()), read_only=True) as warehouse:
        found: list[tuple[int, int]] = warehouse.execute(
            "select count(*), count(distinct event_id) from events"
        ).fetchall()
    return found[0]


@pytest.mark.slow
def test_an_event_is_in_the_tables_once_whichever_came_first(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = events()
    first = load(settings, capsys, export(settings, bodies[10:]))
    receive(settings, bodies[:25], at=NOW)
    land_now(settings)
    second = load(settings, capsys, export(settings, bodies, "again.ndjson"))
    assert amounts(second) == (len(bodies), 0, len(bodies), 0)
    assert published(settings) == (len(bodies), len(bodies))
    undo.undo(settings, first["batch_id"])
    assert published(settings) == (25, 25)


def test_loaded_rows_are_no_fresh_events(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What follows fresh events follows the inbox, which a load never enters, not even with the
    lines it quarantines."""
    load(settings, capsys, export(settings, [*events(), b"bad"]))
    with open_read_only(settings.paths.ledger) as ledger:
        for table in ("inbox", "duplicates", "landings"):
            assert ledger.execute(f"select count(*) from {table}").fetchone() == (0,)
        until = delivery_log.newest_seq(ledger)
        assert until >= len(events())
        heard = delivery_log.deliveries(ledger, delivery_log.Filter(), after=0, until=until)
        assert list(heard) == []
        assert pending_since(ledger) is None
    assert {row[0] for row in lake(settings, "origin")} == {"backfill"}
    check_books(settings)


def test_our_own_lake_is_loaded_elsewhere_as_the_same_events_and_here_adds_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = events()
    unnamed = b'{"event":"plan_changed","data":{"plan_id":"free","owner_email":"a@b"}}'
    dated = b'{"event":"overdue","data":{"email":"a@b","due_date":"2026-01-01"}}'
    connection = open_ledger(settings.paths.ensure().ledger)
    now = time.time_ns() // 1_000
    with transaction(connection):
        deliveries = [
            Delivery(
                parse_body(body, Arrival(stored_at=now, signed_id=name, signed_at=signed)),
                body,
                now,
                delivery_id=name,
                signed_at=signed,
            )
            for body, name, signed in (
                *((body, None, None) for body in bodies),
                (unnamed, None, None),
                (unnamed, "m1", 1_767_323_045_000_000),
            )
        ]
        store_deliveries(connection, deliveries, settings.node)
    connection.close()
    land_now(settings)
    load(settings, capsys, export(settings, [dated]))
    here = load(settings, capsys, settings.paths.lake)
    assert (here["new"], here["duplicate"], here["quarantined"]) == (0, len(bodies) + 3, 0)
    elsewhere = load_settings(tmp_path / "elsewhere", free_bytes_min=0)
    there = load(elsewhere, capsys, settings.paths.lake)
    assert there["new"] == len(bodies) + 3
    said = "event_id, event_type, occurred_at, event_time_source, account_id, payload"
    assert sorted(lake(elsewhere, said)) == sorted(lake(settings, said))
