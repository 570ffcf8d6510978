"""Merged files: the same rows, columns and types, whatever the values, in bounded groups."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from ingest.contract import FILE_COLUMNS
from ingest.lake import FILE_SCHEMA, ROW_GROUP_ROWS, write_synced
from warehouse import dense
from warehouse.dense import LEVEL_QUICK, LEVEL_SLOW, write_dense

FIRST = datetime(2026, 9, 1, 12, tzinfo=UTC)


def frame_of(count: int, **columns: list[object]) -> pl.DataFrame:
    given: dict[str, list[object]] = {
        "event_id": [f"evt_{number}" for number in range(count)],
        "occurred_at": [FIRST] * count,
        "seq": list(range(count)),
        "payload": [f'{{"n":{number}}}' for number in range(count)],
        **columns,
    }
    return pl.DataFrame(
        {name: given.get(name, [None] * count) for name in FILE_COLUMNS}, schema=FILE_SCHEMA
    )


@pytest.mark.parametrize("level", [LEVEL_QUICK, LEVEL_SLOW])
def test_every_kind_of_value_is_read_back_by_polars_and_duckdb(tmp_path: Path, level: int) -> None:
    rows = frame_of(
        3,
        event_id=["", "é" * 256, "x"],
        seq=[2**62, -1, 0],
        amount=[Decimal("-9999999999999999.99"), None, Decimal("0.01")],
        auto_renew=[True, False, None],
        due_date=[date(1900, 1, 1), None, date(2199, 12, 31)],
        occurred_at=[datetime(2099, 1, 1, tzinfo=UTC), FIRST, None],
        payload=["{}", "x" * 1_000_000, '{"\N{GRINNING FACE}":1}'],
    )
    target = tmp_path / "dense.parquet"

    write_dense(rows.lazy(), target, level=level)

    assert pl.read_parquet(target).equals(rows)
    assert pl.read_parquet_schema(target) == FILE_SCHEMA
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        read = connection.sql(f"from '{target}'").pl()
    assert read.cast(FILE_SCHEMA).equals(rows)


def test_the_types_on_the_disk_are_those_of_a_landed_file(tmp_path: Path) -> None:
    rows = frame_of(3)
    write_dense(rows.lazy(), tmp_path / "dense.parquet", level=LEVEL_QUICK)
    write_synced(rows, tmp_path / "landed.parquet")

    with duckdb.connect() as connection:
        dense_types, landed_types = (
            connection.execute(
                "select name, type, scale, precision, logical_type from parquet_schema(?)"
                " where type is not null",
                [str(tmp_path / f"{name}.parquet")],
            ).fetchall()
            for name in ("dense", "landed")
        )
    assert dense_types == landed_types


def test_groups_are_bounded_by_rows_and_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "dense.parquet"
    rows = frame_of(ROW_GROUP_ROWS + 1)
    write_dense(rows.lazy(), target, level=LEVEL_QUICK)
    metadata = pq.read_metadata(target)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sum(groups) == rows.height
    assert max(groups) <= ROW_GROUP_ROWS

    monkeypatch.setattr(dense, "GROUP_BYTES_MAX", 1)
    write_dense(rows.lazy(), target, level=LEVEL_QUICK)
    assert pq.read_metadata(target).num_row_groups > 2
    assert pl.read_parquet(target).equals(rows)


def test_statistics_hold_no_bodies(tmp_path: Path) -> None:
    """A body may be a megabyte, and readers load every statistic of a file."""
    target = tmp_path / "dense.parquet"
    write_dense(frame_of(2).lazy(), target, level=LEVEL_QUICK)
    group = pq.read_metadata(target).row_group(0)
    by_name = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    assert by_name["payload"].statistics is None
    assert by_name["seq"].statistics.max == 1
