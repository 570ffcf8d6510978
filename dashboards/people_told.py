"""What the rows behind a number are called, by their kind (people.py). Pure, and plain text.

Parts may hold names of plans, sources and causes, which are the sender's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Final

from dashboards import definitions, formats
from dashboards.figures import STEP_LABELS


def _registered(source: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)}{_from(source)}"


def _others(first: str, last: str, *_: str) -> str:
    return f"Registered {_days(first, last)} from a source that the chart does not name"


def _converted(days: str, source: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)}{_from(source)} and paid within {days} days"


def _matured(days: str, source: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)}{_from(source)} and has had {days} days"


def _maturing(days: str, source: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)}{_from(source)} and has not had {days} days yet"


def _came(what: str, instant: str) -> str:
    done = {"registered": "Registered", "workspace": "Made a first workspace"}[what]
    return f"{done} {_last_day(instant)}"


def _paid_by(day: str, first: str, last: str) -> str:
    return f"Registered {_days(first, last)} and paid by day {day} after"


def _paying(currency: str, day: str) -> str:
    return f"Paying in {formats.currency_label(currency)} at the end of {_day(day)}"


def _payers(day: str) -> str:
    return f"Paying at the end of {_day(day)}"


def _ceased(scope: str, first: str, last: str) -> str:
    if scope:
        return f"Paying before {_day(first)} and no longer at the end of {_day(last)}"
    return f"Stopped paying {_days(first, last)}"


def _kept(currency: str, month: str) -> str:
    began = f"{date.fromisoformat(month):%B %Y} began"
    return f"Paying in {formats.currency_label(currency)} when {began}"


def _left(currency: str, month: str) -> str:
    return f"{_kept(currency, month)}, and no longer at its end"


def _recovered(cause: str, first: str, last: str) -> str:
    opened = f"Overdue {_days(first, last)}, {_cause(cause).lower()}"
    return f"{opened}, and recovered within 30 days"


def _judged(cause: str, first: str, last: str) -> str:
    return f"Overdue {_days(first, last)}, {_cause(cause).lower()}, and has had 30 days"


def _returned(cause: str, first: str, last: str) -> str:
    return f"Overdue {_days(first, last)}, {_cause(cause).lower()}, and recovered since"


def _overdue(scope: str, currency: str) -> str:
    late = ", past the due date" if scope else ""
    return f"Open overdue payments{late}{_in(currency)}"


def _open(day: str) -> str:
    return f"Overdue payments open at the end of {_day(day)}"


def _owed(what: str, instant: str) -> str:
    return f"{definitions.HAPPENED_LABELS[what]} {_last_day(instant)}"


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


def _started(month: str, period: str, currency: str) -> str:
    over = f", {formats.counted(int(period), 'month')} ago or more" if period != "0" else ""
    return f"{_retention(month, '0', currency)}{over}"


def _flow(before: str, after: str, first: str, last: str) -> str:
    return f"Went from {before or 'no plan'} to {after or 'no plan'} {_days(first, last)}"


def _ageing(bucket: str, cause: str, currency: str) -> str:
    what = f"{definitions.BUCKET_LABELS[bucket]}, {_cause(cause).lower()}"
    return f"Open overdue payments, {what}{_in(currency)}"


def _cancel(cause: str, first: str, last: str) -> str:
    return f"A paid plan ended {_days(first, last)}: {_cause(cause).lower()}"


def _movement(movement: str, currency: str, first: str, last: str) -> str:
    label = definitions.MOVEMENT_LABELS.get(movement, "Every movement of revenue")
    where = f" in {formats.currency_label(currency)}" if currency else ""
    return f"{label}{where} {_days(first, last)}"


def _shift(movement: str, currency: str, month: str) -> str:
    label = definitions.MOVEMENT_LABELS[movement]
    during = f"{date.fromisoformat(month):%B %Y}"
    return f"{label} in {formats.currency_label(currency)} in {during}"


def _change(kind: str, first: str, last: str) -> str:
    return f"{definitions.CHANGE_LABELS[kind]} {_days(first, last)}"


def _moved(kind: str, instant: str) -> str:
    label = definitions.HAPPENED_LABELS.get(kind, definitions.CHANGE_LABELS[kind])
    return f"{label} {_last_day(instant)}"


def _lifecycle(lifecycle: str) -> str:
    label = definitions.LIFECYCLE_LABELS.get(lifecycle)
    return f"{label} now" if label else "Everybody"


def _unpriced(plan: str) -> str:
    return f"On {plan} now, a plan without a price"


def _cause(cause: str) -> str:
    return definitions.CAUSE_LABELS.get(cause, "Unknown")


def _from(source: str) -> str:
    return f" from {source}" if source else ""


def _in(currency: str) -> str:
    return f", in {formats.currency_label(currency)}" if currency else ""


def _last_day(instant: str) -> str:
    return f"in the 24 hours up to {formats.instant(datetime.fromisoformat(instant))}"


def _day(day: str) -> str:
    return formats.day(date.fromisoformat(day))


def _days(first: str, last: str) -> str:
    begin, end = _day(first), _day(last)
    return f"on {begin}" if begin == end else f"from {begin} to {end}"


LABELS: Final[dict[str, Callable[..., str]]] = {
    "registered": _registered,
    "others": _others,
    "converted": _converted,
    "matured": _matured,
    "maturing": _maturing,
    "came": _came,
    "paid-by": _paid_by,
    "paying": _paying,
    "payers": _payers,
    "ceased": _ceased,
    "kept": _kept,
    "left": _left,
    "recovered": _recovered,
    "judged": _judged,
    "returned": _returned,
    "overdue": _overdue,
    "open": _open,
    "owed": _owed,
    "funnel": _funnel,
    "retention": _retention,
    "started": _started,
    "flow": _flow,
    "ageing": _ageing,
    "cancel": _cancel,
    "movement": _movement,
    "shift": _shift,
    "change": _change,
    "moved": _moved,
    "lifecycle": _lifecycle,
    "unpriced": _unpriced,
}
