"""Three readers while events land and versions are swapped: no error, every count a committed one.

Run as `python -m tests.faults.readers DATA_DIR` it is one of the readers: it counts the published
events again and again, and a line of JSON tells each (version, count) until standard input closes.
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

from ingest.deliver import signer_of
from ingest.paths import DataDir
from tests.e2e.installation import wait_until
from warehouse.reader import connect, published

from .accounting import settle
from .hooklake import Besieged, besieged
from .load import Book, under_load
from .outcome import NO_LOSS, Outcome, Scale

READERS = 3
PAUSE_SECONDS = 0.02
SECONDS_OF_A_SWAP_MAX = 30.0
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
        settle(hooklake, book, outcome)
    outcome.measured["reads"] = str(sum(reads))
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
    newest = 0
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
        outcome.require(version >= newest, f"{output.name}: version {version} after {newest}")
        newest = version
    return len(lines)


def _read(data_dir: DataDir) -> dict[str, int]:
    version = published(data_dir)
    assert version is not None, "nothing is published"
    with connect(version) as connection:
        [(count,)] = connection.execute("select count(*) from events").fetchall()
    return {"version": version.version, "count": count, "stated": version.events}


def main() -> None:
    data_dir = DataDir(Path(sys.argv[1]))
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            print(json.dumps(_read(data_dir)), flush=True)  # noqa: T201
        except (duckdb.Error, OSError, AssertionError) as error:
            print(f"error: {type(error).__name__}: {error}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
