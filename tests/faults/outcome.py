"""What a fault run found, as one line and a verdict; and whether it can be run here at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


class CannotRunError(Exception):
    """A tool or a right is missing; the message says which, and how to get it."""


@dataclass(frozen=True)
class Scale:
    """How much of a fault to run. `cycles` replaces the fault's own number for this size."""

    is_full: bool = False
    cycles: int | None = None

    def of(self, *, ci: int, full: int) -> int:
        """The number of cycles to run."""
        return self.cycles or (full if self.is_full else ci)

    def step(self, *, ci: int) -> int:
        """Every how many-th point to try."""
        return 1 if self.is_full else ci


@dataclass
class Outcome:
    """The accounting of one run. `problems`: broken promises that are no row count."""

    fault: str
    bar: str
    cycles: int = 0
    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0
    phantom: int = 0
    must_lose: bool = False
    measured: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    begun: ClassVar[list[Outcome]] = []
    """Every one made in this process, so that somebody who waits can be told how far it is."""

    def __post_init__(self) -> None:
        self.begun.append(self)

    @property
    def is_ok(self) -> bool:
        if self.must_lose:
            return self.acknowledged > 0 and self.lost > 0 and not self.problems
        counts = self.lost, self.duplicated, self.phantom
        return self.cycles > 0 and counts == (0, 0, 0) and not self.problems

    @property
    def line(self) -> str:
        counts = {
            "cycles": self.cycles,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "phantom": self.phantom,
            **self.measured,
        }
        told = " ".join(f"{name}={value}" for name, value in counts.items())
        return f"{self.fault}: {told} (bar {self.bar}) {'OK' if self.is_ok else 'FAILED'}"

    def add(self, part: Outcome, label: str) -> None:
        """Add the counts of one part of this run; its problems are told with `label` before."""
        self.cycles += 1
        self.acknowledged += part.acknowledged
        self.lost += part.lost
        self.duplicated += part.duplicated
        self.phantom += part.phantom
        self.problems += [f"{label}: {problem}" for problem in part.problems]

    def require(self, is_kept: bool, problem: str) -> None:
        """Note `problem` unless the promise is kept."""
        if not is_kept:
            self.problems.append(problem)


NO_LOSS = "lost 0, duplicated 0, phantom 0"

_PACKAGES = {
    "strace": "strace",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "eatmydata": "eatmydata",
    "faketime": "faketime",
}


def require_tools(*names: str) -> None:
    """Raises: CannotRunError naming the packages to install."""
    missing = [name for name in names if not find_tool(name)]
    if missing:
        packages = " ".join(sorted({_PACKAGES.get(name, name) for name in missing}))
        raise CannotRunError(f"{', '.join(missing)} missing: apt-get install {packages}")


def require_root() -> None:
    """Raises: CannotRunError."""
    if os.geteuid() != 0:
        raise CannotRunError("only root can mount file systems; run it as root")


def find_tool(name: str) -> str | None:
    """Its path; mkfs lies where only root's search path leads."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(("/usr/sbin", "/sbin")))


def find_library(pattern: str) -> Path:
    """The first shared library of that name. Raises: CannotRunError."""
    for root in (Path("/usr/lib"), Path("/usr/local/lib")):
        for path in sorted(root.glob(f"**/{pattern}")):
            return path
    raise CannotRunError(f"no {pattern} below /usr/lib: apt-get install faketime")
