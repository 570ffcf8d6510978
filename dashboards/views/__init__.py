"""The pages, in the order of the navigation; each is `draw(source, filters)` in a file of its own.

Not called `pages`: Streamlit would take such a folder for its own page list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dashboards import addresses
from dashboards.context import Installation
from dashboards.filters import Filters
from dashboards.source import Source
from dashboards.views import (
    accounts,
    checklist,
    funnel,
    health,
    overdue,
    overview,
    plan_changes,
    retention,
    sql,
)


@dataclass(frozen=True)
class Page:
    """One page: its name, its place in the address, what draws it, and which filters it obeys.

    beneath: what is drawn whether or not there is a warehouse to draw the rest from.
    """

    title: str
    url_path: str
    draw: Callable[[Source, Filters], None]
    has_period: bool = True
    has_sources: bool = True
    beneath: Callable[[Installation], None] | None = None


VIEWS: Final = (
    Page("Overview", addresses.OVERVIEW, overview.draw),
    Page("Funnel", addresses.FUNNEL, funnel.draw),
    Page(
        "Retention",
        addresses.RETENTION,
        retention.draw,
        has_period=False,
        has_sources=False,
    ),
    Page("Plan changes", addresses.PLAN_CHANGES, plan_changes.draw),
    Page("Overdue payments", addresses.OVERDUE_PAYMENTS, overdue.draw),
    Page("Accounts", addresses.ACCOUNTS, accounts.draw, has_period=False),
    Page(
        "Data health",
        addresses.HEALTH,
        health.draw,
        has_period=False,
        has_sources=False,
        beneath=health.draw_ledger,
    ),
    Page(
        "Checklist",
        addresses.CHECKLIST,
        checklist.draw,
        has_period=False,
        has_sources=False,
        beneath=checklist.draw_ledger,
    ),
    Page("SQL", addresses.SQL, sql.draw, has_period=False, has_sources=False),
)
