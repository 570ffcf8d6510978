"""Arguments that no command can do anything with are refused in a line, with exit code 2."""

from __future__ import annotations

import subprocess

import pytest
from receiver_process import HOOKLAKE, environment

BEYOND_64_BITS = "99999999999999999999"


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [HOOKLAKE, *arguments], env=environment(COLUMNS="200"), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


@pytest.mark.parametrize(
    "line",
    [
        "log N",
        "log --limit N",
        "quarantine show N",
        "quarantine list --limit N",
        "quarantine replay 1 N",
        "verify --record N",
        "sql --max-rows N select",
        "sql --timeout N select",
    ],
)
def test_a_number_beyond_all_there_is(line: str) -> None:
    told = refused(*line.replace("N", BEYOND_64_BITS).split())
    assert "should be less than or equal to 1000000000" in told
