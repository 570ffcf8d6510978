"""What the state makes of lake files: each event once, each with its owner, changes noted."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minutes import event

from ingest.catalogue import LakeFile
from warehouse.state import LAKE_TYPES, load, newest, open_engine, remove_database
from warehouse.workbench import Workbench, write_lake_file

CONTENT = (
    "select event_id, account_id, stated_account_id, node, seq from state.events order by all",
    "select event_id, node, seq from state.duplicates order by all",
    "select * from state.renamed order by all",
    "select * from state.workspaces order by all",
    "select distinct workspace_id from state.waiting order by all",
)


def content(bench: Workbench) -> list[Any]:
    """Everything the state says about the files taken in so far."""
    with open_engine(bench.data) as engine:
        load(engine, bench.files)
        return [engine.execute(query) for query in CONTENT]


def pending(bench: Workbench) -> set[str]:
    """Accounts touched since the last call."""
    with open_engine(bench.data) as engine:
        load(engine, bench.files)
        found = {row[0] for row in engine.execute("select account_id from state.pending")}
        engine.execute("delete from state.pending")
        return found


def owners(bench: Workbench) -> dict[str, str | None]:
    return {row[0]: row[1] for row in content(bench)[0]}


def test_loading_again_adds_nothing(bench: Workbench) -> None:
    bench.add([event("a", 1), event("b", 2)])
    before = content(bench)
    assert content(bench) == before
    assert pending(bench) == {"a", "b"}
    assert pending(bench) == set()


def test_a_repeated_event_in_another_file_is_kept_once(bench: Workbench) -> None:
    bench.add([event("a", 1, event_id="x")])
    bench.add([event("a", 1, event_id="x", received_at="2026-01-01T05:00:00Z")])
    events, duplicates, *_ = content(bench)
    assert [row[0] for row in events] == ["x"]
    assert duplicates == [("x", "n1", 2)]


def test_an_earlier_row_that_comes_later_replaces_the_event_and_touches_its_account(
    bench: Workbench,
) -> None:
    bench.add([event("a", 5, event_id="x", event_time_source="received", seq=10)])
    assert pending(bench) == {"a"}
    bench.add([event("a", 1, event_id="x", event_time_source="received", seq=20)])
    assert pending(bench) == {"a"}
    events, duplicates, *_ = content(bench)
    assert [row[4] for row in events] == [20]
    assert duplicates == [("x", "n1", 10)]


def test_the_same_id_with_other_fields_is_another_event(bench: Workbench) -> None:
    bench.add([event("a", 1, event_id="x"), event("b", 2, event_id="x")])
    events, duplicates, renamed, *_ = content(bench)
    assert len(events) == 2
    assert duplicates == []
    assert [row[2] for row in renamed] == ["x"]
    assert {row[0][:2] for row in events} == {"x", "x~"}


def test_unknown_events_are_told_apart_by_their_bytes(bench: Workbench) -> None:
    for payload in ("{}", '{"a":1}', "{}"):
        bench.add([event(None, 1, "other", event_id="x", sender_event="new", payload=payload)])
    events, duplicates, *_ = content(bench)
    assert len(events) == 2
    assert len(duplicates) == 1
    assert pending(bench) == set()


def test_a_workspace_belongs_to_the_account_of_its_earliest_event(bench: Workbench) -> None:
    bench.add([event("late", 9, "workspace_created", workspace_id="w", event_id="1")])
    assert pending(bench) == {"late"}
    bench.add([event("early", 3, "plan_changed", workspace_id="w", plan_id="p", event_id="2")])
    assert {"late", "early"} <= pending(bench)
    assert owners(bench) == {"1": "early", "2": "early"}


def test_a_deletion_without_account_waits_until_the_owner_is_known(bench: Workbench) -> None:
    bench.add([event(None, 9, "workspace_deleted", workspace_id="w", event_id="1")])
    assert pending(bench) == set()
    assert content(bench)[4] == [("w",)]
    bench.add([event("a", 3, "workspace_created", workspace_id="w", event_id="2")])
    assert pending(bench) == {"a"}
    assert owners(bench) == {"1": "a", "2": "a"}
    assert content(bench)[4] == []


def test_a_deletion_finds_the_owner_seen_before(bench: Workbench) -> None:
    bench.add([event("a", 3, "workspace_created", workspace_id="w", event_id="2")])
    pending(bench)
    bench.add([event(None, 9, "workspace_deleted", workspace_id="w", event_id="1")])
    assert pending(bench) == {"a"}


def test_events_of_unknown_type_own_no_workspace(bench: Workbench) -> None:
    bench.add([event("x", 1, "other", workspace_id="w", event_id="1")])
    bench.add([event("a", 3, "workspace_created", workspace_id="w", event_id="2")])
    assert owners(bench) == {"1": "x", "2": "a"}


def test_compacted_files_change_nothing(bench: Workbench) -> None:
    bench.add([event("a", 1, event_id="x"), event("b", 2)])
    bench.add([event("a", 1, event_id="x", received_at="2026-01-02T00:00:00Z")])
    before = content(bench)
    pending(bench)
    bench.files[:] = [merged(bench, bench.files)]
    assert content(bench) == before
    assert pending(bench) == set()


def test_erased_rows_are_gone_and_everything_is_rebuilt(bench: Workbench) -> None:
    (file,) = bench.add([event("a", 1, event_id="x"), event("b", 2, event_id="y")])
    content(bench)
    with duckdb.connect() as connection:
        path = bench.data.lake / file.path
        kept = connection.execute(
            f"copy (select * from read_parquet('{path}', hive_partitioning = false)"
            f" where account_id <> 'a') to '{path}.g1.parquet' (format parquet)"
        ).fetchall()
        assert kept == [(1,)]
    bench.files[:] = [replace(file, file_id=9, path=f"{file.path}.g1.parquet", rows=1)]
    with open_engine(bench.data) as engine:
        assert load(engine, bench.files).is_rebuilt
        assert engine.execute("select event_id from state.events") == [("y",)]


def merged(bench: Workbench, files: list[LakeFile]) -> LakeFile:
    """One file with the rows of several of one type and month."""
    path = files[0].path.replace(".parquet", "-g1.parquet")
    listed = ", ".join(f"'{bench.data.lake / file.path}'" for file in files)
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * from read_parquet([{listed}], hive_partitioning = false))"
            f" to '{bench.data.lake / path}' (format parquet)"
        )
    return replace(
        files[0],
        file_id=1 + max(file.file_id for file in files),
        path=path,
        rows=sum(file.rows for file in files),
    )


def test_a_state_of_another_format_is_made_anew(bench: Workbench) -> None:
    bench.add([event("a", 1)])
    content(bench)
    with open_engine(bench.data) as engine:
        engine.remember(format="0")
    with open_engine(bench.data) as engine:
        assert engine.was_rebuilt
        assert load(engine, bench.files).rows == 1


def test_a_damaged_state_is_made_anew(bench: Workbench) -> None:
    bench.add([event("a", 1)])
    before = content(bench)
    bench.data.state.write_bytes(b"not a database" * 1000)
    assert content(bench) == before


def test_a_failed_load_leaves_nothing_behind(bench: Workbench) -> None:
    bench.add([event("a", 1)])
    before = content(bench)
    (file,) = bench.add([event("b", 2)])
    whole = (bench.data.lake / file.path).read_bytes()
    (bench.data.lake / file.path).write_bytes(whole[:-20])
    with open_engine(bench.data) as engine, pytest.raises(duckdb.Error):
        load(engine, bench.files)
    (bench.data.lake / file.path).write_bytes(whole)
    assert len(content(bench)[0]) == len(before[0]) + 1


def test_a_thousand_files_load_in_one_go(bench: Workbench) -> None:
    bench.add([event("a", 1)])
    sample = (bench.data.lake / bench.files[0].path).read_bytes()
    for number in range(2, 1001):
        name = f"event_type=user_registered/event_month=2026-01/copy-{number}.parquet"
        (bench.data.lake / name).write_bytes(sample)
        bench.files.append(replace(bench.files[0], file_id=number, path=name))
    events, duplicates, *_ = content(bench)
    assert (len(events), len(duplicates)) == (1, 999)


def test_newest_counts_every_event(bench: Workbench) -> None:
    bench.add([event("a", 1), event(None, 7, "other", received_at="2026-03-01T00:00:00Z")])
    with open_engine(bench.data) as engine:
        load(engine, bench.files)
        occurred, received, count = newest(engine)
    assert (occurred.isoformat(), received.isoformat(), count) == (
        "2026-01-01T00:07:00+00:00",
        "2026-03-01T00:00:00+00:00",
        2,
    )


def test_write_lake_file_has_the_lakes_types(tmp_path: Path) -> None:
    row = dict.fromkeys(LAKE_TYPES)
    write_lake_file(tmp_path / "x.parquet", [row])
    with duckdb.connect() as connection:
        found = connection.execute(f"describe from '{tmp_path}/x.parquet'").fetchall()
    assert {name: kind for name, kind, *_ in found}["occurred_at"] == "TIMESTAMP WITH TIME ZONE"


EVENTS = st.lists(
    st.builds(
        lambda account, workspace, minute, event_id, kind, payload, received: event(
            account,
            minute,
            kind,
            workspace_id=workspace,
            event_id=event_id,
            payload=payload,
            event_time_source="received" if minute % 2 else "payload",
            received_at=f"2026-02-{1 + received:02}T00:00:00Z",
        ),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["v", "w", None]),
        st.integers(0, 3),
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(["workspace_created", "workspace_deleted", "other"]),
        st.sampled_from(["{}", "[]"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=9,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(EVENTS, st.integers(0, 2**32))
def test_batches_in_any_order_give_what_one_load_gives(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]], seed: int
) -> None:
    numbered = [made | {"seq": number} for number, made in enumerate(events, start=1)]
    whole = Workbench(tmp_path_factory.mktemp("whole"))
    whole.add(numbered)
    shuffled = list(numbered)
    order = random.Random(seed)
    order.shuffle(shuffled)
    parts = Workbench(tmp_path_factory.mktemp("parts"))
    while shuffled:
        size = order.randint(1, 3)
        parts.add(shuffled[:size])
        del shuffled[:size]
        content(parts)
    assert content(parts) == content(whole)


def test_remove_database_takes_the_log_along(tmp_path: Path) -> None:
    for name in ("x.duckdb", "x.duckdb.wal"):
        (tmp_path / name).touch()
    remove_database(tmp_path / "x.duckdb")
    assert list(tmp_path.iterdir()) == []
