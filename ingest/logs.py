"""Structured log lines: one JSON object each, on standard error.

They hold ids and reasons, never bodies, e-mails, secrets or paths.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog

LINES_A_MINUTE: Final = 10


class LineLimit:
    """Lets at most ten lines in any minute through and counts the others.

    processes: as many share the allowance; where there is less than one line for each, each has one
    in so many minutes.
    """

    def __init__(self, lines_a_minute: int = LINES_A_MINUTE, processes: int = 1) -> None:
        self._passed: deque[float] = deque(maxlen=max(1, lines_a_minute // processes))
        self._seconds = 60.0 * max(1, -(-processes // lines_a_minute))
        self.suppressed = 0

    def allows(self, now: float | None = None) -> bool:
        if now is None:
            now = time.monotonic()
        passed = self._passed
        if len(passed) == passed.maxlen and now - passed[0] < self._seconds:
            self.suppressed += 1
            return False
        passed.append(now)
        return True

    def take_suppressed(self) -> int:
        """How many were held back since the last call."""
        count, self.suppressed = self.suppressed, 0
        return count


class _Stderr:
    """Standard error as far as it can be written: a full disk or a gone reader stops nobody."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logging(level: str) -> None:
    """One JSON object a line on standard error, for our own lines and the libraries'."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_AsJson()], level=logging.ERROR, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.ERROR)
        logger.propagate = name != "uvicorn.access"


def log(name: str) -> Any:
    """The logger of one part: `log("receiver").info("started", port=8080)`."""
    return structlog.get_logger(part=name)


class _AsJson(logging.Handler):
    """A library's error as one line: its kind, not its message, which may quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        log(record.name).error(
            "library_error",
            kind=type(error).__name__ if error else record.levelname.lower(),
            where=_where(error) or f"{record.module}:{record.lineno}",
        )


def _where(error: BaseException | None) -> str | None:
    """The innermost line of ours that the error passed through, as file:line."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    ours = [frame for frame in frames if Path(frame.filename).parent == Path(__file__).parent]
    return f"{Path(ours[-1].filename).stem}:{ours[-1].lineno}" if ours else None
