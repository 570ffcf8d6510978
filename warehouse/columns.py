"""Which field of an event each column of a table is, and the line a row becomes.

A column goes by `--map column=field`, else by its name: any of the contract's spellings, whatever
its case and punctuation. Columns of other names are kept as unknown fields.
Source: events.md, "Event types and fields".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ingest.contract import CONTRACT, ENVELOPE_KEYS, FILE_COLUMNS, TYPE_BY_NAME, TYPE_KEYS

BODY: Final = "body"
DELIVERY: Final = "webhook-id"
RECEIVED: Final = "received_at"
FIELDS: Final = frozenset(
    {name for kind in CONTRACT for field in kind.fields for name in field.names}
    | {name for kind in CONTRACT for name in kind.instants}
    | (ENVELOPE_KEYS - {"data", "id"})
    | {BODY, DELIVERY, RECEIVED}
)
"""What a column may be mapped to."""
_ALSO: Final = {"payload": BODY, "webhook_id": DELIVERY, "svix_id": DELIVERY}
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")

Layout = Callable[[Sequence[Any]], bytes]


class ColumnsError(ValueError):
    """The table's columns do not make events; says what is missing."""


class Columns:
    """mapping: column -> field, as given. event: the type of every row, None: a column says it."""

    def __init__(self, mapping: Mapping[str, str], event: str | None) -> None:
        self._mapping = dict(mapping)
        self._event = event

    def layout(self, names: Sequence[str]) -> Layout:
        """How a row of these columns becomes a line. Raises: ColumnsError."""
        if set(FILE_COLUMNS) <= set(names) and not self._mapping:
            return _lake_layout(names)
        fields = self.fields(names)
        if BODY in fields:
            return _body_layout(fields)
        has_type = any(key in fields for key in TYPE_KEYS)
        if has_type and self._event is not None:
            raise ColumnsError("a column says which event a row is; leave out --event")
        if self._event is None and not has_type:
            raise ColumnsError(
                "no column says which event a row is; name one with --map COLUMN=event, or give"
                f" --event TYPE ({', '.join(TYPE_BY_NAME)})"
            )
        return _field_layout(fields, self._event)

    def fields(self, names: Sequence[str]) -> list[str]:
        """The field of each column. Raises: ColumnsError for a column missing or given twice."""
        if len(set(names)) != len(names) or not names:
            raise ColumnsError("the columns' names are missing, or one is given twice")
        absent = [name for name in self._mapping if name not in names]
        if absent:
            raise ColumnsError(f"there is no column {absent[0]!r}; it has {', '.join(names)}")
        taken = set(self._mapping.values())
        fields = []
        for name in names:
            field = self._mapping.get(name)
            if field is None:
                simple = _PUNCTUATION.sub("_", name.strip().lower()).strip("_")
                known = _ALSO.get(simple, simple)
                field = known if known in FIELDS and known not in taken else name
                if field in taken:  # its name is a field that another column was mapped to
                    field = f"column {name}"
                taken.add(field)
            fields.append(field)
        return fields


def parse_mapping(given: Sequence[str]) -> dict[str, str]:
    """`column=field` entries, checked. Raises: ColumnsError."""
    mapping: dict[str, str] = {}
    for entry in given:
        column, equals, field = entry.rpartition("=")
        if not equals or not column or field not in FIELDS:
            raise ColumnsError(
                f"--map {entry}: write COLUMN=FIELD, with a field of the contract"
                f" ({', '.join(sorted(FIELDS))})"
            )
        if column in mapping or field in mapping.values():
            raise ColumnsError(f"--map {entry}: the column or the field is mapped already")
        mapping[column] = field
    return mapping


def _field_layout(fields: list[str], event: str | None) -> Layout:
    around = [at for at, field in enumerate(fields) if field in (RECEIVED, DELIVERY)]
    inside = [at for at in range(len(fields)) if at not in around]
    names = [fields[at] for at in inside]
    constant = {} if event is None else {"event": event}

    def lay_out(row: Sequence[Any]) -> bytes:
        body = constant | dict(zip(names, (row[at] for at in inside), strict=True))
        if not around:
            return _encode(body)
        return _wrapped(_encode(body), {fields[at]: row[at] for at in around})

    return lay_out


def _body_layout(fields: list[str]) -> Layout:
    at_body = fields.index(BODY)
    around = [at for at, field in enumerate(fields) if field in (RECEIVED, DELIVERY)]

    def lay_out(row: Sequence[Any]) -> bytes:
        body = row[at_body]
        return _wrapped(_as_object(body), {fields[at]: row[at] for at in around})

    return lay_out


def _lake_layout(names: Sequence[str]) -> Layout:
    """Rows of hooklake's own lake: the body, and what makes it the same event again."""
    payload, event_id, source, occurred, received, delivery = (
        names.index(name)
        for name in (
            "payload",
            "event_id",
            "event_time_source",
            "occurred_at",
            "received_at",
            "delivery_id",
        )
    )

    def lay_out(row: Sequence[Any]) -> bytes:
        around = {DELIVERY: row[delivery] or row[event_id]}
        if row[source] != "date":  # a date counts only where nothing says when it was received
            around[RECEIVED] = row[received]
        if row[source] == "delivery":
            around["webhook-timestamp"] = _epoch(row[occurred])
        return _wrapped(_as_object(row[payload]), around)

    return lay_out


def _as_object(body: Any) -> bytes:
    """A body's own bytes where they can stand within a line, else as text."""
    if isinstance(body, str):
        text = body.strip()
        if text.startswith("{") and text.endswith("}") and "\n" not in text and "\r" not in text:
            return text.encode("utf-8", "surrogateescape")
    return _encode(body)


def _wrapped(body: bytes, around: Mapping[str, Any]) -> bytes:
    document: dict[str, Any] = {}
    if RECEIVED in around:
        document[RECEIVED] = around[RECEIVED]
    headers = {name: value for name, value in around.items() if name != RECEIVED and value}
    if headers:
        document["headers"] = headers
    head = _encode(document)[:-1]
    return b'%s%s"body":%s}' % (head, b"," if document else b"", body)


def _epoch(instant: str) -> str:
    from datetime import datetime

    return str(int(datetime.fromisoformat(instant).timestamp()))


def _encode(value: Any) -> bytes:
    """Bytes that were no UTF-8 (read as surrogates) come out as they were: to be quarantined."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "surrogateescape")
