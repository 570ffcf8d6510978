"""Which of several stored rows with one id is the event, and what the others are.

Source: metrics.md, "Order, folding, identity"; events.md, `event_id`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from ingest.identity import renamed_id


@dataclass(frozen=True)
class Stored:
    """A row of the lake as far as identity goes; (node, seq) names it.

    stored_id: its event_id in the lake. digest: its fields' hash, equal for equal fields.
    """

    stored_id: str
    received_at: datetime
    node: str
    seq: int
    digest: str

    @property
    def order(self) -> tuple[datetime, str, int]:
        return (self.received_at, self.node, self.seq)


def settle(rows: Iterable[Stored]) -> dict[tuple[str, int], str | None]:
    """For each row by (node, seq): the id it is published under, None for a duplicate.

    Of rows with one id the first keeps it and equal ones are its duplicates; rows with other
    fields move to `id~<hash>` and are settled there, among rows that came with that id already.
    The answer does not depend on the order of `rows`.
    """
    waiting: dict[str, list[Stored]] = {}
    for row in rows:
        waiting.setdefault(row.stored_id, []).append(row)
    ids = [(len(event_id), event_id) for event_id in waiting]
    heapq.heapify(ids)
    answer: dict[tuple[str, int], str | None] = {}
    while ids:  # a rename only makes an id longer, so shorter ids are final
        _, event_id = heapq.heappop(ids)
        first, *later = sorted(waiting.pop(event_id), key=lambda row: row.order)
        answer[first.node, first.seq] = event_id
        for row in later:
            if row.digest == first.digest:
                answer[row.node, row.seq] = None
        others = sorted((row for row in later if row.digest != first.digest), key=_by_digest)
        for digest, group in groupby(others, key=_by_digest):
            moved = renamed_id(event_id, digest)
            if moved not in waiting:
                waiting[moved] = []
                heapq.heappush(ids, (len(moved), moved))
            waiting[moved].extend(group)
    return answer


def _by_digest(row: Stored) -> str:
    return row.digest
