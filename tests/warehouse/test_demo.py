"""The demo's data directory is filled once, and an interrupted filling goes on with one world."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ingest.paths import DataDir
from warehouse import demo


def test_an_empty_directory_is_filled_with_the_year_that_ends_today(tmp_path: Path) -> None:
    paths = DataDir(tmp_path)

    assert not demo.is_filled(paths)
    command = demo.begin(paths, date(2026, 11, 22))

    assert command[0] == "simulate"
    assert command[-2:] == ("--until", "2026-11-22")


def test_an_interrupted_filling_goes_on_with_the_same_year(tmp_path: Path) -> None:
    paths = DataDir(tmp_path)
    first = demo.begin(paths, date(2026, 11, 22))

    assert not demo.is_filled(paths)
    assert demo.begin(paths, date(2026, 11, 25)) == first


def test_a_filled_directory_is_left_alone(tmp_path: Path) -> None:
    paths = DataDir(tmp_path)
    demo.begin(paths, date(2026, 11, 22))
    demo.mark_filled(paths)

    assert demo.is_filled(paths)


def test_a_half_written_note_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / demo.NOTE).write_text("{")

    assert not demo.is_filled(DataDir(tmp_path))
