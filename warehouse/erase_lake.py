"""A person's rows out of the lake: each file that holds any is written anew without them.

A new file is durable beside the old one before the ledger hears of it; until then readers see the
old one, and the catalogue's list of planned rewrites says that the new one is no stranger. Somebody
else's row that speaks of the person keeps its place, with the address replaced.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
from warehouse.dense import LEVEL_QUICK, write_dense
from warehouse.person import IS_THEIRS, SHORT_TEXT, Person, lake_reader, name_in

_PLACE: Final = "place"


@dataclass(frozen=True)
class Rewritten:
    """What became of one file. new: None where nothing was left to write."""

    old: LakeFile
    new: WrittenFile | None
    erased: int
    redacted: int


@dataclass(frozen=True)
class Judged:
    """theirs: the person's rows, with their place in the file; changed: other people's by place."""

    theirs: pl.DataFrame
    changed: dict[int, dict[str, Any]]


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
        judged = judge(paths, each.file, person)
        if not judged.theirs.height and not judged.changed:
            continue
        new = None
        if each.file.rows > judged.theirs.height:
            relative = _next_generation(connection, each.file.path)
            begin(connection, relative)
            rows = left_of(paths, each.file, judged)
            write = partial(write_dense, rows, level=LEVEL_QUICK)
            new = write_again(paths, write, each.file, relative=relative)
            if new.rows != each.file.rows - judged.theirs.height:
                raise LandingError(
                    f"writing {relative}: it has {new.rows} rows of {each.file.rows}, and"
                    f" {judged.theirs.height} were to go; `hooklake doctor` says what is wrong"
                )
        done.append(Rewritten(each.file, new, judged.theirs.height, len(judged.changed)))
    return done


def judge(paths: DataDir, file: LakeFile, person: Person) -> Judged:
    """Which rows of a file are the person's, and which only speak of the person.

    Bounded by these rows, however large the file is. Raises: LandingError where it is unreadable.
    """
    source = paths.lake / file.path
    try:
        candidates = _scanned(source).filter(_may_be_theirs(person)).collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LandingError(
            f"reading {source} to write it anew: {type(error).__name__}; `hooklake doctor` says"
            " whether it is damaged, a backup may hold it whole"
        ) from None
    mentions = person.mentions
    is_theirs: list[bool] = []
    changed: dict[int, dict[str, Any]] = {}
    for row, is_stated in zip(
        candidates.to_dicts(), candidates.select(_theirs(person)).to_series().to_list(), strict=True
    ):
        texts = (row["event_id"], row["delivery_id"], row["payload"])
        is_spoken_of = not is_stated and any(text and mentions.found(text) for text in texts)
        is_theirs.append(
            is_stated
            or (
                is_spoken_of
                and is_theirs_by_payload(person, row["account_id"], row["owner_id"], row["payload"])
            )
        )
        if is_spoken_of and not is_theirs[-1]:
            changed[row[_PLACE]] = redacted_row(person, row)
    return Judged(candidates.filter(pl.Series(is_theirs, dtype=pl.Boolean)), changed)


def left_of(paths: DataDir, file: LakeFile, judged: Judged) -> pl.LazyFrame:
    """The rows that stay, in their order, those that spoke of the person changed."""
    rows = _scanned(paths.lake / file.path).filter(
        ~pl.col(_PLACE).is_in(judged.theirs[_PLACE].to_list())
    )
    if judged.changed:
        schema = {_PLACE: pl.UInt32(), **FILE_SCHEMA}
        new = pl.DataFrame(list(judged.changed.values()), schema=schema).lazy()
        joined = rows.join(
            new.with_columns(pl.lit(value=True).alias("is_changed")),
            on=_PLACE,
            how="left",
            maintain_order="left",
            suffix="_changed",
        )
        rows = joined.with_columns(
            pl.when("is_changed").then(f"{name}_changed").otherwise(name).alias(name)
            for name in FILE_SCHEMA
        )
    return rows.select(*FILE_SCHEMA)


def _scanned(path: Path) -> pl.LazyFrame:
    frame = pl.scan_parquet(
        path, hive_partitioning=False, schema=pl.Schema(FILE_SCHEMA), glob=False
    )
    return frame.with_row_index(_PLACE)


def _theirs(person: Person) -> pl.Expr:
    """As IS_THEIRS."""
    names_nobody = pl.col("account_id").is_null() & pl.col("owner_id").is_null()
    return (
        pl.col("account_id").is_in(sorted(person.accounts)).fill_null(value=False)
        | pl.col("owner_id").is_in(sorted(person.owners)).fill_null(value=False)
        | (names_nobody & pl.col("workspace_id").is_in(sorted(person.workspaces))).fill_null(
            value=False
        )
    )


def _may_be_theirs(person: Person) -> pl.Expr:
    found = _theirs(person)
    if person.accounts:
        pattern = f"(?i){person.mentions.loose_pattern}"
        for name in SHORT_TEXT:
            found |= pl.col(name).str.contains(pattern).fill_null(value=False)
    return found


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
