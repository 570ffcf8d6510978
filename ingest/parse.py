"""From a body's bytes to an event, or to every reason why it is none. Pure.

The way of a body: `strict_json.parse_object` -> its type -> its fields, from where the `layout` of
its keys says -> the moment it happened -> its id.

Source: events.md, "Event types and fields", "One stored row", "Tolerance".
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from ingest import identity, values
from ingest.contract import (
    BUSINESS_COLUMNS,
    ID_CHARACTERS_MAX,
    OTHER,
    OTHER_TYPE,
    TYPE_BY_NAME,
    TYPE_KEYS,
    EventType,
)
from ingest.layout import KEPT_BODY_BYTES_MAX, Layout, known_layout, layout_of
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.values import is_absent

TimeSource = Literal["payload", "delivery", "received", "date"]
Origin = Literal["webhook", "backfill", "replay"]

_POSITION: Final = {column: index for index, column in enumerate(BUSINESS_COLUMNS)}
_DATED_BY: Final = ("start_date", "renewal_date", "due_date")
_EXPECTED_INSTANT: Final = "an instant such as 2024-04-27T10:00:00Z, or Unix time"
_EXPECTED: Final = {
    "account": "text",
    "text": "text or a number",
    "plan": "text, or an object with plan_id, id or name",
    "boolean": "true/false, 1/0, on/off or yes/no",
    "amount": "a number below 10^16 with at most two decimals",
    "date": "a day such as 2024-04-01, or an instant",
}


@dataclass(frozen=True)
class Problem:
    """`field`: our column's name, `body` or `event_type`."""

    field: str
    code: Literal["missing", "unreadable", "invalid_json", "too_deep"]
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "message": self.message}


class Event(NamedTuple):
    """A readable delivery. Instants are microseconds since 1970 UTC.

    business: the values of `contract.BUSINESS_COLUMNS` as canonical text or booleans.
    digest: `identity.fields_hash`; equal for two deliveries of one event.
    """

    event_id: str
    event_type: str
    sender_event: str
    occurred_at: int
    event_time_source: TimeSource
    business: tuple[str | bool | None, ...]
    digest: str
    payload: bytes
    warnings: tuple[Problem, ...] = ()
    unknown_fields: tuple[str, ...] = ()

    @property
    def account_id(self) -> str | None:
        value = self.business[0]
        return value if isinstance(value, str) else None


@dataclass(frozen=True)
class Malformed:
    """An authentic delivery that is no event yet; `problems` holds every reason at once."""

    problems: tuple[Problem, ...]
    event_type: str | None = None
    sender_event: str | None = None


class Arrival(NamedTuple):
    """What is known of a body beside its bytes. Instants in microseconds since 1970 UTC.

    signed_id, signed_at: covered by the signature, else None. stored_at: nothing may have happened
    later. own_received_at: a backfilled row's own receipt, where its line states one.
    """

    stored_at: int
    origin: Origin = "webhook"
    signed_id: str | None = None
    signed_at: int | None = None
    own_received_at: int | None = None
    file_sha256: str | None = None
    line: int | None = None


def parse_body(body: bytes, arrival: Arrival) -> Event | Malformed:
    """The event in `body`, or all reasons why there is none. Never raises for any bytes."""
    try:
        document = parse_object(body)
    except InvalidJsonError as error:
        code: Literal["too_deep", "invalid_json"] = (
            "too_deep" if error.code == "too_deep" else "invalid_json"
        )
        return Malformed((Problem("body", code, str(error)),))
    return parse_document(document, body, arrival)


def parse_document(document: dict[str, Any], body: bytes, arrival: Arrival) -> Event | Malformed:
    """`parse_body` for a document already read strictly; `body`: its exact bytes."""
    sender_event, problem = _sender_event(document)
    kind = (
        OTHER_TYPE if sender_event is None else TYPE_BY_NAME.get(sender_event.lower(), OTHER_TYPE)
    )
    nested = document.get("data")
    data: dict[str, Any] = nested if isinstance(nested, dict) else {}
    find_layout = known_layout if len(body) <= KEPT_BODY_BYTES_MAX else layout_of
    layout = find_layout(kind, tuple(document), tuple(data))
    reading = Reading(layout, document, data)
    business = reading.business()
    if problem is not None:
        reading.errors.insert(0, problem)
    if sender_event is None or reading.errors:
        return Malformed(
            tuple(reading.errors), kind.name if sender_event is not None else None, sender_event
        )
    stated = reading.instant()
    when = _when(stated, business, arrival)
    if when is None:
        missing = "nothing states when it happened: add occurred_at, received_at or a date field"
        return Malformed((Problem("occurred_at", "missing", missing),), kind.name, sender_event)
    moment, source = when
    stated_by_payload = moment if source == "payload" else None
    digest = _digest(kind, sender_event, business, body, stated_by_payload)
    event_id = reading.event_id() or _as_id(arrival.signed_id)
    if event_id is None:
        if source == "received" and arrival.origin != "backfill":
            event_id = str(uuid.uuid4())
        else:
            by_date = source == "date" and arrival.file_sha256 is not None
            event_id = identity.content_id(
                _digest(kind, sender_event, business, body, None),
                moment,
                file_line=(arrival.file_sha256 or "", arrival.line or 0) if by_date else None,
            )
    if moment > arrival.stored_at:
        moment, source = arrival.stored_at, "received"
    return Event(
        event_id,
        kind.name,
        sender_event,
        moment,
        source,
        business,
        digest,
        body,
        tuple(reading.warnings),
        layout.unknown_fields,
    )


def _sender_event(document: dict[str, Any]) -> tuple[str | None, Problem | None]:
    for key in TYPE_KEYS:
        value = document.get(key)
        if is_absent(value):
            continue
        if type(value) is str:
            return value.strip(), None
        return None, Problem(
            "event_type", "unreadable", f"`{key}` is {_found(value)}; send the event's name as text"
        )
    return None, Problem(
        "event_type",
        "missing",
        'no event, event_type or type names the event; add one, such as "event": "user_registered"',
    )


class Reading:
    """Reads the fields of one document and collects the problems on the way.

    top, data: the document and what is nested in it under `data` ({} where nothing is).
    """

    __slots__ = ("errors", "layout", "places", "warnings")

    def __init__(self, layout: Layout, top: dict[str, Any], data: dict[str, Any]) -> None:
        self.layout = layout
        self.places = (top, data)
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def business(self) -> tuple[str | bool | None, ...]:
        row: list[str | bool | None] = [None] * len(BUSINESS_COLUMNS)
        given = self.places
        for position, wanted, read, places in self.layout.fields:
            for is_inside, name in places:
                found = given[is_inside][name]
                value = row[position] = read(found)
                if value is None:
                    if is_absent(found):
                        continue
                    problem = _unreadable(wanted.column, name, found, _EXPECTED[wanted.kind])
                    (self.errors if wanted.is_required else self.warnings).append(problem)
                break
            else:
                if wanted.is_required:
                    missing = f"{wanted.label} is missing; add it"
                    self.errors.append(Problem(wanted.column, "missing", missing))
        return tuple(row)

    def instant(self) -> int | None:
        """The first readable instant the payload states."""
        for is_inside, name in self.layout.instants:
            found = self.places[is_inside][name]
            if is_absent(found):
                continue
            moment = values.read_instant(found)
            if moment is not None:
                return moment
            self.warnings.append(_unreadable("occurred_at", name, found, _EXPECTED_INSTANT))
        return None

    def event_id(self) -> str | None:
        for is_inside, name in self.layout.ids:
            found = _as_id(self.places[is_inside][name])
            if found is not None:
                return found
        return None


def _when(
    stated: int | None, business: tuple[str | bool | None, ...], arrival: Arrival
) -> tuple[int, TimeSource] | None:
    if stated is not None:
        return stated, "payload"
    if arrival.signed_at is not None:
        return arrival.signed_at, "delivery"
    if arrival.origin != "backfill":
        return arrival.stored_at, "received"
    if arrival.own_received_at is not None:
        return arrival.own_received_at, "received"
    for column in _DATED_BY:
        day = business[_POSITION[column]]
        if isinstance(day, str):
            return values.date_as_instant(day), "date"
    return None


def _digest(
    kind: EventType,
    sender_event: str,
    business: tuple[str | bool | None, ...],
    body: bytes,
    stated: int | None,
) -> str:
    if kind.name == OTHER:
        return identity.other_hash(sender_event, sha256(body).hexdigest(), stated)
    return identity.fields_hash(kind.name, business, stated)


def _as_id(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    text = value.strip()
    return str(text) if 0 < len(text) <= ID_CHARACTERS_MAX else None


def _unreadable(column: str, name: str, value: Any, expected: str) -> Problem:
    return Problem(column, "unreadable", f"`{name}` is {_found(value)}; send {expected}")


def _found(value: Any) -> str:
    """What was found, for a message: its kind, never its text (it may be personal)."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "a boolean"
    return f"unreadable text of {len(value)} characters" if type(value) is str else "a number"
