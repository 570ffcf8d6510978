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


def _is_period_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= 24


def _is_anything(_: str) -> bool:
    return True


# What each part has to look like, by kind.
KINDS: Final[dict[str, tuple[Callable[[str], bool], ...]]] = {
    "funnel": (STEP_LABELS.__contains__, _is_day, _is_day),
    "retention": (_is_day, _is_period_number, _is_anything),
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
    month: str | None = None,
) -> pl.DataFrame:
    """The frame with `people`: the address of those behind each row.

    columns: hold the parts of the kind, NULL as nothing; after them come, where there are filters,
    the period's first and last day, or those of them that lie in the row's month.
    """

    def address(row: dict[str, Any]) -> str:
        parts = ["" if row[column] is None else str(row[column]) for column in columns]
        if filters is not None:
            first, last = filters.first_day, filters.last_day
            if month is not None:
                begin: date = row[month]
                following = (begin.replace(day=1) + timedelta(days=31)).replace(day=1)
                first, last = max(first, begin), min(last, following - timedelta(days=1))
            parts += [first.isoformat(), last.isoformat()]
        return People(kind, tuple(parts)).address

    addresses = [address(row) for row in frame.iter_rows(named=True)]
    return frame.with_columns(pl.Series("people", addresses, dtype=pl.String))


def _funnel(step: str, first: str, last: str) -> str:
    reached = "" if step == "registered" else f" who reached “{STEP_LABELS[step]}”"
    return f"Registered {_days(first, last)}{reached}"


def _retention(month: str, period: str, currency: str) -> str:
    first = f"First paid in {date.fromisoformat(month):%B %Y}"
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


def _days(first: str, last: str) -> str:
    begin, end = (formats.day(date.fromisoformat(day)) for day in (first, last))
    return f"on {begin}" if begin == end else f"from {begin} to {end}"


_LABELS: Final[dict[str, Callable[..., str]]] = {
    "funnel": _funnel,
    "retention": _retention,
    "flow": _flow,
    "ageing": _ageing,
    "cancel": _cancel,
    "movement": _movement,
}
