"""How a question is put: bound values, a polars frame, and the clauses questions share."""

from __future__ import annotations

import re
from typing import Any, Final

import duckdb
import polars as pl

from dashboards.filters import Filters

LIST_ROWS_MAX: Final = 1_000
EXPORT_ROWS_MAX: Final = 100_000
_PARAMETER = re.compile(r"\$([a-z_]+)")
# The UTC day of an instant. A cast does the same through the time zone library, ten times slower.
DAY: Final = "('1970-01-01'::date + (epoch_us({}) // 86400000000)::integer)"

OF_SOURCES: Final = """
    and account_id in (
        select account_id
        from dim_accounts
        where list_contains($sources, coalesce(source, 'unknown'))
    )"""
IN_SOURCES: Final = "and list_contains($sources, source)"
IN_SOURCES_IF_ANY: Final = (
    "and (len($sources::varchar[]) = 0 or list_contains($sources::varchar[], source))"
)
FROM_SOURCES: Final = "and list_contains($sources, coalesce(source, 'unknown'))"


def frame_of(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    filters: Filters | None = None,
    **values: Any,
) -> pl.DataFrame:
    """The result of one query, with those of the values bound that its text names."""
    if filters is not None:
        values |= {
            "first_day": filters.first_day,
            "last_day": filters.last_day,
            "previous_first_day": filters.previous_first_day,
            "starts_at": filters.starts_at,
            "ends_before": filters.ends_before,
            "previous_starts_at": filters.previous_starts_at,
            "grain": filters.grain,
            "sources": list(filters.sources),
        }
    named = set(_PARAMETER.findall(sql))
    bound = {name: value for name, value in values.items() if name in named}
    frame: pl.DataFrame = connection.sql(sql, params=bound).pl()
    return frame
