"""What the last compaction left word of in `compaction.json`, for metrics and doctor.

Written by warehouse/compact.py after each, read by the receiver, which knows nothing of compacting.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class CompactionStatus:
    """at, succeeded_at: seconds since 1970 UTC, of the last compaction and of the last good one.

    files, bytes: of the lake, as the catalogue had it then. error: why the last one failed.
    """

    at: float
    succeeded_at: float | None
    seconds: float
    merged: int
    written: int
    removed: int
    files: int
    bytes: int
    error: str | None


def as_json(status: CompactionStatus) -> bytes:
    """As it stands in the file."""
    return json.dumps(asdict(status)).encode()


def read_compaction_status(path: Path) -> CompactionStatus | None:
    """None where there was no compaction yet, or its word cannot be read."""
    try:
        return CompactionStatus(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
