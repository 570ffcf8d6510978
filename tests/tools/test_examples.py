"""Every command's help is complete, and every command line in it works as it stands."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from receiver_process import HOOKLAKE, Receiver, environment
from typer.testing import CliRunner

from warehouse.commands.examples import EXAMPLES
from warehouse.commands.root import app

pytestmark = pytest.mark.alone

RUN_UNTIL_STOPPED = ("serve", "dashboard", "run")


def commands() -> dict[str, Any]:
    """Every command of the program, as typer builds it."""
    top: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        f"{name} {inner}".strip(): leaf
        for name, command in top.items()
        for inner, leaf in getattr(command, "commands", {"": command}).items()
    }


def shown_help(command: str) -> str:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown.output).split())


def of_a_shell(receiver: Receiver) -> dict[str, str]:
    return environment(
        PATH=f"{HOOKLAKE.parent}{os.pathsep}{os.environ['PATH']}",
        HOOKLAKE_PORT=str(receiver.port),
        HOOKLAKE_DATA_DIR=str(receiver.data_dir),
    )


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(commands())


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each in EXAMPLES if each not in RUN_UNTIL_STOPPED])
def test_every_example_of_the_help_works(command: str, receiver: Receiver, tmp_path: Path) -> None:
    for line in EXAMPLES[command]:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            env=of_a_shell(receiver),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "line"), [(each, line) for each in RUN_UNTIL_STOPPED for line in EXAMPLES[each]]
)
def test_every_example_that_stays_starts_and_ends_on_ctrl_c(
    command: str, line: str, tmp_path: Path
) -> None:
    ports = {"HOOKLAKE_PORT": free_port(), "HOOKLAKE_DASHBOARD_PORT": free_port()}
    path = f"{HOOKLAKE.parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", re.sub(r"\bhooklake", "exec hooklake", line)],
        env=environment(PATH=path, PYTHONUNBUFFERED="1", **ports),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said = list(until_it_serves(process))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode in (0, 130), "".join(said) + rest
        assert "Traceback" not in "".join(said) + rest
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def until_it_serves(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout
    for line in process.stdout:
        yield line
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            wait_for_answer(found[0])
            return
    raise AssertionError("it ended by itself")


def wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url)
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing answers at {url}")


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_help_shows_every_example_and_explains_every_word(command: str) -> None:
    words = shown_help(command)
    assert any(f"hooklake {command}" in line for line in EXAMPLES[command])
    for line in EXAMPLES[command]:
        assert " ".join(line.split()) in words
    for parameter in commands()[command].params:
        explained = " ".join((parameter.help or "").split())
        assert explained, (command, parameter.name)
        assert explained in words, (command, parameter.name)
