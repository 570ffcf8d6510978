"""`hooklake compact` on a real ledger and lake: the same rows in fewer files, whoever looks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import polars as pl
import pytest
from lakes import complaints, land, on_disk, paths_of, published_rows, refresh

from ingest.catalogue import live_files, successors
from ingest.errors import DiskFullError, StorageError
from ingest.lake import FILE_SCHEMA, file_sha256
from ingest.landing import landing_lock
from ingest.ledger import (
    open_ledger,
    single_integer,
)
from ingest.rewrites import ReplacedMeanwhileError, begin, swap, unfinished
from ingest.settings import Settings
from ingest.upkeep_status import read_compaction_status
from ingest.worker import Watch
from tests.e2e.installation import wait_until
from warehouse import compact as compaction
from warehouse.compact import CompactionRunningError, compact, due, merge_one, run
from warehouse.doctor import examine
from warehouse.locks import held
from warehouse.merge import content_of, write_merged
from warehouse.reader import connect, published
from warehouse.tiers import FAN
from warehouse.upkeep import Upkeep


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """40 landings of a registration and a plan change each: 80 files."""
    settings = Settings(
        data_dir=tmp_path / "data", free_bytes_min=0, land_rows_max=2, compact_grace_seconds=0
    )
    settings.paths.ensure()
    land(settings, range(40))
    return settings


@pytest.fixture
def ledger(settings: Settings) -> Iterator[apsw.Connection]:
    connection = open_ledger(settings.paths.ledger)
    yield connection
    connection.close()


def test_the_same_rows_are_in_fewer_files_in_the_order_of_their_numbers(
    settings: Settings,
) -> None:
    before, content = len(paths_of(settings)), content_of(paths_of(settings))

    report = compact(settings)

    files = paths_of(settings)
    assert (before, len(files)) == (80, 2)
    assert (report.merged, report.written, report.rows) == (80, 2, 80)
    assert content_of(files) == content
    for file in files:
        frame = pl.read_parquet(file, hive_partitioning=False)
        assert dict(frame.schema) == FILE_SCHEMA
        assert frame["seq"].is_sorted()
    assert complaints(settings) == []


def test_a_second_compaction_has_nothing_to_do(settings: Settings) -> None:
    compact(settings)
    there = on_disk(settings)

    report = compact(settings, everything=True)

    assert (report.merged, report.written, report.removed) == (0, 0, 0)
    assert on_disk(settings) == there


def test_nothing_was_ever_received_here(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "none")
    settings.data_dir.mkdir()

    assert run(settings) == 0
    assert not list(settings.data_dir.iterdir())


def test_landing_and_compacting_in_turns_keeps_every_row(settings: Settings) -> None:
    for turn in range(1, 4):
        compact(settings)
        land(settings, range(40 * turn, 40 * turn + 20))
    compact(settings, everything=True)

    files = paths_of(settings)
    assert len(files) == 2
    assert content_of(files).rows == 200
    assert complaints(settings) == []


def test_a_refresh_afterwards_reads_nothing_again_and_every_table_is_equal(
    settings: Settings,
) -> None:
    first = refresh(settings.paths)
    tables = published_rows(settings.paths)
    compact(settings)

    after = refresh(settings.paths)

    assert (first.rows, after.rows, after.accounts) == (80, 0, 0)
    assert published_rows(settings.paths) == tables
    assert refresh(settings.paths).rows == 0


def test_a_state_that_missed_several_merges_follows_them(settings: Settings) -> None:
    refresh(settings.paths)
    for turn in range(1, 4):
        compact(settings, everything=True)
        land(settings, range(40 * turn, 40 * turn + 1))

    report = refresh(settings.paths)

    assert (report.rows, report.accounts) == (6, 3)
    version = published(settings.paths)
    assert version is not None
    assert version.events == 86


def test_a_file_that_lost_rows_is_not_taken_for_a_merged_one(
    settings: Settings, ledger: apsw.Connection
) -> None:
    """As an erasure does it: the state is read anew, and the person's rows are gone."""
    refresh(settings.paths)
    merge = due(ledger, settings)[0]
    temporary, written = write_merged(settings.paths, merge)
    frame = pl.read_parquet(temporary, hive_partitioning=False)
    target = settings.paths.lake / written.path
    frame.filter(pl.col("account_id") != "0003@x.test").write_parquet(target)
    smaller = written.__class__(
        **{
            **written.__dict__,
            "rows": frame.height - 1,
            "bytes": target.stat().st_size,
            "sha256": file_sha256(target),
        }
    )
    swap(ledger, [file.file_id for file in merge.files], smaller, is_whole=False)

    report = refresh(settings.paths)

    assert report.events == 79
    assert report.accounts is None  # everybody: it was read anew


def test_replaced_files_stay_for_the_grace_period(settings: Settings) -> None:
    patient = settings.model_copy(update={"compact_grace_seconds": 60.0})
    assert compact(patient).removed == 0
    assert len(on_disk(settings)) == 82
    assert complaints(settings) == []

    assert compact(settings).removed == 80
    assert len(on_disk(settings)) == 2
    assert complaints(settings) == []


def test_replaced_files_stay_while_a_kept_version_names_them(settings: Settings) -> None:
    refresh(settings.paths)
    assert compact(settings).removed == 0
    version = published(settings.paths)
    assert version is not None
    with connect(version) as connection:
        assert connection.execute("select count(*) from events").fetchall() == [(80,)]

    for _ in range(3):
        refresh(settings.paths)
    assert compact(settings).removed == 80


@pytest.mark.parametrize("lock", ["refresh_lock", "backfill_lock", "backup_lock"])
def test_nothing_is_removed_beside_whoever_works_from_an_older_catalogue(
    settings: Settings, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.sweep.LOCK_WAIT_SECONDS_MAX", 0.05)
    with held(getattr(settings.paths, lock)):
        assert compact(settings).removed == 0
    assert compact(settings).removed == 80


def test_a_removed_file_that_comes_back_is_told_and_removed_again(
    settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(settings.paths.lake, tmp_path / "before")
    compact(settings)
    shutil.copytree(tmp_path / "before", settings.paths.lake, dirs_exist_ok=True)

    (told,) = complaints(settings)
    assert told.startswith("warning: 80 files were merged and removed, and are there again")
    assert content_of(paths_of(settings)).rows == 80
    assert compact(settings).removed == 80
    assert complaints(settings) == []


def test_a_damaged_file_is_never_hidden_in_a_merged_one(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = paths_of(settings)[5]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)

    assert run(settings, as_json=True) == 1

    told = capsys.readouterr()
    assert damaged.name in told.err
    report = json.loads(told.out)
    assert report["written"] == 1  # the other type's
    assert [damaged.name in text for text in report["skipped"]] == [True]
    assert [damaged.name in text for text in complaints(settings)] == [True]


def test_without_room_nothing_is_begun(settings: Settings) -> None:
    there = on_disk(settings)
    poor = settings.model_copy(update={"free_bytes_min": 1 << 60})

    with pytest.raises(DiskFullError, match="free some space"):
        compact(poor)
    assert on_disk(settings) == there


def test_two_at_once_are_refused(settings: Settings) -> None:
    with held(settings.paths.rewrite_lock), pytest.raises(CompactionRunningError):
        compact(settings)


def test_it_waits_for_a_landing_and_no_longer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LANDING_WAIT_SECONDS_MAX", 0.05)
    with landing_lock(settings.paths) as is_held, pytest.raises(StorageError, match="later"):
        assert is_held
        compact(settings)
    assert len(paths_of(settings)) == 80


def test_landing_goes_on_while_a_merge_is_written(
    settings: Settings, ledger: apsw.Connection
) -> None:
    seen = []

    def look(_: Path) -> None:
        with landing_lock(settings.paths) as is_free:
            seen.append(is_free)

    merge_one(ledger, settings.paths, due(ledger, settings)[0], look)

    assert seen == [True]


def test_inputs_replaced_meanwhile_leave_everything_as_it_was(
    settings: Settings, ledger: apsw.Connection
) -> None:
    merge = due(ledger, settings)[0]

    def steal(_: Path) -> None:
        ledger.execute(
            "update files set status = 'replaced' where file_id = ?", (merge.files[3].file_id,)
        )

    with pytest.raises(ReplacedMeanwhileError):
        merge_one(ledger, settings.paths, merge, steal)
    assert merge.path not in on_disk(settings)
    assert unfinished(ledger) == set()
    assert not list(settings.paths.staging.iterdir())


def test_what_a_killed_merge_left_is_expected_by_doctor_and_cleared_up(
    settings: Settings, ledger: apsw.Connection
) -> None:
    merge = due(ledger, settings)[0]
    temporary, written = write_merged(settings.paths, merge)
    begin(ledger, written.path)
    shutil.copy(temporary, settings.paths.lake / written.path)

    assert complaints(settings) == []
    assert compact(settings).written == 2
    assert complaints(settings) == []
    assert not list(settings.paths.staging.iterdir())
    assert content_of(paths_of(settings)).rows == 80


def test_a_name_that_was_in_the_catalogue_is_never_used_again(
    settings: Settings, ledger: apsw.Connection
) -> None:
    compact(settings)
    with pytest.raises(StorageError, match="in the catalogue before"):
        begin(ledger, live_files(settings.paths.ledger)[0].path)


def test_the_catalogue_remembers_what_became_of_every_file(
    settings: Settings, ledger: apsw.Connection
) -> None:
    landed = {file.file_id for file in live_files(settings.paths.ledger)}
    compact(settings)

    heirs = successors(settings.paths.ledger, landed)

    assert heirs.keys() == landed
    assert set(heirs.values()) == {file.file_id for file in live_files(settings.paths.ledger)}
    removed = single_integer(
        ledger, "select count(*) from files where status = 'replaced' and deleted_at is not null"
    )
    assert removed == 80


def test_a_watcher_has_it_done_and_ends_it_with_itself(settings: Settings) -> None:
    environment = os.environ | {
        "HOOKLAKE_FREE_BYTES_MIN": "0",
        "HOOKLAKE_COMPACT_INTERVAL_SECONDS": "0.2",
        "HOOKLAKE_COMPACT_GRACE_SECONDS": "0",
    }
    command = [sys.executable, "-m", "warehouse.cli", "refresh", "--watch", "--data-dir"]
    watcher = subprocess.Popen([*command, str(settings.data_dir)], env=environment)
    try:
        wait_until(lambda: len(paths_of(settings)) == 2, seconds=60, what="a compaction")
        land(settings, range(40, 60))
        wait_until(lambda: len(paths_of(settings)) <= 4, seconds=60, what="another one")
    finally:
        watcher.terminate()
    assert watcher.wait(30) == 0
    with held(settings.paths.rewrite_lock, wait_seconds=10) as nobody_compacts:
        assert nobody_compacts
    assert content_of(paths_of(settings)).rows == 120
    assert complaints(settings) == []


def test_an_interval_of_zero_never_compacts(settings: Settings) -> None:
    upkeep = Upkeep(settings.model_copy(update={"compact_interval_seconds": 0.0}))
    upkeep.look()
    assert not upkeep.is_running


def test_the_command_killed_at_any_moment_is_mended_by_the_next(settings: Settings) -> None:
    content = content_of(paths_of(settings))
    environment = os.environ | {"HOOKLAKE_FREE_BYTES_MIN": "0"}
    command = [sys.executable, "-m", "warehouse.cli", "compact", "--data-dir"]
    for delay in (0.6, 0.9, 1.2, 1.5):
        process = subprocess.Popen([*command, str(settings.data_dir)], env=environment)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert content_of(paths_of(settings)) == content
        assert complaints(settings) == []
        land(settings, range(int(delay * 1000), int(delay * 1000) + FAN))
        content = content_of(paths_of(settings))
    compact(settings)
    assert content_of(paths_of(settings)) == content


def test_what_was_done_and_what_went_wrong_is_left_for_metrics_and_doctor(
    settings: Settings,
) -> None:
    assert read_compaction_status(settings.paths.compaction_status) is None
    compact(settings)

    done = read_compaction_status(settings.paths.compaction_status)
    assert done is not None
    assert (done.merged, done.written, done.files, done.error) == (80, 2, 2, None)
    assert done.bytes == sum(path.stat().st_size for path in paths_of(settings))
    assert compaction_findings(settings) == ["ok"]

    with pytest.raises(DiskFullError):
        land(settings, range(40, 80))
        compact(settings.model_copy(update={"free_bytes_min": 1 << 60}))
    failed = read_compaction_status(settings.paths.compaction_status)
    assert failed is not None
    assert failed.error is not None
    assert "free some space" in failed.error
    assert failed.succeeded_at == done.at
    assert compaction_findings(settings) == ["warning"]
    assert gauges(settings) == {"compaction_failed": 1.0, "lake_files": 82.0}

    settings.paths.compaction_status.write_bytes(b'{"at": 1}')
    assert read_compaction_status(settings.paths.compaction_status) is None
    assert compaction_findings(settings) == []
    assert gauges(settings) == {"compaction_failed": 0.0, "lake_files": 0.0}


def compaction_findings(settings: Settings) -> list[str]:
    return [finding.level for finding in examine(settings) if finding.check == "compaction"]


def gauges(settings: Settings) -> dict[str, float]:
    """As a receiver that has just started shows them."""
    report = Watch(settings).report()
    return {name: report[name] for name in ("compaction_failed", "lake_files")}
