"""What is let go of with time, and what never is: counts, ids of published events, the lake."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from lakes import complaints, land, paths_of, published_rows, refresh

from ingest.landing import land_now
from ingest.ledger import (
    Delivery,
    open_ledger,
    read_counters,
    record_rejection,
    single_integer,
    store_deliveries,
    transaction,
)
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings, load_settings
from ingest.sightings import DAY
from warehouse import retention
from warehouse.compact import compact
from warehouse.doctor import run as doctor
from warehouse.merge import content_of
from warehouse.retention import drop_versions, prune

NOTHING = {
    "events": 0,
    "duplicates": 0,
    "replayed": 0,
    "landings": 0,
    "rejections": 0,
    "quarantined": 0,
    "versions": 0,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """5 landings of a registration and a plan change."""
    settings = Settings(
        data_dir=tmp_path / "data", free_bytes_min=0, land_rows_max=2, compact_grace_seconds=0
    )
    settings.paths.ensure()
    land(settings, range(5))
    return settings


@pytest.fixture
def ledger(settings: Settings) -> Iterator[apsw.Connection]:
    connection = open_ledger(settings.paths.ledger)
    yield connection
    connection.close()


def store(connection: apsw.Connection, *bodies: bytes, **known: Any) -> list[str]:
    now = time.time_ns() // 1_000
    deliveries = [
        Delivery(parse_body(body, Arrival(now)), body, known.pop("received_at", now), **known)
        for body in bodies
    ]
    with transaction(connection):
        return [outcome.verdict for outcome in store_deliveries(connection, deliveries, "n1")]


def age(connection: apsw.Connection, table: str, column: str, days: float) -> None:
    connection.execute(f"update {table} set {column} = {column} - ?", (int(days * DAY),))


def steps_of(connection: apsw.Connection, ask: Callable[[], object]) -> int:
    """How many steps SQLite takes meanwhile."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    connection.set_progress_handler(count, 1)
    try:
        ask()
    finally:
        connection.set_progress_handler(None)
    return steps


def rows(connection: apsw.Connection, table: str) -> int:
    return single_integer(connection, f"select count(*) from {table}")


def registration(number: int) -> bytes:
    return json.dumps(
        {"event": "user_registered", "event_id": f"r{number}", "email": f"{number:04}@x.test"}
    ).encode()


def test_nothing_young_is_touched(settings: Settings, ledger: apsw.Connection) -> None:
    assert prune(ledger, settings) == NOTHING
    age(ledger, "landings", "landed_at", 29.9)
    land(settings, range(5, 6))
    assert prune(ledger, settings) == NOTHING


def test_many_landings_cost_nothing_until_something_is_due(
    settings: Settings, ledger: apsw.Connection
) -> None:
    few = steps_of(ledger, lambda: prune(ledger, settings))
    with transaction(ledger):
        ledger.execute(
            "with recursive number(last) as (select next from sequence union all"
            " select last + 1 from number limit 20000)"
            " insert into landings select last, last, 'landed', ?1, ?1, 1 from number",
            (time.time_ns() // 1_000,),
        )
    assert steps_of(ledger, lambda: prune(ledger, settings)) < 2 * few


def test_a_landing_from_the_future_keeps_nothing_for_good(
    settings: Settings, ledger: apsw.Connection
) -> None:
    age(ledger, "landings", "landed_at", 31)
    ledger.execute(
        "update landings set landed_at = landed_at + ? where first_seq ="
        " (select min(first_seq) from landings)",
        (4_000 * DAY,),
    )
    land(settings, range(5, 6))
    assert prune(ledger, settings)["events"] == 10


def test_what_was_landed_a_month_ago_leaves_the_ledger_and_stays_in_the_lake(
    settings: Settings, ledger: apsw.Connection
) -> None:
    assert store(ledger, registration(1)) == ["duplicate"]
    age(ledger, "landings", "landed_at", 30.1)
    land(settings, range(5, 7))
    before, content = read_counters(ledger), content_of(paths_of(settings))

    pruned = prune(ledger, settings)

    # the duplicate has a number above the last old landing: it waits for the next one's turn
    assert pruned == NOTHING | {"events": 10, "landings": 4}
    assert rows(ledger, "inbox") == 4
    assert read_counters(ledger) == before
    assert content_of(paths_of(settings)) == content
    assert complaints(settings) == []
    age(ledger, "landings", "landed_at", 30.1)
    land(settings, range(7, 8))
    assert prune(ledger, settings)["duplicates"] == 1
    assert read_counters(ledger)["duplicates"] == 1


def test_an_event_whose_id_the_ledger_has_let_go_of_is_published_once(
    settings: Settings, ledger: apsw.Connection
) -> None:
    refresh(settings.paths)
    age(ledger, "landings", "landed_at", 31)
    land(settings, range(5, 6))
    refresh(settings.paths)
    tables = published_rows(settings.paths)
    prune(ledger, settings)

    assert store(ledger, registration(1)) == ["accepted"]
    land_now(settings)
    refresh(settings.paths)

    assert published_rows(settings.paths) == tables
    assert complaints(settings) == []


def test_what_waits_to_be_landed_is_never_let_go_of(
    settings: Settings, ledger: apsw.Connection
) -> None:
    store(ledger, registration(77))
    age(ledger, "landings", "landed_at", 400)

    prune(ledger, settings)

    assert rows(ledger, "inbox") == 11  # time stood still with the last landing
    land(settings, range(5, 6))
    prune(ledger, settings)
    assert rows(ledger, "inbox") == 3
    assert complaints(settings) == []


def test_a_clock_that_jumps_ahead_forgets_nothing(
    settings: Settings, ledger: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention.time, "time_ns", lambda: 4_000_000_000 * 10**9)
    assert prune(ledger, settings) == NOTHING


def test_open_quarantine_stays_for_good_unless_a_setting_says_otherwise(
    settings: Settings, ledger: apsw.Connection
) -> None:
    store(ledger, b"{}", b"[]")
    age(ledger, "quarantine", "received_at", 5_000)
    store(ledger, b"young")
    assert prune(ledger, settings)["quarantined"] == 0

    short = settings.model_copy(update={"quarantine_keep_days": 90})
    assert prune(ledger, short)["quarantined"] == 2
    counted = read_counters(ledger)
    assert (counted["quarantined"], counted["erased"]) == (1, 2)
    assert complaints(settings) == []


def test_a_backfilled_line_counts_from_its_batch_and_not_from_what_it_says(
    settings: Settings, ledger: apsw.Connection
) -> None:
    now = time.time_ns() // 1_000
    ledger.execute(
        "insert into batches (batch_id, source, status, started_at) values ('b', '', 'landed', ?)",
        (now,),
    )
    store(ledger, b"{}", received_at=1, origin="backfill", batch_id="b")
    assert prune(ledger, settings.model_copy(update={"quarantine_keep_days": 1})) == NOTHING


def test_refused_requests_are_forgotten(settings: Settings, ledger: apsw.Connection) -> None:
    for days in (0, 31, 32):
        record_rejection(
            ledger,
            received_at=time.time_ns() // 1_000 - days * DAY,
            reason="wrong_signature",
            detail="",
            client="127.0.0.1",
            body_bytes=1,
        )
    assert prune(ledger, settings)["rejections"] == 2
    assert rows(ledger, "rejections") == 1


def test_many_rows_go_in_small_transactions_and_over_several_runs(
    settings: Settings, ledger: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_OF_A_TRANSACTION", 2)
    monkeypatch.setattr(retention, "ROWS_OF_A_RUN", 4)
    age(ledger, "landings", "landed_at", 31)
    land(settings, range(5, 6))

    assert [prune(ledger, settings)["events"] for _ in range(4)] == [4, 4, 2, 0]


def test_what_was_landed_is_remembered_as_one_range(
    settings: Settings, ledger: apsw.Connection
) -> None:
    age(ledger, "landings", "landed_at", 31)
    land(settings, range(5, 6))
    prune(ledger, settings)

    found = ledger.execute("select first_seq, last_seq, rows from landings").fetchall()
    assert found == [(1, 10, 10), (11, 12, 2)]
    assert land_now(settings).events == 0


def test_older_versions_go_and_the_newest_stays(settings: Settings) -> None:
    for _ in range(3):
        refresh(settings.paths)
    for path in settings.paths.root.glob("warehouse-*.duckdb"):
        os.utime(path, (1, 1))

    assert drop_versions(settings.paths, 24) == 2
    assert published_rows(settings.paths)["events"]
    assert drop_versions(settings.paths, 24) == 0


def test_compaction_lets_go_too_and_merged_files_follow_the_versions(
    settings: Settings, ledger: apsw.Connection
) -> None:
    refresh(settings.paths)
    compact(settings, everything=True)
    refresh(settings.paths)
    age(ledger, "landings", "landed_at", 31)
    land(settings, range(5, 6))
    os.utime(settings.data_dir / "warehouse-1.duckdb", (1, 1))

    report = compact(settings)

    assert report.pruned == NOTHING | {"events": 10, "landings": 4, "versions": 1}
    assert report.removed == 10  # no version names them any more


@pytest.mark.parametrize("days", ["29", "-1", "a"])
def test_a_ledger_that_knows_less_than_a_month_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, days: str
) -> None:
    monkeypatch.setenv("HOOKLAKE_LEDGER_KEEP_DAYS", days)
    with pytest.raises(Exception, match="HOOKLAKE_LEDGER_KEEP_DAYS"):
        load_settings()


def test_doctor_tells_the_size_of_every_part(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    refresh(settings.paths)
    compact(settings, everything=True)
    (settings.data_dir / "export.csv").write_bytes(b"x" * 1000)
    doctor(settings, as_json=True)

    sizes = json.loads(capsys.readouterr().out)["bytes"]

    everything = sum(
        path.stat().st_size
        for path in settings.data_dir.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    assert sizes.pop("total") == everything == sum(sizes.values())
    assert sizes["lake"] == sum(path.stat().st_size for path in paths_of(settings))
    assert sizes["lake_replaced"] > 0
    assert sizes["other"] >= 1000
    doctor(settings, as_json=False)
    assert "lake replaced" in capsys.readouterr().out
