"""Numbers made of frames: small enough to check by hand."""

from __future__ import annotations

from datetime import date

import polars as pl

from dashboards import figures
from dashboards.figures import Share
from dashboards.filters import Filters

NOVEMBER = Filters(date(2026, 11, 1), date(2026, 11, 4))


def test_a_balance_starts_with_all_that_came_before_the_period() -> None:
    """10 before; +5 on the 1st, -2 and +1 on the 3rd: 10, 15, 15, 14, 14."""
    deltas = pl.DataFrame(
        {
            "day": [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 3), date(2026, 11, 3)],
            "delta": [10, 5, -2, 1],
        }
    )
    level = figures.balance(deltas, NOVEMBER)
    assert level.course == (10, 15, 15, 14, 14)
    assert (level.before, level.now) == (10, 14)


def test_a_balance_without_rows_is_nothing_all_along() -> None:
    empty = pl.DataFrame(schema={"day": pl.Date, "delta": pl.Float64})
    assert figures.balance(empty, NOVEMBER).course == (0, 0, 0, 0, 0)


def test_days_without_rows_are_zero_in_a_sparkline() -> None:
    frame = pl.DataFrame({"day": [date(2026, 11, 2), date(2026, 11, 2)], "n": [3, 4]})
    assert figures.daily(frame, NOVEMBER, "day", "n") == (0, 7, 0, 0)


def test_a_long_sparkline_has_equal_spans_and_ends_with_the_last_day() -> None:
    """61 days in spans of 3: the first day is left over and left out, 20 spans of 3 remain."""
    filters = Filters(date(2026, 1, 1), date(2026, 3, 2))
    assert filters.days == 61
    frame = pl.DataFrame({"day": [date(2026, 1, 1), date(2026, 3, 2)], "n": [100, 1]})
    course = figures.daily(frame, filters, "day", "n")
    assert (len(course), course[-1], sum(course)) == (20, 1, 1)


def test_thinning_keeps_the_last_value() -> None:
    course = tuple(float(value) for value in range(91))
    thin = figures.thinned(course)
    assert thin[-1] == 90
    assert len(thin) <= figures.SPARK_POINTS


def test_conversion_has_no_rate_while_nobody_has_matured() -> None:
    frame = pl.DataFrame({"paid_14": [0], "matured_14": [0]})
    assert figures.conversion(frame, 14) == Share(0, 0)
    assert figures.conversion(frame, 14).rate is None


def test_the_funnel_has_step_and_overall_rates() -> None:
    """200 -> 150 -> 30 -> 15: steps 0.75, 0.2, 0.5; overall 0.75, 0.15, 0.075."""
    frame = pl.DataFrame({"registered": [200], "workspace": [150], "paid": [30], "renewed": [15]})
    steps = figures.funnel_steps(frame)
    assert steps["step_rate"].to_list() == [None, 0.75, 0.2, 0.5]
    assert steps["overall_rate"].to_list() == [1.0, 0.75, 0.15, 0.075]


def test_a_funnel_of_nobody_has_no_rates() -> None:
    steps = figures.funnel_steps(pl.DataFrame({step: [0] for step in figures.STEPS}))
    assert steps["overall_rate"].to_list() == [None] * 4


def test_a_cohort_is_still_maturing_until_everybody_had_the_time() -> None:
    """1-3 Nov: all of 4 matured, 1 paid; the 4th: 1 of 2 matured; the 5th: nobody."""
    filters = Filters(date(2026, 11, 3), date(2026, 11, 5))
    frame = pl.DataFrame(
        {
            "cohort_date": [date(2026, 11, day) for day in (2, 3, 4, 5)],
            "registered": [9, 4, 2, 3],
            "matured_14": [9, 4, 1, 0],
            "paid_14": [9, 1, 1, 0],
        }
    )
    cohorts = figures.cohorts(frame, filters, 14)
    assert cohorts["rate"].to_list() == [0.25, 1.0, None]
    assert cohorts["is_matured"].to_list() == [True, False, False]


def test_weeks_begin_on_monday() -> None:
    filters = Filters(date(2026, 9, 1), date(2026, 11, 22))
    assert filters.grain == "week"
    frame = pl.DataFrame(
        {
            "cohort_date": [date(2026, 11, 15), date(2026, 11, 16)],  # a Sunday, a Monday
            "registered": [1, 1],
            "matured_14": [1, 1],
            "paid_14": [0, 0],
        }
    )
    assert figures.cohorts(frame, filters, 14)["cohort"].to_list() == [
        date(2026, 11, 9),
        date(2026, 11, 16),
    ]


def test_the_curve_of_payers_adds_up_day_by_day_and_leaves_out_what_is_later() -> None:
    frame = pl.DataFrame({"day": [0, 3, 90], "paid": [2, 1, 5]})
    curve = figures.paid_by_day(frame, 10)
    assert curve["paid"].to_list()[:4] == [2, 2, 2, 3]
    assert curve["share"][-1] == 0.3
    assert curve.height == 90


def test_currencies_come_with_the_heaviest_first_and_losses_weigh_too() -> None:
    frame = pl.DataFrame({"currency": ["EUR", "USD", "USD"], "amount": [5.0, -4.0, 3.0]})
    assert figures.currencies(frame, "amount") == ["USD", "EUR"]


def test_no_more_currencies_are_drawn_than_a_page_has_room_for() -> None:
    """Seven of them: the four heaviest are named, three are left out and counted."""
    frame = pl.DataFrame({"currency": list("ABCDEFG"), "amount": [float(n) for n in range(7)]})
    assert figures.currencies(frame, "amount") == ["G", "F", "E", "D"]
    assert figures.currencies_left_out(frame) == 3
    assert figures.currencies_left_out(frame.head(4)) == 0
    assert figures.currencies_left_out(frame.head(0)) == 0


def test_two_periods_are_compared_step_by_step() -> None:
    """1-2 November: 4 registered, 2 with a workspace, 1 paid; 30-31 October: 10, 6, 0.

    50 % against 60 % is 10 points down, 25 % against 0 % is 25 up.
    """
    frame = pl.DataFrame(
        {
            "cohort_date": [date(2026, 10, 30), date(2026, 11, 1), date(2026, 11, 2)],
            "registered": [10, 3, 1],
            "workspace": [6, 2, 0],
            "paid": [0, 1, 0],
            "renewed": [0, 0, 0],
        }
    )
    filters = Filters(date(2026, 11, 1), date(2026, 11, 2))
    compared = figures.funnel_comparison(frame, filters)
    assert compared["accounts"].to_list() == [4, 2, 1, 0]
    assert compared["accounts_before"].to_list() == [10, 6, 0, 0]
    assert compared["points"].round(6).to_list() == [0, -10, 25, 0]
    nobody = figures.funnel_comparison(frame.filter(pl.col("registered") < 10), filters)
    assert nobody["percent_before"].to_list() == [None] * 4 == nobody["points"].to_list()
