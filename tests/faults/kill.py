"""SIGKILL at a random moment under 16 clients, restart, land; refresh every 20th cycle."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

from ingest.deliver import signer_of
from tests.e2e.installation import descendants, runs, wait_until

from .accounting import settle, wait_for_acknowledgements
from .hooklake import END_SECONDS_MAX, besieged
from .load import Book, under_load
from .outcome import NO_LOSS, Outcome, Scale

CLIENTS = 16
FIRST_ACKNOWLEDGEMENT_SECONDS_MAX = 5.0
ACKNOWLEDGED_BEFORE_KILL = (1, 400)
REFRESH_EVERY_CYCLES = 20
SEED = 20261122


def run(scale: Scale) -> Outcome:
    """The receiver alone, its whole family, its landing process first, or its writing process."""
    bar = f"{NO_LOSS}, first acknowledgement <= {FIRST_ACKNOWLEDGEMENT_SECONDS_MAX:.0f} s"
    outcome = Outcome("kill", bar)
    chance = random.Random(SEED)
    book = Book("kill")
    slowest = 0.0
    with (
        besieged(land_interval_seconds="0.05") as hooklake,
        under_load(hooklake.webhook_url, signer_of(hooklake.settings), book, clients=CLIENTS),
    ):
        for cycle in range(1, scale.of(ci=50, full=1000) + 1):
            before = len(book.acknowledged)
            started = time.monotonic()
            receiver = hooklake.start("serve")
            wait_for_acknowledgements(
                book, before + 1, seconds=30, what="an acknowledgement after a start"
            )
            slowest = max(slowest, time.monotonic() - started)
            enough = before + chance.randint(*ACKNOWLEDGED_BEFORE_KILL)
            wait_for_acknowledgements(book, enough, seconds=30, what="acknowledgements")
            victim = chance.choice(("receiver", "family", "lander", "writer"))
            if victim == "lander":
                _kill_child(receiver.pid, "ingest.landing")
                wait_for_acknowledgements(
                    book, enough + 1, seconds=30, what="an acknowledgement without a lander"
                )
            if victim == "writer":
                _kill_child(receiver.pid, "ingest.writer")
                code = receiver.wait(END_SECONDS_MAX)
                outcome.require(code == 1, f"cycle {cycle}: without a writer it ended with {code}")
            hooklake.kill(receiver, orphans=victim == "family")
            outcome.cycles = cycle
            if cycle % REFRESH_EVERY_CYCLES == 0:
                settle(hooklake, book, outcome)
            if outcome.problems:
                break
        settle(hooklake, book, outcome)
    outcome.measured["first_acknowledgement_seconds"] = f"{slowest:.2f}"
    outcome.require(
        slowest <= FIRST_ACKNOWLEDGEMENT_SECONDS_MAX, f"first acknowledgement after {slowest:.1f} s"
    )
    return outcome


def _kill_child(pid: int, module: str) -> None:
    def running() -> list[int]:
        return [child for child in descendants(pid) if runs(child, module)]

    (child,) = wait_until(running, seconds=5, what=f"a process that runs {module}")
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
