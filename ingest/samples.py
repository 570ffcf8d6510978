"""Realistic bodies of every event, in any dialect, with fields set and left out by hand.

The samples tell one linked story of one account, so that all six in a row move every page. A field
set by hand takes the place of the sample's, whichever of its names the sample uses.
Source: seed.txt (UChat's lesson "Test webhook events") and events.md's dialects.
"""

from __future__ import annotations

import calendar
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from ingest.contract import ENVELOPE_KEYS, TYPE_BY_NAME, TYPE_KEYS, EventType
from ingest.errors import UsageError
from ingest.payloads import SEED_DIALECT, Dialect, Happening, Value, random_dialect, render

OWNER: Final[Mapping[str, Value]] = {
    "owner_id": "user456",
    "owner_email": "ada.lovelace@example.com",
}
WORKSPACE_ID: Final = "abc123"
LESSON: Final = "lesson"
RANDOM: Final = "random"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_WORDS: Final = {"true": True, "false": False, "null": None}

# None states an instant that its event has no field of its own for: several triggered within one
# second would be one event to whoever proves himself with a token, which signs no id.
_DIALECTS: Final[Mapping[str, Dialect]] = {
    LESSON: replace(
        SEED_DIALECT,
        envelope_instant=None,
        names={**SEED_DIALECT.names, ("user_registered", "owner_id"): "user_id"},
    ),
    "flat": Dialect(
        type_key="event_type",
        is_nested=False,
        envelope_instant=None,
        instant_names={"user_registered": "registered_at", "workspace_deleted": "deleted_at"},
    ),
    "unix": Dialect(
        type_key="type",
        envelope_instant=None,
        instant_style="unix",
        booleans=(0, 1),
        is_date_instant=True,
        names={"plan_id": "plan"},
        instant_names={"user_registered": "created_at", "workspace_deleted": "deleted_at"},
    ),
    "text": Dialect(
        envelope_instant=None,
        instant_style="blank",
        booleans=("off", "on"),
        is_amount_text=True,
        names={"owner_email": "user_email"},
        instant_names={
            "user_registered": "registration_time",
            "workspace_deleted": "deletion_timestamp",
        },
        type_names={"overdue_payment": "overdue"},
    ),
}
DIALECTS: Final = (*_DIALECTS, RANDOM)
"""`lesson` spells as seed.txt does; `random` spells every body differently."""


def sample(event: str, now: datetime, dialect: str = LESSON) -> dict[str, Any]:
    """A realistic body of the event, dated by `now` (UTC).

    Raises: UsageError for a name that has no sample, and for an unknown dialect.
    """
    kind = TYPE_BY_NAME.get(event)
    name = kind.name if kind else event
    make = _SAMPLES.get(name)
    if make is None:
        raise UsageError(
            f"there is no sample of the event {event!r}: choose one of {', '.join(_SAMPLES)};"
            " another name can be sent with --set event=NAME, another body with --raw FILE"
        )
    spelling = dialect_of(dialect)
    if name != event:
        spelling = replace(spelling, type_names={**spelling.type_names, name: event})
    return render(Happening(name, now, make(now)), spelling)


def dialect_of(name: str) -> Dialect:
    """The named way of spelling. Raises: UsageError."""
    if name == RANDOM:
        return random_dialect(random.Random())  # noqa: S311  (no secret)
    if name not in _DIALECTS:
        raise UsageError(f"there is no dialect {name!r}: choose one of {', '.join(DIALECTS)}")
    return _DIALECTS[name]


def with_field(payload: dict[str, Any], event: str, setting: str) -> dict[str, Any]:
    """The payload with one `field=value` set.

    `data.field` and other dotted names say the place; a plain name goes where the sample has its
    fields, under the spelling it uses for that one. true, false, null and numbers are sent as
    JSON, text in double quotes as that text, everything else as text as it stands.

    Raises: UsageError where there is no `=` or no name before it.
    """
    name, is_given, text = setting.partition("=")
    if not is_given or not all(name.strip().split(".")):
        raise UsageError(f"cannot set {setting!r}: write --set field=value")
    changed: dict[str, Any] = json.loads(json.dumps(payload))
    parents, last = _place_of(changed, event, name)
    place = changed
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[_spelling(place, _families(event, parents), last)] = typed(text)
    return changed


def without_field(payload: dict[str, Any], event: str, name: str) -> dict[str, Any]:
    """The payload without one field, by any of its names; dotted names say the place.

    Raises: UsageError where the sample has no such field.
    """
    changed: dict[str, Any] = json.loads(json.dumps(payload))
    parents, last = _place_of(changed, event, name)
    place: Any = changed
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    names = {last}
    for family in _families(event, parents):
        names |= set(family) if last in family else set()
    found = [key for key in place if key in names] if isinstance(place, dict) else []
    if not found:
        fields = changed.get("data")
        listed = ", ".join([*changed, *(fields if isinstance(fields, dict) else ())])
        raise UsageError(f"cannot remove {name!r}: the sample has {listed}")
    for key in found:
        del place[key]
    return changed


def typed(text: str) -> Any:
    """A value typed at a command line as JSON has it."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _NUMBER.fullmatch(text):
            value = json.loads(text)
            return value if abs(value) != float("inf") else text
        if len(text) > 1 and text[0] == text[-1] == '"':
            return json.loads(text)
    except ValueError:
        return text
    return text


def _place_of(payload: Mapping[str, Any], event: str, name: str) -> tuple[list[str], str]:
    """The objects that lead to a field, and its name; plain names are where the fields are."""
    *parents, last = name.strip().split(".")
    is_envelope = (parents or [last])[0] in ENVELOPE_KEYS
    if not parents and _is_own_instant(event, last):
        is_envelope = False
    if is_envelope or _is_flat(payload):
        return parents, last
    return ["data", *parents], last


def _is_flat(payload: Mapping[str, Any]) -> bool:
    """Whether fields stand beside the type; a sample without any is taken for a nested one."""
    return "data" not in payload and bool(set(payload) - ENVELOPE_KEYS)


def _is_own_instant(event: str, name: str) -> bool:
    kind = TYPE_BY_NAME.get(event)
    return kind is not None and name in kind.instants


def _spelling(place: dict[str, Any], families: list[tuple[str, ...]], name: str) -> str:
    """The key to write; a different spelling of the same field is taken out of the sample."""
    for names in families:
        used = next((key for key in place if key in names), None)
        if name not in names or used is None or used == name:
            continue
        if name == names[0] or name == "account_id":
            return used
        del place[used]
    return name


def _families(event: str, parents: list[str]) -> list[tuple[str, ...]]:
    """The names that mean the same in that place, best first."""
    kind = TYPE_BY_NAME.get(event)
    if parents not in ([], ["data"]):
        return []
    families = [TYPE_KEYS] if not parents else []
    return families + (_field_families(kind) if kind else [])


def _field_families(kind: EventType) -> list[tuple[str, ...]]:
    fields = [
        (*known.names, "account_id") if known.column == "account_id" else known.names
        for known in kind.fields
    ]
    return [*fields, kind.instants] if kind.instants else fields


def _registered(_now: datetime) -> dict[str, Value]:
    return {**OWNER, "source": "landing_page"}


def _workspace_created(_now: datetime) -> dict[str, Value]:
    return {"workspace_id": WORKSPACE_ID, **OWNER, "workspace_name": "My Workspace"}


def _workspace_deleted(_now: datetime) -> dict[str, Value]:
    return {"workspace_id": WORKSPACE_ID, **OWNER}


def _plan_changed(now: datetime) -> dict[str, Value]:
    return {
        "plan_id": "business",
        "owner_email": OWNER["owner_email"],
        "auto_renew": True,
        "start_date": now.date(),
        "end_date": in_a_month(now.date()),
    }


def _plan_renewed(now: datetime) -> dict[str, Value]:
    return {
        "renewal_date": now.date(),
        "plan_id": "business",
        "owner_email": OWNER["owner_email"],
        "end_date": in_a_month(now.date()),
    }


def _overdue_payment(now: datetime) -> dict[str, Value]:
    return {
        "payment_id": f"pay-{now:%Y%m%d}",
        "amount": Decimal("49.99"),
        "currency": "USD",
        "due_date": now.date(),
        "owner_email": OWNER["owner_email"],
        "auto_renew": False,
    }


def _no_enough_credit(_now: datetime) -> dict[str, Value]:
    return {**OWNER, "workspace_id": WORKSPACE_ID, "credit": 0}


_SAMPLES: Final[dict[str, Callable[[datetime], dict[str, Value]]]] = {
    "user_registered": _registered,
    "workspace_created": _workspace_created,
    "workspace_deleted": _workspace_deleted,
    "plan_changed": _plan_changed,
    "plan_renewed": _plan_renewed,
    "overdue_payment": _overdue_payment,
    "no_enough_credit": _no_enough_credit,
}
SAMPLE_NAMES: Final = tuple(_SAMPLES)


def in_a_month(day: date) -> date:
    """The same day of the next month, its last where that month is shorter."""
    year, month = divmod(12 * day.year + day.month, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
