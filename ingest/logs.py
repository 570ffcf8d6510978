"""Structured log lines: one JSON object each, on standard error.

They hold ids and reasons, never bodies, e-mails, secrets or paths.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

import structlog

LINES_A_MINUTE: Final = 10


class LineLimit:
    """Lets at most ten lines a minute through and counts the others."""

    def __init__(self, lines_a_minute: int = LINES_A_MINUTE) -> None:
        self._limit = lines_a_minute
        self._minute = 0
        self._lines = 0
        self.suppressed = 0

    def allows(self, now: float | None = None) -> bool:
        minute = int((time.monotonic() if now is None else now) // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        if self._lines >= self._limit:
            self.suppressed += 1
            return False
        self._lines += 1
        return True

    def take_suppressed(self) -> int:
        """How many were held back since the last call."""
        count, self.suppressed = self.suppressed, 0
        return count


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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
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
