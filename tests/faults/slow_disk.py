"""A disk whose every sync takes 20 ms longer: throughput is printed, the deadline is asserted."""

from __future__ import annotations

import os
import signal
import time

from ingest.deliver import signer_of
from tests.e2e.installation import descendants

from .accounting import account, diagnose, lake_rows, wait_for_acknowledgements
from .hooklake import besieged
from .load import Book, under_load
from .outcome import NO_LOSS, Outcome, Scale, require_tools

CLIENTS = 64
DELAY_MICROSECONDS = 20_000
ANSWER_SECONDS_MAX = 8.0
STOP_SECONDS_MAX = 30.0


def run(scale: Scale) -> Outcome:
    """cycles: seconds under load."""
    require_tools("strace")
    bar = (
        f"{NO_LOSS}, no answer later than {ANSWER_SECONDS_MAX:g} s; "
        "aim >= 1000 acknowledged/s, p99 <= 150 ms"
    )
    outcome = Outcome("slow_disk", bar)
    book = Book("slow")
    delay = f"inject=fsync,fdatasync:delay_enter={DELAY_MICROSECONDS}"
    calls = ("-e", "trace=fsync,fdatasync", "-e", delay, "-o", "/dev/null")
    with besieged(wrapper=("strace", "-f", "-qq", "--seccomp-bpf", *calls)) as hooklake:
        receiver = hooklake.start_receiver()
        signer = signer_of(hooklake.settings)
        seconds = scale.of(ci=5, full=30)
        with under_load(hooklake.webhook_url, signer, book, clients=CLIENTS):
            wait_for_acknowledgements(book, CLIENTS, seconds=20, what="the load to be under way")
            before, began = len(book.acknowledged), time.monotonic()
            while time.monotonic() - began < seconds:
                enough = len(book.acknowledged) + 1
                wait_for_acknowledgements(book, enough, seconds=ANSWER_SECONDS_MAX, what="one more")
            rate = (len(book.acknowledged) - before) / (time.monotonic() - began)
        os.kill(descendants(receiver.pid)[0], signal.SIGTERM)  # strace would not pass it on
        receiver.wait(STOP_SECONDS_MAX)
        outcome.cycles = seconds
        hooklake.wrapper = ()
        hooklake.stop(hooklake.start_receiver())
        account(outcome, book, lake_rows(hooklake.data_dir))
        diagnose(hooklake.settings, outcome, ignore=("refresh",))
    outcome.measured["acknowledged_per_second"] = f"{rate:.0f}"
    outcome.measured["p99_ms"] = f"{1000 * book.percentile(0.99):.0f}"
    outcome.measured["slowest_seconds"] = f"{book.slowest:.2f}"
    outcome.require(book.slowest <= ANSWER_SECONDS_MAX, f"an answer took {book.slowest:.1f} s")
    return outcome
