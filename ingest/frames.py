"""Messages between the listening and the writing process: length-prefixed, both ends ours.

To the writer      ("store", [Handed, ...])            one transaction's worth of deliveries
                   ("reject", {column: value})          a record of a refused request
From the writer    ("ready",)                           the ledger is open
                   ("stored", seconds, [Answer, ...], {(verdict, event_type): count}, ids_reused)
                   ("refused", code)                    nothing of the group is in the ledger
                   ("log", level, event, fields)        a line of the receiver's log
                   ("health", value)                    of `Health`
                   ("sick", sentence)                   the last message: it gives up
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

Handed = tuple[bytes, int, str | None, int | None, str]
"""body, received_at, delivery_id, signed_at, verified_by: `ledger.Delivery` before it is read."""

Answer = tuple[int, bytes]
"""HTTP status and JSON body."""

_LENGTH_BYTES: Final = 4


class Health(Enum):
    """`OK` acknowledges; `FULL` mends itself when space comes back; `SICK` ends the process."""

    OK = "ok"
    FULL = "disk_full"
    SICK = "ledger_sick"


def frame(message: tuple[Any, ...]) -> bytes:
    """One message as bytes."""
    content = marshal.dumps(message)
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


class Frames:
    """Puts messages together again out of whatever pieces arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, piece: bytes) -> Iterator[tuple[Any, ...]]:
        """Every message that `piece` completes, in order."""
        buffer = self._buffer
        buffer += piece
        while len(buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(buffer[:_LENGTH_BYTES], "big")
            if len(buffer) < end:
                return
            message = marshal.loads(memoryview(buffer)[_LENGTH_BYTES:end])  # noqa: S302 - our child's
            del buffer[:end]  # before it is told: whoever fails at it must not hear it again
            yield message
