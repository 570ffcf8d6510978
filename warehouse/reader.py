"""The newest published warehouse, for everybody who only reads.

A published file never changes: resolve the link once, open what it pointed to, and look again for
a newer version when you like. Opening the link itself would show old data after a swap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from ingest.paths import DataDir


@dataclass(frozen=True)
class Published:
    """One published version. `newest_received_at` is None while no event has been stored."""

    path: Path
    version: int
    built_at: datetime
    as_of: datetime
    newest_received_at: datetime | None
    events: int


def published(data_dir: DataDir) -> Published | None:
    """The version the link names now, None before the first refresh.

    Raises: duckdb.Error when the file is there but is no warehouse.
    """
    path = resolved_path(data_dir)
    if path is None:
        return None
    with open_read_only(path) as connection:
        row = connection.execute(
            "select version, built_at, as_of, newest_received_at, events from hooklake.build"
        ).fetchall()[0]
    return Published(path, *row)


def resolved_path(data_dir: DataDir) -> Path | None:
    """The file behind the link, without opening it: compare it to see a new version cheaply."""
    try:
        return data_dir.warehouse.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        return None


def connect(version: Published) -> duckdb.DuckDBPyConnection:
    """A read-only connection to that version, session time zone UTC; the caller closes it."""
    return open_read_only(version.path)


def open_read_only(path: Path) -> duckdb.DuckDBPyConnection:
    """Any DuckDB file, read-only and in UTC; day boundaries follow the session's time zone."""
    connection = duckdb.connect(str(path), read_only=True)
    connection.execute("set timezone = 'UTC'")
    return connection
