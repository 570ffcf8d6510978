"""Group commit: whatever arrived while the last transaction was syncing goes into the next one.

One thread owns the ledger's connection. The event loop hands deliveries over and is told the
outcome of the transaction that held them, one wake-up for a whole group. A delivery is in one of
three places: waiting (may be withdrawn), in a transaction (its outcome must be awaited), or done.

When SQLite fails, the group is answered 503 and nothing more is acknowledged until a fresh
connection has committed a probe: forever where the disk is full, a few tries otherwise; then
`on_sick` ends the process. A failed sync is never tried again on the same handle.

Source: quality.md, "Durability rules" 1 to 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import apsw

from ingest.errors import LedgerError
from ingest.ledger import (
    Delivery,
    Outcome,
    count,
    describe,
    open_ledger,
    record_rejection,
    store_deliveries,
    transaction,
)
from ingest.observe import log

GROUP_RECORDS_MAX: Final = 512
GROUP_BYTES_MAX: Final = 8 * 1024 * 1024
COMPANY_RECORDS: Final = 4
PROBE_INTERVAL_SECONDS: Final = 1.0
FULL_BYTES: Final = 1024 * 1024
FULL_ERRNOS: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
SICK_PROBES_MAX: Final = 3


class Health(Enum):
    """`OK` acknowledges; `FULL` mends itself when space comes back; `SICK` ends the process."""

    OK = "ok"
    FULL = "disk_full"
    SICK = "ledger_sick"


class OutcomeUnknownError(Exception):
    """A transaction has held the delivery for too long: close the connection unanswered."""


class NotStoredError(Exception):
    """The delivery is in no transaction: answer 503. `reason` is a short code."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(eq=False)
class Waiting:
    """A delivery that has been handed over. handed_over_at: on the monotonic clock."""

    delivery: Delivery
    done: asyncio.Future[Outcome]
    handed_over_at: float


class Committer:
    """The thread, its queue and its health. `submit` and `expire` are the loop's side."""

    def __init__(
        self,
        ledger: Path,
        node: str,
        *,
        loop: asyncio.AbstractEventLoop,
        records_max: int,
        bytes_max: int,
        wait_seconds: float,
        on_commit: Callable[[float, int], None],
        on_sick: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._node = node
        self._loop = loop
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._wait_seconds = wait_seconds
        self._on_commit = on_commit
        self._on_sick = on_sick
        self._queue: deque[Waiting] = deque()
        self._rejections: deque[dict[str, object]] = deque(maxlen=100)
        self._group: list[Waiting] = []
        self._queue_bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_stopping = False
        self.health = Health.OK
        self._connection = open_ledger(ledger)
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def queue_bytes(self) -> int:
        return self._queue_bytes

    @property
    def queue_records(self) -> int:
        return len(self._queue)

    def submit(self, delivery: Delivery) -> asyncio.Future[Outcome]:
        """Hand a delivery over; the future is told once its transaction has been synced.

        Raises: NotStoredError, here or from the future, when it was not stored; from the future
        OutcomeUnknownError, when a transaction holds it for longer than anybody should wait.
        """
        size = len(delivery.body)
        with self._lock:
            if self._is_stopping:
                raise NotStoredError("draining")
            if self.health is not Health.OK:
                raise NotStoredError(self.health.value)
            if len(self._queue) >= self._records_max or (
                self._queue and self._queue_bytes + size > self._bytes_max
            ):
                raise NotStoredError("queue_full")
            waiting = Waiting(delivery, self._loop.create_future(), time.monotonic())
            self._queue.append(waiting)
            self._queue_bytes += size
        self._wake.set()
        return waiting.done

    def expire(self, seconds: float) -> None:
        """Give up on what was handed over longer ago: withdrawn where that is still possible.

        Called by the event loop, again and again.
        """
        before = time.monotonic() - seconds
        withdrawn: list[Waiting] = []
        with self._lock:
            while self._queue and self._queue[0].handed_over_at < before:
                waiting = self._queue.popleft()
                self._queue_bytes -= len(waiting.delivery.body)
                withdrawn.append(waiting)
            held = [waiting for waiting in self._group if waiting.handed_over_at < before]
        for waiting in withdrawn:
            _set_exception(waiting, NotStoredError("timeout"))
        for waiting in held:
            _set_exception(waiting, OutcomeUnknownError())

    def note_rejection(
        self, *, received_at: int, reason: str, detail: str, client: str | None, body_bytes: int
    ) -> None:
        """Have a refused request remembered in idle time; the caller limits the rate."""
        self._rejections.append(
            {
                "received_at": received_at,
                "reason": reason,
                "detail": detail,
                "client": client,
                "body_bytes": body_bytes,
            }
        )
        self._wake.set()

    def stop(self) -> None:
        """Commit what waits, close the ledger and end the thread; blocks until it has."""
        with self._lock:
            self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        else:
            self._connection.close()

    def _run(self) -> None:
        """An end that nobody asked for ends the receiver: it would take and never answer."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - whatever it was, it must not pass unnoticed
            log("commit").error("ended", kind=type(error).__name__)
            self.health = Health.SICK
            with self._lock:
                left = [*self._group, *self._queue]
                self._queue.clear()
                self._queue_bytes = 0
            self._refuse(left, self.health.value)
            self._on_sick(f"the commit thread ended: {type(error).__name__}")

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._commit_group()
            self._write_rejections()
            if self._is_stopping and not self._queue:
                with contextlib.suppress(apsw.Error):
                    self._connection.close()
                return

    def _commit_group(self) -> None:
        if self._wait_seconds and len(self._queue) < COMPANY_RECORDS and not self._is_stopping:
            time.sleep(self._wait_seconds)
        group = self._take_group()
        if not group:
            return
        started = time.perf_counter()
        try:
            with transaction(self._connection):
                outcomes = store_deliveries(
                    self._connection, [waiting.delivery for waiting in group], self._node
                )
        except apsw.Error as error:
            self._fail(group, error)
            return
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread
            log("commit").error("failed", kind=type(error).__name__, records=len(group))
            self._refuse(group, "failed")
            return
        finally:
            self._release_group()
        seconds = time.perf_counter() - started
        self._tell(group, outcomes)
        self._on_commit(seconds, len(group))

    def _take_group(self) -> list[Waiting]:
        group: list[Waiting] = []
        size = 0
        with self._lock:
            while self._queue and len(group) < GROUP_RECORDS_MAX and size < GROUP_BYTES_MAX:
                waiting = self._queue.popleft()
                size += len(waiting.delivery.body)
                group.append(waiting)
            self._queue_bytes -= size
            self._group = group
        return group

    def _release_group(self) -> None:
        with self._lock:
            self._group = []

    def _tell(self, group: list[Waiting], outcomes: list[Outcome]) -> None:
        def resolve() -> None:
            for waiting, outcome in zip(group, outcomes, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(outcome)

        self._call_loop(resolve)

    def _refuse(self, group: list[Waiting], reason: str) -> None:
        def resolve() -> None:
            for waiting in group:
                _set_exception(waiting, NotStoredError(reason))

        self._call_loop(resolve)

    def _call_loop(self, resolve: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: so are its clients
            self._loop.call_soon_threadsafe(resolve)

    def _fail(self, group: list[Waiting], error: apsw.Error) -> None:
        """Answer 503 to the group and everything waiting, then find out whether it can go on."""
        if isinstance(error, apsw.BusyError):  # another process writes: nothing is broken
            self._refuse(group, "ledger_busy")
            return
        self.health = Health.FULL if self._is_full(error) else Health.SICK
        self._refuse(group, self.health.value)
        self._recover(describe(error))

    def _recover(self, what: str) -> None:
        probes = 0
        while True:
            with self._lock:
                group = list(self._queue)
                self._queue.clear()
                self._queue_bytes = 0
            self._refuse(group, self.health.value)
            if self._is_stopping:
                return
            try:
                self._reopen()
            except (apsw.Error, LedgerError) as error:
                cause = error.__cause__ if isinstance(error, LedgerError) else error
                self.health = Health.FULL if self._is_full(cause) else Health.SICK
                if self.health is Health.SICK and not isinstance(cause, apsw.BusyError):
                    probes += 1
                    if probes >= SICK_PROBES_MAX:
                        self._on_sick(f"{what}; then {error}")
                        return
            else:
                self.health = Health.OK
                return
            self._wake.wait(PROBE_INTERVAL_SECONDS)
            self._wake.clear()

    def _is_full(self, error: BaseException | None) -> bool:
        """SQLite calls a full disk by several names, such as an I/O error of its shared memory."""
        if isinstance(error, apsw.FullError):
            return True
        try:
            if self._connection.system_errno in FULL_ERRNOS:
                return True
        except apsw.ConnectionClosedError:
            pass
        try:
            return shutil.disk_usage(self._ledger.parent).free < FULL_BYTES
        except OSError:
            return False

    def _reopen(self) -> None:
        """Connect afresh and durably commit a probe. Raises: apsw.Error, LedgerError."""
        with contextlib.suppress(apsw.Error):
            self._connection.close()
        self._connection = open_ledger(self._ledger)
        with transaction(self._connection):
            count(self._connection, {"probes": 1})

    def _write_rejections(self) -> None:
        while self._rejections and self.health is Health.OK:
            rejection = self._rejections.popleft()
            try:
                record_rejection(self._connection, **rejection)  # type: ignore[arg-type]
            except apsw.Error as error:
                self._fail([], error)


def _set_exception(waiting: Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
