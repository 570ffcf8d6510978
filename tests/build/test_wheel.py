"""What `pip install` of this project brings: the code and the dbt project, no leftovers."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_carries_every_module_and_the_dbt_project(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "ingest", "warehouse", "dashboards", "sql"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    pictures = {name for name in tracked if name.startswith("dashboards/screenshots/")}
    assert set(tracked) - pictures <= set(wheel.namelist())
    assert not pictures & set(wheel.namelist())


def test_the_wheel_carries_the_licence_and_nothing_generated(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "target/" in name or "__pycache__" in name]
    assert not [name for name in names if name.startswith(("tests/", "data"))]
