"""Power cuts amid compaction, backup and restore: the file system is shut down, mounted, counted.

Each cycle stores and lands some events, starts one of the three and cuts the power at a moment of
its work. Afterwards the catalogue's files hold every event once, and doctor finds nothing; a backup
that was whole before is whole, one whose command had ended is there; a restore has made a directory
that is ready and complete, or none. The command is then run to its end and counted again.

The same with a backup under libeatmydata, cut when it has ended, must report a loss.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ingest.catalogue import live_files
from ingest.landing import land_now
from ingest.settings import Settings
from tests.e2e.installation import wait_until
from warehouse.backup import MANIFEST, back_up, read_manifest
from warehouse.compact import compact
from warehouse.restore import restore

from .accounting import account, diagnose
from .disks import Disk, loop_disk
from .hooklake import Besieged, besieged
from .load import Book
from .outcome import NO_LOSS, Outcome, Scale, require_tools
from .stock import stock

EVENTS_OF_A_CYCLE = 60
EVENTS_OF_A_LANDING = "6"
MOMENT_SECONDS_MAX = 60.0
LINGER_SECONDS_MAX = 0.02
END = "end"
MOMENTS = {
    "compact": ("data/staging/*.merging", "data/lake/events/*/*/*-g*.parquet", END),
    "backup": ("backup/*/ledger.sqlite", "backup/lake/events/*/*/*", f"backup/{MANIFEST}", END),
    "restore": ("restored/.restore", "restored/lake", "restored/ledger.sqlite"),
}
"""Files that tell how far a command has come; new ones, where some are there already."""
SEED = 20261127


def run_ext4(scale: Scale) -> Outcome:
    return _run(Outcome("power-keep-ext4", NO_LOSS), "ext4", scale.of(ci=10, full=300))


def run_xfs(scale: Scale) -> Outcome:
    return _run(Outcome("power-keep-xfs", NO_LOSS), "xfs", scale.of(ci=10, full=300))


def run_self_test(_: Scale) -> Outcome:
    """A backup of which no sync is true, cut off after its end."""
    require_tools("eatmydata")
    outcome = Outcome("power-keep-self-test", "without syncs it must lose: lost > 0", cycles=1)
    outcome.must_lose = True
    with loop_disk("ext4") as disk, _installation(disk, wrapper=("eatmydata",)) as hooklake:
        disk.mount()
        siege = _Siege(outcome, disk, hooklake)
        siege.store_more()
        siege.cut_amid(("backup", str(siege.backup)), END)
        is_there = (siege.backup / MANIFEST).exists()
        outcome.acknowledged = len(siege.book.acknowledged)
        outcome.lost = 0 if is_there else outcome.acknowledged
        disk.unmount()
    return outcome


def _installation(disk: Disk, *, wrapper: tuple[str, ...] = ()) -> AbstractContextManager[Besieged]:
    return besieged(
        data_dir=disk.data_dir,
        wrapper=wrapper,
        land_rows_max=EVENTS_OF_A_LANDING,
        compact_grace_seconds="0",
        free_bytes_min="0",
    )


def _run(outcome: Outcome, filesystem: str, cycles: int) -> Outcome:
    chance = random.Random(SEED)
    with loop_disk(filesystem) as disk, _installation(disk) as hooklake:
        disk.mount()
        siege = _Siege(outcome, disk, hooklake)
        for cycle in range(1, cycles + 1):
            outcome.cycles = cycle
            siege.store_more()
            work = list(MOMENTS)[cycle % len(MOMENTS)]
            moment = chance.choice(MOMENTS[work])
            linger = chance.random() * LINGER_SECONDS_MAX
            {
                "compact": siege.compaction,
                "backup": siege.backing_up,
                "restore": siege.restoring,
            }[work](moment, linger)
            siege.count(siege.hooklake.settings, siege.book, f"{work} at {moment}: ")
        outcome.acknowledged = len(siege.book.acknowledged)
        disk.unmount()
    return outcome


@dataclass
class _Siege:
    outcome: Outcome
    disk: Disk
    hooklake: Besieged
    book: Book = field(default_factory=lambda: Book("keep"))
    whole: dict[int, frozenset[str]] = field(default_factory=dict)
    """What a backup of so many events holds."""

    @property
    def backup(self) -> Path:
        return self.disk.place / "backup"

    @property
    def restored(self) -> Path:
        return self.disk.place / "restored"

    def store_more(self) -> None:
        """Store and land; all of it is durable then."""
        first = len(self.book.acknowledged)
        names = (f"keep-{number}" for number in range(first, first + EVENTS_OF_A_CYCLE))
        stock(self.hooklake.settings, self.book, names)
        assert land_now(self.hooklake.settings).is_complete
        self.whole[len(self.book.acknowledged)] = frozenset(self.book.acknowledged)

    def cut_amid(self, arguments: tuple[str, ...], moment: str, linger: float = 0.0) -> bool:
        """Whether the command had ended, and well, when the power was cut."""
        before = set(self.disk.place.glob(moment))
        process = self.hooklake.start(*arguments)

        def has_come() -> bool:
            return process.poll() is not None or (
                moment != END and not before.issuperset(self.disk.place.glob(moment))
            )

        wait_until(has_come, seconds=MOMENT_SECONDS_MAX, what=f"{moment} of it", every=0.001)
        time.sleep(linger)
        code = process.poll()
        self.outcome.require(not code, f"{arguments[0]} ended with {code}")
        self.disk.cut_power()
        self.hooklake.kill(process, orphans=True)
        self.disk.unmount()
        self.disk.mount()
        return code == 0

    def compaction(self, moment: str, linger: float) -> None:
        self.cut_amid(("compact", "--full"), moment, linger)
        self.count(self.hooklake.settings, self.book, f"after a cut at {moment}: ")
        compact(self.hooklake.settings, everything=True)

    def backing_up(self, moment: str, linger: float) -> None:
        had = read_manifest(self.backup).events if (self.backup / MANIFEST).exists() else 0
        arguments = ("backup", str(self.backup), "--incremental")
        has_ended = self.cut_amid(arguments, moment, linger)
        wanted = len(self.book.acknowledged) if has_ended else had
        if wanted:
            self.prove_backup(at_least=wanted)
        back_up(self.hooklake.settings, self.backup, incremental=True)
        self.prove_backup(at_least=len(self.book.acknowledged))

    def restoring(self, moment: str, linger: float) -> None:
        back_up(self.hooklake.settings, self.backup, incremental=True)
        arguments = ("restore", str(self.backup), "--data-dir", str(self.restored))
        self.cut_amid(arguments, moment, linger)
        settings = self.settings_of(self.restored)
        if not settings.paths.ledger.exists():
            restore(settings, self.backup)
        self.count(settings, self.book, f"restored after a cut at {moment}: ")
        shutil.rmtree(self.restored)

    def prove_backup(self, *, at_least: int) -> None:
        events = read_manifest(self.backup).events
        self.outcome.require(events >= at_least, f"a backup of {at_least} events has {events}")
        settings = self.settings_of(self.restored)
        restore(settings, self.backup)
        self.count(settings, _book_of(self.whole[events]), f"backup of {events}: ")
        shutil.rmtree(self.restored)

    def settings_of(self, data_dir: Path) -> Settings:
        return self.hooklake.settings.model_copy(update={"data_dir": data_dir})

    def count(self, settings: Settings, book: Book, where: str) -> None:
        account(self.outcome, book, _catalogued(settings), where)
        diagnose(settings, self.outcome, ignore=("refresh", "permissions"))


def _book_of(event_ids: Iterable[str]) -> Book:
    names = set(event_ids)
    return Book("keep", sent=names, acknowledged=dict.fromkeys(names, 0.0))


def _catalogued(settings: Settings) -> list[tuple[str, str]]:
    """(event_id, payload) of every file that is live in the catalogue."""
    files = [str(settings.paths.lake / file.path) for file in live_files(settings.paths.ledger)]
    with duckdb.connect() as connection:
        return connection.execute(
            "select event_id, payload from read_parquet(?, hive_partitioning = false)", [files]
        ).fetchall()
