"""What a backfill tells: its report, for a person or as JSON, and its progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ingest.wording import number_of

BAD_ROWS_SHOWN_MAX: Final = 20
FIELDS_SHOWN_MAX: Final = 100
FIELDS_PRINTED_MAX: Final = 10
OnBytes = Callable[[int], None]
OnStage = Callable[[str], None]


@dataclass
class Report:
    """What a backfill did. `quarantined`: bad rows kept now; those kept before are duplicates.

    erased: rows about people who were forgotten, of which nothing is kept. fields: how many rows
    had an unknown or unreadable one, by (kind, event type, name).
    """

    read: int = 0
    new: int = 0
    duplicate: int = 0
    quarantined: int = 0
    renamed: int = 0
    erased: int = 0
    first_occurred_at: datetime | None = None
    last_occurred_at: datetime | None = None
    new_by_type: dict[str, int] = field(default_factory=dict)
    bad_rows: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    fields: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    batch_id: str | None = None
    is_dry_run: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; instants as RFC 3339."""
        return {
            **self.__dict__,
            "fields": [
                {"kind": kind, "event_type": event_type, "name": name, "rows": rows}
                for (kind, event_type, name), rows in self.fields.most_common(FIELDS_SHOWN_MAX)
            ],
            "first_occurred_at": _rfc3339(self.first_occurred_at),
            "last_occurred_at": _rfc3339(self.last_occurred_at),
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.read / self.seconds, 1) if self.seconds else None,
        }


def show(console: Console, report: Report) -> None:
    if report.is_dry_run:
        console.print("dry run: nothing was changed")
    else:
        console.print(f"batch {report.batch_id}")
    for name, amount in (
        ("read", report.read),
        ("new", report.new),
        ("duplicate", report.duplicate),
        ("quarantined", report.quarantined),
    ):
        console.print(f"  {name:<12}{amount:>12,}")
    for name, amount in report.new_by_type.items():
        console.print(f"    {name:<20}{amount:>12,} new")
    if report.first_occurred_at:
        first, last = _rfc3339(report.first_occurred_at), _rfc3339(report.last_occurred_at)
        console.print(f"  from {first} to {last}")
    if report.erased:
        console.print(f"  {report.erased:,} are about people who were forgotten; not kept")
    for (kind, event_type, name), rows in report.fields.most_common(FIELDS_PRINTED_MAX):
        console.print(f"  {kind} field {name} of {event_type}: {number_of(rows, 'row')}")
    if report.renamed:
        console.print(
            f"  {report.renamed:,} came under an id already taken and got one of their own"
        )
    for row in report.bad_rows:
        reasons = "; ".join(
            f"{problem['field']} ({problem['code']}): {problem['message']}"
            for problem in row["problems"]
        )
        console.print(f"  {row['file']}:{row['line']}: {reasons}")
    if report.quarantined > len(report.bad_rows):
        console.print(f"  … and {report.quarantined - len(report.bad_rows):,} more")
    rate = report.read / report.seconds if report.seconds else 0
    console.print(f"in {report.seconds:.1f} s, {rate:,.0f} rows per second")


@contextmanager
def progress(*, is_shown: bool) -> Iterator[tuple[OnBytes, OnStage]]:
    """A bar on standard error where that is a terminal: text read, then parsed; rate, time left."""
    console = Console(stderr=True)
    if not is_shown or not console.is_terminal:
        yield (lambda _count: None), (lambda _stage: None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        counted = 0

        def on_bytes(amount: int) -> None:
            nonlocal counted
            counted += amount
            bar.advance(task, amount)

        def on_stage(stage: str) -> None:
            total = counted if stage == "parsing" else None
            bar.reset(task, total=total, description=stage)

        yield on_bytes, on_stage


def _rfc3339(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
