"""Which files are merged: bounded rewriting, few files left, nothing merged across a border."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalogue import LakeFile, generation_of
from warehouse.tiers import (
    DENSE_ROWS_MIN,
    FAN,
    GENERATIONS_MAX,
    QUIET_SECONDS,
    ROWS_MAX,
    Candidate,
    Merge,
    choose,
    tier_of,
)

NOW = 1_790_000_000_000_000
QUIET = int(QUIET_SECONDS * 1e6)
BYTES_MAX = 64 * 1024 * 1024
WRITES_MAX = 1 + GENERATIONS_MAX


def file(number: int, rows: int, *, size: int | None = None, **more: object) -> LakeFile:
    """The `number`-th landed file of one partition."""
    made = LakeFile(
        file_id=number,
        path=f"event_type=plan_changed/event_month=2026-09/n1-{number}-{number}.parquet",
        event_type="plan_changed",
        event_month="2026-09",
        node="n1",
        first_seq=number,
        last_seq=number,
        rows=rows,
        bytes=rows * 80 if size is None else size,
        sha256="",
        batch_id=None,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def chosen(files: list[LakeFile], *, age: int = 0, everything: bool = False) -> list[Merge]:
    return choose(
        (Candidate(each, NOW - age) for each in files),
        now=NOW,
        bytes_max=BYTES_MAX,
        everything=everything,
    )


class Partition:
    """Lands files and merges what is due, as a year of compactions would."""

    def __init__(self) -> None:
        self.files: list[LakeFile] = []
        self.names: set[str] = set()
        self.rows_written = 0
        self._number = 0

    def land(self, rows: int) -> None:
        self._number += 1
        self._add(file(self._number, rows))

    def compact(self, *, age: int = 0) -> None:
        while merges := chosen(self.files, age=age):
            for merge in merges:
                ids = {each.file_id for each in merge.files}
                self.files = [each for each in self.files if each.file_id not in ids]
                self._number += 1
                self._add(
                    replace(
                        merge.files[0],
                        file_id=self._number,
                        path=merge.path,
                        last_seq=merge.files[-1].last_seq,
                        rows=merge.rows,
                        bytes=merge.bytes * 9 // 10,
                    )
                )

    def _add(self, made: LakeFile) -> None:
        assert made.path not in self.names, "a name came twice"
        self.names.add(made.path)
        self.files.append(made)
        self.rows_written += made.rows


def test_fewer_rows_than_the_next_tier_has_are_left_alone() -> None:
    assert chosen([file(number, 1) for number in range(1, FAN)]) == []
    (merge,) = chosen([file(number, 1) for number in range(1, FAN + 1)])
    assert merge.path.endswith("/n1-1-16-g1.parquet")
    assert merge.rows == FAN


def test_neighbours_of_lower_tiers_are_taken_along() -> None:
    files = [file(1, 100), file(2, 3), file(3, 90), file(4, 1), file(5, 80)]
    (merge,) = chosen(files)
    assert merge.files == tuple(files)
    assert tier_of(merge.rows) > max(tier_of(each.rows) for each in files)


def test_full_files_are_left_alone_and_part_their_neighbours() -> None:
    small = [file(number, 1) for number in range(1, FAN)]
    full = file(FAN, ROWS_MAX)
    heavy = file(FAN + 1, 5, size=BYTES_MAX // 2)
    more = [file(FAN + 1 + number, 1) for number in range(1, FAN)]
    assert chosen([*small, full, heavy, *more]) == []


def test_a_file_written_again_often_enough_is_left_alone() -> None:
    path = f"event_type=plan_changed/event_month=2026-09/n1-1-9-g{GENERATIONS_MAX}.parquet"
    often = file(1, 9, path=path)
    assert chosen([often, file(10, 9)], age=QUIET) == []
    (merge,) = chosen([often, file(10, 9)], everything=True)
    assert generation_of(merge.path) == GENERATIONS_MAX + 1


def test_no_merge_is_larger_than_it_may_be() -> None:
    files = [file(number, 10, size=BYTES_MAX // 5) for number in range(1, 12)]
    merges = chosen(files)
    assert merges
    assert all(merge.bytes <= BYTES_MAX for merge in merges)
    many = [file(number, ROWS_MAX // 3, size=10) for number in range(1, 12)]
    assert all(merge.rows <= ROWS_MAX for merge in chosen(many, everything=True))


@pytest.mark.parametrize(
    "other",
    [
        {"event_type": "plan_renewed"},
        {"event_month": "2026-10"},
        {"node": "n2"},
        {"batch_id": "b-1"},
    ],
)
def test_nothing_is_merged_across_types_months_nodes_and_backfills(other: dict[str, str]) -> None:
    files = [file(number, 1) for number in range(1, FAN)]
    files += [file(FAN + number, 1, **other) for number in range(1, FAN)]
    assert chosen(files) == []
    for merge in chosen(files, everything=True):
        partitions = {(f.event_type, f.event_month, f.node, f.batch_id) for f in merge.files}
        assert len(partitions) == 1


def test_where_nothing_comes_any_more_the_rest_is_merged() -> None:
    files = [file(number, 3) for number in range(1, 5)]
    assert chosen(files, age=QUIET - 1) == []
    (merge,) = chosen(files, age=QUIET)
    assert merge.files == tuple(files)


def test_a_late_event_does_not_have_a_large_file_written_again() -> None:
    merged = "event_type=plan_changed/event_month=2026-09/n1-1-1-g1.parquet"
    assert chosen([file(1, 100_000, path=merged), file(2, 1), file(3, 1)], age=QUIET) == []


@given(st.randoms(use_true_random=False), st.integers(1, 400))
@settings(deadline=None, max_examples=60)
def test_whatever_arrives_a_row_is_written_nine_times_at_most(
    chance: random.Random, landings: int
) -> None:
    partition = Partition()
    for _ in range(landings):
        partition.land(chance.choice((1, 1, 2, 17, 300, 5_000, 70_000)))
        if chance.random() < 0.3:
            partition.compact(age=chance.choice((0, QUIET)))
    assert max(generation_of(each.path) for each in partition.files) < WRITES_MAX
    landed = sum(each.rows for each in partition.files)
    assert partition.rows_written <= WRITES_MAX * landed
    firsts = [each.first_seq for each in sorted(partition.files, key=lambda each: each.first_seq)]
    assert firsts == sorted(set(firsts))


def test_two_million_steady_events_are_written_five_times_and_leave_few_files() -> None:
    partition = Partition()
    for landing in range(10_000):
        partition.land(200)
        if landing % 60 == 59:  # a compaction a minute, a landing a second
            partition.compact()
    landed = sum(each.rows for each in partition.files)
    assert landed == 2_000_000
    assert partition.rows_written / landed <= 5
    partition.compact()
    tiers = Counter(tier_of(each.rows) for each in partition.files)
    assert all(number < 2 * FAN for number in tiers.values())
    partition.compact(age=QUIET)
    assert len(partition.files) <= 8


def test_a_large_file_that_was_written_once_is_made_small_once() -> None:
    loaded = file(1, DENSE_ROWS_MIN, batch_id="b-1")
    assert chosen([loaded]) == []
    (merge,) = chosen([loaded], everything=True)
    assert merge == chosen([loaded], age=QUIET)[0]
    assert merge.files == (loaded,)
    made_small = replace(loaded, path=merge.path)
    assert chosen([made_small], everything=True) == []
    assert chosen([made_small], age=QUIET) == []
    assert chosen([file(1, DENSE_ROWS_MIN - 1)], everything=True) == []
