"""Three readers while events land, files are merged and versions are swapped: no error, every count
a committed one.

Run as `python -m tests.faults.readers DATA_DIR` it is one of the readers: it counts the published
events, and those in the catalogue's files, again and again, and a line of JSON tells each until
standard input closes.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ingest.catalogue import live_files
from ingest.deliver import signer_of
from ingest.errors import HooklakeError
from ingest.landing import land_now
from ingest.paths import DataDir
from tests.e2e.installation import wait_until
from warehouse.compact import compact
from warehouse.reader import connect, published

from .accounting import account, diagnose, settle
from .hooklake import Besieged, besieged
from .load import Book, under_load
from .outcome import NO_LOSS, Outcome, Scale
from .stock import stock

READERS = 3
PAUSE_SECONDS = 0.02
SECONDS_OF_A_SWAP_MAX = 150.0
GRACE_SECONDS = 5.0
EVENTS_OF_A_ROUND = 12
ROOT = Path(__file__).resolve().parents[2]


def run(scale: Scale) -> Outcome:
    """cycles: versions published while the readers were reading."""
    outcome = Outcome("readers", f"0 errors, every count a committed one, {NO_LOSS}")
    swaps = scale.of(ci=20, full=500)
    book = Book("readers")
    with besieged(land_interval_seconds="0.2") as hooklake:
        hooklake.start_receiver()
        signer = signer_of(hooklake.settings)
        hooklake.command("refresh")
        watcher = hooklake.start("refresh", "--watch", "--json")
        with (
            under_load(hooklake.webhook_url, signer, book, clients=2, pause_seconds=PAUSE_SECONDS),
            _readers(hooklake) as outputs,
        ):
            for swap in range(1, swaps + 1):
                wait_until(
                    lambda swap=swap: len(_committed(hooklake)) >= swap,  # type: ignore[misc]
                    seconds=SECONDS_OF_A_SWAP_MAX,
                    what=f"version {swap + 1}",
                )
        code = hooklake.stop(watcher)
        outcome.require(
            code == 0, f"the watcher ended with {code}: {hooklake.said('refresh')[-300:]}"
        )
        committed = _committed(hooklake) | {1: 0}
        outcome.cycles = len(committed) - 1
        reads = [_check(output, committed, outcome) for output in outputs]
        hooklake.close()
        # A long run is compacted, and replaced files stay for a while.
        settle(hooklake, book, outcome, kept=lambda place: _catalogued(DataDir(place))[1])
    outcome.measured["reads"] = str(sum(reads))
    return outcome


def run_compact(scale: Scale) -> Outcome:
    """cycles: catalogue swaps, small files for a merged one, while the readers were reading."""
    outcome = Outcome("readers-compact", f"0 errors, every count a committed one, {NO_LOSS}")
    swaps = scale.of(ci=24, full=500)
    book = Book("compact")
    with besieged(
        land_rows_max="2",
        free_bytes_min="0",
        compact_interval_seconds="0",
        compact_grace_seconds=str(GRACE_SECONDS),
    ) as hooklake:
        settings = hooklake.settings
        hooklake.command("refresh")
        watcher = hooklake.start("refresh", "--watch", "--json")
        removed = 0
        with _readers(hooklake) as outputs:
            while outcome.cycles < swaps:
                first = len(book.sent)
                numbers = range(first, first + EVENTS_OF_A_ROUND)
                stock(settings, book, (f"compact-{number}" for number in numbers))
                land_now(settings)
                report = compact(settings, everything=True)
                outcome.cycles += report.written
                removed += report.removed
        hooklake.stop(watcher)
        committed = _committed(hooklake) | {1: 0}
        reads = [_check(output, committed, outcome) for output in outputs]
        hooklake.close()
        account(outcome, book, _catalogued(hooklake.settings.paths)[1])
        diagnose(hooklake.settings, outcome)
    outcome.measured["reads"] = str(sum(reads))
    outcome.measured["removed"] = str(removed)
    return outcome


def _committed(hooklake: Besieged) -> dict[int, int]:
    """Version -> events, as the watcher has told them."""
    whole = hooklake.said("refresh").rpartition("\n")[0]
    reports = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return {report["version"]: report["events"] for report in reports}


@contextmanager
def _readers(hooklake: Besieged) -> Iterator[list[Path]]:
    """Readers that have all read at least once; what they found is in the files afterwards."""
    outputs = [hooklake.logs / f"reader-{number}" for number in range(READERS)]
    started = []
    try:
        for output in outputs:
            with output.open("wb") as stream:
                command = [sys.executable, "-m", "tests.faults.readers", str(hooklake.data_dir)]
                started.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        stdin=subprocess.PIPE,
                        stdout=stream,
                        stderr=subprocess.STDOUT,
                    )
                )
        for output in outputs:
            wait_until(output.read_bytes, seconds=30, what="a reader's first count")
        yield outputs
    finally:
        for process in started:
            process.communicate(timeout=30)


def _check(output: Path, committed: dict[int, int], outcome: Outcome) -> int:
    """How often this reader has read; what it should not have seen becomes a problem."""
    lines = output.read_text("utf-8", "replace").splitlines()
    newest = held = 0
    for line in lines:
        if not line.startswith("{"):
            outcome.problems.append(f"{output.name}: {line}")
            continue
        found = json.loads(line)
        version, count = found["version"], found["count"]
        outcome.require(
            committed.get(version, count) == count == found["stated"],
            f"{output.name}: {count} events in version {version}, committed {committed}",
        )
        outcome.require(
            found["held"] == found["catalogued"] >= held,
            f"{output.name}: {found['held']} rows in files of {found['catalogued']}, {held} before",
        )
        held = found["held"]
        outcome.require(version >= newest, f"{output.name}: version {version} after {newest}")
        newest = version
    return len(lines)


def _read(data_dir: DataDir) -> dict[str, int]:
    version = published(data_dir)
    assert version is not None, "nothing is published"
    with connect(version) as connection:
        [(count,)] = connection.execute("select count(*) from events").fetchall()
    catalogued, rows = _catalogued(data_dir)
    return {
        "version": version.version,
        "count": count,
        "stated": version.events,
        "catalogued": catalogued,
        "held": len(rows),
    }


def _catalogued(data_dir: DataDir) -> tuple[int, list[tuple[str, str]]]:
    """Rows that the catalogue's files should hold, and (event_id, payload) of those they do."""
    files = live_files(data_dir.ledger)
    if not files:
        return 0, []
    paths = [str(data_dir.lake / file.path) for file in files]
    with duckdb.connect() as connection:
        rows = connection.execute("select event_id, payload from read_parquet(?)", [paths])
        return sum(file.rows for file in files), rows.fetchall()


def main() -> None:
    data_dir = DataDir(Path(sys.argv[1]))
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            print(json.dumps(_read(data_dir)), flush=True)  # noqa: T201
        except (duckdb.Error, OSError, AssertionError, HooklakeError) as error:
            print(f"error: {type(error).__name__}: {error}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
