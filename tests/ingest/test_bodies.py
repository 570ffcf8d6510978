"""What arriving bodies hold together, who is read on, and who gives way."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from ingest.bodies import UNHINDERED_BYTES, Arriving, Body, GaveWayError
from ingest.http_protocol import READ_BYTES, UNDISTURBED_BODY_SECONDS

PART = bytes(READ_BYTES)
SECONDS = 10.0


class Sender:
    """Reads a body part by part; `arrived` tells how many have been."""

    def __init__(self, arriving: Arriving, parts: int, *, part: bytes = PART) -> None:
        self.arrived = 0
        self._arriving = arriving
        self._parts, self._part = parts, part
        self.is_sending = asyncio.Event()
        self.is_sending.set()
        self.body: Body
        self.task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        async with self._arriving.body(SECONDS) as self.body:
            for _ in range(self._parts):
                await asyncio.sleep(0)
                await self.is_sending.wait()
                self._arriving.add(self.body, self._part)
                self.arrived += 1
                await self._arriving.turn(self.body)


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def test_beyond_the_bound_only_the_oldest_is_read_on_and_then_the_others() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * READ_BYTES)
        crowd = [Sender(arriving, 8) for _ in range(4)]
        oldest = crowd[0]
        while not oldest.task.done():
            await asyncio.sleep(0)
            assert sum(one.arrived for one in crowd[1:]) <= 4 + 3, (
                "each may be reading when it fills"
            )
        assert oldest.arrived == 8
        await asyncio.gather(*(one.task for one in crowd))
        assert [one.arrived for one in crowd] == [8] * 4

    asyncio.run(scene())


def test_a_stalled_body_gives_way_after_its_second_where_others_wait() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * READ_BYTES)
        stalled = Sender(arriving, 8)
        while stalled.arrived < 3:
            await asyncio.sleep(0)
        stalled.is_sending.clear()
        began = time.monotonic()
        other = Sender(arriving, 6)
        await settled()
        assert other.arrived == 1, "it waits"
        await other.task
        assert other.arrived == 6
        assert time.monotonic() - began >= UNDISTURBED_BODY_SECONDS * 0.8
        with pytest.raises(GaveWayError):
            await stalled.task
        assert stalled.body.parts == []

    asyncio.run(scene())


def test_a_slow_body_in_nobodys_way_keeps_its_time() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * READ_BYTES)
        slow = Sender(arriving, 4)  # the last part fills the bound
        while slow.arrived < 3:
            await asyncio.sleep(0)
        slow.is_sending.clear()
        await asyncio.sleep(UNDISTURBED_BODY_SECONDS * 1.2)
        other = Sender(arriving, 3, part=b"{}")
        await other.task
        slow.is_sending.set()
        await slow.task
        assert (slow.arrived, other.arrived) == (4, 3)

    asyncio.run(scene())


def test_ordinary_bodies_wait_for_nobody() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * READ_BYTES)
        large = [Sender(arriving, 8) for _ in range(8)]
        for one in large:
            while one.arrived < 1:
                await asyncio.sleep(0)
            one.is_sending.clear()
        ordinary = Sender(arriving, 4, part=bytes(UNHINDERED_BYTES // 4))
        await asyncio.wait_for(ordinary.task, UNDISTURBED_BODY_SECONDS / 2)
        for one in large:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in large), return_exceptions=True)

    asyncio.run(scene())


@pytest.mark.parametrize("seed", range(5))
def test_whoever_ends_how_soever_the_others_go_on_and_little_is_held(seed: int) -> None:
    chance = random.Random(seed)

    async def scene() -> None:
        arriving = Arriving(8 * READ_BYTES)
        crowd = [Sender(arriving, chance.randint(1, 12)) for _ in range(24)]
        cancelled = set()
        most = 0
        while not all(one.task.done() for one in crowd):
            await asyncio.sleep(0)
            held = sum(sum(map(len, one.body.parts)) for one in crowd if hasattr(one, "body"))
            most = max(most, held)
            one = chance.choice(crowd)
            if chance.random() < 0.03 and not one.task.done():
                one.task.cancel()
                cancelled.add(one)
        # All may read once before any bound is known, and the oldest reads on.
        assert most <= (24 + 12) * READ_BYTES
        for one in crowd:
            if one not in cancelled:
                assert one.task.exception() is None
        again = [Sender(arriving, 6) for _ in range(3)]
        await asyncio.wait_for(asyncio.gather(*(one.task for one in again)), 1)

    asyncio.run(scene())
