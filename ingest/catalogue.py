"""Read-only view of the lake's catalogue: which Parquet files hold the events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingest.ledger import open_read_only


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
