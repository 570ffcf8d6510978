"""Group commit: no answer before the sync, none lost, and none left waiting.

The writing process is the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from ingest.commit import Committer, NotStoredError, OutcomeUnknownError
from ingest.errors import LedgerError
from ingest.frames import Answer, Handed, Health
from ingest.ledger import open_ledger, read_counters

pytestmark = pytest.mark.alone

NOW = 1_790_000_000_000_000
PATIENCE_SECONDS = 10.0


def delivery(number: int, **more: Any) -> Handed:
    event = {"event": "plan_changed", "event_id": f"e-{number}", "email": "a", "plan": "p", **more}
    return json.dumps(event).encode(), NOW, None, None, "token:t"


def run(test: Callable[[Path], Awaitable[None]], folder: Path) -> None:
    asyncio.run(asyncio.wait_for(test(folder), 30))


@contextlib.asynccontextmanager
async def committing(
    folder: Path,
    *,
    records_max: int = 1000,
    bytes_max: int = 10_000_000,
    sick: list[str] | None = None,
) -> AsyncIterator[Committer]:
    committer = Committer(
        folder / "ledger.sqlite",
        "n1",
        records_max=records_max,
        bytes_max=bytes_max,
        wait_seconds=0.001,
        log_level="error",
        on_commit=lambda seconds, tally, ids_reused: None,
        on_sick=(sick if sick is not None else []).append,
    )
    await committer.start()
    try:
        yield committer
    finally:
        await committer.stop()


@contextlib.contextmanager
def another_writer(folder: Path) -> Any:
    """Holds the ledger's only write lock, so that a transaction is in hand but cannot go on."""
    other = open_ledger(folder / "ledger.sqlite")
    other.execute("begin immediate")
    try:
        yield
    finally:
        other.execute("rollback")
        other.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what


async def result(future: asyncio.Future[Answer]) -> dict[str, Any]:
    status, body = await asyncio.wait_for(future, PATIENCE_SECONDS)
    answer: dict[str, Any] = json.loads(body)
    return answer | {"http": status}


def stored(folder: Path) -> list[str]:
    reader = apsw.Connection(str(folder / "ledger.sqlite"))
    try:
        return [row[0] for row in reader.execute("select event_id from inbox order by seq")]
    finally:
        reader.close()


def test_nothing_is_answered_before_its_transaction_has_committed(tmp_path: Path) -> None:
    async def test(folder: Path) -> None:
        async with committing(folder) as committer:
            with another_writer(folder):
                future = committer.submit(delivery(1))
                done, _ = await asyncio.wait([future], timeout=0.2)
                assert not done
                assert stored(folder) == []
            assert (await result(future))["status"] == "accepted"
            assert stored(folder) == ["e-1"]

    run(test, tmp_path)


def test_what_arrives_during_a_commit_goes_into_the_next_one_in_order(tmp_path: Path) -> None:
    async def test(folder: Path) -> None:
        async with committing(folder) as committer:
            with another_writer(folder):
                futures = [committer.submit(delivery(number)) for number in range(300)]
                assert committer.queue_bytes > 0
            outcomes = [await result(future) for future in futures]
            assert [found["seq"] for found in outcomes] == list(range(1, 301))
            assert (committer.queue_bytes, committer.queue_records) == (0, 0)

    run(test, tmp_path)


def test_a_full_queue_refuses_by_records_and_by_bytes_and_takes_more_when_drained(
    tmp_path: Path,
) -> None:
    async def test(folder: Path) -> None:
        async with committing(folder, records_max=3) as committer:
            with another_writer(folder):
                held = committer.submit(delivery(0))
                await until(lambda: committer.queue_records == 0, "the first is in hand")
                waiting = [committer.submit(delivery(number)) for number in (1, 2, 3)]
                with pytest.raises(NotStoredError, match="queue_full"):
                    committer.submit(delivery(4))
            for future in (held, *waiting):
                assert (await result(future))["status"] == "accepted"
            assert (await result(committer.submit(delivery(4))))["status"] == "accepted"

    async def by_bytes(folder: Path) -> None:
        size = len(delivery(1)[0])
        async with committing(folder, bytes_max=2 * size) as committer:
            with another_writer(folder):
                held = committer.submit(delivery(0))
                await until(lambda: committer.queue_records == 0, "the first is in hand")
                waiting = [committer.submit(delivery(number)) for number in (1, 2)]
                with pytest.raises(NotStoredError, match="queue_full"):
                    committer.submit(delivery(3))
            for future in (held, *waiting):
                await result(future)
            large = delivery(4, padding="x" * 5 * size)
            assert (await result(committer.submit(large)))["status"] == "accepted"

    run(test, tmp_path)
    (tmp_path / "bytes").mkdir()
    run(by_bytes, tmp_path / "bytes")


def test_who_waited_too_long_is_withdrawn_and_who_is_in_a_transaction_left_unanswered(
    tmp_path: Path,
) -> None:
    async def test(folder: Path) -> None:
        async with committing(folder) as committer:
            with another_writer(folder):
                held = committer.submit(delivery(1))
                await until(lambda: committer.queue_records == 0, "the first is in hand")
                waiting = [committer.submit(delivery(number)) for number in (2, 3)]
                committer.expire(60)
                assert not any(future.done() for future in (held, *waiting))
                committer.expire(-1)
                for future in waiting:
                    with pytest.raises(NotStoredError, match="timeout"):
                        await result(future)
                with pytest.raises(OutcomeUnknownError):
                    await result(held)
                assert (committer.queue_bytes, committer.queue_records) == (0, 0)
            later = committer.submit(delivery(4))
            assert (await result(later))["status"] == "accepted"
            committer.expire(-1)
            assert stored(folder) == ["e-1", "e-4"], "what was withdrawn is never stored"

    run(test, tmp_path)


def test_stopping_commits_what_waits_and_refuses_what_comes_later(tmp_path: Path) -> None:
    async def test(folder: Path) -> None:
        async with committing(folder) as committer:
            with another_writer(folder):
                futures = [committer.submit(delivery(number)) for number in range(20)]
                stopping = asyncio.create_task(committer.stop())
                await asyncio.sleep(0.05)
                with pytest.raises(NotStoredError, match="draining"):
                    committer.submit(delivery(99))
            await stopping
            outcomes = [await result(future) for future in futures]
            assert {found["status"] for found in outcomes} == {"accepted"}
        assert len(stored(folder)) == 20

    run(test, tmp_path)


def test_no_delivery_is_left_waiting_whatever_the_interleaving(tmp_path: Path) -> None:
    """Bursts, pauses, rejections and sweeps against a process that commits all the while."""
    source = random.Random(11)

    async def test(folder: Path) -> None:
        verdicts: list[str] = []
        async with committing(folder, records_max=200) as committer:

            async def send(number: int) -> None:
                try:
                    _, body = await committer.submit(delivery(number % 700))
                    verdicts.append(json.loads(body)["status"])
                except NotStoredError as refused:
                    assert refused.reason == "queue_full"

            tasks = []
            for number in range(2000):
                tasks.append(asyncio.create_task(send(number)))
                if source.random() < 0.05:
                    committer.note_rejection(
                        received_at=NOW, reason="r", detail="d", client=None, body_bytes=0
                    )
                    committer.expire(60)
                    await asyncio.sleep(source.random() * 0.004)
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_SECONDS)
        reader = open_ledger(folder / "ledger.sqlite")
        counted = read_counters(reader)
        reader.close()
        assert counted["deliveries"] == len(verdicts)
        assert counted["events"] == verdicts.count("accepted") <= 700
        assert counted["duplicates"] == verdicts.count("duplicate")

    run(test, tmp_path)


def test_a_killed_writing_process_leaves_its_group_unanswered_and_is_told(tmp_path: Path) -> None:
    async def test(folder: Path) -> None:
        sick: list[str] = []
        async with committing(folder, sick=sick) as committer:
            with another_writer(folder):
                held = committer.submit(delivery(1))
                await until(lambda: committer.queue_records == 0, "the first is in hand")
                waiting = committer.submit(delivery(2))
                os.kill(committer.process_id, signal.SIGKILL)
                with pytest.raises(OutcomeUnknownError):
                    await result(held)
                with pytest.raises(NotStoredError, match="ledger_sick"):
                    await result(waiting)
            assert (committer.health, sick) == (Health.SICK, ["the writing process ended"])
            with pytest.raises(NotStoredError, match="ledger_sick"):
                committer.submit(delivery(3))
        assert stored(folder) == []

    run(test, tmp_path)


def test_a_ledger_that_cannot_be_opened_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)

    async def test(folder: Path) -> None:
        with pytest.raises(LedgerError, match=r"cannot open the ledger .*ledger\.sqlite"):
            async with committing(folder):
                raise AssertionError

    run(test, tmp_path)


def test_the_writing_process_ends_by_itself_when_its_listener_is_gone(tmp_path: Path) -> None:
    async def test(folder: Path) -> None:
        async with committing(folder) as committer:
            await result(committer.submit(delivery(1)))
            transport = committer._transport
            assert transport is not None
            committer._is_stopping = True
            transport.abort()
            assert await asyncio.to_thread(committer._process.wait, PATIENCE_SECONDS) == 0

    run(test, tmp_path)
