"""A file that a command writes for its user: new, private, never one of hooklake's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ingest.errors import RefusedError, StorageError, UsageError
from ingest.paths import DataDir, fsync_directory


class OutputRefusedError(RefusedError):
    code = "output_refused"


@contextmanager
def output_file(path: Path, data: DataDir) -> Iterator[BinaryIO]:
    """A stream whose content is at `path` (0600) once the block has ended, and only then.

    Raises: OutputRefusedError for a place that hooklake keeps its own files in, UsageError where
    there is a file already or no folder for one, StorageError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _check(path, data)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)  # unlike a rename it never replaces anything
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        fsync_directory(path.parent)
    except FileExistsError:
        raise UsageError(f"{path} exists already; name another file, or remove it first") from None
    except OSError as error:
        raise StorageError(f"writing {path}: {error.strerror or error}") from error


def _check(path: Path, data: DataDir) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}")
    place = path.parent.resolve() / path.name
    root = data.root.resolve()
    if place.parent == root or any(
        place.is_relative_to(root / name) for name in ("lake", "staging", "erasures", "dbt")
    ):
        raise OutputRefusedError(
            f"{path} would lie among hooklake's own files; write outside of {data.root}, or in a"
            " folder of your own below it"
        )
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already; name another file, or remove it first")
