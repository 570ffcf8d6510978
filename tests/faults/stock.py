"""Events put into a ledger in one go, where a fault needs them there and not how they came."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings

from .load import Book, body_of


def stock(settings: Settings, book: Book, event_ids: Iterable[str]) -> None:
    """Store the events in one transaction and enter them as acknowledged."""
    settings.paths.ensure()
    now = time.time_ns() // 1_000
    deliveries = []
    for event_id in event_ids:
        body = body_of(event_id)
        deliveries.append(Delivery(parse_body(body, Arrival(now)), body, now))
        book.sent.add(event_id)
        book.acknowledged[event_id] = time.monotonic()
    connection = open_ledger(settings.paths.ledger)
    try:
        with transaction(connection):
            store_deliveries(connection, deliveries, settings.node)
    finally:
        connection.close()
