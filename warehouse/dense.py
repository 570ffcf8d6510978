"""Writes lake files that are to be small: same columns and types, encoded for their contents.

Texts are stored as their lengths and then their letters, which zstd finds more to repeat in;
numbers and instants that rise together as differences. Measured on 100,000 simulated events (bytes
and processor microseconds per event): polars' encodings at level 9: 85, 8; these at level 9: 81, 9,
at 14: 75, 36, at 16: 70, 82, at 19: 70, 157. DuckDB reads them as fast: all columns but the body in
0.09 s a 400,000 rows, the ids in 0.03 s instead of 0.045 s.

A group of rows is in memory at a time, of a bounded number of bytes whatever the bodies are.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.lake import FILE_SCHEMA, ROW_GROUP_ROWS

ROWS_AT_ONCE: Final = 4_096
GROUP_BYTES_MAX: Final = 128 * 1024 * 1024
PAGE_BYTES: Final = 8 * 1024 * 1024
"""zstd looks no further back than a page."""
LEVEL_QUICK: Final = 9
LEVEL_SLOW: Final = 16
_TEXTS: Final = ("event_id", "delivery_id", "account_id", "owner_id", "workspace_id", "payload")
_NUMBERS: Final = ("seq", "occurred_at", "received_at")
_ENCODINGS: Final = {
    **dict.fromkeys(_TEXTS, "DELTA_LENGTH_BYTE_ARRAY"),
    **dict.fromkeys(_NUMBERS, "DELTA_BINARY_PACKED"),
}


@cache
def _arrow_schema() -> pa.Schema:
    """Not made at import: polars would start threads in whoever has this as a command of many."""
    return pl.DataFrame(schema=FILE_SCHEMA).to_arrow(compat_level=pl.CompatLevel.oldest()).schema


def write_dense(rows: pl.LazyFrame, target: Path, *, level: int) -> None:
    """Write the columns of FILE_SCHEMA, in the rows' order, to `target`; durable then.

    Raises: polars' and Arrow's errors, and OSError.
    """
    with pq.ParquetWriter(
        target,
        _arrow_schema(),
        compression="zstd",
        compression_level=level,
        use_dictionary=[name for name in FILE_SCHEMA if name not in _ENCODINGS],
        column_encoding=_ENCODINGS,
        data_page_size=PAGE_BYTES,
        write_statistics=[name for name in FILE_SCHEMA if name != "payload"],
        store_decimal_as_integer=True,
        store_schema=False,
    ) as writer:
        waiting: list[pa.Table] = []
        for frame in rows.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True):
            waiting.append(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
            if (
                sum(table.num_rows for table in waiting) + ROWS_AT_ONCE > ROW_GROUP_ROWS
                or sum(table.nbytes for table in waiting) >= GROUP_BYTES_MAX
            ):
                _write_group(writer, waiting)
                waiting = []
        if waiting:
            _write_group(writer, waiting)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_group(writer: pq.ParquetWriter, tables: list[pa.Table]) -> None:
    writer.write_table(pa.concat_tables(tables), row_group_size=ROW_GROUP_ROWS)
