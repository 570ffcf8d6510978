"""CSV and Parquet as lines of JSON, in a process of its own with bounded memory and no rights.

A foreign file's parser is fed by whoever made the file. Run as `python -m warehouse.tables`, this
reads the file from its standard input, may open and write nothing else, and writes to a pipe; if it
dies, only the load ends. Columns become the fields they are mapped to (columns.py).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import resource
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

from warehouse.columns import Columns, ColumnsError

MEMORY_BYTES_MAX: Final = 6 * 1024**3
"""Address space; what is really used is a few batches of rows."""
ROWS_AT_ONCE: Final = 8_192
CELL_CHARACTERS_MAX: Final = 4 * 1024 * 1024
FAILED: Final = 3
_DELIMITERS: Final = ",;\t|"


def main(arguments: list[str]) -> int:
    """arguments: what to read and how, as JSON. 3 with the reason on standard error if it fails."""
    order = json.loads(arguments[0])
    try:
        source = os.fdopen(0, "rb")
        if order["format"] == "parquet":
            _confine()
            lines = _parquet_lines(source, Columns(**order["columns"]))
        else:
            opened = _decompressed(source, order["compression"])
            _confine()
            lines = _csv_lines(opened, Columns(**order["columns"]))
        for block in lines:
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)
    except (ColumnsError, OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        sys.stderr.write(str(error).partition("\n")[0])
        return FAILED
    except MemoryError:
        sys.stderr.write("it needs more memory than a load may take")
        return FAILED
    return 0


def _confine() -> None:
    """From now on: little memory, no file of any size, no core dump."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decompressed(source: BinaryIO, compression: str | None) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=source)
    if compression == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd")
    return source


def _csv_lines(source: Any, columns: Columns) -> Iterator[bytes]:
    """A line for every line of the file; blank ones where a row has none or more than one."""
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    text = io.TextIOWrapper(
        io.BufferedReader(source, 1 << 20), "utf-8-sig", errors="surrogateescape", newline=""
    )
    head = text.readline()
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(_with_head(head, text), delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        lay_out = columns.layout(names)
        block, written = [b"\n" * reader.line_num], reader.line_num
        for row in reader:
            if row:
                line = lay_out(row) if len(row) == len(names) else _ragged(row, len(names))
                block += [b"\n" * (reader.line_num - written - 1), line, b"\n"]
                written = reader.line_num
            if len(block) >= 3 * ROWS_AT_ONCE:
                yield b"".join(block)
                block = []
        yield b"".join(block)
    except csv.Error as error:
        raise ColumnsError(f"near line {reader.line_num + 1}: {error}") from None


def _with_head(head: str, rest: Iterable[str]) -> Iterator[str]:
    yield head
    yield from rest


def _ragged(row: list[str], wanted: int) -> bytes:
    """No object, so that it is quarantined, with why in its own words."""
    found = [f"{len(row)} fields in a table of {wanted} columns", *row]
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _parquet_lines(source: BinaryIO, columns: Columns) -> Iterator[bytes]:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source, memory_map=False, pre_buffer=False)
        lay_out = columns.layout(file.schema_arrow.names)
        for batch in file.iter_batches(ROWS_AT_ONCE):
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)
            cells = frame.select(_plain(series) for series in frame).rows()
            yield b"".join(lay_out(row) + b"\n" for row in cells)
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise ColumnsError(f"it is no sound Parquet file: {error}") from None


def _plain(series: Any) -> Any:
    """The column as JSON knows it: instants as RFC 3339, days and decimals as text."""
    import polars as pl

    kind = series.dtype
    if isinstance(kind, pl.Datetime):
        utc = series.dt.convert_time_zone("UTC") if kind.time_zone else series
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if kind == pl.Binary:
        return series.cast(pl.String)
    if kind.is_nested() or kind in (pl.String, pl.Boolean) or kind.is_numeric():
        return series.cast(pl.String) if kind.is_decimal() else series
    return series.cast(pl.String)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
