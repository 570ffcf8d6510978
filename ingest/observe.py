"""What can be seen of a running receiver: Prometheus metrics and structured log lines.

Label values come from fixed sets; nothing a client sends becomes a label, and log lines hold ids
and reasons, never bodies, e-mails, secrets or paths.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

LINES_A_MINUTE: Final = 10
METRICS_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_COMMIT_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 8.0)


class Metrics:
    """The receiver's own registry."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._children: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self.deliveries = Counter(
            "hooklake_deliveries",
            "Authentic deliveries, by verdict and stored event type",
            ("verdict", "event_type"),
            registry=self.registry,
        )
        self.refused = Counter(
            "hooklake_refused",
            "Requests refused, by reason; nothing of them was stored",
            ("reason",),
            registry=self.registry,
        )
        self.ids_reused = Counter(
            "hooklake_ids_reused",
            "Events that arrived under an id already taken by another event",
            registry=self.registry,
        )
        self.key_uses = Counter(
            "hooklake_key_uses",
            "Deliveries verified by each secret or token; retire a key when it stays at zero",
            ("scheme", "key"),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "hooklake_commit_seconds",
            "Time from the begin of a ledger transaction to its sync",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.commit_records = Counter(
            "hooklake_commit_records",
            "Deliveries written by those transactions",
            registry=self.registry,
        )
        self.queue_bytes = Gauge(
            "hooklake_queue_bytes",
            "Bytes of bodies waiting for a commit",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.landing_lag_seconds = Gauge(
            "hooklake_landing_lag_seconds",
            "Age of the oldest committed event that is not yet in the lake",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.quarantine_open = Gauge(
            "hooklake_quarantine_open",
            "Authentic but malformed deliveries that wait to be replayed",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.warehouse_age_seconds = Gauge(
            "hooklake_warehouse_age_seconds",
            "Age of the published version; -1 before the first",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.free_bytes = Gauge(
            "hooklake_free_bytes",
            "Free disk at the data directory",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.ready = Gauge(
            "hooklake_ready",
            "1 while a delivery can be stored durably",
            registry=self.registry,
            multiprocess_mode="livemin",
        )

    def count(self, counter: Counter, *labels: str, amount: int = 1) -> None:
        """Add to a counter. Finding a labelled child costs more than adding to it: each is kept."""
        child = self._children.get((counter, labels))
        if child is None:
            child = self._children[counter, labels] = counter.labels(*labels)
        child.inc(amount)

    def exposition(self) -> bytes:
        """The metrics as text; of all workers together where there are several."""
        registry = self.registry
        if os.environ.get(METRICS_FOLDER_VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


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
