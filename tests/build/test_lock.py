"""What requirements.lock promises: everything named, nothing old, no place named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PINNED = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK, re.MULTILINE)
}

# Below these versions a weakness is public. Source: the CVE records named beside them.
SAFE_FROM = {
    "h11": ("0.16.0", "CVE-2025-43859"),
    "starlette": ("1.3.1", "CVE-2026-54283, CVE-2026-54282, CVE-2025-62727"),
    "apsw": ("3.51.3", "SQLite's WAL-reset corruption"),
}


@pytest.mark.parametrize("name", SAFE_FROM)
def test_no_locked_package_is_older_than_its_mended_version(name: str) -> None:
    version, weakness = SAFE_FROM[name]
    assert PINNED[canonicalize_name(name)] >= Version(version), weakness


@pytest.mark.parametrize(
    "line",
    [
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ],
)
def test_every_declared_dependency_is_locked_within_its_bounds(line: str) -> None:
    requirement = Requirement(line)
    assert PINNED[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_locked_package_carries_hashes() -> None:
    for block in re.split(r"\n(?=[a-z0-9])", LOCK.partition("\n")[2]):
        if "==" in block:
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_the_parser_that_downloads_a_binary_stays_out() -> None:
    assert "dbt-core-experimental-parser" not in PINNED
