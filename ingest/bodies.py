"""Bodies that are arriving, and the memory they share.

An ordinary body waits for nobody. A large one is admitted where all that it may still bring fits
beside the others, and is then read at full speed to its end; until then it waits unread, in the
kernel's buffers, but for what its first reads brought. Who is read but brings next to nothing gives
way to those who wait. Of these the newest and the oldest go on by turns: beside a crowd that never
ends its bodies the newest is the likeliest to end its own, and the oldest is not to wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

UNHINDERED_BYTES: Final = 12 * 1024
"""Up to this size a body waits for nobody: ordinary ones go on beside a crowd of large ones."""

BYTES_PER_SECOND_MIN: Final = 64 * 1024
"""Who brings less gives way while others wait, as does who brings too little to end in time."""

PATIENCE_SECONDS: Final = 0.25
"""For so long a body may bring nothing while others wait."""

GUESSED_BYTES: Final = 64 * 1024
"""So large is a body taken to be that does not say; one that is larger then, twice what it is."""

OVERDRAFT_BYTES: Final = 1024 * 1024
"""What those hold that wait, beyond the bound: hundreds came at once, and the oldest give way."""


class GaveWayError(Exception):
    """The body has made room for others, or got no room in time."""


class Body:
    """One that is arriving, in parts. declared: its size in bytes, None where it was not said."""

    def __init__(self, declared: int | None, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.deadline = asyncio.timeout_at(now + seconds)
        self.expected = GUESSED_BYTES if declared is None else declared
        self.parts: list[bytes] = []
        self.size = 0
        self.is_admitted = False
        self.gave_way = False
        self.patience_ends = now + PATIENCE_SECONDS

    @property
    def claim(self) -> int:
        """What it takes of the bound, in bytes."""
        return max(self.size, self.expected) if self.is_admitted else self.size

    def bytes_per_second_min(self, now: float) -> float:
        """The rate that keeps it from giving way, and at which it ends in time."""
        ends_at = self.deadline.when()
        seconds_left = self.seconds if ends_at is None else max(ends_at - now, PATIENCE_SECONDS)
        return max(BYTES_PER_SECOND_MIN, (self.expected - self.size) / seconds_left)


class Arriving:
    """All bodies that are arriving. bytes_max: what they may hold together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._claimed = 0
        self._admitted = 0
        self._bodies: dict[Body, None] = {}  # in the order of their beginning
        self._waiting: dict[Body, asyncio.Future[None]] = {}  # in the order they came to wait
        self._is_newest_next = True
        self._next_look: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def body(self, declared: int | None, seconds: float) -> AsyncIterator[Body]:
        """A body for as long as it is arriving, in at most that time. declared: its size in bytes.

        Raises: GaveWayError, TimeoutError.
        """
        body = Body(declared, seconds, asyncio.get_running_loop().time())
        self._bodies[body] = None
        try:
            async with body.deadline:
                yield body
        except TimeoutError:
            if body.gave_way or body in self._waiting:
                raise GaveWayError from None
            raise
        finally:
            self._forget(body)
            self._share()

    def add(self, body: Body, part: bytes) -> None:
        """Keep what was read. Raises: GaveWayError."""
        if body.gave_way:
            raise GaveWayError
        claim = body.claim
        body.parts.append(part)
        body.size += len(part)
        self._held += len(part)
        self._claimed += body.claim - claim
        now = asyncio.get_running_loop().time()
        earned = max(body.patience_ends, now) + len(part) / body.bytes_per_second_min(now)
        body.patience_ends = min(earned, now + PATIENCE_SECONDS)
        while self._held > self._bytes_max + OVERDRAFT_BYTES and len(self._bodies) > 1:
            in_line = (other for other in (*self._waiting, *self._bodies) if other is not body)
            self._have_give_way(next(in_line))

    def may_go_on(self, body: Body) -> bool:
        """Whether the next part may be read at once; else `turn` tells when."""
        if body.size >= body.expected:
            self._claim(body, is_admitted=False)
            body.expected = 2 * body.size
        if not body.is_admitted and body.size > UNHINDERED_BYTES and self._has_room(body):
            self._admit(body)
        return body.is_admitted or body.size <= UNHINDERED_BYTES

    async def turn(self, body: Body) -> None:
        """Return when a body that may not go on yet may. Raises: GaveWayError.

        Waiting is not the sender's: all of the time is left then.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting[body] = loop.create_future()
        self._share()
        await waiting
        if body.gave_way:
            raise GaveWayError
        body.deadline.reschedule(loop.time() + body.seconds)

    def _has_room(self, body: Body) -> bool:
        """Whether all that it expects fits; one is always read, however little the others leave."""
        grown = max(body.expected - body.size, 0)
        return self._claimed + grown <= self._bytes_max or self._admitted == 0

    def _admit(self, body: Body) -> None:
        self._claim(body, is_admitted=True)
        body.patience_ends = asyncio.get_running_loop().time() + PATIENCE_SECONDS

    def _claim(self, body: Body, *, is_admitted: bool) -> None:
        self._claimed -= body.claim
        self._admitted += is_admitted - body.is_admitted
        body.is_admitted = is_admitted
        self._claimed += body.claim

    def _share(self) -> None:
        """Admit who fits, and while somebody is left have those give way who bring nothing."""
        while self._waiting:
            if (body := self._next_in_line()) is not None:
                self._is_newest_next = not self._is_newest_next
                self._admit(body)
                self._wake(body)
                continue
            admitted = (body for body in self._bodies if body.is_admitted)
            slowest = min(admitted, key=lambda body: body.patience_ends)
            loop = asyncio.get_running_loop()
            if slowest.patience_ends > loop.time():
                if self._next_look is None:
                    self._next_look = loop.call_at(slowest.patience_ends, self._look_again)
                return
            self._have_give_way(slowest)

    def _next_in_line(self) -> Body | None:
        line = list(self._waiting)
        if self._is_newest_next:
            line.reverse()
        return next((body for body in line if self._has_room(body)), None)

    def _look_again(self) -> None:
        self._next_look = None
        self._share()

    def _have_give_way(self, body: Body) -> None:
        self._wake(body)
        self._forget(body)
        body.gave_way = True
        if not body.deadline.expired():
            body.deadline.reschedule(asyncio.get_running_loop().time())

    def _wake(self, body: Body) -> None:
        waiting = self._waiting.pop(body, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _forget(self, body: Body) -> None:
        if body in self._bodies:
            del self._bodies[body]
            self._waiting.pop(body, None)
            self._claimed -= body.claim
            self._held -= body.size
            self._admitted -= body.is_admitted
            body.parts.clear()
