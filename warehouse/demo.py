"""What `hooklake run --demo` fills its data directory with: a year of a few thousand accounts.

The span is written down before the first delivery. A filling that was interrupted goes on another
day with the same world, whose events carry the same ids, so what was sent already is a duplicate.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Final

from ingest.errors import RefusedError
from ingest.paths import DataDir, write_file_durably

ACCOUNTS: Final = 3000
SEED: Final = 2026
NOTE: Final = "demo.json"


def begin(paths: DataDir, today: date) -> tuple[str, ...] | None:
    """The command that fills this directory, None when that is done. To be called first of all.

    The simulated year ends today, or on the day when an interrupted filling first began.
    Raises: RefusedError where a receiver has worked that was no demo's.
    """
    note = _note(paths)
    if note.get("is_filled"):
        return None
    if paths.ledger.exists() and not note:
        raise RefusedError(
            f"{paths.root} is in use already, and a demo would mix made-up accounts with what is "
            "there; name a directory for it, such as --data-dir data-demo"
        )
    until = str(note.get("until", today.isoformat()))
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
