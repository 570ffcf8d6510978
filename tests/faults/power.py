"""Power cuts under load: the file system is shut down with nothing flushed, mounted again, counted.

An acknowledgement read after the cut has begun counts for nothing: no machine without power sends
one. It can be told for a sync that ext4 was doing at that very moment, which the shutdown makes
return 0 though its journal entry is discarded (traced: the sync began 0.9 ms before the cut, ended
6 ms after it with 0, the next one failed). Soon after the cut there must be none at all.

The same harness under libeatmydata, where no sync reaches the disk, must report a loss: otherwise
it could not see one, and its other lines would prove nothing.
"""

from __future__ import annotations

import random
import subprocess
from contextlib import suppress
from pathlib import Path

from ingest.deliver import signer_of
from tests.e2e.installation import wait_until

from .accounting import account, ledger_rows, settle, wait_for_acknowledgements
from .disks import Disk, loop_disk
from .hooklake import Besieged, besieged
from .load import Book, under_load
from .outcome import NO_LOSS, Outcome, Scale, require_tools

CLIENTS = 16
ACKNOWLEDGED_BEFORE_CUT = (1, 300)
REFRESH_EVERY_CYCLES = 5
NOTICE_SECONDS_MAX = 10.0
SILENCE_SECONDS = 1.0
PAUSE_BESIDE_A_REFRESH_SECONDS = 0.02
"""Of each client: a refresh takes seconds, and what they send meanwhile is read at every cycle."""
DISK_BYTES = 4 * 1024**3
"""Sparse; a refresh wants twice its tables free, and 300 cycles leave half a million events."""
MOMENTS = ("state.duckdb", "serve.duckdb", ".warehouse-*.tmp", "end")
"""Of a refresh: when it has the file open, when there is such a file, when it is over."""
SEED = 20261123


def run_ext4(scale: Scale) -> Outcome:
    return _run(Outcome("power-ext4", NO_LOSS), "ext4", scale.of(ci=10, full=300))


def run_xfs(scale: Scale) -> Outcome:
    return _run(Outcome("power-xfs", NO_LOSS), "xfs", scale.of(ci=10, full=300))


def run_self_test(_: Scale) -> Outcome:
    """One cut where every sync is a lie."""
    require_tools("eatmydata")
    outcome = Outcome("power-self-test", "without syncs it must lose: lost > 0", must_lose=True)
    return _run(outcome, "ext4", 1, wrapper=("eatmydata",))


def _run(
    outcome: Outcome, filesystem: str, cycles: int, *, wrapper: tuple[str, ...] = ()
) -> Outcome:
    chance = random.Random(SEED)
    book = Book(outcome.fault)
    told_late = 0
    with (
        loop_disk(filesystem, DISK_BYTES) as disk,
        besieged(data_dir=disk.data_dir, wrapper=wrapper, land_interval_seconds="0.05") as hooklake,
        under_load(hooklake.webhook_url, signer_of(hooklake.settings), book, clients=CLIENTS),
    ):
        for cycle in range(1, cycles + 1):
            outcome.cycles = cycle
            disk.mount()
            if cycle > 1:
                account(outcome, book, ledger_rows(disk.data_dir), "ledger: ")
            receiver = hooklake.start("serve")
            enough = len(book.acknowledged) + chance.randint(*ACKNOWLEDGED_BEFORE_CUT)
            if cycle % REFRESH_EVERY_CYCLES == 0:
                wait_for_acknowledgements(book, enough, seconds=40, what="a first acknowledgement")
                book.pause_seconds = PAUSE_BESIDE_A_REFRESH_SECONDS
                cut_at = _cut_amid_refresh(hooklake, disk, chance.choice(MOMENTS))
                book.pause_seconds = 0.0
            else:
                wait_for_acknowledgements(book, enough, seconds=40, what="acknowledgements")
                cut_at = disk.cut_power()
            _wait_until_noticed(receiver, book, book.statuses[503])
            hooklake.kill(receiver, orphans=True)
            late = book.disbelieve_since(cut_at)
            outcome.require(
                outcome.must_lose or not late or late[-1] < SILENCE_SECONDS,
                f"cycle {cycle}: acknowledged {late[-1:]} s after the cut",
            )
            told_late += len(late)
            disk.unmount()
        disk.mount()
        if outcome.must_lose:
            account(outcome, book, ledger_rows(disk.data_dir))
        else:
            settle(hooklake, book, outcome)
        disk.unmount()
    outcome.measured["told_after_the_cut"] = str(told_late)
    return outcome


def _cut_amid_refresh(hooklake: Besieged, disk: Disk, moment: str) -> float:
    refresher = hooklake.start("refresh")

    def has_come() -> bool:
        if "*" in moment and any(disk.data_dir.glob(moment)):
            return True
        return _has_open(refresher.pid, disk.data_dir / moment) or refresher.poll() is not None

    wait_until(has_come, seconds=300, what=f"{moment} of a refresh", every=0.001)
    cut_at = disk.cut_power()
    hooklake.kill(refresher, orphans=True)
    return cut_at


def _has_open(pid: int, path: Path) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            if descriptor.readlink() == path:
                return True
    return False


def _wait_until_noticed(receiver: subprocess.Popen[bytes], book: Book, refused: int) -> None:
    wait_until(
        lambda: book.statuses[503] > refused or receiver.poll() is not None,
        seconds=NOTICE_SECONDS_MAX,
        what="the receiver to notice that its disk is gone",
    )
