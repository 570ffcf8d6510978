"""Words for people that depend on a number."""

from __future__ import annotations


def number_of(number: int, one: str, many: str | None = None) -> str:
    """`1 event`, `2 events`, `1,204 events`. many: where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
