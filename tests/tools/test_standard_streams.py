"""Standard streams that are closed, full, no text, or left by their reader."""

from __future__ import annotations

import os
import shlex
import subprocess

import apsw
import pytest
from receiver_process import HOOKLAKE, Receiver, environment

from ingest.ledger import open_read_only, read_counters
from ingest.settings import Settings

pytestmark = pytest.mark.alone


def run(line: str, settings: Settings, standard_input: bytes = b"") -> tuple[int, str, str]:
    """Exit code, output and errors of `hooklake LINE`, with its redirections."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {shlex.quote(str(HOOKLAKE))} {line}"],
        env=environment(HOOKLAKE_DATA_DIR=str(settings.data_dir), HOOKLAKE_PORT=str(settings.port)),
        input=standard_input,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("command", ["trigger user_registered", "simulate cancel"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_hindrance(receiver: Receiver, command: str, closed: str) -> None:
    code, _, errors = run(f"{command} {closed}", receiver.settings)
    assert (code, errors) == (0, "")
    with open_read_only(receiver.settings.paths.ledger) as ledger:
        assert read_counters(ledger)["events"] > 0


READING = [
    "sql",
    "verify",
    "forget -",
    "export-person -",
    "trigger --raw -",
    "quarantine replay 1 --body -",
]


@pytest.mark.parametrize("command", READING)
def test_what_is_to_be_read_from_a_closed_standard_input_is_missed(
    settings: Settings, connection: apsw.Connection, command: str
) -> None:
    code, output, errors = run(f"{command} <&-", settings)
    assert (code, output) == (2, "")
    assert errors == (
        "error: cannot read standard input (Bad file descriptor); pipe something in, or redirect"
        " a file to it\n"
    )


@pytest.mark.parametrize("command", ["sql", "forget -"])
def test_text_from_standard_input_must_be_text(
    settings: Settings, connection: apsw.Connection, command: str
) -> None:
    code, output, errors = run(command, settings, b"select '\xff'")
    assert (code, output) == (2, "")
    assert "standard input is no UTF-8 text (see its byte 9)" in errors


PRINTING = ["--help", "sql --help", "contract", "contract --json", "simulate --list", "doctor"]


@pytest.mark.parametrize("command", PRINTING)
def test_a_full_disk_behind_standard_output_is_told_in_a_line(
    settings: Settings, connection: apsw.Connection, command: str
) -> None:
    code, _, errors = run(f"{command} > /dev/full", settings)
    assert (code, errors) == (
        1,
        "error: cannot write standard output: No space left on device; make room where it goes,"
        " or redirect it elsewhere\n",
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        *((command, 0) for command in PRINTING),
        ("doctor --data-dir nowhere", 1),
        ("checklist", 1),
        ("trigger --as postman", 0),
        ("log --json", 0),
    ],
)
def test_a_reader_who_has_left_does_not_change_the_exit_code(
    settings: Settings, connection: apsw.Connection, command: str, code: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [HOOKLAKE, *command.split()],
        env=environment(HOOKLAKE_DATA_DIR=str(settings.data_dir)),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == code
    assert b"Error" not in done.stderr
