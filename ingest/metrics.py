"""What can be measured of a running receiver: Prometheus metrics.

Label values come from fixed sets; nothing a client sends becomes a label.
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

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
        self.compaction_age_seconds = Gauge(
            "hooklake_compaction_age_seconds",
            "Time since the last compaction that went well; -1 before the first",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.compaction_failed = Gauge(
            "hooklake_compaction_failed",
            "1 while the last compaction failed or had to leave a damaged file out",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.lake_files = Gauge(
            "hooklake_lake_files",
            "Files of the lake after the last compaction",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.lake_bytes = Gauge(
            "hooklake_lake_bytes",
            "Bytes of those files",
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
