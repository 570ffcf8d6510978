"""Which rows of a backfill are new: compared with the whole lake at once, as sets, in DuckDB.

The rule is the receiver's (events.md, `event_id`): same id and same content is a duplicate; same id
with other content is another event under a new id. What the ledger has not landed yet counts as
well. First the hashes of the ids are compared, of all rows; only the few whose hash occurs twice
are then compared by what they say. Everything works on disk, so memory does not grow with the
files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from ingest.identity import RENAME_DIGITS
from ingest.parse import Arrival, Event, parse_body
from warehouse.content_ids import DIGEST

MEMORY_LIMIT: Final = "512MB"
HITS_AT_ONCE: Final = 10_000
_FAR_FUTURE: Final = 2**62
_RENAMED: Final = f"'^(.*)~[0-9a-f]{{{RENAME_DIGITS}}}$'"


@dataclass(frozen=True)
class Verdicts:
    """Of one staged file: how many rows are duplicates, and how many come under a new id."""

    duplicate: int
    renamed: int


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


def note_keys(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame, target: Path) -> None:
    """Remember in a file rows to be compared: event_id, seq, stated, digest, number of their file.

    digest: null where it follows from the row's columns and the instant stated.
    """
    connection.register("noted", rows.to_arrow(compat_level=pl.CompatLevel.newest()))
    connection.execute(
        "copy (select hash(event_id) as key, seq, stated, digest, file from noted)"
        f" to {_literal(target)} (format parquet, compression lz4_raw)"
    )
    connection.unregister("noted")


def compare(
    connection: duckdb.DuckDBPyConnection,
    staged: Sequence[tuple[int, Path, str]],
    keys: Sequence[Path],
    lake_files: Sequence[Path],
    unlanded: Iterable[tuple[str, str]],
) -> dict[int, Verdicts]:
    """By file number, what is not simply new; the rows themselves are in the table `verdicts`.

    staged: number, path and event type of each file; keys: files that note_keys has written;
    unlanded: (event_id, digest) of events the lake lacks yet. `verdicts`: seq, file, final_id
    (null: a duplicate) of all rows contested.
    """
    if not keys:
        return {}
    _create_view(connection, "keys", keys)
    connection.execute("create table known (event_id varchar, digest varchar)")
    _know(connection, unlanded)
    connection.execute(
        "create table contested as select key from keys group by key having count(*) > 1"
        " union select hash(event_id) from known"
        f" union select hash(regexp_extract(event_id, {_RENAMED}, 1)) from known"
        f" where regexp_full_match(event_id, {_RENAMED})"
    )
    if lake_files:
        _create_view(connection, "lake", lake_files)
        connection.execute(
            "insert into contested select key from ("
            " select hash(event_id) as key from lake union all"
            f" select hash(regexp_extract(event_id, {_RENAMED}, 1)) from lake"
            f" where contains(event_id, '~') and regexp_full_match(event_id, {_RENAMED})"
            ") as stored semi join keys using (key)"
        )
    connection.execute(
        "create table candidates as select * from keys semi join contested using (key)"
    )
    files = {
        row[0] for row in connection.execute("select distinct file from candidates").fetchall()
    }
    if not files:
        return {}
    chosen = [each for each in staged if each[0] in files]
    _create_view(connection, "staged", [path for _, path, _ in chosen])
    _settle_repetitions(connection, has_lake=bool(lake_files))
    _read_candidates(connection, chosen)
    if lake_files:
        _know_lake(connection)
    _judge(connection)
    return {
        int(file): Verdicts(int(duplicate), int(renamed))
        for file, duplicate, renamed in connection.execute(
            "select file, count(*) filter (final_id is null), count(*) filter (is_renamed)"
            " from verdicts group by file"
        ).fetchall()
    }


def verdicts_of(connection: duckdb.DuckDBPyConnection, file: int) -> pl.DataFrame:
    """seq and final_id (null: a duplicate) of a staged file's contested rows."""
    found: pl.DataFrame = connection.sql(
        "select seq, final_id from verdicts where file = $file", params={"file": file}
    ).pl()
    return found


def _settle_repetitions(connection: duckdb.DuckDBPyConnection, *, has_lake: bool) -> None:
    """Fill `repeated` with rows whose id and very body are stored: nothing is left to compare."""
    if has_lake:
        connection.execute(
            "create table repeated as select candidates.seq, candidates.file"
            " from staged join candidates using (seq)"
            " semi join lake on staged.event_id = lake.event_id and staged.payload = lake.payload"
        )
    else:
        connection.execute("create table repeated (seq bigint, file integer)")


def _read_candidates(
    connection: duckdb.DuckDBPyConnection, staged: Sequence[tuple[int, Path, str]]
) -> None:
    """Fill `parsed` with what the other contested rows say."""
    kinds = pl.DataFrame(
        [(number, event_type) for number, _, event_type in staged],
        schema={"file": pl.Int32, "event_type": pl.String},
        orient="row",
    )
    connection.register("kinds", kinds.to_arrow())
    connection.execute(
        "create table parsed as with open as (select * from candidates anti join repeated using"
        " (seq)) select staged.seq, open.file, staged.event_id,"
        f" coalesce(open.digest, {DIGEST}) as digest, sha256(payload) as body"
        " from staged join open using (seq) join kinds using (file)"
    )
    connection.unregister("kinds")


def _judge(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "create table stated as select event_id, digest,"
        f" event_id || '~' || left(digest, {RENAME_DIGITS}) as renamed,"
        " min(seq) as seq from parsed group by event_id, digest"
    )
    connection.execute(
        """
        create table verdicts as
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
        ),
        fresh as (
            select
                unknown.seq,
                owners.seq <> unknown.seq as is_renamed,
                case when is_renamed then unknown.renamed else unknown.event_id end as final_id,
            from unknown join owners on unknown.event_id = owners.event_id
        )
        select parsed.seq, parsed.file, final_id, coalesce(is_renamed, false) as is_renamed
        from parsed left join fresh using (seq)
        union all
        select seq, file, null, false from repeated
        """
    )


def _know(connection: duckdb.DuckDBPyConnection, events: Iterable[tuple[str, str]]) -> None:
    rows = list(events)
    if rows:
        frame = pl.DataFrame(rows, schema=["event_id", "digest"], orient="row")
        connection.register("unlanded", frame.to_arrow())
        connection.execute("insert into known select event_id, digest from unlanded")
        connection.unregister("unlanded")


def _know_lake(connection: duckdb.DuckDBPyConnection) -> None:
    """Enter what the lake says under the contested ids; equal bodies say the same."""
    connection.execute(
        "create table hits as"
        f" with wanted as (select event_id as id from parsed union"
        f" select event_id || '~' || left(digest, {RENAME_DIGITS}) from parsed),"
        " said as (select body, any_value(digest) as digest from parsed group by body),"
        " found as (select event_id, payload, sha256(payload) as body from lake"
        " semi join wanted on lake.event_id = wanted.id)"
        " select event_id, digest, case when digest is null then payload end as payload"
        " from found left join said using (body)"
    )
    connection.execute(
        "insert into known select distinct event_id, digest from hits where digest is not null"
    )
    others = connection.cursor().execute("select event_id, payload from hits where digest is null")
    while rows := others.fetchmany(HITS_AT_ONCE):
        _know(connection, [(event_id, _digest(payload)) for event_id, payload in rows])


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path]) -> None:
    listed = ", ".join(map(_literal, files))
    connection.execute(
        f"create view {name} as select * from read_parquet([{listed}], hive_partitioning = false)"
    )


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _digest(payload: str) -> str:
    """What the stored body says; as the receiver computed it when the event was stored."""
    event = parse_body(payload.encode(), Arrival(stored_at=_FAR_FUTURE))
    return event.digest if isinstance(event, Event) else ""
