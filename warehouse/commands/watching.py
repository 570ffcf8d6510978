"""What arrived and what became of it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ingest.errors import UsageError
from ingest.settings import load_settings
from ingest.since import moment_of
from warehouse.commands.examples import epilog
from warehouse.commands.options import (
    NUMBER_MAX,
    AsJson,
    DataDir,
    Ids,
    OnlyAccount,
    OnlyEvent,
    Since,
    Until,
    leave,
)

commands = typer.Typer()


class Verdict(StrEnum):
    """What can become of a delivery."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


@commands.command(epilog=epilog("listen"))
def listen(
    data_dir: DataDir = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="T", help="Show what came before, too: 30m, 2h, 1d or an instant."),
    ] = None,
    event: OnlyEvent = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only what became this.")] = None,
    account: OnlyAccount = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Only bodies where it holds: plan=business, amount>=50, source~web, "
            "!workspace_id; may be given again.",
        ),
    ] = None,
    forward_to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Hand each on to an application here, signed anew."),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Forward even to another machine.")
    ] = False,
    is_full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Fill the terminal: d details, m mark, x compare, r resend, f follow, q quit.",
        ),
    ] = False,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Print what is there and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show deliveries as they arrive, whatever became of them, and those of the last hours."""
    from ingest import listen as listener

    leave(
        listener.run(
            load_settings(data_dir),
            since=since,
            event=event,
            verdict=None if verdict is None else verdict.value,
            account=account,
            where=where or (),
            forward_to=forward_to,
            allows_remote=allow_remote,
            is_full=is_full,
            is_following=not no_follow,
            as_json=as_json,
        )
    )


@commands.command(epilog=epilog("log"))
def log(
    number: Annotated[
        int | None,
        typer.Argument(
            min=0,
            max=NUMBER_MAX,
            help="Follow this delivery to its row, the tables and the rows of aggregates it moved.",
        ),
    ] = None,
    data_dir: DataDir = None,
    ids: Ids = None,
    account: OnlyAccount = None,
    event: OnlyEvent = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only what became this.")] = None,
    since: Since = None,
    until: Until = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Only bodies where it holds: plan=business."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=NUMBER_MAX, help="The newest so many; 0 for all.")
    ] = 100,
    has_bodies: Annotated[
        bool, typer.Option("--bodies", help="With --json: the bodies, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, or the trace as JSON.")
    ] = False,
) -> None:
    """Search and export what was delivered, or follow one delivery into the tables."""
    if has_bodies and number is None and not as_json:
        raise UsageError("--bodies is for --json, which prints them whole: give both")
    settings = load_settings(data_dir)
    if number is not None:
        if any((ids, account, event, verdict, since, until, where, has_bodies, limit != 100)):
            raise UsageError(
                f"`hooklake log {number}` follows that delivery alone: leave out what would search,"
                " or leave out the number"
            )
        from warehouse import trace

        leave(trace.run(settings, number, as_json=as_json))
    from ingest import log_search

    leave(
        log_search.run(
            settings,
            ids=ids or (),
            account=account,
            event=event,
            verdict=None if verdict is None else verdict.value,
            since=since,
            until=until,
            where=where or (),
            limit=limit,
            has_bodies=has_bodies,
            as_json=as_json,
        )
    )


@commands.command(epilog=epilog("checklist"))
def checklist(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say which events and edge cases have really been seen, proved; exits 1 while some are not."""
    from ingest import checklist as checker

    shown = None if data_dir is None else str(data_dir)
    leave(checker.run(load_settings(data_dir), data_dir=shown, as_json=as_json))


@commands.command(epilog=epilog("contract"))
def contract(
    data_dir: DataDir = None,
    observed: Annotated[
        bool,
        typer.Option("--observed", help="Hold what was received against it; propose aliases."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON Schema, or the observation as JSON.")
    ] = False,
) -> None:
    """Print the fields each event may have, or how what was received differs."""
    from ingest import contract_help

    leave(contract_help.run(load_settings(data_dir), is_observed=observed, as_json=as_json))


@commands.command(epilog=epilog("verify"))
def verify(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A request: headers, an empty line, the body. Default: standard input.",
        ),
    ] = None,
    data_dir: DataDir = None,
    body: Annotated[
        Path | None, typer.Option(help="Take the body from this file, to the byte.")
    ] = None,
    record: Annotated[
        int | None,
        typer.Option(
            min=0, max=NUMBER_MAX, help="Explain a refused request by its number instead."
        ),
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="Judge as if it arrived then: 2h ago, or an instant (default now)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say why a request is or is not believed, scheme by scheme."""
    from ingest import explain

    leave(
        explain.run(
            load_settings(data_dir),
            source=source,
            body_file=body,
            record=record,
            now=None if now is None else moment_of(now).timestamp(),
            as_json=as_json,
        )
    )
