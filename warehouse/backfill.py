"""`hooklake backfill PATH…`: exported history into the lake, once, however often it is loaded.

examine the files -> plan a batch in the ledger -> parse every line into staged Parquet, bad ones
into the quarantine -> compare with the whole lake as sets -> write what is new into lake files ->
one ledger transaction enters them. Until that last step no reader sees anything of it; killed
before, the same command finishes the work.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import apsw
import duckdb
import polars as pl
from rich.console import Console

from ingest.catalogue import live_files
from ingest.contract import TYPE_BY_NAME
from ingest.errors import LedgerError, StorageError, UsageError
from ingest.ledger import LANDED_UNTIL, describe, open_ledger, open_read_only
from ingest.paths import keep_files_private
from ingest.settings import Settings
from warehouse.backfill_intake import Intake
from warehouse.backfill_placing import place, settle
from warehouse.backfill_report import OnBytes, OnStage, Report, progress, show
from warehouse.backfill_staging import StagedFile, Stager, check_space
from warehouse.batches import (
    Batch,
    ErasedMeanwhileError,
    backfill_lock,
    finish,
    plan,
    staging_folder,
)
from warehouse.columns import ColumnsError, parse_mapping
from warehouse.exports import Export, examine
from warehouse.novelty import compare, workspace
from warehouse.sources import TableOptions


def table_options(mapping: Sequence[str], event: str | None) -> TableOptions:
    """How tables are to be read, from the command line's `column=field` and type.

    Raises: UsageError.
    """
    try:
        columns = parse_mapping(mapping)
    except ColumnsError as error:
        raise UsageError(str(error)) from None
    if event is not None and event not in TYPE_BY_NAME:
        raise UsageError(f"--event {event}: the types are {', '.join(TYPE_BY_NAME)}")
    return TableOptions(columns, event)


def run(
    settings: Settings,
    paths: Sequence[Path],
    *,
    dry_run: bool = False,
    as_json: bool = False,
    options: TableOptions | None = None,
) -> int:
    """Load the files and print the report; 0 when every row is in the lake or the quarantine.

    Raises: ExportError for a path that cannot be read, BackfillRunningError, StorageError.
    """
    began = time.monotonic()
    keep_files_private()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    stage = "reading"
    try:
        with progress(is_shown=not as_json) as (on_bytes, show_stage):

            def on_stage(begun: str) -> None:
                nonlocal stage
                stage = begun
                show_stage(begun)

            on_stage("reading")
            exports = examine(paths, on_bytes, options, _replaced(settings))
            on_stage("parsing")
            if dry_run:
                report = _rehearse(settings, exports, on_bytes, on_stage)
            else:
                report = _load(settings, exports, on_bytes, on_stage)
    except apsw.Error as error:
        raise LedgerError(f"writing the backfill's batch: {describe(error)}") from error
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise StorageError(
            f"loading into {settings.data_dir} failed while {stage} ({reason}); nothing of it is"
            " visible yet, mend the cause and run the same command again"
        ) from error
    except OSError as error:
        raise StorageError(
            f"loading into {settings.data_dir}: {error.strerror or error}; nothing of it is visible"
            " yet, run the same command again"
        ) from error
    report.seconds = time.monotonic() - began
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    else:
        show(console, report)
    return 0


def _replaced(settings: Settings) -> set[Path]:
    """Our own lake's files that were merged or undone, and lie there until they are removed."""
    if not settings.paths.ledger.exists():
        return set()
    lake = settings.paths.lake.resolve()
    with open_read_only(settings.paths.ledger) as connection:
        return {
            lake / str(path)
            for (path,) in connection.execute("select path from files where status = 'replaced'")
        }


def _load(
    settings: Settings, exports: Sequence[Export], on_bytes: OnBytes, on_stage: OnStage
) -> Report:
    paths = settings.paths.ensure_telling()
    connection = open_ledger(paths.ledger)
    try:
        with backfill_lock(paths):
            check_space(settings)
            while True:
                batch = plan(connection, paths, exports)
                on_stage("parsing")
                try:
                    return _load_batch(settings, connection, batch, exports, on_bytes, on_stage)
                except ErasedMeanwhileError:
                    continue
    finally:
        connection.close()


def _load_batch(
    settings: Settings,
    connection: apsw.Connection,
    batch: Batch,
    exports: Sequence[Export],
    on_bytes: OnBytes,
    on_stage: OnStage,
) -> Report:
    paths = settings.paths
    report = Report(files=[str(export.path) for export in exports], batch_id=batch.batch_id)
    with staging_folder(paths, batch.batch_id) as folder, workspace(folder) as database:
        intake = Intake(settings, connection, batch, report)
        with Stager(settings, batch, folder, database) as stager:
            staged = intake.read(exports, stager, on_bytes)
        on_stage("comparing with the lake")
        verdicts = compare(database, _named(staged), stager.keys, *_stored(settings, connection))
        on_stage("writing")
        chosen = []
        for file in settle(staged, verdicts, database, report):
            check_space(settings)
            chosen.append(file if isinstance(file, StagedFile) else file.write(folder))
        files = place(paths, chosen, settings.node)
        on_stage("entering")
        finish(connection, batch, files, report, forgotten=intake.forgotten)
    return report


def _rehearse(
    settings: Settings, exports: Sequence[Export], on_bytes: OnBytes, on_stage: OnStage
) -> Report:
    """All of `_load` but what changes anything."""
    paths = settings.paths
    batch = Batch("dry-run", time.time_ns() // 1_000, 1)
    place = paths.root if paths.root.is_dir() else None
    if place is None:
        sys.stderr.write(f"there is no data directory {paths.root} yet\n")
    with (
        open_read_only(paths.ledger) if paths.ledger.exists() else nullcontext() as connection,
        tempfile.TemporaryDirectory(prefix=".dry-run-", dir=place) as name,
        workspace(Path(name)) as database,
    ):
        report = Report(files=[str(export.path) for export in exports], is_dry_run=True)
        intake = Intake(settings, connection, batch, report)
        with Stager(settings, batch, Path(name), database) as stager:
            staged = intake.read(exports, stager, on_bytes)
        on_stage("comparing with the lake")
        verdicts = compare(database, _named(staged), stager.keys, *_stored(settings, connection))
        for _file in settle(staged, verdicts, database, report):
            pass
    return report


def _named(staged: Sequence[StagedFile]) -> list[tuple[int, Path, str]]:
    return [(file.number, file.path, file.event_type) for file in staged]


def _stored(
    settings: Settings, connection: apsw.Connection | None
) -> tuple[list[Path], list[tuple[str, str]]]:
    """The lake's files, and (event_id, digest) of what waits to be landed.

    The waiting ones are read first: what lands in between is then in a file as well.
    """
    if connection is None:
        return [], []
    waiting = connection.execute(
        f"select event_id, digest from inbox where seq > {LANDED_UNTIL}"
    ).fetchall()
    files = live_files(settings.paths.ledger)
    return [settings.paths.lake / file.path for file in files], [
        (str(event_id), str(digest)) for event_id, digest in waiting
    ]
