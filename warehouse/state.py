"""state.duckdb: the lake's events without bodies, each once, each with the account it belongs to.

Private and rebuildable: when another DuckDB version or layout wrote it, it is made anew from the
lake. One transaction takes in the lake files that are new in the catalogue:

files -> events (settled: one row per id) -> workspaces (who owns which) -> events attributed
                                             -> pending (accounts whose tables must be recomputed)

Accounts stay pending until a published version holds them, so a refresh killed anywhere is redone.
All statements run on one in-memory engine; `state`, `serve` and `delta` are attached to it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from ingest.catalogue import LakeFile, successors
from ingest.contract import BUSINESS_COLUMNS, LAKE_COLUMNS, OTHER
from ingest.errors import StorageError
from ingest.identity import fields_hash, other_hash
from ingest.paths import DataDir
from warehouse.settle import Stored, settle

FORMAT: Final = "1"
"""Raise it with every change of the tables below: an older state is then rebuilt."""

LAKE_TYPES: Final[dict[str, str]] = {
    **dict.fromkeys(LAKE_COLUMNS, "varchar"),
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "seq": "bigint",
    "auto_renew": "boolean",
    "amount": "decimal(18, 2)",
    "start_date": "date",
    "end_date": "date",
    "renewal_date": "date",
    "due_date": "date",
}

_KEPT: Final = tuple(column for column in LAKE_COLUMNS if column != "payload")
EVENT_COLUMNS: Final = (*_KEPT, "stated_account_id", "rowid as event_row")
"""What `touched_events()` offers, in order: all of a stored row but the body, the account the event
itself stated, and a whole number of its own; `account_id` is the owner by attribution."""

_INNER: Final = ("account_key", "event_key", "payload_sha256")
_EVENT_TABLE: Final = ", ".join(
    [
        *(f"{column} {LAKE_TYPES[column]}" for column in _KEPT),
        "stated_account_id varchar, account_key ubigint, event_key ubigint, payload_sha256 varchar",
    ]
)
_SCHEMA: Final = f"""
    create table if not exists state.meta (name varchar primary key, value varchar);
    create table if not exists state.files (
        file_id bigint, path varchar, node varchar, first_seq bigint, last_seq bigint, rows bigint
    );
    create table if not exists state.events ({_EVENT_TABLE});
    create table if not exists state.duplicates ({_EVENT_TABLE});
    create table if not exists state.renamed (node varchar, seq bigint, stored_event_id varchar);
    create table if not exists state.workspaces (
        workspace_id varchar, account_id varchar,
        occurred_at timestamptz, received_at timestamptz, node varchar, seq bigint
    );
    create table if not exists state.waiting (workspace_id varchar);
    create table if not exists state.pending (account_id varchar);
"""
_ORDER: Final = "(occurred_at, received_at, node, seq)"
# Equal fields, as far as SQL can say without hashing: what goes into identity.fields_hash.
_STATED: Final = tuple(
    "stated_account_id" if column == "account_id" else column for column in BUSINESS_COLUMNS
)
_FIELDS: Final = (
    f"row(event_type, {', '.join(_STATED)},"
    " case when event_time_source = 'payload' then occurred_at end,"
    f" case when event_type = '{OTHER}' then sender_event end, payload_sha256)"
)


class StateError(StorageError):
    """The private database cannot be used."""

    code = "state"


@dataclass
class Engine:
    """One DuckDB instance with `state` attached; `name` opens it again within this process."""

    connection: duckdb.DuckDBPyConnection
    name: str
    was_rebuilt: bool
    data: DataDir

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> list[Any]:
        """All rows of the answer."""
        return self.connection.execute(statement, parameters).fetchall()

    def number(self, statement: str, parameters: Sequence[Any] | None = None) -> int:
        """The one whole number of the answer."""
        return int(self.execute(statement, parameters)[0][0])

    def meta(self, name: str) -> str | None:
        """A remembered value, None when never set."""
        rows = self.execute("select value from state.meta where name = ?", [name])
        return rows[0][0] if rows else None

    def remember(self, **values: str | None) -> None:
        """Keep values under their names, inside the caller's transaction if there is one."""
        for name, value in values.items():
            self.execute("insert or replace into state.meta values (?, ?)", [name, value])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; DuckDB lets one transaction write one attached database."""
        self.execute("begin")
        try:
            yield
        except BaseException:
            self.execute("rollback")
            raise
        self.execute("commit")


@dataclass(frozen=True)
class Loaded:
    """What one load did. `rows`: rows read from new files; `files`: how many of them."""

    files: int
    rows: int
    is_rebuilt: bool


@contextmanager
def open_engine(data: DataDir) -> Iterator[Engine]:
    """An engine with `state` attached, of this DuckDB version and layout.

    Raises: StateError when another program holds the file.
    """
    name = f":memory:hooklake-{uuid.uuid4().hex}"
    connection = duckdb.connect(name)
    try:
        for setting in (
            "timezone = 'UTC'",
            "preserve_insertion_order = false",
            "autoinstall_known_extensions = false",
            f"temp_directory = {literal(str(data.root.resolve() / 'spill'))}",
        ):
            connection.execute(f"set global {setting}")
        connection.execute("set timezone = 'UTC'")
        # Blocks are used again instead of given back to the kernel, which has to clear each page
        # anew: some 10 s of rebuilding 10 million events. Given back when the engine is closed.
        (memory,) = connection.execute(
            "select parse_formatted_bytes(current_setting('memory_limit')) // 2"
        ).fetchall()[0]
        connection.execute(f"set global block_allocator_memory = '{memory} B'")
        yield Engine(connection, name, _attach_state(connection, data.state), data)
    finally:
        connection.close()


def _attach_state(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Attach `path` as `state`; True when it had to be made anew."""
    wanted = {"format": FORMAT, "duckdb": duckdb.__version__}
    existed = path.exists()
    attach = f"attach {literal(str(path.resolve()))} as state (storage_version 'latest')"
    try:
        connection.execute(attach)
        found = dict(
            connection.execute(
                "select name, value from state.meta where name in ('format', 'duckdb')"
            ).fetchall()
        )
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise StateError(
                f"opening {path}: another program holds it; close that program, or wait for the "
                "other refresh to end"
            ) from error
        found = {}
    if found != wanted:
        connection.execute("detach database if exists state")
        remove_database(path)
        connection.execute(attach)
        connection.execute(_SCHEMA)
        for name, value in wanted.items():
            connection.execute("insert into state.meta values (?, ?)", [name, value])
    return existed and found != wanted


def remove_database(path: Path) -> None:
    """Delete a DuckDB file and its write-ahead log."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def load(engine: Engine, files: Sequence[LakeFile]) -> Loaded:
    """Take in what the catalogue has and the state has not, in one transaction.

    files: everything that is live. Files that vanished from it are allowed to when others hold the
    same rows (compaction), which are then not read again where the ledger vouches for them;
    otherwise rows were erased and the state is read anew as a whole. Idempotent.
    """
    known = {row[0] for row in engine.execute("select file_id from state.files")}
    live = {file.file_id for file in files}
    fresh = [file for file in files if file.file_id not in known]
    gone = known - live
    if not fresh and not gone:
        return Loaded(0, 0, is_rebuilt=False)
    moved = _moved(engine, fresh, gone)
    unread = [file for file in fresh if file.file_id not in moved.values()]
    vanished = gone - moved.keys()
    with engine.transaction():
        is_rebuilt = bool(vanished) and not _only_moved(engine, unread, vanished)
        if is_rebuilt:
            for table in ("files", "events", "duplicates", "renamed", "workspaces", "waiting"):
                engine.execute(f"delete from state.{table}")
            fresh = unread = list(files)
        elif gone:
            marks = ", ".join(str(file_id) for file_id in sorted(gone))
            engine.execute(f"delete from state.files where file_id in ({marks})")
        rows = _take_in(engine, unread, skip_known=bool(vanished) and not is_rebuilt)
        if fresh:
            engine.connection.executemany(
                "insert into state.files values (?, ?, ?, ?, ?, ?)",
                [(f.file_id, f.path, f.node, f.first_seq, f.last_seq, f.rows) for f in fresh],
            )
    return Loaded(len(unread), rows, is_rebuilt)


def _moved(engine: Engine, fresh: Sequence[LakeFile], gone: set[int]) -> dict[int, int]:
    """Vanished file -> the fresh file that holds its rows, where that one holds nothing else."""
    if not fresh or not gone:
        return {}
    following = successors(engine.data.ledger, gone)
    rows_of = {file.file_id: file.rows for file in fresh}
    found: dict[int, int] = {}
    for file_id in gone:
        heir = following.get(file_id)
        while heir is not None and heir not in rows_of:
            heir = following.get(heir)
        if heir is not None:
            found[file_id] = heir
    held = dict.fromkeys(found.values(), 0)
    for file_id, rows in engine.execute("select file_id, rows from state.files"):
        if file_id in found:
            held[found[file_id]] += rows
    return {old: new for old, new in found.items() if held[new] == rows_of[new]}


def _only_moved(engine: Engine, fresh: Sequence[LakeFile], gone: set[int]) -> bool:
    """Whether the rows of the vanished files are all in `fresh`."""
    marks = ", ".join(str(file_id) for file_id in sorted(gone))
    lost = engine.execute(
        f"select node, first_seq, last_seq, rows from state.files where file_id in ({marks})"
    )
    held: int = sum(row[3] for row in lost)
    if not fresh:
        return held == 0
    found = engine.number(
        "select count(*) from (select node, seq from state.events union all"
        " select node, seq from state.duplicates) as had semi join"
        f" (select node, seq from {lake_table(engine.data.lake, fresh)}) as now using (node, seq)"
    )
    return found >= held


def _take_in(engine: Engine, files: Sequence[LakeFile], *, skip_known: bool) -> int:
    """Insert the files' rows, settle ids, attribute accounts, note who is pending."""
    if not files:
        return 0
    had_any = bool(engine.execute("select 1 from state.events limit 1"))
    first_new = engine.number("select coalesce(max(rowid) + 1, 0) from state.events")
    _insert(engine, files, skip_known=skip_known)
    rows = engine.number("select count(*) from state.events where rowid >= ?", [first_new])
    contested = _contested_keys(engine, first_new, had_any=had_any)
    if contested:
        _settle_contested(engine)
    _attribute(engine, first_new, contested=contested)
    engine.execute(
        "insert into state.pending select distinct account_id from state.events"
        f" where rowid >= ? and account_id is not null and event_type <> '{OTHER}'",
        [first_new],
    )
    return rows


def _insert(engine: Engine, files: Sequence[LakeFile], *, skip_known: bool) -> None:
    known = (
        " anti join (select node, seq from state.events union all"
        " select node, seq from state.duplicates) as known using (node, seq)"
        if skip_known
        else ""
    )
    columns = ", ".join(_KEPT)
    for is_other in (False, True):
        chosen = [file for file in files if (file.event_type == OTHER) == is_other]
        if not chosen:
            continue
        # A body is read only where its exact bytes are part of the event's identity.
        read, digest = (", payload", "sha256(payload)") if is_other else ("", "null")
        engine.execute(
            f"insert into state.events ({columns}, stated_account_id, {', '.join(_INNER)})"
            f" select {columns}, account_id, hash(account_id), hash(event_id), {digest}"
            f" from (select {columns}{read} from {lake_table(engine.data.lake, chosen)})"
            f" as stored{known}"
        )


def lake_table(lake: Path, files: Sequence[LakeFile]) -> str:
    """The files as a table function; types of the partition columns never guessed."""
    root = lake.resolve()
    paths = ", ".join(literal(str(root / file.path)) for file in files)
    return (
        f"read_parquet([{paths}], hive_partitioning = true,"
        " hive_types = {'event_type': 'varchar', 'event_month': 'varchar'})"
    )


def _contested_keys(engine: Engine, first_new: int, *, had_any: bool) -> bool:
    """Fill temp.contested with the keys of ids that more than one row claims; False for none."""
    engine.execute("create or replace temp table contested (event_key ubigint)")
    engine.execute(
        "insert into contested select event_key from state.events where rowid >= ?"
        " group by event_key having count(*) > 1",
        [first_new],
    )
    if had_any:
        engine.execute(
            "insert into contested select event_key from state.events where rowid < ? and event_key"
            " in (select event_key from state.events where rowid >= ?)",
            [first_new, first_new],
        )
    return bool(engine.execute("select 1 from contested limit 1"))


def _settle_contested(engine: Engine) -> None:
    """Leave one row per contested id in events; losers go to duplicates, others get a new id."""
    engine.execute(
        "insert into state.pending select distinct account_id from state.events where event_key in"
        " (select event_key from contested) and account_id is not null"
    )
    engine.execute(
        "create or replace temp table claims as select rowid as row_id, event_id, node, seq,"
        f" row_number() over (partition by event_id order by received_at, node, seq) as place,"
        f" count(distinct {_FIELDS}) over (partition by event_id) as variants"
        " from state.events where event_key in (select event_key from contested)"
    )
    engine.execute(
        "create or replace temp table losers as"
        " select row_id, node, seq from claims where variants = 1 and place > 1"
    )
    _to_duplicates(engine)
    ids = {row[0] for row in engine.execute("select event_id from claims where variants > 1")}
    if ids:
        _settle_by_fields(engine, ids)


def _to_duplicates(engine: Engine) -> None:
    """Move temp.losers; a loser that had been renamed keeps the id it is stored under."""
    engine.execute(
        "insert into state.duplicates select events.* replace"
        " (coalesce(renamed.stored_event_id, events.event_id) as event_id,"
        " hash(coalesce(renamed.stored_event_id, events.event_id)) as event_key)"
        " from state.events as events"
        " left join state.renamed as renamed using (node, seq)"
        " where events.rowid in (select row_id from losers)"
    )
    engine.execute(
        "delete from state.renamed where (node, seq) in (select (node, seq) from losers)"
    )
    engine.execute("delete from state.events where rowid in (select row_id from losers)")


def _settle_by_fields(engine: Engine, ids: set[str]) -> None:
    """Settle ids under which rows with different fields are stored; few, so row by row."""
    stored = _claimants(engine, ids)
    answer = settle(stored.values())
    while missing := {i for i in answer.values() if i is not None} - ids:
        ids |= missing  # a new name may be taken already: settle its claimants along
        stored = _claimants(engine, ids)
        answer = settle(stored.values())
    engine.execute(
        "create or replace temp table settled (node varchar, seq bigint, stored_event_id varchar,"
        " event_id varchar)"
    )
    engine.connection.executemany(
        "insert into settled values (?, ?, ?, ?)",
        [(*key, stored[key].stored_id, event_id) for key, event_id in answer.items()],
    )
    keys = "(select (node, seq) from settled)"
    engine.execute(
        "create or replace temp table moving as"
        f" select * from state.events where (node, seq) in {keys} union all"
        f" select * from state.duplicates where (node, seq) in {keys}"
    )
    for table in ("events", "duplicates", "renamed"):
        engine.execute(f"delete from state.{table} where (node, seq) in {keys}")
    engine.execute(
        "insert into state.duplicates select moving.* replace"
        " (settled.stored_event_id as event_id, hash(settled.stored_event_id) as event_key)"
        " from moving join settled using (node, seq) where settled.event_id is null"
    )
    engine.execute(
        "insert into state.events select moving.* replace"
        " (settled.event_id as event_id, hash(settled.event_id) as event_key)"
        " from moving join settled using (node, seq) where settled.event_id is not null"
    )
    engine.execute(
        "insert into state.renamed select node, seq, stored_event_id from settled"
        " where event_id <> stored_event_id"
    )
    engine.execute(
        "insert into state.pending select distinct account_id from moving"
        " where account_id is not null"
    )


def _claimants(engine: Engine, ids: set[str]) -> dict[tuple[str, int], Stored]:
    """Every row stored under one of `ids` or published under one, with all that share its id."""
    business = ", ".join(
        column if column == "auto_renew" else f"cast({column} as varchar)" for column in _STATED
    )
    engine.execute("create or replace temp table wanted (event_id varchar, event_key ubigint)")
    while True:
        engine.execute("delete from wanted")
        engine.connection.executemany(
            "insert into wanted values (?, hash(?))", [(i, i) for i in sorted(ids)]
        )
        rows = engine.execute(
            "with held as (select events.*, coalesce(renamed.stored_event_id, events.event_id)"
            "   as stored_event_id from state.events as events"
            "   left join state.renamed as renamed using (node, seq)"
            "   where events.event_key in (select event_key from wanted)"
            "   or (events.node, events.seq) in (select (node, seq) from state.renamed"
            "     where stored_event_id in (select event_id from wanted))"
            "   union all select duplicates.*, event_id from state.duplicates as duplicates"
            "   where event_key in (select event_key from wanted))"
            f" select node, seq, stored_event_id, received_at, event_type, sender_event,"
            "  payload_sha256, case when event_time_source = 'payload'"
            f"  then epoch_us(occurred_at) end, {business} from held"
            "  where event_id in (select event_id from wanted)"
            "  or stored_event_id in (select event_id from wanted)"
        )
        stored_ids = {row[2] for row in rows}
        if stored_ids <= ids:
            return {(row[0], row[1]): _stored(row) for row in rows}
        ids |= stored_ids


def _stored(row: tuple[Any, ...]) -> Stored:
    node, seq, stored_id, received_at, event_type, sender_event, body_sha256, instant = row[:8]
    if event_type == OTHER:
        digest = other_hash(sender_event, body_sha256, instant)
    else:
        digest = fields_hash(event_type, row[8:], instant)
    return Stored(stored_id, received_at, node, seq, digest)


def _attribute(engine: Engine, first_new: int, *, contested: bool) -> None:
    """Bring workspaces and every event's account up to date; both sides of a move are pending."""
    stated = (
        "select workspace_id, stated_account_id as account_id, occurred_at, received_at, node, seq"
        " from state.events where workspace_id is not null and stated_account_id is not null"
        f" and event_type <> '{OTHER}'"
    )
    if contested:  # a row that proved a workspace's owner may be gone: look at all its events
        engine.execute(
            "create or replace temp table doubted as select distinct workspace_id from state.events"
            " where rowid >= ? and workspace_id is not null",
            [first_new],
        )
        claims = f"{stated} and workspace_id in (select workspace_id from doubted)"
    else:
        claims = (
            f"{stated} and rowid >= {first_new} union all select * from state.workspaces where"
            f" workspace_id in (select workspace_id from state.events where rowid >= {first_new})"
        )
    engine.execute(
        "create or replace temp table owners as select workspace_id,"
        " unnest(arg_min(struct_pack(account_id := account_id, occurred_at := occurred_at,"
        f" received_at := received_at, node := node, seq := seq), {_ORDER}))"
        f" from ({claims}) as claims group by workspace_id"
    )
    engine.execute(
        "create or replace temp table reowned as select owners.workspace_id from owners"
        " left join state.workspaces as had using (workspace_id)"
        " left join (select distinct workspace_id from state.waiting) as waiting"
        "   using (workspace_id)"
        " where had.account_id <> owners.account_id or waiting.workspace_id is not null"
    )
    engine.execute(
        "delete from state.workspaces where workspace_id in (select workspace_id from owners)"
    )
    engine.execute("insert into state.workspaces select * from owners")
    _move_events(engine, f"events.rowid >= {first_new}")
    if engine.execute("select 1 from reowned limit 1"):
        _move_events(engine, "events.workspace_id in (select workspace_id from reowned)")
        engine.execute(
            "delete from state.waiting where workspace_id in (select workspace_id from reowned)"
        )
    engine.execute(
        "insert into state.waiting select distinct workspace_id from state.events"
        f" where rowid >= {first_new} and account_id is null and workspace_id is not null"
        f" and event_type <> '{OTHER}'"
    )


def _move_events(engine: Engine, condition: str) -> None:
    """Give events that name a workspace to its owner; who loses or gains one is pending."""
    engine.execute(
        "create or replace temp table moved as select events.rowid as row_id,"
        " events.account_id as had_id, owners.account_id"
        " from state.events as events join state.workspaces as owners using (workspace_id)"
        f" where events.event_type <> '{OTHER}' and {condition}"
        " and events.account_id is distinct from owners.account_id"
    )
    engine.execute(
        "insert into state.pending select had_id from moved where had_id is not null"
        " union select account_id from moved"
    )
    engine.execute(
        "update state.events set account_id = moved.account_id,"
        " account_key = hash(moved.account_id) from moved where events.rowid = moved.row_id"
    )


def lay_out(engine: Engine, *, is_full: bool, until: datetime | None) -> int:
    """Attach `delta` with the events of the accounts in scope; how many accounts are touched.

    is_full: everybody, as a view over the state. until: leave out what happened later, and what
    only a later event tells about a workspace's owner; for a full refresh only.
    """
    engine.execute("attach ':memory:' as delta")
    columns = ", ".join(f"events.{column}" for column in EVENT_COLUMNS)
    mine = f"events.event_type <> '{OTHER}' and events.account_id is not null"
    if not is_full:
        engine.execute(
            "create table delta.main.touched_accounts as"
            " select distinct account_id from state.pending"
        )
        engine.execute(
            f"create table delta.main.events as select {columns} from state.events as events"
            " where account_key in (select hash(account_id) from delta.main.touched_accounts)"
            f" and {mine}"
            " and account_id in (select account_id from delta.main.touched_accounts)"
        )
        return engine.number("select count(*) from delta.main.touched_accounts")
    engine.execute("create table delta.main.touched_accounts (account_id varchar)")
    if until is None:
        body = f"select {columns} from state.main.events as events where {mine}"
    else:
        known = columns.replace("rowid as ", "")
        body = f"""
            with known as (
                select events.* replace (
                    case when owners.occurred_at > {instant(until)} then stated_account_id
                    else events.account_id end as account_id
                ), events.rowid as event_row
                from state.main.events as events
                left join state.main.workspaces as owners
                    on events.workspace_id = owners.workspace_id
                where events.occurred_at <= {instant(until)}
            )
            select {known} from known as events where {mine}
        """
    engine.execute(f"create view delta.main.events as {body}")
    return 0


def newest(engine: Engine) -> tuple[datetime | None, datetime | None, int]:
    """Newest occurred_at and received_at, and the number of events, type `other` included."""
    row: tuple[datetime | None, datetime | None, int] = engine.execute(
        "select max(occurred_at), max(received_at), count(*) from state.events"
    )[0]
    return row


def first_occurred(engine: Engine) -> datetime | None:
    """Oldest occurred_at, type `other` included; None without events."""
    row: tuple[datetime | None] = engine.execute("select min(occurred_at) from state.events")[0]
    return row[0]


def literal(text: str) -> str:
    """`text` as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def instant(moment: datetime) -> str:
    """A UTC moment as a SQL literal."""
    return f"timestamptz '{moment:%Y-%m-%d %H:%M:%S.%f}+00'"
