"""A disk that fills up and is freed again, ten times, with nobody lending a hand.

Full, every delivery is refused within a second; freed, the receiver accepts within five. The
watermark does the same before the disk is really full.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import httpx

from ingest.deliver import Signer, signer_of
from tests.e2e.installation import wait_until

from .accounting import account, diagnose, lake_rows
from .disks import Disk, fill, loop_disk, memory_disk
from .hooklake import besieged
from .load import Book, deliver_one
from .outcome import NO_LOSS, Outcome, Scale

ROUNDS = 10
REFUSAL_SECONDS_MAX = 1.0
RESUME_SECONDS_MAX = 5.0
TMPFS_BYTES = 32 << 20
EXT4_BYTES = 64 << 20
WATERMARK_BYTES = 32 << 20
"""More than what can be written between two looks at the free space, one second apart."""

WATERMARK_DISK_BYTES = 128 << 20
DELIVERIES_BETWEEN = 20
UNTIL_FULL_MAX = 20_000


def run_tmpfs(scale: Scale) -> Outcome:
    return _run("disk_full-tmpfs", memory_disk(TMPFS_BYTES), scale)


def run_ext4(scale: Scale) -> Outcome:
    return _run("disk_full-ext4", loop_disk("ext4", EXT4_BYTES), scale)


def run_watermark(scale: Scale) -> Outcome:
    disk = memory_disk(WATERMARK_DISK_BYTES)
    return _run("disk_full-watermark", disk, scale, free_bytes_min=WATERMARK_BYTES)


@dataclass
class Rounds:
    """Sends one delivery after the other and notes how long the answers took."""

    url: str
    signer: Signer
    book: Book
    refusals: list[float] = field(default_factory=list)
    resumptions: list[float] = field(default_factory=list)

    def deliver(self) -> int:
        """The answer's status to one new event."""
        return deliver_one(self.url, self.signer, self.book)

    def until_refused(self) -> None:
        for _ in range(UNTIL_FULL_MAX):
            began = time.monotonic()
            if self.deliver() == 503:
                self.refusals.append(time.monotonic() - began)
                return
        raise AssertionError(f"{UNTIL_FULL_MAX} deliveries went onto a full disk")

    def until_accepted(self) -> None:
        began = time.monotonic()
        wait_until(
            lambda: self.deliver() == 200,
            seconds=4 * RESUME_SECONDS_MAX,
            what="the receiver to accept again",
        )
        self.resumptions.append(time.monotonic() - began)


def _run(
    fault: str, small: AbstractContextManager[Disk], scale: Scale, *, free_bytes_min: int = 0
) -> Outcome:
    bar = f"{NO_LOSS}, 503 <= {REFUSAL_SECONDS_MAX:g} s, accepts again <= {RESUME_SECONDS_MAX:g} s"
    outcome = Outcome(fault, bar)
    book = Book(fault)
    with (
        small as disk,
        besieged(data_dir=disk.data_dir, free_bytes_min=str(free_bytes_min)) as hooklake,
    ):
        if not disk.is_mounted:
            disk.mount()
        receiver = hooklake.start_receiver()
        rounds = Rounds(hooklake.webhook_url, signer_of(hooklake.settings), book)
        filler = disk.place / "filler"
        for _ in range(scale.of(ci=ROUNDS, full=ROUNDS)):
            fill(filler, leave=max(0, free_bytes_min - (1 << 20)))
            rounds.until_refused()
            if free_bytes_min:  # else a probe may still find room where a delivery finds none
                ready = httpx.get(f"{hooklake.url}/readyz", trust_env=False).status_code
                outcome.require(ready == 503, f"/readyz answers {ready} below the watermark")
            filler.unlink()
            rounds.until_accepted()
            for _ in range(DELIVERIES_BETWEEN):
                outcome.require(rounds.deliver() == 200, "refused though there is space again")
            outcome.cycles += 1
        outcome.require(receiver.poll() is None, "the receiver has ended")
        code = hooklake.stop(receiver)
        outcome.require(code == 0, f"the receiver ended with {code}")
        account(outcome, book, lake_rows(disk.data_dir))
        diagnose(hooklake.settings, outcome, ignore=("refresh",))
        hooklake.close()
        if disk.image.is_file():
            disk.unmount()
    slowest, longest = max(rounds.refusals), max(rounds.resumptions)
    outcome.measured["refused_seconds"] = f"{slowest:.2f}"
    outcome.measured["accepted_again_seconds"] = f"{longest:.2f}"
    outcome.require(slowest <= REFUSAL_SECONDS_MAX, f"a refusal took {slowest:.2f} s")
    outcome.require(longest <= RESUME_SECONDS_MAX, f"accepting again took {longest:.1f} s")
    return outcome
