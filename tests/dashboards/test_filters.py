"""A period is whole UTC days up to as_of's, and the one before is as long and directly before."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from dashboards.filters import Filters, chosen_filters

TODAY = date(2026, 11, 22)
FIRST = date(2025, 9, 1)


def chosen(period: str, custom: tuple[date, ...] = ()) -> Filters:
    return chosen_filters(period, custom, ("a",), first_day=FIRST, today=TODAY)


def test_seven_days_include_today_and_the_six_before() -> None:
    filters = chosen("7d")
    assert (filters.first_day, filters.last_day, filters.days) == (date(2026, 11, 16), TODAY, 7)
    assert filters.starts_at == datetime(2026, 11, 16, tzinfo=UTC)
    assert filters.ends_before == datetime(2026, 11, 23, tzinfo=UTC)
    assert filters.sources == ("a",)


def test_the_period_before_ends_where_this_one_begins() -> None:
    filters = chosen("30d")
    assert (filters.first_day - filters.previous_first_day).days == filters.days == 30


def test_all_time_begins_with_the_oldest_data_and_has_nothing_before_it() -> None:
    filters = chosen("all")
    assert (filters.first_day, filters.has_previous) == (FIRST, False)


def test_a_period_that_begins_at_the_first_data_has_no_period_to_compare_with() -> None:
    assert not chosen("custom", (FIRST, TODAY)).has_previous
    assert chosen("custom", (date(2025, 9, 2), TODAY)).has_previous


def test_a_half_chosen_custom_period_is_that_one_day() -> None:
    filters = chosen("custom", (date(2026, 3, 1),))
    assert (filters.first_day, filters.last_day, filters.days) == (date(2026, 3, 1),) * 2 + (1,)
    assert filters.previous_label == "vs the day before"


def test_days_chosen_backwards_are_turned_round() -> None:
    filters = chosen("custom", (date(2026, 3, 9), date(2026, 3, 1)))
    assert (filters.first_day, filters.last_day) == (date(2026, 3, 1), date(2026, 3, 9))


def test_an_unknown_period_means_the_default() -> None:
    assert chosen("'; drop table").days == 90
    assert chosen("custom").days == 90


@pytest.mark.parametrize(
    ("days", "grain"), [(1, "day"), (45, "day"), (46, "week"), (200, "week"), (201, "month")]
)
def test_buckets_widen_with_the_period(days: int, grain: str) -> None:
    first = date.fromordinal(TODAY.toordinal() - days + 1)
    assert Filters(first, TODAY).grain == grain


def test_the_first_day_never_lies_after_the_last() -> None:
    filters = chosen_filters("all", (), (), first_day=date(2027, 1, 1), today=TODAY)
    assert filters.first_day == filters.last_day == TODAY
