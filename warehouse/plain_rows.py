"""Reads the plainly written lines of a piece all at once, a column at a time.

A line is plain when its shape is known, it needs no second choice among its fields, and each of its
values is written in the usual way. Every other line is left to the receiver's parser, one by one;
both yield the same row (tests/warehouse/test_plain_rows.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from ingest.contract import BUSINESS_COLUMNS, ID_CHARACTERS_MAX
from warehouse.content_ids import with_content_ids
from warehouse.plain_values import (
    DAY,
    MICROSECONDS,
    Values,
    booleans,
    days,
    has_high_bytes,
    instants,
    texts,
    trimmed,
)
from warehouse.shape_match import Matched, Shapes, is_word
from warehouse.text_lines import Flags, Integers, Lines

DATES: Final = ("start_date", "end_date", "renewal_date", "due_date")
DATED_BY: Final = ("start_date", "renewal_date", "due_date")
LOWERED: Final = ("account_id", "plan_id")
TEXTS: Final = tuple(
    name for name in BUSINESS_COLUMNS if name not in (*DATES, *LOWERED, "auto_renew", "amount")
)
STAGED: Final[dict[str, Any]] = {
    "line": pl.Int64,
    "event_type": pl.String,
    "sender_event": pl.String,
    "event_id": pl.String,
    "occurred_at": pl.Int64,
    "event_time_source": pl.String,
    "own_received_at": pl.Int64,
    "delivery_id": pl.String,
    **dict.fromkeys(BUSINESS_COLUMNS, pl.String),
    "auto_renew": pl.Boolean,
    "amount": pl.Decimal(18, 2),
    **dict.fromkeys(DATES, pl.Date),
    "payload": pl.String,
    "stated": pl.Int64,
    "digest": pl.String,
}
"""What is read of a line. stated: the instant the payload states; digest: null where it follows
from the other columns; own_received_at: at most the batch's start."""
SOURCES: Final = ("payload", "delivery", "received", "date")
_AMOUNT: Final = r"^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,2})?$"


@dataclass(frozen=True)
class Origin:
    """What is known of a piece's lines beside their text. stored_at: microseconds UTC."""

    stored_at: int
    file_sha256: str
    first_line: int


@dataclass(frozen=True)
class PlainRows:
    """rows: the columns of STAGED, by rising line. is_read: of each line of the piece.

    unknown_fields: how many rows had them, by (event type, name).
    """

    rows: pl.DataFrame
    is_read: Flags
    unknown_fields: Counter[tuple[str, str]]


def read(lines: Lines, shapes: Shapes, origin: Origin) -> PlainRows:
    """The rows of all plain lines."""
    found = _Found(lines)
    for matched in shapes.match(lines):
        found.add(matched)
    chosen = np.flatnonzero(found.is_good)
    rows = _Columns(lines, found, chosen, origin)
    frame = rows.frame()
    is_read = np.zeros(len(lines.starts), bool)
    is_read[chosen[rows.good]] = True
    if not rows.good.all():
        frame = frame.filter(pl.Series(rows.good))
    return PlainRows(
        with_content_ids(frame, origin.file_sha256), is_read, found.unknown_fields(is_read)
    )


class _Found:
    """Where the columns' values stand, for every line of a piece."""

    def __init__(self, lines: Lines) -> None:
        count = len(lines.starts)
        self.lines = lines
        self.is_good = np.zeros(count, bool)
        self.shape = np.full(count, -1, np.int64)
        self.matches: list[Matched] = []
        self.values = {"payload": Values.none(count)}

    def add(self, matched: Matched) -> None:
        lines, rows, shape = self.lines, matched.lines, matched.shape
        good = np.ones(len(rows), bool)
        for column, choice in shape.columns.items():
            start, end = matched.spans[choice.slot]
            if shape.slots[choice.slot].is_text:
                values, fine = trimmed(lines, start, end)
                good &= fine
                values.size[values.size == 0] = -1
            else:
                values, is_word_ = _bare(lines, start, end)
                if column != "auto_renew":
                    good &= ~is_word_
            if choice.has_others or choice.is_required:
                good &= values.size >= 0
            if column not in self.values:
                self.values[column] = Values.none(len(lines.starts))
            into = self.values[column]
            into.start[rows], into.size[rows] = values.start, values.size
        begin, end = matched.bodies
        self.values["payload"].start[rows] = begin
        self.values["payload"].size[rows] = end - begin
        self.is_good[rows] = good
        self.shape[rows] = len(self.matches)
        self.matches.append(matched)

    def unknown_fields(self, is_read: Flags) -> Counter[tuple[str, str]]:
        counted: Counter[tuple[str, str]] = Counter()
        for number, times in enumerate(
            np.bincount(self.shape[is_read], minlength=len(self.matches))
        ):
            shape = self.matches[number].shape
            for name in shape.unknown_fields if times else ():
                counted[shape.kind.name, name] += int(times)
        return counted


def _bare(lines: Lines, start: Integers, end: Integers) -> tuple[Values, Flags]:
    """Values without quotes, null as none; and which of them are true or false."""
    size = end - start
    first = lines.windows(start, 8)
    is_true_or_false = is_word(first, size, b"true") | is_word(first, size, b"false")
    return Values(start, np.where(is_word(first, size, b"null"), -1, size)), is_true_or_false


class _Columns:
    """The chosen lines' values, read. `good`: which of the lines turned out to be plain."""

    def __init__(self, lines: Lines, found: _Found, chosen: Integers, origin: Origin) -> None:
        self._lines = lines
        self._count = len(chosen)
        self._origin = origin
        self._line = chosen + origin.first_line
        self._values = {name: values.take(chosen) for name, values in found.values.items()}
        self._shape = found.shape[chosen]
        self._shapes = [matched.shape for matched in found.matches]
        self.good = np.ones(self._count, bool)

    def frame(self) -> pl.DataFrame:
        """The columns of STAGED; event_id is null where it is to be made of the content."""
        columns = self._business()
        moment, source, own = self._when(columns)
        is_late = moment > self._origin.stored_at
        self._ids(columns)
        columns |= {
            "line": pl.Series(self._line),
            "event_type": self._of_shape([shape.kind.name for shape in self._shapes]),
            "sender_event": self._of_shape([shape.sender_event for shape in self._shapes]),
            "moment": pl.Series(moment),
            "occurred_at": pl.Series(np.minimum(moment, self._origin.stored_at)),
            "event_time_source": _named(np.where(is_late, SOURCES.index("received"), source)),
            "is_dated": pl.Series(source == SOURCES.index("date")),
            "own_received_at": own,
            "payload": _strings(self._lines.data, self._values["payload"]),
            "stated": _nullable(moment, source == SOURCES.index("payload")),
        }
        empty = pl.Series([None], dtype=pl.Null)
        return pl.DataFrame(
            {
                name: columns[name]
                if name in columns
                else empty.cast(kind).new_from_index(0, self._count)
                for name, kind in {**STAGED, "moment": pl.Int64, "is_dated": pl.Boolean}.items()
            }
        )

    def _business(self) -> dict[str, pl.Series]:
        columns = {}
        for name in LOWERED:
            if name in self._values:
                if not self._lines.is_ascii:
                    self.good &= ~has_high_bytes(self._lines, self._values[name])
                columns[name] = _strings(self._lines.data, self._values[name]).str.to_lowercase()
        for name in TEXTS:
            if name in self._values:
                columns[name] = _strings(self._lines.data, self._values[name])
        for name in DATES:
            if name in self._values:
                values = self._values[name]
                found, readable = days(self._lines, values)
                self.good &= readable | (values.size < 0)
                columns[name] = _nullable(found.astype(np.int32), values.size >= 0).cast(pl.Date)
        if "auto_renew" in self._values:
            columns["auto_renew"] = self._auto_renew(self._values["auto_renew"])
        if "amount" in self._values:
            columns["amount"] = self._amount(self._values["amount"])
        return columns

    def _auto_renew(self, values: Values) -> pl.Series:
        found, readable = booleans(self._lines.windows(values.start, 8), values.size)
        self.good &= readable | (values.size < 0)
        return _nullable(found, values.size >= 0)

    def _amount(self, values: Values) -> pl.Series:
        text = _strings(self._lines.data, values)
        readable = text.str.contains(_AMOUNT)
        self.good &= readable.fill_null(True).to_numpy()
        plain = text.zip_with(readable.fill_null(False), pl.Series([None], dtype=pl.String))
        return plain.str.to_decimal(scale=2).cast(pl.Decimal(18, 2))

    def _when(self, columns: dict[str, pl.Series]) -> tuple[Integers, Integers, pl.Series]:
        """The moment of each row before it is held against the clock, where it came from, and when
        the row says it was received."""
        moment, source = np.zeros(self._count, np.int64), np.full(self._count, -1)
        if "instant" in self._values:
            values = self._values["instant"]
            moment, readable = instants(self._lines, values)
            self.good &= readable | (values.size < 0)
            source[values.size >= 0] = SOURCES.index("payload")
        if "signed_at" in self._values:
            values = self._values["signed_at"]
            digits = self._lines.windows(values.start, 10) - np.uint8(ord("0"))
            is_signed = (values.size == 10) & (digits <= 9).all(axis=1) & (source < 0)
            seconds = digits.astype(np.int64) @ (10 ** np.arange(9, -1, -1, dtype=np.int64))
            moment = np.where(is_signed, seconds * MICROSECONDS, moment)
            source[is_signed] = SOURCES.index("delivery")
        own = pl.Series([None], dtype=pl.Int64).new_from_index(0, self._count)
        if "received_at" in self._values:
            values = self._values["received_at"]
            received, readable = instants(self._lines, values)
            received = np.minimum(received, self._origin.stored_at)
            self.good &= readable | (values.size < 0)
            own = _nullable(received, values.size >= 0)
            is_own = (values.size >= 0) & (source < 0)
            moment = np.where(is_own, received, moment)
            source[is_own] = SOURCES.index("received")
        for name in DATED_BY:
            if name in columns:
                day = columns[name].to_physical().cast(pl.Int64)
                is_dated = day.is_not_null().to_numpy() & (source < 0)
                moment = np.where(is_dated, day.fill_null(0).to_numpy() * DAY, moment)
                source[is_dated] = SOURCES.index("date")
        self.good &= source >= 0
        return moment, np.maximum(source, 0), own

    def _ids(self, columns: dict[str, pl.Series]) -> None:
        for name, column in (("signed_id", "delivery_id"), ("event_id", "event_id")):
            if name in self._values:
                self.good &= self._values[name].size <= ID_CHARACTERS_MAX
                columns[column] = _strings(self._lines.data, self._values[name])
        if "delivery_id" in columns:
            given = columns.get("event_id", columns["delivery_id"])
            columns["event_id"] = given.zip_with(given.is_not_null(), columns["delivery_id"])

    def _of_shape(self, names: list[str]) -> pl.Series:
        return pl.Series(names, dtype=pl.String)[self._shape]


def _named(source: Integers) -> pl.Series:
    return pl.Series(SOURCES)[source]


def _strings(data: bytes, values: Values) -> pl.Series:
    found = pl.from_arrow(texts(data, values))
    assert isinstance(found, pl.Series)
    return found


def _nullable(found: Any, is_there: Flags) -> pl.Series:
    series = pl.Series(found)
    if is_there.all():
        return series
    return series.zip_with(pl.Series(is_there), pl.Series([None], dtype=series.dtype))
