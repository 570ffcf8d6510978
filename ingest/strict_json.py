"""One JSON object, read strictly: what two parsers could read differently is refused.

Refused: anything but UTF-8, a byte order mark, NaN and Infinity, a key given twice, a lone
surrogate or NUL even as an escape, nesting deeper than 64, and any document that is no object.
Numbers keep the text they were written as.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from ingest.contract import DEPTH_MAX

_TEXTS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # possessive: linear time
_BLANKS: Final = " \t\n\r"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))


class Number(str):
    """A JSON number as the text the sender wrote: 9007199254740993 and 1.10 stay what they are."""

    __slots__ = ()


class InvalidJsonError(ValueError):
    """`code`: `invalid_json` or `too_deep`; the message says where and what was found."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def parse_object(body: bytes) -> dict[str, Any]:
    """The document's one object: dicts, lists, str, `Number`, bool and None.

    Raises: InvalidJsonError.
    """
    if not body:
        raise InvalidJsonError("invalid_json", "the body is empty; send one JSON object")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJsonError(
            "invalid_json", f"byte {error.start} is not UTF-8; send the JSON as UTF-8"
        ) from None
    if text[0] == "\ufeff":
        raise InvalidJsonError(
            "invalid_json", "the body begins with a byte order mark; send it without one"
        )
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX:
        _check_depth(body)
    try:
        document = _read(text)
    except json.JSONDecodeError as error:
        raise InvalidJsonError(
            "invalid_json", f"{error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if type(document) is not dict:
        raise InvalidJsonError(
            "invalid_json", "the body is JSON but no object; send one {...} for one event"
        )
    if "\\" in text and "\\u" in text:
        _check_strings(document)
    return document


def _read(text: str) -> Any:
    """What `json` reads; an object is read once, whatever blanks follow it."""
    if text[0] == "{":
        document, end = _DECODER.raw_decode(text)
        if not text[end:].strip(_BLANKS):
            return document
    return _DECODER.decode(text)


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidJsonError(
                    "invalid_json", f"the key {_shown(key)} is given twice in one object"
                )
            seen.add(key)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJsonError("invalid_json", f"{name} is not JSON; send a number, text or null")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object_of,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)


def _too_deep() -> InvalidJsonError:
    return InvalidJsonError(
        "too_deep", f"objects and lists are nested deeper than {DEPTH_MAX} levels"
    )


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _TEXTS.sub(b"", body).translate(None, _NO_BRACKETS):
        if bracket in b"{[":
            depth += 1
            if depth > DEPTH_MAX:
                raise _too_deep()
        else:
            depth -= 1


def _check_strings(document: dict[str, Any]) -> None:
    for text in _strings(document):
        if "\x00" in text:
            raise InvalidJsonError("invalid_json", "a text holds the character NUL (\\u0000)")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidJsonError(
                "invalid_json", "a text holds half of a surrogate pair (\\ud800 to \\udfff)"
            ) from None


def _strings(document: dict[str, Any]) -> Iterator[str]:
    """Every key and text, in no particular order."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _shown(text: str) -> str:
    """`text` for an error message: short, on one line, quotes and escapes visible."""
    return json.dumps(text[:64])
