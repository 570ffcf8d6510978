"""`hooklake simulate`: a year of made-up accounts, sent as signed deliveries like any sender's.

The same world (seed, accounts, days, end) sends the same events with the same ids, so sending it
again yields duplicates only. They go out in the order in which they happened, stamped with when.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ingest.deliver import (
    Answer,
    Delivery,
    ReceiverRefusedError,
    Signer,
    Tally,
    send_all,
    signer_of,
)
from ingest.errors import UsageError
from ingest.lifecycles import in_time_order, lives
from ingest.payloads import SEED_DIALECT, Happening, body_bytes, random_dialect, render
from ingest.population import World
from ingest.settings import Settings

ACCOUNTS_MAX: Final = 1_000_000
DAYS_MAX: Final = 3_650


def run(
    settings: Settings,
    accounts: int,
    seed: int,
    *,
    days: int = 365,
    until: date | None = None,
    mixed_dialects: bool = False,
    url: str | None = None,
    as_json: bool = False,
) -> int:
    """Send the world's events to `url` (default: this installation's receiver); 0 if all are kept.

    until: the first day after the simulated span, default today (UTC). mixed_dialects: every
    delivery spelt differently, else all as seed.txt has it.
    Raises: UsageError, SigningError, ReceiverAbsentError, ReceiverRefusedError.
    """
    world = _world(accounts, seed, days, until or datetime.now(UTC).date())
    with _progress(world, is_shown=not as_json) as on_sent:
        tally = send_world(
            world,
            url or settings.webhook_url,
            signer_of(settings),
            mixed_dialects=mixed_dialects,
            on_sent=on_sent,
        )
    if as_json:
        sys.stdout.write(json.dumps(_summary(world, tally)) + "\n")
    else:
        _show(Console(highlight=False, markup=False, soft_wrap=True), world, tally)
    kept = sum(tally.verdicts[verdict] for verdict in ("accepted", "duplicate", "quarantined"))
    return 0 if kept == tally.sent else 1


def send_world(
    world: World,
    url: str,
    signer: Signer,
    *,
    mixed_dialects: bool = False,
    on_sent: Callable[[datetime, int], None] | None = None,
) -> Tally:
    """Send every event of the world; on_sent hears the virtual time reached and the count so far.

    Raises: ReceiverRefusedError at the first delivery refused for good, ReceiverAbsentError.
    """
    reached = world.since
    sent = 0

    def supply() -> Iterator[Delivery]:
        nonlocal reached
        for happening in in_time_order(lives(world)):
            reached = happening.occurred_at
            yield _delivery(happening, mixed_dialects=mixed_dialects)

    def heard(_delivery: Delivery, answer: Answer) -> None:
        nonlocal sent
        sent += 1
        if answer.status in (401, 404, 405, 413):
            _refuse(url, answer, sent)
        if on_sent:
            on_sent(reached, sent)

    return send_all(url, supply(), signer, on_answer=heard)


def _world(accounts: int, seed: int, days: int, until: date) -> World:
    if not 1 <= accounts <= ACCOUNTS_MAX:
        raise UsageError(f"cannot simulate {accounts} accounts: give 1 to {ACCOUNTS_MAX:,}")
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"cannot simulate {days} days: give 1 to {DAYS_MAX:,}")
    if until > datetime.now(UTC).date():
        raise UsageError(f"cannot simulate until {until}: what has happened ends today (UTC)")
    return World(seed, accounts, datetime.combine(until, time(), UTC), days)


def _delivery(happening: Happening, *, mixed_dialects: bool) -> Delivery:
    dialect = SEED_DIALECT
    if mixed_dialects:  # the same event is always spelt the same
        dialect = random_dialect(random.Random(happening.event_id))  # noqa: S311
    assert happening.event_id is not None
    return Delivery(body_bytes(render(happening, dialect)), happening.event_id)


def _refuse(url: str, answer: Answer, sent: int) -> None:
    reason = answer.document().get("reason")
    raise ReceiverRefusedError(
        f"the receiver at {url} answered {answer.status}{f' ({reason})' if reason else ''} to"
        f" delivery {sent}, and would to every other: run this with the receiver's own --data-dir,"
        " secrets and HOOKLAKE_VERIFY, and check the URL"
    )


def _summary(world: World, tally: Tally) -> dict[str, Any]:
    return {
        "accounts": world.accounts,
        "seed": world.seed,
        "since": world.since.date().isoformat(),
        "until": world.until.date().isoformat(),
        "sent": tally.sent,
        "accepted": tally.verdicts["accepted"],
        "duplicate": tally.verdicts["duplicate"],
        "quarantined": tally.verdicts["quarantined"],
        "other": tally.sent
        - sum(tally.verdicts[name] for name in ("accepted", "duplicate", "quarantined")),
        "retried": tally.retried,
        "seconds": round(tally.seconds, 3),
        "per_second": round(tally.per_second, 1),
    }


def _show(console: Console, world: World, tally: Tally) -> None:
    summary = _summary(world, tally)
    console.print(
        f"{world.accounts:,} accounts, seed {world.seed}, {summary['since']} to {summary['until']}"
    )
    for name in ("sent", "accepted", "duplicate", "quarantined", "other", "retried"):
        if summary[name] or name in ("sent", "accepted", "duplicate", "quarantined"):
            console.print(f"  {name:<12}{summary[name]:>10,}")
    console.print(f"in {tally.seconds:.1f} s, {tally.per_second:,.0f} deliveries per second")


@contextmanager
def _progress(world: World, *, is_shown: bool) -> Iterator[Callable[[datetime, int], None] | None]:
    """A bar that runs through virtual time, where standard error is a terminal."""
    console = Console(stderr=True)
    if not is_shown or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[sent]:,} sent"),
        TimeElapsedColumn(),
    )
    span = (world.until - world.since).total_seconds()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(str(world.since.date()), total=span, sent=0)

        def on_sent(reached: datetime, sent: int) -> None:
            if sent % 50 == 0:
                progress.update(
                    task,
                    completed=(reached - world.since).total_seconds(),
                    description=str(reached.date()),
                    sent=sent,
                )

        yield on_sent
