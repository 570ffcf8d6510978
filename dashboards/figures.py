"""Numbers on the pages, from the frames of queries/. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from dashboards import formats
from dashboards.filters import Filters

STEPS: Final = ("registered", "workspace", "paid", "renewed")
STEP_LABELS: Final = {
    "registered": "Registered",
    "workspace": "Created a workspace",
    "paid": "Started paying",
    "renewed": "Renewed",
}
SPARK_POINTS: Final = 30
CURRENCIES_SHOWN_MAX: Final = 4


@dataclass(frozen=True)
class Share:
    """A rate that never travels without what it was made of."""

    numerator: int
    denominator: int

    @property
    def rate(self) -> float | None:
        """numerator / denominator, None over nothing."""
        return formats.rate(self.numerator, self.denominator)


@dataclass(frozen=True)
class Balance:
    """A level at the end of the period and of the one before, and its daily course between.

    course: one value for each day from the day before the period to its last day.
    """

    now: float
    before: float
    course: tuple[float, ...]


def total(frame: pl.DataFrame, column: str) -> int:
    """Sum of a column, 0 without rows."""
    return int(frame[column].sum() or 0)


def this_period(frame: pl.DataFrame, filters: Filters, day: str) -> pl.DataFrame:
    """The rows whose day lies in the period."""
    return frame.filter(pl.col(day) >= filters.first_day)


def previous_period(frame: pl.DataFrame, filters: Filters, day: str) -> pl.DataFrame:
    """The rows whose day lies before the period."""
    return frame.filter(pl.col(day) < filters.first_day)


def conversion(frame: pl.DataFrame, days: int) -> Share:
    """Paid within `days` among those who have had that long."""
    return Share(total(frame, f"paid_{days}"), total(frame, f"matured_{days}"))


def daily(frame: pl.DataFrame, filters: Filters, day: str, column: str) -> tuple[float, ...]:
    """The column summed into at most SPARK_POINTS equal spans of the period, oldest first."""
    by_day: dict[date, float] = {}
    for on, value in frame.select(day, column).iter_rows():
        by_day[on] = by_day.get(on, 0) + (value or 0)
    values = [
        by_day.get(filters.first_day + timedelta(days=offset), 0) for offset in range(filters.days)
    ]
    width = -(-len(values) // SPARK_POINTS)
    head = len(values) % width  # a first span cut short would look like a fall
    return tuple(
        float(sum(values[start : start + width])) for start in range(head, len(values), width)
    )


def conversion_course(frame: pl.DataFrame, filters: Filters, days: int) -> tuple[float, ...]:
    """The rate in percent over the same spans as `daily`, spans without a matured one left out."""
    paid = daily(frame, filters, "cohort_date", f"paid_{days}")
    matured = daily(frame, filters, "cohort_date", f"matured_{days}")
    return tuple(100 * p / m for p, m in zip(paid, matured, strict=True) if m)


def balance(deltas: pl.DataFrame, filters: Filters) -> Balance:
    """What `day, delta` rows add up to; all before the period is dated the day before it."""
    by_day = dict(deltas.group_by("day").agg(pl.col("delta").sum()).iter_rows())
    level, course = 0.0, []
    for offset in range(-1, filters.days):
        level += by_day.get(filters.first_day + timedelta(days=offset), 0)
        course.append(level)
    return Balance(course[-1], course[0], tuple(course))


def thinned(course: tuple[float, ...]) -> tuple[float, ...]:
    """At most SPARK_POINTS values, the last one always among them."""
    width = -(-len(course) // SPARK_POINTS)
    return course[::-1][::width][::-1]


def currencies(frame: pl.DataFrame, by: str) -> list[str]:
    """The currencies of a frame, the one with most of `by` first, then by name.

    At most CURRENCIES_SHOWN_MAX: an event may claim any currency, and a page must stay a page.
    """
    if frame.is_empty():
        return []
    ranked = frame.group_by("currency").agg(pl.col(by).abs().sum().alias("weight"))
    ordered = ranked.sort(["weight", "currency"], descending=[True, False])
    return ordered["currency"].to_list()[:CURRENCIES_SHOWN_MAX]


def currencies_left_out(frame: pl.DataFrame) -> int:
    """How many currencies of a frame `currencies` does not name."""
    return max(0, frame["currency"].n_unique() - CURRENCIES_SHOWN_MAX)


def day_by_day(
    funnel: pl.DataFrame,
    churn: pl.DataFrame,
    paying: Balance,
    mrr: Mapping[str, Balance],
    filters: Filters,
) -> pl.DataFrame:
    """day, the funnel's columns, churned, paying and mrr_<currency>: what Overview is made of.

    One row for each day of the period; the last ones are levels at its end.
    """
    churned = churn.group_by("day").agg(pl.col("accounts").sum().alias("churned"))
    days = course_frame(paying, filters).rename({"value": "paying"})
    counted = days.select("day").join(funnel, left_on="day", right_on="cohort_date", how="left")
    return (
        counted.join(churned, on="day", how="left")
        .with_columns(pl.exclude("day").fill_null(0))
        .join(days.with_columns(pl.col("paying").cast(pl.Int64)), on="day", how="left")
        .with_columns(
            pl.Series(f"mrr_{currency}", level.course[1:]).round(2)
            for currency, level in mrr.items()
        )
        .sort("day")
    )


def funnel_steps(frame: pl.DataFrame) -> pl.DataFrame:
    """step, label, accounts, step_rate, overall_rate: one row per step, in order."""
    reached = [total(frame, step) for step in STEPS]
    return pl.DataFrame(
        {
            "step": list(STEPS),
            "label": [STEP_LABELS[step] for step in STEPS],
            "accounts": reached,
            "step_rate": [
                None if not position else formats.rate(number, reached[position - 1])
                for position, number in enumerate(reached)
            ],
            "overall_rate": [formats.rate(number, reached[0]) for number in reached],
        },
        schema_overrides={"step_rate": pl.Float64, "overall_rate": pl.Float64},
    )


def funnel_comparison(frame: pl.DataFrame, filters: Filters) -> pl.DataFrame:
    """label, accounts, percent, accounts_before, percent_before, points: a row per step, in order.

    frame: queries.funnel_by_day(). A percentage is NULL where nobody registered, and points, the
    difference of the two, where either is.
    """
    now, before = (
        funnel_steps(part(frame, filters, "cohort_date")).with_columns(
            (100 * pl.col("overall_rate")).alias("percent")
        )
        for part in (this_period, previous_period)
    )
    return now.select("label", "accounts", "percent").with_columns(
        before["accounts"].alias("accounts_before"),
        before["percent"].alias("percent_before"),
        (now["percent"] - before["percent"]).alias("points"),
    )


def cohorts(frame: pl.DataFrame, filters: Filters, days: int) -> pl.DataFrame:
    """cohort (date), registered, matured, paid, rate (NULL where nobody matured), is_matured.

    is_matured: everybody of the cohort has had `days`.
    """
    every = {"day": "1d", "week": "1w", "month": "1mo"}[filters.grain]
    return (
        this_period(frame, filters, "cohort_date")
        .group_by(pl.col("cohort_date").dt.truncate(every).alias("cohort"))
        .agg(
            pl.col("registered").sum(),
            pl.col(f"matured_{days}").sum().alias("matured"),
            pl.col(f"paid_{days}").sum().alias("paid"),
        )
        .sort("cohort")
        .with_columns(
            pl.when(pl.col("matured") > 0).then(pl.col("paid") / pl.col("matured")).alias("rate"),
            (pl.col("matured") == pl.col("registered")).alias("is_matured"),
        )
    )


def paid_by_day(frame: pl.DataFrame, registered: int) -> pl.DataFrame:
    """day (0..90), paid (so far), share: of all who registered, how many paid by that day.

    The last row of `days_to_paid` (90 and later) is left out: it is no single day.
    """
    by_day = dict(frame.iter_rows())
    rows, so_far = [], 0
    for day in range(90):
        so_far += by_day.get(day, 0)
        rows.append((day, so_far, so_far / registered if registered else None))
    return pl.DataFrame(
        rows,
        schema={"day": pl.Int32, "paid": pl.Int64, "share": pl.Float64},
        orient="row",
    )


def float_total(frame: pl.DataFrame, column: str) -> float:
    """Sum of a column of amounts of one currency, 0.0 without rows."""
    return float(frame[column].sum() or 0.0)


def course_frame(level: Balance, filters: Filters) -> pl.DataFrame:
    """day, value: the course of a balance from the first day of the period on."""
    days = [filters.first_day + timedelta(days=offset) for offset in range(filters.days)]
    return pl.DataFrame({"day": days, "value": level.course[1:]}, schema_overrides={"day": pl.Date})


def retention(mart: pl.DataFrame, measure: str, currency: str | None) -> pl.DataFrame:
    """cohort_month, period_number, cohort_size, matured, kept, rate, is_whole, ordered.

    mart: queries.retention(). measure `accounts`: matured and kept count accounts, over all
    currencies; `revenue`: they are MRR at the start and now, of one currency. kept and rate are
    None where nobody has matured, the rate also where there was no MRR at the start; is_whole:
    everybody of the cohort has.
    """
    chosen = mart if currency is None else mart.filter(pl.col("currency") == currency)
    matured, kept = (
        ("matured", "retained") if measure == "accounts" else ("mrr_start", "mrr_retained")
    )
    return (
        chosen.group_by("cohort_month", "period_number")
        .agg(
            pl.col("cohort_size").sum(),
            pl.col("matured").sum().alias("accounts_matured"),
            pl.col(matured).sum().alias("base"),
            pl.col(kept).sum().alias("kept"),
        )
        .select(
            "cohort_month",
            "period_number",
            "cohort_size",
            pl.col("base").alias("matured"),
            pl.when(pl.col("accounts_matured") > 0).then(pl.col("kept")).alias("kept"),
            (pl.col("kept") / pl.when(pl.col("base") > 0).then(pl.col("base"))).alias("rate"),
            (pl.col("accounts_matured") == pl.col("cohort_size")).alias("is_whole"),
        )
        .sort("cohort_month", "period_number")
    )


def retention_curve(cells: pl.DataFrame) -> pl.DataFrame:
    """period_number, kept, matured, rate: sums over all cohorts, not a mean of their rates.

    cells: retention(). Periods for which nobody has matured are left out.
    """
    return (
        cells.group_by("period_number")
        .agg(pl.col("kept").sum(), pl.col("matured").sum())
        .filter(pl.col("matured") > 0)
        .with_columns((pl.col("kept") / pl.col("matured")).alias("rate"))
        .sort("period_number")
    )
