"""Every number can be followed back: the tables say by which query, and the query is right."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ingest.population import World
from tests.sql.made_up import lived
from warehouse.workbench import Workbench, shared_transformer

pytestmark = pytest.mark.slow

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
ROWS_TRIED_MAX = 25
_BEHIND = re.compile(r"Rows behind (\w+): `([^`]+)`")
_EVENTS = re.compile(r"The events? behind it: `([^`]+)`")
_TABLES = "select table_name, comment from duckdb_tables() where schema_name = 'main'"
_VIEWS = "select view_name, comment from duckdb_views() where schema_name = 'main' and not internal"

Row = dict[str, Any]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    bench = Workbench(tmp_path_factory.mktemp("behind"))
    bench.add(lived(World(seed=3, accounts=300, until=UNTIL, days=400)))
    bench.refresh(as_of=UNTIL)
    yield bench


def published_comments(bench: Workbench) -> dict[str, str]:
    return dict(bench.query(f"{_TABLES} union all {_VIEWS}"))


def ask(bench: Workbench, query: str, row: Row) -> list[tuple[Any, ...]]:
    named = {name: row[name] for name in re.findall(r"\$(\w+)", query)}
    with bench.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(query, named).fetchall()


def tried(bench: Workbench, table: str) -> list[Row]:
    rows = bench.rows(table)
    return random.Random(table).sample(rows, min(len(rows), ROWS_TRIED_MAX))


def test_every_table_of_numbers_says_how_to_follow_them(bench: Workbench) -> None:
    for name, comment in published_comments(bench).items():
        if name.startswith("mart_"):
            assert _BEHIND.search(comment), name
        if name.startswith(("mart_", "fct_", "dim_")):
            assert "Example: " in comment, name


def test_every_column_of_the_private_tables_that_are_named_is_described(bench: Workbench) -> None:
    comments = " ".join(published_comments(bench).values())
    named = set(re.findall(r"hooklake_inner\.(\w+)", comments))
    assert named == {"int_mrr_movements", "int_retention_spans", "int_renewals"}
    nodes = shared_transformer().manifest().nodes
    for table in named:
        there = bench.query(
            f"select column_name from duckdb_columns() where table_name = '{table}'"
        )
        assert {name for (name,) in there} == set(nodes[f"model.hooklake.{table}"].columns), table


def test_the_rows_behind_a_number_are_as_many_or_add_up_to_it(bench: Workbench) -> None:
    followed = 0
    for table, comment in published_comments(bench).items():
        for column, query in _BEHIND.findall(comment):
            for row in tried(bench, table):
                behind = ask(bench, query, row)
                is_sum = isinstance(row[column], Decimal)
                found = sum(each[-1] for each in behind) if is_sum else len(behind)
                assert found == row[column], (table, row, query)
                followed += 1
    assert followed > 100


def test_the_events_behind_a_row_are_there(bench: Workbench) -> None:
    followed = set()
    for table, comment in published_comments(bench).items():
        for query in _EVENTS.findall(comment):
            for row in tried(bench, table):
                assert ask(bench, query, row), (table, row, query)
                followed.add(table)
    assert followed == {"fct_plan_changes", "fct_overdue_episodes", "dim_accounts"}
