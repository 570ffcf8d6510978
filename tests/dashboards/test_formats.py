"""Numbers read as people write them, and nothing from an event passes as a currency."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from dashboards import formats


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.count(1_234_567), "1,234,567"),
        (formats.count(-3), "−3"),
        (formats.counted(1, "account"), "1 account"),
        (formats.counted(0, "account"), "0 accounts"),
        (formats.counted(2, "day of grace", "days of grace"), "2 days of grace"),
        (formats.money(Decimal("999.99"), "usd"), "USD 999.99"),
        (formats.money(Decimal("1000.00"), "USD"), "USD 1,000"),
        (formats.money(-12.5, "EUR"), "EUR −12.50"),
        (formats.percent(0.1234), "12.3 %"),
        (formats.percent(None), "–"),
        (formats.points(-0.0123), "-1.2 pp"),
        (formats.points(None), None),
        (formats.signed(0.2), "0"),
        (formats.signed(1_200), "+1,200"),
        (formats.relative_change(112, 100), "+12.0 %"),
        (formats.relative_change(5, 0), None),
        (formats.span(None), "–"),
        (formats.span(59), "59 s"),
        (formats.span(60), "1 min"),
        (formats.span(3_600), "1.0 h"),
        (formats.span(2 * 86_400), "2.0 days"),
        (formats.ago(4.9), "just now"),
        (formats.ago(59), "55 s ago"),
        (formats.ago(3_599), "59 min ago"),
        (formats.ago(3 * 86_400), "3 days ago"),
        (formats.day(date(2026, 11, 2)), "2 Nov 2026"),
        (formats.instant(datetime(2026, 11, 2, 8, 5, tzinfo=UTC)), "2 Nov 2026 08:05 UTC"),
    ],
)
def test_a_value_is_written_for_people(written: str | None, expected: str | None) -> None:
    assert written == expected


def test_a_rate_over_nothing_is_none_and_not_zero() -> None:
    assert formats.rate(0, 0) is None
    assert formats.rate(0, 4) == 0


@pytest.mark.parametrize(
    "sent", ["", None, "US", "USDT", "U$D", "![x](http://evil)", "<b>", "ab1", "USD\n", "ＵＳＤ"]
)
def test_a_currency_that_is_no_code_of_three_letters_never_reaches_a_label(
    sent: str | None,
) -> None:
    assert formats.currency_label(sent) == "other"
    assert formats.money(5, sent) == "other 5.00"
