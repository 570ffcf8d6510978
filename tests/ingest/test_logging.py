"""Log lines: one JSON object each, with where it went wrong and nothing that a client has sent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ingest import logs
from ingest.logs import LineLimit

FAILING = """
import logging
from ingest.logs import configure_logging
from ingest.parse import Arrival, parse_document

configure_logging("info")
library = logging.getLogger("some.library")
try:
    parse_document(None, b"", Arrival(stored_at=0))
except AttributeError:
    library.exception("it said ada@example.com\\nand more")
library.error("without an exception: ada@example.com")
"""


def test_a_librarys_error_names_its_kind_and_our_line_but_never_its_message() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING], capture_output=True, text=True, check=True
    )
    first, second = map(json.loads, done.stderr.splitlines())
    assert (first["event"], first["kind"]) == ("library_error", "AttributeError")
    assert first["where"].startswith("parse:")
    assert (second["kind"], second["where"].split(":")[0]) == ("error", "<string>")
    assert "ada@example.com" not in done.stderr


def test_ten_lines_in_any_minute_pass_and_the_others_are_counted() -> None:
    limit = LineLimit()
    passed = [limit.allows(now=59.0) for _ in range(12)]
    assert passed == [True] * logs.LINES_A_MINUTE + [False, False]
    assert limit.take_suppressed() == 2
    assert not limit.allows(now=118.9)
    assert limit.take_suppressed() == 1
    assert limit.allows(now=119.0)


def test_processes_share_the_lines_of_a_minute() -> None:
    each_of_three, each_of_64 = LineLimit(processes=3), LineLimit(processes=64)
    assert [each_of_three.allows(now=1.0) for _ in range(4)] == [True, True, True, False]
    passed = [each_of_64.allows(now=60.0 * minute) for minute in range(14)]
    assert sum(passed) == 2


def test_a_standard_error_that_takes_nothing_stops_nobody() -> None:
    said = "configure_logging('info'); log('t').error('one'); log('t').error('two'); print('here')"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", f"from ingest.logs import *; {said}"],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert done.stdout == b"here\n"
