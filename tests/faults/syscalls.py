"""SIGKILL, EIO and ENOSPC at the N-th system call of hooklake's commands.

A clean run under strace tells how often each call is made; then every one of them (at CI size every
10th, taking the faults in turn) is run into on fresh data. After it what readers see must be a
committed state, and one clean run of the same command must mend everything.
"""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import duckdb

from ingest.catalogue import live_files
from ingest.deliver import Delivery, Target, request_bytes, signer_of
from ingest.ledger import open_read_only, single_integer
from tests.e2e.installation import wait_until
from warehouse.publish import VERSIONS_KEPT

from .accounting import account, diagnose, lake_rows
from .hooklake import Besieged, besieged, port_to_knock_at
from .load import Book, body_of
from .nursery import Calls, Child, Injection, Nursery, Watching, nursery
from .outcome import NO_LOSS, Outcome, Scale, require_tools
from .stock import stock

CALLS = (
    "fsync",
    "fdatasync",
    "write",
    "pwrite64",
    "pwritev",
    "sendfile",
    "rename",
    "symlink",
    "unlink",
    "ftruncate",
    "copy_file_range",
    "mkdir",
)
HOWS = ("signal=SIGKILL", "error=EIO", "error=ENOSPC")
ANSWER_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 20.0


def run_receive(scale: Scale) -> Outcome:
    return run_scene(Receiving, scale)


def run_land(scale: Scale) -> Outcome:
    return run_scene(Landing, scale)


def run_refresh(scale: Scale) -> Outcome:
    return run_scene(Refreshing, scale)


def run_backfill(scale: Scale) -> Outcome:
    return run_scene(Backfilling, scale)


def run_compact(scale: Scale) -> Outcome:
    return run_scene(Compacting, scale)


class Scene(ABC):
    """One command, the data it starts from, and what must be true after a fault and a clean run."""

    name: str

    def __init__(self, hooklake: Besieged, forks: Nursery) -> None:
        self.hooklake = hooklake
        self.data_dir = hooklake.data_dir
        self.forks = forks
        self.book = Book(self.name)
        self._template = hooklake.logs / "template"

    @abstractmethod
    def prepare(self) -> None:
        """Fill the data directory that each run starts from."""

    @abstractmethod
    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        """Run the command to its end."""

    @abstractmethod
    def check_after_fault(self, outcome: Outcome) -> None: ...

    @abstractmethod
    def check_mended(self, outcome: Outcome) -> None: ...

    def further_files(self) -> tuple[str, ...]:
        """Files that some runs write and the clean one perhaps did not."""
        return ()

    def keep_template(self) -> None:
        self.prepare()
        self.data_dir.mkdir(exist_ok=True, mode=0o700)
        shutil.copytree(self.data_dir, self._template, symlinks=True)

    def start_anew(self) -> None:
        shutil.rmtree(self.data_dir)
        shutil.copytree(self._template, self.data_dir, symlinks=True)

    def count_calls(self) -> Calls:
        child, code = self.act(Watching(CALLS))
        assert code == 0, child.said.read_text("utf-8", "replace")
        return child.calls()

    def try_point(self, injection: Injection) -> tuple[bool, Outcome]:
        """Whether the run came as far as the call, and what was found after it."""
        outcome = Outcome(self.name, NO_LOSS)
        self.start_anew()
        child, _ = self.act(injection)
        outcome.require(not child.has_hung, f"it hung: {self.said(child)}")
        was_hit = child.was_hit()
        self.check_after_fault(outcome)
        _, code = self.act(None)
        outcome.require(code == 0, f"the clean run ended with {code}: {self.said(child)}")
        self.check_mended(outcome)
        diagnose(self.hooklake.settings, outcome, ignore=("refresh",))
        return was_hit, outcome

    @staticmethod
    def said(child: Child) -> str:
        return child.said.read_text("utf-8", "replace")[-300:]


class Receiving(Scene):
    """A receiver from its first start on; what it acknowledged is in the lake, whatever broke."""

    name = "syscalls-receive"
    EVENTS = 5

    def prepare(self) -> None:
        return

    def start_anew(self) -> None:
        super().start_anew()
        self.book = Book(self.name)

    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        port = port_to_knock_at()
        child = self.forks.start(
            "serve", self.data_dir, under=under, port=port, land_interval_seconds=0.1
        )
        with suppress(ConnectionRefusedError):
            self._deliver_all(child, port)
        child.terminate()
        return child, child.wait()

    def further_files(self) -> tuple[str, ...]:
        numbers = range(1, 2 * self.EVENTS + 1)
        return tuple(
            f"{self.data_dir}/staging/n1-{first}-{last}.parquet"
            for first, last in itertools.combinations_with_replacement(numbers, 2)
        )

    def _deliver_all(self, child: Child, port: int) -> None:
        """Each event until it is acknowledged, twice at most, as long as there is a receiver."""
        wait_until(
            lambda: not child.is_alive() or _is_answering(port), seconds=30, what="a receiver"
        )
        for number in range(self.EVENTS):
            event_id = f"{self.name}-{number}"
            for _ in range(2):
                if event_id in self.book.acknowledged or not child.is_alive():
                    break
                self.book.sent.add(event_id)
                began = time.monotonic()
                with suppress(ConnectionError, http.client.HTTPException):
                    if 200 <= self._deliver(event_id, port) < 300:
                        self.book.acknowledged[event_id] = began

    def _deliver(self, event_id: str, port: int) -> int:
        target = Target.of(f"http://127.0.0.1:{port}/webhooks/uchat")
        delivery = Delivery(body_of(event_id), event_id)
        request = request_bytes(target, delivery, signer_of(self.hooklake.settings), time.time())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.connect()
            connection.sock.sendall(request)
            answer = http.client.HTTPResponse(connection.sock, method="POST")
            answer.begin()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def check_after_fault(self, outcome: Outcome) -> None:
        """Nothing is asked of the lake yet: the ledger holds what waits."""

    def check_mended(self, outcome: Outcome) -> None:
        outcome.require(len(self.book.acknowledged) == self.EVENTS, "not all could be delivered")
        account(outcome, self.book, lake_rows(self.data_dir))


class Landing(Scene):
    """Three ranges of events into files of several partitions."""

    name = "syscalls-land"
    EVENTS = 45
    ROWS_MAX = 15

    def prepare(self) -> None:
        stock(
            self.hooklake.settings,
            self.book,
            (f"{self.name}-{number}" for number in range(self.EVENTS)),
        )

    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        child = self.forks.start("land", self.data_dir, under=under, land_rows_max=self.ROWS_MAX)
        return child, child.wait()

    def check_after_fault(self, outcome: Outcome) -> None:
        """Every file that is there is whole: the lake may lack rows, and doubles none."""
        rows = lake_rows(self.data_dir)
        outcome.require(len(rows) == len(set(rows)), "rows are twice in the lake")

    def check_mended(self, outcome: Outcome) -> None:
        account(outcome, self.book, lake_rows(self.data_dir))


class Refreshing(Scene):
    """A published version, and new events to be landed and published."""

    name = "syscalls-refresh"
    BEFORE, AFTER = 20, 30

    def prepare(self) -> None:
        settings = self.hooklake.settings
        stock(settings, self.book, (f"{self.name}-{number}" for number in range(self.BEFORE)))
        code, said = self.forks.run("refresh", self.data_dir)
        assert code == 0, said
        new = range(self.BEFORE, self.AFTER)
        stock(settings, self.book, (f"{self.name}-{number}" for number in new))

    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        child = self.forks.start("refresh", self.data_dir, under=under)
        return child, child.wait()

    def check_after_fault(self, outcome: Outcome) -> None:
        count = len(published_rows(self.data_dir))
        outcome.require(count in (self.BEFORE, self.AFTER), f"{count} events are published")

    def check_mended(self, outcome: Outcome) -> None:
        account(outcome, self.book, lake_rows(self.data_dir))
        account(outcome, self.book, published_rows(self.data_dir), "published: ")


def published_rows(data_dir: Path) -> list[tuple[str, str]]:
    """(event_id, payload) of the version the link names."""
    with duckdb.connect(
        (data_dir / "warehouse.duckdb").resolve(strict=True), read_only=True
    ) as connection:
        return connection.execute("select event_id, payload from events").fetchall()


class Backfilling(Scene):
    """An export that overlaps what is landed and what waits, with lines that are no events."""

    name = "syscalls-backfill"
    LANDED, WAITING, ALL, BAD = 10, 20, 40, 3

    def prepare(self) -> None:
        settings = self.hooklake.settings
        stock(settings, self.book, (f"{self.name}-{number}" for number in range(self.LANDED)))
        code, said = self.forks.run("land", self.data_dir)
        assert code == 0, said
        waiting = range(self.LANDED, self.WAITING)
        stock(settings, self.book, (f"{self.name}-{number}" for number in waiting))
        lines = [body_of(f"{self.name}-{number}") for number in range(self.ALL)]
        for number in range(self.BAD):
            lines.insert(7 * number, json.dumps({"event": "overdue", "bad": number}).encode())
        self._export.write_bytes(b"\n".join(lines) + b"\n")
        for number in range(self.ALL):
            self.book.sent.add(f"{self.name}-{number}")

    @property
    def _export(self) -> Path:
        return self.hooklake.logs / "export.ndjson"

    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        child = self.forks.start("backfill", self.data_dir, under=under, export=str(self._export))
        return child, child.wait()

    def check_after_fault(self, outcome: Outcome) -> None:
        return

    def check_mended(self, outcome: Outcome) -> None:
        code, said = self.forks.run("land", self.data_dir)
        outcome.require(code == 0, f"landing ended with {code}: {said[-300:]}")
        for number in range(self.ALL):  # a backfill that ended with 0 has acknowledged its lines
            self.book.acknowledged[f"{self.name}-{number}"] = 0.0
        account(outcome, self.book, lake_rows(self.data_dir))
        with open_read_only(self.data_dir / "ledger.sqlite") as connection:
            kept = single_integer(connection, "select count(*) from quarantine")
        outcome.require(kept == self.BAD, f"{kept} of {self.BAD} bad lines are in the quarantine")


class Compacting(Scene):
    """Small files beside merged ones, a version that names them, and replaced ones to remove."""

    name = "syscalls-compact"
    EVENTS, ROWS = 24, 2

    def prepare(self) -> None:
        half = self.EVENTS // 2
        for first in (0, half):
            numbers = range(first, first + half)
            stock(self.hooklake.settings, self.book, (f"{self.name}-{n}" for n in numbers))
            self._run("land", land_rows_max=self.ROWS)
            if first == 0:
                self._run("compact", full=True)
        for _ in range(VERSIONS_KEPT):
            self._run("refresh")

    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        child = self.forks.start(
            "compact", self.data_dir, under=under, full=True, compact_grace_seconds=0
        )
        return child, child.wait()

    def _run(self, command: str, **given: object) -> None:
        code, said = self.forks.run(command, self.data_dir, **given)
        assert code == 0, said

    def check_after_fault(self, outcome: Outcome) -> None:
        """Every reader of the catalogue and of the published version sees every row once."""
        account(outcome, self.book, self._catalogued(), "catalogue: ")
        account(outcome, self.book, published_rows(self.data_dir), "published: ")

    def check_mended(self, outcome: Outcome) -> None:
        self.check_after_fault(outcome)
        code, said = self.forks.run("refresh", self.data_dir)
        outcome.require(code == 0, f"the refresh ended with {code}: {said[-300:]}")
        account(outcome, self.book, published_rows(self.data_dir), "refreshed: ")
        left = list((self.data_dir / "staging").iterdir())
        outcome.require(not left, f"left in the staging folder: {left}")

    def _catalogued(self) -> list[tuple[str, str]]:
        files = live_files(self.data_dir / "ledger.sqlite")
        with duckdb.connect() as connection:
            return connection.execute(
                "select event_id, payload from read_parquet(?)",
                [[str(self.data_dir / "lake/events" / file.path) for file in files]],
            ).fetchall()


def run_scene(kind: type[Scene], scale: Scale) -> Outcome:
    require_tools("strace")
    outcome = Outcome(kind.name, f"{NO_LOSS}, no 2xx without durability, one clean run mends")
    with ExitStack() as stack:
        hooklake = stack.enter_context(besieged(free_bytes_min="0"))
        forks = stack.enter_context(nursery(hooklake.logs, hooklake.environment))
        scene = kind(hooklake, forks)
        scene.keep_template()
        calls = scene.count_calls()
        hits = 0
        for injection in itertools.islice(_points(calls, scene, scale), scale.cycles):
            was_hit, part = scene.try_point(injection)
            hits += was_hit
            outcome.add(part, str(injection))
        outcome.measured["hit"] = str(hits)
        outcome.measured["calls"] = str(sum(calls.made.values()))
    outcome.require(hits > 0, "no injection was ever hit")
    return outcome


def _points(calls: Calls, scene: Scene, scale: Scale) -> Iterator[Injection]:
    """A disk's errors befall files; a process can be killed at any write, also into a pipe."""
    turn = itertools.cycle(HOWS)
    files = (*calls.written, *scene.further_files())
    for call in CALLS:
        for number in range(1, calls.made.get(call, 0) + 1, scale.step(ci=10)):
            for how in HOWS if scale.is_full else (next(turn),):
                if call != "write" or how == "signal=SIGKILL":
                    yield Injection(call, how, number)
                elif number <= calls.writes:
                    yield Injection(call, how, number, files)


def _is_answering(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
