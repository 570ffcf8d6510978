"""Group commit: whatever arrived while the last transaction was syncing goes into the next one.

The writing process owns the ledger's connection and has one group of deliveries at a time; what
arrives meanwhile waits here. A delivery is in one of three places: waiting (may be withdrawn), in
the group handed over (its outcome must be awaited), or done.

Everything here runs on the event loop. When the writing process reports a fault, the group and all
that waits is refused until it reports health again; when it ends, nothing of its group is answered
and `on_sick` ends the listener.

Source: quality.md, "Durability rules" 1 to 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ingest.children import start_deaf
from ingest.errors import LedgerError
from ingest.frames import Answer, Frames, Handed, Health, frame
from ingest.logs import log

GROUP_RECORDS_MAX: Final = 512
GROUP_BYTES_MAX: Final = 8 * 1024 * 1024
COMPANY_RECORDS: Final = 4
START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 4.0

OnCommit = Callable[[float, Mapping[tuple[str, str], int], int], None]
"""Told of each transaction: seconds, deliveries by (verdict, event type), ids reused."""


class OutcomeUnknownError(Exception):
    """A transaction has held the delivery for too long: close the connection unanswered."""


class NotStoredError(Exception):
    """The delivery is in no transaction: answer 503. `reason` is a short code."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


Told = Callable[[Answer | NotStoredError | OutcomeUnknownError], None]
"""Hears once, on the event loop, what became of a delivery. It does not raise."""


class _Waiting:
    """A delivery that has been handed over. since: on the loop's clock."""

    __slots__ = ("_told", "delivery", "since")

    def __init__(self, delivery: Handed, told: Told, since: float) -> None:
        self._told: Told | None = told
        self.delivery = delivery
        self.since = since

    def tell(self, outcome: Answer | NotStoredError | OutcomeUnknownError) -> None:
        """The first outcome is the only one."""
        told, self._told = self._told, None
        if told is not None:
            told(outcome)


class Committer(asyncio.Protocol):
    """The queue before the writing process, and what is known of that process's health."""

    def __init__(
        self,
        ledger: Path,
        node: str,
        *,
        records_max: int,
        bytes_max: int,
        wait_seconds: float,
        log_level: str,
        on_commit: OnCommit,
        on_sick: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._wait_seconds = wait_seconds
        self._on_commit = on_commit
        self._on_sick = on_sick
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._group: list[_Waiting] = []
        self._frames = Frames()
        self._is_ready: asyncio.Future[None] = self._loop.create_future()
        self._settled: asyncio.Future[None] = self._loop.create_future()
        self._is_stopping = False
        self._has_told = False
        self._transport: asyncio.Transport | None = None
        self.health = Health.OK
        given = {"ledger": str(ledger), "node": node, "log_level": log_level}
        self._process, self._socket = _start(given)

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def queue_bytes(self) -> int:
        return self._queue_bytes

    @property
    def queue_records(self) -> int:
        return len(self._queue)

    async def start(self) -> None:
        """Until the writing process has the ledger open.

        Raises: LedgerError with its reason where it has not.
        """
        await self._loop.create_connection(lambda: self, sock=self._socket)
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._is_ready
        except TimeoutError:
            self._process.kill()
            raise LedgerError(
                f"the writing process did not open the ledger within {START_SECONDS_MAX:.0f} s"
            ) from None
        except LedgerError:
            await asyncio.to_thread(self._process.wait)
            raise

    def take(self, delivery: Handed, told: Told) -> None:
        """Have a delivery stored; `told` hears of it once its transaction has been synced.

        Raises: NotStoredError, when it cannot be stored now; `told` hears nothing then. Later it
        may hear of one, or of OutcomeUnknownError, when a transaction holds the delivery for
        longer than anybody should wait.
        """
        if self._is_stopping:
            raise NotStoredError("draining")
        if self.health is not Health.OK:
            raise NotStoredError(self.health.value)
        size = len(delivery[0])
        queue = self._queue
        if len(queue) >= self._records_max or (
            queue and self._queue_bytes + size > self._bytes_max
        ):
            raise NotStoredError("queue_full")
        queue.append(_Waiting(delivery, told, self._loop.time()))
        self._queue_bytes += size
        if not self._group and len(queue) in (1, COMPANY_RECORDS):
            self._hand_over_soon()

    def submit(self, delivery: Handed) -> asyncio.Future[Answer]:
        """`take` for who awaits the outcome: the answer, or what `told` would hear, raised."""
        done: asyncio.Future[Answer] = self._loop.create_future()

        def told(outcome: Answer | NotStoredError | OutcomeUnknownError) -> None:
            if done.done():
                return
            if isinstance(outcome, Exception):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

        self.take(delivery, told)
        return done

    def expire(self, seconds: float) -> None:
        """Give up on what was handed over longer ago: withdrawn where that is still possible."""
        before = self._loop.time() - seconds
        while self._queue and self._queue[0].since < before:
            waiting = self._queue.popleft()
            self._queue_bytes -= len(waiting.delivery[0])
            waiting.tell(NotStoredError("timeout"))
        for waiting in self._group:
            if waiting.since < before:
                waiting.tell(OutcomeUnknownError())

    def note_rejection(self, **record: Any) -> None:
        """Have a refused request remembered; the caller limits the rate."""
        if self._transport is not None and not self._is_stopping:
            self._transport.write(frame(("reject", record)))

    async def stop(self) -> None:
        """Have what waits committed and the writing process end; one that does not is stopped."""
        self._is_stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS_MAX):
                self._hand_over()
                while self._group:
                    await asyncio.shield(self._settled)
        if self._transport is not None:
            self._transport.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for message in self._frames.take(data):
            self._hear(*message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._is_ready.done():
            self._is_ready.set_exception(LedgerError("the writing process ended at its start"))
        elif not self._is_stopping:
            self._be_sick("the writing process ended")
        group, self._group = self._group, []
        for waiting in group:
            waiting.tell(OutcomeUnknownError())
        self._refuse_queue("draining" if self._is_stopping else Health.SICK.value)
        self._settle()

    def _hear(self, kind: str, *content: Any) -> None:
        if kind == "stored":
            self._tell(*content)
        elif kind == "refused":
            (reason,) = content
            group, self._group = self._group, []
            for waiting in group:
                waiting.tell(NotStoredError(reason))
            self._settle()
        elif kind == "log":
            level, event, fields = content
            getattr(log("receiver"), level)(event, **fields)
        elif kind == "health":
            self.health = Health(content[0])
            if self.health is not Health.OK:
                self._refuse_queue(self.health.value)
        elif kind == "ready":
            self._is_ready.set_result(None)
        elif not self._is_ready.done():
            self._is_ready.set_exception(LedgerError(content[0]))
        else:
            self._be_sick(content[0])

    def _tell(
        self,
        seconds: float,
        answers: list[Answer],
        tally: dict[tuple[str, str], int],
        ids_reused: int,
    ) -> None:
        group, self._group = self._group, []
        try:
            self._settle()  # the next group is read while this one is answered
        finally:
            for waiting, answer in zip(group, answers, strict=True):
                waiting.tell(answer)
        self._on_commit(seconds, tally, ids_reused)

    def _settle(self) -> None:
        """A group is done: hand over the next, where there is one."""
        if self._is_stopping or len(self._queue) >= COMPANY_RECORDS:
            self._hand_over()
        elif self._queue:
            self._hand_over_soon()
        if not self._group:
            settled, self._settled = self._settled, self._loop.create_future()
            settled.set_result(None)

    def _hand_over_soon(self) -> None:
        """After a moment for company, or once the loop has read what is there already."""
        if self._wait_seconds and len(self._queue) < COMPANY_RECORDS:
            self._loop.call_later(self._wait_seconds, self._hand_over)
        else:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._group or not self._queue or self._transport is None:
            return
        group: list[_Waiting] = []
        size = 0
        while self._queue and len(group) < GROUP_RECORDS_MAX and size < GROUP_BYTES_MAX:
            waiting = self._queue.popleft()
            size += len(waiting.delivery[0])
            group.append(waiting)
        self._queue_bytes -= size
        self._group = group
        self._transport.write(frame(("store", [waiting.delivery for waiting in group])))

    def _refuse_queue(self, reason: str) -> None:
        queue, self._queue = self._queue, deque()
        self._queue_bytes = 0
        for waiting in queue:
            waiting.tell(NotStoredError(reason))

    def _be_sick(self, what: str) -> None:
        self.health = Health.SICK
        if not self._has_told:
            self._has_told = True
            self._on_sick(what)


def _start(given: dict[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The writing process and our end of the socket; Ctrl-C and SIGTERM are not for it."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "ingest.writer", str(theirs.fileno()), json.dumps(given)]
    try:
        process = start_deaf(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
    finally:
        theirs.close()
    ours.setblocking(False)
    return process, ours
