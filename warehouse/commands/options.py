"""Options that several commands have, and how a command ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ingest.errors import UsageError

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


def instant_of(text: str | None) -> datetime | None:
    """A command line's date or instant, naive taken as UTC. Raises: UsageError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no date or instant; write 2026-04-27 or 2026-04-27T10:00:00Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def leave(code: int) -> None:
    raise typer.Exit(code)
