"""uvicorn's HTTP/1.1 protocol with the limits and deadlines it lacks.

A header has 16 KiB and 5 seconds, counted from the opening of the connection or from the first
byte after an answer. Open connections are capped: a new one takes the place of the longest silent
one, else of one whose body has been underway for a second, and only where there is none it is
answered 503. Bodies have their deadline in `receiver`. Who reads no answers is not read either.
Who is answered before all is read is told that no more will come, and has a second to read it.

llhttp (httptools) is the parser: stricter than h11 about what a request is, and a third of its
cost. What it leaves open is closed here: the size of headers and trailers, how many requests may
be sent ahead of their answers, and going on in HTTP/1.1 where an upgrade was offered.

A request that has arrived whole, and waits for no other, is offered to `take` as a `WholeRequest`:
most deliveries are, and a scope, a cycle and a task for each would cost more than storing it. What
`take` leaves, and all else, goes uvicorn's way to the application.
"""

from __future__ import annotations

import asyncio
import http
import weakref
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

HEADER_BYTES_MAX: Final = 16 * 1024
HEADER_SECONDS_MAX: Final = 5.0
REQUESTS_AHEAD_MAX: Final = 32
UNDISTURBED_BODY_SECONDS: Final = 1.0
KEEP_ALIVE_SECONDS: Final = 30
PIECE_BYTES: Final = 8 * 1024
READ_BYTES_MAX: Final = 256 * 1024
READ_BYTES_MIN: Final = 4 * 1024
READ_SHARED_BYTES: Final = 512 * 1024
LINGER_SECONDS: Final = 1.0
LINGER_BYTES_MAX: Final = 4 * 1024 * 1024
TURNED_AWAY_MAX: Final = 32
RETRY_AFTER_SECONDS: Final = 1
EXCHANGE_KEY: Final = "hooklake.exchange"
Fields = Iterable[tuple[bytes, bytes]]
HEADER_FRAME_BYTES: Final = len(b": \r\n")

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}


def _head(status: int, size: int, *, is_closing: bool) -> bytes:
    """The lines before a JSON body of `size` bytes, without the empty one."""
    return b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%b%b" % (
        _STATUS_LINES[status],
        size,
        b"retry-after: %d\r\n" % RETRY_AFTER_SECONDS if status == 503 else b"",
        b"connection: close\r\n" if is_closing else b"",
    )


class _Part(Enum):
    """Where in a request the next byte belongs."""

    BETWEEN = 0
    HEADER = 1
    BODY = 2


class _RefusalError(Exception):
    """Ends the parsing of a connection. Its arguments are those of `BoundedProtocol._refuse`."""


class Exchange:
    """One request and its answer, as the application finds it in `scope[EXCHANGE_KEY]`.

    The cycle holds the scope, and lives for as long as the application runs. Were it held from
    here, thousands of ended requests would wait for the garbage collector.
    """

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: BoundedProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol: BoundedProtocol = weakref.proxy(protocol)
        self._cycle: RequestResponseCycle = weakref.proxy(cycle)

    def complete_body(self) -> bytes | None:
        """The request's body where all of it has arrived already, else None."""
        return None if self._cycle.more_body else bytes(self._cycle.body)

    def pause_reading(self) -> None:
        """Leave what else is sent to the kernel, until the application asks for more."""
        self._protocol.flow.pause_reading()

    def read_freely(self, left: int) -> None:
        """Read as fast as it comes what is left of the body, in bytes."""
        if self._cycle.more_body:
            self._protocol.freely_left = left

    def answer(
        self, status: int, body: bytes, *, is_closing: bool = False, headers: Fields = ()
    ) -> None:
        """Send a whole answer, of JSON, in one write; nothing where the client is gone."""
        cycle = self._cycle
        if not (cycle.disconnected or cycle.response_started):
            cycle.keep_alive = cycle.keep_alive and not (is_closing or cycle.more_body)
            cycle.message_event.set()
            self._protocol.answer(
                cycle, status, body, headers, is_head=cycle.scope["method"] == "HEAD"
            )

    def abort(self) -> None:
        """Close the connection at once and without an answer."""
        self._cycle.disconnected = True
        self._protocol.abort()


class _Reading(asyncio.BufferedProtocol):
    """Stands between a connection's transport and its protocol, and bounds what is read at once.

    The more bodies are arriving, the less: 64 KiB at 8, 8 KiB at 64. One buffer serves all.
    """

    __slots__ = ("_protocol",)
    _buffer: Final = memoryview(bytearray(READ_BYTES_MAX))

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        crowd = len(self._protocol.arriving)
        share = max(READ_BYTES_MIN, READ_SHARED_BYTES // crowd) if crowd else READ_BYTES_MAX
        return self._buffer[: max(share, self._protocol.freely_left)]

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class _NobodyWaits:
    """Stands for the event by which uvicorn wakes a request's task: these have none."""

    def set(self) -> None:
        pass


class WholeRequest:
    """A request that has arrived whole. headers: names in lower case, values as sent.

    To uvicorn's protocol it is the connection's cycle.
    """

    __slots__ = (
        "_protocol",
        "body",
        "disconnected",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "response_complete",
        "response_started",
        "url",
    )
    message_event: Final = _NobodyWaits()

    def __init__(self, protocol: BoundedProtocol, body: bytes) -> None:
        parser = protocol.parser
        self._protocol = protocol
        self.method: bytes = parser.get_method()
        self.url = protocol.url
        self.http_version: str = parser.get_http_version()
        self.headers = protocol.headers
        self.body = body
        self.keep_alive: bool = self.http_version != "1.0" and parser.should_keep_alive()
        self.disconnected = self.response_started = self.response_complete = False

    def answer(self, status: int, body: bytes) -> None:
        """As `Exchange.answer`."""
        if not (self.disconnected or self.response_started):
            self._protocol.answer(self, status, body)

    def abort(self) -> None:
        """As `Exchange.abort`; nothing where the client is gone."""
        if not self.disconnected:
            self.disconnected = True
            self._protocol.abort()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The attributes of the class are set on a subclass by `worker`.

    silent: connections without a request, longest first. arriving: those with an unfinished body,
    oldest first, and since when on the loop's clock. turned_away: those beyond the cap, which
    are still to read why, oldest first.
    """

    connections_max: int = 512
    silent: dict[BoundedProtocol, None]
    arriving: dict[BoundedProtocol, float]
    turned_away: dict[BoundedProtocol, None]

    @staticmethod
    def on_refusal(reason: str) -> None:
        """Told of every request refused before the application saw it."""

    @staticmethod
    def take(request: WholeRequest) -> bool:  # noqa: ARG004
        """Have a request answered later; False, and nothing done: the application is to do it."""
        return False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._part = _Part.BETWEEN
        self._header_bytes = 0
        self._header_deadline: asyncio.TimerHandle | None = None
        self._unanswered = 0
        self._refusal: tuple[int, str, str] | None = None
        self._untold: list[bytes] | None = None  # body of a request the application has not seen
        self._unparsed = 0  # bytes since the parser last made something of them
        self._silent_since = 0.0
        self._end_deadline: asyncio.TimerHandle | None = None
        self._linger_deadline: asyncio.TimerHandle | None = None
        self._linger_bytes = 0  # still to be read, and thrown away
        self._is_half_closed = False
        self.freely_left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_protocol(_Reading(self))
        if len(self.connections) - len(self.turned_away) > self.connections_max:
            outlived = self._outlived()
            if outlived is None:
                self._turn_away()
                return
            outlived.abort()
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_arrived()
        self._unset_keepalive_if_required()
        self._be_spared()
        if self._linger_deadline is not None:
            self._linger_deadline.cancel()
        self.arriving.pop(self, None)
        self.turned_away.pop(self, None)
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        super().connection_lost(exc)
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment] # it may hold the connection

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more: who asked whole requests still gets their answers."""
        if self._is_ending():
            return False
        if self._part is _Part.HEADER and self._unanswered > 0 and self._refusal is None:
            self._refuse_in_turn(400, "the request has no end", "bad_request")
        is_whole = self._part is _Part.BETWEEN or self._refusal is not None
        self._is_half_closed = is_whole and self._unanswered > 0
        return self._is_half_closed

    def data_received(self, data: bytes) -> None:
        if self._linger_deadline is not None:
            self._linger_bytes -= len(data)
            if self._linger_bytes < 0:
                self._close()
            return
        if self._refusal is not None or self.transport.is_closing():
            return
        part_before = self._part
        try:
            self._feed(data)
            if self._untold is not None:
                self._tell_application(self._untold)
        except _RefusalError as error:
            self._refuse_in_turn(*error.args)
            return
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _RefusalError):
                self._refuse_in_turn(*error.__context__.args)
            else:
                self._refuse_in_turn(400, "this is no HTTP/1.1 request", "bad_request")
            return
        if self._part is _Part.BODY:
            self.arriving.setdefault(self, self.loop.time())
            self.freely_left = max(self.freely_left - len(data), 0)
            if self.cycle.message_event.is_set() and not self.freely_left:
                self.flow.pause_reading()  # until the application has taken it, and asks for more
            return
        if part_before is _Part.BODY:
            self.arriving.pop(self, None)
        if not self._unanswered and self._header_deadline is None:
            self._await_header()

    def _feed(self, data: bytes) -> None:
        """In pieces, since the parser keeps to itself what has no end yet, however long it is."""
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            self._unparsed += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as offered:
                self._feed(self._without_upgrade(data[start + offered.args[0] :]))
                return
            if self._unparsed > HEADER_BYTES_MAX:
                raise _RefusalError(431, "the headers are larger than 16 KiB", "headers_too_large")

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The request whose header is read, without its offer, and the `rest` behind the header.

        llhttp would leave the rest to another protocol. A parser of its own reads it anew.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise _RefusalError(400, "CONNECT is not taken", "bad_request") from None
        head = [b"%b %b HTTP/%b\r\n" % (method, self.url, version.encode())]
        head += [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return b"".join((*head, b"\r\n", rest))

    def on_message_begin(self) -> None:
        if self._unanswered >= REQUESTS_AHEAD_MAX:
            raise _RefusalError(
                400, f"more than {REQUESTS_AHEAD_MAX} requests without an answer", "bad_request"
            )
        self._part = _Part.HEADER
        self._header_bytes = self._unparsed = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_url(self, url: bytes) -> None:
        self._unparsed = 0
        self._count_header(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Also called for the trailers of a chunked body, which count, and say nothing."""
        self._unparsed = 0
        self._count_header(len(name) + len(value) + HEADER_FRAME_BYTES)
        if self._part is _Part.HEADER:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_feed` has it read again
        self._header_arrived()
        self._part = _Part.BODY
        self._unanswered += 1
        self._untold = []
        if self._unanswered > 1:
            self._tell_application([])

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        if self._untold is None:
            super().on_body(body)
        else:
            self._untold.append(body)

    def on_message_complete(self) -> None:
        if self._part is not _Part.BODY:
            return
        if (parts := self._untold) is not None:
            request = WholeRequest(self, parts[0] if len(parts) == 1 else b"".join(parts))
            if self.take(request):
                self.cycle = request  # type: ignore[assignment]
                self._part, self._untold = _Part.BETWEEN, None
                request.body = b""  # the taker has it: none is held until the next request
                return
            self._tell_application(parts)
        self._part, self.freely_left = _Part.BETWEEN, 0
        super().on_message_complete()

    def _tell_application(self, body: list[bytes]) -> None:
        """Go uvicorn's way with a request whose header is read, and what has come of its body."""
        self._untold = None
        url, headers, is_asking = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, is_asking
        self.headers += headers
        try:
            super().on_headers_complete()
        except (httptools.HttpParserError, UnicodeDecodeError, AttributeError):
            raise _RefusalError(400, "the request's target is no path", "bad_request") from None
        self.scope[EXCHANGE_KEY] = Exchange(self, self.cycle)  # type: ignore[typeddict-unknown-key]
        for part in body:
            super().on_body(part)

    def answer(
        self,
        cycle: RequestResponseCycle | WholeRequest,
        status: int,
        body: bytes,
        headers: Fields = (),
        *,
        is_head: bool = False,
    ) -> None:
        """Write a whole answer to the request that is next to be answered, and go on.

        is_head: the body is not sent, its length is.
        """
        if self._is_ending():
            cycle.disconnected = True
            return
        cycle.response_started = cycle.response_complete = True
        added = [b"%b: %b\r\n" % field for field in (*headers, *self.server_state.default_headers)]
        head = _head(status, len(body), is_closing=not cycle.keep_alive)
        self.transport.write(b"".join((head, *added, b"\r\n", b"" if is_head else body)))
        if not cycle.keep_alive:
            if self._part is _Part.BETWEEN:
                self._close()
            else:
                self._linger()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        self.server_state.total_requests += 1
        if self._is_ending():
            self._end_in_time()
            return
        if self._refusal is not None and self._unanswered == 0:
            self.pipeline.clear()
            self._refuse(*self._refusal)
            return
        if self.flow.write_paused:
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self._part is _Part.BODY and self.cycle.response_complete:
            self._linger()  # answered, and still sending: nobody will read it
        elif self._unanswered == 0 and self._is_half_closed:
            self._close()
        elif self._unanswered == 0:
            self._be_silent()

    def _be_silent(self) -> None:
        """Answered, and nothing to do: the connection is kept for `KEEP_ALIVE_SECONDS`.

        One timer looks again when it fires, since one a request would cost as much as parsing it.
        """
        self.silent[self] = None
        self._silent_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        if self._part is _Part.HEADER and self._header_deadline is None:
            self._await_header()

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._unanswered or self._part is not _Part.BETWEEN or self.transport.is_closing():
            return  # the next answer starts the timer again; a header has a deadline of its own
        left = self._silent_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                left, self.timeout_keep_alive_handler
            )
        else:
            self._close()

    def pause_writing(self) -> None:
        """Read nothing more of a client that does not read its answers, and have it end in time."""
        super().pause_writing()
        self.flow.pause_reading()
        self._end_in_time()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._is_ending():
            self._be_spared()
            self.flow.resume_reading()

    def _close(self) -> None:
        self.transport.close()
        self._end_in_time()

    def _linger(self) -> None:
        """Close after a moment of reading on, and say at once that nothing more will be sent.

        Closing on unread bytes would reset the connection, and take the answer off the wire.
        """
        self._header_arrived()
        self.arriving.pop(self, None)
        if self.transport.is_closing():
            self._end_in_time()
            return
        self.silent[self] = None  # it gives way to whoever needs a connection
        self._linger_bytes = LINGER_BYTES_MAX
        if isinstance(self.cycle, RequestResponseCycle):
            self.cycle.body = bytearray()  # nobody reads it, and it would be held for as long
        self._linger_deadline = self.loop.call_later(LINGER_SECONDS, self._close)
        self.transport.write_eof()
        self.flow.resume_reading()

    def _is_ending(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._linger_deadline is not None or self.transport.is_closing()

    def _end_in_time(self) -> None:
        """A closing connection waits until all is sent: for ever, where nobody reads it."""
        if self._end_deadline is None:
            self._end_deadline = self.loop.call_later(self.timeout_keep_alive, self.abort)

    def _be_spared(self) -> None:
        if self._end_deadline is not None:
            self._end_deadline.cancel()
            self._end_deadline = None

    def abort(self) -> None:
        """Close at once and without an answer; another connection may take its place now."""
        for cycle in (self.cycle, *(queued for queued, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
        self.silent.pop(self, None)
        self.arriving.pop(self, None)
        self.transport.abort()

    def _turn_away(self) -> None:
        self._refuse(503, "too many connections; try again shortly", "connections_full")
        self.silent.pop(self, None)  # it has taken nobody's place
        self.turned_away[self] = None
        lingering = [one for one in self.turned_away if not one.transport.is_closing()]
        if len(lingering) > TURNED_AWAY_MAX:
            lingering[0].abort()

    def _outlived(self) -> BoundedProtocol | None:
        for silent in self.silent:
            return silent
        for oldest, since in self.arriving.items():
            return oldest if self.loop.time() - since >= UNDISTURBED_BODY_SECONDS else None
        return None

    def _should_upgrade(self) -> bool:
        return False

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX:
            raise _RefusalError(431, "the headers are larger than 16 KiB", "headers_too_large")

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
        if not self._is_ending():
            self._refuse_in_turn(408, "the header did not arrive within 5 s", "header_timeout")

    def _refuse_in_turn(self, status: int, reason: str, code: str) -> None:
        """Refuse what has just been read; where earlier requests wait for answers, after those."""
        self.arriving.pop(self, None)
        earlier = self._unanswered - (self._part is _Part.BODY)
        if earlier > 0:
            self._header_arrived()
            self._refusal = (status, reason, code)
            self._unanswered = earlier
        else:
            self._refuse(status, reason, code)

    def _refuse(self, status: int, reason: str, code: str) -> None:
        self.on_refusal(code)
        self._header_arrived()
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if isinstance(self.cycle, RequestResponseCycle):
                self.cycle.waiting_for_100_continue = False  # nothing more can be written
        word = "unavailable" if status == 503 else "refused"
        body = f'{{"status":"{word}","reason":"{reason}"}}'.encode()
        self.transport.write(_head(status, len(body), is_closing=True) + b"\r\n" + body)
        self._linger()
