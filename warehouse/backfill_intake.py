"""Sorts what exports say: rows to be staged, bad lines for the quarantine, forgotten people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import apsw
import polars as pl

from ingest.settings import Settings
from ingest.tombstones import Tombstones, tombstones
from warehouse.backfill_reading import Reading, read_export
from warehouse.backfill_report import BAD_ROWS_SHOWN_MAX, OnBytes, Report
from warehouse.backfill_staging import StagedFile, Stager
from warehouse.batches import BadRow, Batch, count_tombstones, known_bad_lines, quarantine
from warehouse.exports import Export
from warehouse.single_rows import BadLine

BAD_ROWS_AT_ONCE: Final = 500


class Intake:
    """Reads exports for one batch. connection: None where there is no ledger yet (a dry run).

    forgotten: how many tombstones the rows are held against.
    """

    def __init__(
        self,
        settings: Settings,
        connection: apsw.Connection | None,
        batch: Batch,
        report: Report,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._batch = batch
        self._report = report
        self.forgotten = 0 if connection is None else count_tombstones(connection)
        self._tombstones = None if connection is None else tombstones(connection)

    def read(
        self, exports: Sequence[Export], stager: Stager, on_bytes: OnBytes
    ) -> list[StagedFile]:
        """Read all exports; every staged file."""
        before = self._batch.first_seq
        for export in exports:
            for reading in read_export(
                export,
                stored_at=self._batch.started_at,
                body_bytes_max=self._settings.body_bytes_max,
            ):
                self._take(export, before, reading, stager)
                on_bytes(reading.size)
            before += export.lines
        return stager.finish()

    def _take(self, export: Export, first_seq: int, reading: Reading, stager: Stager) -> None:
        report = self._report
        report.read += reading.read
        report.fields += reading.fields
        rows, bad = reading.rows, reading.bad
        if self._tombstones is not None:
            rows = self._without_forgotten(self._tombstones, rows)
            bad = [line for line in bad if not self._tombstones.cover(line.content, line.row.body)]
            report.erased += reading.rows.height - rows.height + len(reading.bad) - len(bad)
        stager.take(rows, seq_of_line_0=first_seq - 1, size=reading.size)
        for at in range(0, len(bad), BAD_ROWS_AT_ONCE):
            self._keep(
                [
                    _bad_row(export, first_seq, line, self._batch.started_at)
                    for line in bad[at : at + BAD_ROWS_AT_ONCE]
                ]
            )

    def _without_forgotten(self, found: Tombstones, rows: pl.DataFrame) -> pl.DataFrame:
        accounts = found.among("account", rows["account_id"].unique())
        owners = found.among("owner", rows["owner_id"].unique())
        nameless = pl.col("account_id").is_null() & pl.col("owner_id").is_null()
        workspaces = found.among("workspace", rows.filter(nameless)["workspace_id"].unique())
        return rows.remove(
            pl.col("account_id").is_in(list(accounts))
            | pl.col("owner_id").is_in(list(owners))
            | (nameless & pl.col("workspace_id").is_in(list(workspaces)))
        )

    def _keep(self, bad: list[BadRow]) -> None:
        """Put bad rows of one file, by rising line, into the quarantine; not those kept before."""
        if self._connection:
            known = known_bad_lines(
                self._connection, self._batch.batch_id, bad[0].file, bad[0].line, bad[-1].line
            )
            fresh = [row for row in bad if (row.line, row.body) not in known]
            self._report.duplicate += len(bad) - len(fresh)
            bad = fresh
        self._report.quarantined += len(bad)
        for row in bad[: max(0, BAD_ROWS_SHOWN_MAX - len(self._report.bad_rows))]:
            problems = json.loads(row.problems)
            self._report.bad_rows.append({"file": row.file, "line": row.line, "problems": problems})
        if self._connection and bad and not self._report.is_dry_run:
            quarantine(self._connection, self._batch.batch_id, bad)


def _bad_row(export: Export, first_seq: int, line: BadLine, started_at: int) -> BadRow:
    row, content = line.row, line.content
    return BadRow(
        seq=first_seq + row.line - 1,
        received_at=started_at if line.own_received_at is None else line.own_received_at,
        event_type=content.event_type,
        sender_event=content.sender_event,
        delivery_id=row.signed_id,
        signed_at=row.signed_at,
        file=str(export.path),
        line=row.line,
        problems=json.dumps([problem.as_dict() for problem in content.problems]),
        body=row.body,
    )
