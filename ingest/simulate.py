"""`hooklake simulate`: made-up accounts, sent as signed deliveries like any sender's.

Either a scenario, one story told of one account or of many, or a world: the linked life cycles of
a whole population. The same seed, accounts, days and end send the same events with the same ids,
so sending them again yields duplicates only. They go out in the order in which they happened,
stamped with when: as fast as they are taken, or as virtual time passes (`speed`).
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ingest import scenario as stories
from ingest.chaos import VERDICTS, Chaos, rates_of
from ingest.deliver import (
    Answer,
    Delivery,
    ReceiverRefusedError,
    Signer,
    Tally,
    credential_of,
    forged_credential,
    receiver_url,
    send_all,
)
from ingest.errors import UsageError
from ingest.lifecycles import in_time_order, lives
from ingest.payloads import SEED_DIALECT, Happening, body_bytes, random_dialect, render
from ingest.population import World
from ingest.settings import Settings
from ingest.wording import number_of

ACCOUNTS_MAX: Final = 1_000_000
STORY_ACCOUNTS_MAX: Final = 10_000
DAYS_MAX: Final = 3_650
_KEPT: Final = ("accepted", "duplicate", "quarantined")
_KNOWN: Final = (*_KEPT, "rejected")

OnSent = Callable[[datetime, int], None]


@dataclass(frozen=True)
class Play:
    """What is sent: happenings by time, and the virtual span they lie in."""

    name: str
    accounts: int
    seed: int
    since: datetime
    until: datetime
    happenings: Iterable[Happening]
    outcome: str | None = None


def run(
    settings: Settings,
    accounts: int | None,
    seed: int,
    *,
    scenario: str | None = None,
    days: int | None = None,
    until: date | None = None,
    speed: float | None = None,
    chaos: Sequence[str] = (),
    mixed_dialects: bool = False,
    url: str | None = None,
    as_json: bool = False,
) -> int:
    """Send a scenario's or a world's events to `url`, see `receiver_url`.

    accounts: default 1 for a scenario, 100 for a world. days: how many a world spans (365), or over
    how many the accounts of a scenario begin (1). until: the first day after all of it, default
    today (UTC). speed: virtual seconds that pass in a real one; None: nothing is waited for. chaos:
    see `chaos`. mixed_dialects: every delivery spelt differently, else all as seed.txt has it.
    Returns 0 if all was kept; with chaos, if every verdict was given as often as it must be.
    Raises: UsageError, SigningError, ReceiverAbsentError, ReceiverRefusedError.
    """
    last_day = until or datetime.now(UTC).date()
    if last_day > datetime.now(UTC).date():
        raise UsageError(f"cannot simulate until {last_day}: what has happened ends today (UTC)")
    if speed is not None and not speed > 0:
        raise UsageError(f"cannot simulate at the speed {speed}: give virtual seconds per second")
    play = (
        _world_play(
            100 if accounts is None else accounts, seed, 365 if days is None else days, last_day
        )
        if scenario is None
        else _story_play(
            scenario,
            1 if accounts is None else accounts,
            seed,
            1 if days is None else days,
            last_day,
        )
    )
    credential = credential_of(settings)
    disturber = None
    if chaos:
        rates = rates_of(chaos, credential)
        disturber = Chaos(rates, credential, forged_credential(settings), seed)
    with _progress(play, is_shown=not as_json) as on_sent:
        tally = send_play(
            play,
            receiver_url(settings, url),
            credential.sign,
            mixed_dialects=mixed_dialects,
            speed=speed,
            chaos=disturber,
            on_sent=on_sent,
        )
    summary = _summary(play, tally, disturber)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        _show(Console(highlight=False, markup=False, soft_wrap=True), play, summary)
    if disturber is not None:
        return 0 if summary["as_expected"] else 1
    return 0 if sum(tally.verdicts[verdict] for verdict in _KEPT) == tally.sent else 1


def run_list(*, as_json: bool = False) -> int:
    """Print the shipped scenarios; always 0."""
    found = list(stories.shipped())
    if as_json:
        listed = [
            {
                "name": each.name,
                "about": each.about,
                "days": each.days,
                "events": [step.event for step in each.steps],
            }
            for each in found
        ]
        sys.stdout.write(json.dumps(listed) + "\n")
        return 0
    width = max(len(each.name) for each in found)
    lines = [
        f"{each.name:<{width}}  {number_of(len(each.steps), 'event'):>9},"
        f" {number_of(each.days, 'day'):>7}  {each.about}"
        for each in found
    ]
    lines.append(f"\nThey are files in {stories.FOLDER}; copy one and give your own by its path.")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def send_world(world: World, url: str, signer: Signer, *, on_sent: OnSent | None = None) -> Tally:
    """Send every event of the world; on_sent hears the virtual time reached and the count so far.

    Raises: ReceiverRefusedError at the first delivery refused for good, ReceiverAbsentError.
    """
    return send_play(_play_of(world), url, signer, on_sent=on_sent)


def send_play(
    play: Play,
    url: str,
    signer: Signer,
    *,
    mixed_dialects: bool = False,
    speed: float | None = None,
    chaos: Chaos | None = None,
    on_sent: OnSent | None = None,
) -> Tally:
    """Send everything that happens in the play, see `run` and `send_world`."""
    reached = play.since
    sent = 0

    def as_told() -> Iterator[Delivery]:
        nonlocal reached
        begin = None
        for happening in play.happenings:
            reached = happening.occurred_at
            begin = begin or reached
            due = (reached - begin).total_seconds() / speed if speed else 0.0
            yield _delivery(happening, due, mixed_dialects=mixed_dialects)

    def heard(delivery: Delivery, answer: Answer) -> None:
        nonlocal sent
        sent += 1
        must_be_rejected = VERDICTS.get(delivery.mark) == "rejected"
        if answer.status in (401, 404, 405, 413) and not must_be_rejected:
            _refuse(url, answer, sent)
        if on_sent:
            on_sent(reached, sent)

    supply = as_told() if chaos is None else chaos.disturbed(as_told())
    return send_all(url, supply, signer, on_answer=heard)


def _world_play(accounts: int, seed: int, days: int, until: date) -> Play:
    if not 1 <= accounts <= ACCOUNTS_MAX:
        raise UsageError(f"cannot simulate {accounts} accounts: give 1 to {ACCOUNTS_MAX:,}")
    _check_days(days)
    return _play_of(World(seed, accounts, datetime.combine(until, time(), UTC), days))


def _check_days(days: int) -> None:
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"cannot simulate {days} days: give 1 to {DAYS_MAX:,}")


def _play_of(world: World) -> Play:
    happenings = in_time_order(lives(world))
    return Play("world", world.accounts, world.seed, world.since, world.until, happenings)


def _story_play(name: str, accounts: int, seed: int, days: int, until: date) -> Play:
    """The accounts' stories side by side, ending on the day before `until` at the latest."""
    if not 1 <= accounts <= STORY_ACCOUNTS_MAX:
        raise UsageError(
            f"cannot simulate {accounts} accounts in a scenario: give 1 to {STORY_ACCOUNTS_MAX:,}"
        )
    _check_days(days)
    scenario = stories.load(name)
    last_begin = until - timedelta(days=scenario.days)
    told = [
        stories.told(scenario, seed, number, last_begin - timedelta(days=number % days))
        for number in range(accounts)
    ]
    happenings = sorted(
        (happening for each in told for happening in each.happenings),
        key=lambda happening: happening.occurred_at,
    )
    midnight = datetime.combine(until, time(), UTC)
    since = midnight - timedelta(days=scenario.days + days - 1)
    return Play(scenario.name, accounts, seed, since, midnight, happenings, _outcome(told[0]))


def _outcome(told: stories.Told) -> str | None:
    """What the warehouse will tell of each account when it is all in."""
    if told.truth is None:
        return None
    running = [period.plan_id for period in told.truth.periods if period.valid_to is None]
    notices = [
        f"{number_of(episode.notices, 'overdue notice')} ({episode.cause}), {episode.status}"
        for episode in told.truth.episodes
    ]
    total = told.truth.workspaces_total
    workspaces = f"{told.truth.workspaces_live} of {number_of(total, 'workspace')} live"
    on_plans = f"on {', '.join(running)}" if running else "on no plan"
    return "; ".join([on_plans, workspaces, *notices])


def _delivery(happening: Happening, due_seconds: float, *, mixed_dialects: bool) -> Delivery:
    dialect = SEED_DIALECT
    if mixed_dialects:  # the same event is always spelt the same
        dialect = random_dialect(random.Random(happening.event_id))  # noqa: S311
    assert happening.event_id is not None
    body = body_bytes(render(happening, dialect))
    return Delivery(body, happening.event_id, due_seconds=due_seconds)


def _refuse(url: str, answer: Answer, sent: int) -> None:
    reason = answer.document().get("reason")
    raise ReceiverRefusedError(
        f"the receiver at {url} answered {answer.status}{f' ({reason})' if reason else ''} to"
        f" delivery {sent}, and would to every other: run this with the receiver's own --data-dir,"
        " secrets and HOOKLAKE_VERIFY, and check the URL"
    )


def _summary(play: Play, tally: Tally, chaos: Chaos | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "scenario": play.name,
        "accounts": play.accounts,
        "seed": play.seed,
        "since": play.since.date().isoformat(),
        "until": play.until.date().isoformat(),
        "sent": tally.sent,
        **{name: tally.verdicts[name] for name in _KNOWN},
        "other": tally.sent - sum(tally.verdicts[name] for name in _KNOWN),
        "retried": tally.retried,
        "seconds": round(tally.seconds, 3),
        "per_second": round(tally.per_second, 1),
        "outcome": play.outcome,
    }
    if chaos is not None:
        expected = {name: chaos.expected[name] for name in _KNOWN}
        found["chaos"] = {kind: chaos.done[kind] for kind in chaos.rates}
        found["expected"] = expected
        found["as_expected"] = not found["other"] and all(
            found[name] == count for name, count in expected.items()
        )
    return found


def _show(console: Console, play: Play, summary: dict[str, Any]) -> None:
    what = "" if play.name == "world" else f"{play.name}: "
    accounts = number_of(play.accounts, "account")
    console.print(f"{what}{accounts}, seed {play.seed}, {summary['since']} to {summary['until']}")
    if play.outcome:
        console.print(f"  in the end{'' if play.accounts == 1 else ' each'}: {play.outcome}")
    expected = summary.get("expected")
    if expected is not None:
        done = ", ".join(f"{kind} {count}" for kind, count in summary["chaos"].items())
        console.print(f"  chaos       {done}")
        console.print(f"  {'':<12}{'answered':>10}{'expected':>10}")
    for name in ("sent", *_KNOWN, "other", "retried"):
        if summary[name] or name in ("sent", *_KEPT):
            wanted = "" if expected is None or name not in expected else f"{expected[name]:>10,}"
            console.print(f"  {name:<12}{summary[name]:>10,}{wanted}")
    console.print(
        f"in {summary['seconds']:.1f} s, {summary['per_second']:,.0f} deliveries per second"
    )
    if expected is not None:
        console.print(_judgement(summary))


def _judgement(summary: dict[str, Any]) -> str:
    if summary["as_expected"]:
        return "Every verdict was given as often as it must be."
    hint = (
        " Were these events sent before? Another --seed makes other accounts."
        if summary["duplicate"] > summary["expected"]["duplicate"]
        else ""
    )
    return f"The verdicts differ from what they must be.{hint}"


@contextmanager
def _progress(play: Play, *, is_shown: bool) -> Iterator[OnSent | None]:
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
    span = (play.until - play.since).total_seconds()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(str(play.since.date()), total=span, sent=0)

        def on_sent(reached: datetime, sent: int) -> None:
            progress.update(
                task,
                completed=(reached - play.since).total_seconds(),
                description=str(reached.date()),
                sent=sent,
            )

        yield on_sent
