"""The commit thread under a fault that is none of SQLite's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ingest.commit import Committer, Health, NotStoredError
from ingest.ledger import Delivery
from ingest.parse import Arrival, parse_body

from .load import body_of

NOW = 1_790_000_000_000_000


def test_a_commit_thread_that_ends_refuses_what_waits_and_ends_the_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick: list[str] = []

    def no_waiting(_: float) -> None:
        raise OSError(22, "Invalid argument")  # what libfaketime made of a wait after a clock jump

    async def deliver_twice() -> None:
        committer = Committer(
            tmp_path / "ledger.sqlite",
            "n1",
            loop=asyncio.get_running_loop(),
            records_max=10,
            bytes_max=10_000,
            wait_seconds=0.001,
            on_commit=lambda seconds, records: None,
            on_sick=sick.append,
        )
        committer.start()
        body = body_of("event")
        delivery = Delivery(parse_body(body, Arrival(NOW)), body, NOW)
        for _ in range(2):
            with pytest.raises(NotStoredError, match=Health.SICK.value):
                await asyncio.wait_for(committer.submit(delivery), 10)
        await asyncio.to_thread(committer.stop)

    monkeypatch.setattr(time, "sleep", no_waiting)
    asyncio.run(deliver_twice())
    assert sick == ["the commit thread ended: OSError"]
