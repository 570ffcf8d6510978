"""Real deliveries put into a real ledger, as a receiver would, at instants of a test's choosing."""

from __future__ import annotations

import json
from typing import Any

import apsw

from ingest.ledger import Delivery, Outcome, record_rejection, store_deliveries, transaction
from ingest.parse import Arrival, parse_body

HOUR = 3_600_000_000


def keep(
    connection: apsw.Connection,
    body: bytes | dict[str, Any],
    received_at: int,
    *,
    delivery_id: str | None = None,
    **known: Any,
) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = parse_body(raw, Arrival(stored_at=received_at, signed_id=delivery_id))
    delivery = Delivery(
        content, raw, received_at, delivery_id=delivery_id, verified_by="standard:s", **known
    )
    with transaction(connection):
        return store_deliveries(connection, [delivery], "n1")[0]


def refuse(connection: apsw.Connection, received_at: int, detail: str = "wrong") -> None:
    record_rejection(
        connection,
        received_at=received_at,
        reason="wrong_signature",
        detail=detail,
        client="127.0.0.1",
        body_bytes=2,
    )


def plan_changed(email: str = "a@example.com", **more: Any) -> dict[str, Any]:
    return {"event": "plan_changed", "data": {"plan_id": "free", "owner_email": email, **more}}
