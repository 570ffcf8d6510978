"""What is kept about one person, and its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ingest.settings import load_settings
from warehouse.commands.examples import epilog
from warehouse.commands.options import AsJson, DataDir, leave

commands = typer.Typer()

Email = Annotated[
    str | None, typer.Argument(help="The e-mail address; - reads it from standard input.")
]
OwnerId = Annotated[
    str | None, typer.Option("--owner-id", metavar="ID", help="The owner's id at the sender.")
]
Unlinked = Annotated[
    bool, typer.Option("--unlinked", help="Leave out accounts that only an owner id links to it.")
]


@commands.command(epilog=epilog("forget"))
def forget(
    email: Email = None,
    data_dir: DataDir = None,
    owner_id: OwnerId = None,
    unlinked: Unlinked = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased; erase nothing.")
    ] = False,
    is_certain: Annotated[
        bool, typer.Option("--yes", help="Ask no question on a terminal.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person for good: ledger, lake, warehouses, exports; leave a certificate."""
    from warehouse import forget as eraser

    leave(
        eraser.run(
            load_settings(data_dir),
            email,
            owner_id=owner_id,
            is_linked=not unlinked,
            is_dry=is_dry,
            is_certain=is_certain,
            as_json=as_json,
        )
    )


@commands.command("export-person", epilog=epilog("export-person"))
def export_person(
    email: Email = None,
    data_dir: DataDir = None,
    owner_id: OwnerId = None,
    unlinked: Unlinked = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a new file (0600) instead.")
    ] = None,
) -> None:
    """Print everything kept about a person as one JSON document."""
    from warehouse import export_person as exporter

    leave(
        exporter.run(
            load_settings(data_dir), email, owner_id=owner_id, is_linked=not unlinked, output=output
        )
    )
