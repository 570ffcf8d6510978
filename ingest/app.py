"""The receiver's HTTP side: the webhook, and the paths that watch over it.

Source: design.md, "HTTP".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.http_protocol import RETRY_AFTER_SECONDS, WholeRequest
from ingest.logs import log
from ingest.metrics import Metrics
from ingest.openapi import openapi_document
from ingest.receiver import (
    HEADERS_KEY,
    LENGTH_KEY,
    Readiness,
    Receiver,
    Storage,
    declared_length,
)
from ingest.responses import (
    FAILED,
    NOT_STORED,
    AnswerError,
    Receive,
    Refusal,
    Scope,
    Send,
    send_refusal,
)
from ingest.settings import WEBHOOK_PATH, Settings
from ingest.verify import Headers

LANDING_LAG_SECONDS_MAX: Final = 300.0
_PLAIN_TARGET: Final = re.compile(
    re.escape(WEBHOOK_PATH.encode()) + rb"(?:/([A-Za-z0-9._~!$&'()*+,;=:@-]+))?"
)
"""The webhook's path as nearly everybody writes it: no query, nothing percent-encoded."""


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
                scope[HEADERS_KEY] = headers = Headers(scope["headers"])
                scope[LENGTH_KEY] = declared_length(
                    headers, len(scope["headers"]), scope.get("http_version", "")
                )
            except AnswerError as error:
                await send_refusal(error, self._metrics, scope, send)
                return
            if b"%2f" in scope.get("raw_path", b"").lower():
                scope["path"] = scope["raw_path"].decode("latin-1")  # no slash of ours is encoded
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

    def take(self, request: WholeRequest) -> bool:
        """`Receiver.take` where a request is for the webhook; False: it is for `__call__`."""
        target = _PLAIN_TARGET.fullmatch(request.url)
        if target is None or request.method != b"POST":
            return False
        token = target[1]
        return self._receiver.take(request, None if token is None else token.decode("ascii"))


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
        reason = None if problem is None else NOT_STORED[problem]
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
        metrics.compaction_age_seconds.set(report["compaction_age_seconds"])
        metrics.compaction_failed.set(report["compaction_failed"])
        metrics.lake_files.set(report["lake_files"])
        metrics.lake_bytes.set(report["lake_bytes"])
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
        return Refusal(status, reason, getattr(error, "headers", None))

    async def failed(_: HttpRequest, error: Exception) -> Response:
        metrics.refused.labels("error").inc()
        log("receiver").error("failed", kind=type(error).__name__)
        return JSONResponse(
            {"status": "unavailable", "reason": FAILED},
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
