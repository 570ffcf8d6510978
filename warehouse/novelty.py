"""Which rows of a backfill are new: compared with the whole lake at once, as sets, in DuckDB.

The rule is the receiver's (events.md, `event_id`): same id and same content is a duplicate; same id
with other content is another event under a new id. What the ledger has not landed yet counts as
well. Everything works on disk, so memory does not grow with the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from ingest.identity import RENAME_DIGITS
from ingest.lake import FILE_SCHEMA
from ingest.parse import Arrival, Event, parse_body

MEMORY_LIMIT: Final = "1GB"
HITS_AT_ONCE: Final = 10_000
ROWS_AT_ONCE: Final = 20_000
ROWS_OF_A_FILE: Final = 250_000
BYTES_OF_A_FILE: Final = 128 * 1024 * 1024
_FAR_FUTURE: Final = 2**62


@dataclass(frozen=True)
class Findings:
    """What the comparison found; instants are of the new rows, None where there is none."""

    new: int
    duplicate: int
    renamed: int
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None
    new_by_type: dict[str, int]


@contextmanager
def workspace(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB database in `folder` that spills there."""
    connection = duckdb.connect(str(folder / "compare.duckdb"))
    try:
        for setting in (
            "timezone = 'UTC'",
            f"memory_limit = '{MEMORY_LIMIT}'",
            f"temp_directory = '{str(folder / 'spill').replace(chr(39), chr(39) * 2)}'",
            "preserve_insertion_order = false",
        ):
            connection.execute(f"set {setting}")
        yield connection
    finally:
        connection.close()


def compare(
    connection: duckdb.DuckDBPyConnection,
    parsed: Sequence[Path],
    lake_files: Sequence[Path],
    unlanded: Iterable[tuple[str, str]],
) -> Findings:
    """Fill the table `fresh` (seq, final_id) with the rows of `parsed` that are new.

    parsed: staged Parquet files; unlanded: (event_id, digest) of events the lake lacks yet.
    """
    if not parsed:
        return Findings(0, 0, 0, None, None, {})
    _create_view(connection, "parsed", parsed)
    connection.execute(
        "create table stated as select event_id, digest,"
        f" event_id || '~' || left(digest, {RENAME_DIGITS}) as renamed,"
        " min(seq) as seq, count(*) as copies from parsed group by event_id, digest"
    )
    connection.execute("create table known (event_id varchar, digest varchar)")
    _know_unlanded(connection, unlanded)
    if lake_files:
        _know_lake(connection, lake_files)
    connection.execute(
        """
        create table fresh as
        with taken as (
            select event_id, -1 as seq from known
            union all
            select event_id, min(seq) as seq from stated group by event_id
        ),
        owners as (
            select event_id, min(seq) as seq from taken group by event_id
        ),
        unknown as (
            select stated.* from stated
            anti join known
                on stated.event_id = known.event_id and stated.digest = known.digest
            anti join known as renamed_before on stated.renamed = renamed_before.event_id
        )
        select
            unknown.seq,
            owners.seq <> unknown.seq as is_renamed,
            case when is_renamed then unknown.renamed else unknown.event_id end as final_id,
        from unknown join owners on unknown.event_id = owners.event_id
        """
    )
    return _findings(connection)


def _findings(connection: duckdb.DuckDBPyConnection) -> Findings:
    read, new, renamed, first, last = connection.execute(
        "select (select count(*) from parsed), count(*), count(*) filter (is_renamed),"
        " min(occurred_at), max(occurred_at) from fresh join parsed using (seq)"
    ).fetchall()[0]
    by_type = connection.execute(
        "select event_type, count(*) from fresh join parsed using (seq) group by 1 order by 1"
    ).fetchall()
    return Findings(new, read - new, renamed, first, last, dict(by_type))


def _know_unlanded(
    connection: duckdb.DuckDBPyConnection, unlanded: Iterable[tuple[str, str]]
) -> None:
    rows = list(unlanded)
    if rows:
        frame = pl.DataFrame(rows, schema=["event_id", "digest"], orient="row")
        connection.register("unlanded", frame.to_arrow())
        connection.execute("insert into known select event_id, digest from unlanded")
        connection.unregister("unlanded")


def _know_lake(connection: duckdb.DuckDBPyConnection, lake_files: Sequence[Path]) -> None:
    """Enter what the lake says under the stated ids; equal bodies say the same."""
    _create_view(connection, "lake", lake_files)
    connection.execute(
        "create table wanted as select event_id as id from stated union select renamed from stated"
    )
    connection.execute(
        "create table hits as"
        " with found as (select event_id, payload from lake"
        " semi join wanted on lake.event_id = wanted.id),"
        " said as (select payload, any_value(digest) as digest from parsed"
        " semi join found on parsed.payload = found.payload group by payload)"
        " select found.event_id, found.payload, said.digest"
        " from found left join said on found.payload = said.payload"
    )
    connection.execute(
        "insert into known select distinct event_id, digest from hits where digest is not null"
    )
    others = connection.cursor().execute("select event_id, payload from hits where digest is null")
    while rows := others.fetchmany(HITS_AT_ONCE):
        _know_unlanded(connection, [(event_id, _digest(payload)) for event_id, payload in rows])


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path]) -> None:
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    connection.execute(
        f"create view {name} as select * from read_parquet([{listed}], hive_partitioning = false)"
    )


def _digest(payload: str) -> str:
    """What the stored body says; as the receiver computed it when the event was stored."""
    event = parse_body(payload.encode(), Arrival(stored_at=_FAR_FUTURE))
    return event.digest if isinstance(event, Event) else ""


def fresh_slices(
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[pl.DataFrame]:
    """The new rows as lake rows: slices of one partition each, by rising seq."""
    columns = ", ".join(
        "fresh.final_id as event_id" if name == "event_id" else f"parsed.{name}"
        for name in (*FILE_SCHEMA, "event_type", "event_month")
    )
    reader = (
        connection.cursor()
        .sql(
            f"select {columns} from fresh join parsed using (seq)"
            " order by event_type, event_month, seq"
        )
        .to_arrow_reader(ROWS_AT_ONCE)
    )
    waiting: list[pl.DataFrame] = []
    size = rows = 0
    for batch in reader:
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        for part in frame.partition_by("event_type", "event_month", maintain_order=True):
            is_other = bool(waiting) and _partition(waiting[0]) != _partition(part)
            if is_other or rows >= ROWS_OF_A_FILE or size >= BYTES_OF_A_FILE:
                yield _lake_rows(waiting)
                waiting, size, rows = [], 0, 0
            waiting.append(part)
            size += int(part.estimated_size())
            rows += part.height
    if waiting:
        yield _lake_rows(waiting)


def _partition(part: pl.DataFrame) -> tuple[str, str]:
    return part["event_type"][0], part["event_month"][0]


def _lake_rows(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).cast(dict(FILE_SCHEMA))  # type: ignore[arg-type]
