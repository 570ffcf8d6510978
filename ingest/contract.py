"""The event contract as tables: types, fields, aliases, and the one row everything is stored as.

Source: events.md's tables, from UChat's lesson "Test webhook events" (seed.txt), read 2026-11.
The lesson's samples contradict each other, so every spelling below is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

OTHER: Final = "other"
"""The stored type of an event whose name is not known; its own name is kept in sender_event."""

Kind = Literal["account", "text", "plan", "boolean", "amount", "date"]


@dataclass(frozen=True)
class Field:
    """One business column of an event and the names it may arrive under, best first."""

    column: str
    names: tuple[str, ...]
    kind: Kind
    is_required: bool = False

    @property
    def label(self) -> str:
        """The names for a person: `owner_email (also email, user_email)`."""
        first, *others = self.names
        return f"{first} (also {', '.join(others)})" if others else first


@dataclass(frozen=True, eq=False)
class EventType:
    """`instants`: names of the event's own moment, best first (`occurred_at` goes before them)."""

    name: str
    fields: tuple[Field, ...]
    instants: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    takes_created_at_inside_data: bool = False

    @cached_property
    def known_names(self) -> frozenset[str]:
        """Names inside `data` that mean something for this type."""
        inside = ("timestamp", "created_at") if self.takes_created_at_inside_data else ()
        fields = (name for wanted in self.fields for name in wanted.names)
        return frozenset((*fields, *self.instants, *inside))


_EMAIL: Final = ("owner_email", "email", "user_email")
_ACCOUNT: Final = Field("account_id", _EMAIL, "account", is_required=True)
_ACCOUNT_OPTIONAL: Final = Field("account_id", _EMAIL, "account")
_OWNER: Final = Field("owner_id", ("owner_id", "user_id"), "text")
_WORKSPACE: Final = Field("workspace_id", ("workspace_id",), "text")
_WORKSPACE_REQUIRED: Final = Field("workspace_id", ("workspace_id",), "text", is_required=True)
_AUTO_RENEW: Final = Field("auto_renew", ("auto_renew",), "boolean")
_END_DATE: Final = Field("end_date", ("end_date",), "date")

CONTRACT: Final[tuple[EventType, ...]] = (
    EventType(
        "user_registered",
        (_ACCOUNT, _OWNER, Field("source", ("source",), "text")),
        instants=(
            "registered_at",
            "registration_timestamp",
            "registration_time",
            "created_at",
            "timestamp",
        ),
        takes_created_at_inside_data=True,
    ),
    EventType(
        "workspace_created",
        (
            _ACCOUNT,
            _OWNER,
            _WORKSPACE_REQUIRED,
            Field("workspace_name", ("workspace_name",), "text"),
        ),
        takes_created_at_inside_data=True,
    ),
    EventType(
        "workspace_deleted",
        (_ACCOUNT_OPTIONAL, _OWNER, _WORKSPACE_REQUIRED),
        instants=("deleted_at", "deletion_time", "deletion_timestamp"),
    ),
    EventType(
        "plan_changed",
        (
            _ACCOUNT,
            _OWNER,
            _WORKSPACE,
            Field("plan_id", ("plan_id", "plan"), "plan", is_required=True),
            _AUTO_RENEW,
            Field("start_date", ("start_date",), "date"),
            _END_DATE,
        ),
    ),
    EventType(
        "plan_renewed",
        (
            _ACCOUNT,
            _OWNER,
            _WORKSPACE,
            Field("plan_id", ("plan_id", "plan_details", "plan"), "plan"),
            _END_DATE,
            Field("renewal_date", ("renewal_date",), "date"),
        ),
    ),
    EventType(
        "overdue_payment",
        (
            _ACCOUNT,
            _OWNER,
            _WORKSPACE,
            Field("payment_id", ("payment_id",), "text"),
            Field("currency", ("currency",), "text"),
            _AUTO_RENEW,
            Field("amount", ("amount",), "amount"),
            Field("due_date", ("due_date",), "date"),
        ),
        aliases=("overdue",),
    ),
)

OTHER_TYPE: Final = EventType(OTHER, (_ACCOUNT_OPTIONAL, _OWNER, _WORKSPACE))
"""Nothing is demanded of an unknown event; who and where are kept if they can be read."""

EVENT_TYPES: Final[tuple[str, ...]] = tuple(kind.name for kind in CONTRACT)
TYPE_BY_NAME: Final[dict[str, EventType]] = {
    name: kind for kind in CONTRACT for name in (kind.name, *kind.aliases)
}

TYPE_KEYS: Final = ("event", "event_type", "type")
ENVELOPE_KEYS: Final = frozenset(
    (*TYPE_KEYS, "data", "event_id", "id", "occurred_at", "timestamp", "created_at")
)

BUSINESS_COLUMNS: Final = (
    "account_id",
    "owner_id",
    "workspace_id",
    "workspace_name",
    "source",
    "plan_id",
    "payment_id",
    "currency",
    "auto_renew",
    "amount",
    "start_date",
    "end_date",
    "renewal_date",
    "due_date",
)
"""What an event says, in the order that ids and equality are computed over."""

PARTITION_COLUMNS: Final = ("event_type", "event_month")
FILE_COLUMNS: Final = (
    "event_id",
    "sender_event",
    "occurred_at",
    "event_time_source",
    "received_at",
    "origin",
    "delivery_id",
    "batch_id",
    "node",
    "seq",
    *BUSINESS_COLUMNS,
    "payload",
)
"""The columns inside a lake file, in order; the partition columns are in its path."""

LAKE_COLUMNS: Final = (FILE_COLUMNS[0], *PARTITION_COLUMNS, *FILE_COLUMNS[1:])
"""The columns of one stored row, in order."""

ID_CHARACTERS_MAX: Final = 256
DEPTH_MAX: Final = 64
