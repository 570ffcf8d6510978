"""Copies of files that are proved: written, synced, and read again from the disk.

A copy is written beside its place and renamed into it, so whatever bears the final name is whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Final

from ingest.errors import StorageError
from ingest.paths import fsync_directory

_CHUNK_BYTES: Final = 1 << 20
_COPY_BYTES: Final = 1 << 27
_NOT_IN_THE_KERNEL: Final = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
UNFINISHED: Final = ".copying"


class CopyError(StorageError):
    """The copy is not what the original was."""

    code = "copy"


def copy_verified(source: Path, target: Path, sha256: str) -> int:
    """Copy to `target`, whose folder is there; its bytes, once it is durable and has the checksum.

    The caller syncs the folder. Raises: CopyError where it has not, OSError.
    """
    temporary = target.with_name(f"{target.name}{UNFINISHED}")
    size = copy_durably(source, temporary, replacing=True)
    found = checksum_on_disk(temporary)
    if found != sha256:
        temporary.unlink()
        raise CopyError(
            f"copying {source} to {target}: the copy has another checksum than was recorded when "
            "the file was written; `hooklake doctor` tells whether the original is damaged"
        )
    temporary.rename(target)
    return size


def checksum_on_disk(path: Path) -> str:
    """SHA-256 of a synced file in hex, read from the disk and not from memory where possible."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def make_folders(folder: Path, *, below: Path) -> None:
    """Create `folder` below `below` (0700), every name synced into its parent."""
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(path.parent)


def sync_folders(root: Path) -> None:
    """Make every name below `root`, and `root`'s own, survive a power cut."""
    for folder, _, _ in os.walk(root):
        fsync_directory(Path(folder))
    fsync_directory(root.parent)


def copy_durably(source: Path, target: Path, *, replacing: bool = False) -> int:
    """Copy inside the kernel, sharing blocks where the file system can, and sync; the bytes.

    replacing: what an unfinished copy has left is written over; else `target` must be new.
    Raises: CopyError where the source shrank meanwhile, OSError.
    """
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        how = os.O_TRUNC if replacing else os.O_EXCL
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | how | os.O_NOFOLLOW, 0o600)
        try:
            size = left = os.fstat(reading).st_size
            while left:
                copied = _copy_some(reading, writing, min(left, _COPY_BYTES))
                if copied == 0:
                    raise CopyError(f"copying {source}: it became shorter while being copied")
                left -= copied
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return size


def _copy_some(reading: int, writing: int, size: int) -> int:
    try:
        return os.copy_file_range(reading, writing, size)
    except OSError as error:
        if error.errno not in _NOT_IN_THE_KERNEL:
            raise
    return os.sendfile(writing, reading, None, size)
