"""`hooklake listen`: what is delivered, as it is delivered, read from the durable log.

It follows the ledger, not the receiver: it may start before, after or without one, several may run
at once, and `--since` first shows what happened before. An idle follower asks SQLite ten times a
second whether the file changed, and reads nothing while it did not.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import apsw

from ingest import since as moments
from ingest.delivery_log import (
    VERDICTS,
    Filter,
    Logged,
    Verdict,
    body_of,
    deliveries,
    newest_rejection,
    newest_seq,
    rejections,
    seq_before,
)
from ingest.errors import UsageError
from ingest.forward import Forwarded, Forwarder
from ingest.ledger import open_read_only
from ingest.log_lines import json_line, note_unlikely_event, text_line
from ingest.settings import Settings
from ingest.standard_streams import bearing_a_lost_reader
from ingest.terminal import one_line
from ingest.where import Condition, parse

POLL_SECONDS: Final = 0.1
LINES_BEFORE_FLUSH: Final = 100


def run(
    settings: Settings,
    *,
    since: str | None = None,
    event: str | None = None,
    verdict: Verdict | None = None,
    account: str | None = None,
    where: Sequence[str] = (),
    forward_to: str | None = None,
    allows_remote: bool = False,
    is_following: bool = True,
    is_full: bool = False,
    as_json: bool = False,
) -> int:
    """Print a line for each delivery until Ctrl-C, SIGTERM or a reader that went away; always 0.

    since: `2h` or an instant, shown first; without it only what comes from now on, or, not
    following, everything kept. where: conditions on the body, see `where`; all must hold.
    forward_to: an application that is sent each delivery shown, see `forward`. is_full: on the
    full screen of a terminal, see `listen_full`.
    Raises: UsageError, SigningError, LedgerError.
    """
    note_unlikely_event(event)
    wanted = Filter(
        event=event,
        account=account,
        verdicts=frozenset(VERDICTS if verdict is None else (verdict,)),
        since=None if since is None else moments.instant_of(since),
    )
    conditions = tuple(map(parse, where))
    forwarder = None
    if forward_to is not None:
        forwarder = Forwarder(settings, forward_to, allows_remote=allows_remote)
    if is_full:
        if as_json or not is_following:
            raise UsageError("--full is for a person who watches: leave out --json and --no-follow")
        from ingest import listen_full  # textual is heavy

        return listen_full.run(settings, wanted, conditions, forwarder)
    with _until_stopped() as wait, bearing_a_lost_reader():
        ledger = settings.paths.ledger
        is_new = is_following and not _await_ledger(ledger, wait)
        if is_new and not wait(0):
            return 0
        with open_read_only(ledger) as connection:
            begin = 0 if is_new or not is_following else None
            log = FollowedLog(connection, wanted, conditions, begin=begin)
            line_of = _line_maker(connection, forwarder, as_json=as_json)
            _print(log.unread(), line_of, wait)
            if is_following:
                sys.stderr.write(f"listening to {ledger}; Ctrl-C ends\n")
                if forwarder:
                    sys.stderr.write(
                        f"forwarding to {forwarder.url}, signed with the receiver's own secret"
                        f" (scheme {forwarder.credential.scheme}, {settings.paths.secrets} or"
                        " HOOKLAKE_SECRETS)\n"
                    )
                sys.stderr.flush()
            while is_following and wait(POLL_SECONDS):
                _print(log.unread(), line_of, wait)
    return 0


class FollowedLog:
    """A place in the log, moving on.

    It begins at the filter's `since`, else `begin` deliveries and refusals after the first; None:
    at the end.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        wanted: Filter,
        conditions: Sequence[Condition] = (),
        *,
        begin: int | None = None,
    ) -> None:
        self._connection = connection
        self._wanted = wanted
        self._conditions = conditions
        self._version: int | None = None
        self._seq = self._rejection = begin or 0
        if wanted.since is not None:
            self._seq = seq_before(connection, wanted.since)
            self._rejection = 0
        elif begin is None:
            self._seq = newest_seq(connection)
            self._rejection = newest_rejection(connection)

    def unread(self) -> Iterator[Logged]:
        """What has been committed since the last call, by receipt."""
        version = self._connection.pragma("data_version")
        if version == self._version:
            return
        seq, rejection = newest_seq(self._connection), newest_rejection(self._connection)
        read = self._connection, self._wanted
        for logged in heapq.merge(
            deliveries(*read, after=self._seq, until=seq),
            rejections(*read, after=self._rejection, until=rejection),
            key=lambda logged: logged.received_at,
        ):
            if self._is_meant(logged):
                yield logged
        self._version, self._seq, self._rejection = version, seq, rejection

    def _is_meant(self, logged: Logged) -> bool:
        if not self._conditions:
            return True
        body = body_of(self._connection, logged)
        return body is not None and all(each.holds(body) for each in self._conditions)


def _line_maker(
    connection: apsw.Connection, forwarder: Forwarder | None, *, as_json: bool
) -> Callable[[Logged], str]:
    """Makes a delivery's line; with a forwarder, hands it on first and says what was answered."""
    from rich.console import Console

    console = Console()
    is_coloured = console.is_terminal and console.color_system is not None and not console.no_color

    def line_of(logged: Logged) -> str:
        body = body_of(connection, logged) if forwarder else None
        answer = forwarder.forward(logged, body) if forwarder and body is not None else None
        if as_json:
            if forwarder is None:
                return json_line(logged)
            return json_line(logged, forwarded=None if answer is None else answer.as_dict())
        line = text_line(logged, is_coloured=is_coloured)
        return line if answer is None else f"{line}\n{answer_line(answer)}"

    return line_of


def answer_line(answer: Forwarded) -> str:
    """What the application answered, for a person."""
    status = "no answer" if answer.status is None else str(answer.status)
    return f"    -> {status} in {answer.seconds:.3f} s  {one_line(answer.body)}".rstrip()


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
