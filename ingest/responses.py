"""What the receiver sends back: answers, and refusals that say what to do.

Source: design.md, "HTTP".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ingest.answer import encode
from ingest.http_protocol import EXCHANGE_KEY, RETRY_AFTER_SECONDS, Exchange
from ingest.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
LINGER_SECONDS: Final = 1.0
LINGER_BYTES_MAX: Final = 4 * 1024 * 1024
FAILED: Final = "the receiver failed; nothing was acknowledged"
NOT_STORED: Final = {
    "queue_full": "more deliveries are waiting than the queue may hold",
    "bodies_full": "too many bodies are arriving at once; this one had been for longest",
    "draining": "the receiver is shutting down",
    "disk_full": "the disk is full; nothing is lost that was acknowledged",
    "low_space": "free disk is below HOOKLAKE_FREE_BYTES_MIN",
    "ledger_busy": "another process held the ledger for longer than 5 s",
    "ledger_sick": "the ledger cannot be written",
    "failed": "the receiver failed; nothing was acknowledged",
    "timeout": "the ledger did not take the delivery within 8 s",
}
_WORD: Final = {401: "rejected", 503: "unavailable"}


class AnswerError(Exception):
    """Ends a request with a status; `is_closing` also ends the connection."""

    def __init__(self, status: int, reason: str, detail: str, *, is_closing: bool = False) -> None:
        self.status = status
        self.reason = reason
        self.detail = detail
        self.is_closing = is_closing
        super().__init__(detail)

    @property
    def body(self) -> bytes:
        answer = {"status": _WORD.get(self.status, "refused"), "reason": self.detail}
        return encode(answer).encode()


def too_large(limit: int) -> AnswerError:
    return AnswerError(
        413,
        "body_too_large",
        f"the body is larger than {limit} bytes (HOOKLAKE_BODY_BYTES_MAX)",
        is_closing=True,
    )


async def send_refusal(
    error: AnswerError, metrics: Metrics, scope: Scope, receive: Receive, send: Send
) -> None:
    metrics.refused.labels(error.reason).inc()
    await send_answer(scope, send, error.status, error.body, error.is_closing, receive)


async def send_answer(
    scope: Scope, send: Send, status: int, body: bytes, is_closing: bool, receive: Receive
) -> None:
    exchange: Exchange | None = scope.get(EXCHANGE_KEY)
    if exchange is not None and not is_closing:
        exchange.answer(status, body)
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if is_closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if is_closing and not any(name == b"expect" for name, _ in scope["headers"]):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _linger(receive)
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _linger(receive: Receive) -> None:
    """Read on for a moment: closing on unread bytes would reset the answer off the wire."""
    left = LINGER_BYTES_MAX
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return
