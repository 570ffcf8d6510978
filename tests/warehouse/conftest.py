"""A workbench per test; dbt parses the project once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from warehouse.prices import COLUMNS
from warehouse.transform import PROJECT, Transformer
from warehouse.workbench import Workbench

# A project of three models shows what the refresh does, apart from what hooklake's models mean.
_MODELS = {
    "models/staging/stg_seen.sql": "select * from {{ touched_events() }}",
    "models/intermediate/int_account_counts.sql": """
        select account_id, count(*) as events, max(occurred_at) as last_event_at
        from {{ account_ref('stg_seen') }} group by account_id
    """,
    "models/marts/fct_accounts.sql": """
        {{ config(materialized='account_table') }}
        select account_id, events, last_event_at from {{ account_ref('int_account_counts') }}
        where events < 5
    """,
    "models/marts/mart_total.sql": """
        select sum(events) as events, count(*) as accounts, {{ as_of() }} as as_of
        from {{ ref('fct_accounts') }}
    """,
    "models/marts/dim_seen.sql": """
        {{ config(materialized='view') }}
        select account_id, events, {{ as_of_date() }} as as_of_date
        from {{ ref('int_account_counts') }}
    """,
    "models/marts/schema.yml": """
version: 2
models:
    - name: fct_accounts
      description: One row per account with fewer than five events.
      columns:
          - name: account_id
            description: The account.
            data_tests: [unique, not_null]
    - name: mart_total
      description: Everything in one row.
""",
    "seeds/plan_prices.csv": ",".join(COLUMNS) + "\nfree,Free,0,USD,month,0,0,2020-01-01,\n",
}


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """The real project."""
    return Workbench(tmp_path / "data")


@pytest.fixture(scope="session")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real macros and profile around a handful of models."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def small_transformer(small_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    return Transformer(tmp_path_factory.mktemp("dbt"), small_project)


@pytest.fixture
def small(tmp_path: Path, small_transformer: Transformer) -> Workbench:
    """A workbench whose models are the handful above."""
    return Workbench(tmp_path / "data", small_transformer)


@pytest.fixture
def small_with(tmp_path: Path) -> Callable[..., Workbench]:
    """A workbench with files of the small project added or replaced."""

    def make(files: dict[str, str]) -> Workbench:
        project = write_project(tmp_path / "project", files)
        return Workbench(tmp_path / "data", Transformer(tmp_path / "dbt", project))

    return make


def write_project(folder: Path, changed: dict[str, str] | None = None) -> Path:
    copied = ["dbt_project.yml", "profiles.yml", "models/sources.yml"]
    copied += [f"macros/{name}.sql" for name in ("scope", "account_table", "overrides")]
    files = {name: (PROJECT / name).read_text() for name in copied}
    for name, text in (files | _MODELS | (changed or {})).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
