"""A data directory with a person in every corner of it, and a reader of every byte below it."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import duckdb
import polars as pl

from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, read_counters, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings, load_settings
from warehouse.backfill import run as backfill
from warehouse.doctor import examine

ANN, BOB = "ann@x.test", "bob@x.test"


def settings_of(root: Path) -> Settings:
    return load_settings(root, free_bytes_min=0)


def body(event: str, event_id: str | None = None, **fields: Any) -> bytes:
    top = {"event": event, "occurred_at": "2026-02-03T10:00:00Z"}
    if event_id:
        top["event_id"] = event_id
    return json.dumps({**top, "data": fields}).encode()


def deliver(settings: Settings, *bodies: bytes) -> list[str]:
    """Verdicts, in order; as if each had come by itself."""
    verdicts = []
    with ledger_of(settings) as connection:
        for raw in bodies:
            now = time.time_ns() // 1_000
            with transaction(connection):
                (outcome,) = store_deliveries(
                    connection, [Delivery(parse_body(raw, Arrival(now)), raw, now)], "n1"
                )
            verdicts.append(outcome.verdict)
    return verdicts


@contextmanager
def ledger_of(settings: Settings) -> Iterator[apsw.Connection]:
    connection = open_ledger(settings.paths.ledger)
    try:
        yield connection
    finally:
        connection.close()


def counters(settings: Settings) -> dict[str, int]:
    with ledger_of(settings) as connection:
        return read_counters(connection)


def anns_bodies() -> list[bytes]:
    """All about Ann: seven events, a duplicate, two that are none."""
    return [
        body("user_registered", "a-1", email=" Ann@X.test", source="ads"),
        body("workspace_created", "a-2", owner_email=ANN, owner_id="u-1", workspace_id="w-1"),
        body("plan_changed", "a-3", email=ANN, workspace_id="w-1", plan="pro"),
        body("workspace_deleted", "a-4", workspace_id="w-1"),
        body("workspace_deleted", "a-5", workspace_id="w-9", owner_id="u-1"),
        body("plan_renewed", "a-6", email="ann.new@x.test", owner_id="u-1"),
        body("credit_low", "a-7", contact="ANN@x.test"),
        body("user_registered", "a-1", email=ANN, source="ads"),
        body("plan_changed", email=ANN),
        b"event=plan_changed&email=ann@x.test",
    ]


def bobs_bodies() -> list[bytes]:
    """Bob's own, some of which speak of Ann, one of them with escapes and one in its own id."""
    return [
        body("user_registered", "b-1", email=BOB, source="ads"),
        body("plan_changed", "b-2", email=BOB, plan="pro", note=f"shares with <{ANN}>"),
        json.dumps(json.loads(body("plan_renewed", "b-3", email=BOB, note="x")))
        .replace('"x"', '"\\u0041nn\\u0040x.test"')
        .encode(),
        body("workspace_created", f"b-{ANN}", email=BOB, workspace_id="w-2", workspace_name=ANN),
        body("plan_changed", "b-5", email="joann@x.test", plan="pro"),
        body("plan_renewed", "b-6", email=BOB, **{ANN: 1}),
        body("plan_changed", email=BOB, invited_by=ANN),
    ]


def fill(settings: Settings, folder: Path) -> None:
    """Deliveries that are landed, waiting, twice there and quarantined, a backfill, and files."""
    settings.paths.ensure()
    deliver(settings, *anns_bodies()[:4], *bobs_bodies()[:2])
    land_now(settings)
    export = folder / f"export-of-{ANN}.ndjson"
    lines = [
        body("plan_changed", "c-1", email=ANN, plan="pro"),
        body("plan_changed", "c-2", email=BOB, plan="free"),
        body("overdue_payment", email="", user="ann@x.test"),
    ]
    export.write_bytes(b"\n".join(lines))
    assert backfill(settings, [export], as_json=True) == 0
    deliver(settings, *anns_bodies()[4:], *bobs_bodies()[2:])
    root = settings.paths.root
    (root / "sql_history").write_text(
        f"select 1;\nselect * from dim_accounts where account_id = '{ANN}';\nselect 2;\n"
    )
    exports = root / "exports"
    exports.mkdir()
    (exports / "rows.csv").write_text(f'account,note\n{BOB},fine\n{ANN},"two\nlines"\n{BOB},more\n')
    (exports / "rows.ndjson.gz").write_bytes(gzip.compress(anns_bodies()[0] + b"\n{}\n"))
    (exports / "notes.md").write_text(f"Call {ANN} back.\n")
    (exports / f"{ANN}.txt").write_text("nothing\n")
    pl.DataFrame({"account": [ANN, BOB], "n": [1, 2]}).write_parquet(exports / "rows.parquet")
    settings.paths.staging.mkdir(exist_ok=True)
    (settings.paths.staging / "n1-7-9.parquet").write_bytes(anns_bodies()[0])
    stray = settings.paths.lake / "event_type=other/event_month=2026-02"
    stray.mkdir(parents=True)
    pl.DataFrame(
        {
            "event_id": ["x"],
            "account_id": [ANN],
            "owner_id": [None],
            "workspace_id": [None],
            "delivery_id": [None],
            "payload": ["{}"],
        },
        schema=dict.fromkeys(
            ("event_id", "account_id", "owner_id", "workspace_id", "delivery_id", "payload"),
            pl.String,
        ),
    ).write_parquet(stray / "n1-90-99.parquet")


def places_of(root: Path, pattern: str) -> list[str]:
    """Files below `root` that hold a match once everything that can be decoded is decoded."""
    wanted = re.compile(pattern, re.IGNORECASE)
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(root).as_posix()
        if wanted.search(name) or any(wanted.search(text) for text in _texts(path)):
            found.append(name)
    return found


def _texts(path: Path) -> Iterable[str]:
    raw = path.read_bytes()
    yield raw.decode("utf-8", "ignore")
    if raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw).decode("utf-8", "ignore")
    elif raw.startswith(b"PAR1"):
        frame = pl.read_parquet(path, hive_partitioning=False)
        yield json.dumps(frame.to_dicts(), default=str, ensure_ascii=False)
        yield _unescaped(frame.to_dicts())
    elif raw.startswith(b"SQLite format 3"):
        connection = apsw.Connection(str(path))
        for (table,) in connection.execute("select name from sqlite_schema where type = 'table'"):
            for row in connection.execute(f"select * from {table}"):
                yield _unescaped([row])
        connection.close()
    elif raw[8:12] == b"DUCK":
        yield from _duckdb_texts(path)


def _duckdb_texts(path: Path) -> Iterable[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables()"
        ).fetchall()
        for schema, table in tables:
            yield str(connection.execute(f'select * from {schema}."{table}"').fetchall())


def _unescaped(value: object) -> str:
    """Everything as one text, bytes decoded, with the escapes of JSON taken back."""
    text = str(value)
    return text.replace("\\\\u0040", "@").replace("\\u0040", "@")


def rows(settings: Settings, query: str) -> list[Any]:
    path = settings.paths.warehouse.resolve(strict=True)
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def failures(settings: Settings) -> list[str]:
    return [
        f"{finding.check}: {finding.message}"
        for finding in examine(settings)
        if finding.level == "failure"
    ]


def check_gone(settings: Settings) -> None:
    """Ann is nowhere, Bob is whole, and the books balance."""
    for name in (r"(?<!jo)ann@x\.test", r"ann\.new@x\.test", '"a-[0-9]"'):
        assert places_of(settings.paths.root, name) == []
    assert failures(settings) == []
    counted = counters(settings)
    assert counted["deliveries"] == sum(
        counted[name] for name in ("events", "duplicates", "quarantined", "erased")
    )
    assert rows(settings, "select distinct account_id from events order by 1") == [
        (BOB,),
        ("joann@x.test",),
    ]
    bobs = {row[0] for row in rows(settings, "select event_id from events")}
    assert {"b-1", "b-2", "b-3", "b-5", "b-6", "c-2"} < bobs
    assert len(bobs) == 7
