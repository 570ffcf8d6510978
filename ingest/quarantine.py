"""`hooklake quarantine`: authentic deliveries that were no events yet, listed, shown and replayed.

A replay reads the kept bytes again, or a mended body in their place, with today's contract. What
has become readable moves to the events (or is found to be a duplicate) and keeps the moment it was
received; the quarantined bytes stay as they were, for audit.

Source: events.md, "Event types and fields"; design.md, "HTTP".
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import apsw
from rich.console import Console
from rich.table import Table

from ingest.errors import LedgerError, UsageError
from ingest.ledger import (
    Delivery,
    Outcome,
    count,
    count_fields,
    describe,
    note_fields,
    open_ledger,
    open_read_only,
    store_event,
    take_sequence,
    transaction,
)
from ingest.parse import Arrival, Malformed, Origin, Problem, parse_body
from ingest.settings import Settings
from ingest.standard_streams import standard_input
from ingest.tombstones import tombstones

Status = Literal["open", "replayed", "all"]
_COLUMNS: Final = (
    "seq",
    "received_at",
    "origin",
    "event_type",
    "sender_event",
    "delivery_id",
    "signed_at",
    "verified_by",
    "batch_id",
    "file",
    "line",
    "problems",
    "body",
    "status",
    "replayed_seq",
    "replayed_at",
)
_SELECT: Final = f"select {', '.join(_COLUMNS)} from quarantine"


@dataclass(frozen=True)
class Quarantined:
    """One kept delivery. Instants: microseconds UTC. replayed_seq: what it became."""

    seq: int
    received_at: int
    origin: Origin
    event_type: str | None
    sender_event: str | None
    delivery_id: str | None
    signed_at: int | None
    verified_by: str
    batch_id: str | None
    file: str | None
    line: int | None
    problems: tuple[Problem, ...]
    body: bytes
    status: str
    replayed_seq: int | None
    replayed_at: int | None

    def as_dict(self) -> dict[str, Any]:
        """Everything but the body, ready for JSON."""
        return {
            "seq": self.seq,
            "received_at": _instant(self.received_at),
            "origin": self.origin,
            "event_type": self.event_type,
            "sender_event": self.sender_event,
            "delivery_id": self.delivery_id,
            "verified_by": self.verified_by,
            "batch_id": self.batch_id,
            "file": self.file,
            "line": self.line,
            "errors": [problem.as_dict() for problem in self.problems],
            "body_bytes": len(self.body),
            "status": self.status,
            "replayed_seq": self.replayed_seq,
            "replayed_at": None if self.replayed_at is None else _instant(self.replayed_at),
        }


def quarantined(
    connection: apsw.Connection, *, status: Status = "open", limit: int | None = None
) -> list[Quarantined]:
    """Kept deliveries, newest first."""
    where = "" if status == "all" else " where status = ?"
    bindings: list[Any] = [] if status == "all" else [status]
    rows = connection.execute(
        f"{_SELECT}{where} order by seq desc limit ?", (*bindings, -1 if limit is None else limit)
    )
    return [_quarantined(row) for row in rows]


def one_quarantined(connection: apsw.Connection, seq: int) -> Quarantined:
    """The delivery kept under `seq`. Raises: UsageError where there is none."""
    row = connection.execute(f"{_SELECT} where seq = ?", (seq,)).fetchone()
    if row is None:
        raise UsageError(
            f"nothing is quarantined under {seq}; `hooklake quarantine list` shows what is"
        )
    return _quarantined(row)


def replay(
    connection: apsw.Connection, seq: int, *, node: str, mended_body: bytes | None = None
) -> Outcome:
    """Read a kept delivery again and move it where it now belongs; its outcome.

    Still malformed: nothing moves, the outcome is `quarantined` with today's problems.
    Raises: UsageError where it was replayed before, or is not there.
    """
    kept = one_quarantined(connection, seq)
    if kept.status != "open":
        raise UsageError(f"{seq} was replayed already, as {kept.replayed_seq}")
    body = kept.body if mended_body is None else mended_body
    content = parse_body(body, _arrival(connection, kept))
    if isinstance(content, Malformed):
        return Outcome("quarantined", seq, problems=content.problems)
    delivery = Delivery(
        content=content,
        body=body,
        received_at=kept.received_at,
        origin="replay",
        delivery_id=kept.delivery_id,
        signed_at=kept.signed_at,
        verified_by=kept.verified_by,
        batch_id=kept.batch_id,
    )
    with transaction(connection):
        if one_quarantined(connection, seq).status != "open":
            raise UsageError(f"{seq} was replayed just now by somebody else")
        seq_taken = take_sequence(connection, 1)
        forgotten = tombstones(connection)
        if forgotten is not None and forgotten.cover(content, body):
            connection.execute("delete from quarantine where seq = ?", (seq,))
            count(connection, {"quarantined": -1, "erased": 1})
            return Outcome("erased", seq_taken, event_type=content.event_type)
        outcome = store_event(connection.cursor(), delivery, seq_taken, node)
        counter = "events" if outcome.verdict == "accepted" else "duplicates"
        count(connection, {"quarantined": -1, counter: 1, "ids_reused": int(outcome.id_reused)})
        fields: dict[tuple[str, str, str], int] = {}
        note_fields(fields, content)
        count_fields(connection, fields)
        connection.execute(
            "update quarantine set status = 'replayed', replayed_seq = ?, replayed_at = ?"
            " where seq = ?",
            (outcome.seq, time.time_ns() // 1_000, seq),
        )
    return outcome


def _arrival(connection: apsw.Connection, kept: Quarantined) -> Arrival:
    """What was known of a kept delivery beside its bytes when it came.

    A backfilled line states no receipt of its own where it was kept under its batch's start.
    """
    if kept.origin != "backfill":
        return Arrival(kept.received_at, "replay", kept.delivery_id, kept.signed_at)
    started_at, source = next(
        connection.execute(
            "select started_at, source from batches where batch_id = ?", (kept.batch_id,)
        )
    )
    return Arrival(
        stored_at=started_at,
        origin="backfill",
        signed_id=kept.delivery_id,
        signed_at=kept.signed_at,
        own_received_at=None if kept.received_at == started_at else kept.received_at,
        file_sha256=next(
            file["sha256"] for file in json.loads(source) if file["path"] == kept.file
        ),
        line=kept.line,
    )


def run_list(settings: Settings, *, status: Status, limit: int, as_json: bool) -> int:
    """Print what is quarantined; 0. Raises: UsageError."""
    settings.paths.must_exist()
    rows = []
    if settings.paths.ledger.exists():
        with open_read_only(settings.paths.ledger) as connection:
            rows = quarantined(connection, status=status, limit=limit)
    if as_json:
        _print_json([row.as_dict() for row in rows])
        return 0
    console = Console()
    if not rows:
        console.print("nothing is quarantined")
        return 0
    table = Table(box=None, header_style="bold")
    for heading in ("seq", "received", "event", "status", "errors"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        errors = ", ".join(f"{problem.field} {problem.code}" for problem in row.problems)
        event = row.sender_event or "?"
        table.add_row(
            str(row.seq), _instant(row.received_at), _plain(event[:40]), row.status, errors
        )
    console.print(table)
    console.print(
        "\nhooklake quarantine show SEQ tells why; replay SEQ reads it again", style="dim"
    )
    return 0


def run_show(settings: Settings, seq: int, *, as_json: bool, is_raw: bool) -> int:
    """Print one quarantined delivery with its reasons and body; 0."""
    with open_read_only(settings.paths.ledger) as connection:
        row = one_quarantined(connection, seq)
    if is_raw:
        sys.stdout.buffer.write(row.body)
        sys.stdout.flush()
        return 0
    shown = row.body.decode("utf-8", "backslashreplace")
    if as_json:
        _print_json({**row.as_dict(), "body": shown})
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for name, value in row.as_dict().items():
        if value is not None and name != "errors":
            console.print(_plain(f"{name:<14}{value}"))
    console.print("errors")
    for problem in row.problems:
        console.print(_plain(f"  {problem.field}: {problem.message} ({problem.code})"))
    console.print("body")
    console.print(_plain(_without_controls(shown)))
    return 0


def run_replay(
    settings: Settings,
    seqs: Sequence[int],
    *,
    is_all: bool,
    body_file: Path | None,
    as_json: bool,
) -> int:
    """Replay some or all open deliveries; 0 if none of them is left in quarantine, else 1.

    body_file: a mended body for the one delivery named, `-` for standard input.
    """
    if is_all and seqs:
        raise UsageError("--all replays all that are open: leave it out, or leave out the numbers")
    if not (is_all or seqs):
        raise UsageError("name the numbers to replay, or give --all")
    if body_file is not None and len(seqs) != 1:
        raise UsageError("--body mends one delivery; name exactly one number")
    mended = None if body_file is None else _read_body(body_file)
    connection = open_ledger(settings.paths.ledger)
    try:
        wanted = [row.seq for row in reversed(quarantined(connection))] if is_all else list(seqs)
        outcomes = [
            (seq, replay(connection, seq, node=settings.node, mended_body=mended)) for seq in wanted
        ]
    except apsw.Error as error:
        raise LedgerError(f"replaying from quarantine: {describe(error)}") from error
    finally:
        connection.close()
    left = sum(outcome.verdict == "quarantined" for _, outcome in outcomes)
    if as_json:
        _print_json([_outcome_dict(seq, outcome) for seq, outcome in outcomes])
        return 1 if left else 0
    console = Console(soft_wrap=True, highlight=False)
    for seq, outcome in outcomes:
        if outcome.verdict == "quarantined":
            reasons = "; ".join(problem.message for problem in outcome.problems)
            console.print(_plain(f"{seq}  still quarantined: {reasons}"))
        elif outcome.verdict == "erased":
            console.print(_plain(f"{seq}  erased: it is about a person who was forgotten"))
        else:
            console.print(_plain(f"{seq}  {outcome.verdict} as {outcome.event_id}"))
    console.print(f"{len(outcomes) - left} replayed, {left} still quarantined")
    return 1 if left else 0


def _outcome_dict(seq: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "seq": seq,
        "status": outcome.verdict,
        "event_id": outcome.event_id,
        "event_type": outcome.event_type,
        "stored_seq": None if outcome.verdict == "quarantined" else outcome.seq,
        "errors": [problem.as_dict() for problem in outcome.problems],
    }


def _quarantined(row: tuple[Any, ...]) -> Quarantined:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["problems"] = tuple(Problem(**problem) for problem in json.loads(values["problems"]))
    return Quarantined(**values)


def _read_body(path: Path) -> bytes:
    if str(path) == "-":
        return standard_input()
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the mended body from {path}: {error.strerror}") from None


def _instant(microseconds: int) -> str:
    whole, rest = divmod(microseconds, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:06d}Z"


def _without_controls(text: str) -> str:
    """Nothing a sender wrote may steer the reader's terminal."""
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1]
        for character in text
    )


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(_without_controls(text))


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
