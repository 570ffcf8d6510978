"""The book against what is kept: the lake's files, the published tables, and `doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb

from ingest.ledger import open_read_only
from ingest.settings import Settings
from tests.e2e.installation import wait_until
from warehouse.doctor import examine

from .hooklake import Besieged
from .load import Book
from .outcome import Outcome

NOT_LANDED_SECONDS_MAX = 30.0
LAST_REFRESH_SECONDS_MAX = 900.0  # of a long run without compaction: tens of thousands of files


def settle(
    hooklake: Besieged,
    book: Book,
    outcome: Outcome,
    *,
    kept: Callable[[Path], list[tuple[str, str]]] | None = None,
) -> None:
    """Land and refresh with the command, then account for the lake and the published tables.

    kept: (event_id, payload) of the lake in a data directory; every Parquet file there is where
    none is given, which holds as long as nothing has been compacted.
    """
    hooklake.command("refresh", seconds=LAST_REFRESH_SECONDS_MAX)
    account(outcome, book, (kept or lake_rows)(hooklake.data_dir))
    found = hooklake.query("select event_id, payload from events")
    account(outcome, book, [(row["event_id"], row["payload"]) for row in found], "published: ")
    accounts = {row["account_id"] for row in hooklake.query("select account_id from dim_accounts")}
    stated = {row["account_id"] for row in hooklake.query("select distinct account_id from events")}
    outcome.require(accounts == stated, f"published: {len(accounts)} of {len(stated)} accounts")
    diagnose(hooklake.settings, outcome)


def account(
    outcome: Outcome, book: Book, rows: Iterable[tuple[str, str]], where: str = "lake: "
) -> None:
    """Count what is lost, twice there or never sent, and name some of each."""
    times: Counter[str] = Counter()
    phantoms = set()
    for event_id, payload in rows:
        times[event_id] += 1
        if not book.is_right(event_id, payload):
            phantoms.add(event_id)
    lost = book.acknowledged.keys() - times.keys()
    repeated = {event_id for event_id, number in times.items() if number > 1}
    outcome.acknowledged = len(book.acknowledged)
    outcome.lost = max(outcome.lost, len(lost))
    outcome.duplicated = max(outcome.duplicated, sum(times[each] - 1 for each in repeated))
    outcome.phantom = max(outcome.phantom, len(phantoms))
    for name, found in (("lost", lost), ("duplicated", repeated), ("phantom", phantoms)):
        if found and not outcome.must_lose:
            shown = ", ".join(sorted(found)[:5])
            outcome.problems.append(f"cycle {outcome.cycles}: {where}{name} {len(found)}: {shown}")


def lake_rows(data_dir: Path) -> list[tuple[str, str]]:
    """(event_id, payload) as the most naive reader sees them: every Parquet file there is."""
    files = [str(path) for path in data_dir.glob("lake/events/**/*.parquet")]
    if not files:
        return []
    with duckdb.connect() as connection:
        return connection.execute(
            "select event_id, payload from read_parquet(?)", [files]
        ).fetchall()


def ledger_rows(data_dir: Path) -> list[tuple[str, str]]:
    """(event_id, payload) of the ledger's events, landed or not; none where there is no ledger."""
    ledger = data_dir / "ledger.sqlite"
    if not ledger.exists():
        return []
    with open_read_only(ledger) as connection:
        return list(connection.execute("select event_id, payload from inbox"))


def diagnose(settings: Settings, outcome: Outcome, *, ignore: tuple[str, ...] = ()) -> None:
    """Every failure that `hooklake doctor` finds is a problem."""
    for finding in examine(settings):
        if finding.level == "failure" and finding.check not in ignore:
            outcome.problems.append(f"doctor: {finding.check}: {finding.message}")


def wait_for_acknowledgements(book: Book, number: int, *, seconds: float, what: str) -> None:
    wait_until(lambda: len(book.acknowledged) >= number, seconds=seconds, what=what, every=0.002)
