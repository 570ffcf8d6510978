"""Text that somebody else wrote, made safe for a terminal and for one line of it."""

from __future__ import annotations

from typing import Final

CUT: Final = "…"


def one_line(text: str, characters_max: int = 200) -> str:
    """The text without anything that could steer a terminal or break the line, cut at the end.

    Control characters, line breaks, text direction marks and lone surrogates are spelt as escapes.
    """
    shown = "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in text[: characters_max + 1]
    )
    return shown if len(shown) <= characters_max else shown[: characters_max - 1] + CUT
