"""One published warehouse of some 3,000 accounts for all tests that only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from warehouse_builder import AS_OF, build_warehouse

from dashboards.filters import Filters, chosen_filters
from ingest.paths import DataDir
from warehouse.reader import Published, connect, published


@pytest.fixture(scope="session")
def full_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a warehouse nobody may change."""
    root = tmp_path_factory.mktemp("dashboards") / "data"
    build_warehouse(root)
    return root


@pytest.fixture(scope="session")
def full_version(full_dir: Path) -> Published:
    version = published(DataDir(full_dir))
    assert version is not None
    return version


@pytest.fixture
def full(full_version: Published) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the full warehouse."""
    with connect(full_version) as connection:
        yield connection


@pytest.fixture
def last_90_days() -> Filters:
    return chosen_filters(
        "90d", (), (), first_day=AS_OF.date().replace(year=2025), today=AS_OF.date()
    )
