"""Ctrl-C ends a command with 130 and without a traceback, whatever it is at."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from receiver_process import HOOKLAKE, environment

pytestmark = pytest.mark.alone

LOADING = """
import signal
print("now", flush=True)
signal.pause()
"""
AMID_A_QUERY = """
import sys, threading, time
import duckdb
from warehouse import cli, compact


def ask(*_arguments, **_options):
    begun = time.process_time()

    def tell():
        while time.process_time() < begun + 0.5:  # the query is at work then
            pass
        print("now", flush=True)

    threading.Thread(target=tell, daemon=True).start()
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("select max(range) from range(1000000000000)").fetchall()


compact.run = ask
sys.argv = ["hooklake", "compact"]
cli.main()
"""


def interrupted(command: list[str], **more: str) -> tuple[int, str]:
    """Exit code and errors of a command that is sent SIGINT once it says `now`."""
    with subprocess.Popen(
        command,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
        return process.returncode, process.stderr.read()


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_while_the_command_is_loaded(tmp_path: Path, command: str) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "typer.py").write_text(LOADING)
    assert interrupted([str(HOOKLAKE), command], PYTHONPATH=str(slow)) == (130, "")


def test_amid_a_query_which_duckdb_ends_with_an_error_of_its_own() -> None:
    assert interrupted([sys.executable, "-c", AMID_A_QUERY]) == (130, "")


READING_ON = """
import os, signal, sys
from ingest import standard_streams

with standard_streams.awaited_input() as typed:
    try:
        os.kill(os.getpid(), signal.SIGINT)  # swallowed, as `input` does amid its flushes
    except KeyboardInterrupt:
        pass
    try:
        typed.readline()
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_just_before_what_is_typed_is_read() -> None:
    with subprocess.Popen([sys.executable, "-c", READING_ON], stdin=subprocess.PIPE) as process:
        try:
            assert process.wait(30) == 130
        finally:
            process.kill()
