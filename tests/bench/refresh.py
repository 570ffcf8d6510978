"""Refresh figures: a full rebuild and refreshes after small batches, over made-up life cycles.

    python tests/bench/refresh.py --events 1000000 --batch 1000 --rounds 5

Prints one line per figure: seconds, and their ratio to one count(distinct event_id) over the same
files in the same run where that is the reference (quality.md, "Speed").
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import duckdb

from ingest.catalogue import LakeFile
from ingest.contract import LAKE_COLUMNS
from warehouse.state import LAKE_TYPES, lake_table, literal
from warehouse.workbench import Workbench

EVENTS_PER_ACCOUNT = 5
START = "timestamptz '2025-01-01 00:00:00+00'"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=100, help="files the history is spread over")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    bench = Workbench(folder)
    lake = Lake(bench)
    accounts = arguments.events // EVENTS_PER_ACCOUNT
    for part in range(arguments.files):
        lake.land(part * accounts // arguments.files, (part + 1) * accounts // arguments.files)
    scan = lake.count_distinct_seconds()
    say("history", f"{lake.rows:,} events in {len(bench.files)} files, {accounts:,} accounts")
    say("one count(distinct event_id)", f"{scan:.3f} s")
    bench.refresh()  # dbt's import and parse are paid once per process
    full = bench.refresh(full=True)
    say("full rebuild", f"{full.seconds:.2f} s = {full.seconds / scan:.1f} x the scan", full.stages)
    for size in sorted({20, arguments.batch}):
        seconds, stages = [], {}
        for number in range(arguments.rounds):
            lake.renew(number * size * 7 % max(accounts - size, 1), size)
            report = bench.refresh()
            seconds.append(report.seconds)
            stages = report.stages
        say(f"refresh after {size} events", f"median {statistics.median(seconds):.3f} s", stages)
    clock = bench.refresh()
    say("refresh when only the clock moved", f"{clock.seconds:.3f} s", clock.stages)


def say(what: str, figure: str, stages: dict[str, float] | None = None) -> None:
    told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in (stages or {}).items() if seconds)
    sys.stdout.write(f"{what}: {figure}{f'  ({told})' if told else ''}\n")
    sys.stdout.flush()


class Lake:
    """Writes made-up events straight into Parquet files and the workbench's catalogue."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._seq = 0
        self.rows = 0

    def land(self, first: int, last: int) -> None:
        """The lives of accounts first..last-1: registered, workspace, plan, renewal, overdue."""
        number = f"unnest(range({first}, {last}))"
        at = f"{START} + to_minutes((n * 37 % 500000)::int)"
        for event_type, delay, extra in (
            ("user_registered", 0, "'ads-' || n % 5 as source"),
            ("workspace_created", 10, "'w' || n as workspace_id"),
            (
                "plan_changed",
                3000,
                f"'w' || n as workspace_id, {_plan('n')} as plan_id,"
                f" true as auto_renew, ({at})::date as start_date, ({at})::date + 30 as end_date",
            ),
            ("plan_renewed", 46000, f"'w' || n as workspace_id, {_plan('n')} as plan_id"),
            (
                "overdue_payment",
                90000,
                "'w' || n as workspace_id, 'p' || n as payment_id,"
                " 29.00 as amount, 'USD' as currency",
            ),
        ):
            self._write(
                event_type,
                f"select n, 'e-{event_type}-' || n as event_id, {extra},"
                f" {at} + to_minutes({delay}) as occurred_at from (select {number} as n)",
            )

    def renew(self, first: int, count: int) -> None:
        """One plan change each of `count` accounts."""
        tag = self._seq
        self._write(
            "plan_changed",
            f"select n, 'r{tag}-' || n as event_id, 'w' || n as workspace_id,"
            f" {_plan(f'n + {tag}')} as plan_id, now() as occurred_at"
            f" from (select unnest(range({first}, {first + count})) as n)",
        )

    def count_distinct_seconds(self) -> float:
        with duckdb.connect() as connection:
            query = (
                "select count(distinct event_id) from "
                f"{lake_table(self._bench.data.lake, self._bench.files)}"
            )
            connection.execute(query).fetchall()
            started = time.perf_counter()
            connection.execute(query).fetchall()
            return time.perf_counter() - started

    def _write(self, event_type: str, select: str) -> None:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            given = {row[0] for row in connection.execute(f"describe {select}").fetchall()}
            fixed = {
                "sender_event": f"'{event_type}'",
                "event_time_source": "'payload'",
                "received_at": "occurred_at + to_seconds(1)",
                "origin": "'webhook'",
                "node": "'n1'",
                "seq": f"{self._seq} + row_number() over ()",
                "account_id": "'owner' || n || '@example.test'",
                "payload": "'{}'",
            }
            columns = [c for c in LAKE_COLUMNS if c not in ("event_type", "event_month")]
            listed = ", ".join(
                f"cast({c if c in given else fixed.get(c, 'null')} as {LAKE_TYPES[c]}) as {c}"
                for c in columns
            )
            number = len(self._bench.files) + 1
            name = f"event_type={event_type}/event_month=2025-01/n1-{number}.parquet"
            path = self._bench.data.lake / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = connection.execute(
                f"copy (select {listed} from ({select})) to {literal(str(path))}"
                " (format parquet, compression zstd)"
            ).fetchall()[0][0]
        first = self._seq + 1
        self._seq += rows
        self.rows += rows
        self._bench.files.append(
            replace(
                _FILE,
                file_id=number,
                path=name,
                event_type=event_type,
                first_seq=first,
                last_seq=self._seq,
                rows=rows,
                bytes=path.stat().st_size,
            )
        )


_FILE = LakeFile(0, "", "", "2025-01", "n1", 0, 0, 0, 0, "", None)


def _plan(number: str) -> str:
    return f"list_extract(['business', 'business_lite', 'free'], ({number}) % 3 + 1)"


if __name__ == "__main__":
    main()
