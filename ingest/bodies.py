"""Bodies that are arriving, and the memory they share.

Of a crowd of large bodies only as many are read on as fit; the others wait unread, in the kernel's
buffers, but for what each connection's first reads brought; the newest of them goes on first. The
oldest body of all is read on for a second, be there room or not. Underway for longer it gives way
while others wait, its own waiting counted, and at once where far more is held than may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ingest.http_protocol import READ_BYTES, UNDISTURBED_BODY_SECONDS

UNHINDERED_BYTES: Final = 12 * 1024
"""Up to this size a body waits for nobody: ordinary ones go on beside a crowd of large ones."""

OVERDRAFT_BYTES: Final = 1536 * 1024
"""So much beyond the bound the oldest gives way whatever its age: hundreds came at once."""


class GaveWayError(Exception):
    """The body has made room for others."""


class Body:
    """One that is arriving, in parts."""

    def __init__(self, deadline: asyncio.Timeout, since: float) -> None:
        self.deadline = deadline
        self.since = since
        self.parts: list[bytes] = []
        self.size = 0
        self.promised = 0  # bytes it may read next
        self.gave_way = False


class Arriving:
    """All bodies that are arriving. bytes_max: what they may hold together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._bodies: dict[Body, None] = {}  # the one that began first stands first
        self._waiting: dict[Body, asyncio.Future[None]] = {}
        self._next_look: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def body(self, seconds: float) -> AsyncIterator[Body]:
        """A body for as long as it is arriving. Raises: GaveWayError, TimeoutError."""
        body = Body(asyncio.timeout(seconds), asyncio.get_running_loop().time())
        self._bodies[body] = None
        try:
            async with body.deadline:
                yield body
        except TimeoutError:
            if body.gave_way:
                raise GaveWayError from None
            raise
        finally:
            self._forget(body)
            self._share()

    def add(self, body: Body, part: bytes) -> None:
        """Keep what was read. Raises: GaveWayError."""
        if body.gave_way:
            raise GaveWayError
        body.parts.append(part)
        body.size += len(part)
        self._held += len(part) - body.promised
        body.promised = 0

    async def turn(self, body: Body) -> None:
        """Return when the next part may be read."""
        if self._is_full() and body.size > UNHINDERED_BYTES:
            self._waiting[body] = asyncio.get_running_loop().create_future()
        self._share()
        if (waiting := self._waiting.get(body)) is not None:
            await waiting

    def _is_full(self) -> bool:
        return self._held + READ_BYTES > self._bytes_max

    def _share(self) -> None:
        """Let those go on whose next part fits, and have the oldest give way where none does."""
        while self._is_full() and (self._waiting or self._held > self._bytes_max):
            oldest = next(iter(self._bodies))
            loop = asyncio.get_running_loop()
            left = oldest.since + UNDISTURBED_BODY_SECONDS - loop.time()
            is_spared = left > 0 and self._held <= self._bytes_max + OVERDRAFT_BYTES
            if is_spared or len(self._bodies) == 1:
                self._go_on(oldest)
                if left > 0 and self._next_look is None:
                    self._next_look = loop.call_later(left, self._look_again)
                return
            self._forget(oldest)
            oldest.gave_way = True
            if not oldest.deadline.expired():
                oldest.deadline.reschedule(loop.time())
        while self._waiting and not self._is_full():
            self._go_on(next(reversed(self._waiting)))

    def _look_again(self) -> None:
        self._next_look = None
        self._share()

    def _go_on(self, body: Body) -> None:
        waiting = self._waiting.pop(body, None)
        if waiting is not None and not waiting.done():
            body.promised = READ_BYTES
            self._held += READ_BYTES
            waiting.set_result(None)

    def _forget(self, body: Body) -> None:
        if body in self._bodies:
            del self._bodies[body]
            self._waiting.pop(body, None)
            self._held -= body.size + body.promised
            body.parts.clear()
