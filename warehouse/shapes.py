"""The shape of a JSON line: its exact bytes but for the values that differ from line to line.

Exports hold few shapes. One line of a shape is read by the receiver's own parser, which settles
once where each field, instant and id comes from; all other lines of the shape are then known to be
well-formed and to name the same fields in the same places, and only their values are left to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from ingest.contract import OTHER, OTHER_TYPE, TYPE_BY_NAME, TYPE_KEYS, EventType, Field
from ingest.layout import Place, layout_of
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.values import PLAN_KEYS
from warehouse.exports import LOGGED, QUARANTINED, is_wrapping
from warehouse.text_lines import PADDING

Path = tuple[str, ...]
DEPTH_MAX: Final = 8
_TOKENS: Final = re.compile(r'"[^"]*"|[{}:,\[\]]|[ \t]+|[^ \t{}:,\[\]"]+')
_ID_HEADERS: Final = ("webhook-id", "svix-id")
_TIMESTAMP_HEADERS: Final = ("webhook-timestamp", "svix-timestamp")


@dataclass(frozen=True)
class Fixed:
    """Bytes that every line of the shape has. `quote`: the line's n-th quote stands at `offset`;
    None: the bytes begin the line, or end it."""

    text: bytes
    quote: int | None
    offset: int


@dataclass(frozen=True)
class Slot:
    """A value between two literals. `is_text`: in quotes, else a number, true, false or null."""

    path: Path
    is_text: bool


@dataclass(frozen=True)
class Choice:
    """The slot a column is read from; `has_others`: were it blank, another field would count."""

    slot: int
    has_others: bool = False
    is_required: bool = False


@dataclass(frozen=True)
class Shape:
    """`columns`: by business column, and `event_id`, `instant`, `received_at`, `signed_id`,
    `signed_at`. Slot n stands between the literals n and n + 1.

    body: where the event begins and ends within a line that wraps it, each as (literal, offset).
    """

    kind: EventType
    sender_event: str
    quote_count: int
    literals: tuple[Fixed, ...]
    slots: tuple[Slot, ...]
    columns: dict[str, Choice]
    unknown_fields: tuple[str, ...]
    body: tuple[tuple[int, int], tuple[int, int]] | None


class _NoShapeError(Exception):
    """This line must be read by itself."""


def shape_of(line: bytes) -> Shape | None:
    """The shape of a simple line; None where its like must be read one by one."""
    try:
        document = parse_object(line)
        return _shape(line.decode(), document)
    except (InvalidJsonError, _NoShapeError):
        return None


class _Leaf(str):
    """Stands for any value that is not blank; knows where it is."""

    path: Path


def _shape(text: str, document: dict[str, Any]) -> Shape:
    if document.keys() >= LOGGED:
        raise _NoShapeError
    body = document.get("body")
    is_wrapped = type(body) in (dict, str) and is_wrapping(document)
    if is_wrapped and (type(body) is str or document.keys() >= QUARANTINED):
        raise _NoShapeError
    root: Path = ("body",) if is_wrapped else ()
    event: dict[str, Any] = document["body"] if is_wrapped else document
    fixed = {(*root, key) for key in TYPE_KEYS}
    literals, slots, body_span = _split(text, fixed, root)
    slot_at = {slot.path: number for number, slot in enumerate(slots)}
    sender_event = _sender_event(event)
    kind = TYPE_BY_NAME.get(sender_event.lower(), OTHER_TYPE)
    leaves = _leaves(event, root)
    nested = leaves.get("data")
    inside = nested if isinstance(nested, dict) else {}
    layout = layout_of(kind, tuple(leaves), tuple(inside))

    def at(places: tuple[Place, ...]) -> list[Any]:
        return [(inside if place.is_inside else leaves)[place.name] for place in places]

    columns = {
        wanted.field.column: _field(at(wanted.places), wanted.field, slot_at)
        for wanted in layout.fields
    }
    columns |= _first("instant", at(layout.instants), slot_at)
    columns |= _first("event_id", at(layout.ids), slot_at)
    if is_wrapped:
        columns |= _wrapping(document, slot_at)
    if kind.name == OTHER and "event_id" not in columns and "signed_id" not in columns:
        raise _NoShapeError  # its id would be made of the body's exact bytes
    return Shape(
        kind,
        sender_event,
        text.count('"'),
        literals,
        slots,
        columns,
        layout.unknown_fields,
        body_span if is_wrapped else None,
    )


def _sender_event(event: dict[str, Any]) -> str:
    for key in TYPE_KEYS:
        value = event.get(key)
        if value is not None and type(value) is not str:
            raise _NoShapeError
        if value and value.strip():
            return str(value.strip())
    raise _NoShapeError


def _leaves(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _leaves(inner, (*path, key)) for key, inner in value.items()}
    leaf = _Leaf("x")
    leaf.path = path
    return leaf


def _field(found: list[Any], wanted: Field, slot_at: dict[Path, int]) -> Choice:
    if not found:
        raise _NoShapeError
    value, has_others = found[0], len(found) > 1
    if wanted.kind == "plan" and isinstance(value, dict):
        inner = [value[key] for key in PLAN_KEYS if isinstance(value.get(key), _Leaf)]
        if not inner:
            raise _NoShapeError
        # a plan's object without a readable name is unreadable, not absent
        return Choice(slot_at[inner[0].path], has_others=True, is_required=True)
    return Choice(_slot(value, slot_at), has_others, wanted.is_required)


def _slot(value: Any, slot_at: dict[Path, int]) -> int:
    if not isinstance(value, _Leaf) or value.path not in slot_at:
        raise _NoShapeError
    return slot_at[value.path]


def _first(column: str, found: list[Any], slot_at: dict[Path, int]) -> dict[str, Choice]:
    if not found:
        return {}
    slots = [_slot(value, slot_at) for value in found]
    return {column: Choice(slots[0], has_others=len(slots) > 1)}


def _wrapping(document: dict[str, Any], slot_at: dict[Path, int]) -> dict[str, Choice]:
    columns = {}
    if "received_at" in document:
        columns["received_at"] = Choice(_known(("received_at",), slot_at))
    headers = document.get("headers")
    if not isinstance(headers, dict):
        return columns
    for column, names in (("signed_id", _ID_HEADERS), ("signed_at", _TIMESTAMP_HEADERS)):
        found = [name for name in headers if name.strip().lower() in names]
        if len(found) > 1 or (found and type(headers[found[0]]) is not str):
            raise _NoShapeError
        if found:
            columns[column] = Choice(_known(("headers", found[0]), slot_at))
    return columns


def _known(path: Path, slot_at: dict[Path, int]) -> int:
    if path not in slot_at:
        raise _NoShapeError
    return slot_at[path]


_Span = tuple[tuple[int, int], tuple[int, int]]


def _split(
    text: str, fixed: set[Path], root: Path
) -> tuple[tuple[Fixed, ...], tuple[Slot, ...], _Span]:
    """The line as literals and the slots between them; texts at the fixed paths are literal."""
    texts, slots, quotes = [""], [], [0]
    begin = end = (0, 0)
    for token, path, role in _walk(text):
        if role == "open" and path == root:
            begin = (len(texts) - 1, len(texts[-1].encode()))
        if role == "value" and path not in fixed:
            is_text = token[0] == '"'
            slots.append(Slot(path, is_text))
            texts[-1] += '"' if is_text else ""
            quotes.append(quotes[-1] + texts[-1].count('"'))
            texts.append('"' if is_text else "")
        else:
            texts[-1] += token
        if role == "close" and path == root:
            end = (len(texts) - 1, len(texts[-1].encode()))
    literals = []
    for number, literal in enumerate(texts):
        encoded = literal.encode()
        quote = None
        if number and '"' in literal:
            quote = quotes[number]
        elif 0 < number < len(texts) - 1:
            raise _NoShapeError
        if len(encoded) > PADDING // 2:
            raise _NoShapeError
        literals.append(Fixed(encoded, quote, encoded.find(b'"') if quote is not None else 0))
    return tuple(literals), tuple(slots), (begin, end)


_Role = Literal["space", "key", "value", "open", "close", "other"]


def _walk(text: str) -> Iterator[tuple[str, Path, _Role]]:
    """Each part of a well-formed object without lists, with the path it belongs to."""
    path: list[str] = []
    depth, key, is_key = 0, "", True
    for part in _TOKENS.findall(text):
        if part.isspace():
            yield part, (), "space"
        elif part == "{":
            depth += 1
            if depth > 1:
                path.append(key)
            if depth > DEPTH_MAX:
                raise _NoShapeError
            is_key = True
            yield part, tuple(path), "open"
        elif part == "}":
            depth -= 1
            yield part, tuple(path), "close"
            if path:
                path.pop()
            is_key = False
        elif part in "[]":
            raise _NoShapeError
        elif part in ",:":
            is_key = part == ","
            yield part, (), "other"
        elif is_key:
            key = part[1:-1]
            yield part, (*path, key), "key"
        else:
            yield part, (*path, key), "value"
