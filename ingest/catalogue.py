"""Read-only view of the lake's catalogue: which Parquet files hold the events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ingest.ledger import open_read_only

_GENERATION: Final = re.compile(r"-[0-9]+-[0-9]+-g([0-9]+)\.parquet")


@dataclass(frozen=True)
class LakeFile:
    """`path` is relative to the lake's root; `seq` bounds are those of the landing, inclusive."""

    file_id: int
    path: str
    event_type: str
    event_month: str
    node: str
    first_seq: int
    last_seq: int
    rows: int
    bytes: int
    sha256: str
    batch_id: str | None


def live_files(ledger: Path, after_file_id: int = 0) -> list[LakeFile]:
    """Files that make up the lake now, by rising file_id; empty where there is no ledger yet.

    A file_id is never used again: `after_file_id` asks for what came since.
    """
    if not ledger.exists():
        return []
    with open_read_only(ledger) as connection:
        rows = connection.execute(
            "select file_id, path, event_type, event_month, node, first_seq, last_seq, rows,"
            " bytes, sha256, batch_id from files where status = 'live' and file_id > ?"
            " order by file_id",
            (after_file_id,),
        )
        return [LakeFile(*row) for row in rows]


def generation_of(path: str) -> int:
    """How many times the rows of this file were written again, at most; 0 for a landed file."""
    found = _GENERATION.search(path)
    return int(found[1]) if found else 0


def successors(ledger: Path, file_ids: Iterable[int]) -> dict[int, int]:
    """Replaced file -> the file that holds all its rows now, and on from there.

    A file of which rows were erased has no successor, nor has one that is still live.
    """
    if not ledger.exists():
        return {}
    found: dict[int, int] = {}
    wanted = set(file_ids)
    with open_read_only(ledger) as connection:
        while wanted:
            marks = ", ".join(str(file_id) for file_id in sorted(wanted))
            rows: list[Any] = connection.execute(
                f"select file_id, replaced_by from files where file_id in ({marks})"
                " and replaced_by is not null"
            ).fetchall()
            found |= dict(rows)
            wanted = {new for _, new in rows} - found.keys()
    return found
