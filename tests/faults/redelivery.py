"""Every event sent one to five times, shuffled, over restarts: as many rows as there are ids."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ingest.deliver import signer_of
from tests.e2e.installation import wait_until

from .accounting import settle, wait_for_acknowledgements
from .hooklake import besieged
from .load import Book, under_load
from .outcome import NO_LOSS, Outcome, Scale

CLIENTS = 32
SENT_MAX = 5
RESTARTS = 4
SEED = 20261124
SECONDS_MAX = 1_800.0


@dataclass
class Shuffled(Book):
    """Hands out what is planned, then what is left without an acknowledgement."""

    planned: list[str] = field(default_factory=list)
    deliveries: int = 0

    def next_id(self) -> str:
        self.deliveries += 1
        if self.planned:
            return self.planned.pop()
        if self.unanswered:
            return self.unanswered.popleft()
        return f"{self.label}-1"  # the load has no pause; this one comes again until it ends


def run(scale: Scale) -> Outcome:
    """cycles: events."""
    outcome = Outcome("redelivery", f"rows = unique ids exactly, {NO_LOSS}")
    chance = random.Random(SEED)
    outcome.cycles = scale.of(ci=5_000, full=100_000)
    ids = [f"again-{number}" for number in range(1, outcome.cycles + 1)]
    book = Shuffled("again", planned=[i for i in ids for _ in range(chance.randint(1, SENT_MAX))])
    chance.shuffle(book.planned)
    total = len(book.planned)
    with besieged(land_interval_seconds="0.2") as hooklake:
        receiver = hooklake.start_receiver()
        signer = signer_of(hooklake.settings)
        with under_load(hooklake.webhook_url, signer, book, clients=CLIENTS):
            for restart in range(1, RESTARTS + 1):
                left = total * (RESTARTS + 1 - restart) // (RESTARTS + 1)
                wait_until(
                    lambda left=left: len(book.planned) <= left,  # type: ignore[misc]
                    seconds=SECONDS_MAX,
                    what="a restart's turn",
                )
                if restart % 2:
                    hooklake.kill(receiver)
                else:
                    code = hooklake.stop(receiver)
                    outcome.require(code == 0, f"the receiver ended with {code}")
                receiver = hooklake.start_receiver()
            wait_until(lambda: not book.planned, seconds=SECONDS_MAX, what="the last delivery")
            wait_for_acknowledgements(book, len(ids), seconds=60, what="every event")
        code = hooklake.stop(receiver)
        outcome.require(code == 0, f"the receiver ended with {code}")
        settle(hooklake, book, outcome)
        [row] = hooklake.query("select count(*) as n, count(distinct event_id) as ids from events")
    outcome.require(row == {"n": len(ids), "ids": len(ids)}, f"{row} of {len(ids)} events")
    outcome.measured |= {"deliveries": str(book.deliveries), "restarts": str(RESTARTS)}
    return outcome
