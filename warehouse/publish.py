"""Publish serve.duckdb as an immutable, numbered copy, swapped in by a symbolic link.

finish serve (events view, comments, the build's row) -> CHECKPOINT, no write-ahead log left
-> byte copy to a dot-file -> fsync -> rename to warehouse-<n>.duckdb -> link beside -> rename over
warehouse.duckdb -> fsync the directory -> drop all but the newest versions

Killed at any point, readers keep the version the link named before; a half copy is a dot-file that
the next publishing removes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from ingest.catalogue import LakeFile
from ingest.contract import LAKE_COLUMNS
from ingest.errors import StorageError
from ingest.paths import DataDir, fsync_directory
from warehouse.copying import copy_durably
from warehouse.state import LAKE_TYPES, Engine, lake_table, literal, remove_database

VERSIONS_KEPT: Final = 3
STORAGE_VERSION: Final = "v1.5.0"
"""Older DuckDB clients open the published file too."""

INNER_SCHEMA: Final = "hooklake_inner"
"""What public views read. Not `hooklake`: their text names it without a database, and a reader who
attaches the file under that very name would find it ambiguous."""

_VERSION: Final = re.compile(r"warehouse-(\d+)\.duckdb")

EVENTS_COMMENT: Final = (
    "Every stored event, one row per event_id, read from the lake's Parquet files; type `other` "
    "included. account_id is what the event stated."
)
_EVENT_COMMENTS: Final[dict[str, str]] = {
    "event_id": "The sender's id, or one made from what the event says; unique.",
    "event_type": "One of the six known types, or `other`.",
    "event_month": "UTC month of occurred_at, YYYY-MM.",
    "sender_event": "The type as the sender spelt it.",
    "occurred_at": "When it happened (UTC).",
    "event_time_source": (
        "Where occurred_at came from: `payload`, `delivery`, `received` or `date`."
    ),
    "received_at": "When the receiver acknowledged it (UTC).",
    "origin": "`webhook`, `backfill` or `replay`.",
    "delivery_id": "The sender's delivery id, NULL where it gave none.",
    "batch_id": "The backfill batch, NULL for live deliveries.",
    "node": "The receiver that took it.",
    "seq": "Its place in that receiver's ledger.",
    "account_id": "The owner's e-mail in lower case, as stated; NULL where the event has none.",
    "owner_id": "The owner's id at the sender.",
    "workspace_id": "The workspace it is about, NULL where it names none.",
    "workspace_name": "The workspace's name.",
    "source": "Where a registration came from, as sent.",
    "plan_id": "The plan, in lower case.",
    "payment_id": "The overdue payment.",
    "currency": "Currency of amount, as sent.",
    "auto_renew": "Whether the plan renews by itself, NULL where not stated.",
    "amount": "Amount of the overdue payment.",
    "start_date": "First day of the paid period.",
    "end_date": "Last known day of the paid period.",
    "renewal_date": "Day of the renewal.",
    "due_date": "Day the payment was due.",
    "payload": "The exact body as received.",
}


class PublishError(StorageError):
    """The finished warehouse could not be made visible; the previous version stays."""

    code = "publish"


@dataclass(frozen=True)
class Build:
    """The one row of `hooklake.build`."""

    version: int
    built_at: datetime
    as_of: datetime
    newest_received_at: datetime | None
    events: int
    is_full: bool
    seconds: float


def attach_serve(engine: Engine, *, anew: bool) -> None:
    """Attach the database of public tables as `serve`; `anew`: empty, whatever was there."""
    path = engine.data.serve
    if anew:
        remove_database(path)
    engine.execute(
        f"attach {literal(str(path.resolve()))} as serve (storage_version '{STORAGE_VERSION}',"
        " recovery_mode 'no_wal_writes')"
    )
    for schema in ("hooklake", INNER_SCHEMA):
        engine.execute(f"create schema if not exists serve.{schema}")


def finish(engine: Engine, build: Build, files: Sequence[LakeFile], nodes: Iterable[Any]) -> None:
    """Write what is not a model: the events view, every comment, the build's row."""
    with engine.transaction():
        _write_events_view(engine, files)
        statements = [
            *_comments("view", "serve.main.events", EVENTS_COMMENT, _EVENT_COMMENTS.items()),
            *(statement for node in nodes for statement in _node_comments(node)),
        ]
        try:
            engine.connection.execute(";\n".join(statements))
        except duckdb.Error as error:
            raise PublishError(
                f"writing descriptions as comments: {error}; mend the YAML beside the model"
            ) from error
        engine.execute(
            "create or replace table serve.hooklake.build (version bigint, built_at timestamptz,"
            " as_of timestamptz, newest_received_at timestamptz, events bigint, is_full boolean,"
            " seconds double)"
        )
        engine.execute(
            "insert into serve.hooklake.build values (?, ?, ?, ?, ?, ?, ?)",
            [
                build.version,
                build.built_at,
                build.as_of,
                build.newest_received_at,
                build.events,
                build.is_full,
                build.seconds,
            ],
        )


def _write_events_view(engine: Engine, files: Sequence[LakeFile]) -> None:
    """`events`: the catalogue's files, never a glob, so that compaction is never seen half done.

    Beside it, what a reader would have to scan them all for: the workspaces nobody owns yet.
    """
    inner = f"serve.{INNER_SCHEMA}.settled"
    engine.execute(
        f"create or replace table {inner} as"
        " select node, seq, cast(null as varchar) as event_id, true as is_duplicate"
        " from state.duplicates union all"
        " select node, seq, events.event_id, false from state.renamed"
        " join state.events using (node, seq)"
    )
    engine.execute(
        f"create or replace table serve.{INNER_SCHEMA}.waiting as"
        " select distinct workspace_id from state.waiting"
    )
    if not files:
        typed = ", ".join(f"cast(null as {LAKE_TYPES[c]}) as {c}" for c in LAKE_COLUMNS)
        body = f"select {typed} where false"
    elif not engine.execute(f"select 1 from {inner} limit 1"):
        body = f"select {', '.join(LAKE_COLUMNS)} from {lake_table(engine.data.lake, files)}"
    else:
        columns = ", ".join(f"stored.{column}" for column in LAKE_COLUMNS if column != "event_id")
        body = (
            f"select coalesce(settled.event_id, stored.event_id) as event_id, {columns}"
            f" from {lake_table(engine.data.lake, files)} as stored"
            f" left join {inner} as settled on stored.node = settled.node"
            " and stored.seq = settled.seq where settled.is_duplicate is not true"
        )
    engine.execute(f"create or replace view serve.main.events as {body}")


def _node_comments(node: Any) -> list[str]:
    """Comments of one dbt node, from its YAML."""
    if node.database != "serve" or node.resource_type not in ("model", "seed"):
        return []
    table = f"serve.{node.schema}.{node.name}"
    kind = "view" if node.config.materialized == "view" else "table"
    return _comments(
        kind,
        table,
        node.description,
        [(column.name, column.description) for column in node.columns.values()],
    )


def _comments(
    kind: str, table: str, description: str, columns: Iterable[tuple[str, str]]
) -> list[str]:
    statements = [f"comment on {kind} {table} is {literal(_one_line(description))}"]
    statements += [
        f"comment on column {table}.{name} is {literal(_one_line(text))}" for name, text in columns
    ]
    return [statement for statement in statements if not statement.endswith(" is ''")]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def next_version(data: DataDir) -> int:
    """One more than any version that was ever renamed into place and is still there."""
    return 1 + max((number for number, _ in versions(data)), default=0)


def versions(data: DataDir) -> list[tuple[int, Path]]:
    """Published files with their numbers, newest first."""
    found = (
        (int(match[1]), path)
        for path in data.root.glob("warehouse-*.duckdb")
        if (match := _VERSION.fullmatch(path.name))
    )
    return sorted(found, reverse=True)


def publish(engine: Engine, version: int) -> Path:
    """Make serve visible as `version` and return its path; every step is durable before the next.

    Detaches serve. Raises: PublishError when serve cannot be checkpointed as a whole.
    """
    data = engine.data
    engine.execute("checkpoint serve")
    engine.execute("detach serve")
    log = data.serve.with_name(f"{data.serve.name}.wal")
    if log.exists() and log.stat().st_size:
        raise PublishError(f"publishing {data.serve}: a write-ahead log is left after CHECKPOINT")
    _remove_leftovers(data)
    final = data.root / f"warehouse-{version}.duckdb"
    temporary = data.root / f".{final.name}.{os.getpid()}.tmp"
    copy_durably(data.serve, temporary)
    temporary.rename(final)
    link = data.root / f".{data.warehouse.name}.{os.getpid()}.tmp"
    link.symlink_to(final.name)
    link.rename(data.warehouse)
    fsync_directory(data.root)
    _drop_old(data)
    return final


def _remove_leftovers(data: DataDir) -> None:
    """Half copies and links of a killed publishing."""
    for pattern in (".warehouse-*.duckdb.*.tmp", ".warehouse.duckdb.*.tmp"):
        for path in data.root.glob(pattern):
            path.unlink(missing_ok=True)


def _drop_old(data: DataDir) -> None:
    """Readers that still have a dropped version open keep it: the file lives until they close."""
    current = data.warehouse.resolve()
    for _, path in versions(data)[VERSIONS_KEPT:]:
        if path != current:
            path.unlink(missing_ok=True)
