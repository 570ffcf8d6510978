"""What arriving bodies hold together, who is read on, and who gives way."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from ingest.bodies import (
    BYTES_PER_SECOND_MIN,
    GUESSED_BYTES,
    OVERDRAFT_BYTES,
    PATIENCE_SECONDS,
    UNHINDERED_BYTES,
    Arriving,
    Body,
    GaveWayError,
)

PART = bytes(16 * 1024)
SECONDS = 10.0


class Sender:
    """Reads a body part by part as the receiver does; `arrived` tells how many have been."""

    def __init__(
        self,
        arriving: Arriving,
        parts: int,
        *,
        part: bytes = PART,
        declares: bool = True,
        seconds: float = SECONDS,
    ) -> None:
        self.arrived = 0
        self._arriving = arriving
        self.part = part
        self._parts = parts
        self._declared = parts * len(part) if declares else None
        self._seconds = seconds
        self.is_sending = asyncio.Event()
        self.is_sending.set()
        self.pause_seconds = 0.0
        self.body: Body
        self.task = asyncio.create_task(self._send())

    async def _send(self) -> bytes:
        async with self._arriving.body(self._declared, self._seconds) as self.body:
            while True:
                await asyncio.sleep(self.pause_seconds)
                await self.is_sending.wait()
                self._arriving.add(self.body, self.part)
                self.arrived += 1
                if self.arrived == self._parts:
                    return b"".join(self.body.parts)
                if not self._arriving.may_go_on(self.body):
                    await self._arriving.turn(self.body)

    @property
    def is_waiting(self) -> bool:
        return self.arrived > 0 and not self.body.is_admitted and not self.task.done()

    def held(self) -> int:
        return sum(map(len, self.body.parts)) if hasattr(self, "body") else 0


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def stalled(arriving: Arriving, parts: int, after: int = 1) -> Sender:
    one = Sender(arriving, parts)
    while one.arrived < after:
        await asyncio.sleep(0)
    one.is_sending.clear()
    return one


async def end(*senders: Sender) -> None:
    for one in senders:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in senders), return_exceptions=True)


def test_only_as_many_are_read_on_as_fit_whole_and_then_the_others() -> None:
    async def scene() -> None:
        arriving = Arriving(20 * len(PART))
        crowd = [Sender(arriving, 8) for _ in range(5)]
        begun = 0
        while not all(one.task.done() for one in crowd):
            await asyncio.sleep(0)
            unfinished = [one for one in crowd if not one.task.done()]
            begun = max(begun, sum(one.arrived > 1 for one in unfinished))
        assert begun == 2
        assert [one.task.result() for one in crowd] == [8 * PART] * 5

    asyncio.run(scene())


@pytest.mark.alone
def test_a_stalled_body_gives_way_where_others_wait() -> None:
    async def scene() -> None:
        arriving = Arriving(10 * len(PART))
        hog = await stalled(arriving, 8, after=7)
        began = time.monotonic()
        other = Sender(arriving, 6)
        await settled()
        assert other.is_waiting
        assert (await other.task) == 6 * PART
        assert PATIENCE_SECONDS * 0.8 <= time.monotonic() - began < PATIENCE_SECONDS + 1
        with pytest.raises(GaveWayError):
            await hog.task
        assert hog.body.parts == []

    asyncio.run(scene())


@pytest.mark.alone
@pytest.mark.parametrize(("bytes_at_once", "is_spared"), [(1, False), (len(PART), True)])
def test_who_brings_next_to_nothing_gives_way_and_who_brings_enough_does_not(
    bytes_at_once: int, *, is_spared: bool
) -> None:
    pause = PATIENCE_SECONDS / 6
    assert 1 / pause < BYTES_PER_SECOND_MIN < len(PART) / pause

    async def scene() -> None:
        arriving = Arriving(100 * len(PART))
        slow = Sender(arriving, 99)
        while slow.arrived < 75:
            await asyncio.sleep(0)
        slow.part = bytes(bytes_at_once)
        slow.pause_seconds = pause
        other = Sender(arriving, 6)
        (outcome,) = await asyncio.gather(slow.task, return_exceptions=True)
        assert isinstance(outcome, GaveWayError) is not is_spared
        assert not other.task.done()
        assert await other.task == 6 * PART

    asyncio.run(scene())


@pytest.mark.alone
@pytest.mark.parametrize(("seconds", "is_spared"), [(2.0, False), (60.0, True)])
def test_who_could_not_end_in_time_gives_way_at_once(seconds: float, *, is_spared: bool) -> None:
    part, pause = PART[: len(PART) // 4], PATIENCE_SECONDS / 6
    assert BYTES_PER_SECOND_MIN < len(part) / pause < 80 * len(part) / 2.0

    async def scene() -> None:
        arriving = Arriving(100 * len(part))
        slow = Sender(arriving, 99, part=part, seconds=seconds)
        while slow.arrived < 10:
            await asyncio.sleep(0)
        slow.pause_seconds = pause
        began = time.monotonic()
        other = Sender(arriving, 6)
        assert await other.task == 6 * PART
        waited = time.monotonic() - began
        assert isinstance(slow.task.exception(), GaveWayError) is not is_spared
        assert waited > 80 * pause if is_spared else waited < 10 * PATIENCE_SECONDS

    asyncio.run(scene())


@pytest.mark.alone
def test_a_slow_body_in_nobodys_way_keeps_its_time() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * len(PART))
        slow = await stalled(arriving, 4, after=3)
        await asyncio.sleep(PATIENCE_SECONDS * 2)
        other = Sender(arriving, 3, part=b"{}")
        await other.task
        slow.is_sending.set()
        assert await slow.task == 4 * PART

    asyncio.run(scene())


def test_ordinary_bodies_wait_for_nobody() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * len(PART))
        large = [await stalled(arriving, 8) for _ in range(8)]
        ordinary = Sender(arriving, 4, part=bytes(UNHINDERED_BYTES // 4))
        await settled()
        assert ordinary.task.done()
        await end(*large)

    asyncio.run(scene())


def test_a_body_larger_than_the_bound_is_read_on_alone() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * len(PART))
        larger = [Sender(arriving, 9) for _ in range(3)]
        await asyncio.wait_for(asyncio.gather(*(one.task for one in larger)), SECONDS)

    asyncio.run(scene())


@pytest.mark.alone
def test_small_ones_that_do_not_say_their_size_are_in_nobodys_way() -> None:
    async def scene() -> None:
        arriving = Arriving(6 * GUESSED_BYTES)
        slow = [Sender(arriving, 2, declares=False) for _ in range(6)]
        while any(one.arrived < 1 for one in slow):
            await asyncio.sleep(0)
        for one in slow:
            one.is_sending.clear()
        await asyncio.sleep(PATIENCE_SECONDS * 2)
        for one in slow:
            one.is_sending.set()
        assert [await one.task for one in slow] == [2 * PART] * 6

    asyncio.run(scene())


def test_large_ones_that_do_not_say_their_size_all_end_and_hold_no_more() -> None:
    async def scene() -> None:
        bound = 4 * GUESSED_BYTES
        arriving = Arriving(bound)
        crowd = [Sender(arriving, 32, declares=False) for _ in range(8)]
        most = 0
        while not all(one.task.done() for one in crowd):
            await asyncio.sleep(0)
            most = max(most, sum(one.held() for one in crowd))
        assert [one.task.result() for one in crowd] == [32 * PART] * 8
        assert most <= bound + 32 * len(PART), "one is always read"

    asyncio.run(scene())


def test_the_newest_and_the_oldest_go_on_by_turns() -> None:
    async def scene() -> None:
        arriving = Arriving(4 * len(PART))
        first = await stalled(arriving, 4, after=2)
        line = []
        for _ in range(4):
            line.append(Sender(arriving, 4))
            await settled()
        assert all(one.is_waiting for one in line)
        order: list[int] = []
        for number, one in enumerate(line):
            one.task.add_done_callback(lambda _, number=number: order.append(number))
        first.is_sending.set()
        await asyncio.gather(*(one.task for one in line))
        assert order == [3, 0, 2, 1]

    asyncio.run(scene())


def test_of_hundreds_at_once_the_oldest_that_wait_give_way_and_little_is_held() -> None:
    async def scene() -> None:
        bound = 64 * len(PART)
        arriving = Arriving(bound)
        crowd = [await stalled(arriving, 32) for _ in range(200)]
        await settled()
        assert sum(one.held() for one in crowd) <= bound + OVERDRAFT_BYTES
        gone = [isinstance(one.task.done() and one.task.exception(), GaveWayError) for one in crowd]
        assert gone == [False] * 2 + [True] * (200 - 2 - 126) + [False] * 126
        await end(*crowd)

    asyncio.run(scene())


def test_who_waited_in_vain_was_not_too_slow() -> None:
    async def scene() -> None:
        arriving = Arriving(8 * len(PART))
        busy = Sender(arriving, 10_000_000, part=bytes(64))
        while busy.arrived < 1 or not busy.body.is_admitted:
            await asyncio.sleep(0)
        in_vain = Sender(arriving, 8, seconds=0.05)
        with pytest.raises(GaveWayError):
            await in_vain.task
        busy.task.cancel()
        too_slow = Sender(arriving, 8, seconds=0.05)
        too_slow.is_sending.clear()
        with pytest.raises(TimeoutError):
            await too_slow.task

    asyncio.run(scene())


@pytest.mark.alone
def test_waiting_is_not_the_senders_time() -> None:
    async def scene() -> None:
        arriving = Arriving(8 * len(PART))
        first = await stalled(arriving, 8, after=2)
        waited = Sender(arriving, 8, seconds=PATIENCE_SECONDS + 0.3)
        with pytest.raises(GaveWayError):
            await first.task
        waited.is_sending.clear()
        await asyncio.sleep(0.4)
        waited.is_sending.set()
        assert await waited.task == 8 * PART

    asyncio.run(scene())


@pytest.mark.parametrize("seed", range(5))
def test_whoever_ends_how_soever_the_others_go_on_and_little_is_held(seed: int) -> None:
    chance = random.Random(seed)

    async def scene() -> None:
        bound = 16 * len(PART)
        arriving = Arriving(bound)
        crowd = [
            Sender(arriving, chance.randint(1, 12), declares=chance.random() < 0.7)
            for _ in range(24)
        ]
        cancelled = set()
        most = 0
        while not all(one.task.done() for one in crowd):
            await asyncio.sleep(0)
            most = max(most, sum(one.held() for one in crowd))
            one = chance.choice(crowd)
            if chance.random() < 0.03 and not one.task.done():
                one.task.cancel()
                cancelled.add(one)
        assert most <= bound + 24 * len(PART), "each may read once before it waits"
        for one in crowd:
            if one not in cancelled:
                assert one.task.exception() is None
        again = Sender(arriving, 16)
        while again.arrived < 2:
            await asyncio.sleep(0)
        assert again.body.is_admitted, "all of the bound is free again"
        await again.task

    asyncio.run(scene())
