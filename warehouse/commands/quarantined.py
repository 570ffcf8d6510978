"""What was authentic but malformed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ingest.settings import load_settings
from warehouse.commands.examples import epilog
from warehouse.commands.options import NUMBER_MAX, AsJson, DataDir, leave

commands = typer.Typer(no_args_is_help=True, help="What was authentic but malformed.")


class Status(StrEnum):
    """Which quarantined deliveries are listed."""

    OPEN = "open"
    REPLAYED = "replayed"
    ALL = "all"


@commands.command("list", epilog=epilog("quarantine list"))
def quarantine_list(
    data_dir: DataDir = None,
    status: Annotated[Status, typer.Option(help="Which ones.")] = Status.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=NUMBER_MAX, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was authentic but malformed, newest first."""
    from ingest import quarantine as keeper

    leave(
        keeper.run_list(load_settings(data_dir), status=status.value, limit=limit, as_json=as_json)
    )


@commands.command("show", epilog=epilog("quarantine show"))
def quarantine_show(
    seq: Annotated[int, typer.Argument(min=0, max=NUMBER_MAX, help="Its number in the list.")],
    data_dir: DataDir = None,
    is_raw: Annotated[
        bool, typer.Option("--raw", help="Print the body's very bytes alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one quarantined delivery: every reason, and the body."""
    from ingest import quarantine as keeper

    leave(keeper.run_show(load_settings(data_dir), seq, as_json=as_json, is_raw=is_raw))


@commands.command("replay", epilog=epilog("quarantine replay"))
def quarantine_replay(
    seqs: Annotated[
        list[int] | None, typer.Argument(min=0, max=NUMBER_MAX, help="Numbers in the list.")
    ] = None,
    data_dir: DataDir = None,
    is_all: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    body: Annotated[
        Path | None, typer.Option(help="A mended body for the one named; - for standard input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read quarantined deliveries again; what is readable now becomes an event."""
    from ingest import quarantine as keeper

    leave(
        keeper.run_replay(
            load_settings(data_dir), seqs or (), is_all=is_all, body_file=body, as_json=as_json
        )
    )
