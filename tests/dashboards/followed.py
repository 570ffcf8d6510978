"""Pages as they are drawn, and the rows their numbers lead to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest
from test_pages import run_page

from dashboards import formats, navigation, queries
from dashboards.filters import Filters
from dashboards.people import Lead, People


def _named(label: re.Match[str]) -> str:
    return label[2] or label[1]


@dataclass
class Followed:
    """A page, and each of its links to rows by the number it says it is of."""

    page: AppTest
    leads: dict[str, Lead] = field(default_factory=dict)


def followed(monkeypatch: pytest.MonkeyPatch, data_dir: Path, page: str, **how: Any) -> Followed:
    """The page with its links, which a page run by itself has nowhere to lead to."""
    leads: dict[str, Lead] = {}

    def link(lead: Lead, label: str) -> None:
        name = re.sub(r":primary\[(.+?)\](?: \*behind (.+)\*)?", _named, label)
        leads[name] = lead

    monkeypatch.setattr(navigation, "link", link)
    return Followed(run_page(data_dir, page, **how), leads)


class Behind:
    """Totals and sums of the parts of one number, as the list of its rows tells them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lead: Lead, like: Filters) -> None:
        self.connection, self.lead = connection, lead
        self.filters = Filters(like.first_day, like.last_day, lead.sources)

    def total(self, part: int = 0, column: str = "rows") -> Any:
        """The total, once it is sure that the list has as many rows."""
        people = self.lead.parts[part]
        told = queries.total_behind(self.connection, self.filters, people).row(0, named=True)
        frame = self.rows(people)
        assert frame.height == told["rows"]
        assert frame.is_empty() or frame["total"][0] == frame.height
        return told[column]

    def sum(self, column: str, part: int = 0) -> float:
        """The foot of the list, once it is sure that its rows add up to it; of one currency."""
        people = self.lead.parts[part]
        sums = queries.sums_behind(self.connection, self.filters, people)
        assert sums.height <= 1
        foot = float(sums[column][0]) if sums.height else 0.0
        assert foot == pytest.approx(self.rows(people)[column].sum())
        return foot

    def rows(self, people: People) -> pl.DataFrame:
        return queries.rows_behind(
            self.connection, self.filters, people, rows=queries.EXPORT_ROWS_MAX
        )

    def value(self, label: str) -> str:
        """What the card has to show, from its rows alone."""
        first = self.lead.parts[0]
        if first.kind in ("converted", "recovered", "left"):
            return formats.percent(formats.rate(self.total(0), self.total(1)))
        if first.kind == "retention":
            if not first.parts[2]:
                return formats.percent(formats.rate(self.total(0), self.total(1)))
            kept, began = self.sum("mrr_then"), self.sum("mrr_start", 1)
            return formats.percent(formats.rate(kept, began))
        if first.kind == "kept":
            column = "mrr_end" if label.startswith("NRR") else "mrr_kept"
            return formats.percent(formats.rate(self.sum(column), self.sum("mrr_start")))
        if first.kind == "funnel":
            return formats.span(self.total(0, "median" if label.startswith("Median") else "p90"))
        if first.kind == "paying":
            return formats.money(self.sum("mrr"), first.parts[0])
        if first.kind == "overdue" and first.parts[1]:
            return formats.money(self.sum("amount"), first.parts[1])
        return formats.count(self.total())
