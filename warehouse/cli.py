"""The root of the command line: `hooklake COMMAND`; the commands are in `warehouse.commands`."""

from __future__ import annotations

import sys

import typer

from ingest.errors import HooklakeError
from warehouse.commands import asking, history, people, quarantined, sending, services, watching

app = typer.Typer(
    name="hooklake",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Webhooks in, a warehouse out: receive, prove, keep, model, read.",
)

for part in (services, sending, watching, asking, history, people):
    app.add_typer(part.commands)
app.add_typer(quarantined.commands, name="quarantine")


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
