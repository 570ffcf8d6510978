"""A refresh that has no room to land: told in a sentence, and made up for once there is room."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ingest.errors import LandingError
from ingest.landing import land_now
from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings, load_settings
from tests.e2e.installation import wait_until
from tests.faults.disks import Disk, fill, memory_disk
from tests.faults.outcome import CannotRunError
from warehouse.reader import published

pytestmark = [pytest.mark.alone, pytest.mark.faults]

NOW = 1_790_000_000_000_000
EVENTS = 150
FULL = re.compile(r"No space left on device; free some space")


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A file system of 96 MiB; only root can mount one."""
    try:
        with memory_disk(96 << 20) as mounted:
            yield mounted
    except CannotRunError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def settings(disk: Disk) -> Settings:
    """Events that take about 750 KiB in the lake wait there."""
    made = load_settings(disk.data_dir).model_copy(update={"free_bytes_min": 0})
    made.paths.ensure()
    bodies = [
        json.dumps(
            {"event": "user_registered", "email": f"a{n}@x.y", "padding": os.urandom(5000).hex()}
        ).encode()
        for n in range(EVENTS)
    ]
    connection = open_ledger(made.paths.ledger)
    with transaction(connection):
        store_deliveries(
            connection,
            [Delivery(parse_body(body, Arrival(stored_at=NOW)), body, NOW) for body in bodies],
            "n1",
        )
    connection.close()
    return made


def command(settings: Settings, *arguments: str) -> list[str]:
    hooklake = [sys.executable, "-m", "warehouse.cli", "refresh", *arguments]
    return [*hooklake, "--data-dir", str(settings.data_dir)]


@pytest.mark.parametrize("leave", [100_000, 200_000, 400_000, 600_000])
def test_a_disk_that_fills_amid_a_landing_is_named_and_the_rest_lands_later(
    disk: Disk, settings: Settings, leave: int
) -> None:
    filler = disk.place / "filler"
    fill(filler, leave=leave)
    with pytest.raises(LandingError, match=FULL):
        land_now(settings)
    filler.unlink()
    assert land_now(settings).events == EVENTS


@pytest.mark.slow
def test_a_refresh_and_a_watcher_say_that_the_disk_is_full_and_the_watcher_goes_on(
    disk: Disk, settings: Settings
) -> None:
    environment = os.environ | {"HOOKLAKE_FREE_BYTES_MIN": "0", "PYTHONUNBUFFERED": "1"}
    filler = disk.place / "filler"
    fill(filler, leave=400_000)
    once = subprocess.run(
        command(settings), env=environment, capture_output=True, text=True, timeout=120
    )
    assert once.returncode == 1
    assert FULL.search(once.stderr), once.stderr
    assert "Traceback" not in once.stderr

    told = disk.image / "told"
    with told.open("wb") as output:
        watcher = subprocess.Popen(
            command(settings, "--watch"), env=environment, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: FULL.search(told.read_text()), seconds=120, what="what is in the way")
        filler.unlink()
        wait_until(
            lambda: published(settings.paths), seconds=120, what="what waited to be published"
        )
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(20) == 0
    finally:
        watcher.kill()
        watcher.wait()
    assert f"{EVENTS} events" in told.read_text()
    assert "Traceback" not in told.read_text()
