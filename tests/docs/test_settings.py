"""README's settings are those of the program, with their defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import readme

from ingest.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ingest", "warehouse", "dashboards")
NAME = re.compile(r"\bHOOKLAKE_[A-Z][A-Z_]*[A-Z]\b")


def documented() -> dict[str, readme.Row]:
    rows = readme.table(readme.section("Settings"), first_heading="setting")
    return {row.name: row for row in rows}


def variable(field: str) -> str:
    return f"HOOKLAKE_{field.upper()}"


def as_written(default: object) -> str:
    """A default as the variable would be set to it; blank where unset is the default."""
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    return str(default)


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    assert set(documented()) == {variable(field) for field in Settings.model_fields}


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_default_stands_in_the_readme(field: str) -> None:
    shown = documented()[variable(field)].code(1)
    assert "".join(shown).replace("_", "") == as_written(
        Settings.model_fields[field].default
    ).replace("_", "")


def test_no_variable_in_the_code_or_the_readme_is_unknown() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    mentioned = {
        name
        for path in [*sources, readme.README, ROOT / "CHANGELOG.md"]
        for name in NAME.findall(path.read_text("utf-8"))
    }
    assert mentioned <= {variable(field) for field in Settings.model_fields}
