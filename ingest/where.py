"""Conditions on what a delivery's body says: `plan=business`, `amount>=50`, `!workspace_id`.

    FIELD=VALUE  !=  <  <=  >  >=   numbers as numbers where both are, else text in any case
    FIELD~TEXT                      the value holds the text, in any case
    FIELD, !FIELD                   it is there, it is not

A field is named by any of its names in the contract (`plan` is `plan_id` too), by any other name
beside the type or under `data`, or by a dotted path (`data.utm.campaign`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ingest.contract import CONTRACT
from ingest.errors import UsageError
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.values import is_absent

_COMPARED: Final = re.compile(r"([^=<>!~\s]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*)", re.DOTALL)
_PRESENT: Final = re.compile(r"(!?)([^=<>!~\s]+)")


@dataclass(frozen=True)
class Condition:
    """operator: one of = != < <= > >= ~, or `there` and `absent` without a value."""

    field: str
    operator: str
    value: str = ""

    def holds(self, body: bytes | None) -> bool:
        """Whether it is true of a body; of one that is no JSON object only absence can be."""
        try:
            document = {} if body is None else parse_object(body)
        except InvalidJsonError:
            document = {}
        found = _lookup(document, self.field)
        if self.operator in ("there", "absent"):
            return (found is None) == (self.operator == "absent")
        return found is not None and _compare(found, self.operator, self.value)


def parse(text: str) -> Condition:
    """Raises: UsageError."""
    compared = _COMPARED.fullmatch(text.strip())
    if compared:
        return Condition(compared[1], compared[2], compared[3].strip())
    present = _PRESENT.fullmatch(text.strip())
    if present:
        return Condition(present[2], "absent" if present[1] else "there")
    raise UsageError(
        f"{text!r} is no condition: write --where plan=business, amount>=50, source~webinar,"
        " workspace_id or !workspace_id"
    )


def _lookup(document: Mapping[str, Any], field: str) -> str | None:
    """The first value that is there, as text; None where none is."""
    nested = document.get("data")
    for place in (nested if isinstance(nested, dict) else {}, document):
        for name in _names(field):
            value: Any = place.get(name)
            if not is_absent(value):
                return _text(value)
    value = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return None if is_absent(value) else _text(value)


def _names(field: str) -> Iterator[str]:
    yield field
    for kind in CONTRACT:
        for known in kind.fields:
            if field in known.names or field == known.column:
                yield from known.names


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _compare(found: str, operator: str, wanted: str) -> bool:
    if operator == "~":
        return wanted.casefold() in found.casefold()
    left, right = _number(found), _number(wanted)
    if left is not None and right is not None:
        order = (left > right) - (left < right)
    else:
        one, other = found.casefold(), wanted.casefold()
        order = (one > other) - (one < other)
    return {
        "=": order == 0,
        "!=": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[operator]


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
