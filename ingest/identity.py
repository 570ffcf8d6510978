"""Which event is this: ids where the sender gives none, and equality where it gives one twice.

Source: events.md, `event_id`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

Business = Sequence[str | bool | None]
"""The values of `contract.BUSINESS_COLUMNS` in their order, as canonical text."""

RENAME_DIGITS: Final = 12


def _encoder() -> Callable[[Any], str]:
    """Compact JSON. `JSONEncoder.encode` makes a C encoder at every call; this one is made once."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    escape = json.encoder.encode_basestring
    iterate = make(None, encoder.default, escape, None, ":", ",", False, False, True)
    return lambda value: "".join(iterate(value, 0))


_encode: Final = _encoder()
_quoted: Final[Callable[[str], str]] = json.encoder.encode_basestring


def canonical_json(business: Business) -> str:
    """A compact array: null, booleans, else text (amounts with two decimals)."""
    return _encode(business)


def fields_hash(event_type: str, business: Business, stated_instant: int | None) -> str:
    """What makes two rows of one id the same event, as sha256 hex.

    stated_instant: microseconds, only where the payload itself stated it.
    """
    return _digest(event_type, canonical_json(business), stated_instant)


def other_hash(sender_event: str, payload_sha256: str, stated_instant: int | None) -> str:
    """`fields_hash` of an event of unknown type: its exact bytes count."""
    return _digest(sender_event, payload_sha256, stated_instant)


def content_id(digest: str, instant: int | None, *, file_line: tuple[str, int] | None) -> str:
    """An id made of what the event says, for senders that give none.

    digest: `fields_hash` or `other_hash` without an instant. file_line: the sha256 of a backfill
    file and a line number, for rows timed by a date alone.
    """
    return _digest("id", digest, instant, *(file_line or ()))


def renamed_id(event_id: str, digest: str) -> str:
    """The id of another event that arrived under an id already taken."""
    return f"{event_id}~{digest[:RENAME_DIGITS]}"


def _digest(name: str, content: str, instant: int | None, *further: str | int) -> str:
    """sha256 hex of a compact array of these."""
    when = "null" if instant is None else instant
    rest = f",{_encode(further)[1:-1]}" if further else ""
    text = f"[{_quoted(name)},{_quoted(content)},{when}{rest}]"
    return sha256(text.encode()).hexdigest()
