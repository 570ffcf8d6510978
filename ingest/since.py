"""A point in time as it is typed at a command line: `2h` ago, or a date, or an instant."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.errors import UsageError

_AGO: Final = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(text: str, now: int | None = None) -> int:
    """Microseconds since 1970 UTC. now: likewise, default the clock's. A naive instant is UTC, a
    date its midnight.

    Raises: UsageError.
    """
    return (moment_of(text, now) - _EPOCH) // timedelta(microseconds=1)


def moment_of(text: str, now: int | None = None) -> datetime:
    """The same in UTC. Raises: UsageError."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            present = time.time_ns() // 1_000 if now is None else now
            seconds = int(ago[1]) * _SECONDS[ago[2]]
            return _EPOCH + timedelta(microseconds=present) - timedelta(seconds=seconds)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no point in time: write 30m, 2h or 1d (so long ago), 2026-04-27 or"
            " 2026-04-27T10:00:00Z"
        ) from None


def rfc3339(microseconds: int) -> str:
    """The instant with microseconds and Z."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
