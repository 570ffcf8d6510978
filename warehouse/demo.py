"""What `hooklake run --demo` fills its data directory with: a year of a few thousand accounts.

The span is written down before the first delivery. A filling that was interrupted goes on another
day with the same world, whose events carry the same ids, so what was sent already is a duplicate.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Final

from ingest.paths import DataDir, write_file_durably

ACCOUNTS: Final = 3000
SEED: Final = 2026
NOTE: Final = "demo.json"


def is_filled(paths: DataDir) -> bool:
    """Whether the whole simulated year has been acknowledged into this data directory."""
    return bool(_note(paths).get("is_filled", False))


def begin(paths: DataDir, today: date) -> tuple[str, ...]:
    """The command that fills it, ending the simulated year today or when it first began."""
    until = str(_note(paths).get("until", today.isoformat()))
    _write(paths, until=until, is_filled=False)
    return ("simulate", "--accounts", str(ACCOUNTS), "--seed", str(SEED), "--until", until)


def mark_filled(paths: DataDir) -> None:
    """Never fill this data directory again."""
    _write(paths, until=str(_note(paths)["until"]), is_filled=True)


def _note(paths: DataDir) -> dict[str, object]:
    try:
        found = json.loads((paths.root / NOTE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(paths: DataDir, *, until: str, is_filled: bool) -> None:
    content = json.dumps({"until": until, "is_filled": is_filled}) + "\n"
    write_file_durably(paths.root / NOTE, content.encode())
