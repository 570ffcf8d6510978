"""One refresh: what it computes, when it starts anew, and what a failure leaves behind."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minutes import event

from ingest.contract import LAKE_COLUMNS
from warehouse.prices import COLUMNS, PlanPricesError
from warehouse.publish import PublishError
from warehouse.reader import published
from warehouse.state import StateError, open_engine
from warehouse.transform import Scope, Transformer, TransformError, Variables
from warehouse.workbench import Workbench

TABLES = ("fct_accounts", "mart_total", "dim_seen", "hooklake_inner.int_account_counts")
PRICES = ",".join(COLUMNS) + "\npro,Pro,2,USD,month,49.90,10,2026-01-01,\n"


def tables(bench: Workbench) -> dict[str, Any]:
    return {table: bench.rows(table) for table in TABLES}


def test_a_warehouse_without_events_is_typed_and_empty(small: Workbench) -> None:
    assert small.refresh().events == 0
    assert small.rows("events") == []
    columns = small.query("select column_name, column_type from (describe events)")
    assert [name for name, _ in columns] == list(LAKE_COLUMNS)
    assert dict(columns)["amount"] == "DECIMAL(18,2)"
    assert small.rows("fct_accounts") == []


def test_the_real_project_builds_without_events_and_with_some(bench: Workbench) -> None:
    assert bench.refresh().scope is Scope.FULL
    bench.add([event("a@x.test", 1), event("a@x.test", 2, "plan_changed", plan_id="business")])
    assert bench.refresh().scope is Scope.TOUCHED
    assert bench.refresh().scope is Scope.CLOCK
    assert len(bench.rows("events")) == 2


def test_only_touched_accounts_are_computed_again(small: Workbench) -> None:
    small.add([event("a", 1), event("b", 2)])
    small.refresh()
    small.add([event("a", 3)])
    report = small.refresh(as_of="2026-03-01T00:00:00Z")
    assert (report.scope, report.accounts, report.rows) == (Scope.TOUCHED, 1, 1)
    counts = {row["account_id"]: row["events"] for row in small.rows("fct_accounts")}
    assert counts == {"a": 2, "b": 1}


def test_an_account_whose_result_becomes_empty_leaves_no_row(small: Workbench) -> None:
    small.add([event("a", minute) for minute in range(4)])
    small.refresh()
    assert len(small.rows("fct_accounts")) == 1
    small.add([event("a", 9)])
    small.refresh()
    assert small.rows("fct_accounts") == []
    assert small.rows("dim_seen")[0]["events"] == 5


def test_clock_dependent_tables_move_without_events(small: Workbench) -> None:
    small.add([event("a", 1)])
    small.refresh(as_of="2026-03-01T00:00:00Z")
    report = small.refresh(as_of="2026-03-02T10:00:00Z")
    assert report.scope is Scope.CLOCK
    assert small.query("select as_of::varchar from mart_total") == [("2026-03-02 10:00:00+00",)]
    assert small.query("select as_of_date::varchar from dim_seen") == [("2026-03-02",)]


def test_an_earlier_as_of_hides_what_came_later_and_is_undone_by_the_next(
    small: Workbench,
) -> None:
    small.add(
        [
            event(None, 5, "workspace_deleted", workspace_id="w"),
            event("a", 1),
            event("a", 60, "workspace_created", workspace_id="w"),
        ]
    )
    small.refresh()
    assert small.refresh(as_of="2026-01-01T00:30:00Z").scope is Scope.FULL
    assert [row["events"] for row in small.rows("fct_accounts")] == [1]
    assert len(small.rows("events")) == 3
    assert small.refresh().scope is Scope.FULL
    assert [row["events"] for row in small.rows("fct_accounts")] == [3]


@pytest.mark.parametrize("year", ["2999", "9999"])
def test_an_as_of_after_now_is_published_with_a_warning(small: Workbench, year: str) -> None:
    small.add([event("a", 1)])
    (warning,) = small.refresh(as_of=f"{year}-01-01T00:00:00Z").warnings
    assert re.match(rf"--as-of {year}-01-01T00:00:00Z is [\d,]+ days after now: ", warning)
    assert small.rows("mart_total")[0]["as_of"].year == int(year)
    assert small.refresh().warnings == ()
    assert small.rows("mart_total")[0]["as_of"].year < int(year)


def test_an_as_of_before_the_first_event_is_published_with_a_warning(small: Workbench) -> None:
    small.add([event("a", 1), event("a", 2)])
    assert small.refresh(as_of="2026-01-01T00:01:00Z").warnings == ()
    for early in ("0001-01-01T00:00:00Z", "2026-01-01T00:00:59Z"):
        (warning,) = small.refresh(as_of=early).warnings
        assert warning.startswith(f"--as-of {early} is before the first event, of 2026-01-01T00:01")
        assert small.rows("fct_accounts") == []
    assert small.refresh().warnings == ()
    assert len(small.rows("fct_accounts")) == 1


def test_a_changed_catalogue_or_variable_starts_anew(small: Workbench) -> None:
    small.refresh()
    small.data.plan_prices.write_text(PRICES)
    assert small.refresh().scope is Scope.FULL
    assert [row["plan_id"] for row in small.rows("plan_prices")] == ["pro"]
    assert small.refresh(variables=Variables(trial_days=7)).scope is Scope.FULL
    assert small.refresh(variables=Variables(trial_days=7)).scope is Scope.CLOCK


def test_a_wrong_catalogue_keeps_the_last_version(small: Workbench) -> None:
    version = small.refresh().version
    small.data.plan_prices.write_text(PRICES.replace("49.90", "cheap"))
    with pytest.raises(PlanPricesError, match="line 2, column price"):
        small.refresh()
    assert published(small.data).version == version


def test_a_serve_of_another_state_is_not_carried_on(small: Workbench) -> None:
    small.add([event("a", 1)])
    small.refresh()
    with open_engine(small.data) as engine:
        engine.remember(lineage="restored from elsewhere")
    assert small.refresh().scope is Scope.FULL


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_lost_serve_is_made_anew(small: Workbench, damage: str) -> None:
    small.add([event("a", 1)])
    small.refresh()
    small.data.serve.unlink()
    if damage == "garbage":
        small.data.serve.write_bytes(b"garbage" * 10_000)
    assert small.refresh().scope is Scope.FULL
    assert len(small.rows("fct_accounts")) == 1


def test_a_failed_test_keeps_the_last_good_version_and_is_named(
    small_with: Callable[..., Workbench],
) -> None:
    bench = small_with(
        {"tests/no_account_b.sql": "select * from {{ ref('fct_accounts') }} where account_id = 'b'"}
    )
    bench.add([event("a", 1)])
    version = bench.refresh().version
    bench.add([event("b", 2), event("a", 3)])
    for _ in range(2):  # again and again, until it is mended
        with pytest.raises(TransformError, match="test no_account_b: Got 1 result"):
            bench.refresh()
        assert published(bench.data).version == version
        assert [row["events"] for row in bench.rows("fct_accounts")] == [1]
    bench.files.pop()
    bench.add([event("c", 4)])
    bench.refresh(full=True)


def test_what_a_failed_refresh_had_to_do_is_done_by_the_next(
    small_with: Callable[..., Workbench],
) -> None:
    bench = small_with(
        {
            "models/marts/mart_total.sql": """
                select case when count(*) = 2 and '{{ var("trial_days") }}' = '14'
                    then cast(error('two') as integer) else 3 end as events
                from {{ ref('fct_accounts') }}
            """
        }
    )
    bench.add([event("a", 1)])
    bench.refresh()
    bench.add([event("b", 2)])
    with pytest.raises(TransformError, match=r"model mart_total: .*two"):
        bench.refresh()
    bench.add([event("c", 3)])
    assert bench.refresh().accounts == 2
    assert [row["account_id"] for row in bench.rows("fct_accounts")] == ["a", "b", "c"]


def test_a_warning_is_reported_and_does_not_stop(small_with: Callable[..., Workbench]) -> None:
    bench = small_with(
        {"tests/loud.sql": "{{ config(severity='warn') }}select * from {{ ref('fct_accounts') }}"}
    )
    bench.add([event("a", 1)])
    (warning,) = bench.refresh().warnings
    assert warning.startswith("test loud: Got 1 result")


def test_an_account_model_that_reads_everybody_is_refused(
    small_with: Callable[..., Workbench],
) -> None:
    bench = small_with(
        {
            "models/marts/fct_accounts.sql": """
                {{ config(materialized='account_table') }}
                select account_id, events from {{ ref('int_account_counts') }}
            """
        }
    )
    bench.add([event("a", 1), event("b", 2)])
    bench.refresh()
    bench.add([event("a", 3)])
    with pytest.raises(TransformError, match="accounts outside this refresh"):
        bench.refresh()


def test_a_test_of_an_account_model_looks_at_the_accounts_in_scope(
    small_with: Callable[..., Workbench],
) -> None:
    rule = """
{% test never_many(model) %} select * from {{ model }} where events > 1 {% endtest %}
"""
    yml = """
version: 2
models:
    - name: fct_accounts
      data_tests:
          - never_many: {config: {severity: warn}}
"""
    bench = small_with({"macros/never_many.sql": rule, "models/marts/schema.yml": yml})
    bench.add([event("a", 1), event("a", 2)])
    assert len(bench.refresh().warnings) == 1
    bench.add([event("b", 3)])
    assert bench.refresh().warnings == ()
    assert len(bench.refresh(full=True).warnings) == 1


def test_a_model_that_does_not_parse_is_named(small_with: Callable[..., Workbench]) -> None:
    bench = small_with({"models/marts/mart_total.sql": "select * from {{ ref('nowhere') }}"})
    with pytest.raises(TransformError, match="nowhere"):
        bench.refresh()


def test_descriptions_are_comments_after_every_kind_of_refresh(small: Workbench) -> None:
    for _ in range(2):
        small.add([event("a", len(small.files))])
        small.refresh()
        assert small.query(
            "select table_name, comment from duckdb_tables() where comment is not null order by 1"
        ) == [
            ("fct_accounts", "One row per account with fewer than five events."),
            ("mart_total", "Everything in one row."),
        ]
        assert small.query(
            "select comment from duckdb_columns() where table_name = 'fct_accounts'"
            " and comment is not null"
        ) == [("The account.",)]
        (uncommented,) = small.query(
            "select count(*) from duckdb_columns() where table_name = 'events' and comment is null"
        )
        assert uncommented == (0,)


def test_a_description_of_a_column_that_is_not_there_is_refused(
    small_with: Callable[..., Workbench],
) -> None:
    yml = """
version: 2
models: [{name: mart_total, columns: [{name: nowhere, description: None such.}]}]
"""
    bench = small_with({"models/marts/schema.yml": yml})
    with pytest.raises(PublishError, match="nowhere"):
        bench.refresh()


def test_events_has_unique_ids_where_the_lake_has_not(small: Workbench) -> None:
    small.add([event("a", 1, event_id="x"), event("b", 2, event_id="x")])
    small.add([event("a", 1, event_id="x", received_at="2026-02-01T00:00:00Z")])
    small.refresh()
    ids = [row["event_id"] for row in small.rows("events")]
    assert len(ids) == 2
    assert len(set(ids)) == 2
    small.add([event("c", 9)])
    small.refresh()
    assert len(small.rows("events")) == 3


def test_the_engine_says_when_another_program_holds_the_state(small: Workbench) -> None:
    import subprocess
    import sys

    small.refresh()
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(small.data.state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StateError, match="another program holds it"):
            small.refresh()
    assert small.refresh().scope is Scope.CLOCK


def test_unit_tests_mock_the_events_and_account_models(
    small_with: Callable[..., Workbench],
) -> None:
    yml = """
version: 2
unit_tests:
    - name: counts_events
      model: int_account_counts
      given:
          - input: ref('stg_seen')
            rows: [{account_id: a}, {account_id: a}]
      expect:
          rows: [{account_id: a, events: EXPECTED}]
    - name: passes_events_on
      model: stg_seen
      given:
          - input: source('touched', 'events')
            rows: [{account_id: a, event_id: x}]
      expect:
          rows: [{account_id: a, event_id: x}]
"""
    bench = small_with({"models/unit.yml": yml.replace("EXPECTED", "2")})
    assert bench.unit_tests().nodes == 2
    (bench._transformer._project / "models/unit.yml").write_text(yml.replace("EXPECTED", "3"))
    with pytest.raises(TransformError, match="unit test counts_events"):
        bench.unit_tests()


BATCHES = st.lists(
    st.lists(
        st.builds(
            lambda account, workspace, minute, kind: event(
                account, minute, kind, workspace_id=workspace
            ),
            st.sampled_from(["a", "b", "c", None]),
            st.sampled_from(["v", "w", None]),
            st.integers(0, 30),
            st.sampled_from(["user_registered", "workspace_created", "workspace_deleted"]),
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=2,
    max_size=4,
)


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(BATCHES, st.integers(0, 2**32))
def test_incremental_equals_full_row_for_row(
    small_transformer: Transformer,
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[dict[str, Any]]],
    seed: int,
) -> None:
    bench = Workbench(tmp_path_factory.mktemp("data"), small_transformer)
    pauses = random.Random(seed)
    for batch in batches:
        bench.add(batch)
        if pauses.random() < 0.7:
            bench.refresh()
    bench.refresh(as_of="2026-06-01T00:00:00Z")
    incremental = tables(bench)
    assert bench.refresh(full=True, as_of="2026-06-01T00:00:00Z").scope is Scope.FULL
    assert tables(bench) == incremental
