"""The rows behind one number (people.py): as many as it counts, or adding up to it.

Asked only when somebody follows a number. At most `rows` come back, the newest or largest first;
the total and the sums beside them are over all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.people import People
from dashboards.queries.asking import IN_SOURCES, LIST_ROWS_MAX, OF_SOURCES, frame_of
from dashboards.queries.conditions import (
    CEASED,
    KEPT,
    OF_ACCOUNTS,
    OF_CHANGES,
    OF_EPISODES,
    OF_JOURNEYS,
    OF_MOVEMENTS,
    PAYERS,
    PAYING,
    RETAINED,
)


@dataclass(frozen=True)
class Unit:
    """What a row is. columns and order: SQL; of_sources: a clause over the rows.

    sums: amounts that may be added up within the row's currency; middle: the column whose median
    a number is, if one is.
    """

    columns: str
    order: str
    of_sources: str = OF_SOURCES
    sums: tuple[str, ...] = ()
    middle: str = ""


UNITS: Final = {
    "journey": Unit(
        "account_id, source, registered_at, workspace_at, paid_at, first_paid_plan_id, renewed_at,"
        " seconds_to_paid / 86400 as days_to_paid",
        "registered_at desc, account_id",
        IN_SOURCES,
        middle="seconds_to_paid",
    ),
    "change": Unit(
        "changed_at, account_id, change_type, from_plan_id, to_plan_id, mrr_movement,"
        " (account_mrr_after - account_mrr_before)::double as moved, currency, cause,"
        " subscription_id",
        "changed_at desc, change_id",
        IN_SOURCES,
        sums=("moved",),
    ),
    "movement": Unit(
        "occurred_at, account_id, mrr_movement, account_mrr_before::double as account_mrr_before,"
        " account_mrr_after::double as account_mrr_after,"
        " (account_mrr_after - account_mrr_before)::double as moved, currency",
        "occurred_at desc, account_id",
        IN_SOURCES,
        sums=("moved",),
    ),
    "episode": Unit(
        "opened_at, account_id, cause, status, amount::double as amount, currency, due_date,"
        " days_overdue, closed_at, days_to_close, notices, workspace_id, payment_id",
        "opened_at desc, episode_id",
        sums=("amount",),
        middle="days_to_close",
    ),
    "payer": Unit("account_id, plans, since", "since desc, account_id"),
    "ceased": Unit("account_id, plans, since, ended_at, is_before", "ended_at desc, account_id"),
    "paying": Unit(
        "account_id, plans, since, mrr::double as mrr, currency",
        "mrr desc, account_id",
        sums=("mrr",),
    ),
    "kept": Unit(
        "account_id, mrr_start::double as mrr_start, mrr_end::double as mrr_end,"
        " mrr_kept::double as mrr_kept, currency, is_paying",
        "mrr_start - mrr_end desc, account_id",
        sums=("mrr_start", "mrr_end", "mrr_kept"),
    ),
    "retained": Unit(
        "account_id, first_paid_at, judged_at, is_paying, mrr_start::double as mrr_start,"
        " mrr_then::double as mrr_then, currency",
        "first_paid_at desc, account_id",
        sums=("mrr_start", "mrr_then"),
    ),
    "account": Unit(
        "account_id, lifecycle, coalesce(source, 'unknown') as source, registered_at,"
        " first_paid_at, current_plan_id, mrr::double as mrr, currency, workspaces_live,"
        " open_overdue, last_event_at",
        "last_event_at desc nulls last, account_id",
    ),
}


def _of(table: str, unit: str, conditions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        kind: (unit, f"select * from {table} where {condition}")
        for kind, condition in conditions.items()
    }


_KINDS: Final = {
    **_of("fct_registration_funnel", "journey", OF_JOURNEYS),
    **_of("fct_plan_changes", "change", OF_CHANGES),
    **_of("hooklake_inner.int_mrr_movements", "movement", OF_MOVEMENTS),
    **_of("fct_overdue_episodes", "episode", OF_EPISODES),
    **_of("dim_accounts", "account", OF_ACCOUNTS),
    "payers": ("payer", PAYERS),
    "ceased": ("ceased", CEASED),
    "paying": ("paying", PAYING),
    "kept": ("kept", KEPT.format(more="")),
    "left": ("kept", KEPT.format(more="and not bool_or(is_at_end)")),
    "started": ("retained", RETAINED.format(having="")),
    "retention": ("retained", RETAINED.format(having="having bool_or(is_then)")),
}


def unit_of(people: People) -> str:
    """What each row is: one of UNITS."""
    return _KINDS[people.kind][0]


def rows_behind(
    connection: duckdb.DuckDBPyConnection,
    filters: Filters,
    people: People,
    rows: int = LIST_ROWS_MAX,
) -> pl.DataFrame:
    """The rows with the columns of their unit; `total` says how many there are."""
    unit = UNITS[unit_of(people)]
    return frame_of(
        connection,
        f"""
        {_behind(people, filters)}

        select {unit.columns}, (select count(*) from behind) as total
        from behind
        order by {unit.order}
        limit $rows
        """,
        filters,
        cell=list(people.parts),
        rows=rows,
    )


def total_behind(
    connection: duckdb.DuckDBPyConnection, filters: Filters, people: People
) -> pl.DataFrame:
    """One row: rows, accounts, median and p90 (NULL where the unit has no middle)."""
    middle = UNITS[unit_of(people)].middle
    return frame_of(
        connection,
        f"""
        {_behind(people, filters)}

        select
            count(*) as rows,
            count(distinct account_id) as accounts,
            {f"quantile_cont({middle}, 0.5)" if middle else "null::double"} as median,
            {f"quantile_cont({middle}, 0.9)" if middle else "null::double"} as p90
        from behind
        """,
        filters,
        cell=list(people.parts),
    )


def sums_behind(
    connection: duckdb.DuckDBPyConnection, filters: Filters, people: People
) -> pl.DataFrame:
    """currency and the unit's sums in it, the currency of most rows first; no row without sums."""
    sums = UNITS[unit_of(people)].sums
    if not sums:
        return pl.DataFrame(schema={"currency": pl.String})
    columns = UNITS[unit_of(people)].columns
    return frame_of(
        connection,
        f"""
        {_behind(people, filters)}

        select currency, {", ".join(f"coalesce(sum({name}), 0) as {name}" for name in sums)}
        from (select {columns} from behind)
        where currency is not null
        group by currency
        order by count(*) desc, currency
        """,
        filters,
        cell=list(people.parts),
    )


def _behind(people: People, filters: Filters) -> str:
    unit, selected = _KINDS[people.kind]
    narrowed = UNITS[unit].of_sources if filters.sources else ""
    return f"with behind as (select * from ({selected}) where true {narrowed})"
