"""README.md as the tests of the documentation read it: sections, tables, links, commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CODE_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One line of a table: its cells as written, without the bars."""

    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first cell's code span."""
        found = CODE_SPAN.search(self.cells[0])
        assert found, self.cells[0]
        return found[1]

    def code(self, cell: int) -> list[str]:
        """Every code span of a cell."""
        return CODE_SPAN.findall(self.cells[cell])


def text() -> str:
    return README.read_text("utf-8")


def headings(markdown: str) -> list[str]:
    """Titles in their order, code blocks left out."""
    return re.findall(r"^#+ (.+)$", without_code_blocks(markdown), re.MULTILINE)


def without_code_blocks(markdown: str) -> str:
    return re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """What stands under `## title`, its subsections included.

    Raises: AssertionError when there is no such section.
    """
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"README.md has no section {title!r}"
    return found[1]


def table(markdown: str, *, first_heading: str) -> list[Row]:
    """Rows of the tables whose first column is headed so; bars inside code spans do not split."""
    rows: list[Row] = []
    is_inside = False
    for line in markdown.splitlines():
        if not line.startswith("|"):
            is_inside = False
            continue
        cells = tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if cells[0] == first_heading:
            is_inside = True
        elif is_inside and not set(line) <= set("|-: "):
            rows.append(Row(cells))
    assert rows, f"no table headed {first_heading!r}"
    return rows


def shell_lines(markdown: str) -> list[str]:
    """Commands in ```sh blocks, continued lines joined, comments removed."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]
