"""Which lake files to merge: tiers by rows, so that no row is written too often.

Tier t holds files of 16^t rows and more, up to tier 4. Neighbours in the sequence, each of tier t
or less, are merged once they hold the 16^(t+1) rows of the next tier: a merge lifts its rows by a
tier, five times at most. Where nothing has come for some hours, what is left over is merged into
files at least four times as large as their largest part, and a large file that was never written
again (a backfill's, say) is, once, to make it smaller. Left alone is what is full: 16^5 rows
(1,048,576), half the bytes that a merged file may have, or written again 8 times already. So a row
is written nine times at most, landing included, whatever arrives.

Only files of one type, month, node and backfill are ever merged: the partitions stay, and a batch
can still be undone by its files alone.

Source: design.md decision 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ingest.catalogue import LakeFile, generation_of

FAN: Final = 16
TIERS: Final = 5
ROWS_MAX: Final = FAN**TIERS
GENERATIONS_MAX: Final = 8
QUIET_GROWTH: Final = 4
QUIET_SECONDS: Final = 6 * 3600.0
DENSE_ROWS_MIN: Final = FAN**3
"""So many rows are worth the processor time that makes them small."""


@dataclass(frozen=True)
class Candidate:
    """A live file and when it was entered, in microseconds UTC."""

    file: LakeFile
    added_at: int


@dataclass(frozen=True)
class Merge:
    """Files to become one, in the order of their numbers: two at least, or one to be made small."""

    files: tuple[LakeFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def path(self) -> str:
        """Relative to the lake. Two live files share no row, and of two files with the same bounds
        that ever were one was made of the other: no name comes twice."""
        first = min(file.first_seq for file in self.files)
        last = max(file.last_seq for file in self.files)
        generation = 1 + max(generation_of(file.path) for file in self.files)
        folder, _, _ = self.files[0].path.rpartition("/")
        return f"{folder}/{self.files[0].node}-{first}-{last}-g{generation}.parquet"


def choose(
    candidates: Iterable[Candidate], *, now: int, bytes_max: int, everything: bool = False
) -> list[Merge]:
    """The merges that are due, smallest first; none twice for one file.

    now: microseconds UTC; bytes_max: of the files of one merge. everything: wait for nothing, merge
    all that is not as large as it may be.
    """
    chosen: list[Merge] = []
    ordered = sorted(candidates, key=_place)
    for _, group in itertools.groupby(ordered, _partition):
        members = list(group)
        files = [member.file for member in members]
        is_quiet = now - max(member.added_at for member in members) >= QUIET_SECONDS * 1e6
        chosen += _of_partition(files, bytes_max, is_quiet=is_quiet, everything=everything)
    return sorted(chosen, key=lambda merge: (merge.bytes, merge.path))


def tier_of(rows: int) -> int:
    """0 for less than 16 rows, and so on by sixteens."""
    tier = 0
    while rows >= FAN ** (tier + 1):
        tier += 1
    return tier


def _partition(candidate: Candidate) -> tuple[str, str, str, str]:
    file = candidate.file
    return file.event_type, file.event_month, file.node, file.batch_id or ""


def _place(candidate: Candidate) -> tuple[object, ...]:
    return *_partition(candidate), candidate.file.first_seq, candidate.file.last_seq


def _of_partition(
    files: Sequence[LakeFile], bytes_max: int, *, is_quiet: bool, everything: bool
) -> list[Merge]:
    if everything:
        small = {file.file_id for file in files if not _is_large(file, bytes_max)}
        together = [
            Merge(part)
            for run in _runs(files, small)
            for part in _parts(run, bytes_max)
            if len(part) > 1
        ]
        return [*together, *_alone(files, together)]
    merges: list[Merge] = []
    used: set[int] = set()
    for tier in range(TIERS - 1, -1, -1):
        free = {
            file.file_id
            for file in files
            if file.file_id not in used
            and tier_of(file.rows) <= tier
            and not _is_full(file, bytes_max)
        }
        for run in _runs(files, free):
            for part in _parts(run, bytes_max):
                if len(part) > 1 and _lifts(part, tier, bytes_max):
                    merges.append(Merge(part))
                    used |= {file.file_id for file in part}
    if is_quiet:
        left = {file.file_id for file in files if not _is_full(file, bytes_max)} - used
        merges += [
            Merge(part)
            for run in _runs(files, left)
            for piece in _parts(run, bytes_max)
            for part in _growing(piece)
        ]
        merges += _alone(files, merges)
    return merges


def _alone(files: Sequence[LakeFile], merges: Sequence[Merge]) -> list[Merge]:
    """The large files of no merge that were written only once, and quickly."""
    used = {file.file_id for merge in merges for file in merge.files}
    return [
        Merge((file,))
        for file in files
        if file.file_id not in used and file.rows >= DENSE_ROWS_MIN and not generation_of(file.path)
    ]


def _runs(files: Sequence[LakeFile], chosen: set[int]) -> Iterator[tuple[LakeFile, ...]]:
    """The chosen ones, as neighbourhoods as large as can be."""
    for is_chosen, run in itertools.groupby(files, lambda file: file.file_id in chosen):
        if is_chosen:
            yield tuple(run)


def _parts(run: Sequence[LakeFile], bytes_max: int) -> Iterator[tuple[LakeFile, ...]]:
    """The run cut where one file would become too large."""
    part: list[LakeFile] = []
    for file in run:
        held = Merge((*part, file))
        if part and (held.bytes > bytes_max or held.rows > ROWS_MAX):
            yield tuple(part)
            part = []
        part.append(file)
    if part:
        yield tuple(part)


def _lifts(part: Sequence[LakeFile], tier: int, bytes_max: int) -> bool:
    """Into the next tier, or so far that it is full, also where it becomes a third smaller."""
    merge = Merge(tuple(part))
    return merge.rows >= FAN ** (tier + 1) or 4 * merge.bytes >= 3 * bytes_max


def _growing(run: tuple[LakeFile, ...]) -> Iterator[tuple[LakeFile, ...]]:
    """The longest neighbourhoods in which nobody holds more than a quarter of the rows."""
    if len(run) < 2:
        return
    largest = max(range(len(run)), key=lambda place: run[place].rows)
    if sum(file.rows for file in run) >= QUIET_GROWTH * run[largest].rows:
        yield run
        return
    yield from _growing(run[:largest])
    yield from _growing(run[largest + 1 :])


def _is_full(file: LakeFile, bytes_max: int) -> bool:
    return _is_large(file, bytes_max) or generation_of(file.path) >= GENERATIONS_MAX


def _is_large(file: LakeFile, bytes_max: int) -> bool:
    return file.rows >= ROWS_MAX or 2 * file.bytes >= bytes_max
