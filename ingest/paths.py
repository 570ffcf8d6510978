"""Where everything of one installation lies: one data directory, readable by its owner alone."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.errors import LedgerError, StorageError, UsageError


@dataclass(frozen=True)
class DataDir:
    """The names inside a data directory; nothing is created before `ensure`."""

    root: Path

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def lake(self) -> Path:
        """Root of the hive-partitioned Parquet files; nothing else may lie below it."""
        return self.root / "lake" / "events"

    @property
    def staging(self) -> Path:
        """Half-written lake files: beside the lake, on its file system, outside every glob."""
        return self.root / "staging"

    @property
    def state(self) -> Path:
        return self.root / "state.duckdb"

    @property
    def serve(self) -> Path:
        return self.root / "serve.duckdb"

    @property
    def warehouse(self) -> Path:
        """A symbolic link to the newest published version."""
        return self.root / "warehouse.duckdb"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.env"

    @property
    def plan_prices(self) -> Path:
        """The team's own plan catalogue; replaces the shipped one where it exists."""
        return self.root / "plan_prices.csv"

    @property
    def viewing(self) -> Path:
        """Touched by an open dashboard page."""
        return self.root / "viewing"

    @property
    def landing_lock(self) -> Path:
        return self.root / "landing.lock"

    @property
    def rewrite_lock(self) -> Path:
        """Held by whoever writes lake files from others: one process at a time."""
        return self.root / "rewrite.lock"

    @property
    def backfill_lock(self) -> Path:
        return self.root / "backfill.lock"

    @property
    def backup_lock(self) -> Path:
        """While it is held no lake file is removed."""
        return self.root / "backup.lock"

    @property
    def refresh_lock(self) -> Path:
        return self.root / "refresh.lock"

    @property
    def refresh_status(self) -> Path:
        return self.root / "refresh.json"

    @property
    def compaction_status(self) -> Path:
        return self.root / "compaction.json"

    @property
    def restoring(self) -> Path:
        """A data directory being restored; beside no ledger, this one is not ready."""
        return self.root / ".restore"

    def ensure(self) -> DataDir:
        """Create the directory (0700) and close an existing one to everybody else.

        Raises: StorageError.
        """
        try:
            topmost = self.root
            while not topmost.is_dir() and not topmost.parent.is_dir():
                topmost = topmost.parent
            if not self.root.is_dir():
                ensure_directory_durably(self.root, below=topmost)
            if self.root.stat().st_mode & 0o077:
                self.root.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"cannot make the data directory {self.root}: {error.strerror}; "
                "choose another with --data-dir or HOOKLAKE_DATA_DIR"
            ) from error
        return self

    def ensure_telling(self) -> DataDir:
        """`ensure`, and a line on standard error where there was none: its name may be mistyped.

        Raises: StorageError.
        """
        is_new = not self.root.exists()
        self.ensure()
        if is_new:
            sys.stderr.write(f"new data directory {self.root}\n")
        return self

    def must_exist(self) -> None:
        """For what would find nothing in a place that is none. Raises: UsageError."""
        if not self.root.is_dir():
            raise UsageError(
                f"there is no data directory {self.root}; name the right one with --data-dir or "
                "HOOKLAKE_DATA_DIR"
            )
        self.must_be_whole()

    def must_be_whole(self) -> None:
        """Half a restore is not taken for all that was kept. Raises: LedgerError."""
        if self.restoring.exists() and not self.ledger.exists():
            raise LedgerError(
                f"{self.root} is being restored, or a restore was cut off: run `hooklake restore` "
                "again, or choose another directory with --data-dir"
            )


def keep_files_private() -> None:
    """From now on this process creates files 0600 and folders 0700."""
    os.umask(0o077)


def fsync_directory(folder: Path) -> None:
    """Make names created, renamed or removed in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_DURABLE: Final[set[Path]] = set()
"""Folders whose names this process has synced."""


def ensure_directory_durably(folder: Path, *, below: Path) -> None:
    """Create `folder` and its parents down from `below`, each name synced into its parent.

    A folder that is there already may have been made by a process that was killed before it could
    sync: once in the life of this one, its name is synced all the same.
    """
    unsure = []
    current = folder
    while current not in _DURABLE or not current.is_dir():
        unsure.append(current)
        if current == below:
            break
        current = current.parent
    for path in reversed(unsure):
        path.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(path.parent)
        _DURABLE.add(path)


def write_file_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically: whoever reads sees the old bytes or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    fsync_directory(path.parent)
