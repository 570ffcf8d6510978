"""Whom a body seems to be about, as far as it can be read: for what is no event, and may never be.

Pure. The names are the contract's; a body that is no JSON is searched for whatever looks like an
e-mail address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ingest.contract import OTHER_TYPE
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.values import is_absent, read_account, read_text

_NAMES: Final = {field.column: field.names for field in OTHER_TYPE.fields}
_CHARACTER: Final = r"[^\s\"'<>()\[\]{},;:\\/|=&?]"
_LOCAL_LENGTH_MAX: Final = 128
_ADDRESS: Final = re.compile(f"{_CHARACTER}{{1,{_LOCAL_LENGTH_MAX}}}@{_CHARACTER}{{1,255}}")
_AT: Final = re.compile(f"@(?<={_CHARACTER}@)(?={_CHARACTER})")
_CHARACTERS: Final = re.compile(f"{_CHARACTER}*")
ADDRESSES_MAX: Final = 100


def stated_account(body: bytes) -> str | None:
    """The account, None where the body is no JSON object or names none."""
    try:
        document = parse_object(body)
    except InvalidJsonError:
        return None
    found = _first(document, "account_id")
    return None if found is None else read_account(found)


def stated_owner(body: bytes) -> str | None:
    """The owner's id at the sender, None where the body is no JSON object or names none."""
    try:
        document = parse_object(body)
    except InvalidJsonError:
        return None
    found = _first(document, "owner_id")
    return None if found is None else read_text(found)


def addresses(text: str) -> list[str]:
    """What looks like an e-mail address, as account ids, the first 100 of them."""
    found: dict[str, None] = {}
    for address in _seeming_addresses(text):
        found[address.rstrip(".").lower()] = None
        if len(found) == ADDRESSES_MAX:
            break
    return list(found)


def _seeming_addresses(text: str) -> Iterator[str]:
    """What `_ADDRESS` finds, from one `@` to the next: by itself it tries 128 characters from every
    one of a text, and a forgotten person's tombstone has that done while the ledger is locked."""
    position = 0
    while at := _AT.search(text, position + 1):
        before = text[max(position, at.start() - _LOCAL_LENGTH_MAX) : at.start()]
        local = _CHARACTERS.match(before[::-1])
        assert local is not None
        match = _ADDRESS.match(text, at.start() - local.end())
        assert match is not None
        yield match[0]
        position = match.end()


def _first(document: dict[str, object], column: str) -> object | None:
    nested = document.get("data")
    for place in (nested if isinstance(nested, dict) else {}, document):
        for name in _NAMES[column]:
            if not is_absent(place.get(name)):
                return place[name]
    return None
