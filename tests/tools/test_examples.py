"""Every command line in a tool's help works as it stands, beside a running receiver."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from receiver_process import HOOKLAKE, Receiver, environment
from typer.testing import CliRunner

from ingest.examples import EXAMPLES
from warehouse.cli import app


@pytest.mark.slow
@pytest.mark.parametrize("command", EXAMPLES)
def test_every_example_of_the_help_works(command: str, receiver: Receiver, tmp_path: Path) -> None:
    path = f"{HOOKLAKE.parent}{os.pathsep}{os.environ['PATH']}"
    for line in EXAMPLES[command]:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            env=environment(
                PATH=path,
                HOOKLAKE_PORT=str(receiver.port),
                HOOKLAKE_DATA_DIR=str(receiver.data_dir),
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_example_stands_in_the_help_and_names_its_command(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown.output).split())
    assert any(f"hooklake {command}" in line for line in EXAMPLES[command])
    for line in EXAMPLES[command]:
        assert " ".join(line.split()) in words
