"""What every test of the tools gets: no settings from outside, and if it asks a ledger of its own
or a real receiver.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from receiver_process import Receiver

from ingest.ledger import open_ledger
from ingest.settings import Settings


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("HOOKLAKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    started = Receiver(tmp_path / "data")
    yield started
    started.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def connection(settings: Settings) -> Iterator[apsw.Connection]:
    opened = open_ledger(settings.paths.ledger)
    yield opened
    opened.close()
