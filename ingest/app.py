"""The receiver's HTTP side: routes, limits on a body, and the answer to every delivery.

A delivery's way: `_deliver` reads the body within its limits -> `Verifier` proves the sender ->
`Committer` has it read, stored and answered by the writing process. No answer with a 2xx status is
sent before the transaction that holds the delivery has been synced.

Source: design.md, "HTTP".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.answer import encode
from ingest.commit import NotStoredError, OutcomeUnknownError
from ingest.frames import Answer, Handed
from ingest.http_protocol import (
    EXCHANGE_KEY,
    HEADER_BYTES_MAX,
    HEADER_FRAME_BYTES,
    Exchange,
)
from ingest.logs import LineLimit, log
from ingest.metrics import Metrics
from ingest.openapi import openapi_document
from ingest.settings import WEBHOOK_PATH, Settings
from ingest.verify import Headers, Rejected, Request, Verifier

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS_MAX: Final = 10.0
HEADER_FIELDS_MAX: Final = 64
RETRY_AFTER_SECONDS: Final = 1
LANDING_LAG_SECONDS_MAX: Final = 300.0
LINGER_SECONDS: Final = 1.0
LINGER_BYTES_MAX: Final = 4 * 1024 * 1024
_LENGTH_KEY: Final = "hooklake.length"

_FAILED: Final = "the receiver failed; nothing was acknowledged"
_NOT_STORED: Final = {
    "queue_full": "more deliveries are waiting than the queue may hold",
    "draining": "the receiver is shutting down",
    "disk_full": "the disk is full; nothing is lost that was acknowledged",
    "low_space": "free disk is below HOOKLAKE_FREE_BYTES_MIN",
    "ledger_busy": "another process held the ledger for longer than 5 s",
    "ledger_sick": "the ledger cannot be written",
    "failed": "the receiver failed; nothing was acknowledged",
    "timeout": "the ledger did not take the delivery within 8 s",
}


class Storage(Protocol):
    """What the application needs of the commit side."""

    @property
    def queue_bytes(self) -> int: ...
    def submit(self, delivery: Handed) -> asyncio.Future[Answer]: ...
    def note_rejection(
        self, *, received_at: int, reason: str, detail: str, client: str | None, body_bytes: int
    ) -> None: ...


class Readiness(Protocol):
    """Whether a delivery can be stored durably right now."""

    def problem(self) -> str | None:
        """A key of `_NOT_STORED`, or None."""

    def report(self) -> dict[str, Any]:
        """Free bytes, landing lag and the like, for `/readyz` and the metrics."""


class _AnswerError(Exception):
    """Ends a request with a status; `is_closing` also ends the connection."""

    def __init__(self, status: int, reason: str, detail: str, *, is_closing: bool = False) -> None:
        self.status = status
        self.reason = reason
        self.detail = detail
        self.is_closing = is_closing
        super().__init__(detail)


class _ClientGoneError(Exception):
    """Nobody is left to be answered."""


class Receiver:
    """Answers deliveries. `now`: Unix time in seconds."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        readiness: Readiness,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._verifier = Verifier(settings)
        self._storage = storage
        self._readiness = readiness
        self._metrics = metrics
        self._now = now
        self._arriving_bytes = 0
        self._log = log("receiver")
        self._rejection_lines = LineLimit()
        self._rejection_records = LineLimit(60)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._deliver(scope, receive)
        except _AnswerError as error:
            await _send_refusal(error, self._metrics, scope, receive, send)
        except _ClientGoneError:
            self._metrics.refused.labels("client_gone").inc()
        except Exception as error:  # noqa: BLE001 - a bug of ours is 503, never silence or 500
            self._metrics.refused.labels("error").inc()
            self._log.error("failed", kind=type(error).__name__)
            answer = {"status": "unavailable", "reason": _FAILED}
            await _send_json(scope, send, 503, answer, True, receive)
        else:
            await _send(scope, send, status, body, False, receive)

    async def _deliver(self, scope: Scope, receive: Receive) -> Answer:
        declared: int | None = scope[_LENGTH_KEY]
        if declared is not None and declared > self._settings.body_bytes_max:
            raise _too_large(self._settings.body_bytes_max)
        headers = Headers(scope["headers"])
        _check_encoding(headers)
        problem = self._readiness.problem()
        if problem is not None:
            raise _AnswerError(503, problem, _NOT_STORED[problem], is_closing=declared != 0)
        body = await self._read_body(scope, receive, declared)
        now = self._now()
        verdict = self._verifier.verify(
            Request(headers, body, now, scope.get("path_params", {}).get("token"))
        )
        received_at = int(now * 1_000_000)
        if isinstance(verdict, Rejected):
            self._note_rejection(verdict, scope, received_at, len(body))
            raise _RejectedAnswer(verdict)
        self._metrics.count(self._metrics.key_uses, verdict.scheme, verdict.key_name)
        proof = f"{verdict.scheme}:{verdict.key_name}"
        return await self._store(
            (body, received_at, verdict.delivery_id, verdict.signed_at, proof), scope
        )

    async def _read_body(self, scope: Scope, receive: Receive, declared: int | None) -> bytes:
        """The whole body. Raises: _AnswerError, _ClientGoneError."""
        exchange: Exchange | None = scope.get(EXCHANGE_KEY)
        body = None if exchange is None else exchange.complete_body()
        if body is None:
            body = await self._collect_body(receive)
        if len(body) > self._settings.body_bytes_max:
            raise _too_large(self._settings.body_bytes_max)
        if declared is not None and len(body) != declared:
            raise _AnswerError(
                400, "short_body", "fewer bytes arrived than were declared", is_closing=True
            )
        return body

    async def _collect_body(self, receive: Receive) -> bytes:
        """A body out of its parts.

        All unfinished bodies share one bound, so that slow senders cannot fill the memory together.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGoneError
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self._arriving_bytes += len(parts[-1])
                    if size > self._settings.body_bytes_max:
                        raise _too_large(self._settings.body_bytes_max)
                    if not message.get("more_body"):
                        return b"".join(parts)
                    if self._arriving_bytes > self._settings.queue_bytes_max:
                        raise _AnswerError(
                            503, "queue_full", _NOT_STORED["queue_full"], is_closing=True
                        )
        except TimeoutError:
            raise _AnswerError(
                408, "body_timeout", "the body did not arrive within 10 s", is_closing=True
            ) from None
        finally:
            self._arriving_bytes -= size

    async def _store(self, delivery: Handed, scope: Scope) -> Answer:
        try:
            return await self._storage.submit(delivery)
        except NotStoredError as error:
            raise _AnswerError(503, error.reason, _NOT_STORED[error.reason]) from None
        except OutcomeUnknownError:
            exchange: Exchange | None = scope.get(EXCHANGE_KEY)
            if exchange is not None:
                exchange.abort()
            raise _ClientGoneError from None

    def _note_rejection(
        self, verdict: Rejected, scope: Scope, received_at: int, body_bytes: int
    ) -> None:
        reasons = "+".join(sorted({refusal.reason for refusal in verdict.refusals}))
        if self._rejection_records.allows():
            client = scope.get("client")
            self._storage.note_rejection(
                received_at=received_at,
                reason=reasons,
                detail=verdict.reason,
                client=client[0] if client else None,
                body_bytes=body_bytes,
            )
        if self._rejection_lines.allows():
            self._log.warning(
                "rejected",
                reasons=reasons,
                detail=verdict.reason,
                unlogged_before=self._rejection_lines.take_suppressed(),
            )


_WORD: Final = {401: "rejected", 503: "unavailable"}


class _RejectedAnswer(_AnswerError):  # noqa: N818
    def __init__(self, verdict: Rejected) -> None:
        super().__init__(401, "not_verified", verdict.reason)


def _check_encoding(headers: Headers) -> None:
    for value in headers.all(b"content-encoding"):
        if value.strip().lower() not in (b"", b"identity"):
            raise _AnswerError(
                415,
                "content_encoding",
                "Content-Encoding is not taken, since signatures cover the plain bytes; "
                "send the body uncompressed",
                is_closing=True,
            )


def _declared_length(scope: Scope) -> int | None:
    """The body's length, None where it is chunked.

    Raises: _AnswerError for headers that are too many, too large, name no host or several, or tell
    the length in two ways.
    """
    raw_headers = scope["headers"]
    if len(raw_headers) > HEADER_FIELDS_MAX:
        raise _AnswerError(
            431, "too_many_headers", f"more than {HEADER_FIELDS_MAX} header fields", is_closing=True
        )
    lengths: set[bytes] = set()
    is_chunked = False
    hosts = 0
    size = len(scope["raw_path"]) + len(scope["query_string"])
    for name, value in raw_headers:
        size += len(name) + len(value) + HEADER_FRAME_BYTES
        if name == b"content-length":
            lengths.add(value)
        elif name == b"transfer-encoding":
            is_chunked = True
        elif name == b"host":
            hosts += 1
    if hosts > 1 or (hosts == 0 and scope.get("http_version") == "1.1"):
        raise _AnswerError(400, "bad_request", "a request names exactly one Host", is_closing=True)
    if size > HEADER_BYTES_MAX:
        raise _AnswerError(
            431, "headers_too_large", "the headers are larger than 16 KiB", is_closing=True
        )
    if len(lengths) > 1 or (lengths and is_chunked):
        raise _AnswerError(
            400, "ambiguous_length", "the body's length is declared in two ways", is_closing=True
        )
    if not lengths:
        return None if is_chunked else 0
    return int(lengths.pop())


def _too_large(limit: int) -> _AnswerError:
    return _AnswerError(
        413,
        "body_too_large",
        f"the body is larger than {limit} bytes (HOOKLAKE_BODY_BYTES_MAX)",
        is_closing=True,
    )


async def _send_refusal(
    error: _AnswerError, metrics: Metrics, scope: Scope, receive: Receive, send: Send
) -> None:
    metrics.refused.labels(error.reason).inc()
    answer = {"status": _WORD.get(error.status, "refused"), "reason": error.detail}
    await _send_json(scope, send, error.status, answer, error.is_closing, receive)


async def _send_json(
    scope: Scope,
    send: Send,
    status: int,
    answer: dict[str, Any],
    is_closing: bool,
    receive: Receive,
) -> None:
    await _send(scope, send, status, encode(answer).encode(), is_closing, receive)


async def _send(
    scope: Scope, send: Send, status: int, body: bytes, is_closing: bool, receive: Receive
) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if is_closing:
        headers.append((b"connection", b"close"))
    exchange: Exchange | None = scope.get(EXCHANGE_KEY)
    if exchange is not None and not is_closing:
        exchange.answer(status, headers, body)
        return
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


class Application:
    """Hands deliveries straight to the receiver and everything else to Starlette's routes.

    Its routing and error layers cost a delivery as much as storing it does.
    """

    def __init__(self, starlette: Starlette, receiver: Receiver, metrics: Metrics) -> None:
        self.starlette = starlette
        self._receiver = receiver
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope[_LENGTH_KEY] = _declared_length(scope)
            except _AnswerError as error:
                await _send_refusal(error, self._metrics, scope, receive, send)
                return
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            if path == WEBHOOK_PATH:
                await self._receiver(scope, receive, send)
                return
            head, _, token = path.rpartition("/")
            if head == WEBHOOK_PATH and token:
                scope["path_params"] = {"token": token}
                await self._receiver(scope, receive, send)
                return
        await self.starlette(scope, receive, send)


def create_app(
    settings: Settings,
    storage: Storage,
    readiness: Readiness,
    metrics: Metrics,
    now: Callable[[], float] = time.time,
) -> Application:
    """The whole application: the webhook, and what watches over it."""
    receiver = Receiver(settings, storage, readiness, metrics, now)

    async def healthz(_: HttpRequest) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: HttpRequest) -> Response:
        problem = readiness.problem()
        report = readiness.report()
        reason = None if problem is None else _NOT_STORED[problem]
        if reason is None and report["landing_lag_seconds"] > LANDING_LAG_SECONDS_MAX:
            reason = "deliveries are kept, but landing them into the lake is minutes behind"
        if reason is None:
            return JSONResponse({"status": "ready", **report})
        return JSONResponse(
            {"status": "unavailable", "reason": reason, **report},
            503,
            {"retry-after": str(RETRY_AFTER_SECONDS)},
        )

    async def metrics_text(_: HttpRequest) -> Response:
        report = readiness.report()
        metrics.queue_bytes.set(storage.queue_bytes)
        metrics.free_bytes.set(report["free_bytes"])
        metrics.landing_lag_seconds.set(report["landing_lag_seconds"])
        metrics.quarantine_open.set(report["quarantine_open"])
        metrics.warehouse_age_seconds.set(report["warehouse_age_seconds"])
        metrics.ready.set(readiness.problem() is None)
        return Response(metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def openapi(_: HttpRequest) -> Response:
        return JSONResponse(openapi_document(settings))

    async def refused(request: HttpRequest, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        metrics.refused.labels("not_found" if status == 404 else "method").inc()
        reason = (
            f"no such path; deliveries go to {WEBHOOK_PATH} or {WEBHOOK_PATH}/<token>"
            if status == 404
            else f"this path does not take {request.method}"
        )
        headers = dict(getattr(error, "headers", None) or {})
        if request.headers.get("content-length", "0") != "0" or (
            "transfer-encoding" in request.headers
        ):
            headers["connection"] = "close"  # its body is never read
        return JSONResponse({"status": "refused", "reason": reason}, status, headers)

    async def failed(_: HttpRequest, error: Exception) -> Response:
        metrics.refused.labels("error").inc()
        log("receiver").error("failed", kind=type(error).__name__)
        return JSONResponse(
            {"status": "unavailable", "reason": _FAILED},
            503,
            {"retry-after": str(RETRY_AFTER_SECONDS), "connection": "close"},
        )

    app = Starlette(
        routes=[
            Route(WEBHOOK_PATH, receiver, methods=["POST"]),
            Route(f"{WEBHOOK_PATH}/{{token}}", receiver, methods=["POST"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/metrics", metrics_text, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
        ],
        exception_handlers={404: refused, 405: refused, Exception: failed},
    )
    app.router.redirect_slashes = False
    return Application(app, receiver, metrics)
