"""`hooklake contract`: what an event may look like, and what those of this ledger look like.

The contract is printed as tables or as JSON Schema. `--observed` holds what was received against
it: fields it does not know, values it could not read or of another type than a field's own, fields
that never came, and the aliases that would mend both. Fields of quarantined deliveries count as
well, since a required field that came under another name is why they are there.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import apsw
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.contract import (
    CONTRACT,
    ENVELOPE_KEYS,
    OTHER_TYPE,
    TYPE_BY_NAME,
    EventType,
)
from ingest.ledger import (
    FIELD_NAMES_MAX,
    FIELD_NAMES_OF_A_DELIVERY_MAX,
    FURTHER_FIELDS,
    open_read_only,
)
from ingest.openapi import event_schema
from ingest.settings import Settings
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.terminal import one_line
from ingest.values import is_absent

QUARANTINED_READ_MAX: Final = 1_000
STORED_READ_MAX: Final = 1_000
SIMILARITY_MIN: Final = 0.8
INSTANT: Final = "occurred_at"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_DATA: Final = "data."
_KINDS: Final = {
    "account": "text, an e-mail",
    "text": "text or number",
    "plan": "text, number, or object with plan_id, id or name",
    "boolean": "true/false, 1/0, on/off, yes/no",
    "amount": "number or text, two decimals",
    "date": "YYYY-MM-DD, or an instant",
}

_OWN_TYPES: Final = {
    "account": "text",
    "text": "text",
    "plan": "text",
    "boolean": "boolean",
    "amount": "number",
    "date": "text",
}
Types = dict[tuple[str, str, str], Counter[str]]
"""By event type, name as sent and the type of its own: how often it came as which JSON type."""


@dataclass(frozen=True)
class Unknown:
    """A field that the contract does not know. alias_of: the column it may be meant for."""

    event_type: str
    field: str
    count: int
    alias_of: str | None


@dataclass(frozen=True)
class Unreadable:
    """A column whose values could not be read; of a required one the deliveries are quarantined."""

    event_type: str
    column: str
    count: int


@dataclass(frozen=True)
class Differing:
    """A field of which some values were of another JSON type than its own, read or not.

    types: how often it came as each, the type of its own included.
    """

    event_type: str
    field: str
    own: str
    types: dict[str, int]


@dataclass(frozen=True)
class Missing:
    """A column that none of the type's deliveries had, or a required one that some had not."""

    event_type: str
    column: str
    is_required: bool
    missing: int
    deliveries: int


@dataclass(frozen=True)
class Observation:
    """What was received, held against the contract. events: stored ones, by type."""

    events: dict[str, int]
    quarantined: dict[str, int]
    unknown: tuple[Unknown, ...]
    unreadable: tuple[Unreadable, ...]
    differing: tuple[Differing, ...]
    missing: tuple[Missing, ...]


def run(settings: Settings, *, is_observed: bool = False, as_json: bool = False) -> int:
    """Print the contract, or what was observed of it; always 0. Raises: LedgerError."""
    if not is_observed:
        _print_json(schema()) if as_json else _show_contract(Console(highlight=False))
        return 0
    with open_read_only(settings.paths.ledger) as connection:
        observation = observe(connection)
    if as_json:
        _print_json(_as_dict(observation))
    else:
        _show_observation(Console(highlight=False), observation)
    return 0


def schema() -> dict[str, Any]:
    """The contract as a JSON Schema document of its own."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hooklake's event contract",
        **event_schema(),
    }


def observe(connection: apsw.Connection) -> Observation:
    """What was stored, and the newest 1,000 deliveries in quarantine, held to the contract.

    Types are those of these and of the newest 1,000 stored events.
    """
    kept = _Quarantine(connection)
    _read_stored_types(connection, kept.types)
    unknown = Counter(kept.unknown)
    unreadable = Counter(kept.unreadable)
    for kind, event_type, name, count in connection.execute(
        "select kind, event_type, name, count from fields"
    ):
        (unknown if kind == "unknown" else unreadable)[event_type, name] += count
    filled = {kind.name: _filled(connection, kind) for kind in CONTRACT}
    missing = tuple(found for kind in CONTRACT for found in _missing(kind, filled[kind.name], kept))
    lacking = {
        kind.name: {
            column
            for column, count in filled[kind.name].items()
            if count < filled[kind.name][""] or kept.missing[kind.name, column]
        }
        for kind in CONTRACT
    }
    return Observation(
        events=dict(
            connection.execute("select event_type, count(*) from inbox group by 1 order by 1")
        ),
        quarantined=dict(sorted(kept.deliveries.items())),
        unknown=tuple(
            Unknown(event_type, name, count, alias_of(event_type, name, lacking.get(event_type)))
            for (event_type, name), count in _by_count(unknown)
        ),
        unreadable=tuple(
            Unreadable(event_type, column, count)
            for (event_type, column), count in _by_count(unreadable)
        ),
        differing=tuple(_differing(kept.types)),
        missing=missing,
    )


def alias_of(event_type: str, field: str, lacking: set[str] | None = None) -> str | None:
    """The column that an unknown field's name may stand for, occurred_at included; None if none.

    The same words in another spelling are always a proposal (`ownerEmail`); alike ones only where
    the type lacks that column now and then (`customer_email`).
    """
    kind = TYPE_BY_NAME.get(event_type, OTHER_TYPE)
    words = _words(field.removeprefix(_DATA))
    if not words or field == FURTHER_FIELDS:
        return None
    best: tuple[float, str] = (0.0, "")
    for column, names in _columns(kind):
        for name in names:
            likeness = _likeness(words, _words(name))
            if likeness == 1 or column in (lacking or ()):
                best = max(best, (likeness, column))
    return best[1] if best[0] >= SIMILARITY_MIN else None


def _likeness(words: tuple[str, ...], known: tuple[str, ...]) -> float:
    if words == known or "".join(words) == "".join(known):
        return 1.0
    if len(words) > len(known) and words[-len(known) :] == known:
        return 0.9  # customer_email ends in email
    if len(words) > len(known) and words[: len(known)] == known:
        return 0.85  # planName begins with plan
    return difflib.SequenceMatcher(None, "_".join(words), "_".join(known)).ratio() - 0.01


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORDS.findall(name))


def _columns(kind: EventType) -> Iterator[tuple[str, tuple[str, ...]]]:
    for field in kind.fields:
        yield field.column, field.names
    yield INSTANT, (INSTANT, *kind.instants)


def _filled(connection: apsw.Connection, kind: EventType) -> dict[str, int]:
    """By column, how many events of the type have it; under "" how many there are."""
    columns = [field.column for field in kind.fields]
    counts = ", ".join(f"count({column})" for column in columns)
    row: tuple[Any, ...] = connection.execute(
        f"select count(*), count(*) filter (where event_time_source = 'payload'), {counts}"
        " from inbox where event_type = ?",
        (kind.name,),
    ).fetchall()[0]
    return dict(zip(("", INSTANT, *columns), row, strict=True))


class _Quarantine:
    """What the open quarantined deliveries have and lack; counters by (event type, field)."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.deliveries: Counter[str] = Counter()
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.unreadable: Counter[tuple[str, str]] = Counter()
        self.missing: Counter[tuple[str, str]] = Counter()
        self.types: Types = {}
        newest = connection.execute(
            "select seq from quarantine where status = 'open' order by seq desc limit ?",
            (QUARANTINED_READ_MAX,),
        ).fetchall()
        for (seq,) in newest:  # one at a time: a body may have 1 MiB
            row: tuple[Any, ...] = connection.execute(
                "select event_type, problems, body from quarantine where seq = ?", (seq,)
            ).fetchall()[0]
            self._read(*row)

    def _read(self, event_type: str | None, problems: str, body: bytes) -> None:
        if event_type is None:
            self.deliveries["?"] += 1
            return
        self.deliveries[event_type] += 1
        for problem in json.loads(problems):
            counter = self.missing if problem["code"] == "missing" else self.unreadable
            counter[event_type, problem["field"]] += 1
        try:
            document = parse_object(body)
        except InvalidJsonError:
            return
        _note_types(self.types, event_type, document)
        names = list(_unknown_fields(document, TYPE_BY_NAME.get(event_type, OTHER_TYPE)))
        for name in names[:FIELD_NAMES_OF_A_DELIVERY_MAX]:
            key = (event_type, name[:128])
            if key in self.unknown or len(self.unknown) < FIELD_NAMES_MAX:
                self.unknown[key] += 1


def _read_stored_types(connection: apsw.Connection, types: Types) -> None:
    newest = connection.execute(
        "select seq from inbox order by seq desc limit ?", (STORED_READ_MAX,)
    ).fetchall()
    for (seq,) in newest:  # one at a time: a body may have 1 MiB
        row: tuple[Any, ...] = connection.execute(
            "select event_type, payload from inbox where seq = ?", (seq,)
        ).fetchall()[0]
        _note_types(types, row[0], parse_object(str(row[1]).encode()))


def _note_types(types: Types, event_type: str, document: dict[str, Any]) -> None:
    """Count the JSON type of every field of the contract, under the name it came by."""
    kind = TYPE_BY_NAME.get(event_type)
    if kind is None:
        return
    nested = document.get("data")
    for known in kind.fields:
        for place in (nested if isinstance(nested, dict) else {}, document):
            name = next((name for name in known.names if not is_absent(place.get(name))), None)
            if name is not None:
                key = kind.name, name, _OWN_TYPES[known.kind]
                types.setdefault(key, Counter())[_json_type(place[name])] += 1
                break


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "list"
    return "text" if type(value) is str else "number"  # a number is kept as its own text


def _differing(types: Types) -> Iterator[Differing]:
    for (event_type, name, own), found in sorted(types.items()):
        if set(found) != {own}:
            yield Differing(event_type, name, own, dict(found.most_common()))


def _unknown_fields(document: dict[str, Any], kind: EventType) -> Iterator[str]:
    known = {name for _, names in _columns(kind) for name in names} | ENVELOPE_KEYS
    yield from (name for name in document if name not in known)
    nested = document.get("data")
    if isinstance(nested, dict):
        inside = {"timestamp", "created_at"} if kind.takes_created_at_inside_data else set()
        known -= ENVELOPE_KEYS - {"event_id", INSTANT, *kind.instants, *inside}
        yield from (f"{_DATA}{name}" for name in nested if name not in known)


def _missing(kind: EventType, filled: dict[str, int], kept: _Quarantine) -> Iterator[Missing]:
    deliveries = filled[""] + kept.deliveries[kind.name]
    if not deliveries:
        return
    required = {field.column for field in kind.fields if field.is_required}
    for column, _ in _columns(kind):
        is_required = column in required
        lacking = filled[""] - filled[column]
        # A quarantined delivery may well have an optional field: nobody looked.
        count = kept.missing[kind.name, column] if is_required else lacking
        of = deliveries if is_required else filled[""]
        if count and (is_required or count == of):
            yield Missing(kind.name, column, is_required, count, of)


def _by_count(found: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _as_dict(observation: Observation) -> dict[str, Any]:
    return {
        "events": observation.events,
        "quarantined": observation.quarantined,
        "unknown": [vars(found) for found in observation.unknown],
        "unreadable": [vars(found) for found in observation.unreadable],
        "differing": [vars(found) for found in observation.differing],
        "missing": [vars(found) for found in observation.missing],
        "aliases": [
            {"event_type": found.event_type, "column": found.alias_of, "add": _name(found.field)}
            for found in observation.unknown
            if found.alias_of
        ],
    }


def _name(field: str) -> str:
    return field.removeprefix(_DATA)


def _show_contract(console: Console) -> None:
    for kind in CONTRACT:
        also = f" (also {', '.join(kind.aliases)})" if kind.aliases else ""
        console.print(f"{kind.name}{also}", style="bold")
        table = _table("field", "names, best first", "value")
        for field in kind.fields:
            mark = "" if field.is_required else "?"
            table.add_row(field.column + mark, ", ".join(field.names), _KINDS[field.kind])
        instants = ", ".join((INSTANT, *kind.instants))
        table.add_row(f"{INSTANT}?", instants, "RFC 3339 or Unix time")
        console.print(table)
        console.print()
    console.print(
        "? may be absent. The type stands under event, event_type or type; fields under data or"
        " beside it. Unknown fields are kept, unknown types stored as `other`.",
        style="dim",
    )


def _show_observation(console: Console, observation: Observation) -> None:
    if not observation.events and not observation.quarantined:
        console.print("nothing was received yet; `hooklake trigger plan_changed` sends something")
        return
    console.print("Received", style="bold")
    counted = _table("event", "stored", "in quarantine")
    for name in sorted({*observation.events, *observation.quarantined}):
        stored = observation.events.get(name, 0)
        counted.add_row(name, str(stored), str(observation.quarantined.get(name, 0)))
    console.print(counted)
    for title, headings, rows in _tables(observation):
        console.print()
        console.print(title if rows else f"{title}: none", style="bold", soft_wrap=True)
        if not rows:
            continue
        table = _table(*headings)
        for row in rows:
            table.add_row(*(Text(one_line(cell, 80)) for cell in row))
        console.print(table)


def _tables(
    observation: Observation,
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    yield (
        "Fields the contract does not know",
        ("event", "field", "times", "may be"),
        [
            (found.event_type, found.field, str(found.count), found.alias_of or "")
            for found in observation.unknown
        ],
    )
    yield (
        "Fields that could not be read",
        ("event", "field", "times"),
        [(found.event_type, found.column, str(found.count)) for found in observation.unreadable],
    )
    yield (
        "Fields sent as another type than their own",
        ("event", "field", "own type", "sent as"),
        [
            (
                found.event_type,
                found.field,
                found.own,
                ", ".join(f"{kind} {count:,}" for kind, count in found.types.items()),
            )
            for found in observation.differing
        ],
    )
    yield (
        "Fields that are missing: required ones, and those that never came",
        ("event", "field", "missing", "of"),
        [
            (
                found.event_type,
                found.column + ("" if found.is_required else "?"),
                str(found.missing),
                str(found.deliveries),
            )
            for found in observation.missing
        ],
    )
    yield (
        "Aliases to add to ingest/contract.py, if they mean the same",
        ("event", "add", "to the names of"),
        [
            (found.event_type, _name(found.field), found.alias_of)
            for found in observation.unknown
            if found.alias_of
        ],
    )


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
