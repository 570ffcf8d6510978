"""Stored rows of made-up lives, parsed as the receiver parses them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.contract import BUSINESS_COLUMNS
from ingest.lifecycles import lives
from ingest.parse import Arrival, Event, parse_body
from ingest.payloads import Happening, body_bytes, random_dialect, render
from ingest.population import World

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lived(world: World) -> Iterator[dict[str, Any]]:
    """Stored rows of all that happens in a world; its seed decides them."""
    chance = random.Random(world.seed)
    for life in lives(world):
        for happening in life.happenings:
            yield from deliveries(happening, chance)


def deliveries(happening: Happening, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Stored rows of one happening: mostly one, in any dialect, received some time later."""
    body = body_bytes(render(happening, random_dialect(chance)))
    for _ in range(chance.choices((1, 2, 3), (0.9, 0.08, 0.02))[0]):
        received_at = happening.occurred_at + timedelta(seconds=chance.choice((0, 2, 40, 90_000)))
        event = parse_body(body, Arrival(stored_at=(received_at - EPOCH) // timedelta.resolution))
        assert isinstance(event, Event)
        yield {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "sender_event": event.sender_event,
            "occurred_at": EPOCH + timedelta(microseconds=event.occurred_at),
            "event_time_source": event.event_time_source,
            "received_at": received_at,
            "payload": event.payload.decode(),
            **dict(zip(BUSINESS_COLUMNS, event.business, strict=True)),
        }
