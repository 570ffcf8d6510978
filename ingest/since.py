"""A point in time as it is typed at a command line: `2h` ago, or a date, or an instant."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from ingest.errors import UsageError

_AGO: Final = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def instant_of(text: str, now: int) -> int:
    """Microseconds since 1970 UTC. now: likewise. A naive instant is UTC, a date its midnight.

    Raises: UsageError.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return now - int(ago[1]) * _SECONDS[ago[2]] * 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no point in time: write 30m, 2h or 1d (so long ago), 2026-04-27 or"
            " 2026-04-27T10:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)


def rfc3339(microseconds: int) -> str:
    """The instant with microseconds and Z."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
