"""Questions to the published warehouse."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ingest.settings import load_settings
from warehouse.commands.examples import epilog
from warehouse.commands.options import NUMBER_MAX, DataDir, leave

commands = typer.Typer()


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class AskingCommand(TyperCommand):
    """Takes a query that begins with a SQL comment for a query and not for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_comment = re.compile(r"--[^\s=]*\s").match  # no option has a space in its name
        return super().parse_args(ctx, [f" {arg}" if is_comment(arg) else arg for arg in args])


@commands.command(cls=AskingCommand, epilog=epilog("sql"))
def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SELECT; without it, standard input or the shell.")
    ] = None,
    data_dir: DataDir = None,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="How the result is printed (default table, or by FILE)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the result to a new file (0600).")
    ] = None,
    max_rows: Annotated[
        int, typer.Option(min=0, max=NUMBER_MAX, help="Rows at most; more exit 3. 0 lifts the cap.")
    ] = 10_000,
    timeout_seconds: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=1e9, metavar="SECONDS", help="Stop a longer query."),
    ] = 60.0,
) -> None:
    """Ask the published warehouse, read-only; without a query, in a shell."""
    from warehouse import sql_command

    leave(
        sql_command.run(
            load_settings(data_dir),
            query,
            output_format=None if output_format is None else output_format.value,
            max_rows=max_rows,
            timeout_seconds=timeout_seconds,
            output=output,
        )
    )
