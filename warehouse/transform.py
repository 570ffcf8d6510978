"""Run the models of `sql/` with dbt, in this process, over the databases an engine has attached.

dbt is imported on first use (it takes a second or two), parses the project once and keeps the
result. What it sent for a scope is replayed by later runs of that scope (recipe.py). It writes
nothing but below `work_dir`, asks no network, prints nothing: failures come back as
`TransformError`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb

from ingest.errors import StorageError
from warehouse.recipe import Recipe, Recorder

PROJECT: Final = Path(__file__).resolve().parent.parent / "sql"
_NOT_CODE: Final = frozenset({"target", "logs", "dbt_packages", "analyses", "__pycache__"})
_FAILURES_SHOWN: Final = 5


class TransformError(StorageError):
    """A model could not be computed or a test failed; the published version is untouched."""

    code = "transform"


class Scope(StrEnum):
    """Whose rows are computed anew."""

    FULL = "full"
    TOUCHED = "touched"
    CLOCK = "clock"
    """Nobody's: only what depends on as_of."""


@dataclass(frozen=True)
class Variables:
    """What the models may be told, beside as_of."""

    trial_days: int = 14
    restore_grace_hours: int = 24


@dataclass(frozen=True)
class Outcome:
    """warnings: one sentence per warn-level test that found rows. nodes: models and tests run."""

    warnings: tuple[str, ...]
    nodes: int
    seconds: float


def code_digest(project: Path = PROJECT) -> str:
    """sha256 over every file of the project that can change a table."""
    digest = sha256()
    for path in sorted(project.rglob("*")):
        inner = path.relative_to(project)
        if path.is_file() and not _NOT_CODE & set(inner.parts):
            digest.update(f"{inner}\0".encode())
            digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Transformer:
    """Holds the parsed project. One run at a time in a process: dbt keeps global state."""

    _one_at_a_time = threading.Lock()

    def __init__(self, work_dir: Path, project: Path = PROJECT) -> None:
        self._work_dir = work_dir
        self._project = project
        self._manifest: Any = None
        self._recipes: dict[tuple[Scope, Variables], Recipe] = {}
        self._digest: str | None = None

    def run(self, engine_name: str, scope: Scope, as_of: datetime, variables: Variables) -> Outcome:
        """Build and test the models of `scope`.

        Raises: TransformError naming the models and tests that failed.
        """
        chosen = ["--exclude-resource-type", "unit_test", "--exclude-resource-type", "seed"]
        excluded = []
        if scope is Scope.CLOCK:
            excluded += ["config.materialized:account_table", "tag:events_only"]
        if scope is not Scope.FULL:
            excluded += ["tag:full_refresh_only", "tag:catalogue"]
        if excluded:
            chosen += ["--exclude", *excluded]
        self.manifest()
        recipe = self._recipes.pop((scope, variables), None)
        if recipe is None:
            return self._build("build", chosen, engine_name, scope, as_of, variables)
        with duckdb.connect(engine_name) as connection:
            connection.execute("set timezone = 'UTC'")
            replay = recipe.replay(connection, _text(as_of))
        if replay.failures:
            raise TransformError(_summary(replay.failures))
        self._recipes[scope, variables] = recipe
        return Outcome(replay.warnings, len(recipe.steps), replay.seconds)

    def unit_tests(self, engine_name: str, select: str | None, as_of: datetime) -> Outcome:
        """Run the project's dbt unit tests; the tables they mock must exist, empty will do.

        Raises: TransformError with dbt's difference of actual and expected rows.
        """
        chosen = ["--resource-type", "unit_test"]
        if select:
            chosen += ["--select", select]
        return self._build("test", chosen, engine_name, Scope.FULL, as_of, Variables())

    @property
    def digest(self) -> str:
        """sha256 of the project's code as parsed by the last `manifest`."""
        if self._digest is None:
            self.manifest()
        assert self._digest is not None
        return self._digest

    def manifest(self) -> Any:
        """dbt's parsed project: nodes with columns, descriptions and lineage.

        Raises: TransformError when a file of the project does not parse.
        """
        digest = code_digest(self._project)
        if self._manifest is None or digest != self._digest:
            with self._one_at_a_time:
                answer = self._invoke(None, ["parse", *self._options({})])
            if not answer.success:
                raise TransformError(f"reading the models in {self._project}: {answer.exception}")
            self._manifest, self._digest = answer.result, digest
            self._recipes.clear()
        return self._manifest

    def _build(
        self,
        command: str,
        chosen: Sequence[str],
        engine_name: str,
        scope: Scope,
        as_of: datetime,
        variables: Variables,
    ) -> Outcome:
        manifest = self.manifest()
        started = time.perf_counter()
        recorder = Recorder()
        given = {
            "engine": engine_name,
            "scope": "full" if scope is Scope.FULL else "touched",
            "as_of": _text(as_of),
            "trial_days": variables.trial_days,
            "restore_grace_hours": variables.restore_grace_hours,
        }
        with self._one_at_a_time:
            _forget_compilation(manifest)
            answer = self._invoke(manifest, [command, *self._options(given), *chosen], recorder)
        if answer.exception is not None:
            raise TransformError(f"running the models: {answer.exception}")
        results = list(answer.result.results)
        failures = [_describe(result) for result in results if result.status in _FAILED]
        if failures or not answer.success:
            raise TransformError(_summary(failures or ["dbt stopped without naming a model"]))
        warnings = tuple(_describe(result) for result in results if result.status == "warn")
        if command == "build" and scope is not Scope.FULL:
            recipe = Recipe.recorded(results, recorder, _text(as_of))
            if recipe is not None:
                self._recipes[scope, variables] = recipe
        return Outcome(warnings, len(results), time.perf_counter() - started)

    def _options(self, given: dict[str, Any]) -> list[str]:
        return [
            *("--project-dir", str(self._project)),
            *("--profiles-dir", str(self._project)),
            *("--target-path", str(self._work_dir / "target")),
            *("--log-path", str(self._work_dir / "logs")),
            *("--vars", json.dumps(given)),
        ]

    @staticmethod
    def _invoke(manifest: Any, arguments: list[str], recorder: Recorder | None = None) -> Any:
        from dbt.cli.main import dbtRunner

        quiet = [
            *("--log-level", "none", "--log-level-file", "none"),
            *("--no-send-anonymous-usage-stats", "--no-version-check", "--no-use-colors"),
            *("--no-write-json", "--no-populate-cache", "--no-print", "--quiet"),
        ]
        try:
            callbacks: list[Any] = [] if recorder is None else [recorder]
            answer = dbtRunner(manifest=manifest, callbacks=callbacks).invoke([*quiet, *arguments])
        finally:
            _close_connections()
        if isinstance(answer.exception, KeyboardInterrupt):
            raise answer.exception
        return answer


def _text(as_of: datetime) -> str:
    return f"{as_of:%Y-%m-%d %H:%M:%S.%f}+00"


_FAILED: Final = frozenset({"error", "fail", "runtime error"})


def _describe(result: Any) -> str:
    kind = {"model": "model", "test": "test", "unit_test": "unit test"}.get(
        str(result.node.resource_type), str(result.node.resource_type)
    )
    message = " ".join(str(result.message or "no message").split())
    return f"{kind} {result.node.name}: {message}"


def _summary(failures: Sequence[str]) -> str:
    shown = "\n".join(f"  - {failure}" for failure in failures[:_FAILURES_SHOWN])
    more = len(failures) - _FAILURES_SHOWN
    return f"{len(failures)} of the models and tests failed, so nothing was published:\n{shown}" + (
        f"\n  - and {more} more" if more > 0 else ""
    )


def _forget_compilation(manifest: Any) -> None:
    """dbt takes ephemeral parts of a model compiled in an earlier run for injected already."""
    for node in manifest.nodes.values():
        if getattr(node, "extra_ctes_injected", False):
            node.extra_ctes_injected = False
            node.extra_ctes = []
            node.compiled = False
            node.compiled_code = None
            node._pre_injected_sql = None


def _close_connections() -> None:
    """dbt keeps its connection for the life of the process; the engine must be able to close."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.factory import reset_adapters

    reset_adapters()  # type: ignore[no-untyped-call]
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
