"""Charts as pure functions: a frame of queries/ or figures.py in, a Vega-Lite chart out.

Text of events appears in axes, legends and tooltips only, which Vega draws as text. Colours come
from the palette and are never the only difference: what they tell is in a label, an order or a
shape as well. Sizes are left to the page; every chart says its height.
"""

from __future__ import annotations

from dashboards.charts.answered import answer
from dashboards.charts.arrivals import deliveries
from dashboards.charts.cohorts import retention, retention_curve
from dashboards.charts.conversion import (
    cohort_conversion,
    funnel,
    paid_over_time,
    registrations,
    source_conversion,
)
from dashboards.charts.money import level, movements
from dashboards.charts.parts import BUCKETS, CAUSES, MOVEMENTS, PEOPLE
from dashboards.charts.payments import ageing, recovery
from dashboards.charts.plans import cancels, plan_flows

__all__ = [
    "BUCKETS",
    "CAUSES",
    "MOVEMENTS",
    "PEOPLE",
    "ageing",
    "answer",
    "cancels",
    "cohort_conversion",
    "deliveries",
    "funnel",
    "level",
    "movements",
    "paid_over_time",
    "plan_flows",
    "recovery",
    "registrations",
    "retention",
    "retention_curve",
    "source_conversion",
]
