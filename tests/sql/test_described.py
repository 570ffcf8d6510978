"""Every model and every column is described, the private ones too; nothing else is."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from warehouse.transform import Transformer
from warehouse.workbench import Workbench


class Watching(Transformer):
    """Looks at the tables while those of one refresh alone are still there."""

    def run(self, engine: str, *given: Any) -> Any:
        outcome = super().run(engine, *given)
        with duckdb.connect(engine) as connection:
            found = connection.execute(
                "select table_name, column_name from duckdb_columns()"
                " where database_name in ('delta', 'serve') order by column_index"
            ).fetchall()
        self.columns: dict[str, list[str]] = {}
        for table, column in found:
            self.columns.setdefault(table, []).append(column)
        return outcome


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Watching:
    transformer = Watching(tmp_path_factory.mktemp("dbt"))
    Workbench(tmp_path_factory.mktemp("described"), transformer).refresh()
    return transformer


def models(transformer: Transformer) -> dict[str, Any]:
    nodes = transformer.manifest().nodes.values()
    return {node.name: node for node in nodes if node.resource_type == "model"}


def test_every_model_says_what_a_row_of_it_is(watching: Watching) -> None:
    silent = {
        name
        for name, node in models(watching).items()
        if "one row per" not in " ".join(node.description.lower().split())
    }
    assert not silent


def test_every_column_is_described_and_every_described_one_exists(watching: Watching) -> None:
    described = {
        name: {column.name: column.description for column in node.columns.values()}
        for name, node in models(watching).items()
    }
    assert {name: set(columns) for name, columns in described.items()} == {
        name: set(watching.columns[name]) for name in described
    }
    silent = {
        f"{name}.{column}"
        for name, columns in described.items()
        for column, description in columns.items()
        if len(description.split()) < 2
    }
    assert not silent
