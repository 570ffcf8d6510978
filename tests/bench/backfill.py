"""How fast exported history is loaded, beside dlt and DuckDB's bare COPY of the same file.

    python tests/bench/backfill.py --rows 2000000

The export is a simulated population's, as UChat would send it. Each load runs in a process of its
own, so that its peak memory is its own; ours is also measured on a tenth of the file, since memory
must not grow with it. dlt is installed into a temporary environment where a registry has it
(quality.md, "Speed"). Ratios are to what ran in the same run; processor time tells how busy the
machine was otherwise.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from ingest.lifecycles import in_time_order, lives
from ingest.payloads import body_bytes, render
from ingest.population import World

ROOT = Path(__file__).resolve().parents[2]
TOLD_ACCOUNTS = 8_000
UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
DLT_ROWS_MAX = 200_000
"""So many rows are enough to tell dlt's rate."""

COPY = """
import duckdb, sys
read = f"read_ndjson('{sys.argv[1]}', sample_size = 400000)"  # renewals come late in a history
duckdb.sql(f"copy (select * from {read}) to '{sys.argv[2]}' (format parquet)")
"""
DLT = """
import json, sys, time
import dlt

def events():
    with open(sys.argv[1], "rb") as lines:
        for line in lines:
            yield json.loads(line)

pipeline = dlt.pipeline(
    "bench",
    pipelines_dir=sys.argv[2] + "/state",
    destination=dlt.destinations.filesystem(bucket_url="file://" + sys.argv[2] + "/out"),
    dataset_name="events",
)
began = time.perf_counter()
pipeline.run(events(), table_name="events", loader_file_format="parquet")
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Spent:
    """What a process took. peak: bytes of memory."""

    seconds: float
    cpu_seconds: float
    peak: int
    said: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--without-dlt", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hooklake-bench-") as folder:
        measure(Path(folder), arguments.rows, with_dlt=not arguments.without_dlt)


def measure(folder: Path, rows: int, *, with_dlt: bool) -> None:
    export, tenth = folder / "export.ndjson", folder / "tenth.ndjson"
    write_export(export, rows)
    with export.open("rb") as lines, tenth.open("wb") as file:
        file.writelines(itertools.islice(lines, rows // 10))
    say(f"export: {rows:,} events, {export.stat().st_size / rows:.0f} bytes each")
    copied = [run([sys.executable, "-c", COPY, str(export), str(folder / "bare")])]
    first = backfill(folder / "data", export)
    copied.append(run([sys.executable, "-c", COPY, str(export), str(folder / "bare")]))
    bare = min(copied, key=lambda each: each.seconds)
    report = json.loads(first.said)
    assert report["new"] == rows, report
    say(
        f"backfill: {rows / first.seconds:,.0f} rows/s ({first.seconds:.1f} s, processor"
        f" {first.cpu_seconds:.1f} s), peak memory {first.peak / 1e6:,.0f} MB"
    )
    say(
        f"    {bare.seconds / first.seconds:.2f} x DuckDB's bare COPY ({rows / bare.seconds:,.0f}"
        f" rows/s); by processor time {bare.cpu_seconds / first.cpu_seconds:.2f} x"
    )
    if with_dlt:
        compare_with_dlt(folder, tenth, min(DLT_ROWS_MAX, rows // 10), rows / first.seconds)
    small = backfill(folder / "small", tenth)
    say(f"a tenth of it: peak memory {small.peak / 1e6:,.0f} MB")
    again = backfill(folder / "data", export)
    assert json.loads(again.said)["duplicate"] == rows, again.said
    say(f"the same file again: {rows / again.seconds:,.0f} rows/s, all duplicates")
    lake = sum(path.stat().st_size for path in (folder / "data" / "lake").rglob("*.parquet"))
    with tenth.open("rb") as plain, gzip.open(folder / "tenth.gz", "wb", 6) as packed:
        shutil.copyfileobj(plain, packed)
    zipped = (folder / "tenth.gz").stat().st_size / (rows // 10)
    say(
        f"{lake / rows:.1f} bytes per event in the lake before compaction = "
        f"{lake / rows / zipped:.2f} x the export gzipped ({zipped:.1f})"
    )


def write_export(path: Path, rows: int) -> None:
    """A few thousand lives told under ever other names, in the order in which they happened."""
    told = [
        body_bytes(render(lived))
        for lived in in_time_order(lives(World(7, TOLD_ACCOUNTS, UNTIL, days=730)))
    ]
    copies = -(-rows // len(told))
    with path.open("wb") as file:
        file.writelines(itertools.islice(_copied(told, copies), rows))


def _copied(told: list[bytes], copies: int) -> Iterator[bytes]:
    """Names and ids are as hard to compress as the sender's own: half of each is another hash."""
    for number, line in enumerate(told):
        for copy in range(copies):
            event, people = _hex(number, copy), _hex(-1, copy)
            named = line
            for prefix, mark in (
                (b'"evt_', event),
                (b'"usr_', people[:6]),
                (b'"ws_', people[6:12]),
                (b'"pay_', event[:6]),
            ):
                before, found, after = named.partition(prefix)
                named = before + found + mark + after[len(mark) :] if found else named
            before, found, after = named.partition(b"@example.")
            if found:
                named = before[:-4] + people[:4] + found + after
            yield named + b"\n"


def _hex(*numbers: int) -> bytes:
    return blake2b(repr(numbers).encode(), digest_size=6).hexdigest().encode()


def backfill(data_dir: Path, export: Path) -> Spent:
    return run(
        [
            *(sys.executable, "-m", "warehouse.cli", "backfill", str(export)),
            *("--json", "--data-dir", str(data_dir)),
        ]
    )


def compare_with_dlt(folder: Path, export: Path, rows: int, ours: float) -> None:
    python = folder / "dlt" / "bin" / "python"
    venv.create(folder / "dlt", with_pip=True)
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "dlt[filesystem,parquet]"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        say("dlt: not measured, no registry has it here")
        return
    (folder / "loaded").mkdir()
    done = run([str(python), "-c", DLT, str(export), str(folder / "loaded")], is_telemetry_off=True)
    seconds = float(done.said.strip().splitlines()[-1])
    say(
        f"    {ours / (rows / seconds):.1f} x dlt to local Parquet"
        f" ({rows / seconds:,.0f} rows/s on {rows:,})"
    )


def run(command: list[str], *, is_telemetry_off: bool = False) -> Spent:
    """Run to the end in a process of its own. Raises: AssertionError where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOOKLAKE_FREE_BYTES_MIN": "0"}
    if is_telemetry_off:
        environment |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_TELEMETRY_DISABLED": "1"}
        del environment["PYTHONPATH"]
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=said, env=environment) as child,
    ):
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        said.seek(0)
        text = said.read().decode()
    assert child.returncode == 0, f"{command[:4]} ended with {child.returncode}"
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
