"""Backfill: every readable line in the lake once, every other in the quarantine, killed or not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from ingest.catalogue import live_files
from ingest.contract import LAKE_COLUMNS
from ingest.errors import StorageError
from ingest.lake import FILE_SCHEMA, file_sha256
from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, open_read_only, read_counters, store_deliveries
from ingest.ledger import transaction as ledger_transaction
from ingest.lifecycles import in_time_order, lives
from ingest.parse import Arrival, parse_body
from ingest.payloads import body_bytes, random_dialect, render
from ingest.population import World
from ingest.settings import Settings, load_settings
from warehouse import backfill
from warehouse.batches import BackfillRunningError, backfill_lock

WORLD = World(5, 25, datetime(2026, 3, 1, tzinfo=UTC), days=120)
HOUR = 1_000_000 * 3600


def events(seed: int = 1) -> list[bytes]:
    """A world's bodies, each in a dialect of its own."""
    chance = random.Random(seed)
    return [
        body_bytes(render(happening, random_dialect(chance)))
        for happening in in_time_order(lives(WORLD))
    ]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("HOOKLAKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return load_settings(tmp_path / "data", free_bytes_min=0)


def export(settings: Settings, lines: Iterable[bytes], name: str = "export.ndjson") -> Path:
    path = settings.data_dir.parent / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def load(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    *paths: Path,
    dry_run: bool = False,
) -> dict[str, Any]:
    assert backfill.run(settings, paths, dry_run=dry_run, as_json=True) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def amounts(report: dict[str, Any]) -> tuple[int, int, int, int]:
    return report["read"], report["new"], report["duplicate"], report["quarantined"]


def lake(settings: Settings, columns: str = "*") -> list[tuple[Any, ...]]:
    files = [settings.paths.lake / file.path for file in live_files(settings.paths.ledger)]
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(
            f"select {columns} from read_parquet(?, hive_partitioning = true) order by seq",
            [[str(file) for file in files]],
        ).fetchall()


def quarantined(settings: Settings) -> list[tuple[Any, ...]]:
    with open_read_only(settings.paths.ledger) as ledger:
        return list(
            ledger.execute("select line, body, problems, origin, file from quarantine order by seq")
        )


def check_books(settings: Settings) -> None:
    """The counters balance and agree with the lake; every file is what the catalogue says."""
    with open_read_only(settings.paths.ledger) as ledger:
        counters = read_counters(ledger)
    assert counters["deliveries"] == (
        counters["events"] + counters["duplicates"] + counters["quarantined"]
    )
    assert counters["events"] == len(lake(settings, "seq"))
    assert counters["quarantined"] == len(quarantined(settings))
    catalogued = {file.path: file.sha256 for file in live_files(settings.paths.ledger)}
    found = {
        str(path.relative_to(settings.paths.lake)): file_sha256(path)
        for path in settings.paths.lake.rglob("*.parquet")
    }
    assert found == catalogued
    assert list(settings.paths.staging.glob("backfill-*")) == []


def receive(settings: Settings, bodies: Sequence[bytes], *, at: int) -> None:
    """Store bodies as the receiver does, without landing them."""
    connection = open_ledger(settings.paths.ensure().ledger)
    deliveries = [Delivery(parse_body(body, Arrival(stored_at=at)), body, at) for body in bodies]
    with ledger_transaction(connection):
        store_deliveries(connection, deliveries, settings.node)
    connection.close()


def test_a_year_is_loaded_once_and_loading_it_again_adds_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = events()
    path = export(settings, bodies)
    first = load(settings, capsys, path)
    assert amounts(first) == (len(bodies), len(bodies), 0, 0)
    assert sum(first["new_by_type"].values()) == len(bodies)
    before = lake(settings)
    again = load(settings, capsys, path)
    assert amounts(again) == (len(bodies), 0, len(bodies), 0)
    assert lake(settings) == before
    check_books(settings)


def test_a_row_is_what_the_contract_says(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    body = (
        b'{"event":"overdue","id":"e1","occurred_at":"2026-01-02T03:04:05Z","data":{"email":" A@Ex'
        b'ample.com ","amount":"49.9","due_date":"2026-01-01","auto_renew":"off","currency":"EUR"}}'
    )
    report = load(settings, capsys, export(settings, [b"", body]))
    (row,) = lake(settings, ", ".join(LAKE_COLUMNS))
    found = dict(zip(LAKE_COLUMNS, row, strict=True))
    assert str(found.pop("amount")) == "49.90"
    assert found.pop("received_at") <= datetime.now(UTC)
    assert found == {
        **dict.fromkeys(found),
        "event_id": "e1",
        "event_type": "overdue_payment",
        "event_month": "2026-01",
        "sender_event": "overdue",
        "occurred_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "event_time_source": "payload",
        "origin": "backfill",
        "batch_id": report["batch_id"],
        "node": "n1",
        "seq": 2,
        "account_id": "a@example.com",
        "currency": "EUR",
        "auto_renew": False,
        "due_date": date(2026, 1, 1),
        "payload": body.decode(),
    }


def test_lake_files_have_the_one_schema(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    load(settings, capsys, export(settings, events()))
    receive(settings, [b'{"event":"x"}'], at=HOUR * 500_000)
    land_now(settings)
    with duckdb.connect() as connection:
        schemas = {
            tuple(
                (name, kind)
                for name, kind, *_ in connection.execute(
                    "describe select * from read_parquet(?, hive_partitioning = false)",
                    [str(settings.paths.lake / file.path)],
                ).fetchall()
            )
            for file in live_files(settings.paths.ledger)
        }
    (schema,) = schemas
    assert [name for name, _ in schema] == list(FILE_SCHEMA)


def test_what_is_live_already_is_not_added_landed_or_not(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = events()
    now = int(WORLD.until.timestamp()) * 1_000_000
    receive(settings, bodies[:20], at=now)
    land_now(settings)
    receive(settings, bodies[20:50], at=now)
    report = load(settings, capsys, export(settings, bodies))
    assert amounts(report) == (len(bodies), len(bodies) - 50, 50, 0)
    land_now(settings)
    ids = Counter(row[0] for row in lake(settings, "event_id"))
    assert set(ids.values()) == {1}
    assert len(ids) == len(bodies)
    check_books(settings)


def test_the_same_event_spelt_otherwise_is_a_duplicate(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    load(settings, capsys, export(settings, events(seed=1)))
    report = load(settings, capsys, export(settings, events(seed=2)))
    assert report["new"] == 0


def test_one_id_for_two_events_gives_the_second_an_id_of_its_own(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(email: str) -> bytes:
        return json.dumps(
            {
                "event": "user_registered",
                "id": "same",
                "timestamp": 1767323045,
                "data": {"email": email},
            }
        ).encode()

    first = load(settings, capsys, export(settings, [body("a@b"), body("c@d"), body("a@b")]))
    assert (amounts(first), first["renamed"]) == ((3, 2, 1, 0), 1)
    second = load(settings, capsys, export(settings, [body("e@f"), body("c@d")], "more.ndjson"))
    assert (amounts(second), second["renamed"]) == ((2, 1, 1, 0), 1)
    rows = lake(settings, "event_id, account_id")
    assert rows[0] == ("same", "a@b")
    assert all(event_id.startswith("same~") and len(event_id) == 17 for event_id, _ in rows[1:])
    receive(settings, [body("e@f"), body("c@d"), body("a@b")], at=HOUR * 500_000)
    land_now(settings)
    # The receiver names them by the same rule, so the tables have each of them once.
    assert {row[0] for row in lake(settings, "event_id")} >= {row[0] for row in rows}


def test_bad_rows_go_to_the_quarantine_once_with_line_and_reasons(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    good = events()[:3]
    bad = [
        b"not json",
        b'{"event":"workspace_created","data":{"email":"a@example.com","id":"x"}}',
        b'{"event":"user_registered","data":{"email":"a@example.com"}}',  # nothing says when
        b"\xff\xfe latin",
    ]
    path = export(settings, [good[0], bad[0], good[1], b"", *bad[1:], good[2]])
    report = load(settings, capsys, path)
    assert amounts(report) == (7, 3, 0, 4)
    kept = quarantined(settings)
    assert [(line, bytes(body)) for line, body, *_ in kept] == list(
        zip((2, 5, 6, 7), bad, strict=True)
    )
    assert {(origin, file) for *_, origin, file in kept} == {("backfill", str(path.resolve()))}
    found = [[(p["field"], p["code"]) for p in json.loads(problems)] for _, _, problems, *_ in kept]
    assert found == [
        [("body", "invalid_json")],
        [("workspace_id", "missing")],
        [("occurred_at", "missing")],
        [("body", "invalid_json")],
    ]
    assert [row["line"] for row in report["bad_rows"]] == [2, 5, 6, 7]
    assert amounts(load(settings, capsys, path)) == (7, 0, 7, 0)
    assert len(quarantined(settings)) == 4
    check_books(settings)


def test_receipt_and_covered_id_of_a_wrapped_line_count(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"event": "plan_changed", "data": {"plan_id": "free", "owner_email": "a@example.com"}}
    lines = [
        {"body": body, "received_at": "2026-01-02T03:04:05Z"},
        {"body": body, "received_at": "2999-01-01T00:00:00Z"},
        {"body": body, "received_at": "2026-01-02T03:04:05Z", "headers": {"webhook-id": "m1"}},
    ]
    load(settings, capsys, export(settings, [json.dumps(line).encode() for line in lines]))
    rows = lake(settings, "event_id, event_time_source, occurred_at, received_at, delivery_id")
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert len(rows) == 3
    assert rows[0][1:] == ("received", at, at, None)
    assert rows[1][1] == "received"
    assert rows[1][3] <= datetime.now(UTC)
    assert rows[2] == ("m1", "received", at, at, "m1")


def test_rows_timed_by_a_date_are_told_apart_by_file_and_line(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    notice = b'{"event":"overdue","data":{"email":"a@example.com","due_date":"2026-01-01"}}'
    path = export(settings, [notice, notice, notice])
    assert amounts(load(settings, capsys, path)) == (3, 3, 0, 0)
    assert amounts(load(settings, capsys, path)) == (3, 0, 3, 0)
    assert {row[0] for row in lake(settings, "event_time_source")} == {"date"}


def test_a_dry_run_reports_the_same_and_changes_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export(settings, [*events()[:10], b"nonsense"])
    rehearsed = load(settings, capsys, path, dry_run=True)
    assert amounts(rehearsed) == (11, 10, 0, 1)
    assert not settings.data_dir.exists()
    done = load(settings, capsys, path)
    for name in ("read", "new", "new_by_type", "first_occurred_at", "last_occurred_at", "bad_rows"):
        assert rehearsed[name] == done[name]
    before = sorted(settings.data_dir.rglob("*.parquet"))
    assert amounts(load(settings, capsys, path, dry_run=True)) == (11, 0, 11, 0)
    assert sorted(settings.data_dir.rglob("*.parquet")) == before


def test_chunks_and_files_of_any_size_give_the_same_rows(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.text_lines.PIECE_BYTES", 4_000)
    monkeypatch.setattr("warehouse.backfill_intake.BAD_ROWS_AT_ONCE", 1)
    monkeypatch.setattr("warehouse.backfill_staging.ROWS_OF_A_FILE", 5)
    monkeypatch.setattr("warehouse.backfill_staging.BUFFERED_BYTES_MAX", 10_000)
    bodies = events()
    report = load(settings, capsys, export(settings, [*bodies, b"x", *bodies[:9], b"y"]))
    assert amounts(report) == (len(bodies) + 11, len(bodies), 9, 2)
    assert Counter(row[0] for row in lake(settings, "payload")) == Counter(
        body.decode() for body in bodies
    )
    check_books(settings)


def test_only_one_backfill_runs_at_a_time(settings: Settings) -> None:
    path = export(settings, events()[:1])
    with (
        backfill_lock(settings.paths.ensure()),
        pytest.raises(BackfillRunningError, match="another backfill"),
    ):
        backfill.run(settings, [path], as_json=True)


@pytest.mark.parametrize(
    ("place", "step"),
    [
        (pl.DataFrame, "parsing"),
        (backfill, "comparing with the lake"),
    ],
)
def test_a_failure_names_the_step_it_met(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, place: Any, step: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise pl.exceptions.ComputeError("no more")

    monkeypatch.setattr(place, "compare" if place is backfill else "write_parquet", fail)
    with pytest.raises(StorageError, match=rf"failed while {step} \(no more\)"):
        backfill.run(settings, [export(settings, events()[:5])])
    assert live_files(settings.paths.ledger) == []


def test_the_report_for_people_says_what_happened(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export(settings, [*events()[:2], b"nonsense"])
    assert backfill.run(settings, [path]) == 0
    out = capsys.readouterr().out
    assert "quarantined            1" in out
    assert f"{path.resolve()}:3: body (invalid_json)" in out


_KILLED_AT = """
import os, signal, sys
from pathlib import Path
import warehouse.backfill as backfill, warehouse.batches as batches, ingest.ledger as ledger
from ingest.settings import load_settings

wanted, data_dir, path = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
steps = 0

def step():
    global steps
    steps += 1
    if steps == wanted:
        os.kill(os.getpid(), signal.SIGKILL)

def heard(event, arguments):
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        step()

class Transaction:
    def __init__(self, connection):
        self.inner = ledger.transaction(connection)
    def __enter__(self):
        step()
        return self.inner.__enter__()
    def __exit__(self, *raised):
        step()  # before the commit
        ended = self.inner.__exit__(*raised)
        step()  # after it
        return ended

settings = load_settings(data_dir, free_bytes_min=0)
batches.transaction = Transaction
fsync = os.fsync
os.fsync = lambda descriptor: (step(), fsync(descriptor))[1]
sys.addaudithook(heard)
sys.exit(backfill.run(settings, [path], as_json=True))
"""


def killed_at(step: int, settings: Settings, path: Path) -> bool:
    """Whether a backfill ended by itself before its n-th step, else killed there."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_AT, str(step), settings.data_dir, path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.faults
def test_killed_at_any_step_the_same_command_finishes_without_a_duplicate(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = [body for body in events() if b"2026-02" in body][:6]
    assert bodies
    path = export(settings, [*bodies, b"nonsense", bodies[0]])
    step, is_over = 1, False
    while not is_over:
        place = load_settings(tmp_path / f"killed-{step}", free_bytes_min=0)
        receive(place, bodies[1:2], at=int(WORLD.until.timestamp()) * 1_000_000)
        is_over = killed_at(step, place, path)
        if step % 2:
            load(place, capsys, path)
        else:  # other files first: the planned batch is given up
            load(place, capsys, export(settings, [bodies[2]], "other.ndjson"))
            load(place, capsys, path)
        land_now(place)
        assert Counter(row[0] for row in lake(place, "payload")) == Counter(
            body.decode() for body in bodies
        ), step
        assert [line for line, *_ in quarantined(place)] == [7], step
        check_books(place)
        step += 5
    assert step > 20
