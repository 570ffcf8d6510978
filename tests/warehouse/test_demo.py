"""The demo's data directory is filled once, and an interrupted filling goes on with one world."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ingest.errors import RefusedError
from ingest.paths import DataDir
from warehouse import demo

TODAY = date(2026, 11, 22)


def test_an_empty_directory_is_filled_with_the_year_that_ends_today(tmp_path: Path) -> None:
    command = demo.begin(DataDir(tmp_path), TODAY)

    assert command
    assert command[0] == "simulate"
    assert command[-2:] == ("--until", "2026-11-22")


def test_an_interrupted_filling_goes_on_with_the_same_year(tmp_path: Path) -> None:
    paths = DataDir(tmp_path)
    first = demo.begin(paths, TODAY)
    paths.ledger.touch()

    assert demo.begin(paths, date(2026, 11, 25)) == first


def test_a_filled_directory_is_left_alone(tmp_path: Path) -> None:
    paths = DataDir(tmp_path)
    demo.begin(paths, TODAY)
    demo.mark_filled(paths)

    assert demo.begin(paths, TODAY) is None


def test_a_directory_of_real_events_is_refused(tmp_path: Path) -> None:
    paths = DataDir(tmp_path)
    paths.ledger.touch()

    with pytest.raises(RefusedError, match="--data-dir data-demo"):
        demo.begin(paths, TODAY)
    assert not (tmp_path / demo.NOTE).exists()


def test_a_half_written_note_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / demo.NOTE).write_text("{")

    assert demo.begin(DataDir(tmp_path), TODAY)
