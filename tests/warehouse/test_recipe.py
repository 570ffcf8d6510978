"""Replaying what dbt sent gives what dbt would give, at any later as_of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from minutes import event

from warehouse.build import Wanted, build
from warehouse.reader import published
from warehouse.transform import Scope, Transformer, TransformError
from warehouse.workbench import Workbench

TABLES = ("fct_accounts", "mart_total", "dim_seen", "hooklake_inner.int_account_counts")


@pytest.fixture
def invocations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The dbt commands run since."""
    commands: list[str] = []
    invoke = Transformer._invoke

    def counted(manifest: object, arguments: list[str], *more: object) -> object:
        commands.append(arguments[0])
        return invoke(manifest, arguments, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Transformer, "_invoke", staticmethod(counted))
    return commands


def test_only_the_first_refresh_of_a_scope_goes_through_dbt(
    small_with: Callable[..., Workbench], invocations: list[str]
) -> None:
    bench = small_with({})
    for minute in range(4):
        bench.add([event("a", minute), event(f"b{minute}", minute)])
        assert bench.refresh().scope is (Scope.TOUCHED if minute else Scope.FULL)
    for _ in range(3):
        assert bench.refresh().scope is Scope.CLOCK
    assert invocations == ["parse", "build", "build", "build"]
    bench.refresh(as_of="2026-03-01T00:00:00Z")
    replayed = [bench.rows(table) for table in TABLES]
    bench.refresh(full=True, as_of="2026-03-01T00:00:00Z")
    assert [bench.rows(table) for table in TABLES] == replayed
    assert invocations[4:] == ["build"]


def test_a_rehearsal_changes_nothing_and_spares_the_next_event_dbt(
    small_with: Callable[..., Workbench], invocations: list[str]
) -> None:
    bench = small_with({})
    bench.add([event("a", 1), event("b", 2)])
    bench.refresh(as_of="2026-03-01T00:00:00Z")
    before = [bench.rows(table) for table in TABLES]
    as_of = datetime(2026, 3, 1, tzinfo=UTC)
    report = build(bench.data, bench.files, bench._transformer, Wanted(as_of=as_of, rehearse=True))
    assert (report.scope, report.accounts) == (Scope.TOUCHED, 0)
    assert [bench.rows(table) for table in TABLES] == before
    assert invocations == ["parse", "build", "build"]
    bench.add([event("a", 3)])
    assert bench.refresh().scope is Scope.TOUCHED
    assert len(invocations) == 3


def test_a_later_as_of_reaches_tables_and_views(small: Workbench) -> None:
    for day in (1, 2, 3):
        small.refresh(as_of=f"2026-03-0{day}T12:00:00Z")
    small.add([event("a", 1)])
    small.refresh(as_of="2026-03-04T12:00:00Z")
    small.add([event("a", 2)])
    small.refresh(as_of="2026-03-05T12:00:00Z")
    assert small.query("select as_of::varchar from mart_total") == [("2026-03-05 12:00:00+00",)]
    assert small.query("select as_of_date::varchar from dim_seen") == [("2026-03-05",)]


def test_a_test_that_fails_in_a_replay_is_named_and_then_asked_of_dbt(
    small_with: Callable[..., Workbench], invocations: list[str]
) -> None:
    bench = small_with(
        {
            "tests/no_b.sql": "select * from {{ ref('fct_accounts') }} where account_id = 'b'",
            "tests/loud.sql": "{{ config(severity='warn') }}"
            "select * from {{ ref('fct_accounts') }} where account_id = 'a'",
        }
    )
    for minute in range(3):
        bench.add([event("a", minute)])
        warnings = bench.refresh().warnings
        assert [text.partition(",")[0] for text in warnings] == ["test loud: Got 1 result"]
    bench.add([event("b", 9)])
    before = published(bench.data)
    for _ in range(2):
        with pytest.raises(TransformError, match="test no_b: Got 1 result"):
            bench.refresh()
    assert published(bench.data) == before
    assert invocations == ["parse", "build", "build", "build"]


def test_a_model_that_fails_in_a_replay_is_named(small_with: Callable[..., Workbench]) -> None:
    bench = small_with(
        {
            "models/marts/fct_accounts.sql": """
                {{ config(materialized='account_table') }}
                select account_id, events, last_event_at,
                    case when events = 3 then error('three events') end as trouble
                from {{ account_ref('int_account_counts') }}
            """
        }
    )
    for minute in range(2):
        bench.add([event("a", minute)])
        bench.refresh()
    bench.add([event("a", 7)])
    with pytest.raises(TransformError, match=r"model fct_accounts: .*three events"):
        bench.refresh()
    bench.add([event("a", 8)])
    bench.refresh()
    assert bench.rows("fct_accounts")[0]["events"] == 4


def test_a_model_with_its_own_as_of_is_never_replayed(
    small_with: Callable[..., Workbench], invocations: list[str]
) -> None:
    bench = small_with(
        {"models/marts/mart_total.sql": """select '{{ var("as_of") }}' as as_of, 0 as events"""}
    )
    for day in (1, 2, 3):
        bench.refresh(as_of=f"2026-03-0{day}T00:00:00Z")
        ((as_of,),) = bench.query("select as_of from mart_total")
        assert as_of.startswith(f"2026-03-0{day}")
    assert invocations == ["parse", "build", "build", "build"]


def test_changed_code_is_not_replayed(
    small_with: Callable[..., Workbench], invocations: list[str]
) -> None:
    bench = small_with({})
    bench.refresh()
    bench.refresh()
    model = bench._transformer._project / "models/marts/mart_total.sql"
    model.write_text("select 7 as events")
    assert bench.refresh().scope is Scope.FULL
    assert bench.query("select events from mart_total") == [(7,)]
    assert invocations == ["parse", "build", "build", "parse", "build"]
