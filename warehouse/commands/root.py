"""All commands as one program: `hooklake COMMAND`."""

from __future__ import annotations

import typer

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
