"""Clients that never rest, and the book of what they sent and what they were told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import uvloop

from ingest.deliver import Delivery, Signer, Target, request_bytes

ANSWER_SECONDS_MAX = 15.0
RECONNECT_SECONDS = 0.05
REFUSED_SECONDS = 0.02
ACCOUNTS = 2_000


def body_of(event_id: str) -> bytes:
    """The one body of that event: a stored row of the id with another payload is a phantom."""
    number = zlib.crc32(event_id.encode())
    fields: dict[str, object] = {"owner_email": f"account-{number % ACCOUNTS}@example.com"}
    kind = ("user_registered", "workspace_created", "plan_changed")[number % 3]
    if kind == "workspace_created":
        fields |= {"workspace_id": f"w-{event_id}", "workspace_name": "under fire"}
    elif kind == "plan_changed":
        fields |= {"workspace_id": f"w-{event_id}", "plan_id": "pro", "auto_renew": "on"}
    return json.dumps(
        {
            "event": kind,
            "event_id": event_id,
            "occurred_at": f"2026-0{1 + number % 2}-0{1 + number % 9}T09:00:00Z",
            "data": fields,
        }
    ).encode()


@dataclass
class Book:
    """Filled by the clients' thread, read by the run's; ids are never sent under two bodies.

    sent: ids whose request may have left. acknowledged: ids answered 2xx, and when (monotonic).
    unanswered: ids whose connection broke or that were refused; a sender would try them again,
    and so do the clients. right: hashes of payloads that were compared with what was sent.
    pause_seconds: how long each client rests between an answer and its next delivery.
    """

    label: str = "event"
    sent: set[str] = field(default_factory=set)
    acknowledged: dict[str, float] = field(default_factory=dict)
    unanswered: deque[str] = field(default_factory=deque)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    slowest: float = 0.0
    number: int = 0
    pause_seconds: float = 0.0
    right: dict[str, int] = field(default_factory=dict)

    def next_id(self) -> str:
        """A new event's id; every other time one that is still without an acknowledgement."""
        self.number += 1
        if self.number % 2 and self.unanswered:
            return self.unanswered.popleft()
        return f"{self.label}-{self.number}"

    def note(self, event_id: str, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)
        if 200 <= status < 300:
            self.seconds.append(seconds)
            self.acknowledged.setdefault(event_id, time.monotonic())
        else:
            self.unanswered.append(event_id)

    def is_right(self, event_id: str, payload: str) -> bool:
        """Whether it is the one body of an event that was sent."""
        told = hash(payload)
        if self.right.get(event_id) == told:
            return True
        if event_id not in self.sent or payload.encode() != body_of(event_id):
            return False
        self.right[event_id] = told
        return True

    def disbelieve_since(self, moment: float) -> list[float]:
        """Take back what was acknowledged after `moment`; how many seconds later that was."""
        late = {name: at for name, at in list(self.acknowledged.items()) if at > moment}
        for event_id in late:
            del self.acknowledged[event_id]
        return sorted(at - moment for at in late.values())

    def percentile(self, share: float) -> float:
        """Of the answer times of what was acknowledged, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Load:
    """`clients` connections in a thread of their own, each sending as soon as it was answered."""

    def __init__(self, url: str, signer: Signer, book: Book, clients: int) -> None:
        self.book = book
        self._target = Target.of(url)
        self._signer = signer
        self._clients = clients
        self._is_over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every client after its answer under way. Raises: what ended the load early."""
        self._is_over = True
        self._thread.join(ANSWER_SECONDS_MAX + 5)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._all())
        except BaseException as failure:  # noqa: BLE001 - handed to the run by `stop`
            self._failure = failure

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        line: Line | None = None
        while not self._is_over:
            try:
                line = line or await Line.open(self._target)
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            event_id = self.book.next_id()
            self.book.sent.add(event_id)
            delivery = Delivery(body_of(event_id), event_id)
            began = time.monotonic()
            try:
                status = await line.ask(
                    request_bytes(self._target, delivery, self._signer, time.time())
                )
            except (OSError, EOFError, TimeoutError):
                self.book.slowest = max(self.book.slowest, time.monotonic() - began)
                self.book.unanswered.append(event_id)
                line.close()
                line = None
                continue
            self.book.note(event_id, status, time.monotonic() - began)
            if line.is_closing:
                line.close()
                line = None
            await asyncio.sleep(REFUSED_SECONDS if status >= 300 else self.book.pause_seconds)
        if line:
            line.close()


class Line:
    """One keep-alive connection; a request, its answer, the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_closing = False

    @classmethod
    async def open(cls, target: Target) -> Line:
        return cls(*await asyncio.open_connection(target.host, target.port))

    async def ask(self, request: bytes) -> int:
        """The answer's status, once the whole answer has come.

        Raises: OSError, EOFError where the connection broke, TimeoutError.
        """
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            self._writer.write(request)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            await self._reader.readexactly(length)
        self.is_closing = b"connection: close" in head
        return int(head[9:12])

    def close(self) -> None:
        with suppress(OSError):
            self._writer.close()


def deliver_one(url: str, signer: Signer, book: Book) -> int:
    """The status of the answer to one new event, on a connection of its own."""
    event_id = book.next_id()
    book.sent.add(event_id)
    target = Target.of(url)
    request = request_bytes(target, Delivery(body_of(event_id), event_id), signer, time.time())

    async def ask() -> int:
        line = await Line.open(target)
        try:
            return await line.ask(request)
        finally:
            line.close()

    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(ask())
    book.note(event_id, status, time.monotonic() - began)
    return status


@contextmanager
def under_load(
    url: str, signer: Signer, book: Book, *, clients: int = 16, pause_seconds: float = 0.0
) -> Iterator[Book]:
    """Clients that keep sending, through every outage, until the block ends."""
    book.pause_seconds = pause_seconds
    load = Load(url, signer, book, clients)
    load.start()
    try:
        yield book
    finally:
        load.stop()
