"""Numbers, money, instants and spans as people read them; pure, never localised by machine.

Every text made here is safe in a Markdown label: digits, letters and plain punctuation only.
Text that came in an event never passes through here, but for `currency_label`, which lets
three-letter codes through and nothing else.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal

NOTHING = "–"
MINUS = "\u2212"
_CURRENCY_CODE = re.compile(r"[A-Z]{3}")
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def count(number: int | float) -> str:
    """Whole number with thousands separated: `12,345`, `−3`."""
    return f"{round(number):,}".replace("-", MINUS)


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 account`, `2 accounts`, `1,204 accounts`."""
    return f"{count(number)} {singular if number == 1 else plural or singular + 's'}"


def currency_label(currency: str | None) -> str:
    """The code of a currency, upper case; `other` for whatever is no three-letter code."""
    code = (currency or "").upper()
    return code if _CURRENCY_CODE.fullmatch(code) else "other"


def money(amount: Decimal | float, currency: str | None) -> str:
    """`USD 12,345` from 1,000 up, `USD 12.30` below: cents only where they can be read."""
    digits = 0 if abs(float(amount)) >= 1_000 else 2
    return f"{currency_label(currency)} {amount:,.{digits}f}".replace("-", MINUS)


def rate(numerator: int | float, denominator: int | float) -> float | None:
    """numerator / denominator, None where there is nothing to divide by."""
    return numerator / denominator if denominator else None


def percent(share: float | None) -> str:
    """`12.3 %`; a dash for None."""
    return NOTHING if share is None else f"{share * 100:.1f} %"


def points(difference: float | None) -> str | None:
    """Difference of two rates in percentage points, signed: `+1.2 pp`; None stays None."""
    return None if difference is None else f"{difference * 100:+.1f} pp"


def signed(number: int | float) -> str:
    """`+12`, `-3`, `0`; a plain hyphen, because Streamlit reads the sign of a delta from it."""
    return f"{round(number):+,}" if round(number) else "0"


def relative_change(now: float, before: float) -> str | None:
    """Change against an earlier value: `+12.0 %`; None where the earlier value was nothing."""
    return None if before == 0 else f"{(now - before) / abs(before) * 100:+.1f} %"


def span(seconds: float | None) -> str:
    """A length of time in its largest fitting unit: `40 s`, `12 min`, `5.5 h`, `11.2 days`."""
    if seconds is None:
        return NOTHING
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} days"


def ago(seconds: float) -> str:
    """How long ago, for a line that is drawn again every few seconds."""
    if seconds < 5:
        return "just now"
    if seconds < _MINUTE:
        return f"{seconds // 5 * 5:.0f} s ago"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min ago"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h ago"
    return f"{seconds / _DAY:.0f} days ago"


def instant(moment: datetime) -> str:
    """`22 Nov 2026 10:57 UTC`; expects an instant in UTC."""
    return f"{moment.day} {moment:%b %Y %H:%M} UTC"


def day(moment: date) -> str:
    """`22 Nov 2026`."""
    return f"{moment.day} {moment:%b %Y}"
