"""Arguments that no command can do anything with are refused in a line, with exit code 2."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from receiver_process import HOOKLAKE, environment

BEYOND_64_BITS = "99999999999999999999"


def refused(*arguments: str | bytes) -> str:
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


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ((b"sql", b"select '\xff'"), 2),
        ((b"forget", b"a\xff@example.com", b"--dry-run"), 2),
        ((b"trigger", b"plan_changed", b"--set", b"owner_email=\xff@example.com"), 4),
        ((b"doctor", b"--data-dir", b"\xff"), 3),
        ((b"backfill", b"\xff.ndjson"), 2),
    ],
)
def test_an_argument_that_is_no_text(arguments: tuple[bytes, ...], place: int) -> None:
    assert f"argument {place} of the command line is no UTF-8 text" in refused(*arguments)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    name = b"\xff.ndjson"
    line = '{"event":"user_registered","email":"ada@example.com","timestamp":1767225600}\n'
    Path(name.decode(errors="surrogateescape")).write_text(line)
    Path("data").mkdir()
    done = subprocess.run(
        [HOOKLAKE, "backfill", name, "--data-dir", "data"], env=environment(), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("quarantine replay 1 --all", "leave it out, or leave out the numbers"),
        ("backfill --list export.ndjson", "files and --list do not go together"),
        ("backfill --list --undo b1", "--list and --undo do not go together"),
        ("log --bodies", "--bodies is for --json"),
        ("verify --record 1 request.http", "leave out FILE, or leave out --record"),
        ("verify --record 1 --body body.json", "leave out --body, or leave out --record"),
    ],
)
def test_what_does_not_go_together_is_not_left_out_silently(line: str, advice: str) -> None:
    assert advice in " ".join(refused(*line.split()).split())
