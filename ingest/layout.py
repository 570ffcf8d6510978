"""Where a document holds what is asked of it, worked out once for all documents of the same keys.

Senders write few kinds of documents again and again. What can be said of one by its keys alone is
said here: which field stands where and under which of its names, what may tell the moment or the
id, and which fields nobody knows. Only the values are left to be read (`parse`). Pure.

Source: events.md, "Event types and fields", "One stored row", "Tolerance".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ingest import values
from ingest.contract import BUSINESS_COLUMNS, ENVELOPE_KEYS, EventType, Field

Keys = tuple[str, ...]

LAYOUTS_KEPT: Final = 64
KEPT_BODY_BYTES_MAX: Final = 2 * 1024
"""Keys of a larger document are not remembered: what a sender invents must not fill the memory.
At worst, 290 keys a document, they take 4 MB."""

_READERS: Final[dict[str, Callable[[Any], str | bool | None]]] = {
    "account": values.read_account,
    "text": values.read_text,
    "plan": values.read_plan,
    "boolean": values.read_boolean,
    "amount": values.read_amount,
    "date": values.read_date,
}
_POSITION: Final = {column: index for index, column in enumerate(BUSINESS_COLUMNS)}


class Place(NamedTuple):
    """Inside `data`, or at the top level, under this name."""

    is_inside: bool
    name: str


class Wanted(NamedTuple):
    """One field: where it goes in a business row, and where it may be, the best place first.

    places: none where the document lacks a required field.
    """

    position: int
    field: Field
    read: Callable[[Any], str | bool | None]
    places: tuple[Place, ...]


class Layout(NamedTuple):
    """fields: those that are given or required, in the contract's order.

    instants, ids: places that may state the moment or the event's id, the best first.
    unknown_fields: `name` at the top level, `data.name` inside.
    """

    fields: tuple[Wanted, ...]
    instants: tuple[Place, ...]
    ids: tuple[Place, ...]
    unknown_fields: tuple[str, ...]


def layout_of(kind: EventType, top: Keys, inside: Keys) -> Layout:
    """The layout of an event's documents with these keys at the top level and inside `data`.

    inside: () where `data` is absent, empty or no object.
    """
    given = (frozenset(top), frozenset(inside))

    def present(places: Iterator[Place]) -> tuple[Place, ...]:
        return tuple(
            dict.fromkeys(place for place in places if place.name in given[place.is_inside])
        )

    fields = []
    for field in kind.fields:
        places = present(_places_of(field))
        if places or field.is_required:
            read = _READERS[field.kind]
            fields.append(Wanted(_POSITION[field.column], field, read, places))
    return Layout(
        tuple(fields),
        present(_instants(kind)),
        present(_ids(inside)),
        tuple(_unknown(kind, top, inside)),
    )


known_layout: Final = lru_cache(LAYOUTS_KEPT)(layout_of)
"""`layout_of` that remembers, for documents of at most KEPT_BODY_BYTES_MAX."""


def _places_of(field: Field) -> Iterator[Place]:
    for is_inside in (True, False):
        for name in field.names:
            yield Place(is_inside, name)


def _instants(kind: EventType) -> Iterator[Place]:
    yield Place(False, "occurred_at")
    yield Place(True, "occurred_at")
    for is_inside in (True, False):
        for name in kind.instants:
            yield Place(is_inside, name)
    for name in ("timestamp", "created_at"):
        if kind.takes_created_at_inside_data:
            yield Place(True, name)
        yield Place(False, name)


def _ids(inside: Keys) -> Iterator[Place]:
    yield Place(True, "event_id")
    yield Place(False, "event_id")
    if inside:
        yield Place(False, "id")


def _unknown(kind: EventType, top: Keys, inside: Keys) -> Iterator[str]:
    known = kind.known_names
    for key in top:
        if key not in known and key not in ENVELOPE_KEYS:
            yield key
    for key in inside:
        if key not in known and key not in ("event_id", "occurred_at"):
            yield f"data.{key}"
