"""What the reader asked to see: a period of whole UTC days and registration sources. Pure.

A period always includes its last day; the period before it is the same number of days,
directly before. `app.py` draws the widgets, whose values live in the address bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

PERIOD_DAYS: Final[dict[str, int | None]] = {
    "7d": 7,
    "30d": 30,
    "90d": 90,
    "12m": 365,
    "all": None,
    "custom": None,
}
PERIOD_LABELS: Final[dict[str, str]] = {
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "12m": "12 months",
    "all": "All time",
    "custom": "Custom",
}
DEFAULT_PERIOD: Final = "90d"


@dataclass(frozen=True)
class Filters:
    """One choice of period and sources.

    first_day and last_day are both included; sources empty means every source;
    has_previous is False where a period before this one would hold nothing by definition.
    """

    first_day: date
    last_day: date
    sources: tuple[str, ...] = ()
    has_previous: bool = True

    @property
    def days(self) -> int:
        """Number of days in the period, at least 1."""
        return (self.last_day - self.first_day).days + 1

    @property
    def starts_at(self) -> datetime:
        """First instant of the period."""
        return datetime.combine(self.first_day, time.min, UTC)

    @property
    def ends_before(self) -> datetime:
        """First instant after the period."""
        return datetime.combine(self.last_day + timedelta(days=1), time.min, UTC)

    @property
    def previous_first_day(self) -> date:
        """First day of the period before."""
        return self.first_day - timedelta(days=self.days)

    @property
    def previous_starts_at(self) -> datetime:
        """First instant of the period before."""
        return datetime.combine(self.previous_first_day, time.min, UTC)

    @property
    def previous_last_day(self) -> date:
        """Last day of the period before."""
        return self.first_day - timedelta(days=1)

    @property
    def grain(self) -> str:
        """Bucket width that keeps a chart readable: `day`, `week` or `month`."""
        if self.days <= 45:
            return "day"
        return "week" if self.days <= 200 else "month"

    @property
    def previous_label(self) -> str:
        """What a change is measured against, in words."""
        return f"vs prior {self.days} days" if self.days > 1 else "vs the day before"


def chosen_filters(
    period: str,
    custom: tuple[date, ...],
    sources: tuple[str, ...],
    *,
    first_day: date,
    today: date,
) -> Filters:
    """The filters meant by what the widgets hold.

    first_day: day of the oldest data. today: the UTC day of as_of, never the clock of the
    machine, so that a page shows the same under `refresh --as-of`. A half-chosen custom
    period counts as that single day; an unknown period as the default one.
    """
    if period == "custom" and custom:
        begin, end = min(custom), max(custom)
        return Filters(begin, end, sources, has_previous=begin > first_day)
    if period == "all":
        return Filters(min(first_day, today), today, sources, has_previous=False)
    days = PERIOD_DAYS.get(period) or PERIOD_DAYS[DEFAULT_PERIOD] or 1
    begin = today - timedelta(days=days - 1)
    return Filters(begin, today, sources, has_previous=begin > first_day)
