"""The commands under "Keeping it small, and a copy" do what is said there, run as written."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import readme

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
        words = shlex.split(line.replace(BACKUP, str(tmp_path / "backup")))
        assert words[0] == "hooklake", line
        done = subprocess.run(
            [sys.executable, "-m", "warehouse.cli", *words[1:]],
            cwd=tmp_path,
            env=os.environ
            | {
                "HOOKLAKE_FREE_BYTES_MIN": "0",
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
