"""A connection between its requests: how long it is kept, and what it does at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
import time
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
import uvloop
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from ingest.http_protocol import (
    EXCHANGE_KEY,
    READ_BYTES_MAX,
    READ_BYTES_MIN,
    BoundedProtocol,
    WholeRequest,
    _Reading,
)

pytestmark = pytest.mark.alone

KEPT_SECONDS = 1.0
LARGE = b"{}" + b" " * 20_000_000
REQUEST = b"POST /here HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


class Taking(BoundedProtocol):
    """Takes whole requests but those for /large and /small, and leaves the answer to the test."""

    silent = {}  # noqa: RUF012
    arriving = {}  # noqa: RUF012
    turned_away = {}  # noqa: RUF012
    taken: list[WholeRequest]
    open: Collection[object]

    @classmethod
    def take(cls, request: WholeRequest) -> bool:  # type: ignore[override]
        if request.url in (b"/large", b"/small"):
            return False
        cls.taken.append(request)
        return True


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of a server of `Taking` connections, which are kept for `KEPT_SECONDS`."""

    async def large(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/small":
            while (await receive()).get("more_body"):
                pass
            scope[EXCHANGE_KEY].answer(200, b"{}")
            return
        assert scope["path"] in ("/large", "/half")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": LARGE})

    config = Config(large, timeout_keep_alive=KEPT_SECONDS, log_level="error")  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    Taking.taken, Taking.open = [], state.connections
    server = await asyncio.get_running_loop().create_server(
        lambda: Taking(config, state, {}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        for connection in list(state.connections):
            connection.abort()  # type: ignore[union-attr]
        while state.connections:
            await asyncio.sleep(0.005)


async def taken(number: int) -> WholeRequest:
    while len(Taking.taken) < number:
        await asyncio.sleep(0.005)
    return Taking.taken[number - 1]


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n{}")


def test_a_silent_connection_is_closed_so_long_after_its_last_answer() -> None:
    async def test() -> None:
        async with connected() as (reader, writer):
            for number, pause in ((1, KEPT_SECONDS * 0.7), (2, 0.0)):
                writer.write(REQUEST)
                (await taken(number)).answer(200, b"{}")
                await head(reader)
                answered = time.monotonic()
                await asyncio.sleep(pause)
            assert await reader.read() == b""
            assert KEPT_SECONDS - 0.05 <= time.monotonic() - answered < KEPT_SECONDS + 3

    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_connection_that_waits_for_an_answer_is_kept_however_long_it_takes() -> None:
    async def test() -> None:
        async with connected() as (reader, writer):
            writer.write(REQUEST)
            (await taken(1)).answer(200, b"{}")
            await head(reader)
            writer.write(REQUEST)
            request = await taken(2)
            await asyncio.sleep(KEPT_SECONDS * 1.3)
            request.answer(200, b"{}")
            assert b"connection: close" not in await head(reader)
            assert await reader.read() == b"", "and closed when silent again"

    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_server_that_stops_answers_what_it_has_taken_and_closes() -> None:
    async def test() -> None:
        async with connected() as (reader, writer):
            writer.write(REQUEST)
            request = await taken(1)
            (connection,) = request._protocol.connections
            connection.shutdown()  # type: ignore[union-attr]
            request.answer(200, b"{}")
            assert b"connection: close" in await head(reader)
            assert await reader.read() == b""

    asyncio.run(asyncio.wait_for(test(), 20))


def test_an_answer_for_a_client_that_is_gone_goes_nowhere() -> None:
    async def test() -> None:
        async with connected() as (_, writer):
            writer.write(REQUEST)
            request = await taken(1)
            opened = writer.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()  # a reset, then: an end alone leaves the answer its way
            while not request.disconnected:
                await asyncio.sleep(0.005)
            request.answer(200, b"{}")
            request.abort()
            assert not request.response_started

    asyncio.run(asyncio.wait_for(test(), 20))


def test_who_does_not_read_answers_is_not_read_and_closed_in_the_end() -> None:
    async def test(is_reading_again: bool) -> None:
        async with connected() as (reader, writer):
            writer.write(REQUEST)
            request = await taken(1)
            (connection,) = request._protocol.connections
            request.answer(200, LARGE)
            writer.write(REQUEST * 3)
            await asyncio.sleep(KEPT_SECONDS / 4)
            assert len(Taking.taken) == 1, "nothing more is read meanwhile"
            if is_reading_again:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(LARGE))
                assert b"%d" % len(LARGE) in head
                assert (await taken(2)).body == b""
            else:
                while connection in request._protocol.connections:
                    await asyncio.sleep(0.01)

    for is_reading_again in (True, False):
        asyncio.run(asyncio.wait_for(test(is_reading_again), 20))


@pytest.mark.parametrize(
    "sent",
    [
        REQUEST.replace(b"/here", b"/large") * 3,
        REQUEST.replace(b"/here", b"/large").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    ],
    ids=["more is asked", "it was the last"],
)
def test_an_answer_that_nobody_reads_holds_a_connection_for_a_time_only(sent: bytes) -> None:
    async def test() -> None:
        async with connected() as (_, writer):
            writer.write(sent)
            while not Taking.open:
                await asyncio.sleep(0.005)
            while Taking.open:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(test(), 20))


def test_the_more_bodies_arrive_the_less_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with connected() as (_, writer):
            writer.write(REQUEST)
            (connection,) = (await taken(1))._protocol.connections
            assert isinstance(connection, Taking)
            reading = _Reading(connection)
            for crowd, left, size in (
                (0, 0, READ_BYTES_MAX),
                (64, 0, 8 * 1024),
                (500, 0, READ_BYTES_MIN),
                (500, 10_000, 10_000),  # its own rest, and nothing that is sent ahead behind it
                (500, 1_000_000, READ_BYTES_MAX),
            ):
                monkeypatch.setattr(Taking, "arriving", dict.fromkeys(range(crowd), 0.0))
                connection.freely_left = left
                assert len(reading.get_buffer(-1)) == size

    asyncio.run(asyncio.wait_for(test(), 20))


SMALL = REQUEST.replace(b"/here", b"/small")


@pytest.mark.parametrize(
    "sent",
    [SMALL, SMALL[:-1], REQUEST, REQUEST + SMALL * 2],
    ids=["answered", "unfinished", "taken", "not begun"],
)
def test_nothing_of_an_ended_connection_waits_for_the_garbage_collector(sent: bytes) -> None:
    async def test() -> None:
        async with connected() as (reader, writer):
            writer.write(sent)
            if sent == SMALL:
                await head(reader)
                return
            while not (Taking.taken or Taking.arriving):
                await asyncio.sleep(0.005)

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            uvloop.run(asyncio.wait_for(test(), 20))
        Taking.taken, Taking.open = [], ()
        left = [one for one in gc.get_objects() if isinstance(one, Taking | RequestResponseCycle)]
        assert left == []
    finally:
        gc.enable()


def test_an_aborted_connection_takes_no_answer_to_an_earlier_request() -> None:
    async def test() -> None:
        async with connected() as (_, writer):
            half = REQUEST.replace(b"/here", b"/half")[:-1]
            writer.write(REQUEST + half)
            request = await taken(1)
            (connection,) = request._protocol.connections
            while connection not in Taking.arriving:
                await asyncio.sleep(0.005)
            connection.abort()  # type: ignore[union-attr]
            request.answer(200, b"{}")
            assert request.disconnected
            assert not request.response_started

    asyncio.run(asyncio.wait_for(test(), 20))
