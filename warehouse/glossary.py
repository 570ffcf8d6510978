"""The words of sql/models/glossary.md, for whoever shows a number beside its definition.

The models' descriptions quote the same blocks, so a page, a column's comment and the docs agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from warehouse.transform import PROJECT

_BLOCK: Final = re.compile(r"{% docs (\w+) %}\n(.+?): (.+?)\n{% enddocs %}", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """A word and what it means, one line of plain text each."""

    title: str
    definition: str


@cache
def glossary() -> MappingProxyType[str, Term]:
    """All terms by their key (`mrr`, `overdue_episode`), in the file's order."""
    text = (PROJECT / "models" / "glossary.md").read_text("utf-8")
    return MappingProxyType(
        {
            key: Term(title, " ".join(definition.split()))
            for key, title, definition in _BLOCK.findall(text)
        }
    )
