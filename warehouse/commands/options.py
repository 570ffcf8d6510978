"""Options that several commands have, and how a command ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

NUMBER_MAX: Final = 10**15
"""Of deliveries and rows: more than there ever are, and few enough for SQLite and DuckDB."""
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where everything is kept (HOOKLAKE_DATA_DIR, else ./data).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
OnlyEvent = Annotated[
    str | None, typer.Option("--event", help="Only this event, by any of its names.")
]
OnlyAccount = Annotated[
    str | None, typer.Option("--account", metavar="EMAIL", help="Only this account's.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="An event's or a delivery's id; may be repeated."),
]
Since = Annotated[
    str | None, typer.Option(metavar="T", help="Received since: 2h, 1d or an instant.")
]
Until = Annotated[
    str | None, typer.Option(metavar="T", help="Received before: 2h, 1d or an instant.")
]


def leave(code: int) -> None:
    raise typer.Exit(code)
