"""What `make demo` fills an empty data directory with: a year of a few thousand accounts."""

from __future__ import annotations

from typing import Final

from ingest.paths import DataDir, write_file_durably

ACCOUNTS: Final = 3000
SEED: Final = 2026
ARGUMENTS: Final = ("simulate", "--accounts", str(ACCOUNTS), "--seed", str(SEED))
MARKER: Final = "demo-filled"


def is_filled(paths: DataDir) -> bool:
    """Whether a whole simulated year has been acknowledged into this data directory."""
    return (paths.root / MARKER).exists()


def mark_filled(paths: DataDir) -> None:
    write_file_durably(paths.root / MARKER, b"filled by hooklake run --demo\n")
