"""`hooklake backup DIR`: a whole, proved copy of what cannot be rebuilt, taken while all runs.

snapshot of the ledger (SQLite's backup API) -> the lake files it names, each copied and read again
-> manifest.json, renamed into place last: a folder without it is no backup

    DIR/manifest.json              what belongs to the backup, with checksums
    DIR/<n>/ledger.sqlite          and plan_prices.csv, erasures/; secrets when asked for
    DIR/lake/events/…              lake files, which never change; later backups share them

--incremental copies only what is new and then removes what the new manifest does not name. Killed
anywhere, the backup before is whole. No lake file is removed from the data directory meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from ingest.errors import DiskFullError, LedgerError, RefusedError, StorageError, UsageError
from ingest.lake import file_sha256
from ingest.ledger import describe, open_ledger, read_counters
from ingest.ledger_format import FORMAT_VERSION
from ingest.paths import DataDir, fsync_directory, keep_files_private, write_file_durably
from ingest.settings import Settings
from ingest.tombstones import key_of
from ingest.wording import number_of
from warehouse.certificate import FOLDER as CERTIFICATES
from warehouse.copying import copy_verified, make_folders, sync_folders
from warehouse.locks import held

MANIFEST: Final = "manifest.json"
MARK: Final = "backup-unfinished"
BACKUP_FORMAT: Final = 1
LAKE: Final = "lake/events"
PLAIN_FILES: Final = ("plan_prices.csv",)
PRIVATE_FILES: Final = ("secrets.env", "login.toml")
"""Secrets, tokens and the dashboard's login."""
FOREIGN: Final = frozenset(("lost+found",))
"""What the root of a file system of its own holds, empty as it is."""
SNAPSHOTS_MAX: Final = 3


class BackupRefusedError(RefusedError):
    code = "backup_refused"


class KeptFile(BaseModel):
    """A file of a backup; `path` is relative: to the lake for lake files, else to the snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_=.-]*(/[A-Za-z0-9_-][A-Za-z0-9_=.-]*)*$")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What belongs to a backup. made_at: RFC 3339; events: the ledger's count at the snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    ledger_format: int
    made_at: str
    events: int
    snapshot: str = Field(pattern="^[0-9]{1,12}$")
    files: tuple[KeptFile, ...]
    lake: tuple[KeptFile, ...]


@dataclass(frozen=True)
class Report:
    """copied: new lake files; bytes_copied: theirs and the snapshot's; bytes: of it all."""

    path: str
    made_at: str
    events: int
    files: int
    copied: int
    bytes: int
    bytes_copied: int
    has_secrets: bool
    seconds: float


def run(
    settings: Settings,
    target: Path,
    *,
    incremental: bool = False,
    with_secrets: bool = False,
    as_json: bool = False,
) -> int:
    """Make the backup and print the report.

    Raises: BackupRefusedError, DiskFullError, StorageError.
    """
    keep_files_private()
    report = back_up(settings, target, incremental=incremental, with_secrets=with_secrets)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        return 0
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{report.path}: {number_of(report.events, 'event')} in "
        f"{number_of(report.files, 'lake file')}, {report.copied:,} of "
        f"them copied now, {report.bytes / 1e6:,.1f} MB, {report.seconds:.1f} s"
    )
    console.print(
        "secrets are in it (secrets.env, login.toml): keep it as you keep a password"
        if report.has_secrets
        else "no secrets are in it (--with-secrets): after a restore senders need the new ones"
    )
    return 0


def back_up(
    settings: Settings, target: Path, *, incremental: bool = False, with_secrets: bool = False
) -> Report:
    """A backup in `target`. Raises: BackupRefusedError, DiskFullError, StorageError."""
    began = time.monotonic()
    paths = settings.paths
    if not paths.ledger.exists():
        raise UsageError(f"there is nothing to back up in {paths.root}; name it with --data-dir")
    _refuse_nesting(paths, target)
    try:
        before = _prepare(target, incremental=incremental)
        with held(paths.backup_lock) as no_other, held(target / "backup.lock") as is_free:
            if not (no_other and is_free):
                raise BackupRefusedError(
                    f"another backup of {paths.root} or to {target} is running"
                )
            if before is not None:
                _refuse_other_history(paths, target, before)
            return _make(settings, target, before, began, with_secrets=with_secrets)
    except apsw.Error as error:
        raise LedgerError(f"backing up {paths.ledger}: {describe(error)}") from error
    except OSError as error:
        advice = (
            "the backup before stays valid"
            if (target / MANIFEST).is_file()
            else "nothing was backed up; name a folder that you may write to"
        )
        what = error.strerror or error
        raise StorageError(f"backing up to {target}: {what}; {advice}") from error


def read_manifest(folder: Path) -> Manifest:
    """Raises: BackupRefusedError where there is no complete backup that this hooklake reads."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise BackupRefusedError(
            f"{folder} holds no complete backup: there is no {MANIFEST}"
        ) from None
    except OSError as error:
        raise BackupRefusedError(f"{folder / MANIFEST} cannot be read: {error.strerror}") from None
    try:
        found: Any = json.loads(text)
        if isinstance(found, dict) and found.get("format", 0) > BACKUP_FORMAT:
            raise BackupRefusedError(f"{folder} was made by a newer hooklake: upgrade this one")
        return Manifest.model_validate(found)
    except (ValueError, TypeError, ValidationError):
        raise BackupRefusedError(f"{folder / MANIFEST} is damaged; use another backup") from None


def _refuse_nesting(paths: DataDir, target: Path) -> None:
    root, other = paths.root.resolve(), target.resolve()
    if other == root or root in other.parents or other in root.parents:
        raise BackupRefusedError(
            f"{target} and the data directory {paths.root} lie within each other; "
            "choose a place apart, best on another disk"
        )


def _prepare(target: Path, *, incremental: bool) -> Manifest | None:
    """The backup that is there, None for an empty folder or one that was begun and not finished."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_ours = (target / MANIFEST).exists() or (target / MARK).exists()
    if not is_ours and {path.name for path in target.iterdir()} - FOREIGN:
        raise BackupRefusedError(f"{target} is not empty and no backup; choose an empty folder")
    if (target / MANIFEST).exists():
        if not incremental:
            raise BackupRefusedError(
                f"{target} holds a backup already; bring it up to date with --incremental or "
                "choose an empty folder"
            )
        return read_manifest(target)
    write_file_durably(target / MARK, b"This backup is not complete.\n")
    return None


def _refuse_other_history(paths: DataDir, target: Path, before: Manifest) -> None:
    """Only what grew out of the same history may take a backup's place: a ledger forgets no file.

    Raises: BackupRefusedError for a backup of another installation, as after a lost disk, or of a
    later state of this one, as after a restore of an older backup.
    """
    ledger = open_ledger(paths.ledger)
    try:
        known = set(ledger.execute("select path, sha256 from files"))
        key = key_of(ledger)
    finally:
        ledger.close()
    is_another = _key_in(target / before.snapshot / "ledger.sqlite") not in (key, None)
    strange = sum((file.path, file.sha256) not in known for file in before.lake)
    if is_another or strange:
        whose = "another installation" if is_another else "a later state"
        raise BackupRefusedError(
            f"{target} holds a backup of {whose}: of its {len(before.lake)} lake files {strange} "
            f"were never in {paths.root}, and they would be lost. Restore it (`hooklake restore`), "
            "or back up to another folder"
        )


def _key_in(ledger: Path) -> bytes | None:
    """The installation's key in a ledger of any format; None where it cannot be read."""
    try:
        copy = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error:
        return None
    try:
        return key_of(copy)
    except (apsw.Error, StopIteration):
        return None
    finally:
        copy.close()


def _make(
    settings: Settings,
    target: Path,
    before: Manifest | None,
    began: float,
    *,
    with_secrets: bool,
) -> Report:
    number = str(1 + int(before.snapshot if before else 0))
    for attempt in range(1, SNAPSHOTS_MAX + 1):
        _remove_other_snapshots(target, before)
        snapshot = target / number
        make_folders(snapshot, below=target)
        events, lake = _snapshot_ledger(settings.paths, snapshot)
        try:
            copied = _copy_lake(settings, target, lake, before)
            break
        except FileNotFoundError:  # a file was erased since the snapshot: take another
            if attempt == SNAPSHOTS_MAX:
                raise
    for name in (*PLAIN_FILES, *(PRIVATE_FILES if with_secrets else ())):
        source = settings.data_dir / name
        if source.is_file():
            copy_verified(source, snapshot / name, file_sha256(source))
    for source in sorted((settings.data_dir / CERTIFICATES).glob("*.json")):
        make_folders(snapshot / CERTIFICATES, below=snapshot)
        copy_verified(source, snapshot / CERTIFICATES / source.name, file_sha256(source))
    sync_folders(snapshot)
    manifest = Manifest(
        format=BACKUP_FORMAT,
        ledger_format=FORMAT_VERSION,
        made_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        events=events,
        snapshot=number,
        files=tuple(_kept(path, snapshot) for path in sorted(_files(snapshot))),
        lake=lake,
    )
    write_file_durably(target / MANIFEST, manifest.model_dump_json(indent=1).encode())
    _remove_unnamed(target, manifest)
    sizes = sum(file.bytes for file in manifest.files)
    return Report(
        path=str(target),
        made_at=manifest.made_at,
        events=events,
        files=len(lake),
        copied=len(copied),
        bytes=sizes + sum(file.bytes for file in lake),
        bytes_copied=sizes + sum(file.bytes for file in copied),
        has_secrets=any((snapshot / name).exists() for name in PRIVATE_FILES),
        seconds=round(time.monotonic() - began, 3),
    )


def _snapshot_ledger(paths: DataDir, snapshot: Path) -> tuple[int, tuple[KeptFile, ...]]:
    """Copy the ledger as it is at one instant; its count of events, and the lake files it names."""
    copy = snapshot / "ledger.sqlite"
    copy.unlink(missing_ok=True)
    source = open_ledger(paths.ledger)
    target = apsw.Connection(str(copy))
    try:
        with target.backup("main", source, "main") as copying:
            while not copying.done:
                copying.step(-1)  # all at once: within one read transaction, beside all writers
        target.execute("pragma journal_mode = delete")  # one file, no log beside it
        (answer,) = next(target.execute("pragma quick_check"))
        if answer != "ok":
            raise StorageError(
                f"backing up {paths.ledger}: SQLite finds damage in the copy ({answer}); run "
                "`hooklake doctor`, and keep the backup before"
            )
        files = tuple(
            KeptFile(path=str(path), bytes=int(str(size)), sha256=str(sha256))
            for path, size, sha256 in target.execute(
                "select path, bytes, sha256 from files where status = 'live' order by path"
            )
        )
        events = read_counters(target)["events"]
    finally:
        target.close()
        source.close()
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return events, files


def _copy_lake(
    settings: Settings, target: Path, lake: tuple[KeptFile, ...], before: Manifest | None
) -> list[KeptFile]:
    """Copy what the backup before has not; which files those were. Raises: FileNotFoundError."""
    had = set(before.lake if before else ())
    new = [
        file
        for file in lake
        if file not in had or not _has_size(target / LAKE / file.path, file.bytes)
    ]
    _check_room(settings, target, sum(file.bytes for file in new))
    folders = set()
    for file in new:
        place = target / LAKE / file.path
        make_folders(place.parent, below=target)
        copy_verified(settings.paths.lake / file.path, place, file.sha256)
        folders.add(place.parent)
    for folder in folders:
        fsync_directory(folder)
    return new


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _kept(path: Path, snapshot: Path) -> KeptFile:
    return KeptFile(
        path=path.relative_to(snapshot).as_posix(),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
    )


def _check_room(settings: Settings, target: Path, wanted: int) -> None:
    """Raises: DiskFullError, also where intake would run out of room on the same disk."""
    if target.stat().st_dev == settings.data_dir.stat().st_dev:
        wanted += 2 * settings.free_bytes_min
    free = shutil.disk_usage(target).free
    if free < wanted:
        raise DiskFullError(
            f"backing up to {target}: {free >> 20} MiB are free and {wanted >> 20} MiB are wanted; "
            "make room or choose another disk"
        )


def _remove_other_snapshots(target: Path, kept: Manifest | None) -> None:
    """Snapshots that no manifest names: of a backup that was cut off."""
    for folder in target.iterdir():
        is_snapshot = folder.name.isdecimal() and folder.is_dir()
        if is_snapshot and (kept is None or folder.name != kept.snapshot):
            shutil.rmtree(folder)


def _remove_unnamed(target: Path, manifest: Manifest) -> None:
    """What only earlier backups had; erased people's rows are gone from here with it."""
    (target / MARK).unlink(missing_ok=True)
    _remove_other_snapshots(target, manifest)
    named = {file.path for file in manifest.lake}
    for path in _files(target / LAKE):
        if path.relative_to(target / LAKE).as_posix() not in named:
            path.unlink()
    with contextlib.suppress(FileNotFoundError):
        sync_folders(target / LAKE)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
