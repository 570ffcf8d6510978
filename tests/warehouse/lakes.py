"""A real installation to compact, back up and prune: a ledger, a lake of small files."""

from __future__ import annotations

import json
from pathlib import Path

from ingest.catalogue import live_files
from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.paths import DataDir
from ingest.settings import Settings
from warehouse.build import Report, build
from warehouse.doctor import examine
from warehouse.reader import connect, published
from warehouse.workbench import shared_transformer

NOW = 1_790_000_000_000_000
TABLES = ("events", "fct_registration_funnel", "dim_accounts", "mart_funnel_daily")


def land(settings: Settings, numbers: range, *, received_at: int = NOW) -> None:
    """For each number a registration and a plan change, landed as settings.land_rows_max says."""
    connection = open_ledger(settings.paths.ledger)
    for number in numbers:
        email = f"{number:04}@x.test"
        bodies = [
            json.dumps({"event": "user_registered", "event_id": f"r{number}", "email": email}),
            json.dumps(
                {"event": "plan_changed", "event_id": f"p{number}", "email": email, "plan": "pro"}
            ),
        ]
        deliveries = [
            Delivery(parse_body(body.encode(), Arrival(received_at)), body.encode(), received_at)
            for body in bodies
        ]
        with transaction(connection):
            store_deliveries(connection, deliveries, "n1")
    connection.close()
    land_now(settings)


def paths_of(settings: Settings) -> list[Path]:
    return [settings.paths.lake / file.path for file in live_files(settings.paths.ledger)]


def on_disk(settings: Settings) -> set[str]:
    lake = settings.paths.lake
    return {path.relative_to(lake).as_posix() for path in lake.rglob("*") if path.is_file()}


def complaints(settings: Settings) -> list[str]:
    """What doctor warns of or calls a failure; no command has run, which would set modes."""
    return [
        f"{finding.level}: {finding.message}"
        for finding in examine(settings)
        if finding.level != "ok" and finding.check not in ("refresh", "permissions", "compaction")
    ]


def refresh(data: DataDir) -> Report:
    return build(data, live_files(data.ledger), shared_transformer())


def published_rows(data: DataDir) -> dict[str, list[tuple[object, ...]]]:
    version = published(data)
    assert version is not None
    with connect(version) as connection:
        return {
            table: connection.execute(f"select * from {table} order by all").fetchall()
            for table in TABLES
        }
