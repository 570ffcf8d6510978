"""A JSON array as lines, an element each, in bounded memory: what the rest of backfill reads.

So are objects that stand one after the other, each over several lines (as jq prints them). Elements
keep their bytes but for line breaks, which become blanks. Whether an element is an event,
or JSON at all, is for the event parser to say; only commas and brackets outside texts count here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

BLOCK_BYTES: Final = 4 * 1024 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_BLANKS: Final = bytes.maketrans(b"\r\n", b"  ")
_STEPS: Final = np.zeros(256, np.int32)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


class ArrayError(ValueError):
    """The array's end is missing, something follows it, or an element is too long."""


def object_lines(read: Callable[[int], bytes], *, element_bytes_max: int) -> Iterator[bytes]:
    """Blocks of lines, each one of the objects that follow one another. Raises: ArrayError."""
    rest = b""
    while block := read(BLOCK_BYTES):
        rest = rest + block if rest else block.removeprefix(_BYTE_ORDER_MARK)
        places, depth = _brackets(rest)
        ends = places[(depth == 0) & (np.frombuffer(rest, np.uint8)[places] != ord(","))] + 1
        starts = np.concatenate(([0], ends[:-1]))
        elements = [rest[start:end] for start, end in zip(starts, ends, strict=False)]
        if elements:
            yield b"".join(_line(element) for element in elements)
            rest = rest[int(ends[-1]) :].lstrip()
        _check_length(rest, element_bytes_max)
    if rest.strip():
        yield _line(rest)


def array_lines(read: Callable[[int], bytes], *, element_bytes_max: int) -> Iterator[bytes]:
    """Blocks of lines, each an element of the array. Raises: ArrayError."""
    rest = read(BLOCK_BYTES).removeprefix(_BYTE_ORDER_MARK).lstrip()[1:]
    is_first = True
    while True:
        elements, rest, is_over = _split(rest)
        if is_over and is_first and not b"".join(elements).strip() and len(elements) == 1:
            elements = []  # an empty array
        if elements:
            is_first = False
            yield b"".join(_line(element) for element in elements)
        if is_over:
            break
        _check_length(rest, element_bytes_max)
        block = read(BLOCK_BYTES)
        if not block:
            raise ArrayError("the array has no end; is the file whole?")
        rest += block
    while rest or (rest := read(BLOCK_BYTES)):
        if rest.strip():
            raise ArrayError("something follows the array's end; one array is one file")
        rest = b""


def _check_length(rest: bytes, element_bytes_max: int) -> None:
    if len(rest) > element_bytes_max + BLOCK_BYTES:
        raise ArrayError("one element is longer than any event may be")


def _line(element: bytes) -> bytes:
    return (element.translate(_BLANKS).strip() or b",") + b"\n"


def _split(text: bytes) -> tuple[list[bytes], bytes, bool]:
    """Whole elements, what is left of the text, and whether the array ended in between."""
    places, depth = _brackets(text)
    buffer = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(depth < 0)
    if len(ends):
        places, depth = places[: ends[0] + 1], depth[: ends[0] + 1]
    is_cut = (depth < 0) | ((depth == 0) & (buffer[places] == ord(",")))
    elements, start = [], 0
    for place in places[is_cut].tolist():
        elements.append(text[start:place])
        start = place + 1
    return elements, text[start:], bool(len(ends))


def _brackets(text: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Where brackets and commas stand outside texts, and how deep it is after each."""
    buffer = np.frombuffer(text, np.uint8)
    places = np.flatnonzero(_outside_texts(text) & ((_STEPS[buffer] != 0) | (buffer == ord(","))))
    return places, np.cumsum(_STEPS[buffer[places]], dtype=np.int32)


def _outside_texts(text: bytes) -> npt.NDArray[np.bool_]:
    """Of each byte, whether it stands outside JSON's quoted texts (quotes count as either)."""
    plain = _ESCAPED.sub(b"  ", text) if b"\\" in text else text
    is_quote = np.frombuffer(plain, np.uint8) == ord('"')
    return np.asarray(np.cumsum(is_quote, dtype=np.int32) % 2 == 0)
