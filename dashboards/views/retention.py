"""Retention: of those who began to pay in a month, who still pays, and how much, months later."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboards import charts, components, definitions, figures, formats, people
from dashboards.filters import Filters
from dashboards.people import Lead, People
from dashboards.source import Source

MILESTONES = (1, 3, 6, 12)
MONTHS = (6, 12, 24)


def draw(source: Source, _: Filters) -> None:
    """The whole page."""
    mart = source.ask("retention")
    if mart.is_empty():
        components.nothing("Nobody has begun to pay yet; retention begins with the first payment.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="retention-choice"):
        measure = _measure()
        currency = _currency(mart) if measure == "revenue" else None
        months = (
            st.segmented_control(
                "Months drawn",
                MONTHS,
                default=12,
                key="months",
                bind="query-params",
                required=True,
            )
            or 12
        )
    cells = figures.retention(mart, measure, currency)
    curve = figures.retention_curve(cells)
    _cards(curve, measure, currency)
    _triangle(cells.filter(pl.col("period_number") <= months), measure, currency)
    _curve(curve, measure, currency)


def _measure() -> str:
    return (
        st.segmented_control(
            "Retention of",
            ["accounts", "revenue"],
            default="accounts",
            format_func={"accounts": "Accounts", "revenue": "Revenue"}.__getitem__,
            key="retained",
            bind="query-params",
            required=True,
        )
        or "accounts"
    )


def _currency(mart: pl.DataFrame) -> str:
    """One of the currencies of the cohorts, that with most accounts first."""
    sizes = mart.filter(pl.col("period_number") == 0).group_by("currency")
    ordered = (
        sizes.agg(pl.col("cohort_size").sum())
        .sort("cohort_size", "currency", descending=[True, False])["currency"]
        .to_list()
    )
    labels = [formats.currency_label(currency) for currency in ordered]
    chosen = st.selectbox(
        "Currency of the first plan",
        range(len(ordered)),
        format_func=lambda number: labels[number],
        key="retained-currency",
        width=200,
    )
    return str(ordered[chosen or 0])


def _cards(curve: pl.DataFrame, measure: str, currency: str | None) -> None:
    by_period = {row["period_number"]: row for row in curve.to_dicts()}
    noun = "accounts" if measure == "accounts" else f"{formats.currency_label(currency)} a month"
    with components.cards("retention"):
        for months in MILESTONES:
            found = by_period.get(months, {})
            kept, matured = found.get("kept") or 0, found.get("matured") or 0
            components.card(
                f"After {formats.counted(months, 'month')}",
                formats.percent(formats.rate(kept, matured)),
                help_text=definitions.RETENTION,
                caption=f"{formats.count(kept)} of {formats.count(matured)} {noun}"
                if matured
                else f"nobody's {formats.counted(months, 'month')} are over yet",
                lead=Lead(
                    tuple(
                        People.of(kind, None, months, currency) for kind in ("retention", "started")
                    )
                ),
            )


def _triangle(cells: pl.DataFrame, measure: str, currency: str | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width="stretch"):
            components.section("By month of first payment", definitions.TRIANGLE)
        components.download("retention.csv", lambda: cells, key="retention-csv")
    led = cells.with_columns(pl.lit(currency or "").alias("currency"))
    components.chart_of_people(
        charts.retention(
            people.behind(led, "retention", ["cohort_month", "period_number", "currency"]),
            measure,
            components.palette(),
        ),
        f"Share of {measure} retained, by month of first payment and months since",
        key="triangle",
        number="kept" if measure == "accounts" else None,
    )
    if cells.filter(~pl.col("is_whole") & pl.col("rate").is_not_null()).height:
        st.caption(
            "Framed cells are still maturing: they cover those of the month whose time has come."
        )


def _curve(curve: pl.DataFrame, measure: str, currency: str | None) -> None:
    what = f"revenue in {formats.currency_label(currency)}" if currency else "accounts"
    components.section("All months together", definitions.RETENTION_CURVE)
    led = curve.with_columns(pl.lit("").alias("cohort"), pl.lit(currency or "").alias("currency"))
    components.chart_of_people(
        charts.retention_curve(
            people.behind(led, "retention", ["cohort", "period_number", "currency"]),
            measure,
            components.palette(),
        ),
        f"Share of {what} retained by months since first payment, all cohorts weighted",
        key="retention-curve",
        number="kept" if measure == "accounts" else None,
    )
