"""A warehouse in a folder of its own, for tests of the models: nothing in it is faked.

    bench = Workbench(tmp_path)
    bench.add([
        {"event_type": "user_registered", "account_id": "a@x.test",
         "occurred_at": "2026-01-01T10:00:00Z", "source": "ads"},
    ])
    bench.refresh(as_of="2026-03-01T00:00:00Z")   # full the first time, then only touched accounts
    bench.add([...]); bench.refresh()             # incremental
    bench.refresh(full=True)
    bench.rows("fct_registration_funnel")         # list of dicts, ordered by all columns
    bench.query("select count(*) from events")    # list of tuples, on the published file
    bench.unit_tests("fct_registration_funnel")   # dbt unit tests, all of them without a name

A failing model or test raises `TransformError`, whose text names it. One dbt parse (some seconds)
is shared by all workbenches of a process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import duckdb

from ingest.catalogue import LakeFile
from ingest.contract import LAKE_COLUMNS
from ingest.paths import DataDir
from warehouse import publish
from warehouse.build import Report, Wanted, build
from warehouse.prices import read_plan_prices, write_plan_prices
from warehouse.reader import connect, published
from warehouse.state import LAKE_TYPES, lay_out, literal, load, open_engine
from warehouse.transform import Outcome, Scope, Transformer, Variables

_FAR: Final = datetime(2026, 6, 1, tzinfo=UTC)


@cache
def shared_transformer() -> Transformer:
    """The project parsed once for all workbenches of this process."""
    return Transformer(Path(tempfile.mkdtemp(prefix="hooklake-dbt-")))


class Workbench:
    """`data`: its data directory; `files`: its catalogue, to be played with."""

    def __init__(self, root: Path, transformer: Transformer | None = None) -> None:
        self.data = DataDir(root).ensure()
        self.files: list[LakeFile] = []
        self._transformer = transformer or shared_transformer()
        self._seq = self._file_id = 0

    def add(self, events: Iterable[Mapping[str, Any]]) -> list[LakeFile]:
        """Land events as one batch and return its files, one per type and month.

        Keys are lake columns; instants as datetime or RFC 3339. Left out: event_id `e<seq>`,
        received_at = occurred_at, node `n1`, seq counting up, event_time_source `payload`, origin
        `webhook`, payload `{}`, the rest NULL. event_type and occurred_at are needed.
        """
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for event in events:
            row = self._stored(event)
            groups.setdefault((row["event_type"], row["event_month"]), []).append(row)
        return [self._land(*key, rows) for key, rows in groups.items()]

    def refresh(
        self,
        *,
        full: bool = False,
        as_of: datetime | str | None = None,
        variables: Variables | None = None,
    ) -> Report:
        """Build, test and publish as `hooklake refresh` does."""
        wanted = Wanted(full, None if as_of is None else _instant(as_of), variables or Variables())
        return build(self.data, self.files, self._transformer, wanted)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A published table, ordered by all its columns; `schema.table` reaches private ones."""
        with self.connect() as connection:
            cursor = connection.execute(f"select * from {table} order by all")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement on the published file."""
        with self.connect() as connection:
            return connection.execute(statement).fetchall()

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The published version, read-only."""
        version = published(self.data)
        if version is None:
            raise LookupError("nothing is published yet; call refresh() first")
        return connect(version)

    def unit_tests(self, select: str | None = None) -> Outcome:
        """Run dbt unit tests over empty tables. Raises: TransformError with the difference."""
        with (
            tempfile.TemporaryDirectory() as folder,
            open_engine(DataDir(Path(folder))) as engine,
        ):
            load(engine, [])
            publish.attach_serve(engine, anew=True)
            write_plan_prices(engine, read_plan_prices(engine.data))
            lay_out(engine, is_full=True, until=None)
            self._transformer.run(engine.name, Scope.FULL, _FAR, Variables())
            return self._transformer.unit_tests(engine.name, select, _FAR)

    def _stored(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._seq += 1
        unknown = set(event) - set(LAKE_COLUMNS)
        if unknown:
            raise KeyError(f"no columns of a stored event: {sorted(unknown)}")
        row: dict[str, Any] = dict.fromkeys(LAKE_COLUMNS)
        row |= {
            "event_id": f"e{self._seq}",
            "sender_event": event["event_type"],
            "event_time_source": "payload",
            "received_at": event["occurred_at"],
            "origin": "webhook",
            "node": "n1",
            "seq": self._seq,
            "payload": "{}",
        }
        row |= event
        for column in ("occurred_at", "received_at"):
            row[column] = _instant(row[column])
        row["event_month"] = f"{row['occurred_at']:%Y-%m}"
        return row

    def _land(self, event_type: str, month: str, rows: list[dict[str, Any]]) -> LakeFile:
        self._file_id += 1
        number = self._file_id
        node = rows[0]["node"]
        first, last = min(row["seq"] for row in rows), max(row["seq"] for row in rows)
        folder = f"event_type={event_type}/event_month={month}"
        path = self.data.lake / folder / f"{node}-{first}-{last}-f{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lake_file(path, rows)
        file = LakeFile(
            file_id=number,
            path=str(path.relative_to(self.data.lake)),
            event_type=event_type,
            event_month=month,
            node=node,
            first_seq=first,
            last_seq=last,
            rows=len(rows),
            bytes=path.stat().st_size,
            sha256="",
            batch_id=None,
        )
        self.files.append(file)
        return file


def write_lake_file(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows with all lake columns as one Parquet file of the lake's schema, in order of seq."""
    columns = [column for column in LAKE_COLUMNS if column not in ("event_type", "event_month")]
    typed = ", ".join(f"{column} {LAKE_TYPES[column]}" for column in columns)
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"create table stored ({typed})")
        connection.executemany(
            f"insert into stored values ({', '.join('?' for _ in columns)})",
            [[_value(row[column]) for column in columns] for row in rows],
        )
        connection.execute(
            f"copy (from stored order by seq) to {literal(str(path))} (format parquet,"
            " compression zstd)"
        )


def _value(value: Any) -> Any:
    return (
        str(value)
        if isinstance(value, Decimal | date) and not isinstance(value, datetime)
        else value
    )


def _instant(value: datetime | str) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).astimezone(UTC)
