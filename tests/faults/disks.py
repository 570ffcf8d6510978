"""File systems of a fault run's own: loop-mounted images that lose power, small disks that fill."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.installation import wait_until

from .hooklake import working_folder
from .outcome import find_tool, require_root, require_tools

FS_IOC_SHUTDOWN = 0x8004587D  # Source: linux/fs.h, XFS_IOC_GOINGDOWN of xfs_fs.h
SHUTDOWN_NOLOGFLUSH = 2
"""Not even the journal is flushed: only what was synced before is on the disk."""

IMAGE_BYTES = {"ext4": 1 << 30, "xfs": 1 << 30}
MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q"),
}
UNMOUNT_SECONDS_MAX = 20.0


@dataclass
class Disk:
    """A file system in an image file; `place` is where it is mounted."""

    image: Path
    place: Path
    is_mounted: bool = False

    @property
    def data_dir(self) -> Path:
        return self.place / "data"

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.place))
        self.is_mounted = True

    def cut_power(self) -> float:
        """Everything that is not on the disk by now never will be; the moment (monotonic)."""
        began = time.monotonic()
        folder = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, FS_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NOLOGFLUSH))
        finally:
            os.close(folder)
        return began

    def unmount(self) -> None:
        """Once nobody uses it any more; the loop device goes with it."""
        wait_until(
            lambda: _succeeds("umount", str(self.place)),
            seconds=UNMOUNT_SECONDS_MAX,
            what=f"nobody to use {self.place}",
        )
        self.is_mounted = False


@contextmanager
def loop_disk(filesystem: str, size: int | None = None) -> Iterator[Disk]:
    """A fresh ext4 or XFS in a sparse image, not mounted yet; all is undone at the end.

    Raises: CannotRunError.
    """
    require_root()
    command = MAKE[filesystem]
    require_tools(command[0])
    with working_folder() as folder:
        image, place = folder / "image", folder / "disk"
        place.mkdir()
        with image.open("wb") as stream:
            stream.truncate(size or IMAGE_BYTES[filesystem])
        _run(str(find_tool(command[0])), *command[1:], str(image))
        disk = Disk(image, place)
        try:
            yield disk
        finally:
            if disk.is_mounted:
                _run("umount", "-l", str(place))


@contextmanager
def memory_disk(size: int) -> Iterator[Disk]:
    """A mounted tmpfs of so many bytes. Raises: CannotRunError."""
    require_root()
    with working_folder() as folder:
        place = folder / "disk"
        place.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "hooklake-faults", str(place))
        try:
            yield Disk(folder, place, is_mounted=True)
        finally:
            _run("umount", "-l", str(place))


def fill(file: Path, *, leave: int = 0) -> None:
    """Write `file` until its disk has at most `leave` bytes free, or is full."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (1 << 20, 1 << 16, 1 << 12):
            while (status := os.fstatvfs(descriptor)).f_bavail * status.f_frsize >= leave + size:
                try:
                    os.write(descriptor, bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
    finally:
        os.close(descriptor)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
