"""The pages, in the order of the navigation; each is `draw(source, filters)` in a file of its own.

Not called `pages`: Streamlit would take such a folder for its own page list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dashboards import addresses
from dashboards.filters import Filters
from dashboards.source import Source
from dashboards.views import accounts, funnel, overdue, overview, plan_changes, sql


@dataclass(frozen=True)
class Page:
    """One page: its name, its place in the address, what draws it, and which filters it obeys."""

    title: str
    url_path: str
    draw: Callable[[Source, Filters], None]
    has_period: bool = True
    has_sources: bool = True


VIEWS: Final = (
    Page("Overview", addresses.OVERVIEW, overview.draw),
    Page("Funnel", addresses.FUNNEL, funnel.draw),
    Page("Plan changes", addresses.PLAN_CHANGES, plan_changes.draw),
    Page("Overdue payments", addresses.OVERDUE_PAYMENTS, overdue.draw),
    Page("Accounts", addresses.ACCOUNTS, accounts.draw, has_period=False),
    Page("SQL", addresses.SQL, sql.draw, has_period=False, has_sources=False),
)
