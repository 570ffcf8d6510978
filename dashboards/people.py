"""The rows behind one number, named in the address so that the view can be shared. Pure.

`?people=flow,free,business,2026-01-01,2026-03-31`: a kind, then what it takes to find the rows
again; each part is percent-encoded, an empty one says "none" or "any". A number made of several
(a share and what it is a share of, the period before) names each of them: `&of=…&of=…`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote

import polars as pl

from dashboards import definitions, people_told
from dashboards.figures import STEP_LABELS
from dashboards.filters import Filters

PARTS_MAX: Final = 16


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_number_up_to(most: int) -> Callable[[str], bool]:
    return {str(number) for number in range(most + 1)}.__contains__


def _is_day_or_any(text: str) -> bool:
    return not text or _is_day(text)


def _is_instant(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return moment.utcoffset() == timedelta(0) and moment.isoformat() == text


def _is_one_of(*texts: str) -> Callable[[str], bool]:
    return texts.__contains__


def _is_anything(_: str) -> bool:
    return True


# What each part has to look like, by kind.
KINDS: Final[dict[str, tuple[Callable[[str], bool], ...]]] = {
    "funnel": (STEP_LABELS.__contains__, _is_day, _is_day),
    "registered": (_is_anything, _is_day, _is_day),
    "others": (_is_day, _is_day, _is_day, _is_day),
    "converted": (_is_number_up_to(90), _is_anything, _is_day, _is_day),
    "matured": (_is_number_up_to(90), _is_anything, _is_day, _is_day),
    "maturing": (_is_number_up_to(90), _is_anything, _is_day, _is_day),
    "came": (_is_one_of("registered", "workspace"), _is_instant),
    "paid-by": (_is_number_up_to(90), _is_day, _is_day),
    "paying": (_is_anything, _is_day),
    "payers": (_is_day,),
    "ceased": (_is_one_of("", "before"), _is_day, _is_day),
    "kept": (_is_anything, _is_day),
    "left": (_is_anything, _is_day),
    "recovered": (_is_anything, _is_day, _is_day),
    "judged": (_is_anything, _is_day, _is_day),
    "returned": (_is_anything, _is_day, _is_day),
    "overdue": (_is_one_of("", "late"), _is_anything),
    "open": (_is_day,),
    "owed": (_is_one_of("overdue", "recovered"), _is_instant),
    "retention": (_is_day_or_any, _is_number_up_to(24), _is_anything),
    "started": (_is_day_or_any, _is_number_up_to(24), _is_anything),
    "flow": (_is_anything, _is_anything, _is_day, _is_day),
    "ageing": (definitions.BUCKET_LABELS.__contains__, _is_anything, _is_anything),
    "cancel": (_is_anything, _is_day, _is_day),
    "movement": (_is_one_of("", *definitions.MOVEMENT_LABELS), _is_anything, _is_day, _is_day),
    "shift": (definitions.MOVEMENT_LABELS.__contains__, _is_anything, _is_day),
    "change": (definitions.CHANGE_LABELS.__contains__, _is_day, _is_day),
    "moved": (definitions.CHANGE_LABELS.__contains__, _is_instant),
    "lifecycle": (_is_one_of("", *definitions.LIFECYCLE_LABELS),),
    "unpriced": (_is_anything,),
}


# The parts are those of the kind that is the share.
_SHARE_OF: Final = {
    "converted": ("matured", "maturing"),
    "retention": ("started",),
    "recovered": ("judged", "returned"),
    "left": ("kept",),
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

    @classmethod
    def of(cls, kind: str, *parts: object) -> People:
        """Parts as they are: days, instants, texts, None for nothing."""
        return cls(kind, tuple("" if part is None else _written(part) for part in parts))

    @property
    def label(self) -> str:
        """Who they are, as plain text: it may hold names of plans, which are the sender's."""
        return people_told.LABELS[self.kind](*self.parts)


@dataclass(frozen=True)
class Lead:
    """The way from a number to its rows: the parts it is made of, the first one shown at first.

    sources: registration sources the number is narrowed to, all where empty.
    """

    parts: tuple[People, ...]
    sources: tuple[str, ...] = ()

    @property
    def query(self) -> dict[str, str | list[str]]:
        """What stands in the address."""
        wanted: dict[str, str | list[str]] = {"people": self.parts[0].address}
        if len(self.parts) > 1:
            wanted["of"] = [part.address for part in self.parts]
        if self.sources:
            wanted["source"] = list(self.sources)
        return wanted


def counted(kind: str, filters: Filters, *parts: object) -> Lead:
    """The rows of the kind in the period and, if there is one, in the period before."""
    return counted_each(filters, (kind, *parts))


def counted_each(filters: Filters, *wanted: tuple[object, ...]) -> Lead:
    """The rows of several kinds, each with its parts, in the period and then in the one before."""
    windows = [(filters.first_day, filters.last_day)]
    if filters.has_previous:
        windows.append((filters.previous_first_day, filters.previous_last_day))
    parts = [People.of(str(kind), *more, *days) for days in windows for kind, *more in wanted]
    return Lead(tuple(parts), filters.sources)


def levels(kind: str, filters: Filters, *parts: object) -> Lead:
    """The rows of the kind at the end of the period and when it began."""
    moments = (filters.last_day, filters.previous_last_day)
    return Lead(tuple(People.of(kind, *parts, day) for day in moments), filters.sources)


def read_all(addresses: Sequence[str], chosen: People) -> list[People]:
    """The parts of a number that an address names, the chosen one among them.

    Where it names none, as after a mark, they are the chosen one and what it is a share of.
    """
    named = [part for address in addresses[:PARTS_MAX] if (part := read(address)) is not None]
    found = list(dict.fromkeys(named))
    if chosen in found:
        return found
    return [chosen, *found] if found else [chosen, *_bases(chosen)]


def _bases(chosen: People) -> list[People]:
    """All of whom the chosen ones are a share."""
    if chosen.kind == "paid-by" or (chosen.kind == "funnel" and chosen.parts[0] != "registered"):
        return [People.of("registered", None, *chosen.parts[-2:])]
    return [People(kind, chosen.parts) for kind in _SHARE_OF.get(chosen.kind, ())]


def _written(part: object) -> str:
    if isinstance(part, datetime):
        return part.astimezone(UTC).isoformat()
    return part.isoformat() if isinstance(part, date) else str(part)


def days(*more: date) -> str:
    """Further days for the end of an address."""
    return "".join(f",{day.isoformat()}" for day in more)


def read(address: str) -> People | None:
    """The people an address names; None for one that names none."""
    kind, *parts = (unquote(part) for part in address.split(","))
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
