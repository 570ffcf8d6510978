"""The shell of `hooklake sql`: statements over several lines, completion, a history that stays.

Each statement runs in the sandbox like any other; the shell adds nothing to what may be asked. The
history lies in the data directory, for its owner alone, and grows by a line a statement: what
`hooklake forget` takes out of it an open shell does not write back.
"""

from __future__ import annotations

import atexit
import os
import readline
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ingest.errors import HooklakeError, UsageError
from ingest.paths import DataDir
from ingest.wording import number_of
from warehouse.adhoc import QueryError, execute
from warehouse.reader import published, resolved_path
from warehouse.sql_command import ask, format_named, visible_lines
from warehouse.sql_output import OutputFormat, visible
from warehouse.sql_text import as_one_line, pointed, statements

HISTORY: Final = "sql_history"
HISTORY_LINES_MAX: Final = 1_000
PROMPT: Final = "hooklake> "
PROMPT_ON: Final = "    ...> "
_MODES: Final[tuple[OutputFormat, ...]] = ("table", "csv", "json", "parquet")
_LEAVING: Final = ("exit", "quit", ".exit", ".quit")
_WORDS: Final = (
    "select", "from", "where", "group by", "order by", "having", "limit", "join", "left join",
    "using", "on", "and", "or", "not", "in", "is null", "is not null", "between", "like", "ilike",
    "case", "when", "then", "else", "end", "as", "asc", "desc", "with", "union all", "distinct",
    "count(*)", "count(", "sum(", "avg(", "min(", "max(", "coalesce(", "nullif(", "date_trunc(",
    "filter (where", "over (", "partition by", "qualify", "describe", "summarize", "show tables",
)  # fmt: skip


@dataclass
class Completer:
    """Names that begin with what stands before the cursor; those of the version asked last."""

    data: DataDir
    tables: dict[str, list[str]] = field(default_factory=dict)
    version: Path | None = None
    found: list[str] = field(default_factory=list)

    def complete(self, text: str, state: int) -> str | None:
        """readline's protocol: the state-th match, None after the last."""
        if state == 0:
            self._look()
            self.found = self.matches(text, readline.get_line_buffer())
        return self.found[state] if state < len(self.found) else None

    def matches(self, text: str, line: str) -> list[str]:
        """Commands of the shell, tables and columns; what was typed in capitals stays so."""
        if line.lstrip().startswith("."):
            command, _, rest = line.lstrip().partition(" ")
            offered: tuple[str, ...] = () if rest else tuple(COMMANDS)
            if line.lstrip() != command:
                offered = {".schema": tuple(self.tables), ".mode": _MODES}.get(command, ())
            return [name for name in offered if name.startswith(text)]
        table, dot, start = text.rpartition(".")
        if dot and table in self.tables:
            return [f"{table}.{name}" for name in self.tables[table] if name.startswith(start)]
        names = tuple({*self.tables, *(each for row in self.tables.values() for each in row)})
        lowered = text.lower()
        known = sorted(name for name in names if name.lower().startswith(lowered))
        words = [word for word in _WORDS if word.startswith(lowered)] if lowered else []
        if text.isupper():
            words = [word.upper() for word in words]
        return [*known, *words]

    def _look(self) -> None:
        path = resolved_path(self.data)
        if path == self.version:
            return
        try:
            rows = execute(
                self.data,
                "select table_name, column_name from duckdb_columns()"
                " where schema_name = 'main' and not internal order by table_name, column_index",
            ).rows
        except HooklakeError:
            return
        self.tables = {}
        for table, column in rows:
            self.tables.setdefault(str(table), []).append(str(column))
        self.version = path


class Shell:
    """One session. The settings are those of the commands with a dot."""

    def __init__(
        self, data: DataDir, mode: OutputFormat, max_rows: int, timeout_seconds: float
    ) -> None:
        self.data = data
        self.mode = mode
        self.max_rows = max_rows
        self.timeout_seconds = timeout_seconds
        self.output: Path | None = None
        self.is_timed = True
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def run(self) -> int:
        """Answer until the end of input or `.quit`; 0."""
        self._begin()
        typed = ""
        while True:
            try:
                line = input(PROMPT_ON if typed else PROMPT)
            except KeyboardInterrupt:
                self.console.print()
                typed = ""
                continue
            except EOFError:
                self.console.print()
                return 0
            if not typed and line.strip().lower() in _LEAVING:
                return 0
            if not typed and line.lstrip().startswith("."):
                self._remember(line.strip())
                self._guarded(partial(self._command, line.split()))
                continue
            typed = self._answer_complete(f"{typed}\n{line}" if typed else line)

    def _begin(self) -> None:
        history = self.data.root / HISTORY
        if self.data.root.is_dir():
            os.close(os.open(history, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            history.chmod(0o600)
            readline.read_history_file(history)
            if readline.get_current_history_length() > HISTORY_LINES_MAX:
                readline.set_history_length(HISTORY_LINES_MAX)
                readline.write_history_file(history)
        readline.set_auto_history(False)
        completer = Completer(self.data)
        readline.set_completer(completer.complete)
        readline.set_completer_delims(" \t\n,()=<>+-*/|;'")
        readline.parse_and_bind("tab: complete")
        atexit.register(readline.set_completer, None)
        version = published(self.data)
        if version is None:
            self.console.print("nothing is published yet; run `hooklake refresh` once")
        else:
            self.console.print(
                f"version {version.version} as of {version.as_of:%Y-%m-%d %H:%M} UTC,"
                f" {number_of(version.events, 'event')}."
                " A SELECT ends with a semicolon; .help, Ctrl-D leaves."
            )

    def _answer_complete(self, typed: str) -> str:
        """Answer every statement that is ended; what is typed of the next one."""
        left = ""
        for statement, is_ended in statements(typed):
            if not is_ended:
                left = statement
                break
            self._remember(as_one_line(statement))
            self._guarded(partial(self._ask, statement))
        return left

    def _ask(self, statement: str) -> None:
        began = time.perf_counter()
        output, self.output = self.output, None
        try:
            mode = (format_named(output) if output else None) or self.mode
            is_capped = ask(self.data, statement, mode, self.max_rows, self.timeout_seconds, output)
        except QueryError as error:
            if error.line is not None and error.column is not None:
                place = pointed(statement, error.line, error.column)
                self.console.print(visible_lines(place))
            raise
        if is_capped:
            self.console.print(
                f"only the first {number_of(self.max_rows, 'row')}; .maxrows 0 lifts the cap"
            )
        if output is not None:
            self.console.print(f"written to {output}; the next answer is shown here again")
        if self.is_timed:
            self.console.print(f"{time.perf_counter() - began:.3f} s")

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except HooklakeError as error:
            self.console.print(f"error: {visible_lines(str(error))}")
        except KeyboardInterrupt:
            self.console.print("stopped")

    def _remember(self, line: str) -> None:
        history = self.data.root / HISTORY
        if line and history.exists():
            readline.add_history(line)
            with history.open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")

    def _command(self, words: list[str]) -> None:
        name, arguments = words[0], words[1:]
        if name not in COMMANDS:
            raise UsageError(f"there is no {name}; .help lists what there is")
        usage, _, act = COMMANDS[name]
        if len(arguments) > 1:
            raise UsageError(f"{name} takes one word: {usage}")
        act(self, arguments[0] if arguments else None)

    def _help(self, _word: str | None) -> None:
        for usage, meaning, _act in COMMANDS.values():
            self.console.print(f"{usage:<18}{meaning}")

    def _tables(self, pattern: str | None) -> None:
        rows = self._described(
            "select table_name, any_value(comment) from (select table_name, comment from"
            " duckdb_tables() where schema_name = 'main' union all select view_name, comment from"
            " duckdb_views() where schema_name = 'main' and not internal)"
            f" where table_name like {_literal(pattern or '%')} group by table_name order by 1"
        )
        if not rows:
            raise UsageError("no table has such a name; a % stands for any letters")
        for table, comment in rows:
            self.console.print(f"{table:<28}{str(comment or '').split('. ')[0]}")

    def _schema(self, table: str | None) -> None:
        rows = self._described(
            "select table_name, column_name, data_type, comment from duckdb_columns()"
            " where schema_name = 'main' and not internal"
            + (f" and table_name = {_literal(table.rstrip(';'))}" if table else "")
            + " order by table_name, column_index"
        )
        if not rows:
            raise UsageError(f"there is no table {table}; .tables lists them")
        shown = ""
        for name, column, kind, comment in rows:
            if name != shown:
                self.console.print(f"{name}")
                shown = name
            self.console.print(f"  {column:<26}{kind:<26}{comment or ''}")

    def _described(self, query: str) -> list[tuple[Any, ...]]:
        """The catalogue's answer, safe to be shown."""
        rows = execute(self.data, query, max_rows=0, timeout_seconds=self.timeout_seconds).rows
        return [
            tuple(visible(value) if isinstance(value, str) else value for value in row)
            for row in rows
        ]

    def _mode(self, mode: str | None) -> None:
        for known in _MODES:
            if mode == known:
                self.mode = known
                return
        raise UsageError(f".mode takes one of {', '.join(_MODES)}; it is {self.mode}")

    def _output(self, path: str | None) -> None:
        self.output = None
        if path is not None:
            output = Path(path).expanduser()
            format_named(output)
            self.output = output

    def _timer(self, wanted: str | None) -> None:
        if wanted not in ("on", "off"):
            raise UsageError(f".timer takes on or off; it is {'on' if self.is_timed else 'off'}")
        self.is_timed = wanted == "on"

    def _maxrows(self, number: str | None) -> None:
        if number is None or not number.isdecimal():
            raise UsageError(f".maxrows takes a number, 0 for all; it is {self.max_rows}")
        self.max_rows = int(number)


COMMANDS: Final[dict[str, tuple[str, str, Callable[[Shell, str | None], None]]]] = {
    ".help": (".help", "this list", Shell._help),
    ".tables": (".tables [LIKE]", "the tables, and what one row of each is", Shell._tables),
    ".schema": (".schema [TABLE]", "columns with types and definitions", Shell._schema),
    ".mode": (".mode MODE", "show answers as table, csv, json or parquet", Shell._mode),
    ".output": (".output [FILE]", "write the next answer to a new file", Shell._output),
    ".timer": (".timer on|off", "say how long a statement took", Shell._timer),
    ".maxrows": (".maxrows N", "show so many rows at most; 0 for all", Shell._maxrows),
    ".quit": (".quit", "leave, as does Ctrl-D", Shell._help),
}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
