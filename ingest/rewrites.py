"""Lake files replaced by others: the catalogue goes over from old to new in one instant.

begin: the new file's name is in the ledger -> it is renamed into the lake, synced -> swap: one
transaction enters it and marks the old ones replaced. Killed in between, it is a file that the
catalogue does not know and `rewrites` does: `undo_unfinished` removes it. Replaced files stay on
the disk, for readers of older catalogues, until `remove` is called for them.

The caller holds the rewrite lock, and the landing lock around each of these. Names are those of
events.md: a rewritten file covers the numbers of all it was made of and ends in `-g<generation>`,
one more than any of theirs.

Source: design.md decision 3; quality.md "Durability rules" 6.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw

from ingest.errors import StorageError
from ingest.lake import WrittenFile
from ingest.landing import enter_files
from ingest.ledger import single_integer, transaction
from ingest.paths import DataDir, fsync_directory


class ReplacedMeanwhileError(StorageError):
    """A file that was to be replaced is no longer live; nothing has been changed."""

    code = "replaced_meanwhile"
    is_retryable = True


def begin(connection: apsw.Connection, path: str) -> None:
    """Say in the ledger that `path` (relative to the lake) is about to appear.

    Raises: StorageError where the catalogue has had a file of that name already.
    """
    with transaction(connection):
        if connection.execute("select 1 from files where path = ?", (path,)).fetchone():
            raise StorageError(f"rewriting lake files: {path} was in the catalogue before")
        connection.execute(
            "insert or replace into rewrites values (?, ?)", (path, time.time_ns() // 1_000)
        )


def swap(
    connection: apsw.Connection,
    old: Sequence[int],
    new: WrittenFile,
    *,
    batch_id: str | None = None,
    is_whole: bool = True,
) -> None:
    """Let the durable file `new` stand for the live files `old`.

    is_whole: it holds every row of theirs; where some were erased the warehouse's state must be
    read anew. Raises: ReplacedMeanwhileError.
    """
    now = time.time_ns() // 1_000
    with transaction(connection):
        enter_files(connection, [new], batch_id=batch_id)
        new_id = single_integer(connection, "select file_id from files where path = ?", (new.path,))
        for file_id in old:
            connection.execute(
                "update files set status = 'replaced', replaced_at = ?, replaced_by = ?"
                " where file_id = ? and status = 'live'",
                (now, new_id if is_whole else None, file_id),
            )
            if connection.changes() != 1:
                raise ReplacedMeanwhileError(
                    f"rewriting lake files: file {file_id} was replaced by somebody else meanwhile"
                )
        connection.execute("delete from rewrites where path = ?", (new.path,))


def unfinished(connection: apsw.Connection) -> set[str]:
    """Paths that are being written, or were when a process was killed."""
    return {str(path) for (path,) in connection.execute("select path from rewrites")}


def undo_unfinished(connection: apsw.Connection, paths: DataDir) -> int:
    """Remove what a killed rewriting has left in the lake; how many files it had begun."""
    left = unfinished(connection)
    if left:
        _unlink(paths, left)
        with transaction(connection):
            connection.executemany(
                "delete from rewrites where path = ?", ((path,) for path in left)
            )
    return len(left)


def replaced_before(connection: apsw.Connection, before: int) -> list[tuple[int, str]]:
    """(file_id, path) of files that were replaced up to `before` (microseconds) and not removed."""
    return [
        (int(file_id), str(path))
        for file_id, path in connection.execute(
            "select file_id, path from files where status = 'replaced' and deleted_at is null"
            " and coalesce(replaced_at, 0) <= ? order by file_id",
            (before,),
        )
    ]


def remove(connection: apsw.Connection, paths: DataDir, files: Sequence[tuple[int, str]]) -> None:
    """Remove replaced files, (file_id, path), from the disk for good, and then note it."""
    _unlink(paths, (path for _, path in files))
    now = time.time_ns() // 1_000
    with transaction(connection):
        connection.executemany(
            "update files set deleted_at = ? where file_id = ?",
            ((now, file_id) for file_id, _ in files),
        )


def returned(connection: apsw.Connection, paths: DataDir) -> list[str]:
    """Removed files that lie in the lake again, as after a power cut or a copy of old files."""
    there = (file.relative_to(paths.lake).as_posix() for file in paths.lake.glob("*/*/*.parquet"))
    return [
        path
        for path in sorted(there)
        if connection.execute(
            "select 1 from files where path = ? and deleted_at is not null", (path,)
        ).fetchone()
    ]


def remove_returned(connection: apsw.Connection, paths: DataDir) -> int:
    """Remove again what has come back; how many files."""
    found = returned(connection, paths)
    _unlink(paths, found)
    return len(found)


def _unlink(paths: DataDir, relative: Iterable[str]) -> None:
    folders: set[Path] = set()
    for path in relative:
        file = paths.lake / path
        file.unlink(missing_ok=True)
        folders.add(file.parent)
    for folder in folders:
        if folder.is_dir():
            fsync_directory(folder)
