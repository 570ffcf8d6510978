"""SQL as typed: where a statement ends, and where in it something is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TOKEN: Final = re.compile(
    r"""--[^\n]*(?:\n|\Z)          # a comment to the end of the line
    | /\*.*?(?:\*/|\Z)          # a comment between marks
    | '(?:[^']|'')*(?:'|\Z)      # a text
    | "(?:[^"]|"")*(?:"|\Z)      # a quoted name
    | \$(\w*)\$.*?(?:\$\1\$|\Z)  # a text between dollars
    | ;
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN_ENDS: Final = {"'": "'", '"': '"', "/": "*/", "$": "$"}


def statements(text: str) -> Iterator[tuple[str, bool]]:
    """The statements of `text` in their order, and whether each is ended by a semicolon.

    Semicolons in texts, names and comments end nothing; blank statements are left out.
    """
    start = 0
    for match in _TOKEN.finditer(text):
        if match[0] == ";":
            if text[start : match.start()].strip():
                yield text[start : match.end()].strip(), True
            start = match.end()
    if _without_comments(text[start:]).strip():
        yield text[start:].strip(), False


def pointed(query: str, line: int, column: int) -> str:
    """The line of the query with a mark below the place; both counted from 1."""
    lines = query.splitlines() or [""]
    at = min(max(line, 1), len(lines))
    shown = lines[at - 1].replace("\t", " ")
    prefix = f"{at:>4} | "
    return f"{prefix}{shown}\n{' ' * (len(prefix) + column - 1)}^"


def as_one_line(statement: str) -> str:
    """The statement as one line of a history; comments to the end of a line are left out."""
    return " ".join(_without_comments(statement).split("\n")).strip()


def _without_comments(text: str) -> str:
    return _TOKEN.sub(lambda match: "\n" if match[0].startswith("--") else match[0], text)
