"""From a body's bytes to an event, or to every reason why it is none. Pure.

The way of a body: `strict_json.parse_object` -> its type -> fields by name, `data` before the top
level -> the moment it happened -> its id.

Source: events.md, "Event types and fields", "One stored row", "Tolerance".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from ingest import identity, values
from ingest.contract import (
    BUSINESS_COLUMNS,
    ENVELOPE_KEYS,
    ID_CHARACTERS_MAX,
    OTHER,
    OTHER_TYPE,
    TYPE_BY_NAME,
    TYPE_KEYS,
    EventType,
    Field,
)
from ingest.strict_json import InvalidJsonError, parse_object

TimeSource = Literal["payload", "delivery", "received", "date"]
Origin = Literal["webhook", "backfill", "replay"]

_READERS: Final[dict[str, Callable[[Any], str | bool | None]]] = {
    "account": values.read_account,
    "text": values.read_text,
    "plan": values.read_plan,
    "boolean": values.read_boolean,
    "amount": values.read_amount,
    "date": values.read_date,
}
_POSITION: Final = {column: index for index, column in enumerate(BUSINESS_COLUMNS)}
_DATED_BY: Final = ("start_date", "renewal_date", "due_date")
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
    reading = Reading(kind, document, data)
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
        event_id=event_id,
        event_type=kind.name,
        sender_event=sender_event,
        occurred_at=moment,
        event_time_source=source,
        business=business,
        digest=digest,
        payload=body,
        warnings=tuple(reading.warnings),
        unknown_fields=tuple(reading.unknown_fields()),
    )


def _sender_event(document: dict[str, Any]) -> tuple[str | None, Problem | None]:
    for key in TYPE_KEYS:
        value = document.get(key)
        if values.is_absent(value):
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
    """Looks up the fields of one document and collects the problems on the way.

    top, data: the document and what is nested in it under `data` ({} where nothing is).
    """

    __slots__ = ("data", "errors", "kind", "top", "warnings")

    def __init__(self, kind: EventType, top: dict[str, Any], data: dict[str, Any]) -> None:
        self.kind = kind
        self.top = top
        self.data = data
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def business(self) -> tuple[str | bool | None, ...]:
        given = _given(self.kind, self.data)
        for number, found in _given(self.kind, self.top).items():
            given.setdefault(number, found)
        row: list[str | bool | None] = [None] * len(BUSINESS_COLUMNS)
        for number, wanted in enumerate(self.kind.fields):
            if number in given:
                row[_POSITION[wanted.column]] = self._read(wanted, *given[number])
            elif wanted.is_required:
                self.errors.append(
                    Problem(wanted.column, "missing", f"{wanted.label} is missing; add it")
                )
        return tuple(row)

    def _read(self, wanted: Field, _rank: int, name: str, found: Any) -> str | bool | None:
        value = _READERS[wanted.kind](found)
        if value is None:
            problem = Problem(
                wanted.column,
                "unreadable",
                f"`{name}` is {_found(found)}; send {_EXPECTED[wanted.kind]}",
            )
            (self.errors if wanted.is_required else self.warnings).append(problem)
        return value

    def instant(self) -> int | None:
        """The first readable instant the payload states."""
        names = self.kind.instant_names
        if names.isdisjoint(self.top) and names.isdisjoint(self.data):
            return None
        for name, value in self.instants():
            if values.is_absent(value):
                continue
            moment = values.read_instant(value)
            if moment is not None:
                return moment
            self.warnings.append(
                Problem(
                    "occurred_at",
                    "unreadable",
                    f"`{name}` is {_found(value)}; send an instant such as "
                    "2024-04-27T10:00:00Z, or Unix time",
                )
            )
        return None

    def instants(self) -> Iterator[tuple[str, Any]]:
        """Names and values that may state when it happened, best first; None: not given."""
        top, data = self.top, self.data
        yield "occurred_at", top.get("occurred_at")
        yield "occurred_at", data.get("occurred_at")
        asked = set()
        for place, where in ((data, "data"), (top, "top")):
            for name in self.kind.instants:
                asked.add((where, name))
                yield name, place.get(name)
        for name in ("timestamp", "created_at"):
            if self.kind.takes_created_at_inside_data and ("data", name) not in asked:
                yield name, data.get(name)
            if ("top", name) not in asked:
                yield name, top.get(name)

    def event_id(self) -> str | None:
        for value in self.ids():
            found = None if value is None else _as_id(value)
            if found is not None:
                return found
        return None

    def ids(self) -> tuple[Any, ...]:
        """Values that may be the event's id, best first; None: not given."""
        data, top = self.data, self.top
        return data.get("event_id"), top.get("event_id"), top.get("id") if data else None

    def unknown_fields(self) -> Iterator[str]:
        known = self.kind.known_names
        if self.top.keys() <= ENVELOPE_KEYS and self.data.keys() <= known:
            return
        for key in self.top:
            if key not in known and key not in ENVELOPE_KEYS:
                yield key
        for key in self.data:
            if key not in known and key not in ("event_id", "occurred_at"):
                yield f"data.{key}"


def _given(kind: EventType, place: dict[str, Any]) -> dict[int, tuple[int, str, Any]]:
    """By the field's number: rank, name and value of the best name that `place` gives it under."""
    given: dict[int, tuple[int, str, Any]] = {}
    ranks = kind.name_ranks
    for name, value in place.items():
        rank = ranks.get(name)
        if rank is None or values.is_absent(value):
            continue
        number = rank[0]
        known = given.get(number)
        if known is None or rank[1] < known[0]:
            given[number] = (rank[1], name, value)
    return given


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


def _found(value: Any) -> str:
    """What was found, for a message: its kind, never its text (it may be personal)."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "a boolean"
    return f"unreadable text of {len(value)} characters" if type(value) is str else "a number"
