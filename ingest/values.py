"""Reads one field's value: text, boolean, amount, date or instant, in every dialect.

Each reader takes a value of `strict_json.parse_object` and returns what is stored, or None where it
is absent, blank or cannot be read. Instants are microseconds since 1970 UTC; dates
and amounts are canonical text (`2024-04-01`, `49.90`).

Source: events.md, "Dialects" and "Tolerance".
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from ingest.strict_json import Number

_NUMERIC: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_CHARACTERS: Final = len("2024-04-01")
_DAYS_KEPT: Final = 4_096
_INSTANT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)
_NUMERIC_CHARACTERS_MAX: Final = 64
_AMOUNT_LIMIT: Final = Decimal(10) ** 16
_AMOUNT_DECIMALS_MAX: Final = 2
_MILLISECONDS_FROM: Final = Decimal(10) ** 11
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX_FIRST: Final = Decimal(int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()))
_UNIX_END: Final = Decimal(int(datetime(2101, 1, 1, tzinfo=UTC).timestamp()))
_LEAP_SECOND: Final = 60
PLAN_KEYS: Final = ("plan_id", "id", "name")
"""Where an object that describes a plan may name it, best first."""
_WORDS: Final = {
    "true": True,
    "1": True,
    "on": True,
    "yes": True,
    "false": False,
    "0": False,
    "off": False,
    "no": False,
}


def is_absent(value: Any) -> bool:
    """Null, empty and blank text all count as not given."""
    return value is None or (isinstance(value, str) and not value.strip())


def read_text(value: Any) -> str | None:
    """Trimmed text; a number as it was written."""
    return str.strip(value) or None if isinstance(value, str) else None


def read_account(value: Any) -> str | None:
    """An e-mail as account_id; any text is one, since the sender's own samples are masked."""
    return value.strip().lower() or None if isinstance(value, str) else None


def read_plan(value: Any) -> str | None:
    """A plan's id, also out of an object that describes the plan."""
    if isinstance(value, dict):
        for key in PLAN_KEYS:
            if isinstance(value.get(key), str) and not is_absent(value[key]):
                return read_plan(value[key])
        return None
    return value.strip().lower() or None if isinstance(value, str) else None


def read_boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def read_amount(value: Any) -> str | None:
    """A decimal of at most two places below 10^16, as text with both places."""
    number = _decimal(value)
    if number is None or abs(number) >= _AMOUNT_LIMIT:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_AMOUNT_DECIMALS_MAX:
        return None
    return f"{number:.2f}" if number else "0.00"


def read_date(value: Any) -> str | None:
    """A day; an instant counts by its UTC day."""
    if isinstance(value, str) and not isinstance(value, Number):
        text = value.strip()
        if len(text) == _DATE_CHARACTERS and text[4] == "-" and _is_day(text):
            return text
    instant = read_instant(value)
    if instant is None:
        return None
    return (_EPOCH + timedelta(microseconds=instant)).date().isoformat()


def read_instant(value: Any) -> int | None:
    """RFC 3339 (a blank for the T, no offset: UTC) or Unix time; a bare date is no instant."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    match = None if isinstance(value, Number) else _INSTANT.fullmatch(text)
    return _unix_instant(text) if match is None else _calendar_instant(match)


def date_as_instant(day: str) -> int:
    """Midnight UTC of a canonical date, in microseconds."""
    moment = datetime.combine(date.fromisoformat(day), datetime.min.time(), tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


@lru_cache(_DAYS_KEPT)
def _is_day(text: str) -> bool:
    """Whether ten characters are a day of the calendar; the same few come again and again."""
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _decimal(value: Any) -> Decimal | None:
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) > _NUMERIC_CHARACTERS_MAX or not _NUMERIC.fullmatch(text):
        return None
    return Decimal(text)


def _unix_instant(text: str) -> int | None:
    number = _decimal(text)
    if number is None:
        return None
    seconds = number if number < _MILLISECONDS_FROM else number / 1000
    if not _UNIX_FIRST <= seconds < _UNIX_END:
        return None
    return int(seconds * 1_000_000)


def _calendar_instant(match: re.Match[str]) -> int | None:
    day, hour, minute, second, fraction, _zulu, sign, offset_hour, offset_minute = match.groups()
    seconds = int(second)
    try:
        moment = datetime(
            int(day[:4]),
            int(day[5:7]),
            int(day[8:]),
            int(hour),
            int(minute),
            min(seconds, _LEAP_SECOND - 1) if seconds <= _LEAP_SECOND else seconds,
            int((fraction or "0")[:6].ljust(6, "0")),
            tzinfo=UTC,
        )
        if seconds == _LEAP_SECOND:
            moment += timedelta(seconds=1)
        if sign:
            if int(offset_minute) >= 60 or int(offset_hour) >= 24:
                return None
            offset = timedelta(hours=int(offset_hour), minutes=int(offset_minute))
            moment = moment.replace(tzinfo=timezone(offset if sign == "+" else -offset))
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None
