"""What the receiver sends back: answers, and refusals that say what to do.

Source: design.md, "HTTP".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from starlette.responses import Response

from ingest.answer import encode
from ingest.http_protocol import EXCHANGE_KEY, RETRY_AFTER_SECONDS, Exchange, Fields
from ingest.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
FAILED: Final = "the receiver failed; nothing was acknowledged"
NOT_STORED: Final = {
    "queue_full": "more deliveries are waiting than the queue may hold",
    "bodies_full": "too many large bodies are arriving at once; try again shortly",
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


async def send_refusal(error: AnswerError, metrics: Metrics, scope: Scope, send: Send) -> None:
    metrics.refused.labels(error.reason).inc()
    await send_answer(scope, send, error.status, error.body, is_closing=error.is_closing)


async def send_answer(
    scope: Scope,
    send: Send,
    status: int,
    body: bytes,
    *,
    is_closing: bool = False,
    headers: Fields = (),
) -> None:
    """A whole answer of JSON; through ASGI only where the server is not `BoundedProtocol`."""
    exchange: Exchange | None = scope.get(EXCHANGE_KEY)
    if exchange is not None:
        exchange.answer(status, body, is_closing=is_closing, headers=headers)
        return
    sent = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    if status == 503:
        sent.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if is_closing:
        sent.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


class Refusal(Response):
    """What a request for another path or method gets. headers: those of Starlette's error."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None) -> None:
        super().__init__(encode({"status": "refused", "reason": reason}), status)
        self._more = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send_answer(scope, send, self.status_code, bytes(self.body), headers=self._more)
