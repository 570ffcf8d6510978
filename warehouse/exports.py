"""Reads exported history a row at a time, or in pieces of many, in bounded memory.

A line is a body as it was received, or `{"body": …, "received_at": …, "headers": …}` around one; an
object given as the body keeps its exact bytes. Blank lines are passed over but counted as lines.
Lines of `hooklake log --json --bodies` are the deliveries they tell of.
Source: events.md, "Tolerance" and "One stored row".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ingest.contract import TYPE_KEYS
from ingest.parse import Problem
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.values import is_absent, read_instant
from warehouse.sources import (
    ExportError,
    Source,
    TableOptions,
    find_files,
    guarded,
    opened,
    recognise,
)
from warehouse.text_lines import Piece, pieces

__all__ = ["Export", "ExportError", "Row", "examine", "rows", "unwrap"]

WRAPPING_BYTES_MAX: Final = 64 * 1024
"""What headers and receipt may add to a body on its line."""
ELEMENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one element of a JSON array; of a longer one nothing tells where the next begins."""
QUARANTINED: Final = frozenset(("body", "errors", "body_bytes", "received_at"))
LOGGED: Final = frozenset(("seq", "rejection_id", "verdict", "received_at", "landed_at"))
"""What every line of `hooklake log --json` has."""
_ESCAPES_FACTOR: Final = 2
_TIMESTAMP: Final = re.compile(r"[0-9]{10}")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_ID_HEADERS: Final = ("webhook-id", "svix-id")
_TIMESTAMP_HEADERS: Final = ("webhook-timestamp", "svix-timestamp")


@dataclass(frozen=True)
class Export:
    """A file to load. sha256, lines and bytes: of its lines, however they are packed."""

    source: Source
    sha256: str
    lines: int
    bytes: int

    @property
    def path(self) -> Path:
        return self.source.path


@dataclass(frozen=True)
class Row:
    """One line. Instants in microseconds UTC; `problem`: why its body cannot even be read."""

    line: int
    body: bytes
    own_received_at: int | None = None
    signed_id: str | None = None
    signed_at: int | None = None
    problem: Problem | None = None


def examine(
    paths: Sequence[Path],
    on_bytes: Callable[[int], None] = lambda _count: None,
    options: TableOptions | None = None,
    skipped: Collection[Path] = (),
) -> list[Export]:
    """Every file of the paths, each read once whole for its checksum.

    skipped: files that are passed over in folders.
    Raises: ExportError naming the first path that cannot be loaded, and why.
    """
    exports = []
    sources = [recognise(path, options or TableOptions()) for path in find_files(paths, skipped)]
    for source in sources:
        digest, lines, size, last = sha256(), 0, 0, b"\n"
        with opened(source, element_bytes_max=ELEMENT_BYTES_MAX) as read:
            while chunk := guarded(source.path, read, 1 << 20):
                digest.update(chunk)
                lines += chunk.count(b"\n")
                size += len(chunk)
                last = chunk[-1:]
                on_bytes(len(chunk))
        exports.append(Export(source, digest.hexdigest(), lines + (last != b"\n"), size))
    return exports


def text_pieces(export: Export, body_bytes_max: int) -> Iterator[Piece]:
    """The export's text in pieces of whole lines, in order."""
    with opened(export.source, element_bytes_max=ELEMENT_BYTES_MAX) as read:
        yield from pieces(
            lambda size: guarded(export.path, read, size),
            line_bytes_max=_line_bytes_max(body_bytes_max),
            kept_bytes=body_bytes_max,
        )


def rows(export: Export, body_bytes_max: int) -> Iterator[Row]:
    """The export's rows in order; a line too long for a body is a row with a problem."""
    for piece in text_pieces(export, body_bytes_max):
        if piece.is_cut:
            yield cut_row(piece, body_bytes_max)
            continue
        for number, text in enumerate(piece.text.split(b"\n"), piece.first_line):
            row = row_of(number, text, body_bytes_max)
            if row is not None:
                yield row


def cut_row(piece: Piece, body_bytes_max: int) -> Row:
    """The row of a line of which only the beginning was read."""
    return Row(piece.first_line, piece.text, problem=_too_long(body_bytes_max))


def row_of(number: int, text: bytes, body_bytes_max: int) -> Row | None:
    """The row of one line, None for a blank one."""
    if len(text) > _line_bytes_max(body_bytes_max):
        return Row(number, text[:body_bytes_max], problem=_too_long(body_bytes_max))
    text = text.rstrip(b"\r\n")
    if not text.strip():
        return None
    logged = _log_line(text)
    row = unwrap(number, text) if logged is None else _row_of_log(number, logged)
    if row is None:
        return None
    if len(row.body) > body_bytes_max:
        return Row(number, row.body[:body_bytes_max], problem=_too_long(body_bytes_max))
    return row


def is_wrapping(document: dict[str, Any]) -> bool:
    """Whether an object that has a body is no event itself but stands around one.

    `hooklake quarantine show --json` names the event's type beside the body it shows.
    """
    return not any(key in document for key in TYPE_KEYS) or document.keys() >= QUARANTINED


def _line_bytes_max(body_bytes_max: int) -> int:
    return _ESCAPES_FACTOR * body_bytes_max + WRAPPING_BYTES_MAX


def unwrap(number: int, text: bytes) -> Row:
    """The row of one line. Never raises: what is no JSON is left for the event parser to refuse."""
    if b'"body"' not in text:
        return Row(number, text)
    try:
        document = parse_object(text)
    except InvalidJsonError:
        return Row(number, text)
    body = document.get("body")
    # A number is text here as well, of a type of its own.
    if type(body) not in (dict, str) or not is_wrapping(document):
        return Row(number, text)
    exact = _member(text.decode(), "body") if isinstance(body, dict) else str(body)
    headers = _headers(document.get("headers"))
    received_at = document.get("received_at")
    timestamp = _first(headers, _TIMESTAMP_HEADERS)
    delivery_id = document.get("delivery_id") if document.keys() >= QUARANTINED else None
    if isinstance(delivery_id, str):
        headers.setdefault(_ID_HEADERS[0], delivery_id.strip())
    return Row(
        number,
        exact.encode(),
        own_received_at=None if is_absent(received_at) else read_instant(received_at),
        signed_id=_first(headers, _ID_HEADERS),
        signed_at=int(timestamp) * 1_000_000
        if timestamp and _TIMESTAMP.fullmatch(timestamp)
        else None,
    )


def _log_line(text: bytes) -> dict[str, Any] | None:
    """A line of `hooklake log --json`, None for any other."""
    if b'"rejection_id"' not in text:
        return None
    try:
        document = parse_object(text)
    except InvalidJsonError:
        return None
    return document if document.keys() >= LOGGED else None


def _row_of_log(number: int, document: dict[str, Any]) -> Row | None:
    """The row of a delivery in the log; None where nothing of it was kept, as of a refused one."""
    body = document.get("body")
    if isinstance(body, str):
        content = body.encode()
    elif isinstance(encoded := document.get("body_base64"), str):
        try:
            content = base64.b64decode(encoded, validate=True)
        except ValueError:
            return Row(number, encoded.encode(), problem=_NO_BASE64)
    elif "body" in document:
        return None
    else:
        return Row(number, json.dumps(document).encode(), problem=_NO_BODY)
    received_at = document["received_at"]
    delivery_id = document.get("delivery_id") or document.get("event_id")
    return Row(
        number,
        content,
        own_received_at=None if is_absent(received_at) else read_instant(received_at),
        signed_id=delivery_id if isinstance(delivery_id, str) else None,
    )


_NO_BODY: Final = Problem(
    "body",
    "missing",
    "this line of the log has no body; export it with `hooklake log --json --bodies --limit 0`",
)
_NO_BASE64: Final = Problem("body", "unreadable", "body_base64 is no base64")


def _too_long(limit: int) -> Problem:
    return Problem(
        "body", "unreadable", f"the body is longer than {limit} bytes; its beginning is kept"
    )


def _headers(found: Any) -> dict[str, str]:
    """Header names in lower case, from an object or a list of pairs; the first of each counts."""
    if isinstance(found, dict):
        pairs = list(found.items())
    elif isinstance(found, list):
        pairs = [(pair[0], pair[1]) for pair in found if isinstance(pair, list) and len(pair) == 2]
    else:
        return {}
    headers: dict[str, str] = {}
    for name, value in pairs:
        single = value[0] if isinstance(value, list) and value else value
        if isinstance(name, str) and isinstance(single, str):
            headers.setdefault(name.strip().lower(), single.strip())
    return headers


def _first(headers: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((headers[name] for name in names if headers.get(name)), None)


def _member(text: str, wanted: str) -> str:
    """The exact text of a member's value in a JSON object that is known to be well-formed."""
    at = _after_space(text, text.index("{") + 1)
    while True:
        key, at = _DECODER.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)
        _, at = _DECODER.raw_decode(text, start)
        if key == wanted:
            return text[start:at]
        at = _after_space(text, _after_space(text, at) + 1)


_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
