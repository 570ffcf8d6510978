"""The commands under "Keeping it small, and a copy" do what is said there, run as written."""

from __future__ import annotations

from pathlib import Path

import readme
from walking import run

from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings

NOW = 1_790_000_000_000_000
BACKUP = "/mnt/backup/hooklake"
EVENT = b'{"event": "user_registered", "event_id": "r1", "email": "a@x.test"}'


def test_the_commands_shown_keep_it_small_and_make_a_copy(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", free_bytes_min=0)
    settings.paths.ensure()
    connection = open_ledger(settings.paths.ledger)
    with transaction(connection):
        event = Delivery(parse_body(EVENT, Arrival(NOW)), EVENT, NOW)
        store_deliveries(connection, [event], "n1")
    connection.close()
    land_now(settings)
    lines = readme.shell_lines(readme.section("Keeping it small, and a copy"))
    assert {line.split()[1] for line in lines} >= {"compact", "backup", "restore", "doctor"}

    for line in lines:
        assert line.startswith("hooklake "), line
        run(line.replace(BACKUP, str(tmp_path / "backup")), tmp_path)
