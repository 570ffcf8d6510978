"""Who is behind one cell of a chart, named in the address so that the view can be shared. Pure.

`?people=flow,free,business,2026-01-01,2026-03-31`: a kind, then what it takes to find the cell
again; each part is percent-encoded, an empty one says "none" or "any".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote

import polars as pl

from dashboards import definitions, formats
from dashboards.figures import STEP_LABELS
from dashboards.filters import Filters

PARTS_CHARACTERS_MAX: Final = 2_000


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_number_up_to(most: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= most


def _is_day_or_any(text: str) -> bool:
    return not text or _is_day(text)


def _is_anything(_: str) -> bool:
    return True


# What each part has to look like, by kind.
KINDS: Final[dict[str, tuple[Callable[[str], bool], ...]]] = {
    "funnel": (STEP_LABELS.__contains__, _is_day, _is_day),
    "registered": (_is_anything, _is_day, _is_day),
    "others": (_is_day, _is_day, _is_day, _is_day),
    "converted": (_is_number_up_to(90), _is_anything, _is_day, _is_day),
    "paid-by": (_is_number_up_to(90), _is_day, _is_day),
    "paying": (_is_anything, _is_day),
    "recovered": (_is_anything, _is_day, _is_day),
    "retention": (_is_day_or_any, _is_number_up_to(24), _is_anything),
    "flow": (_is_anything, _is_anything, _is_day, _is_day),
    "ageing": (definitions.BUCKET_LABELS.__contains__, _is_anything, _is_anything),
    "cancel": (_is_anything, _is_day, _is_day),
    "movement": (definitions.MOVEMENT_LABELS.__contains__, _is_anything, _is_day, _is_day),
}


@dataclass(frozen=True)
class People:
    """kind: one of KINDS; parts: as many as it wants, each of the form it wants."""

    kind: str
    parts: tuple[str, ...]

    @property
    def address(self) -> str:
        """What stands in the address bar."""
        return ",".join((self.kind, *(quote(part, safe="") for part in self.parts)))

    @property
    def label(self) -> str:
        """Who they are, as plain text: it may hold names of plans, which are the sender's."""
        return _LABELS[self.kind](*self.parts)


def days(*more: date) -> str:
    """Further days for the end of an address."""
    return "".join(f",{day.isoformat()}" for day in more)


def read(address: str) -> People | None:
    """The people an address names; None for one that names none."""
    kind, *parts = (unquote(part) for part in address[:PARTS_CHARACTERS_MAX].split(","))
    wanted = KINDS.get(kind)
    if wanted is None or len(parts) != len(wanted):
        return None
    if not all(fits(part) for fits, part in zip(wanted, parts, strict=True)):
        return None
    return People(kind, tuple(parts))


def behind(
    frame: pl.DataFrame,
    kind: str,
    columns: Sequence[str],
    filters: Filters | None = None,
    begins: str | None = None,
    grain: str = "month",
) -> pl.DataFrame:
    """The frame with `people`: the address of those behind each row.

    columns: hold the parts of the kind, NULL as nothing; after them come, where there are filters,
    the period's first and last day, or those of them that lie in the day, week or month that
    begins on the row's `begins`.
    """

    def address(row: dict[str, Any]) -> str:
        parts = ["" if row[column] is None else str(row[column]) for column in columns]
        if filters is not None:
            first, last = filters.first_day, filters.last_day
            if begins is not None:
                first = max(first, row[begins])
                last = min(last, _last_day(row[begins], grain))
            parts += [first.isoformat(), last.isoformat()]
        return People(kind, tuple(parts)).address

    addresses = [address(row) for row in frame.iter_rows(named=True)]
    return frame.with_columns(pl.Series("people", addresses, dtype=pl.String))


def _last_day(begins: date, grain: str) -> date:
    if grain == "month":
        return (begins.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return begins + timedelta(days={"day": 0, "week": 6}[grain])


def _registered(source: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)}{_from(source)}"


def _others(first: str, last: str, *_: str) -> str:
    return f"Registered {_days(first, last)} from a source that the chart does not name"


def _converted(days: str, source: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)}{_from(source)} and paid within {days} days"


def _paid_by(day: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)} and paid by day {day} after"


def _paying(currency: str, day: str) -> str:
    return f"Paying in {formats.currency_label(currency)} at the end of {_day(day)}"


def _recovered(cause: str, first: str, last: str) -> str:
    opened = f"Overdue {_days(first, last)}, {_cause(cause).lower()}"
    return f"{opened}, and recovered within 30 days"


def _funnel(step: str, first: str, last: str) -> str:
    reached = "" if step == "registered" else f" who reached “{STEP_LABELS[step]}”"
    return f"Registered {_days(first, last)}{reached}"


def _retention(month: str, period: str, currency: str) -> str:
    first = f"First paid in {date.fromisoformat(month):%B %Y}" if month else "Ever paid"
    if currency:
        first += f" in {formats.currency_label(currency)}"
    if period == "0":
        return first
    return f"{first} and still paying {formats.counted(int(period), 'month')} later"


def _flow(before: str, after: str, first: str, last: str) -> str:
    return f"Went from {before or 'no plan'} to {after or 'no plan'} {_days(first, last)}"


def _ageing(bucket: str, cause: str, currency: str) -> str:
    what = f"{definitions.BUCKET_LABELS[bucket]}, {_cause(cause).lower()}"
    of_currency = f", in {formats.currency_label(currency)}" if currency else ""
    return f"Open overdue payments, {what}{of_currency}"


def _cancel(cause: str, first: str, last: str) -> str:
    return f"A paid plan ended {_days(first, last)}: {_cause(cause).lower()}"


def _movement(movement: str, currency: str, first: str, last: str) -> str:
    label = definitions.MOVEMENT_LABELS[movement]
    return f"{label} in {formats.currency_label(currency)} {_days(first, last)}"


def _cause(cause: str) -> str:
    return definitions.CAUSE_LABELS.get(cause, "Unknown")


def _from(source: str) -> str:
    return f" from {source}" if source else ""


def _day(day: str) -> str:
    return formats.day(date.fromisoformat(day))


def _days(first: str, last: str) -> str:
    begin, end = _day(first), _day(last)
    return f"on {begin}" if begin == end else f"from {begin} to {end}"


_LABELS: Final[dict[str, Callable[..., str]]] = {
    "registered": _registered,
    "others": _others,
    "converted": _converted,
    "paid-by": _paid_by,
    "paying": _paying,
    "recovered": _recovered,
    "funnel": _funnel,
    "retention": _retention,
    "flow": _flow,
    "ageing": _ageing,
    "cancel": _cancel,
    "movement": _movement,
}
