"""A delivery of the log as one line: for a person, or for a script."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from ingest import since as moments
from ingest.contract import TYPE_BY_NAME
from ingest.delivery_log import Logged
from ingest.terminal import one_line

_COLOURS: Final = {"accepted": 32, "duplicate": 36, "quarantined": 33, "rejected": 31}


def json_line(logged: Logged, **more: Any) -> str:
    """The delivery as one line of plain ASCII JSON; every key always there, `more` at the end."""
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
        "occurred_at": None if logged.occurred_at is None else moments.rfc3339(logged.occurred_at),
        "received_after_seconds": logged.received_after_seconds,
        "landed_at": None if logged.landed_at is None else moments.rfc3339(logged.landed_at),
        "landed_after_seconds": logged.landed_after_seconds,
        **more,
    }
    return json.dumps(found)


def text_line(logged: Logged, *, is_coloured: bool = False) -> str:
    """The delivery as one line for a person."""
    verdict = f"{logged.verdict:<11}"
    if is_coloured:
        verdict = f"\x1b[{_COLOURS[logged.verdict]}m{verdict}\x1b[0m"
    parts = (
        f"{moments.rfc3339(logged.received_at)[:-4]}Z",
        verdict,
        f"{one_line(kind_of(logged), 40):<17}",
        f"{one_line(logged.account_id or '-', 64):<26}",
        one_line(logged.event_id or "-", 80),
        "; ".join(details(logged)),
    )
    return "  ".join(parts).rstrip()


def kind_of(logged: Logged) -> str:
    """What kind of event it is, or says it is."""
    kind = logged.event_type or logged.sender_event or "-"
    if kind == "other" and logged.sender_event:
        return f"other:{logged.sender_event}"
    return kind


def details(logged: Logged) -> Iterator[str]:
    """What else is to be said, each safe for a terminal."""
    if logged.seq is not None:
        yield f"seq {logged.seq}"
    if logged.first_seq is not None:
        yield f"repeats seq {logged.first_seq}"
    if logged.origin == "replay":
        yield "from quarantine"
    if logged.is_id_reused:
        yield "its id belonged to another event"
    if logged.received_after_seconds is not None:
        yield f"{duration(logged.received_after_seconds)} after it happened"
    if logged.landed_after_seconds is not None:
        yield f"landed after {logged.landed_after_seconds:.1f} s"
    for reason in (*logged.reasons, *logged.warnings):
        place = "" if reason.field is None else f"{reason.field} {reason.code}: "
        yield one_line(place + reason.message)
    if logged.unknown_fields:
        yield f"unknown: {one_line(', '.join(logged.unknown_fields))}"
    if logged.rejection_id is not None:
        yield f"hooklake verify --record {logged.rejection_id} says more"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 min`, `5 h` or `36 d`: in the largest unit of which there are two or more."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.1f} s"


def note_unlikely_event(event: str | None) -> None:
    """Says so where a filter's event looks like a mistyped one; a sender may have any name."""
    name = (event or "").strip().lower()
    alike = difflib.get_close_matches(name, TYPE_BY_NAME, n=1, cutoff=0.8)
    if alike and name not in TYPE_BY_NAME:
        sys.stderr.write(
            f"note: the contract knows no event {one_line(name, 64)!r}, but {alike[0]}; meant are"
            " deliveries whose sender calls them so\n"
        )
