"""Removes lake files that were merged into others, once nobody can need them any more.

A replaced file stays for the grace period after its replacement and as long as a kept version of
the warehouse names it. No refresh and no backfill may be running: each works from the catalogue as
it was when it began. Whatever of that cannot be told, the files stay until the next time.
"""

from __future__ import annotations

import re
import time
from typing import Final

import apsw
import duckdb

from ingest.paths import DataDir
from ingest.rewrites import remove, remove_returned, replaced_before
from warehouse.locks import held
from warehouse.publish import versions

_LAKE_PATH: Final = re.compile(r"event_type=[^/']+/event_month=[^/']+/[^/']+\.parquet")
LOCK_WAIT_SECONDS_MAX: Final = 5.0


def sweep(connection: apsw.Connection, paths: DataDir, *, grace_seconds: float) -> int:
    """Remove what may go, and once more what has come back; how many files went.

    The caller holds the rewrite lock.
    """
    removed = remove_returned(connection, paths)
    before = int((time.time() - grace_seconds) * 1e6)
    if not replaced_before(connection, before):
        return removed
    with (
        held(paths.refresh_lock, wait_seconds=LOCK_WAIT_SECONDS_MAX) as no_refresh,
        held(paths.backfill_lock, wait_seconds=0) as no_backfill,
        held(paths.backup_lock, wait_seconds=0) as no_backup,
    ):
        if not (no_refresh and no_backfill and no_backup):
            return removed
        named = named_by_versions(paths)
        if named is None:
            return removed
        going = [
            (file_id, path)
            for file_id, path in replaced_before(connection, before)
            if path not in named
        ]
        if going:
            remove(connection, paths, going)
    return removed + len(going)


def named_by_versions(paths: DataDir) -> set[str] | None:
    """Lake files that the `events` of a kept warehouse reads; None where one cannot be opened."""
    named: set[str] = set()
    for _, file in versions(paths):
        try:
            with duckdb.connect(str(file), read_only=True) as connection:
                rows = connection.execute(
                    "select sql from duckdb_views() where schema_name = 'main'"
                    " and view_name = 'events'"
                ).fetchall()
        except duckdb.Error:
            return None
        for (text,) in rows:
            named.update(_LAKE_PATH.findall(text))
    return named
