"""Reads lines one by one with the receiver's own parser: every line that is not plain.

Gives the same columns as plain_rows.py, and of a line that is no event every reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ingest.contract import BUSINESS_COLUMNS
from ingest.parse import Arrival, Event, Malformed, parse_body
from warehouse.exports import Row
from warehouse.plain_rows import DATES, STAGED, Origin


@dataclass(frozen=True)
class BadLine:
    """A line that is no event. own_received_at: microseconds UTC, at most the batch's start."""

    row: Row
    own_received_at: int | None
    content: Malformed


@dataclass(frozen=True)
class SingleRows:
    """rows: the columns of plain_rows.STAGED, by rising line. fields: how many rows had an unknown
    or unreadable one, by (kind, event type, name)."""

    rows: pl.DataFrame
    bad: list[BadLine]
    fields: Counter[tuple[str, str, str]]


def read(rows: Sequence[Row], origin: Origin) -> SingleRows:
    """What each line says, or every reason why it says nothing."""
    events: list[tuple[Row, int | None, Event]] = []
    bad: list[BadLine] = []
    fields: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        own = None if row.own_received_at is None else min(row.own_received_at, origin.stored_at)
        content = Malformed((row.problem,)) if row.problem else _parse(row, own, origin)
        if isinstance(content, Malformed):
            bad.append(BadLine(row, own, content))
            continue
        events.append((row, own, content))
        for name in content.unknown_fields:
            fields["unknown", content.event_type, name] += 1
        for warning in content.warnings:
            fields["unreadable", content.event_type, warning.field] += 1
    return SingleRows(_frame(events), bad, fields)


def _parse(row: Row, own: int | None, origin: Origin) -> Event | Malformed:
    return parse_body(
        row.body,
        Arrival(
            stored_at=origin.stored_at,
            origin="backfill",
            signed_id=row.signed_id,
            signed_at=row.signed_at,
            own_received_at=own,
            file_sha256=origin.file_sha256,
            line=row.line,
        ),
    )


def _frame(found: list[tuple[Row, int | None, Event]]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {
        "line": [row.line for row, _, _ in found],
        "own_received_at": [own for _, own, _ in found],
        "delivery_id": [row.signed_id for row, _, _ in found],
        "payload": [row.body.decode() for row, _, _ in found],
        "stated": [None] * len(found),
    }
    for name in STAGED:
        if name in BUSINESS_COLUMNS:
            position = BUSINESS_COLUMNS.index(name)
            columns[name] = [event.business[position] for _, _, event in found]
        elif name not in columns:
            columns[name] = [getattr(event, name) for _, _, event in found]
    as_text = dict.fromkeys((*DATES, "amount"), pl.String)
    return (
        pl.DataFrame(columns, schema={**STAGED, **as_text})
        .with_columns(
            pl.col("amount").str.to_decimal(scale=2).cast(STAGED["amount"]),
            pl.col(DATES).str.to_date("%Y-%m-%d"),
        )
        .select(*STAGED)
    )
