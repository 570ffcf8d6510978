"""Reads a column of values at once where they are written plainly; says which are not.

Every reader here agrees with the one of ingest/values.py on each value it calls readable, and may
call any value unreadable: such a line is then read by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from warehouse.shape_match import is_word
from warehouse.text_lines import Flags, Integers, Lines

MICROSECONDS: Final = 1_000_000
DAY: Final = 86_400 * MICROSECONDS
_WIDTH: Final = 32
_INLINE: Final = 12
_YEARS: Final = (1900, 2200)
_UNIX_FIRST: Final = 946_684_800
_UNIX_END: Final = 4_133_980_800
_ZERO: Final = np.uint8(ord("0"))
_CASE: Final = np.uint8(0x20)
_TRUE: Final = (b"true", b"1", b"on", b"yes")
_FALSE: Final = (b"false", b"0", b"off", b"no")
_FRACTIONS: Final = {19: 0, 20: 0, 25: 0, 23: 3, 24: 3, 29: 3, 26: 6, 27: 6, 32: 6}
"""Length of an instant as text -> digits of its second's fraction; of what follows: by the rest."""


@dataclass
class Values:
    """Where a column's values stand, a line each; `size` -1: there is none."""

    start: Integers
    size: Integers

    @classmethod
    def none(cls, lines: int) -> Values:
        return cls(np.full(lines, 16, np.int64), np.full(lines, -1, np.int64))

    def take(self, rows: npt.NDArray[Any]) -> Values:
        return Values(self.start[rows], self.size[rows])


def trimmed(lines: Lines, start: Integers, end: Integers) -> tuple[Values, Flags]:
    """The texts without the blanks around them, and which of them are surely trimmed by that."""
    start, end, buffer = start.copy(), end.copy(), lines.buffer
    while (leads := (end > start) & (buffer[start] == ord(" "))).any():
        start += leads
    while (trails := (end > start) & (buffer[end - 1] == ord(" "))).any():
        end -= trails
    values = Values(start, end - start)
    if lines.is_ascii:
        return values, np.ones(len(start), bool)
    is_odd = _is_space(lines, start, 2) | _is_space(lines, start, 3)
    is_odd |= _is_space(lines, end - 2, 2) | _is_space(lines, end - 3, 3)
    return values, ~is_odd | (start == end)


def _is_space(lines: Lines, at: Integers, size: int) -> Flags:
    """Whether a character of `size` bytes that Unicode may call blank stands there."""
    first, second = lines.buffer[at], lines.buffer[at + 1]
    if size == 2:
        return np.asarray((first == 0xC2) & ((second == 0x85) | (second == 0xA0)))
    found = (first == 0xE1) & (second == 0x9A)
    found |= (first == 0xE2) & ((second == 0x80) | (second == 0x81))
    found |= (first == 0xE3) & (second == 0x80)
    return np.asarray(found)


def texts(data: bytes, values: Values) -> pa.Array:
    """The values as an Arrow column that points into `data`; nothing is copied."""
    count = len(values.start)
    is_there = values.size >= 0
    present = np.flatnonzero(is_there)
    if len(present) == count:
        views, validity = _views(data, values.start, values.size), None
    else:
        views = np.zeros((count, 4), np.int32)
        views[present] = _views(data, values.start[present], values.size[present])
        validity = pa.py_buffer(np.packbits(is_there, bitorder="little"))
    buffers = [validity, pa.py_buffer(views), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string_view(), count, buffers)


def _views(data: bytes, start: Integers, size: Integers) -> npt.NDArray[np.int32]:
    """Arrow's views: length, and the text itself if it is short, else its beginning and place."""
    everywhere = np.ndarray((len(data) - 15,), "V16", buffer=data, strides=(1,))
    views = everywhere[start - 4].view(np.int32).reshape(-1, 4)
    views[:, 0] = size
    is_long = size > _INLINE
    if not is_long.all():
        views[:, 1:] &= _MASKS[np.minimum(size, _INLINE + 1)]
        views[:, 2] = np.where(is_long, 0, views[:, 2])
        views[:, 3] = np.where(is_long, start, views[:, 3])
    else:
        views[:, 2] = 0
        views[:, 3] = start
    return views


_MASKS: Final = np.array(
    [
        [255 if byte < size or size > _INLINE else 0 for byte in range(_INLINE)]
        for size in range(_INLINE + 2)
    ],
    np.uint8,
).view(np.int32)


def has_high_bytes(lines: Lines, values: Values) -> Flags:
    """Which values hold anything but ASCII."""
    high = np.concatenate(([0], np.cumsum(lines.buffer >= 0x80, dtype=np.int32)))
    end = values.start + np.maximum(values.size, 0)
    return np.asarray(high[end] != high[values.start])


def booleans(words: npt.NDArray[np.uint8], size: Integers) -> tuple[Flags, Flags]:
    """The values, and which are readable. words: n x 8 bytes from each value's beginning."""
    is_letter = (words | _CASE) - np.uint8(ord("a")) < 26
    lower = np.where(is_letter, words | _CASE, words)
    is_true, is_false = np.zeros(len(size), bool), np.zeros(len(size), bool)
    for word in _TRUE:
        is_true |= is_word(lower, size, word)
    for word in _FALSE:
        is_false |= is_word(lower, size, word)
    return is_true, is_true | is_false


def instants(lines: Lines, values: Values) -> tuple[Integers, Flags]:
    """Microseconds since 1970 UTC, and which are readable."""
    moments, readable = np.zeros(len(values.start), np.int64), np.zeros(len(values.start), bool)
    counts = np.bincount(np.clip(values.size, 0, _WIDTH + 1), minlength=_WIDTH + 1)
    for size in (10, 13, *_FRACTIONS):
        if not counts[size]:
            continue
        rows = np.flatnonzero(values.size == size)
        if size in (10, 13):
            found, ok = _unix(lines.windows(values.start[rows], 13), size)
        else:
            found, ok = _calendar(lines.windows(values.start[rows], _WIDTH), size)
        moments[rows], readable[rows] = found, ok
    return moments, readable


def days(lines: Lines, values: Values) -> tuple[Integers, Flags]:
    """Days since 1970, and which are readable; an instant counts by its UTC day."""
    moments, readable = instants(lines, values)
    found = np.floor_divide(moments, DAY)
    is_day = (values.size == 10) & (lines.buffer[values.start + 4] == ord("-"))
    rows = np.flatnonzero(is_day)
    if len(rows):
        text = lines.windows(values.start[rows], 10)
        found[rows], readable[rows] = _day(text - _ZERO, text)
    return found, readable


def _unix(text: npt.NDArray[np.uint8], size: int) -> tuple[Integers, Flags]:
    digits = text[:, :size] - _ZERO
    number = digits.astype(np.int64) @ (10 ** np.arange(size - 1, -1, -1, dtype=np.int64))
    moments = number * (MICROSECONDS if size == 10 else 1_000)
    ok = (digits <= 9).all(axis=1) & (digits[:, 0] > 0)
    ok &= (moments >= _UNIX_FIRST * MICROSECONDS) & (moments < _UNIX_END * MICROSECONDS)
    return moments, ok


def _day(digits: npt.NDArray[np.uint8], text: npt.NDArray[np.uint8]) -> tuple[Integers, Flags]:
    ok = (text[:, 4] == ord("-")) & (text[:, 7] == ord("-"))
    year = _number(digits, (0, 1, 2, 3))
    month, day = _number(digits, (5, 6)), _number(digits, (8, 9))
    for position in (0, 1, 2, 3, 5, 6, 8, 9):
        ok &= digits[:, position] <= 9
    ok &= (year >= _YEARS[0]) & (year < _YEARS[1]) & (month >= 1) & (month <= 12) & (day >= 1)
    months = np.where(ok, (year - 1970) * 12 + month - 1, 0)
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    following = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    ok &= first + day <= following
    return first + day - 1, ok


def _calendar(text: npt.NDArray[np.uint8], size: int) -> tuple[Integers, Flags]:
    digits = text - _ZERO
    found, ok = _day(digits, text)
    between = text[:, 10]
    ok &= (between == ord("T")) | (between == ord(" ")) | (between == ord("t"))
    ok &= (text[:, 13] == ord(":")) & (text[:, 16] == ord(":"))
    fraction = _FRACTIONS[size]
    end = 19 + (fraction + 1 if fraction else 0)
    places = [11, 12, 14, 15, 17, 18, *range(20, 20 + fraction)]
    for position in places:
        ok &= digits[:, position] <= 9
    if fraction:
        ok &= text[:, 19] == ord(".")
    hour, minute = _number(digits, (11, 12)), _number(digits, (14, 15))
    second = _number(digits, (17, 18))
    ok &= (hour < 24) & (minute < 60) & (second < 60)
    moments = ((found * 24 + hour) * 60 + minute) * 60 + second
    moments *= MICROSECONDS
    if fraction:
        moments += _number(digits, tuple(range(20, 20 + fraction))) * 10 ** (6 - fraction)
    if size == end + 1:
        ok &= text[:, end] == ord("Z")
    elif size == end + 6:
        offset, is_offset = _offset(text, digits, end)
        moments -= offset
        ok &= is_offset
    return moments, ok


def _offset(
    text: npt.NDArray[np.uint8], digits: npt.NDArray[np.uint8], at: int
) -> tuple[Integers, Flags]:
    hours, minutes = _number(digits, (at + 1, at + 2)), _number(digits, (at + 4, at + 5))
    is_minus = text[:, at] == ord("-")
    ok = is_minus | (text[:, at] == ord("+"))
    ok &= (text[:, at + 3] == ord(":")) & (hours < 24) & (minutes < 60)
    for position in (at + 1, at + 2, at + 4, at + 5):
        ok &= digits[:, position] <= 9
    offset = (hours * 60 + minutes) * 60 * MICROSECONDS
    return np.where(is_minus, -offset, offset), np.asarray(ok)


def _number(digits: npt.NDArray[np.uint8], places: tuple[int, ...]) -> Integers:
    number = np.zeros(len(digits), np.int64)
    for place in places:
        number = number * 10 + digits[:, place]
    return number
