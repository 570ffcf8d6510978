"""The statements dbt sent for one kind of refresh, to be sent again without dbt.

Between two refreshes of the same scope nothing about the models changes but as_of, and dbt spends
several times the work of DuckDB on finding that out: 1.1 s of CPU for 0.35 s of SQL (33 models and
tests, 20 events). So the first run of a scope goes through dbt, whose event callback hands over
every statement with the model or test it belongs to; later runs of this process replay them in
that order, with a later as_of in the places its macros mark.

A recipe holds as long as the project's code and the variables do. When a step fails it is thrown
away: the next run is dbt's again.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb

_MARKED: Final = re.compile(r"/\* (as_of|as_of_date) \*/ '[^']*'")
_CATALOGUE_QUERY: Final = re.compile(r"\bfrom duckdb_\w+\(\)")
_BLOCK_COMMENT: Final = re.compile(r"\A\s*/\* \{.*?\} \*/\s*", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One model or test. is_warning: its rows warn and do not fail the refresh."""

    name: str
    is_test: bool
    is_warning: bool
    statements: tuple[str, ...]


@dataclass
class Recorder:
    """Hand it to dbtRunner as a callback; afterwards it knows every statement by node."""

    statements: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, event: Any) -> None:
        if event.info.name != "SQLQuery":
            return
        node = event.data.node_info.unique_id
        statement = _BLOCK_COMMENT.sub("", event.data.sql)
        if node and not _CATALOGUE_QUERY.search(statement):
            self.statements.setdefault(node, []).append(statement)


@dataclass(frozen=True)
class Replay:
    """failures and warnings: a sentence each, in dbt's words."""

    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Recipe:
    """Steps in dbt's order."""

    steps: tuple[Step, ...]

    @classmethod
    def recorded(cls, results: Iterable[Any], recorder: Recorder, as_of_text: str) -> Recipe | None:
        """What a successful run did; None when it cannot be replayed for another as_of."""
        steps = []
        for result in results:
            node = result.node
            statements = tuple(recorder.statements.get(node.unique_id, ()))
            if any(as_of_text in _MARKED.sub("", statement) for statement in statements):
                return None  # a model spells out var('as_of') itself
            is_test = str(node.resource_type) == "test"
            if is_test and len(statements) != 1:
                return None
            is_warning = is_test and str(node.config.severity).lower() == "warn"
            steps.append(Step(node.name, is_test, is_warning, statements))
        return cls(tuple(steps))

    def replay(self, connection: duckdb.DuckDBPyConnection, as_of_text: str) -> Replay:
        """Send every statement; a model that fails is the last, as those after it build on it."""
        started = time.perf_counter()
        failures: list[str] = []
        warnings: list[str] = []
        for step in self.steps:
            try:
                rows: Sequence[Any] = ()
                for statement in step.statements:
                    rows = connection.execute(_at(statement, as_of_text)).fetchall()
            except duckdb.Error as error:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("rollback")  # where the statement had begun one
                kind = "test" if step.is_test else "model"
                failures.append(f"{kind} {step.name}: {' '.join(str(error).split())}")
                if not step.is_test:
                    break
                continue
            if step.is_test:
                _judge(step, rows[0], failures, warnings)
        return Replay(tuple(failures), tuple(warnings), time.perf_counter() - started)


def _judge(step: Step, row: Any, failures: list[str], warnings: list[str]) -> None:
    count, should_warn, should_fail = row
    told = f"test {step.name}: Got {count} result{'' if count == 1 else 's'}"
    if should_fail and not step.is_warning:
        failures.append(told)
    elif should_warn:
        warnings.append(told)


def _at(statement: str, as_of_text: str) -> str:
    """The statement for another instant."""

    def mark(found: re.Match[str]) -> str:
        text = as_of_text if found[1] == "as_of" else as_of_text[:10]
        return f"/* {found[1]} */ '{text}'"

    return _MARKED.sub(mark, statement)
