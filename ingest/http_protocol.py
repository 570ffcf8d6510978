"""uvicorn's HTTP/1.1 protocol with the limits and deadlines it lacks.

A header has 16 KiB and 5 seconds, counted from the opening of the connection or from the first
byte after an answer. Open connections are capped: a new one takes the place of the longest silent
one, else of one whose body has been underway for a second, and only where there is none it is
answered 503. Bodies have their deadline in `app`.

h11 is the parser: strict about what a request is, and it holds headers to a size while reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.server import ServerState

HEADER_BYTES_MAX: Final = 16 * 1024
HEADER_SECONDS_MAX: Final = 5.0
UNDISTURBED_BODY_SECONDS: Final = 1.0
KEEP_ALIVE_SECONDS: Final = 30
PROTOCOL_KEY: Final = "hooklake.protocol"


class BoundedProtocol(H11Protocol):
    """One connection. The attributes of the class are set on a subclass by `serve`.

    silent: connections without a request, longest first. arriving: those with an unfinished body,
    oldest first, and since when on the loop's clock.
    """

    connections_max: int = 512
    silent: dict[BoundedProtocol, None]
    arriving: dict[BoundedProtocol, float]

    @staticmethod
    def on_refusal(reason: str) -> None:
        """Told of every request refused before the application saw it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_deadline: asyncio.TimerHandle | None = None
        inner = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope[PROTOCOL_KEY] = self
            await inner(scope, receive, send)

        self.app = app

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            outlived = self._outlived()
            if outlived is None:
                self._refuse(503, "too many connections; try again shortly", "connections_full")
                return
            outlived.abort()
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_arrived()
        self.arriving.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._header_deadline is None and self._is_between_requests():
            self._await_header()
        super().data_received(data)
        if not self._is_between_requests():
            self._header_arrived()
        if self.conn.their_state is h11.SEND_BODY:
            self.arriving.setdefault(self, self.loop.time())
        else:
            self.arriving.pop(self, None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self._is_between_requests():
            if self.cycle.response_complete:  # answered, and still sending: nobody will read it
                self.transport.close()
            return
        self.silent[self] = None
        if self.conn.trailing_data[0]:
            self._await_header()

    def complete_body(self) -> bytes | None:
        """The request's body where all of it has arrived already, else None."""
        return None if self.cycle.more_body else bytes(self.cycle.body)

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer in one write; nothing where the client is gone."""
        cycle = self.cycle
        if cycle.disconnected or cycle.response_started:
            return
        all_headers = [*self.server_state.default_headers, *headers]
        if CLOSE_HEADER in self.headers:
            all_headers.append(CLOSE_HEADER)
        send = self.conn.send
        parts = (
            send(
                h11.Response(status_code=status, headers=all_headers, reason=STATUS_PHRASES[status])
            ),
            send(h11.Data(data=body)),
            send(h11.EndOfMessage()),
        )
        self.transport.write(b"".join(part for part in parts if part))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if self.conn.our_state is h11.MUST_CLOSE or not cycle.keep_alive:
            send(h11.ConnectionClosed())
            self.transport.close()
        cycle.on_response()

    def shutdown(self) -> None:
        with contextlib.suppress(h11.LocalProtocolError):  # refused, and about to be closed anyway
            super().shutdown()

    def abort(self) -> None:
        """Close at once and without an answer; another connection may take its place now."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.silent.pop(self, None)
        self.arriving.pop(self, None)
        self.transport.abort()

    def _outlived(self) -> BoundedProtocol | None:
        for silent in self.silent:
            return silent
        for oldest, since in self.arriving.items():
            return oldest if self.loop.time() - since >= UNDISTURBED_BODY_SECONDS else None
        return None

    def send_400_response(self, msg: str) -> None:
        """Called where h11 refuses the bytes; says 431 where they were too many."""
        error = sys.exc_info()[1]
        hint = getattr(error, "error_status_hint", 400)
        if hint == 431:
            self._refuse(431, "the headers are larger than 16 KiB", "headers_too_large")
        else:
            self._refuse(400, msg, "bad_request")

    def _should_upgrade(self) -> bool:
        return False

    def _is_between_requests(self) -> bool:
        return self.conn.their_state is h11.IDLE

    def _await_header(self) -> None:
        self.silent[self] = None
        self._header_deadline = self.loop.call_later(HEADER_SECONDS_MAX, self._header_late)

    def _header_arrived(self) -> None:
        self.silent.pop(self, None)
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None

    def _header_late(self) -> None:
        self._header_deadline = None
        if not self.transport.is_closing():
            self._refuse(408, "the header did not arrive within 5 s", "header_timeout")

    def _refuse(self, status: int, reason: str, code: str) -> None:
        self.on_refusal(code)
        self._header_arrived()
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = b'{"status":"refused","reason":"%b"}' % reason.encode()
        retry = b"retry-after: 1\r\n" if status == 503 else b""
        with contextlib.suppress(h11.LocalProtocolError):
            self.conn.send_failed()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n%b\r\n%b"
            % (status, STATUS_PHRASES[status], len(body), retry, body)
        )
        self.transport.close()
