"""A lake file without a person: every other row as it was, in its order, at any size."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from ingest.catalogue import LakeFile
from ingest.errors import LandingError
from ingest.lake import FILE_SCHEMA, ROW_GROUP_ROWS, file_sha256, write_again
from ingest.paths import DataDir
from warehouse.dense import write_dense
from warehouse.erase_lake import judge, left_of
from warehouse.person import Person

ANN = Person(frozenset(["ann@x.test"]), frozenset(["u-1"]), frozenset(["w-1"]))
PATH = "event_type=plan_changed/event_month=2026-01/n1-1-9.parquet"


def lake_of(folder: Path, rows: pl.DataFrame) -> tuple[DataDir, LakeFile]:
    paths = DataDir(folder).ensure()
    path = paths.lake / PATH
    path.parent.mkdir(parents=True)
    rows.write_parquet(path, row_group_size=ROW_GROUP_ROWS)
    return paths, LakeFile(
        1, PATH, "plan_changed", "2026-01", "n1", 1, rows.height, rows.height, 0, "", None
    )


def rows_of(accounts: list[str | None], **columns: list[str | None]) -> pl.DataFrame:
    count = len(accounts)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    given = {
        "event_id": [f"e{n}" for n in range(count)],
        "occurred_at": [moment] * count,
        "received_at": [moment] * count,
        "node": ["n1"] * count,
        "seq": list(range(count)),
        "amount": ["1.50"] * count,
        "account_id": accounts,
        "payload": [f'{{"email": "{account}"}}' for account in accounts],
        **columns,
    }
    frame = pl.DataFrame(given).with_columns(pl.col("amount").cast(pl.Decimal(18, 2)))
    missing = [pl.lit(None).alias(name) for name in FILE_SCHEMA if name not in given]
    return frame.with_columns(*missing).select(*FILE_SCHEMA).cast(FILE_SCHEMA)


def test_a_file_of_many_row_groups_keeps_its_order(tmp_path: Path) -> None:
    count = 2 * ROW_GROUP_ROWS + 10
    accounts: list[str | None] = [
        "ann@x.test" if n % 1_000 == 7 else f"p{n % 99}@x.test" for n in range(count)
    ]
    rows = rows_of(accounts)
    spoken = count - 3
    rows[spoken, "payload"] = '{"note": "by ann@x.test", "email": "p@x.test"}'
    paths, file = lake_of(tmp_path / "data", rows)

    judged = judge(paths, file, ANN)
    write = partial(write_dense, left_of(paths, file, judged), level=1)
    new = write_again(paths, write, file, relative=f"{PATH[:-8]}-g1.parquet")

    left = pl.read_parquet(paths.lake / new.path, hive_partitioning=False)
    expected = rows.filter(pl.col("account_id") != "ann@x.test")
    assert judged.theirs.height == count - expected.height
    assert list(judged.changed) == [spoken]
    assert new.rows == left.height == expected.height
    assert new.sha256 == file_sha256(paths.lake / new.path)
    assert left["seq"].is_sorted()
    is_other = pl.col("seq") != spoken
    assert left.filter(is_other).equals(expected.filter(is_other))
    assert left.filter(~is_other)["payload"].to_list() == [
        '{"note": "by [erased]", "email": "p@x.test"}'
    ]
    assert list((paths.staging).iterdir()) == []


@pytest.mark.parametrize(
    ("account", "owner", "workspace", "payload", "is_theirs"),
    [
        ("ann@x.test", None, None, "{}", True),
        ("bob@x.test", "u-1", None, "{}", True),
        (None, None, "w-1", "{}", True),
        ("bob@x.test", None, "w-1", "{}", False),
        (None, "u-2", "w-1", "{}", False),
        (None, None, None, '{"contact": "Ann@x.test"}', True),
        (None, None, None, '{"contact": "joann@x.test"}', False),
        (None, None, None, '{"data": {"email": "bob@x.test"}, "by": "ann@x.test"}', False),
        (None, None, None, "{}", False),
    ],
)
def test_whose_a_row_is(
    tmp_path: Path,
    account: str | None,
    owner: str | None,
    workspace: str | None,
    payload: str,
    is_theirs: bool,
) -> None:
    rows = rows_of([account], owner_id=[owner], workspace_id=[workspace], payload=[payload])
    paths, file = lake_of(tmp_path / "data", rows)
    assert judge(paths, file, ANN).theirs.height == int(is_theirs)


def test_a_damaged_file_is_named_and_its_content_is_not(tmp_path: Path) -> None:
    paths, file = lake_of(tmp_path / "data", rows_of(["ann@x.test"]))
    (paths.lake / PATH).write_bytes(b"PAR1 ann@x.test")
    with pytest.raises(LandingError, match="n1-1-9") as failure:
        judge(paths, file, ANN)
    assert "ann@x" not in str(failure.value)
