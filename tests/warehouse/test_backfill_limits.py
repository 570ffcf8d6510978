"""What a backfill leaves out or stops at: forgotten people, and a disk that intake still needs."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import DiskFullError
from ingest.ledger import open_ledger, open_read_only, read_counters, transaction
from ingest.settings import Settings, load_settings
from ingest.tombstones import lay
from tests.warehouse.test_backfill import events, export, lake, load, quarantined
from warehouse import backfill

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings(tmp_path / "data", free_bytes_min=0)


def forget(settings: Settings, **names: str) -> None:
    connection = open_ledger(settings.paths.ensure().ledger)
    with transaction(connection):
        for kind, name in names.items():
            lay(connection, "e1", kind, [name])  # type: ignore[arg-type]
    connection.close()


def account_of(settings: Settings, capsys: pytest.CaptureFixture[str]) -> tuple[str, int]:
    """The account with the most events of an export, and how many."""
    load(settings, capsys, export(settings, events()))
    rows = [row[0] for row in lake(settings, "account_id")]
    name = max(set(rows), key=rows.count)
    return name, rows.count(name)


def test_rows_about_forgotten_people_are_counted_and_nothing_of_them_is_kept(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, count = account_of(load_settings(tmp_path / "other", free_bytes_min=0), capsys)
    forget(settings, account=name, owner="usr_gone", workspace="ws_gone")
    owned = {"event": "plan_changed", "owner_id": "usr_gone", "email": "x@y", "plan": "a"}
    nameless = {"event": "workspace_deleted", "workspace_id": "ws_gone"}
    malformed = {"event": "workspace_created", "email": name}
    when = {"timestamp": 1767323045}
    others = [json.dumps(each | when).encode() for each in (owned, nameless, malformed)]
    report = load(settings, capsys, export(settings, [*events(), *others]))
    assert (report["erased"], report["quarantined"]) == (count + 3, 0)
    assert report["new"] + report["erased"] == report["read"]
    assert name not in {row[0] for row in lake(settings, "account_id")}
    with open_read_only(settings.paths.ledger) as ledger:
        counters = read_counters(ledger)
    assert counters["erased"] == count + 3
    assert counters["deliveries"] == counters["events"] + counters["erased"]


def test_somebody_forgotten_while_a_load_runs_is_left_out_of_it(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, count = account_of(load_settings(tmp_path / "other", free_bytes_min=0), capsys)
    compare, calls = backfill.compare, []

    def compare_late(*given: Any) -> Any:
        if not calls:
            forget(settings, account=name)
        calls.append(1)
        return compare(*given)

    monkeypatch.setattr("warehouse.backfill.compare", compare_late)
    report = load(settings, capsys, export(settings, [*events(), b"bad"]))
    assert len(calls) == 2
    assert (report["erased"], report["new"]) == (count, len(events()) - count)
    assert len(quarantined(settings)) == 1
    assert name not in {row[0] for row in lake(settings, "account_id")}


def test_a_load_stops_where_intake_still_goes_on(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(settings, events())
    load(settings, capsys, export(settings, events()[:5], "before.ndjson"))
    before = lake(settings)
    limited = settings.model_copy(update={"free_bytes_min": 1_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9_999, 8_000, 1_999))
    with pytest.raises(DiskFullError, match="run the same command again"):
        backfill.run(limited, [path], as_json=True)
    assert lake(settings) == before
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9_999, 7_999, 2_000))
    assert load(limited, capsys, path)["new"] == len(events()) - 5
