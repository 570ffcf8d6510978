"""What a full rebuild costs and which models it is spent on, over made-up lives.

    python tests/bench/rebuild.py --events 1000000 --batch 1000 --rounds 3

Unlike refresh.py, whose accounts all do the same five things, these live as the demo's do: most
never pay, few are overdue, some for years. A few thousand lives are told once and repeated under
other names until there are enough events. Ratios are to one count(distinct event_id) over the same
files in the same run (quality.md, "Speed").
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from ingest.catalogue import LakeFile
from ingest.contract import BUSINESS_COLUMNS, LAKE_COLUMNS
from ingest.lifecycles import lives
from ingest.population import World
from warehouse.state import lake_table, literal
from warehouse.transform import Transformer
from warehouse.workbench import Workbench, write_lake_file

UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
LIVES = 1_000
PARTS = 20
"""Files per event type that the history is spread over."""
NAMES = ("event_id", "account_id", "owner_id", "workspace_id", "payment_id", "delivery_id")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=10, help="how many models to list")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    transformer = TimedTransformer(folder / "dbt")
    bench = Workbench(folder / "data", transformer)
    history = History(bench, folder / "told.parquet")
    history.tell(arguments.events)
    scan, scan_cpu = count_distinct_seconds(bench)
    say(f"history: {history.rows:,} events, {history.accounts:,} accounts")
    say(f"one count(distinct event_id): {scan:.3f} s")
    first = bench.refresh()  # dbt's import and parse are paid once per process
    say(
        f"first refresh: {first.seconds:.2f} s, of which {first.stages['load']:.2f} s"
        " for taking the files in, which a full rebuild does not do again"
    )
    cpu = time.process_time()
    full = bench.refresh(full=True)
    cpu = time.process_time() - cpu
    say(f"full rebuild: {full.seconds:.2f} s = {full.seconds / scan:.1f} x the scan")
    say(f"    of processor time: {cpu:.2f} s = {cpu / scan_cpu:.1f} x the scan's {scan_cpu:.2f} s")
    within = sum(transformer.seconds.values())
    stages = ", ".join(
        f"{name} {spent:.2f}" for name, spent in full.stages.items() if spent >= 0.01
    )
    say(f"    {stages}; {within:.2f} s within {len(transformer.seconds)} models and tests")
    dearest = sorted(transformer.seconds.items(), key=lambda item: -item[1])
    for name, seconds in dearest[: arguments.models]:
        say(f"    {name}: {seconds:.2f} s")
    for size in (20, arguments.batch):
        seconds = []
        for _ in range(arguments.rounds):
            history.renew(size)
            seconds.append(bench.refresh().seconds)
        say(f"refresh after {size} events: median {statistics.median(seconds):.2f} s")
    say(f"refresh when only the clock moved: {bench.refresh().seconds:.2f} s")


class TimedTransformer(Transformer):
    """Keeps the seconds of each model and test that dbt ran last."""

    seconds: dict[str, float]

    def _invoke(self, *arguments: Any) -> Any:
        answer = super()._invoke(*arguments)
        results = getattr(answer.result, "results", [])
        self.seconds = {result.node.name: result.execution_time for result in results}
        return answer


class History:
    """Lives told once into a file, then landed again and again under other names."""

    def __init__(self, bench: Workbench, told: Path) -> None:
        self._bench = bench
        self._told = told
        self._seq = self.rows = self.accounts = 0
        write_lake_file(told, _rows())
        with duckdb.connect() as connection:
            self._types = connection.execute(
                f"select distinct sender_event from {literal(str(told))}"
            ).fetchall()

    def tell(self, events: int) -> None:
        """The lives as often as it takes to make that many events."""
        told = duckdb.sql(f"select count(*) from {literal(str(self._told))}").fetchall()[0][0]
        copies = -(-events // told)
        renamed = ", ".join(f"copy || '-' || {name} as {name}" for name in NAMES)
        for part in range(min(PARTS, copies)):
            span = f"{part * copies // PARTS}, {(part + 1) * copies // PARTS}"
            if copies < PARTS:
                span = f"{part}, {part + 1}"
            for (event_type,) in self._types:
                self._land(
                    event_type,
                    f"select * exclude (copy) replace ({renamed},"
                    f" {self._seq} + row_number() over () as seq)"
                    f" from {literal(str(self._told))}, range({span}) as copies (copy)"
                    f" where sender_event = '{event_type}'",
                )
        self.accounts = copies * LIVES

    def renew(self, count: int) -> None:
        """One more renewal, today, of `count` accounts that renewed before."""
        tag = self._seq
        self._land(
            "plan_renewed",
            f"select * replace ('0-' || account_id as account_id, '0-' || workspace_id as"
            f" workspace_id, event_id || '-{tag}' as event_id, {tag} + row_number() over () as seq,"
            " now() as occurred_at, now() as received_at, null as renewal_date, null as end_date)"
            f" from {literal(str(self._told))} where sender_event = 'plan_renewed'"
            f" order by md5(event_id || '{tag}') limit {count}",
        )

    def _land(self, event_type: str, select: str) -> None:
        number = len(self._bench.files) + 1
        name = f"event_type={event_type}/event_month=2026-10/n1-{number}.parquet"
        path = self._bench.data.lake / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            [(rows,)] = connection.execute(
                f"copy ({select}) to {literal(str(path))} (format parquet, compression zstd)"
            ).fetchall()
        self._bench.files.append(
            replace(
                _FILE,
                file_id=number,
                path=name,
                event_type=event_type,
                first_seq=self._seq + 1,
                last_seq=self._seq + rows,
                rows=rows,
                bytes=path.stat().st_size,
            )
        )
        self._seq += rows
        self.rows += rows


_FILE = LakeFile(0, "", "", "2026-10", "n1", 0, 0, 0, 0, "", None)


def _rows() -> Iterator[dict[str, Any]]:
    """Stored rows of the lives, as the receiver would have stored them."""
    seq = 0
    for life in lives(World(seed=1, accounts=LIVES, until=UNTIL, days=730)):
        for happening in life.happenings:
            seq += 1
            said = {"account_id": happening.fields.get("owner_email"), **happening.fields}
            row: dict[str, Any] = dict.fromkeys(LAKE_COLUMNS)
            yield row | {
                **{column: _stored(said.get(column)) for column in BUSINESS_COLUMNS},
                "event_id": happening.event_id,
                "sender_event": happening.event_type,
                "occurred_at": happening.occurred_at,
                "received_at": happening.occurred_at,
                "event_time_source": "payload",
                "origin": "webhook",
                "node": "n1",
                "seq": seq,
                "payload": "{}",
            }


def _stored(value: object) -> object:
    return str(value) if isinstance(value, Decimal | date) else value


def count_distinct_seconds(bench: Workbench) -> tuple[float, float]:
    """Seconds by the clock, and of all cores' time: the fairer one where others work as well."""
    with duckdb.connect() as connection:
        query = f"select count(distinct event_id) from {lake_table(bench.data.lake, bench.files)}"
        connection.execute(query).fetchall()
        started, cpu = time.perf_counter(), time.process_time()
        connection.execute(query).fetchall()
        return time.perf_counter() - started, time.process_time() - cpu


def say(figure: str) -> None:
    sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
