"""A person's rows out of the lake: each file that holds any is written anew without them.

A new file is durable beside the old one before the ledger hears of it; until then readers see the
old one, and the catalogue's list of planned rewrites says that the new one is no stranger. Somebody
else's row that speaks of the person keeps its place, with the address replaced.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import duckdb
import polars as pl

from ingest.catalogue import LakeFile, generation_of
from ingest.errors import LandingError
from ingest.lake import FILE_SCHEMA, WrittenFile, write_again
from ingest.landing import enter_files
from ingest.ledger import transaction
from ingest.paths import DataDir, fsync_directory
from ingest.rewrites import begin, remove, replaced_before
from warehouse.person import IS_THEIRS, Person, lake_reader, name_in

_TEXT_COLUMNS: Final = tuple(name for name, kind in FILE_SCHEMA.items() if kind == pl.String())


@dataclass(frozen=True)
class Rewritten:
    """What became of one file. new: None where nothing was left to write."""

    old: LakeFile
    new: WrittenFile | None
    erased: int
    redacted: int


@dataclass(frozen=True)
class Found:
    """Rows of one file: the person's, and others that may speak of the person."""

    file: LakeFile
    theirs: int
    others: int


def search(
    reader: duckdb.DuckDBPyConnection, lake_root: str, files: Sequence[LakeFile], person: Person
) -> list[Found]:
    """The files that hold rows of the person, or may speak of them. reader: `lake_reader`'s."""
    if not files:
        return []
    name_in(reader, person)
    by_path = {f"{lake_root}/{file.path}": file for file in files}
    rows = reader.execute(
        f"select filename, count(*) filter (where {IS_THEIRS}),"
        f" count(*) filter (where not {IS_THEIRS} and ({person.mention_condition}))"
        " from lake group by filename"
    ).fetchall()
    found = [Found(by_path[path], theirs, others) for path, theirs, others in rows]
    return sorted(
        (each for each in found if each.theirs or each.others), key=lambda each: each.file.file_id
    )


def rewrite(
    connection: apsw.Connection, paths: DataDir, found: Sequence[Found], person: Person
) -> list[Rewritten]:
    """Write every file anew that must change; the caller enters them. All are durable then.

    The caller holds the landing lock. Raises: LandingError.
    """
    done = []
    for each in found:
        source = paths.lake / each.file.path
        try:
            frame = pl.read_parquet(source, hive_partitioning=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LandingError(
                f"reading {source} to write it anew: {error}; `hooklake doctor` says whether it is"
                " damaged, a backup may hold it whole"
            ) from error
        left, erased, redacted = without(frame, person)
        if not erased and not redacted:
            continue
        new = None
        if left.height:
            relative = _next_generation(connection, each.file.path)
            begin(connection, relative)
            new = write_again(paths, left, each.file, relative=relative)
        done.append(Rewritten(each.file, new, erased, redacted))
    return done


def without(frame: pl.DataFrame, person: Person) -> tuple[pl.DataFrame, int, int]:
    """The rows that stay, how many do not, and how many were freed of the person's address."""
    nobody = pl.col("account_id").is_null() & pl.col("owner_id").is_null()
    theirs = frame.select(
        (
            pl.col("account_id").is_in(list(person.accounts)).fill_null(value=False)
            | pl.col("owner_id").is_in(list(person.owners)).fill_null(value=False)
            | (nobody & pl.col("workspace_id").is_in(list(person.workspaces))).fill_null(
                value=False
            )
        ).alias("theirs")
    )["theirs"].to_list()
    mentions = person.mentions
    columns = [frame[name].to_list() for name in ("event_id", "delivery_id", "payload")]
    touched: dict[int, dict[str, Any]] = {}
    for index, texts in enumerate(zip(*columns, strict=True)):
        if theirs[index] or not any(text and mentions.found(text) for text in texts):
            continue
        row = frame.row(index, named=True)
        if is_theirs_by_payload(person, row["account_id"], row["owner_id"], row["payload"]):
            theirs[index] = True
        else:
            touched[index] = redacted_row(person, row)
    erased = sum(theirs)
    if touched:
        replaced = pl.DataFrame(list(touched.values()), schema=frame.schema)
        order = pl.Series("place", list(touched), dtype=pl.UInt32)
        others = frame.with_row_index("place").filter(~pl.col("place").is_in(list(touched)))
        frame = pl.concat([others, replaced.insert_column(0, order)]).sort("place").drop("place")
    return frame.filter(~pl.Series(theirs, dtype=pl.Boolean)), erased, len(touched)


def is_theirs_by_payload(
    person: Person, account_id: str | None, owner_id: str | None, payload: str
) -> bool:
    """Whether a row that speaks of the person and names nobody else is the person's."""
    return account_id is None and owner_id is None and person.is_stated(payload.encode())


def redacted_row(person: Person, row: dict[str, Any]) -> dict[str, Any]:
    """Somebody else's row without the person's address; its event_id stays one of its own."""
    changed = {
        name: person.mentions.redacted(value) if isinstance(value, str) else value
        for name, value in row.items()
    }
    if changed["event_id"] != row["event_id"]:
        changed["event_id"] = f"{changed['event_id']}~{row['seq']}"
    return changed


def enter(connection: apsw.Connection, done: Sequence[Rewritten]) -> None:
    """Put the new files in the old ones' place, within the caller's transaction.

    No file is the successor of one of which rows were erased: the state is to be read anew.
    """
    now = time.time_ns() // 1_000
    for each in done:
        if each.new is not None:
            enter_files(connection, [each.new], batch_id=each.old.batch_id)
            connection.execute("delete from rewrites where path = ?", (each.new.path,))
        connection.execute(
            "update files set status = 'replaced', replaced_at = ? where file_id = ?",
            (now, each.old.file_id),
        )


def remove_strangers(connection: apsw.Connection, paths: DataDir, person: Person) -> int:
    """Delete files of the lake that nobody reads any more and that tell of the person.

    What a killed landing, backfill or rewriting left behind is in no catalogue. The caller holds
    the landing and the backfill lock.
    """
    known = {row[0] for row in connection.execute("select path from files")}
    removed = 0
    for path in sorted(paths.lake.rglob("*.parquet")):
        relative = path.relative_to(paths.lake).as_posix()
        if relative in known or path.is_symlink():
            continue
        if _tells_of(paths, relative, person):
            path.unlink()
            fsync_directory(path.parent)
            with transaction(connection):
                connection.execute("delete from rewrites where path = ?", (relative,))
            removed += 1
    return removed


def remove_replaced(connection: apsw.Connection, paths: DataDir) -> None:
    """Delete what other files have replaced, from the disk and durably, without a grace period.

    No published version may name them any more.
    """
    remove(connection, paths, replaced_before(connection, time.time_ns() // 1_000))


def _tells_of(paths: DataDir, relative: str, person: Person) -> bool:
    """Whether a file holds anything of the person; one that cannot be read may."""
    file = LakeFile(0, relative, "", "", "", 0, 0, 0, 0, "", None)
    try:
        with lake_reader(paths.lake, [file]) as reader:
            return bool(search(reader, str(paths.lake.resolve()), [file], person))
    except duckdb.Error:
        return True


def _next_generation(connection: apsw.Connection, relative: str) -> str:
    """The path with `-g<n>`, n one more than that of any file there ever was of this name."""
    stem = relative.removesuffix(".parquet").removesuffix(f"-g{generation_of(relative)}")
    former = connection.execute(
        "select path from files where substr(path, 1, ?) = ?", (len(stem) + 2, f"{stem}-g")
    )
    newest = max((generation_of(str(path)) for (path,) in former), default=0)
    return f"{stem}-g{max(newest, generation_of(relative)) + 1}.parquet"
