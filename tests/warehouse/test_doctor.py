"""`hooklake doctor`: finds what is lost, broken or stuck, and nothing where all is well."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import duckdb
import pytest

from ingest.errors import LedgerError
from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.paths import write_file_durably
from ingest.settings import Settings
from warehouse.doctor import Finding, examine, run

NOW = 1_790_000_000_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with thirty landed events, one duplicate and one in quarantine."""
    settings = Settings(data_dir=tmp_path / "data", free_bytes_min=0)
    settings.paths.ensure()
    bodies = [
        json.dumps({"event": "user_registered", "id": n, "data": {"email": f"{n}@x.test"}}).encode()
        for n in range(30)
    ]
    store(settings, *bodies, bodies[0], b"{}")
    land_now(settings)
    status = {"ok": True, "attempted_at": "2026-09-21T00:00:00Z", "version": 1}
    write_file_durably(settings.paths.refresh_status, json.dumps(status).encode())
    with duckdb.connect(str(settings.paths.warehouse)) as connection:
        connection.execute("create schema hooklake")
        connection.execute(
            "create table hooklake.build as select 1 as version, now() as built_at, now() as as_of,"
            " now() as newest_received_at, 30 as events"
        )
    settings.paths.warehouse.chmod(0o600)
    return settings


def store(settings: Settings, *bodies: bytes) -> None:
    connection = open_ledger(settings.paths.ledger)
    deliveries = [
        Delivery(parse_body(body, Arrival(stored_at=NOW)), body, NOW, verified_by="none:none")
        for body in bodies
    ]
    with transaction(connection):
        store_deliveries(connection, deliveries, "n1")
    connection.close()


def failures(settings: Settings) -> list[Finding]:
    return [finding for finding in examine(settings) if finding.level == "failure"]


def lake_file(settings: Settings) -> Path:
    return next(settings.paths.lake.rglob("*.parquet"))


def change_ledger(settings: Settings, statement: str) -> None:
    connection = open_ledger(settings.paths.ledger)
    connection.execute(statement)
    connection.close()


def test_a_healthy_installation_has_no_failure_and_adds_up(settings: Settings) -> None:
    findings = examine(settings)
    assert [finding for finding in findings if finding.level != "ok"] == []
    (sums,) = [finding for finding in findings if finding.check == "row accounting"]
    assert sums.message == "32 deliveries = 30 events + 1 duplicates + 1 quarantined + 0 erased"


def test_a_ledger_of_another_user_is_not_called_damaged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = settings.paths.ledger
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != ledger)
    (found,) = failures(settings)
    assert found.message == f"this user may not read and write {ledger}"
    assert "as the user that owns it" in found.next_step
    assert "backup" not in found.next_step


def test_a_ledger_that_is_no_database_says_what_to_do(settings: Settings) -> None:
    for end in ("-wal", "-shm"):
        settings.paths.ledger.with_name(f"ledger.sqlite{end}").unlink(missing_ok=True)
    settings.paths.ledger.write_bytes(b"no database" * 1_000)
    (found,) = failures(settings)
    assert found.message.count("`hooklake restore`") == 1
    with pytest.raises(LedgerError, match="`hooklake restore` with a backup"):
        land_now(settings)


def test_every_flipped_bit_of_a_lake_file_is_found(settings: Settings) -> None:
    path = lake_file(settings)
    whole = path.read_bytes()
    choose = random.Random(5)
    for _ in range(50):
        position, bit = choose.randrange(len(whole)), 1 << choose.randrange(8)
        broken = bytearray(whole)
        broken[position] ^= bit
        path.write_bytes(broken)
        (found,) = failures(settings)
        assert path.name in found.message
    path.write_bytes(whole)
    assert failures(settings) == []


def test_a_missing_and_a_truncated_lake_file_are_found(settings: Settings) -> None:
    path = lake_file(settings)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "another size" in failures(settings)[0].message
    path.unlink()
    assert "No such file" in failures(settings)[0].message


def test_a_file_the_ledger_does_not_know_is_found(settings: Settings) -> None:
    path = lake_file(settings)
    path.with_name("n9-1-2.parquet").write_bytes(path.read_bytes())
    (found,) = failures(settings)
    assert found.check == "orphans"
    assert "n9-1-2.parquet" in found.message


def test_a_landing_that_was_cut_off_is_no_failure(settings: Settings) -> None:
    change_ledger(
        settings,
        "insert into landings (first_seq, last_seq, status, planned_at)"
        " values (90, 99, 'planned', 1)",
    )
    path = lake_file(settings)
    path.with_name("n1-90-99.parquet").write_bytes(path.read_bytes())
    assert failures(settings) == []


@pytest.mark.parametrize(
    "theft",
    [
        "update counters set value = value - 1 where name = 'events'",
        "update counters set value = value + 1 where name = 'deliveries'",
        "delete from quarantine",
        "delete from files",
    ],
)
def test_rows_that_do_not_add_up_are_found(settings: Settings, theft: str) -> None:
    change_ledger(settings, theft)
    assert "row accounting" in {finding.check for finding in failures(settings)}


def test_events_that_wait_to_be_landed_count_as_kept(settings: Settings) -> None:
    store(settings, b'{"event":"user_registered","email":"late@x.test","id":"late"}')
    assert failures(settings) == []
    (landing,) = [finding for finding in examine(settings) if finding.check == "landing"]
    assert landing.level == "warning"


def test_a_data_directory_open_to_others_is_found(settings: Settings) -> None:
    settings.paths.root.chmod(0o755)
    assert [found.check for found in failures(settings)] == ["permissions"]


def test_a_failed_refresh_is_found_with_its_reason(settings: Settings) -> None:
    status = {"ok": False, "attempted_at": "2026-09-21T00:00:00Z", "stage": "test", "error": "boom"}
    settings.paths.refresh_status.write_text(json.dumps(status))
    (found,) = failures(settings)
    assert "boom" in found.message


def test_a_published_file_that_is_damaged_is_found(settings: Settings) -> None:
    with settings.paths.warehouse.open("r+b") as stream:
        stream.write(b"garbage" * 1_000)
    (found,) = failures(settings)
    assert found.check == "refresh"
    assert f"{settings.paths.warehouse} cannot be read" in found.message
    assert "--full" in found.next_step


def test_too_little_free_space_is_found(settings: Settings) -> None:
    wide = settings.model_copy(update={"free_bytes_min": 1 << 60})
    assert [found.check for found in failures(wide)] == ["free space"]


def test_a_directory_that_does_not_exist_says_what_to_do(tmp_path: Path) -> None:
    (found,) = failures(Settings(data_dir=tmp_path / "nowhere"))
    assert "--data-dir" in found.next_step


def test_the_exit_code_is_for_cron(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(settings, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    lake_file(settings).unlink()
    assert run(settings, as_json=False) == 1
    assert "FAIL" in capsys.readouterr().out
