"""Log lines: one JSON object each, with where it went wrong and nothing that a client has sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from ingest import observe
from ingest.observe import LineLimit, configure_logging
from ingest.parse import Arrival, parse_document


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What has been logged since, each line read as JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("info")
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_librarys_error_names_its_kind_and_our_line_but_never_its_message(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    try:
        parse_document(None, b"", Arrival(stored_at=0))  # type: ignore[arg-type]
    except AttributeError:
        logging.getLogger("some.library").exception("it said ada@example.com\nand more")
    logging.getLogger("some.library").error("without an exception: ada@example.com")
    first, second = lines()
    assert (first["event"], first["kind"]) == ("library_error", "AttributeError")
    assert first["where"].startswith("parse:")
    assert (second["kind"], second["where"].split(":")[0]) == ("error", "test_logging")
    assert "ada@example.com" not in json.dumps([first, second])


def test_ten_lines_a_minute_pass_and_the_others_are_counted() -> None:
    limit = LineLimit()
    assert [limit.allows(now=30.0) for _ in range(12)] == [True] * observe.LINES_A_MINUTE + [
        False,
        False,
    ]
    assert limit.take_suppressed() == 2
    assert limit.allows(now=60.0)
    assert limit.take_suppressed() == 0
