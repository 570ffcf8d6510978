"""`make faults`: the faults at full size, one line each.

    python -m tests.faults [--only kill,power,…] [--size full|ci] [--cycles N]

Every minute it says on standard error how many cycles are done.
--only takes beginnings of names; --cycles runs so many instead of the size's own number, so that
a long fault can be run piece by piece. Exit code 1: a bar was missed, or a fault could not be run.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .catalogue import FAULTS
from .outcome import CannotRunError, Outcome, Scale


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--only", default="", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--size", choices=("full", "ci"), default="full")
    parser.add_argument("--cycles", type=int)
    given = parser.parse_args()
    wanted = tuple(part.strip() for part in given.only.split(",") if part.strip())
    chosen = {name: run for name, run in FAULTS.items() if not wanted or name.startswith(wanted)}
    if not chosen:
        parser.error(f"--only {given.only!r} names none of {', '.join(FAULTS)}")
    signal.signal(signal.SIGTERM, _stop)
    is_ok = True
    for name, run in chosen.items():
        began = time.monotonic()
        Outcome.begun.clear()
        try:
            with _told_each_minute(name):
                outcome = run(Scale(given.size == "full", given.cycles))
        except CannotRunError as reason:
            print(f"{name}: cannot run here, which counts as not passed: {reason}", flush=True)  # noqa: T201
            is_ok = False
            continue
        print(outcome.line, flush=True)  # noqa: T201
        for problem in outcome.problems[:10]:
            print(f"  {problem}", file=sys.stderr, flush=True)  # noqa: T201
        print(f"  ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)  # noqa: T201
        is_ok = is_ok and outcome.is_ok
    return 0 if is_ok else 1


@contextmanager
def _told_each_minute(name: str) -> Iterator[None]:
    is_over = threading.Event()

    def tell() -> None:
        began = time.monotonic()
        while not is_over.wait(60):
            cycles = max((outcome.cycles for outcome in Outcome.begun), default=0)
            minutes = (time.monotonic() - began) / 60
            print(f"  {name}: cycle {cycles} after {minutes:.0f} min", file=sys.stderr, flush=True)  # noqa: T201

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()


def _stop(*_: object) -> None:
    """Told to stop, undo everything: mounts, loop devices and processes are left by nobody."""
    sys.exit("stopped by SIGTERM")


if __name__ == "__main__":
    sys.exit(main())
