"""The root of the command line: `hooklake COMMAND`. Each command loads only what it needs."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ingest.errors import HooklakeError, UsageError
from ingest.examples import epilog
from ingest.settings import load_settings

app = typer.Typer(
    name="hooklake",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Webhooks in, a warehouse out: receive, prove, keep, model, read.",
)

quarantine = typer.Typer(no_args_is_help=True, help="What was authentic but malformed.")
app.add_typer(quarantine, name="quarantine")

DEMO_DATA_DIR = Path("data-demo")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where everything is kept (HOOKLAKE_DATA_DIR, else ./data).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Another receiver than this installation's."),
]
OnlyEvent = Annotated[
    str | None, typer.Option("--event", help="Only this event, by any of its names.")
]
OnlyAccount = Annotated[
    str | None, typer.Option("--account", metavar="EMAIL", help="Only this account's.")
]


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class Status(StrEnum):
    """Which quarantined deliveries are listed."""

    OPEN = "open"
    REPLAYED = "replayed"
    ALL = "all"


class Verdict(StrEnum):
    """What can become of a delivery."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


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


@app.command()
def serve(
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOOKLAKE_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (HOOKLAKE_PORT); 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Listening processes that share the port (HOOKLAKE_WORKERS).")
    ] = None,
) -> None:
    """Receive deliveries, keep them, and land them into the lake."""
    from ingest import serve as receiver

    _exit(receiver.run(load_settings(data_dir, host=host, port=port, workers=workers)))


@app.command()
def refresh(
    data_dir: DataDir = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and refresh whenever events arrive.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Rebuild everything from the lake.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="T", help="Build as it was at this instant (RFC 3339; default now)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn what is in the lake into tables and publish a new version of the warehouse."""
    from warehouse import refresh as refresher

    _exit(
        refresher.run(
            load_settings(data_dir),
            watch=watch,
            full=full,
            as_of=_instant(as_of),
            as_json=as_json,
        )
    )


@app.command()
def dashboard(
    data_dir: DataDir = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (HOOKLAKE_DASHBOARD_HOST).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (HOOKLAKE_DASHBOARD_PORT).")
    ] = None,
) -> None:
    """Show the warehouse in a browser."""
    from dashboards import launch

    _exit(launch.run(load_settings(data_dir, dashboard_host=host, dashboard_port=port)))


@app.command()
def run(
    data_dir: DataDir = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Fill ./data-demo with simulated accounts first.")
    ] = False,
) -> None:
    """Receiver, refresher and dashboard together; one Ctrl-C ends all."""
    from warehouse import run as supervisor

    if demo and data_dir is None and "HOOKLAKE_DATA_DIR" not in os.environ:
        data_dir = DEMO_DATA_DIR
    _exit(supervisor.run(load_settings(data_dir), demo=demo))


@app.command(epilog=epilog("trigger"))
def trigger(
    event: Annotated[
        str | None, typer.Argument(help="An event's name, such as user_registered.")
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

    _exit(
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


@app.command(epilog=epilog("simulate"))
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
        _exit(simulator.run_list(as_json=as_json))
    moment = _instant(until)
    _exit(
        simulator.run(
            load_settings(data_dir),
            accounts,
            seed,
            scenario=scenario,
            days=days,
            until=None if moment is None else moment.date(),
            speed=speed,
            chaos=chaos or (),
            mixed_dialects=mixed_dialects,
            url=url,
            as_json=as_json,
        )
    )


@app.command(epilog=epilog("listen"))
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
        typer.Option("--full", help="On the full screen: details, comparison, resend on a key."),
    ] = False,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Print what is there and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show deliveries as they arrive, whatever became of them, and those of the last hours."""
    from ingest import listen as listener

    _exit(
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


@app.command(epilog=epilog("log"))
def log(
    number: Annotated[
        int | None,
        typer.Argument(help="Follow this delivery to its row and the tables it moved."),
    ] = None,
    data_dir: DataDir = None,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="An event's or a delivery's id; may be repeated."),
    ] = None,
    account: OnlyAccount = None,
    event: OnlyEvent = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only what became this.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Received since: 2h, 1d or an instant.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="T", help="Received before: 2h, 1d or an instant.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Only bodies where it holds: plan=business."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0 for all.")] = 100,
    has_bodies: Annotated[
        bool, typer.Option("--bodies", help="With --json: the bodies, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, or the trace as JSON.")
    ] = False,
) -> None:
    """Search and export what was delivered, or follow one delivery into the tables."""
    settings = load_settings(data_dir)
    if number is not None:
        from warehouse import trace

        _exit(trace.run(settings, number, as_json=as_json))
    from ingest import log_search

    _exit(
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


@app.command(epilog=epilog("checklist"))
def checklist(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say which events and edge cases have really been seen, proved; exits 1 while some are not."""
    from ingest import checklist as checker

    _exit(checker.run(load_settings(data_dir), as_json=as_json))


@app.command(epilog=epilog("replay"))
def replay(
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SEQ|FIRST-LAST]...", help="Numbers of deliveries, or ranges."),
    ] = None,
    data_dir: DataDir = None,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="An event's or a delivery's id; may be repeated."),
    ] = None,
    is_all: Annotated[bool, typer.Option("--all", help="Every stored event.")] = False,
    event: OnlyEvent = None,
    account: OnlyAccount = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Received since: 2h, 1d or an instant.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="T", help="Received before: 2h, 1d or an instant.")
    ] = None,
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

    _exit(
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


@app.command(epilog=epilog("contract"))
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

    _exit(contract_help.run(load_settings(data_dir), is_observed=observed, as_json=as_json))


@app.command()
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
    if sum((is_list, undo is not None, bool(paths))) != 1:
        raise UsageError("name files to load, or give --list, or --undo ID")
    settings = load_settings(data_dir)
    if is_list or undo is not None:
        from warehouse import undo as loads

        if undo is not None:
            _exit(loads.run_undo(settings, undo, as_json=as_json))
        _exit(loads.run_list(settings, as_json=as_json))
    from warehouse import backfill as loader

    options = loader.table_options(mapping or [], event)
    _exit(loader.run(settings, paths or [], dry_run=dry_run, as_json=as_json, options=options))


@app.command()
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
        int, typer.Option(min=0, help="Rows at most; more exit 3. 0 lifts the cap.")
    ] = 10_000,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Stop a longer query.")
    ] = 60.0,
) -> None:
    """Ask the published warehouse, read-only; without a query, in a shell."""
    from warehouse import sql_command

    _exit(
        sql_command.run(
            load_settings(data_dir),
            query,
            output_format=None if output_format is None else output_format.value,
            max_rows=max_rows,
            timeout_seconds=timeout_seconds,
            output=output,
        )
    )


@app.command()
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
        int | None, typer.Option(help="Explain a refused request by its number instead.")
    ] = None,
    now: Annotated[
        str | None, typer.Option(metavar="T", help="Judge as if it arrived then (default now).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say why a request is or is not believed, scheme by scheme."""
    from ingest import explain

    moment = _instant(now)
    _exit(
        explain.run(
            load_settings(data_dir),
            source=source,
            body_file=body,
            record=record,
            now=None if moment is None else moment.timestamp(),
            as_json=as_json,
        )
    )


@app.command()
def compact(
    data_dir: DataDir = None,
    full: Annotated[
        bool, typer.Option("--full", help="Wait for nothing: merge all that may still grow.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge small lake files into large ones, and remove what was merged long enough ago."""
    from warehouse import compact as compactor

    _exit(compactor.run(load_settings(data_dir), full=full, as_json=as_json))


@app.command()
def forget(
    email: Annotated[
        str | None, typer.Argument(help="The e-mail address; - reads it from standard input.")
    ] = None,
    data_dir: DataDir = None,
    owner_id: Annotated[
        str | None, typer.Option("--owner-id", metavar="ID", help="The owner's id at the sender.")
    ] = None,
    unlinked: Annotated[
        bool,
        typer.Option("--unlinked", help="Leave out accounts that only an owner id links to it."),
    ] = False,
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

    _exit(
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


@app.command("export-person")
def export_person(
    email: Annotated[
        str | None, typer.Argument(help="The e-mail address; - reads it from standard input.")
    ] = None,
    data_dir: DataDir = None,
    owner_id: Annotated[
        str | None, typer.Option("--owner-id", metavar="ID", help="The owner's id at the sender.")
    ] = None,
    unlinked: Annotated[
        bool,
        typer.Option("--unlinked", help="Leave out accounts that only an owner id links to it."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a new file (0600) instead.")
    ] = None,
) -> None:
    """Print everything kept about a person as one JSON document."""
    from warehouse import export_person as exporter

    _exit(
        exporter.run(
            load_settings(data_dir), email, owner_id=owner_id, is_linked=not unlinked, output=output
        )
    )


@app.command()
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

    _exit(
        keeper.run(
            load_settings(data_dir),
            target,
            incremental=incremental,
            with_secrets=with_secrets,
            as_json=as_json,
        )
    )


@app.command()
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

    _exit(restorer.run(load_settings(data_dir), source, forgotten=forgotten or (), as_json=as_json))


@app.command()
def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check that everything acknowledged is there, once, and readable; exits 1 if not."""
    from warehouse import doctor as examiner

    _exit(examiner.run(load_settings(data_dir), as_json=as_json))


@quarantine.command("list")
def quarantine_list(
    data_dir: DataDir = None,
    status: Annotated[Status, typer.Option(help="Which ones.")] = Status.OPEN,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was authentic but malformed, newest first."""
    from ingest import quarantine as keeper

    _exit(
        keeper.run_list(load_settings(data_dir), status=status.value, limit=limit, as_json=as_json)
    )


@quarantine.command("show")
def quarantine_show(
    seq: Annotated[int, typer.Argument(help="Its number in the list.")],
    data_dir: DataDir = None,
    is_raw: Annotated[
        bool, typer.Option("--raw", help="Print the body's very bytes alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one quarantined delivery: every reason, and the body."""
    from ingest import quarantine as keeper

    _exit(keeper.run_show(load_settings(data_dir), seq, as_json=as_json, is_raw=is_raw))


@quarantine.command("replay")
def quarantine_replay(
    seqs: Annotated[list[int] | None, typer.Argument(help="Numbers in the list.")] = None,
    data_dir: DataDir = None,
    is_all: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    body: Annotated[
        Path | None, typer.Option(help="A mended body for the one named; - for standard input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read quarantined deliveries again; what is readable now becomes an event."""
    from ingest import quarantine as keeper

    _exit(
        keeper.run_replay(
            load_settings(data_dir), seqs or (), is_all=is_all, body_file=body, as_json=as_json
        )
    )


def _instant(text: str | None) -> datetime | None:
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


def _exit(code: int) -> None:
    raise typer.Exit(code)


def main() -> None:
    """The console script; turns every named failure into one line and its exit code."""
    try:
        app()
    except HooklakeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
