"""`hooklake log`: the durable log of deliveries, searched and exported.

Search words narrow one another; what is found is printed by receipt, the newest of it where there
is a limit.
"""

from __future__ import annotations

import base64
import heapq
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apsw

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
    seqs_of,
)
from ingest.ledger import open_read_only
from ingest.listen import FollowedLog
from ingest.log_lines import json_line, note_unlikely_event, text_line
from ingest.settings import Settings
from ingest.since import instant_of
from ingest.standard_streams import bearing_a_lost_reader
from ingest.where import Condition, parse

LIMIT: Final = 100
SPAN_MIN: Final = 256


def run(
    settings: Settings,
    *,
    ids: Sequence[str] = (),
    account: str | None = None,
    event: str | None = None,
    verdict: Verdict | None = None,
    since: str | None = None,
    until: str | None = None,
    where: Sequence[str] = (),
    limit: int = LIMIT,
    has_bodies: bool = False,
    as_json: bool = False,
) -> int:
    """Print what was delivered and fits every word; 0, also where nothing does, which is said.

    ids: of events or deliveries. limit: the newest so many; 0 is all. has_bodies: for JSON, the
    body as `body`, or as `body_base64` where it is no UTF-8.
    Raises: UsageError, LedgerError.
    """
    note_unlikely_event(event)
    wanted = Filter(
        event=event,
        account=account,
        verdicts=frozenset(VERDICTS if verdict is None else (verdict,)),
        since=None if since is None else instant_of(since),
        until=None if until is None else instant_of(until),
    )
    conditions = tuple(map(parse, where))
    count = 0
    with open_read_only(settings.paths.ledger) as connection, bearing_a_lost_reader():
        for logged in search(connection, wanted, conditions, ids, limit=limit):
            count += 1
            sys.stdout.write(_line(connection, logged, as_json, has_bodies) + "\n")
        sys.stdout.flush()
    if count and count == limit:
        sys.stderr.write(f"the newest {limit:,} at most; --limit 0 shows all\n")
    if not count:
        given = {
            "--id": ids,
            "--account": account,
            "--event": event,
            "--verdict": verdict,
            "--since": since,
            "--until": until,
            "--where": where,
        }
        sys.stderr.write(_nothing(settings, [name for name, value in given.items() if value]))
    return 0


def _nothing(settings: Settings, given: Sequence[str]) -> str:
    """Why there may be none, and what would find more."""
    found = (
        f"no delivery in the log fits: widen or leave out {' or '.join(given)}"
        if given
        else "the log is empty"
    )
    return (
        f"note: {found}. It holds deliveries of the last {settings.ledger_keep_days} days; "
        "older and backfilled events are found by `hooklake sql 'from events'`\n"
    )


def search(
    connection: apsw.Connection,
    wanted: Filter,
    conditions: Sequence[Condition] = (),
    ids: Sequence[str] = (),
    *,
    limit: int = 0,
) -> Iterable[Logged]:
    """What fits, by receipt, by number where ids are given; the newest `limit`, 0: all."""
    if ids:
        numbers = sorted({seq for each in ids for seq in seqs_of(connection, each)})
        spans = ((seq - 1, seq) for seq in numbers)
        found = _of_spans(connection, wanted, conditions, spans)
        return deque(found, maxlen=limit or None)
    if limit == 0:
        return FollowedLog(connection, wanted, conditions, begin=0).unread()
    refused = (
        ()
        if conditions
        else rejections(connection, wanted, after=0, until=newest_rejection(connection))
    )
    newest = _newest(connection, wanted, conditions, limit)
    merged = heapq.merge(newest, refused, key=lambda logged: logged.received_at)
    return deque(merged, maxlen=limit)


def _newest(
    connection: apsw.Connection, wanted: Filter, conditions: Sequence[Condition], limit: int
) -> deque[Logged]:
    """The last that fit, by number; read backwards in growing spans, until there are enough."""
    first = 0 if wanted.since is None else seq_before(connection, wanted.since)
    end, span = newest_seq(connection), SPAN_MIN
    found: deque[Logged] = deque()
    while end > first and len(found) < limit:
        begin = max(first, end - span)
        part = deque(_of_spans(connection, wanted, conditions, [(begin, end)]), maxlen=limit)
        found.extendleft(reversed(part))
        end, span = begin, 2 * span
    return found


def _of_spans(
    connection: apsw.Connection,
    wanted: Filter,
    conditions: Sequence[Condition],
    spans: Iterable[tuple[int, int]],
) -> Iterator[Logged]:
    """Authentic deliveries with numbers in begin < seq <= end of a span that fit."""
    for begin, end in spans:
        for logged in deliveries(connection, wanted, after=begin, until=end):
            body = body_of(connection, logged) if conditions else None
            if all(condition.holds(body) for condition in conditions):
                yield logged


def _line(connection: apsw.Connection, logged: Logged, as_json: bool, has_bodies: bool) -> str:
    if not as_json:
        return text_line(logged)
    return json_line(logged, **(_body(connection, logged) if has_bodies else {}))


def _body(connection: apsw.Connection, logged: Logged) -> dict[str, Any]:
    body = body_of(connection, logged)
    if body is None:
        return {"body": None}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body).decode()}
