"""An event in the sender's words: the same happening in any dialect of events.md.

A happening names its fields as the contract does (`owner_email` for the account); a dialect says
how they are spelt, nested and typed. Rendering loses nothing: whatever dialect, the receiver reads
the same row. Instants are whole seconds, so that Unix time is exact as well.
Source: seed.txt (UChat's lesson "Test webhook events") and events.md's dialects.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, Literal

from ingest.contract import TYPE_BY_NAME

Value = str | bool | int | Decimal | date | None
InstantStyle = Literal["rfc3339", "blank", "unix", "unix_ms"]


@dataclass(frozen=True)
class Happening:
    """Something that happened once. `event_id` is stable; None: the sender gives none."""

    event_type: str
    occurred_at: datetime
    fields: Mapping[str, Value]
    event_id: str | None = None


@dataclass(frozen=True)
class Dialect:
    """How one sender spells its events.

    `names`: the spelling of a field, by (event type, field) or by field alone.
    `instant_names`: the field inside the body's fields that carries the moment, by event type;
    for all others it is `envelope_instant` at the top level, or nowhere where that is None.
    """

    type_key: str = "event"
    is_nested: bool = True
    id_key: str = "id"
    envelope_instant: str | None = "occurred_at"
    instant_style: InstantStyle = "rfc3339"
    booleans: tuple[Any, Any] = (False, True)
    is_amount_text: bool = False
    is_date_instant: bool = False
    is_email_shouted: bool = False
    names: Mapping[str | tuple[str, str], str] = field(default_factory=dict)
    instant_names: Mapping[str, str] = field(default_factory=dict)
    type_names: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, event_type: str, column: str) -> str:
        return self.names.get((event_type, column), self.names.get(column, column))


SEED_DIALECT: Final = Dialect(
    names={("user_registered", "owner_email"): "email"},
    instant_names={
        "user_registered": "registration_timestamp",
        "workspace_deleted": "deletion_time",
    },
)
"""The dialect of seed.txt's samples."""


def render(happening: Happening, dialect: Dialect = SEED_DIALECT) -> dict[str, Any]:
    """The body as a dict; a field that is None is left out."""
    event_type = happening.event_type
    fields = {
        dialect.name_of(event_type, name): _rendered(name, value, dialect)
        for name, value in happening.fields.items()
        if value is not None
    }
    envelope: dict[str, Any] = {
        dialect.type_key: dialect.type_names.get(event_type, event_type),
    }
    if happening.event_id is not None:
        envelope[dialect.id_key if dialect.is_nested else "event_id"] = happening.event_id
    instant = _instant(happening.occurred_at, dialect.instant_style)
    if event_type in dialect.instant_names:
        fields[dialect.instant_names[event_type]] = instant
    elif dialect.envelope_instant is not None:
        envelope[dialect.envelope_instant] = instant
    return envelope | ({"data": fields} if dialect.is_nested else fields)


def body_bytes(payload: Mapping[str, Any]) -> bytes:
    """The payload as it goes over the wire: compact UTF-8."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def random_dialect(chance: random.Random) -> Dialect:
    """Any mixture of events.md's dialects."""
    instants = {
        name: chance.choice(kind.instants)
        for name, kind in TYPE_BY_NAME.items()
        if kind.instants and chance.random() < 0.5
    }
    is_nested = chance.random() < 0.6
    return Dialect(
        type_key=chance.choice(("event", "event_type", "type")),
        is_nested=is_nested,
        id_key=chance.choice(("event_id", "id")),
        envelope_instant=chance.choice(("occurred_at", "timestamp", "created_at")),
        instant_style=chance.choice(("rfc3339", "blank", "unix", "unix_ms")),
        booleans=chance.choice(
            ((False, True), (0, 1), ("0", "1"), ("off", "on"), ("no", "YES"), ("False", "TRUE"))
        ),
        is_amount_text=chance.random() < 0.5,
        is_date_instant=chance.random() < 0.3,
        is_email_shouted=chance.random() < 0.2,
        names=_random_names(chance),
        instant_names=instants,
        type_names={"overdue_payment": chance.choice(("overdue_payment", "overdue"))},
    )


def _random_names(chance: random.Random) -> dict[str | tuple[str, str], str]:
    names: dict[str | tuple[str, str], str] = {}
    for kind in dict.fromkeys(TYPE_BY_NAME.values()):
        for known in kind.fields:
            names[kind.name, known.names[0]] = chance.choice(known.names)
    return names


def _rendered(name: str, value: Value, dialect: Dialect) -> Any:
    if isinstance(value, bool):
        return dialect.booleans[value]
    if isinstance(value, Decimal):
        return f"{value:.2f}" if dialect.is_amount_text else float(value)
    if isinstance(value, date):
        if dialect.is_date_instant:
            return _instant(datetime.combine(value, time(12), UTC), dialect.instant_style)
        return value.isoformat()
    if name == "owner_email" and value and dialect.is_email_shouted:
        return f" {str(value).upper()} "
    return value


def _instant(at: datetime, style: InstantStyle) -> str | int:
    match style:
        case "unix":
            return int(at.timestamp())
        case "unix_ms":
            return int(at.timestamp()) * 1000
        case "blank":
            return at.strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return at.strftime("%Y-%m-%dT%H:%M:%SZ")
