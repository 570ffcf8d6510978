"""README's commands, options and make targets are those of the program, each way."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import readme
import typer

from ingest.contract import EVENT_TYPES
from warehouse.commands.root import app

ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = {"--help", "--data-dir"}


def visible_commands() -> dict[str, Any]:
    """The commands of the program as typer builds them, by name; `quarantine list` of a group."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = {}
    for name, command in commands.items():
        for inner, leaf in getattr(command, "commands", {"": command}).items():
            if not command.hidden and not leaf.hidden:
                found[f"{name} {inner}".strip()] = leaf
    return found


def options(command: Any) -> list[Any]:
    return [
        parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
    ]


def long_options(command: Any) -> set[str]:
    """Every `--option` that has a row in the command's help, --data-dir and --help left out."""
    names = {name for option in options(command) for name in option.opts}
    return {name for name in names if name.startswith("--")} - EVERYWHERE


def documented() -> dict[str, readme.Row]:
    rows = readme.table(readme.section("Commands"), first_heading="command")
    return {row.name.removeprefix("hooklake "): row for row in rows}


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    assert set(documented()) == set(visible_commands())


@pytest.mark.parametrize("name", sorted(visible_commands()))
def test_every_option_is_documented_and_every_documented_one_exists(name: str) -> None:
    assert set(documented()[name].code(2)) == long_options(visible_commands()[name])


@pytest.mark.parametrize("name", sorted(visible_commands()))
def test_every_command_takes_a_data_directory_and_explains_each_option(name: str) -> None:
    command = visible_commands()[name]
    assert any("--data-dir" in option.opts for option in options(command))
    assert all(option.help for option in options(command))
    assert command.help


@pytest.mark.parametrize("line", readme.shell_lines(readme.text()))
def test_every_command_line_shown_is_one_the_program_understands(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert words[1] in make_targets(), line
    elif words[0] == "hooklake":
        group = " ".join(words[1:3])
        command = visible_commands()[group if group in visible_commands() else words[1]]
        used = {word.split("=")[0] for word in words[2:] if word.startswith("--")}
        assert used <= long_options(command) | EVERYWHERE, line
        if words[1] == "trigger":
            assert words[2] in EVENT_TYPES


def make_targets() -> set[str]:
    """Every target with a line of help."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def test_every_make_target_is_documented_and_every_documented_one_exists() -> None:
    rows = readme.table(readme.section("Make targets"), first_heading="target")
    assert {row.name.removeprefix("make ") for row in rows} == make_targets()
