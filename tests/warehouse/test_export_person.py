"""`hooklake export-person`: all that is kept about somebody, and nothing about anybody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forgetting import ANN, BOB, anns_bodies, body, deliver, fill, settings_of

from ingest.errors import StorageError, UsageError
from ingest.settings import Settings
from warehouse.build import Wanted
from warehouse.export_person import run
from warehouse.forget import erase
from warehouse.output_file import OutputRefusedError
from warehouse.person import named
from warehouse.refresh import Refresher

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("exporting")
    settings = settings_of(folder / "data")
    fill(settings, folder)
    Refresher(settings, lambda report: None).refresh(Wanted(), land=True)
    deliver(settings, body("plan_changed", "late", email=ANN, plan="free"))
    return settings


def exported(settings: Settings, capsys: pytest.CaptureFixture[str], email: str = ANN) -> Any:
    capsys.readouterr()
    assert run(settings, email) == 0
    return json.loads(capsys.readouterr().out)


def test_everything_about_the_person_is_there_as_it_was_received(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    document = exported(settings, capsys)
    assert document["accounts"] == ["ann.new@x.test", ANN]
    assert document["owner_ids"] == ["u-1"]
    events = {event["event_id"]: event for event in document["events"]}
    assert set(events) == {*(f"a-{n}" for n in range(1, 8)), "c-1", "late"}
    assert events["a-1"]["payload"] == anns_bodies()[0].decode()
    assert events["a-1"]["occurred_at"] == "2026-02-03T10:00:00Z"
    assert [row["event_id"] for row in document["duplicates"]] == ["a-1"]
    assert {row["body"] for row in document["quarantined"]} >= {anns_bodies()[-1].decode()}
    assert {row["account_id"] for row in document["tables"]["dim_accounts"]} == {
        ANN,
        "ann.new@x.test",
    }


def test_nobody_elses_rows_are_given_away(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert BOB not in json.dumps(exported(settings, capsys))


def test_what_is_exported_is_what_is_erased(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = exported(settings, capsys, BOB)
    removed = erase(settings, named(BOB, None), is_linked=True)["removed"]
    assert removed == {
        "events": len(document["events"]),
        "duplicates": len(document["duplicates"]),
        "quarantined": len(document["quarantined"]),
    }
    empty = exported(settings, capsys, BOB)
    assert (empty["events"], empty["duplicates"], empty["quarantined"]) == ([], [], [])
    assert not any(empty["tables"].values())


def test_a_file_is_new_and_private(settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "ann.json"
    assert run(settings, ANN, output=target) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(target.read_text())["owner_ids"] == ["u-1"]
    with pytest.raises(UsageError, match="exists already"):
        run(settings, ANN, output=target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("place", ["lake/events/x.parquet", "ledger.sqlite", "x.json"])
def test_a_file_never_lies_among_hooklakes_own(settings: Settings, place: str) -> None:
    with pytest.raises(OutputRefusedError, match="outside of"):
        run(settings, ANN, output=settings.paths.root / place)


def test_a_damaged_published_warehouse_is_named_and_not_the_lake(settings: Settings) -> None:
    path = settings.paths.warehouse.resolve()
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"garbage" * 1_000)
    try:
        with pytest.raises(StorageError, match=rf"reading {path} .*refresh --full"):
            run(settings, ANN)
    finally:
        path.write_bytes(whole)


def test_where_nothing_was_received_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was ever received"):
        run(settings_of(tmp_path / "empty"), ANN)
