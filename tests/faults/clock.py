"""The clock jumps while events come in: their order is the ledger's, and nothing is in the future.

libfaketime moves the receiver's wall clock by days, both ways; its monotonic clock goes on.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import duckdb

from ingest.deliver import signer_of

from .accounting import settle
from .hooklake import Besieged, besieged, working_folder
from .load import Book, deliver_one
from .outcome import NO_LOSS, Outcome, Scale, find_library

JUMPS = ("+0", "+400d", "-400d", "+1h", "-1h", "+3d", "-2d")
"""A jump of -400d makes the events' own instants lie in the receiver's future."""

DELIVERIES_OF_A_JUMP = 10


def run(scale: Scale) -> Outcome:
    """cycles: jumps."""
    outcome = Outcome("clock", f"{NO_LOSS}, order by seq, no event later than its receipt")
    library = find_library("libfaketimeMT.so.1")
    book = Book("clock")
    order: list[str] = []
    with working_folder() as folder, _without_waits() as hooklake:
        clock = folder / "clock"
        hooklake.variables |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        _set(clock, JUMPS[0])
        receiver = hooklake.start_receiver()
        signer = signer_of(hooklake.settings)
        for jump in range(scale.of(ci=14, full=140)):
            _set(clock, JUMPS[jump % len(JUMPS)])
            for _ in range(DELIVERIES_OF_A_JUMP):
                status = deliver_one(hooklake.webhook_url, signer, book)
                outcome.require(status == 200, f"jump {jump}: answered {status}")
                order.append(f"{book.label}-{book.number}")
            outcome.cycles += 1
            if outcome.problems:
                break
        code = hooklake.stop(receiver)
        outcome.require(code == 0, f"the receiver ended with {code}")
        settle(hooklake, book, outcome)
        _check_lake(hooklake, order, outcome)
    return outcome


def _without_waits() -> AbstractContextManager[Besieged]:
    """Tokens carry no timestamp of the sender's other clock; libfaketime 0.9.10 lets time.sleep,
    with which a commit waits for company, fail with EINVAL after a jump back."""
    return besieged(verify="token", commit_wait_ms="0")


def _set(clock: Path, offset: str) -> None:
    """Atomically: a receiver that reads an empty file would know no time at all."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{offset}\n")
    fresh.rename(clock)


def _check_lake(hooklake: Besieged, order: list[str], outcome: Outcome) -> None:
    files = [str(path) for path in hooklake.data_dir.glob("lake/events/**/*.parquet")]
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select event_id, occurred_at > received_at from read_parquet(?) order by seq", [files]
        ).fetchall()
    outcome.require([row[0] for row in rows] == order, "seq is not the order of acknowledgement")
    future = sum(is_future for _, is_future in rows)
    outcome.require(not future, f"{future} events happen after their receipt")
