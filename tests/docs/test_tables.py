"""README's tables and columns are those of a published warehouse, each way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import readme

from ingest.paths import DataDir

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a refresh publishes where nothing has ever arrived."""
    data_dir = tmp_path_factory.mktemp("published") / "data"
    hooklake = Path(sys.executable).with_name("hooklake")
    subprocess.run([hooklake, "refresh", "--data-dir", data_dir], check=True)
    return DataDir(data_dir).warehouse.resolve()


def columns(published: Path) -> dict[str, list[tuple[str, str | None]]]:
    """Name and comment of each column, in order, by public table."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    with duckdb.connect(published, read_only=True) as connection:
        for table, column, comment in connection.execute(
            "select table_name, column_name, comment from duckdb_columns()"
            " where schema_name = 'main' and not internal order by table_name, column_index"
        ).fetchall():
            found.setdefault(table, []).append((column, comment))
    return found


def documented() -> dict[str, list[str]]:
    rows = readme.table(readme.section("Tables"), first_heading="table")
    return {row.name: row.code(2) for row in rows}


def test_every_table_and_column_is_documented_and_every_documented_one_exists(
    published: Path,
) -> None:
    real = {table: [name for name, _ in found] for table, found in columns(published).items()}
    assert documented() == real


def test_every_table_and_column_carries_its_definition(published: Path) -> None:
    without = [
        f"{table}.{name}"
        for table, found in columns(published).items()
        for name, comment in found
        if not comment
    ]
    assert without == []
    with duckdb.connect(published, read_only=True) as connection:
        bare = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'main' and comment is null"
        ).fetchall()
    assert bare == []


def test_money_has_two_decimals_everywhere(published: Path) -> None:
    with duckdb.connect(published, read_only=True) as connection:
        kinds = connection.execute(
            "select distinct data_type from duckdb_columns()"
            " where schema_name = 'main' and data_type like 'DECIMAL%'"
        ).fetchall()
    assert kinds == [("DECIMAL(18,2)",)]
