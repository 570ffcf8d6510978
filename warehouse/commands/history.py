"""Years of events in, and the lake kept small and safe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ingest.errors import UsageError
from ingest.settings import load_settings
from warehouse.commands.examples import epilog
from warehouse.commands.options import AsJson, DataDir, leave

commands = typer.Typer()


@commands.command(epilog=epilog("backfill"))
def backfill(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files, folders or patterns: NDJSON, JSON arrays, CSV, Parquet."),
    ] = None,
    data_dir: DataDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and report; change nothing.")
    ] = False,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="What a table's column is; repeatable."),
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", help="The type of every row of a table.")
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="Show every load; load nothing.")] = False,
    undo: Annotated[
        str | None, typer.Option("--undo", metavar="ID", help="Take one load back.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load exported history into the lake; loading it again adds nothing."""
    given = {"files": bool(paths), "--list": is_list, "--undo": undo is not None}
    named = [name for name, is_given in given.items() if is_given]
    if not named:
        raise UsageError("name files to load, or give --list, or --undo ID")
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} do not go together: give one of them")
    settings = load_settings(data_dir)
    if is_list or undo is not None:
        from warehouse import undo as loads

        if undo is not None:
            leave(loads.run_undo(settings, undo, as_json=as_json))
        leave(loads.run_list(settings, as_json=as_json))
    from warehouse import backfill as loader

    options = loader.table_options(mapping or [], event)
    leave(loader.run(settings, paths or [], dry_run=dry_run, as_json=as_json, options=options))


@commands.command(epilog=epilog("compact"))
def compact(
    data_dir: DataDir = None,
    full: Annotated[
        bool, typer.Option("--full", help="Wait for nothing: merge all that may still grow.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge small lake files into large ones, and remove what was merged long enough ago."""
    from warehouse import compact as compactor

    leave(compactor.run(load_settings(data_dir), full=full, as_json=as_json))


@commands.command(epilog=epilog("backup"))
def backup(
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the backup goes: an empty folder.")
    ],
    data_dir: DataDir = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Bring the backup there up to date.")
    ] = False,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Put secrets.env into it, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy everything that cannot be rebuilt, checked, while hooklake runs."""
    from warehouse import backup as keeper

    leave(
        keeper.run(
            load_settings(data_dir),
            target,
            incremental=incremental,
            with_secrets=with_secrets,
            as_json=as_json,
        )
    )


@commands.command(epilog=epilog("restore"))
def restore(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by backup.")],
    data_dir: DataDir = None,
    forgotten: Annotated[
        list[Path] | None,
        typer.Option(
            "--forgotten",
            metavar="PATH",
            help="Certificates, or a newer ledger, of who was forgotten since; may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an empty data directory what it was when the backup was made."""
    from warehouse import restore as restorer

    leave(restorer.run(load_settings(data_dir), source, forgotten=forgotten or (), as_json=as_json))


@commands.command(epilog=epilog("doctor"))
def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check that everything acknowledged is there, once, and readable; exits 1 if not."""
    from warehouse import doctor as examiner

    leave(examiner.run(load_settings(data_dir), as_json=as_json))
