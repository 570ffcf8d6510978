"""`hooklake sql`: one question with its answer on standard output or in a file, or the shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from ingest.errors import UsageError
from ingest.paths import DataDir, keep_files_private
from ingest.settings import Settings
from ingest.standard_streams import bearing_a_lost_reader, standard_input_text
from ingest.wording import number_of
from warehouse.adhoc import MAX_ROWS, TIMEOUT_SECONDS, QueryError, opened
from warehouse.output_file import output_file
from warehouse.sql_output import WRITERS, OutputFormat, visible, write_answer, write_parquet
from warehouse.sql_text import pointed

CAPPED_EXIT: Final = 3
_BY_SUFFIX: Final[dict[str, OutputFormat]] = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "table",
}


def run(
    settings: Settings,
    query: str | None,
    output_format: OutputFormat | None = None,
    max_rows: int = MAX_ROWS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    output: Path | None = None,
) -> int:
    """Print the answer or write it to `output`; 0, or 3 when it was capped.

    Without a query: standard input or, on a terminal, the shell. output_format: None for what the
    file's name says, else a table. Raises: AdhocError (exit 1), UsageError (2), RefusedError (4).
    """
    keep_files_private()
    data = settings.paths
    chosen = output_format or (format_named(output) if output else None) or "table"
    if query is None and sys.stdin.isatty():
        if output is not None:
            raise UsageError("--output goes with a query; in the shell, `.output FILE` does it")
        from warehouse.sql_shell import Shell

        return Shell(data, chosen, max_rows, timeout_seconds).run()
    text = standard_input_text() if query is None else query
    try:
        is_capped = ask(data, text, chosen, max_rows, timeout_seconds, output)
    except QueryError as error:
        if error.line is not None and error.column is not None and sys.stderr.isatty():
            sys.stderr.write(visible_lines(pointed(text, error.line, error.column)) + "\n")
        raise
    if not is_capped:
        return 0
    shown = number_of(max_rows, "row is", "rows are")
    sys.stderr.write(f"only the first {shown} shown; --max-rows 0 lifts the cap\n")
    return CAPPED_EXIT


def format_named(output: Path) -> OutputFormat | None:
    """What the file's name says it is to hold, None where it says nothing. Raises: UsageError."""
    if not output.suffix:
        return None
    named = _BY_SUFFIX.get(output.suffix.lower())
    if named is None:
        raise UsageError(
            f"{output.name}: {output.suffix} is not written here; name a file that ends in"
            f" {', '.join(_BY_SUFFIX)}, or say what it is to hold with --format"
        )
    return named


def ask(
    data: DataDir,
    query: str,
    output_format: OutputFormat,
    max_rows: int,
    timeout_seconds: float,
    output: Path | None = None,
) -> bool:
    """Answer one question on standard output, or in a new file; whether rows were left out.

    Raises: AdhocError, UsageError, RefusedError, StorageError.
    """
    if output is None and output_format == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is nothing for a terminal; add --output FILE, or redirect it")
    with opened(data, query, max_rows=max_rows, timeout_seconds=timeout_seconds) as result:
        if output is not None:
            with output_file(output, data) as stream:
                write_answer(result, stream, output_format)
            return result.is_capped
        with bearing_a_lost_reader():
            if output_format == "parquet":
                write_parquet(result, sys.stdout.buffer)
            else:
                WRITERS[output_format](result, sys.stdout)
            sys.stdout.flush()
        return result.is_capped


def visible_lines(text: str) -> str:
    """`visible`, with the ends of lines left alone."""
    return "\n".join(visible(line) for line in text.split("\n"))
