"""`hooklake listen`: what is delivered, as it is delivered, read from the durable log.

It follows the ledger, not the receiver: it may start before, after or without one, several may run
at once, and `--since` first shows what happened before. An idle follower asks SQLite ten times a
second whether the file changed, and reads nothing while it did not.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import apsw

from ingest import since as moments
from ingest.delivery_log import (
    VERDICTS,
    Filter,
    Logged,
    Verdict,
    deliveries,
    newest_rejection,
    newest_seq,
    rejections,
    seq_before,
)
from ingest.ledger import open_read_only
from ingest.settings import Settings
from ingest.terminal import one_line

POLL_SECONDS: Final = 0.1
LINES_BEFORE_FLUSH: Final = 100
_COLOURS: Final = {"accepted": 32, "duplicate": 36, "quarantined": 33, "rejected": 31}


def run(
    settings: Settings,
    *,
    since: str | None = None,
    event: str | None = None,
    verdict: Verdict | None = None,
    account: str | None = None,
    is_following: bool = True,
    as_json: bool = False,
) -> int:
    """Print a line for each delivery until Ctrl-C, SIGTERM or a reader that went away; always 0.

    since: `2h` or an instant, shown first; without it only what comes from now on, or, not
    following, everything kept.
    Raises: UsageError, LedgerError.
    """
    wanted = Filter(
        event=event,
        account=account,
        verdicts=frozenset(VERDICTS if verdict is None else (verdict,)),
        since=None if since is None else moments.instant_of(since, time.time_ns() // 1_000),
    )
    line_of = json_line if as_json else _line_maker()
    with _until_stopped() as wait, bearing_a_lost_reader():
        ledger = settings.paths.ledger
        is_new = is_following and not _await_ledger(ledger, wait)
        if is_new and not wait(0):
            return 0
        with open_read_only(ledger) as connection:
            log = _Log(connection, wanted, is_from_start=is_new or not is_following)
            _print(log.unread(), line_of, wait)
            if is_following:
                sys.stderr.write(f"listening to {ledger}; Ctrl-C ends\n")
                sys.stderr.flush()
            while is_following and wait(POLL_SECONDS):
                _print(log.unread(), line_of, wait)
    return 0


class _Log:
    """A place in the log, moving on; it begins at `since`, else at the start or at the end."""

    def __init__(self, connection: apsw.Connection, wanted: Filter, *, is_from_start: bool) -> None:
        self._connection = connection
        self._wanted = wanted
        self._version: int | None = None
        self._seq = self._rejection = 0
        if wanted.since is not None:
            self._seq = seq_before(connection, wanted.since)
        elif not is_from_start:
            self._seq = newest_seq(connection)
            self._rejection = newest_rejection(connection)

    def unread(self) -> Iterator[Logged]:
        """What has been committed since the last call, by receipt."""
        version = self._connection.pragma("data_version")
        if version == self._version:
            return
        seq, rejection = newest_seq(self._connection), newest_rejection(self._connection)
        read = self._connection, self._wanted
        yield from heapq.merge(
            deliveries(*read, after=self._seq, until=seq),
            rejections(*read, after=self._rejection, until=rejection),
            key=lambda logged: logged.received_at,
        )
        self._version, self._seq, self._rejection = version, seq, rejection


def json_line(logged: Logged) -> str:
    """The delivery as one line of plain ASCII JSON; every key always there."""
    found: dict[str, Any] = {
        "seq": logged.seq,
        "rejection_id": logged.rejection_id,
        "verdict": logged.verdict,
        "received_at": moments.rfc3339(logged.received_at),
        "event_type": logged.event_type,
        "sender_event": logged.sender_event,
        "account_id": logged.account_id,
        "event_id": logged.event_id,
        "delivery_id": logged.delivery_id,
        "origin": logged.origin,
        "verified_by": logged.verified_by,
        "client": logged.client,
        "reasons": [reason.as_dict() for reason in logged.reasons],
        "warnings": [reason.as_dict() for reason in logged.warnings],
        "unknown_fields": list(logged.unknown_fields),
        "id_reused": logged.is_id_reused,
        "first_seq": logged.first_seq,
        "landed_at": None if logged.landed_at is None else moments.rfc3339(logged.landed_at),
        "landed_after_seconds": logged.landed_after_seconds,
    }
    return json.dumps(found)


def text_line(logged: Logged, *, is_coloured: bool = False) -> str:
    """The delivery as one line for a person."""
    verdict = f"{logged.verdict:<11}"
    if is_coloured:
        verdict = f"\x1b[{_COLOURS[logged.verdict]}m{verdict}\x1b[0m"
    kind = logged.event_type or logged.sender_event or "-"
    if kind == "other" and logged.sender_event:
        kind = f"other:{logged.sender_event}"
    parts = (
        f"{moments.rfc3339(logged.received_at)[:-4]}Z",
        verdict,
        f"{one_line(kind, 40):<17}",
        f"{one_line(logged.account_id or '-', 64):<26}",
        one_line(logged.event_id or "-", 80),
        "; ".join(_details(logged)),
    )
    return "  ".join(parts).rstrip()


def _details(logged: Logged) -> Iterator[str]:
    if logged.seq is not None:
        yield f"seq {logged.seq}"
    if logged.first_seq is not None:
        yield f"repeats seq {logged.first_seq}"
    if logged.origin == "replay":
        yield "from quarantine"
    if logged.is_id_reused:
        yield "its id belonged to another event"
    if logged.landed_after_seconds is not None:
        yield f"landed after {logged.landed_after_seconds:.1f} s"
    for reason in (*logged.reasons, *logged.warnings):
        place = "" if reason.field is None else f"{reason.field} {reason.code}: "
        yield one_line(place + reason.message)
    if logged.unknown_fields:
        yield f"unknown: {one_line(', '.join(logged.unknown_fields))}"
    if logged.rejection_id is not None:
        yield f"hooklake verify --record {logged.rejection_id} says more"


def _line_maker() -> Callable[[Logged], str]:
    from rich.console import Console

    console = Console()
    is_coloured = console.is_terminal and console.color_system is not None and not console.no_color
    return lambda logged: text_line(logged, is_coloured=is_coloured)


def _print(
    log: Iterable[Logged], line_of: Callable[[Logged], str], wait: Callable[[float], bool]
) -> None:
    """A line each, flushed at the end and now and then; gives up when told to stop."""
    for number, logged in enumerate(log, start=1):
        sys.stdout.write(line_of(logged) + "\n")
        if number % LINES_BEFORE_FLUSH == 0:
            sys.stdout.flush()
            if not wait(0):
                return
    sys.stdout.flush()


def _await_ledger(ledger: Path, wait: Callable[[float], bool]) -> bool:
    """Whether a whole ledger was there at once; else returns when there is one, or on a stop."""
    if _is_ready(ledger):
        return True
    sys.stderr.write(f"no ledger at {ledger} yet; waiting for `hooklake serve` to make it\n")
    sys.stderr.flush()
    while not _is_ready(ledger):
        if not wait(POLL_SECONDS):
            return False
    return False


def _is_ready(ledger: Path) -> bool:
    """A ledger being made exists for a moment without its tables."""
    if not ledger.exists():
        return False
    with open_read_only(ledger) as connection:
        return bool(
            connection.execute("select 1 from sqlite_schema where name = 'meta'").fetchone()
        )


@contextlib.contextmanager
def _until_stopped() -> Iterator[Callable[[float], bool]]:
    """Yields `wait(seconds)`: False once SIGINT or SIGTERM came or nobody reads the output."""
    reader, writer = os.pipe()
    is_stopped = False

    def stop(number: int, _frame: FrameType | None) -> None:
        os.write(writer, b"x")
        signal.signal(number, signal.SIG_DFL)  # a second one ends even a blocked write

    def wait(seconds: float) -> bool:
        nonlocal is_stopped
        is_stopped = is_stopped or bool(poller.poll(seconds * 1_000))
        return not is_stopped

    poller = select.poll()
    poller.register(reader, select.POLLIN)
    with contextlib.suppress(OSError, ValueError):  # an output that is no file cannot hang up
        poller.register(sys.stdout.fileno(), 0)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def bearing_a_lost_reader() -> Iterator[None]:
    """Ends the printing, not the program: `hooklake listen | head -1` is no failure."""
    try:
        yield
    except BrokenPipeError:
        # What is left in the buffer is written again when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
