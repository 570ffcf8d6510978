"""What the receiver's ledger tells of deliveries; read-only, and no other SQL on it in here.

The ledger may hold millions of rows and has no index on time, so every question takes the newest
rows by their number and stops at a limit. Bodies are read one at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import apsw
import polars as pl

from ingest.landing import pending_since
from ingest.ledger import open_read_only, read_counters
from ingest.quarantine import Quarantined, one_quarantined

COUNTED_MAX: Final = 50_000
NEWEST_MAX: Final = 100
QUARANTINE_ROWS_MAX: Final = 500
FIELD_ROWS_MAX: Final = 200
VERDICTS: Final = ("accepted", "duplicate", "quarantined", "rejected")

# Where deliveries of each verdict are, and what numbers them in the order they came.
_PLACES: Final = {
    "accepted": ("inbox", "seq"),
    "duplicate": ("duplicates", "seq"),
    "quarantined": ("quarantine", "seq"),
    "rejected": ("rejections", "rejection_id"),
}
_NEWEST: Final = {
    "accepted": "select received_at, event_type, account_id, workspace_id, '' , verified_by, seq"
    " from inbox order by seq desc limit ?",
    "duplicate": "select received_at, event_type, account_id, null, 'of ' || event_id,"
    " verified_by, seq from duplicates order by seq desc limit ?",
    "quarantined": "select received_at, coalesce(event_type, sender_event), null, null, problems,"
    " verified_by, seq from quarantine order by seq desc limit ?",
    "rejected": "select received_at, null, null, null, reason || ': ' || detail, null, null"
    " from rejections order by rejection_id desc limit ?",
}
_STREAM: Final[dict[str, Any]] = {
    "received_at": pl.Datetime("us", "UTC"),
    "verdict": pl.String,
    "event_type": pl.String,
    "account_id": pl.String,
    "workspace_id": pl.String,
    "reason": pl.String,
    "verified_by": pl.String,
    "seq": pl.Int64,
}
_COURSE: Final[dict[str, Any]] = {
    "bucket": pl.Datetime("us", "UTC"),
    "verdict": pl.String,
    "deliveries": pl.Int64,
}


@dataclass(frozen=True)
class Health:
    """The ledger at one moment.

    counters: row accounting since the beginning. course: bucket, verdict, deliveries. reaches_back:
    the instant before which the course is not complete, None where it is. newest: the stream.
    quarantine: open ones without bodies. reasons: field, code, deliveries, of those. fields: kind,
    event_type, name, count. pending_since: receipt of the oldest event not landed, None if none.
    """

    counters: dict[str, int]
    quarantined_open: int
    newest_event_at: datetime | None
    pending_since: datetime | None
    course: pl.DataFrame
    reaches_back: datetime | None
    newest: pl.DataFrame
    quarantine: pl.DataFrame
    reasons: pl.DataFrame
    fields: pl.DataFrame


def health(ledger: Path, *, now: datetime, window: timedelta, bucket: timedelta) -> Health:
    """What the ledger tells of the window before now.

    Raises: LedgerError where there is no ledger or it cannot be read.
    """
    with open_read_only(ledger) as connection:
        quarantine = _quarantine(connection)
        course, reaches_back = _course(connection, now - window, bucket)
        newest = connection.execute(
            "select received_at from inbox order by seq desc limit 1"
        ).fetchone()
        waiting = pending_since(connection)
        return Health(
            counters=read_counters(connection),
            quarantined_open=_open_count(connection),
            newest_event_at=_instant(newest[0]) if newest else None,
            pending_since=None if waiting is None else _instant(waiting),
            course=course,
            reaches_back=reaches_back,
            newest=_newest(connection),
            quarantine=quarantine,
            reasons=_reasons(quarantine),
            fields=_fields(connection),
        )


def quarantined_delivery(ledger: Path, seq: int) -> Quarantined:
    """One quarantined delivery with its body.

    Raises: LedgerError; UsageError where there is none under that number.
    """
    with open_read_only(ledger) as connection:
        return one_quarantined(connection, seq)


def _course(
    connection: apsw.Connection, since: datetime, bucket: timedelta
) -> tuple[pl.DataFrame, datetime | None]:
    since_us, bucket_us = _microseconds(since), bucket // timedelta(microseconds=1)
    rows: list[tuple[datetime, str, int]] = []
    reaches_back: int | None = None
    for verdict, (table, number) in _PLACES.items():
        newest = f"select received_at from {table} order by {number} desc limit {COUNTED_MAX}"
        rows += (
            (_instant(start * bucket_us), verdict, amount)
            for start, amount in connection.execute(
                f"select received_at / ?, count(*) from ({newest}) where received_at >= ?"
                " group by 1 order by 1",
                (bucket_us, since_us),
            )
        )
        cut = connection.execute(
            f"select received_at from {table} order by {number} desc limit 1 offset ?",
            (COUNTED_MAX - 1,),
        ).fetchone()
        if cut and cut[0] > since_us:
            reaches_back = max(reaches_back or 0, cut[0])
    frame = pl.DataFrame(rows, schema=_COURSE, orient="row")
    return frame, None if reaches_back is None else _instant(reaches_back)


def _newest(connection: apsw.Connection) -> pl.DataFrame:
    rows = [
        (
            _instant(received_at),
            verdict,
            event_type,
            account_id,
            workspace_id,
            _reason(reason) if verdict == "quarantined" else reason,
            verified_by,
            seq,
        )
        for verdict, query in _NEWEST.items()
        for received_at, event_type, account_id, workspace_id, reason, verified_by, seq in (
            connection.execute(query, (NEWEST_MAX,))
        )
    ]
    frame = pl.DataFrame(rows, schema=_STREAM, orient="row")
    return frame.sort("received_at", "seq", descending=True, nulls_last=True).head(NEWEST_MAX)


def _quarantine(connection: apsw.Connection) -> pl.DataFrame:
    rows = connection.execute(
        "select seq, received_at, origin, event_type, sender_event, delivery_id, verified_by,"
        " problems, length(body) from quarantine where status = 'open' order by seq desc limit ?",
        (QUARANTINE_ROWS_MAX,),
    )
    return pl.DataFrame(
        [(row[0], _instant(row[1]), *row[2:7], _reason(row[7]), row[7], row[8]) for row in rows],
        schema={
            "seq": pl.Int64,
            "received_at": pl.Datetime("us", "UTC"),
            "origin": pl.String,
            "event_type": pl.String,
            "sender_event": pl.String,
            "delivery_id": pl.String,
            "verified_by": pl.String,
            "reason": pl.String,
            "problems": pl.String,
            "body_bytes": pl.Int64,
        },
        orient="row",
    )


def _reasons(quarantine: pl.DataFrame) -> pl.DataFrame:
    counted: Counter[tuple[str, str]] = Counter()
    for problems in quarantine["problems"]:
        counted.update({(str(one["field"]), str(one["code"])) for one in json.loads(problems)})
    return pl.DataFrame(
        [(field, code, amount) for (field, code), amount in counted.most_common()],
        schema={"field": pl.String, "code": pl.String, "deliveries": pl.Int64},
        orient="row",
    )


def _fields(connection: apsw.Connection) -> pl.DataFrame:
    rows = connection.execute(
        "select kind, event_type, name, count from fields order by count desc, name limit ?",
        (FIELD_ROWS_MAX,),
    )
    return pl.DataFrame(
        list(rows),
        schema={
            "kind": pl.String,
            "event_type": pl.String,
            "name": pl.String,
            "count": pl.Int64,
        },
        orient="row",
    )


def _open_count(connection: apsw.Connection) -> int:
    """Open ones of the newest: the counter has all, this walks no further than the limit."""
    (found,) = next(
        connection.execute(
            "select count(*) from (select 1 from quarantine where status = 'open'"
            " order by seq desc limit ?)",
            (COUNTED_MAX,),
        )
    )
    return int(found)


def _reason(problems: str) -> str:
    return "; ".join(str(one["message"]) for one in json.loads(problems))


def _instant(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
