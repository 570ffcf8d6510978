"""`hooklake restore DIR`: a data directory from a backup, every file proved, or nothing.

Everything is copied into `.restore` inside the empty data directory, checksums compared with the
manifest -> what was forgotten since is forgotten there too -> moved into place, the ledger last ->
the warehouse is built anew from the lake. Killed anywhere before the ledger is in place, no command
takes the directory for a ready one, and the same one does it again. Killed later, the same one goes
on: it copies nothing, for a receiver may have answered deliveries there since (restore_mark.py).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import apsw
from rich.console import Console

from ingest.errors import DiskFullError, LedgerError, RefusedError, StorageError, UsageError
from ingest.lake import file_sha256
from ingest.ledger import describe, open_ledger
from ingest.ledger_format import FORMAT_VERSION
from ingest.paths import DataDir, fsync_directory, keep_files_private
from ingest.settings import Settings
from ingest.tombstones import key_name, key_of
from ingest.wording import number_of
from warehouse.backup import (
    FOREIGN,
    LAKE,
    PLAIN_FILES,
    PRIVATE_FILES,
    KeptFile,
    Manifest,
    read_manifest,
)
from warehouse.certificate import FOLDER as CERTIFICATES
from warehouse.copying import CopyError, copy_verified, make_folders, sync_folders
from warehouse.locks import held
from warehouse.restore_mark import keep_only_mark, leave_mark, read_mark, remove_mark

LOCK: Final = "restore.lock"
_OURS: Final = frozenset((".restore", "lake", CERTIFICATES, *PLAIN_FILES, *PRIVATE_FILES))


class RestoreRefusedError(RefusedError):
    code = "restore_refused"


@dataclass(frozen=True)
class Report:
    """made_at: of the backup; events: in it. erased: events of people forgotten since. findings:
    what `hooklake doctor` found wrong afterwards."""

    path: str
    made_at: str
    events: int
    erased: int
    files: int
    bytes: int
    has_secrets: bool
    findings: tuple[str, ...]
    seconds: float


def run(
    settings: Settings, source: Path, *, forgotten: Sequence[Path] = (), as_json: bool = False
) -> int:
    """Restore, rebuild the warehouse, and print the report; 1 where doctor finds something wrong.

    Raises: RestoreRefusedError, DiskFullError, StorageError.
    """
    keep_files_private()
    began = time.monotonic()
    is_continued = read_mark(settings.paths) is not None
    manifest, erased = restore(settings, source, forgotten)
    if is_continued:
        sys.stderr.write(
            "going on with the restore that was cut off: all is in place, the warehouse is built\n"
        )
    findings = _rebuild(settings)
    report = Report(
        path=str(settings.data_dir),
        made_at=manifest.made_at,
        events=manifest.events,
        erased=erased,
        files=len(manifest.lake),
        bytes=_size(manifest),
        has_secrets=settings.paths.secrets.exists(),
        findings=findings,
        seconds=round(time.monotonic() - began, 3),
    )
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        return int(bool(findings))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{report.path}: {number_of(report.events, 'event')} in "
        f"{number_of(report.files, 'lake file')} as of "
        f"{report.made_at}, {report.seconds:.1f} s"
    )
    if report.erased:
        of_whom = "of people forgotten since"
        again = number_of(report.erased, f"event {of_whom} was", f"events {of_whom} were")
        console.print(f"{again} erased again")
    if not report.has_secrets:
        console.print(
            "the backup held no secrets: set HOOKLAKE_SECRETS and HOOKLAKE_TOKENS as they were, or "
            "the next `hooklake serve` makes new ones that senders must be given"
        )
    for text in findings:
        console.print(f"warning: {text}")
    return int(bool(findings))


def restore(
    settings: Settings, source: Path, forgotten: Sequence[Path] = ()
) -> tuple[Manifest, int]:
    """Everything but the warehouse; the backup's manifest, and how many events were erased again.

    forgotten: certificates, folders of them, or ledgers of this installation, that may know of
    erasures after the backup. Where all was in place already, only these are obeyed.
    Raises: RestoreRefusedError, DiskFullError, StorageError.
    """
    paths = settings.paths
    manifest = read_manifest(source)
    missing = [path for path in forgotten if not path.exists()]
    if missing:
        raise UsageError(f"--forgotten {missing[0]}: there is no such file or folder")
    if manifest.ledger_format > FORMAT_VERSION:
        raise RestoreRefusedError(
            f"{source} holds format {manifest.ledger_format}, and this hooklake knows "
            f"{FORMAT_VERSION}: upgrade hooklake"
        )
    _refuse_unless_empty(paths, source, manifest)
    paths.ensure()
    try:
        with held(paths.root / LOCK) as is_alone:
            if not is_alone:
                raise RestoreRefusedError(f"another restore into {paths.root} is running")
            return manifest, _put_in_place(settings, source, manifest, forgotten)
    except apsw.Error as error:
        raise LedgerError(f"restoring {source}: {describe(error)}") from error
    except CopyError as error:
        raise StorageError(
            f"restoring {source}: a file of the backup is damaged, use another backup ({error})"
        ) from error
    except OSError as error:
        raise StorageError(
            f"restoring {source} into {paths.root}: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}; run the same command again"
        ) from error


def _put_in_place(
    settings: Settings, source: Path, manifest: Manifest, forgotten: Sequence[Path]
) -> int:
    """All that the backup holds, unless it is there already; how many events were erased again."""
    paths = settings.paths
    _refuse_unless_empty(paths, source, manifest)  # also what came before the lock was held
    mark = read_mark(paths)
    if mark is not None:
        return mark.erased + (_forget_again(settings, paths, forgotten) if forgotten else 0)
    staged = _stage(paths, source, manifest)
    erased = _forget_again(settings, staged, forgotten)
    _close_ledger(staged)
    leave_mark(staged, manifest, erased)
    _move_into_place(paths, staged)
    return erased


def _refuse_unless_empty(paths: DataDir, source: Path, manifest: Manifest) -> None:
    """What a restore of this backup that was cut off has left is no reason to refuse."""
    if not paths.root.exists():
        return
    mark = read_mark(paths)
    if mark is not None and mark.is_of(manifest):
        return
    if mark is not None:
        raise RestoreRefusedError(
            f"{paths.root} holds all of another backup, of {mark.made_at}, but the restore was cut "
            "off before its warehouse was proved: `hooklake refresh` finishes that one; restore "
            f"{source} into a new directory with --data-dir"
        )
    there = {path.name for path in paths.root.iterdir()} - FOREIGN - {LOCK}
    if there and (paths.ledger.name in there or ".restore" not in there or there - _OURS):
        raise RestoreRefusedError(
            f"{paths.root} is not empty; restore into a new directory with --data-dir, or move "
            "this one away first"
        )


def _stage(paths: DataDir, source: Path, manifest: Manifest) -> DataDir:
    """A whole data directory inside the data directory, durable, every checksum compared."""
    staged = DataDir(paths.restoring)
    for left in (staged.root, paths.root / "lake", paths.root / CERTIFICATES):
        if left.exists():
            shutil.rmtree(left)
    _check_room(paths.root, _size(manifest))
    make_folders(staged.lake, below=paths.root)
    for file in manifest.lake:
        target = staged.lake / file.path
        make_folders(target.parent, below=staged.root)
        _copy(source / LAKE / file.path, target, file)
    for file in manifest.files:
        target = staged.root / file.path
        make_folders(target.parent, below=staged.root)
        _copy(source / manifest.snapshot / file.path, target, file)
    sync_folders(staged.root)
    return staged


def _copy(source: Path, target: Path, file: KeptFile) -> None:
    if not source.is_file():
        raise CopyError(f"{source} is missing")
    copy_verified(source, target, file.sha256)


def _forget_again(settings: Settings, staged: DataDir, forgotten: Sequence[Path]) -> int:
    """Erase whom these files, or the backup itself, say was forgotten; how many events that were.

    Done where nobody reads yet, so that nobody comes back for a moment.
    """
    from warehouse.sweep_people import apply_tombstones

    within = settings.model_copy(update={"data_dir": staged.root})
    certificates = staged.root / CERTIFICATES
    make_folders(certificates, below=staged.root)
    ledgers = []
    for path in forgotten:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        ledgers += [each for each in found if each.suffix != ".json"]
        for each in found:
            if each.suffix == ".json":
                _check_certificate(staged, each)
                copy_verified(each, certificates / each.name, file_sha256(each))
    try:
        erased = sum(apply_tombstones(within, newer_ledger=ledger) for ledger in ledgers)
        return erased + apply_tombstones(within)
    except ValueError as error:
        raise RestoreRefusedError(
            f"restoring into {settings.data_dir}: {error}; leave that file out"
        ) from None


def _check_certificate(staged: DataDir, path: Path) -> None:
    """Raises: RestoreRefusedError where it is none, or would cover nobody here."""
    connection = open_ledger(staged.ledger)
    try:
        ours = key_name(key_of(connection))
    finally:
        connection.close()
    try:
        told = json.loads(path.read_bytes())["tombstones"]["key"]
    except (ValueError, KeyError, TypeError):
        raise RestoreRefusedError(f"{path} is no certificate of `hooklake forget`") from None
    if told != ours:
        raise RestoreRefusedError(f"{path} is a certificate of another installation")


def _close_ledger(staged: DataDir) -> None:
    """Upgraded to this hooklake's format, in one file without a log beside it."""
    connection = open_ledger(staged.ledger)
    try:
        connection.execute("pragma journal_mode = delete")
    finally:
        connection.close()
    fsync_directory(staged.root)


def _move_into_place(paths: DataDir, staged: DataDir) -> None:
    """The ledger last: without it nothing of this counts."""
    (staged.root / "lake").rename(paths.root / "lake")
    for name in (*PLAIN_FILES, *PRIVATE_FILES, CERTIFICATES):
        if (staged.root / name).exists():
            (staged.root / name).rename(paths.root / name)
    fsync_directory(paths.root)
    staged.ledger.rename(paths.ledger)
    fsync_directory(paths.root)
    keep_only_mark(staged)


def _check_room(root: Path, size: int) -> None:
    free = shutil.disk_usage(root).free
    if free < size:
        raise DiskFullError(
            f"restoring into {root}: {free >> 20} MiB are free and {size >> 20} MiB are wanted; "
            "make room or choose another directory with --data-dir"
        )


def _size(manifest: Manifest) -> int:
    return sum(file.bytes for file in (*manifest.lake, *manifest.files))


def _rebuild(settings: Settings) -> tuple[str, ...]:
    """Publish the warehouse and ask doctor, which ends the restore; what is wrong."""
    from warehouse.build import Wanted
    from warehouse.doctor import examine
    from warehouse.refresh import Refresher

    Refresher(settings, lambda _: None).refresh(Wanted(full=True), land=True)
    findings = tuple(
        f"{finding.check}: {finding.message}"
        for finding in examine(settings)
        if finding.level == "failure"
    )
    remove_mark(settings.paths)
    return findings
