"""`hooklake backup` and `restore`: row for row, while all runs, cut off anywhere, never half."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest
from lakes import complaints, land, on_disk, paths_of, published_rows, refresh

from ingest.errors import HooklakeError, LedgerError, StorageError, UsageError
from ingest.landing import land_now
from ingest.ledger import open_ledger, open_read_only, read_counters
from ingest.ledger_format import FORMAT_VERSION
from ingest.settings import Settings
from tests.e2e.installation import wait_until
from warehouse import backup as backing
from warehouse import restore as restoring
from warehouse.backup import BackupRefusedError, back_up, read_manifest, run
from warehouse.compact import compact
from warehouse.doctor import examine
from warehouse.forget import erase
from warehouse.locks import held
from warehouse.merge import content_of
from warehouse.person import Person
from warehouse.refresh import run as run_refresh
from warehouse.restore import RestoreRefusedError, restore
from warehouse.restore import run as run_restore


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """12 landings, 24 files."""
    settings = Settings(
        data_dir=tmp_path / "data", free_bytes_min=0, land_rows_max=2, compact_grace_seconds=0
    )
    settings.paths.ensure()
    land(settings, range(12))
    return settings


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def elsewhere(settings: Settings) -> Settings:
    """The same, with a data directory that is not there yet."""
    return settings.model_copy(update={"data_dir": settings.data_dir.parent / "restored"})


def ledger_rows(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with open_read_only(settings.paths.ledger) as connection:
        tables = connection.execute(
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
        ).fetchall()
        return {
            str(name): connection.execute(f"select * from {name}").fetchall() for (name,) in tables
        }


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a backup, locks aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_what_was_destroyed_is_restored_row_for_row(settings: Settings, target: Path) -> None:
    (settings.data_dir / "plan_prices.csv").write_text(
        (Path(restoring.__file__).parents[1] / "sql/seeds/plan_prices.csv").read_text()
    )
    refresh(settings.paths)
    compact(settings, everything=True)
    land(settings, range(12, 20))
    refresh(settings.paths)
    tables, ledger, lake = published_rows(settings.paths), ledger_rows(settings), on_disk(settings)
    back_up(settings, target)
    shutil.rmtree(settings.data_dir)

    assert run_restore(settings, target) == 0

    assert published_rows(settings.paths) == tables
    assert ledger_rows(settings) == ledger
    assert {path.relative_to(settings.paths.lake).as_posix() for path in paths_of(settings)} <= lake
    assert (settings.data_dir / "plan_prices.csv").exists()
    assert complaints(settings) == []
    assert not settings.paths.restoring.exists()


def test_the_restored_one_goes_on_where_it_was(settings: Settings, target: Path) -> None:
    back_up(settings, target)
    new = elsewhere(settings)
    restore(new, target)

    land(new, range(11, 14))  # two of them are known already
    compact(new, everything=True)

    with open_read_only(new.paths.ledger) as connection:
        counted = read_counters(connection)
    assert (counted["events"], counted["duplicates"]) == (28, 2)
    assert content_of(paths_of(new)).rows == 28
    assert complaints(new) == []


def test_it_is_consistent_while_everything_runs(settings: Settings, target: Path) -> None:
    """Deliveries, landings and merges all the while: each backup is one instant of the ledger."""
    is_over = threading.Event()

    def live() -> None:
        number = 100
        while not is_over.is_set():
            land(settings, range(number, number + 3))
            compact(settings, everything=True)
            number += 3

    thread = threading.Thread(target=live)
    thread.start()
    try:
        reports = [back_up(settings, target, incremental=True) for _ in range(6)]
    finally:
        is_over.set()
        thread.join()

    events = [report.events for report in reports]
    assert events == sorted(events)
    assert events[-1] > 24
    new = elsewhere(settings)
    restore(new, target)
    landed = {path.name for path in paths_of(new)}
    assert {Path(file.path).name for file in read_manifest(target).lake} == landed
    land_now(new)  # what waited at that instant
    assert content_of(paths_of(new)).rows == events[-1]
    assert complaints(new) == []


def test_an_incremental_one_copies_what_is_new_and_drops_what_is_gone(
    settings: Settings, target: Path
) -> None:
    first = back_up(settings, target)
    kept = {path: path.stat().st_ino for path in (target / "lake").rglob("*.parquet")}
    again = back_up(settings, target, incremental=True)
    assert (first.copied, again.copied) == (24, 0)
    assert {path: path.stat().st_ino for path in kept} == kept

    land(settings, range(12, 14))
    compact(settings, everything=True)
    last = back_up(settings, target, incremental=True)

    assert (last.files, last.copied) == (2, 2)
    assert len(list((target / "lake").rglob("*.parquet"))) == 2
    assert last.bytes_copied == last.bytes
    restore(elsewhere(settings), target)
    assert content_of(paths_of(elsewhere(settings))) == content_of(paths_of(settings))


def test_nobody_else_can_read_it(settings: Settings, target: Path) -> None:
    before = os.umask(0o022)
    try:
        run(settings, target)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (target, *target.rglob("*"))}
    assert modes == {0}


@pytest.mark.parametrize("with_secrets", [False, True])
def test_secrets_are_in_it_only_when_asked_for_and_that_is_said(
    settings: Settings, target: Path, capsys: pytest.CaptureFixture[str], *, with_secrets: bool
) -> None:
    settings.paths.secrets.write_text("HOOKLAKE_TOKENS=confidential\n")
    run(settings, target, with_secrets=with_secrets)
    told = capsys.readouterr().out
    everything = b"".join(content(target).values())

    assert (b"confidential" in everything) is with_secrets
    assert ("--with-secrets" in told) is not with_secrets
    restore(elsewhere(settings), target)
    assert elsewhere(settings).paths.secrets.exists() is with_secrets


def test_a_file_system_of_its_own_is_empty_enough(settings: Settings, target: Path) -> None:
    for root in (target, elsewhere(settings).data_dir):
        (root / "lost+found").mkdir(parents=True)
    back_up(settings, target)
    restore(elsewhere(settings), target)
    assert complaints(elsewhere(settings)) == []


def test_a_backup_of_nothing_is_refused(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UsageError, match="nothing to back up"):
        back_up(Settings(data_dir=tmp_path / "none"), target)
    assert not target.exists()


def test_a_full_folder_is_refused_and_left_alone(settings: Settings, target: Path) -> None:
    target.mkdir()
    (target / "letter.txt").write_text("mine")
    with pytest.raises(BackupRefusedError, match="not empty"):
        back_up(settings, target)
    assert [path.name for path in target.iterdir()] == ["letter.txt"]


def test_an_older_backup_is_changed_only_with_incremental(settings: Settings, target: Path) -> None:
    back_up(settings, target)
    before = content(target)
    with pytest.raises(BackupRefusedError, match="--incremental"):
        back_up(settings, target)
    assert content(target) == before


def test_another_installation_never_takes_a_backups_place(settings: Settings, target: Path) -> None:
    """As from cron after the disk was lost and a new data directory was made."""
    back_up(settings, target)
    before = content(target)
    fresh = elsewhere(settings)
    fresh.paths.ensure()
    land(fresh, range(1))
    with pytest.raises(BackupRefusedError, match="of another installation: of its 24 lake files"):
        back_up(fresh, target, incremental=True)
    assert content(target) == before


def test_an_earlier_state_never_takes_a_backups_place(settings: Settings, target: Path) -> None:
    back_up(settings, target)
    older = elsewhere(settings)
    restore(older, target)
    land(settings, range(12, 13))
    back_up(settings, target, incremental=True)
    before = content(target)
    with pytest.raises(BackupRefusedError, match="of a later state: of its 26 lake files 2"):
        back_up(older, target, incremental=True)
    assert content(target) == before


@pytest.mark.parametrize("place", [".", "inside", "lake/events", ".."])
def test_a_place_within_the_data_directory_is_refused(settings: Settings, place: str) -> None:
    with pytest.raises(BackupRefusedError, match="within each other"):
        back_up(settings, settings.data_dir / place)


@pytest.mark.parametrize("lock", ["data", "target"])
def test_two_at_once_are_refused(settings: Settings, target: Path, lock: str) -> None:
    back_up(settings, target)
    path = settings.paths.backup_lock if lock == "data" else target / "backup.lock"
    with held(path), pytest.raises(BackupRefusedError, match="another backup"):
        back_up(settings, target, incremental=True)


def test_a_damaged_lake_file_ends_it_and_the_backup_before_stays(
    settings: Settings, target: Path
) -> None:
    back_up(settings, target)
    before = content(target)
    land(settings, range(12, 14))
    damaged = paths_of(settings)[-1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")

    with pytest.raises(StorageError, match=r"another checksum.*hooklake doctor"):
        back_up(settings, target, incremental=True)

    assert before.items() <= content(target).items()
    restore(elsewhere(settings), target)
    assert content_of(paths_of(elsewhere(settings))).rows == 24


def failing_at(number: int, true: Any) -> Any:
    calls = [0]

    def copy(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise OSError(28, "No space left on device")
        return true(*arguments)

    return copy


def test_only_a_backup_that_is_there_is_said_to_stay_valid(
    settings: Settings, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = target.with_name("file")
    file.touch()
    with pytest.raises(StorageError, match="nothing was backed up; name a folder"):
        back_up(settings, file / "backup")
    back_up(settings, target)
    monkeypatch.setattr(backing, "copy_verified", failing_at(1, backing.copy_verified))
    shutil.rmtree(target / "lake")
    with pytest.raises(StorageError, match="the backup before stays valid"):
        back_up(settings, target, incremental=True)


@pytest.mark.parametrize("number", [1, 2, 13, 24])
def test_cut_off_at_any_file_the_same_command_finishes_it(
    settings: Settings, target: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(backing, "copy_verified", failing_at(number, backing.copy_verified))
    with pytest.raises(StorageError, match="No space left"):
        back_up(settings, target)
    with pytest.raises(RestoreRefusedError.__mro__[1], match="no complete backup"):
        restore(elsewhere(settings), target)
    monkeypatch.undo()
    back_up(settings, target)

    monkeypatch.setattr(restoring, "copy_verified", failing_at(number, restoring.copy_verified))
    new = elsewhere(settings)
    with pytest.raises(StorageError, match="run the same command again"):
        restore(new, target)
    with pytest.raises(LedgerError, match="cut off"):
        open_ledger(new.paths.ledger)
    assert complaints(new) == ["failure: a restore was cut off here"]
    monkeypatch.undo()
    restore(new, target)
    assert content_of(paths_of(new)) == content_of(paths_of(settings))
    assert complaints(new) == []


@pytest.mark.parametrize("place", ["lake", "ledger.sqlite"])
def test_a_restore_cut_off_while_moving_into_place_is_done_again(
    settings: Settings, target: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    back_up(settings, target)
    true = Path.rename

    def rename(path: Path, other: Path) -> Path:
        if path.name == place and ".restore" in path.parts:
            raise OSError(5, "Input/output error")
        return true(path, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(StorageError):
        restore(elsewhere(settings), target)
    monkeypatch.undo()
    assert not elsewhere(settings).paths.ledger.exists()
    restore(elsewhere(settings), target)
    assert complaints(elsewhere(settings)) == []


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_killed_amid_its_work_the_same_command_finishes_it(
    settings: Settings, target: Path, command: str
) -> None:
    land(settings, range(12, 112))
    new = elsewhere(settings)
    if command == "restore":
        back_up(settings, target)
    where = settings if command == "backup" else new
    seen = target / "lake" if command == "backup" else new.paths.restoring / "lake"
    line = [sys.executable, "-m", "warehouse.cli", command, str(target), "--data-dir"]
    environment = os.environ | {"HOOKLAKE_FREE_BYTES_MIN": "0"}
    process = subprocess.Popen([*line, str(where.data_dir)], env=environment)
    wait_until(
        lambda: len(list(seen.rglob("*.parquet"))) > 20 or process.poll() is not None,
        seconds=30,
        what="some files",
        every=0.0005,
    )
    process.kill()
    assert process.wait() == -signal.SIGKILL

    if command == "backup":
        back_up(settings, target)
    restore(new, target)
    assert content_of(paths_of(new)) == content_of(paths_of(settings))
    assert complaints(new) == []


def cut_off_after_copying(settings: Settings, target: Path, moment: str) -> Settings:
    """A restore killed once a file of that name is in the data directory."""
    new = elsewhere(settings)
    line = [sys.executable, "-m", "warehouse.cli", "restore", str(target), "--data-dir"]
    environment = os.environ | {"HOOKLAKE_FREE_BYTES_MIN": "0"}
    process = subprocess.Popen([*line, str(new.data_dir)], env=environment)
    wait_until(
        lambda: any(new.data_dir.glob(moment)) or process.poll() is not None,
        seconds=60,
        what=moment,
        every=0.0005,
    )
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return new


@pytest.mark.parametrize("moment", ["ledger.sqlite", "serve.duckdb"])
def test_killed_amid_the_rebuild_the_same_command_goes_on_and_keeps_what_came_since(
    settings: Settings, target: Path, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    back_up(settings, target)
    new = cut_off_after_copying(settings, target, moment)
    assert any("a restore was cut off" in finding.message for finding in examine(new))
    land(new, range(12, 14))  # acknowledged since

    assert run_restore(new, target) == 0

    assert "going on with the restore" in capsys.readouterr().err
    assert content_of(paths_of(new)).rows == 28
    assert complaints(new) == []
    assert {finding.level for finding in examine(new) if finding.check == "refresh"} == {"ok"}
    assert not new.paths.restoring.exists()
    with pytest.raises(RestoreRefusedError, match="not empty"):
        restore(new, target)


def test_killed_amid_the_rebuild_a_refresh_finishes_it(
    settings: Settings, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    back_up(settings, target)
    new = cut_off_after_copying(settings, target, "ledger.sqlite")
    assert run_refresh(new) == 0
    assert "version 1: 24 new of 24 events" in capsys.readouterr().out
    assert {finding.level for finding in examine(new) if finding.check == "refresh"} == {"ok"}
    assert not new.paths.restoring.exists()


def test_only_the_same_backup_goes_on_with_a_restore_that_was_cut_off(
    settings: Settings, target: Path
) -> None:
    back_up(settings, target)
    new = elsewhere(settings)
    restore(new, target)  # all but the warehouse
    before = ledger_rows(new)
    land(settings, range(12, 14))
    back_up(settings, target, incremental=True)
    with pytest.raises(RestoreRefusedError, match=r"another backup.*hooklake refresh"):
        restore(new, target)
    assert ledger_rows(new) == before


def test_who_was_forgotten_is_forgotten_too_where_a_restore_goes_on(
    settings: Settings, target: Path
) -> None:
    back_up(settings, target)
    erase(settings, Person(frozenset({"0003@x.test"})), is_linked=True)
    restore(elsewhere(settings), target)
    _, erased = restore(elsewhere(settings), target, [settings.data_dir / "erasures"])
    assert erased == 2
    assert content_of(paths_of(elsewhere(settings))).rows == 22


def test_two_restores_into_one_place_are_refused(settings: Settings, target: Path) -> None:
    """The second would take away what the first has copied."""
    back_up(settings, target)
    new = elsewhere(settings)
    new.paths.ensure()
    with held(new.data_dir / restoring.LOCK), pytest.raises(RestoreRefusedError, match="another"):
        restore(new, target)
    restore(new, target)


def test_a_directory_that_is_not_empty_is_never_restored_into(
    settings: Settings, target: Path
) -> None:
    back_up(settings, target)
    before = ledger_rows(settings)
    with pytest.raises(RestoreRefusedError, match="not empty"):
        restore(settings, target)
    assert ledger_rows(settings) == before

    other = elsewhere(settings)
    other.data_dir.mkdir()
    (other.data_dir / "notes.txt").write_text("mine")
    with pytest.raises(RestoreRefusedError, match="not empty"):
        restore(other, target)
    assert [path.name for path in other.data_dir.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("kind", ["flipped", "missing", "longer"])
@pytest.mark.parametrize("which", ["ledger.sqlite", "lake"])
def test_a_damaged_backup_is_never_restored(
    settings: Settings, target: Path, which: str, kind: str
) -> None:
    back_up(settings, target)
    if which == "lake":
        path = sorted((target / "lake").rglob("*.parquet"))[3]
    else:
        path = next(target.glob("*/ledger.sqlite"))
    raw = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
    else:
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw if kind == "flipped" else raw + b"x")

    with pytest.raises(StorageError, match="damaged, use another backup"):
        restore(elsewhere(settings), target)
    assert not elsewhere(settings).paths.ledger.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"lake": [{"path": "../../outside", "bytes": 1, "sha256": "a" * 64}]},
        {"lake": [{"path": "/etc/passwd", "bytes": 1, "sha256": "a" * 64}]},
        {"snapshot": "../1"},
        {"files": 7},
        {"further": 1},
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(
    settings: Settings, target: Path, change: dict[str, Any]
) -> None:
    back_up(settings, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(HooklakeError, match="damaged"):
        restore(elsewhere(settings), target)
    assert not elsewhere(settings).data_dir.exists()


@pytest.mark.parametrize("field", ["format", "ledger_format"])
def test_a_backup_of_a_newer_hooklake_is_refused(
    settings: Settings, target: Path, field: str
) -> None:
    back_up(settings, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {field: 99}))
    with pytest.raises(HooklakeError, match="upgrade"):
        restore(elsewhere(settings), target)


def test_a_backup_of_an_older_format_is_upgraded(settings: Settings, target: Path) -> None:
    """As one that hooklake 0.1.0 would have made; its lake is empty here."""
    back_up(settings, target)
    path = next(target.glob("*/ledger.sqlite"))
    path.unlink()
    old = Path(__file__).parents[1] / "ingest" / "ledger_format_1.sql"
    connection = apsw.Connection(str(path))
    connection.execute(old.read_text("utf-8"))
    connection.execute("delete from files")
    connection.close()
    manifest = json.loads((target / "manifest.json").read_text())
    kept = backing._kept(path, path.parent)
    manifest |= {"lake": [], "ledger_format": 1, "files": [kept.model_dump()]}
    (target / "manifest.json").write_text(json.dumps(manifest))

    restore(elsewhere(settings), target)

    with open_read_only(elsewhere(settings).paths.ledger) as ledger:
        found = ledger.execute("select value from meta where key = 'format_version'").fetchall()
        assert found == [(str(FORMAT_VERSION),)]
        assert read_counters(ledger)["events"] == 2


def test_who_was_forgotten_since_is_not_brought_back(settings: Settings, target: Path) -> None:
    back_up(settings, target)
    assert (
        erase(settings, Person(frozenset({"0003@x.test"})), is_linked=True)["removed"]["events"]
        == 2
    )
    certificates = settings.data_dir / "erasures"

    for number, told in enumerate(([certificates], list(certificates.iterdir()), [])):
        new = settings.model_copy(update={"data_dir": target.parent / f"restored-{number}"})
        _, erased = restore(new, target, told)
        assert erased == (2 if told else 0)
        assert content_of(paths_of(new)).rows == (22 if told else 24)
        assert complaints(new) == []
        assert any(b"0003@x.test" in raw for raw in content(new.data_dir).values()) is not bool(
            told
        )
    _, erased = restore(elsewhere(settings), target, [settings.paths.ledger])
    assert erased == 2

    back_up(settings, target, incremental=True)  # it knows by itself, and no longer holds the rows
    assert any(name.startswith("2/erasures/") for name in content(target))
    again = settings.model_copy(update={"data_dir": target.parent / "again"})
    assert restore(again, target)[1] == 0
    assert content_of(paths_of(again)).rows == 22


def test_a_certificate_that_is_not_there_is_a_wrong_use(settings: Settings, target: Path) -> None:
    back_up(settings, target)
    with pytest.raises(UsageError, match="no such file"):
        restore(elsewhere(settings), target, [target / "nobody.json"])
    assert not elsewhere(settings).data_dir.exists()


def test_a_certificate_of_another_installation_is_refused(settings: Settings, target: Path) -> None:
    """It would cover nobody, and nobody would be told."""
    other = settings.model_copy(update={"data_dir": target.parent / "other"})
    other.paths.ensure()
    land(other, range(2))
    erase(other, Person(frozenset({"0001@x.test"})), is_linked=True)
    back_up(settings, target)
    for told in (other.data_dir / "erasures", other.paths.ledger):
        with pytest.raises(RestoreRefusedError, match="another installation"):
            restore(elsewhere(settings), target, [told])
        assert not elsewhere(settings).paths.ledger.exists()
