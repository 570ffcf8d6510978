"""The writing process: groups of deliveries in, answers out, one synced transaction a group.

It reads events and writes the ledger beside the listening process, which meanwhile takes requests
and gives answers: two processor cores for what one interpreter did, and no lock between them. It
hangs on a socket to the listener: when that closes, however the listener ended, it ends too.

When SQLite fails, the group is refused and nothing is stored until a fresh connection has committed
a probe: forever where the disk is full, a few tries otherwise; then it ends. A failed sync is never
tried again on the same handle.

Source: quality.md, "Durability rules" 1, 2 and 5.
"""

from __future__ import annotations

import contextlib
import errno
import json
import select
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from ingest.answer import answer_of
from ingest.errors import LedgerError
from ingest.frames import Frames, Handed, Health, frame
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
from ingest.parse import Arrival, parse_body
from ingest.paths import keep_files_private

PROBE_INTERVAL_SECONDS: Final = 1.0
FULL_BYTES: Final = 1024 * 1024
FULL_ERRNOS: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
SICK_PROBES_MAX: Final = 3
READ_BYTES: Final = 1024 * 1024


class Writer:
    """The ledger's connection and its health.

    tell: sends one message to the listener. is_talkative: also a debug line for each delivery.
    """

    def __init__(
        self,
        ledger: Path,
        node: str,
        tell: Callable[[tuple[Any, ...]], None],
        *,
        is_talkative: bool = False,
    ) -> None:
        self._ledger = ledger
        self._node = node
        self._tell = tell
        self._is_talkative = is_talkative
        self._connection = open_ledger(ledger)
        self._cause = ""
        self._probes = 0
        self.health = Health.OK
        tell(("ready",))

    @property
    def has_given_up(self) -> bool:
        return self._probes >= SICK_PROBES_MAX

    def take(self, message: tuple[Any, ...]) -> None:
        """Do what the listener asks for."""
        kind, content = message
        if kind == "store":
            self._store(content)
        elif self.health is Health.OK:
            self._reject(content)

    def probe(self) -> None:
        """See whether a fresh connection can commit; tells of health when it changes."""
        try:
            self._reopen()
        except (apsw.Error, LedgerError) as error:
            cause = error.__cause__ if isinstance(error, LedgerError) else error
            self._be(Health.FULL if self._is_full(cause) else Health.SICK)
            if self.health is Health.SICK and not isinstance(cause, apsw.BusyError):
                self._probes += 1
                if self.has_given_up:
                    self._tell(("sick", f"{self._cause}; then {error}"))
        else:
            self._probes = 0
            self._be(Health.OK)

    def close(self) -> None:
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    def _store(self, group: list[Handed]) -> None:
        if self.health is not Health.OK:
            self._tell(("refused", self.health.value))
            return
        try:
            deliveries = [_read(*handed) for handed in group]
            started = time.perf_counter()
            with transaction(self._connection):
                outcomes = store_deliveries(self._connection, deliveries, self._node)
        except apsw.BusyError:  # another process writes: nothing is broken
            self._tell(("refused", "ledger_busy"))
        except apsw.Error as error:
            self._fail(error)
            self._tell(("refused", self.health.value))
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the receiver
            self._note("error", "failed", kind=type(error).__name__, records=len(group))
            self._tell(("refused", "failed"))
        else:
            self._answer(outcomes, time.perf_counter() - started)

    def _answer(self, outcomes: list[Outcome], seconds: float) -> None:
        answers = [answer_of(outcome) for outcome in outcomes]
        tally = Counter([(outcome.verdict, outcome.event_type or "none") for outcome in outcomes])
        reused = sum([outcome.id_reused for outcome in outcomes])
        self._tell(("stored", seconds, answers, dict(tally), reused))
        if self._is_talkative or any(verdict == "quarantined" for verdict, _ in tally):
            self._note_verdicts(outcomes)

    def _note_verdicts(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.verdict == "quarantined":
                problems = [f"{problem.field}:{problem.code}" for problem in outcome.problems]
                self._note("warning", "quarantined", seq=outcome.seq, problems=problems)
            elif self._is_talkative:
                self._note("debug", outcome.verdict, seq=outcome.seq, event_type=outcome.event_type)

    def _note(self, level: str, event: str, **fields: Any) -> None:
        """Have the listener log a line: a logger here would double this process's memory."""
        self._tell(("log", level, event, fields))

    def _reject(self, record: dict[str, Any]) -> None:
        try:
            record_rejection(self._connection, **record)
        except apsw.BusyError:
            self._note("warning", "rejection_not_recorded", reason="ledger_busy")
        except apsw.Error as error:
            self._fail(error)

    def _fail(self, error: apsw.Error) -> None:
        self._cause = describe(error)
        self._probes = 0
        self._be(Health.FULL if self._is_full(error) else Health.SICK)

    def _be(self, health: Health) -> None:
        if health is not self.health:
            self.health = health
            self._tell(("health", health.value))

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


def _read(
    body: bytes, received_at: int, delivery_id: str | None, signed_at: int | None, verified_by: str
) -> Delivery:
    content = parse_body(body, Arrival(received_at, "webhook", delivery_id, signed_at))
    return Delivery(content, body, received_at, "webhook", delivery_id, signed_at, verified_by)


def _work(given: dict[str, str], listener: socket.socket) -> int:
    """Until the listener is gone (0) or the ledger cannot be written any more (1)."""

    def tell(message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # the listener is gone: so are its clients
            listener.sendall(frame(message))

    try:
        writer = Writer(
            Path(given["ledger"]),
            given["node"],
            tell,
            is_talkative=given["log_level"] == "debug",
        )
    except LedgerError as error:
        tell(("sick", str(error)))
        return 1
    frames = Frames()
    probe_at = 0.0
    while not writer.has_given_up:
        if writer.health is Health.OK:
            probe_at = 0.0
        elif time.monotonic() >= probe_at:
            probe_at = time.monotonic() + PROBE_INTERVAL_SECONDS
            writer.probe()
            continue
        patience = max(0.0, probe_at - time.monotonic()) if probe_at else None
        if not select.select([listener], [], [], patience)[0]:
            continue
        piece = listener.recv(READ_BYTES)
        if not piece:
            writer.close()
            return 0
        for message in frames.take(piece):
            writer.take(message)
    return 1


def main(arguments: list[str]) -> int:
    """`arguments`: the socket's descriptor, and what `commit` knows of the ledger as JSON."""
    for number in (signal.SIGINT, signal.SIGTERM):  # its end is the listener's to tell
        signal.signal(number, signal.SIG_IGN)
    keep_files_private()
    with socket.socket(fileno=int(arguments[0])) as listener:
        return _work(json.loads(arguments[1]), listener)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
