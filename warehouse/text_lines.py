"""A file's text in pieces of whole lines, and where in a piece its lines and quotes are.

Bounded memory: a piece is a few megabytes, and of a line longer than any body may be only the
beginning is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PIECE_BYTES: Final = 8 * 1024 * 1024
PADDING: Final = 4_096
"""Zero bytes around a piece's text: a window of this size may be read at any of its bytes."""
SIMPLE_BYTES_MAX: Final = 32 * 1024
_CACHED_BYTES: Final = 128 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NEWLINE, _RETURN, _QUOTE, _BACKSLASH, _SPACE = b'\n\r"\\ '


@dataclass(frozen=True)
class Piece:
    """Whole lines; `first_line` counts from 1. `is_cut`: the beginning of one overlong line."""

    first_line: int
    text: bytes
    is_cut: bool = False


def pieces(
    read: Callable[[int], bytes], *, line_bytes_max: int, kept_bytes: int
) -> Iterator[Piece]:
    """The text in pieces of whole lines, without its byte order mark.

    read: as a binary file's. Of a line longer than line_bytes_max only kept_bytes are kept.
    """
    number = 1
    rest = read(len(_BYTE_ORDER_MARK)).removeprefix(_BYTE_ORDER_MARK)
    while block := read(PIECE_BYTES):
        text = rest + block
        end = text.rfind(b"\n") + 1
        if end:
            yield Piece(number, text[:end])
            number += text.count(b"\n", 0, end)
        rest = text[end:]
        if len(rest) > line_bytes_max:
            yield Piece(number, rest[:kept_bytes], is_cut=True)
            number += 1
            rest = _after_newline(read)
    if rest:
        yield Piece(number, rest)


def _after_newline(read: Callable[[int], bytes]) -> bytes:
    while block := read(PIECE_BYTES):
        _, newline, rest = block.partition(b"\n")
        if newline:
            return rest
    return b""


@dataclass(frozen=True)
class Lines:
    """A piece, indexed. Positions count from the beginning of `buffer`, which is padded.

    ends: without the line break. is_simple: UTF-8 without escapes or control characters, of a
    moderate length, so that every quote begins or ends a text.
    """

    data: bytes
    is_ascii: bool
    buffer: npt.NDArray[np.uint8]
    starts: Integers
    ends: Integers
    is_simple: Flags
    quotes: Integers
    first_quote: Integers
    quote_count: Integers

    def text(self, line: int) -> bytes:
        """One line's bytes, without its line break."""
        return self.data[int(self.starts[line]) : int(self.ends[line])]

    def windows(self, at: Integers, size: int) -> npt.NDArray[np.uint8]:
        """The `size` bytes (PADDING at most) that begin at each position: an n x size matrix."""
        everywhere = np.ndarray(
            (len(self.data) - size + 1,), f"V{size}", buffer=self.data, strides=(1,)
        )
        return everywhere[at].view(np.uint8).reshape(-1, size)


def index(text: bytes, *, bytes_max: int) -> Lines:
    """Where the lines of a piece are, and which of them are simple. bytes_max: of a body."""
    data = b"".join((bytes(PADDING), text, bytes(PADDING)))
    buffer = np.frombuffer(data, np.uint8)
    inside = buffer[PADDING : PADDING + len(text)]
    special, quotes = _marks(inside, has_backslash=b"\\" in text)
    kinds = buffer[special]
    breaks = special[kinds == _NEWLINE]
    if not text.endswith(b"\n"):
        breaks = np.append(breaks, PADDING + len(text))
    starts = np.concatenate((np.array([PADDING], np.int64), breaks[:-1] + 1))
    ends = breaks - (buffer[breaks - 1] == _RETURN)
    ends = np.maximum(ends, starts)
    others = special[kinds != _NEWLINE]
    line_of = np.searchsorted(breaks, others)
    is_simple = ends - starts <= min(bytes_max, SIMPLE_BYTES_MAX)
    is_simple[line_of[others < ends[line_of]]] = False
    is_ascii = text.isascii()
    if not is_ascii and not _is_utf8(text):
        high = np.flatnonzero(inside >= 0x80) + PADDING
        is_simple[np.searchsorted(breaks, high)] = False
    first_quote = np.searchsorted(quotes, starts)
    quote_count = np.diff(first_quote, append=len(quotes))
    return Lines(data, is_ascii, buffer, starts, ends, is_simple, quotes, first_quote, quote_count)


def _marks(inside: npt.NDArray[np.uint8], *, has_backslash: bool) -> tuple[Integers, Integers]:
    """Where control characters and backslashes, and where quotes stand."""
    special, quotes = [], []
    for at in range(0, max(1, len(inside)), _CACHED_BYTES):
        part = inside[at : at + _CACHED_BYTES]
        is_special = part < _SPACE
        if has_backslash:
            is_special |= part == _BACKSLASH
        special.append(np.flatnonzero(is_special) + (PADDING + at))
        quotes.append(np.flatnonzero(part == _QUOTE) + (PADDING + at))
    return np.concatenate(special), np.concatenate(quotes)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
