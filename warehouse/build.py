"""One refresh, from the catalogue's files to a published version.

load new files -> decide the scope -> lay out delta -> dbt models and tests -> events view, comments
-> publish -> forget what was pending

Whatever fails or is killed before the last step leaves the published version and the pending
accounts as they were, and the next refresh does the work again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb

from ingest.catalogue import LakeFile
from ingest.paths import DataDir
from ingest.wording import number_of
from warehouse import publish
from warehouse.prices import PlanPrices, read_plan_prices, write_plan_prices
from warehouse.state import (
    FORMAT,
    Engine,
    Loaded,
    first_occurred,
    lay_out,
    load,
    newest,
    open_engine,
)
from warehouse.transform import Scope, Transformer, Variables


@dataclass(frozen=True)
class Wanted:
    """What a refresh is asked for. as_of: None for now.

    rehearse: take the way of touched accounts even if nobody is touched, so that this process has
    learnt it (recipe.py) when somebody is; the outcome is that of time alone.
    """

    full: bool = False
    as_of: datetime | None = None
    variables: Variables = field(default_factory=Variables)
    rehearse: bool = False


@dataclass(frozen=True)
class Report:
    """What a refresh did. rows: read from new files; accounts: recomputed, None for all of them;
    stages: seconds by name."""

    version: int
    path: Path
    scope: Scope
    as_of: datetime
    events: int
    rows: int
    accounts: int | None
    warnings: tuple[str, ...]
    seconds: float
    stages: dict[str, float]


class Stopwatch:
    """Names the stage under way and keeps how long each one took."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.stage = "start"
        self.seconds: dict[str, float] = {}
        self.started = self._since = time.perf_counter()
        self._tell = tell

    def begin(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self._since
        self.stage, self._since = stage, now
        if self._tell is not None:
            self._tell(stage)

    @property
    def total(self) -> float:
        return time.perf_counter() - self.started


def build(
    data: DataDir,
    files: Sequence[LakeFile],
    transformer: Transformer,
    wanted: Wanted | None = None,
    watch: Stopwatch | None = None,
) -> Report:
    """Bring the published warehouse up to date with `files`, all that is live in the catalogue.

    The caller holds the refresh lock. Raises: HooklakeError (state, plan catalogue, models and
    tests, publishing); the last published version stays then.
    """
    wanted = wanted or Wanted()
    watch = watch or Stopwatch()
    watch.begin("models are read")
    prices = read_plan_prices(data)
    nodes = _public_nodes(transformer.manifest())
    watch.begin("load")
    with open_engine(data) as engine:
        loaded = load(engine, files)
        last_occurred, last_received, events = newest(engine)
        as_of = wanted.as_of or max(datetime.now(UTC), last_occurred or datetime.now(UTC))
        is_cut = last_occurred is not None and as_of < last_occurred
        doubts = _doubts(
            wanted.as_of, datetime.now(UTC), first_occurred(engine) if is_cut else None
        )
        fingerprint = _fingerprint(transformer.digest, prices, wanted.variables)
        scope = _scope(engine, loaded, fingerprint, wanted, is_cut=is_cut)
        watch.begin("lay out")
        if scope is Scope.FULL:
            _start_anew(engine)
            write_plan_prices(engine, prices)
        accounts = lay_out(engine, is_full=scope is Scope.FULL, until=as_of if is_cut else None)
        watch.begin("models")
        outcome = transformer.run(engine.name, scope, as_of, wanted.variables)
        watch.begin("publish")
        version = publish.next_version(data)
        row = publish.Build(
            version=version,
            built_at=datetime.now(UTC),
            as_of=as_of,
            newest_received_at=last_received,
            events=events,
            is_full=scope is Scope.FULL,
            seconds=watch.total,
        )
        publish.finish(engine, row, files, nodes)
        path = publish.publish(engine, version)
        with engine.transaction():
            engine.execute("delete from state.pending")
            # What an earlier as_of hides is missing from serve: the next refresh starts anew.
            engine.remember(fingerprint=None if is_cut else fingerprint)
    watch.begin("done")
    return Report(
        version=version,
        path=path,
        scope=scope,
        as_of=as_of,
        events=events,
        rows=loaded.rows,
        accounts=None if scope is Scope.FULL else accounts,
        warnings=(*doubts, *outcome.warnings),
        seconds=watch.total,
        stages={name: round(seconds, 4) for name, seconds in watch.seconds.items()},
    )


def _doubts(as_of: datetime | None, now: datetime, first: datetime | None) -> tuple[str, ...]:
    """What to warn of in the as_of asked for. first: the oldest event, where that may hide it.

    Both are published, as a look ahead or back may be meant; a mistyped year is not.
    """
    if as_of is None:
        return ()
    told = f"--as-of {_text(as_of)}"
    if as_of > now:
        ahead = number_of((as_of - now).days, "day")
        return (
            f"{told} is {ahead} after now: what is due, overdue or matured is told as if nothing "
            "more happened until then; `hooklake refresh` shows the present",
        )
    if first is not None and as_of < first:
        return (
            f"{told} is before the first event, of {_text(first)}: no account is in "
            "the tables; `hooklake refresh` shows the present",
        )
    return ()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _fingerprint(code: str, prices: PlanPrices, variables: Variables) -> str:
    """Changes with everything but events and time that decides what the tables hold."""
    parts = (code, prices.text, repr(variables), duckdb.__version__, FORMAT)
    return sha256("\0".join(parts).encode()).hexdigest()


def _scope(
    engine: Engine, loaded: Loaded, fingerprint: str, wanted: Wanted, *, is_cut: bool
) -> Scope:
    """Attaches serve as it is when it can be carried on."""
    if (
        wanted.full
        or is_cut
        or engine.was_rebuilt
        or loaded.is_rebuilt
        or engine.meta("fingerprint") != fingerprint
        or not engine.data.serve.exists()
    ):
        return Scope.FULL
    try:
        publish.attach_serve(engine, anew=False)
        lineage = engine.execute("select token from serve.hooklake.lineage")
    except duckdb.Error:  # damaged or not ours: it can be made anew
        lineage = []
    if lineage != [(engine.meta("lineage"),)]:
        engine.execute("detach database if exists serve")
        return Scope.FULL
    has_pending = engine.execute("select 1 from state.pending limit 1")
    return Scope.TOUCHED if has_pending or wanted.rehearse else Scope.CLOCK


def _start_anew(engine: Engine) -> None:
    """An empty serve; from here until published nothing may carry it on.

    The token pairs serve with this state: one of them restored from a backup does not match.
    """
    token = uuid.uuid4().hex
    with engine.transaction():
        engine.remember(fingerprint=None, lineage=token)
    publish.attach_serve(engine, anew=True)
    engine.execute("create table serve.hooklake.lineage as select ? as token", [token])


def _public_nodes(manifest: Any) -> list[Any]:
    """Models and seeds that end up in serve's schema main."""
    return [
        node
        for node in manifest.nodes.values()
        if node.resource_type in ("model", "seed")
        and node.database == "serve"
        and node.schema == "main"
    ]
