"""Finds the shapes in a piece of text and where each line's values are, a column at a time.

A shape's literal bytes are compared for all lines at once; a line is of the shape when every byte
outside its values is the same and its values stand between the same quotes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from warehouse.shapes import Fixed, Shape, shape_of
from warehouse.text_lines import Flags, Integers, Lines

QUOTES_MAX: Final = 256
LINES_MIN: Final = 16
"""So few lines are read one by one sooner than their shape is worked out."""
SHAPES_MAX: Final = 256
FAILURES_MAX: Final = 24
"""Lines of a piece with one number of quotes that may turn out to have no shape."""
BARE_BYTES_MAX: Final = 24
_WORD: Final = 8


@dataclass(frozen=True)
class Matched:
    """Lines of one shape. spans: of each slot, the positions where the values begin and end.

    lines: indexes into the piece. bodies: where the events begin and end.
    """

    shape: Shape
    lines: Integers
    spans: list[tuple[Integers, Integers]]
    bodies: tuple[Integers, Integers]


class Shapes:
    """The shapes met so far, the most frequent first; one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[int, list[tuple[Shape, int]]] = {}

    def match(self, lines: Lines) -> Iterator[Matched]:
        """All lines of the piece whose shape can be told; no line twice."""
        counts = lines.quote_count
        usable = lines.is_simple & (counts >= 4) & (counts <= QUOTES_MAX) & (counts % 2 == 0)
        candidates = np.flatnonzero(usable)
        if not len(candidates):
            return
        order = candidates[np.argsort(counts[candidates], kind="stable")]
        firsts = np.flatnonzero(np.diff(counts[order], prepend=-1))
        for group in np.split(order, firsts[1:]):
            count = int(counts[group[0]])
            quotes = lines.quotes[lines.first_quote[group] + np.arange(count)[:, None]]
            yield from self._match_group(lines, group, quotes, count)

    def _match_group(
        self, lines: Lines, group: Integers, quotes: Integers, count: int
    ) -> Iterator[Matched]:
        left = np.arange(len(group))
        used = []
        for shape, times in self._known.get(count, []):
            matched, left = _match(lines, shape, group, quotes, left)
            used.append((shape, times + len(matched.lines)))
            if len(matched.lines):
                yield matched
        failures = 0
        while len(left) >= LINES_MIN and failures < FAILURES_MAX:
            shape_found = shape_of(lines.text(int(group[left[0]])))
            if shape_found is not None:
                matched, left = _match(lines, shape_found, group, quotes, left)
            if shape_found is None or not len(matched.lines):
                failures += 1
                left = left[1:]
                continue
            failures += len(matched.lines) < LINES_MIN
            used.append((shape_found, len(matched.lines)))
            yield matched
        used.sort(key=lambda each: -each[1])
        self._known[count] = used[:SHAPES_MAX]


def _match(
    lines: Lines, shape: Shape, group: Integers, quotes: Integers, among: Integers
) -> tuple[Matched, Integers]:
    """The lines of the shape `among` the group's, and those that are not."""
    chosen, starts = among, list[Integers]()
    for number, literal in enumerate(shape.literals):
        at = _starts(lines, literal, number, group, quotes, chosen)
        ok = _has(lines, at, literal)
        if number == len(shape.literals) - 1:
            ok &= at + len(literal.text) == lines.ends[group[chosen]]
        starts.append(at)
        if not ok.all():
            chosen, starts = chosen[ok], [each[ok] for each in starts]
        if not len(chosen):
            return _matched(lines, shape, group, chosen, [chosen] * len(shape.literals)), among
    spans = _spans(shape, starts)
    ok = np.ones(len(chosen), bool)
    for slot, (start, end) in zip(shape.slots, spans, strict=True):
        if not slot.is_text:
            ok &= (end > start) & (end - start <= BARE_BYTES_MAX) & _is_bare(lines, start, end)
    if not ok.all():
        chosen, starts = chosen[ok], [each[ok] for each in starts]
    left = among
    if len(chosen):
        is_left = np.ones(len(group), bool)
        is_left[chosen] = False
        left = among[is_left[among]]
    return _matched(lines, shape, group, chosen, starts), left


def _matched(
    lines: Lines, shape: Shape, group: Integers, chosen: Integers, starts: Sequence[Integers]
) -> Matched:
    """starts: of each literal, where it stands in the chosen lines of the group."""
    rows = group[chosen]
    if shape.body is None:
        bodies = starts[0], lines.ends[rows]
    else:
        (first, begin), (last, end) = shape.body
        bodies = starts[first] + begin, starts[last] + end
    return Matched(shape, rows, _spans(shape, starts), bodies)


def _spans(shape: Shape, starts: Sequence[Integers]) -> list[tuple[Integers, Integers]]:
    """Of each slot, where the values begin and end."""
    return [
        (starts[number] + len(shape.literals[number].text), starts[number + 1])
        for number in range(len(shape.slots))
    ]


def _starts(
    lines: Lines,
    literal: Fixed,
    number: int,
    group: Integers,
    quotes: Integers,
    chosen: Integers,
) -> Integers:
    """Where a shape's n-th literal stands, if the lines are of that shape."""
    if number == 0:
        return lines.starts[group[chosen]]
    if literal.quote is None:
        rows = group[chosen]
        return np.maximum(lines.ends[rows] - len(literal.text), lines.starts[rows])
    return np.asarray(quotes[literal.quote][chosen] - literal.offset)


def _has(lines: Lines, at: Integers, literal: Fixed) -> Flags:
    """Whether the literal's bytes stand there."""
    size = len(literal.text)
    words = -(-size // _WORD)
    if not words:
        return np.ones(len(at), bool)
    found = lines.windows(at, words * _WORD).view(np.uint64).reshape(-1, words)
    padded = literal.text.ljust(words * _WORD, b"\0")
    wanted = np.frombuffer(padded, np.uint64)
    ok = np.ones(len(at), bool)
    for word in range(words - 1):
        ok &= found[:, word] == wanted[word]
    spare = words * _WORD - size
    mask = np.uint64((1 << (64 - 8 * spare)) - 1)
    ok &= (found[:, -1] & mask) == wanted[-1]
    return ok


def _is_bare(lines: Lines, start: Integers, end: Integers) -> Flags:
    """Whether a number in plain notation, true, false or null stands there, and nothing else."""
    length = end - start
    found = lines.windows(start, BARE_BYTES_MAX)
    word = is_word(found, length, b"true") | is_word(found, length, b"false")
    return word | is_word(found, length, b"null") | is_plain_number(found, length)


def is_word(found: npt.NDArray[np.uint8], length: Integers, word: bytes) -> Flags:
    """Whether the texts, n x 8 bytes or more, are the word."""
    is_equal: Flags = length == len(word)
    for position, letter in enumerate(word):
        is_equal = is_equal & (found[:, position] == letter)
    return is_equal


def is_plain_number(found: npt.NDArray[np.uint8], length: Integers) -> Flags:
    """Whether the texts are JSON numbers without an exponent."""
    rows = np.arange(len(found))
    inside = np.arange(found.shape[1]) < length[:, None]
    is_digit = (found - np.uint8(ord("0"))) <= 9
    is_point = found == ord(".")
    sign = (found[:, 0] == ord("-")).astype(np.int64)
    is_digit_or_point = is_digit | is_point
    is_digit_or_point[:, 0] |= sign.astype(bool)
    width = found.shape[1]
    first = np.minimum(sign, width - 1)
    after = np.minimum(sign + 1, width - 1)
    last = np.clip(length - 1, 0, width - 1)
    leads_with_zero = (found[rows, first] == ord("0")) & (length - sign > 1)
    ok: Flags = (
        (length > sign)
        & (length <= width)
        & (is_digit_or_point | ~inside).all(axis=1)
        & ((is_point & inside).sum(axis=1) <= 1)
        & is_digit[rows, first]
        & is_digit[rows, last]
        & (~leads_with_zero | is_point[rows, after])
    )
    return ok
