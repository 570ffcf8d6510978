"""A sender's side, for whoever tests the integration."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ingest.settings import load_settings
from ingest.since import moment_of
from warehouse.commands.examples import epilog
from warehouse.commands.options import (
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

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Another receiver than this installation's; without a path, /webhooks/uchat is meant.",
    ),
]


class Scheme(StrEnum):
    """How a sender proves itself."""

    STANDARD = "standard"
    STRIPE = "stripe"
    GITHUB = "github"
    SHOPIFY = "shopify"
    SLACK = "slack"
    HMAC = "hmac"
    TOKEN = "token"  # noqa: S105  (a name)
    NONE = "none"


class Form(StrEnum):
    """How `trigger` shows a request instead of sending it."""

    CURL = "curl"
    HTTP = "http"
    POSTMAN = "postman"


@commands.command(epilog=epilog("trigger"))
def trigger(
    event: Annotated[
        str | None,
        typer.Argument(
            help="user_registered, workspace_created, workspace_deleted, plan_changed,"
            " plan_renewed, overdue_payment or no_enough_credit."
        ),
    ] = None,
    data_dir: DataDir = None,
    set_fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set a field; may be given again."),
    ] = None,
    remove_fields: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="FIELD", help="Leave a field out; may be given again."),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option("--raw", metavar="FILE", help="Send this body byte for byte; - reads it."),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(help="Spell it as lesson (seed.txt), flat, unix, text or random."),
    ] = None,
    scheme: Annotated[
        Scheme | None, typer.Option(help="Prove it so; none sends no proof at all.")
    ] = None,
    is_forged: Annotated[
        bool, typer.Option("--forged", help="Sign with a made-up secret: it must be rejected.")
    ] = False,
    count: Annotated[
        int,
        typer.Option(min=1, help="Send so many, each its own delivery; {n} in --set counts them."),
    ] = 1,
    url: Url = None,
    form: Annotated[
        Form | None,
        typer.Option(
            "--as", help="Print the request so, do not send it; postman alone has every event."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send one realistic signed event to a receiver and show its answer."""
    from ingest import trigger as sender

    leave(
        sender.run(
            load_settings(data_dir),
            event,
            set_fields or (),
            remove_fields or (),
            raw=raw,
            dialect=dialect,
            scheme=None if scheme is None else scheme.value,
            is_forged=is_forged,
            count=count,
            url=url,
            form=None if form is None else form.value,
            as_json=as_json,
        )
    )


@commands.command(epilog=epilog("simulate"))
def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(help="A story by its name (--list) or path; without one, a whole world."),
    ] = None,
    data_dir: DataDir = None,
    is_list: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    accounts: Annotated[
        int | None, typer.Option(min=1, help="How many accounts live (100; a scenario: 1).")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same accounts.")] = 1,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=3650,
            help="How many days they span (365); of a scenario, on how many days it begins (1).",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="The day after the last one (default today, UTC)."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Virtual seconds that pass in a real one: 86400 is a day a second. Default: no"
            " waiting.",
        ),
    ] = None,
    chaos: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[=RATE],…",
            help="Disturb, and check the verdicts: duplicate, reorder, delay, bad_signature,"
            " stale_timestamp, truncated_json, wrong_types, unknown_type, or all (rate 0.1).",
        ),
    ] = None,
    mixed_dialects: Annotated[
        bool, typer.Option("--mixed-dialects", help="Spell every delivery differently.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send a scenario, or the life cycles of many made-up accounts, as signed deliveries."""
    from ingest import simulate as simulator

    if is_list:
        leave(simulator.run_list(as_json=as_json))
    leave(
        simulator.run(
            load_settings(data_dir),
            accounts,
            seed,
            scenario=scenario,
            days=days,
            until=None if until is None else moment_of(until).date(),
            speed=speed,
            chaos=chaos or (),
            mixed_dialects=mixed_dialects,
            url=url,
            as_json=as_json,
        )
    )


@commands.command(epilog=epilog("replay"))
def replay(
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SEQ|FIRST-LAST]...", help="Numbers of deliveries, or ranges."),
    ] = None,
    data_dir: DataDir = None,
    ids: Ids = None,
    is_all: Annotated[bool, typer.Option("--all", help="Every stored event.")] = False,
    event: OnlyEvent = None,
    account: OnlyAccount = None,
    since: Since = None,
    until: Until = None,
    has_quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Quarantined deliveries, too.")
    ] = False,
    url: Url = None,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent; send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send stored deliveries again, freshly signed, to this receiver or to another."""
    from ingest import resend

    leave(
        resend.run(
            load_settings(data_dir),
            numbers or (),
            ids=ids or (),
            is_all=is_all,
            event=event,
            account=account,
            since=since,
            until=until,
            has_quarantined=has_quarantined,
            url=url,
            is_dry=is_dry,
            as_json=as_json,
        )
    )
