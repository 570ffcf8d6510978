"""Reads the pieces of an export on all cores, and yields what they say in their order.

Plain lines go the fast way, all others the receiver's. A few pieces are in memory at a time,
whatever the file's size.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from warehouse import plain_rows, single_rows
from warehouse.exports import Export, Row, cut_row, row_of, text_pieces
from warehouse.plain_rows import Origin
from warehouse.shape_match import Shapes
from warehouse.single_rows import BadLine
from warehouse.text_lines import Piece, index

WORKERS_MAX: Final = 4


@dataclass(frozen=True)
class Reading:
    """What a piece says. rows: the columns of plain_rows.STAGED, by rising line.

    read: rows that are not blank; size: bytes of text; fields: as in single_rows.SingleRows.
    """

    rows: pl.DataFrame
    bad: list[BadLine]
    fields: Counter[tuple[str, str, str]]
    read: int
    size: int


def read_export(export: Export, *, stored_at: int, body_bytes_max: int) -> Iterator[Reading]:
    """Every piece of the export, in order. stored_at: microseconds UTC."""
    workers = min(WORKERS_MAX, os.cpu_count() or 1)
    local = threading.local()

    def read(piece: Piece) -> Reading:
        shapes = local.__dict__.setdefault("shapes", Shapes())
        origin = Origin(stored_at, export.sha256, piece.first_line)
        return read_piece(piece, shapes, origin, body_bytes_max)

    waiting: deque[Future[Reading]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="backfill") as pool:
        try:
            for piece in text_pieces(export, body_bytes_max):
                waiting.append(pool.submit(read, piece))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_piece(piece: Piece, shapes: Shapes, origin: Origin, body_bytes_max: int) -> Reading:
    """All of a piece: its plain lines at once, the others one by one."""
    if piece.is_cut:
        single = single_rows.read([cut_row(piece, body_bytes_max)], origin)
        return Reading(single.rows, single.bad, single.fields, 1, len(piece.text))
    lines = index(piece.text, bytes_max=body_bytes_max)
    plain = plain_rows.read(lines, shapes, origin)
    others: list[Row] = []
    for line in np.flatnonzero(~plain.is_read).tolist():
        row = row_of(piece.first_line + line, lines.text(line), body_bytes_max)
        if row is not None:
            others.append(row)
    single = single_rows.read(others, origin)
    fields = single.fields
    for (event_type, name), times in plain.unknown_fields.items():
        fields["unknown", event_type, name] += times
    rows = plain.rows
    if single.rows.height:
        rows = pl.concat([rows, single.rows]).sort("line")
    read = plain.rows.height + len(others)
    return Reading(rows, single.bad, fields, read, len(piece.text))
