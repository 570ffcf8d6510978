"""What compaction makes of many small files: size, speed, and how often an event is written.

    python tests/bench/compact.py --events 50000

The events are those of the demo's lives, stored and landed as a receiver does. Sizes are per event,
and as ratios to the export gzipped: the bodies as they were received, one a line (what the target
of quality.md speaks of), and the whole stored rows as JSON lines, which is what the lake holds: the
body and, once more, every field read from it. Ids and addresses are random here, as real ones are:
gzip folds the second mention on a line into three bytes, while Parquet compresses every column by
itself and so keeps both.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from ingest.catalogue import generation_of, live_files
from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.lifecycles import in_time_order, lives
from ingest.parse import Arrival, parse_body
from ingest.payloads import SEED_DIALECT, body_bytes, render
from ingest.population import World
from ingest.settings import Settings
from warehouse.compact import Report, compact

UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 90
EVENTS_OF_A_LIFE = 3
LANDED_AT_ONCE = 1_000
GZIP_LEVEL = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000)
    arguments, _ = parser.parse_known_args()  # `make bench` gives every bench the same ARGS
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.events)


def measure(folder: Path, events: int) -> None:
    settings = Settings(
        data_dir=folder / "data",
        free_bytes_min=0,
        land_rows_max=LANDED_AT_ONCE,
        compact_grace_seconds=0,
    )
    settings.paths.ensure()
    writes: list[Report] = []
    export = gzip.compress(b"\n".join(bodies(events)), GZIP_LEVEL)
    busy = 0.0
    for number, batch in enumerate(in_batches(bodies(events))):
        land(settings, batch)
        if number % 10 == 9:
            began = time.process_time()
            writes.append(compact(settings))
            busy += time.process_time() - began
    stored = sum(file.rows for file in live_files(settings.paths.ledger))
    before = live_files(settings.paths.ledger)
    began = time.process_time()
    writes.append(compact(settings, everything=True))
    busy += time.process_time() - began
    files = live_files(settings.paths.ledger)
    size = sum(file.bytes for file in files)
    written = 1 + sum(each.rows for each in writes) / stored
    most = 1 + max(generation_of(file.path) for file in files)
    merged, seconds = (sum(getattr(each, name) for each in writes) for name in ("rows", "seconds"))
    say(f"stored: {stored:,} events, {len(before)} files -> {len(files)}")
    say(f"an event was written {written:.1f} times, landing included; none more than {most}")
    say(
        f"merging: {merged / seconds:,.0f} events/s, {1e6 * busy / merged:,.0f} us of processor"
        " each, written, synced, read again and compared"
    )
    rows = rows_gzipped(settings, [file.path for file in files])
    say(
        f"bytes per event: {size / stored:.0f}, the export gzipped "
        f"{len(export) / events:.0f} = {size / stored / (len(export) / events):.2f} x (bar 0.7), "
        f"whole rows gzipped {rows / stored:.0f} = {size / rows:.2f} x"
    )


def bodies(events: int) -> Iterator[bytes]:
    world = World(7, max(1, events // EVENTS_OF_A_LIFE), UNTIL, days=DAYS)
    happenings = itertools.islice(in_time_order(lives(world)), events)
    return (body_bytes(render(happening, SEED_DIALECT)) for happening in happenings)


def in_batches(lines: Iterator[bytes]) -> Iterator[tuple[bytes, ...]]:
    while batch := tuple(itertools.islice(lines, LANDED_AT_ONCE)):
        yield batch


def land(settings: Settings, batch: tuple[bytes, ...]) -> None:
    now = time.time_ns() // 1_000
    connection = open_ledger(settings.paths.ledger)
    with transaction(connection):
        store_deliveries(
            connection,
            [Delivery(parse_body(body, Arrival(now)), body, now) for body in batch],
            settings.node,
        )
    connection.close()
    land_now(settings)


def rows_gzipped(settings: Settings, paths: list[str]) -> int:
    """Bytes of all stored rows as JSON lines, gzipped."""
    total = 0
    for path in paths:
        lines = io.BytesIO()
        pl.read_parquet(settings.paths.lake / path, hive_partitioning=False).write_ndjson(lines)
        total += len(gzip.compress(lines.getvalue(), GZIP_LEVEL))
    return total


def say(text: str) -> None:
    sys.stdout.write(f"compaction: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
