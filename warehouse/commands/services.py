"""The parts of an installation that run: receiver, refresher, dashboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ingest.settings import load_settings
from ingest.since import moment_of
from warehouse.commands.examples import epilog
from warehouse.commands.options import AsJson, DataDir, leave

commands = typer.Typer()

DEMO_DATA_DIR = Path("data-demo")


@commands.command(epilog=epilog("serve"))
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

    leave(receiver.run(load_settings(data_dir, host=host, port=port, workers=workers)))


@commands.command(epilog=epilog("refresh"))
def refresh(
    data_dir: DataDir = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and refresh whenever events arrive.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Rebuild everything from the lake.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="Build as it was then: 2h ago, a date or an instant (default now)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn what is in the lake into tables and publish a new version of the warehouse."""
    from warehouse import refresh as refresher

    leave(
        refresher.run(
            load_settings(data_dir),
            watch=watch,
            full=full,
            as_of=None if as_of is None else moment_of(as_of),
            as_json=as_json,
        )
    )


@commands.command(epilog=epilog("dashboard"))
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

    leave(launch.run(load_settings(data_dir, dashboard_host=host, dashboard_port=port)))


@commands.command(epilog=epilog("run"))
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
    leave(supervisor.run(load_settings(data_dir), demo=demo))
