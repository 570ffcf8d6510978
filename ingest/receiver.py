"""The way of one delivery through the listening process, and the answers it may get.

`_admit` checks what the headers say -> the body is read within its limits -> `Verifier` proves the
sender -> `Committer` has it read, stored and answered by the writing process. No answer with a 2xx
status is sent before the transaction that holds the delivery has been synced.

`take` goes that way at once with a delivery that has arrived whole and is in order. All that must
be awaited or refused goes it by `__call__`, as an ASGI application.

Source: design.md, "HTTP".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ingest.bodies import Arriving, GaveWayError
from ingest.commit import NotStoredError, OutcomeUnknownError, Told
from ingest.frames import Answer, Handed
from ingest.http_protocol import EXCHANGE_KEY, Exchange, WholeRequest
from ingest.logs import LineLimit, log
from ingest.metrics import Metrics
from ingest.responses import (
    FAILED,
    NOT_STORED,
    AnswerError,
    Receive,
    Scope,
    Send,
    send_answer,
    send_refusal,
    too_large,
)
from ingest.settings import Settings
from ingest.verify import Headers, Rejected, Request, Verified, Verifier

BODY_SECONDS_MAX: Final = 10.0
ARRIVING_BYTES_MAX: Final = 5 * 1024 * 1024
REJECTIONS_A_MINUTE: Final = 60
HEADER_FIELDS_MAX: Final = 64
HEADERS_KEY: Final = "hooklake.headers"
LENGTH_KEY: Final = "hooklake.length"


class Storage(Protocol):
    """What the application needs of the commit side."""

    @property
    def queue_bytes(self) -> int: ...
    def take(self, delivery: Handed, told: Told) -> None: ...
    def submit(self, delivery: Handed) -> asyncio.Future[Answer]: ...
    def note_rejection(
        self, *, received_at: int, reason: str, detail: str, client: str | None, body_bytes: int
    ) -> None: ...


class Readiness(Protocol):
    """Whether a delivery can be stored durably right now."""

    def problem(self) -> str | None:
        """A key of `NOT_STORED`, or None."""

    def report(self) -> dict[str, Any]:
        """Free bytes, landing lag and the like, for `/readyz` and the metrics."""


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
        self._arriving = Arriving(max(ARRIVING_BYTES_MAX, settings.body_bytes_max))
        self._log = log("receiver")
        self._rejection_lines = LineLimit(processes=settings.workers)
        self._rejection_records = LineLimit(REJECTIONS_A_MINUTE, settings.workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._deliver(scope, receive)
        except AnswerError as error:
            await send_refusal(error, self._metrics, scope, send)
        except _ClientGoneError:
            self._metrics.refused.labels("client_gone").inc()
        except Exception as error:  # noqa: BLE001 - a bug of ours is 503, never silence or 500
            self._log.error("failed", kind=type(error).__name__)
            refusal = AnswerError(503, "error", FAILED, is_closing=True)
            await send_refusal(refusal, self._metrics, scope, send)
        else:
            await send_answer(scope, send, status, body)

    def take(self, request: WholeRequest, path_token: str | None) -> bool:
        """Have a whole delivery stored, to be answered by what becomes of it.

        False, and nothing done, where there is something to refuse: `__call__` says it.
        """
        body = request.body
        try:
            headers = Headers(request.headers)
            length = declared_length(headers, len(request.headers), request.http_version)
            self._admit(headers, length)
            self._check_length(body, length)
            verdict, received_at = self._prove(headers, body, path_token)
            if isinstance(verdict, Rejected):
                return False
            self._storage.take(
                _handed(body, received_at, verdict), lambda outcome: self._finish(request, outcome)
            )
        except Exception:  # noqa: BLE001 - `__call__` meets it again
            return False
        self._metrics.count(self._metrics.key_uses, verdict.scheme, verdict.key_name)
        return True

    def _finish(
        self, request: WholeRequest, outcome: Answer | NotStoredError | OutcomeUnknownError
    ) -> None:
        try:
            if isinstance(outcome, NotStoredError):
                refusal = _not_stored(outcome)
                self._metrics.refused.labels(refusal.reason).inc()
                request.answer(refusal.status, refusal.body)
            elif isinstance(outcome, OutcomeUnknownError):
                self._metrics.refused.labels("client_gone").inc()
                request.abort()
            else:
                request.answer(*outcome)
        except Exception as error:  # noqa: BLE001 - the others of its group are to be answered
            self._log.error("failed", kind=type(error).__name__)
            request.abort()

    async def _deliver(self, scope: Scope, receive: Receive) -> Answer:
        headers: Headers = scope[HEADERS_KEY]
        declared: int | None = scope[LENGTH_KEY]
        self._admit(headers, declared)
        body = await self._read_body(scope, receive, declared)
        self._check_length(body, declared)
        path_token = scope.get("path_params", {}).get("token")
        verdict, received_at = self._prove(headers, body, path_token)
        if isinstance(verdict, Rejected):
            self._note_rejection(verdict, scope, received_at, len(body))
            raise _RejectedAnswer(verdict)
        self._metrics.count(self._metrics.key_uses, verdict.scheme, verdict.key_name)
        return await self._store(_handed(body, received_at, verdict), scope)

    def _admit(self, headers: Headers, declared: int | None) -> None:
        """Raises: AnswerError for what need not be read to be refused."""
        if declared is not None and declared > self._settings.body_bytes_max:
            raise too_large(self._settings.body_bytes_max)
        _check_encoding(headers)
        problem = self._readiness.problem()
        if problem is not None:
            raise AnswerError(503, problem, NOT_STORED[problem], is_closing=declared != 0)

    def _check_length(self, body: bytes, declared: int | None) -> None:
        if len(body) > self._settings.body_bytes_max:
            raise too_large(self._settings.body_bytes_max)
        if declared is not None and len(body) != declared:
            raise AnswerError(
                400, "short_body", "fewer bytes arrived than were declared", is_closing=True
            )

    def _prove(
        self, headers: Headers, body: bytes, path_token: str | None
    ) -> tuple[Verified | Rejected, int]:
        """Who sent it, and when it came in microseconds."""
        now = self._now()
        verdict = self._verifier.verify(Request(headers, body, now, path_token))
        return verdict, int(now * 1_000_000)

    async def _read_body(self, scope: Scope, receive: Receive, declared: int | None) -> bytes:
        """The whole body. Raises: AnswerError, _ClientGoneError."""
        exchange: Exchange | None = scope.get(EXCHANGE_KEY)
        body = None if exchange is None else exchange.complete_body()
        if body is not None:
            return body
        return await self._collect_body(receive, exchange, declared)

    async def _collect_body(
        self, receive: Receive, exchange: Exchange | None, declared: int | None
    ) -> bytes:
        """A body out of its parts. Raises: AnswerError, _ClientGoneError."""
        try:
            async with self._arriving.body(declared, BODY_SECONDS_MAX) as body:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGoneError
                    self._arriving.add(body, message.get("body", b""))
                    if body.size > self._settings.body_bytes_max:
                        raise too_large(self._settings.body_bytes_max)
                    if not message.get("more_body"):
                        return b"".join(body.parts)
                    if not self._arriving.may_go_on(body):
                        if exchange is not None:
                            exchange.pause_reading()
                        await self._arriving.turn(body)
                    if exchange is not None and body.is_admitted and declared is not None:
                        exchange.read_freely(declared - body.size)
        except GaveWayError:
            raise AnswerError(
                503, "bodies_full", NOT_STORED["bodies_full"], is_closing=True
            ) from None
        except TimeoutError:
            raise AnswerError(
                408, "body_timeout", "the body did not arrive within 10 s", is_closing=True
            ) from None
        except asyncio.CancelledError:  # the server's, which waits for nobody any more
            raise AnswerError(503, "draining", NOT_STORED["draining"], is_closing=True) from None

    async def _store(self, delivery: Handed, scope: Scope) -> Answer:
        try:
            return await self._storage.submit(delivery)
        except NotStoredError as error:
            raise _not_stored(error) from None
        except (OutcomeUnknownError, asyncio.CancelledError):
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


class _RejectedAnswer(AnswerError):  # noqa: N818
    def __init__(self, verdict: Rejected) -> None:
        super().__init__(401, "not_verified", verdict.reason)


def _not_stored(error: NotStoredError) -> AnswerError:
    return AnswerError(503, error.reason, NOT_STORED[error.reason])


def _handed(body: bytes, received_at: int, verdict: Verified) -> Handed:
    proof = f"{verdict.scheme}:{verdict.key_name}"
    return body, received_at, verdict.delivery_id, verdict.signed_at, proof


def _check_encoding(headers: Headers) -> None:
    for value in headers.all(b"content-encoding"):
        if value.strip().lower() not in (b"", b"identity"):
            raise AnswerError(
                415,
                "content_encoding",
                "Content-Encoding is not taken, since signatures cover the plain bytes; "
                "send the body uncompressed",
                is_closing=True,
            )
    for value in headers.all(b"transfer-encoding"):
        if value.strip().lower() != b"chunked":
            raise AnswerError(
                415,
                "content_encoding",
                "Transfer-Encoding is not taken but for chunked; send the body uncompressed",
                is_closing=True,
            )


def declared_length(headers: Headers, fields: int, http_version: str) -> int | None:
    """The body's length, None where it is chunked.

    fields: the number of headers; their size is bounded while they arrive (`http_protocol`).
    Raises: AnswerError for headers that are too many, name no host or several, or tell the length
    in two ways.
    """
    if fields > HEADER_FIELDS_MAX:
        raise AnswerError(
            431, "too_many_headers", f"more than {HEADER_FIELDS_MAX} header fields", is_closing=True
        )
    hosts = len(headers.all(b"host"))
    if hosts > 1 or (hosts == 0 and http_version == "1.1"):
        raise AnswerError(400, "bad_request", "a request names exactly one Host", is_closing=True)
    lengths: Sequence[bytes] = headers.all(b"content-length")
    is_chunked = b"transfer-encoding" in headers
    if len(set(lengths)) > 1 or (lengths and is_chunked):
        raise AnswerError(
            400, "ambiguous_length", "the body's length is declared in two ways", is_closing=True
        )
    if not lengths:
        return None if is_chunked else 0
    return int(lengths[0])
