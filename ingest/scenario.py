"""Scenarios: one account's story as a small TOML file, shipped or a user's own.

    about = "What happens, in one sentence."
    [[steps]]
    at = "3d 10h"            # since the story's first midnight (UTC): days, hours, minutes, seconds
    event = "plan_changed"   # every other key is a field of the event, under the contract's name
    workspace_id = "$home"   # a name after $ becomes an id, another one for each account
    end_date = 33            # in a date field, a number is a day of the story
    without = ["owner_id"]   # owner_email and owner_id are given with every event unless left out
    means = "restored"       # of a plan that comes back within a day: neither churn nor new

Telling a story gives its happenings, and the truth behind them in the words of `truth`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ingest.contract import CONTRACT
from ingest.errors import UsageError
from ingest.payloads import Happening, Value
from ingest.truth import AccountTruth, Episode, Funnel, TruthRecorder

FOLDER: Final = Path(__file__).with_name("scenarios")
FILE_BYTES_MAX: Final = 1 << 20
STEPS_MAX: Final = 1_000
DAYS_MAX: Final = 3_650
RESTORED: Final = "restored"
_AT: Final = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,2})h)?(?:(\d{1,2})m)?(?:(\d{1,2})s)?")
_UNUSUAL: Final = re.compile(r"[^a-z0-9]+")
_KEYS: Final = frozenset(("at", "event", "without", "means"))
_DATES: Final = frozenset(
    field.column for kind in CONTRACT for field in kind.fields if field.kind == "date"
)
_AMOUNTS: Final = frozenset(
    field.column for kind in CONTRACT for field in kind.fields if field.kind == "amount"
)
_NOT_PAID: Final = frozenset(("free", "trial"))
_ABOUT_A_PLAN: Final = frozenset(("plan_changed", "plan_renewed", "overdue_payment"))


@dataclass(frozen=True)
class Step:
    """One event of the story. fields: as written; `$name` and days are meant for each account."""

    at: timedelta
    event: str
    fields: Mapping[str, Any]
    without: frozenset[str]
    is_restored: bool


@dataclass(frozen=True)
class Scenario:
    """A story; its steps are in the order of time."""

    name: str
    about: str
    steps: tuple[Step, ...]

    @property
    def days(self) -> int:
        """How many whole days it takes."""
        return self.steps[-1].at.days + 1


@dataclass(frozen=True)
class Told:
    """The story of one account. truth: None where the steps leave it open, see `_truth`."""

    happenings: tuple[Happening, ...]
    truth: AccountTruth | None


def shipped() -> Iterator[Scenario]:
    """Those that come with hooklake, by name."""
    return (load(str(path)) for path in sorted(FOLDER.glob("*.toml")))


def load(name: str) -> Scenario:
    """A shipped scenario by its name, or one of the user's by its path.

    Raises: UsageError saying what in which step is wrong.
    """
    is_path = "/" in name or name.endswith(".toml")
    path = Path(name) if is_path else FOLDER / f"{name}.toml"
    if not is_path and not path.is_file():
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.toml")))
        raise UsageError(
            f"there is no scenario {name!r}: choose one of {known}, or give the path of your own"
            " file, such as ./mine.toml"
        )
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise UsageError(f"the scenario {path} is larger than {FILE_BYTES_MAX:,} bytes")
        document = tomllib.loads(content.decode(), parse_float=Decimal)
    except OSError as error:
        raise UsageError(f"cannot read the scenario {path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the scenario {path} is no TOML: {error}") from None
    return _scenario(path, document)


def told(scenario: Scenario, seed: int, number: int, first_day: date) -> Told:
    """The story as it happened to one account; equal arguments give equal events and ids."""
    key = f"{scenario.name}/{seed}/{number}/{first_day}"
    local_part = _UNUSUAL.sub("-", scenario.name.lower())[:40]
    email = f"{local_part}.{_digest(key, 'email')[:10]}@example.com"
    owner: dict[str, Value] = {
        "owner_email": email,
        "owner_id": f"owner-{_digest(key, 'owner')[:12]}",
    }
    begin = datetime.combine(first_day, time(), UTC)
    happenings = []
    for position, step in enumerate(scenario.steps):
        said = {name: value for name, value in owner.items() if name not in step.without} | {
            name: _value(name, value, key, first_day) for name, value in step.fields.items()
        }
        event_id = f"evt_{_digest(key, f'event/{position}')[:24]}"
        happenings.append(Happening(step.event, begin + step.at, said, event_id))
    return Told(tuple(happenings), _truth(scenario, email, happenings))


def _scenario(path: Path, document: Mapping[str, Any]) -> Scenario:
    steps = document.get("steps")
    about = document.get("about", "")
    if set(document) - {"about", "steps"} or not isinstance(about, str):
        raise UsageError(f"the scenario {path} has `about`, a text, and [[steps]], nothing else")
    if not isinstance(steps, list) or not 1 <= len(steps) <= STEPS_MAX:
        raise UsageError(f"the scenario {path} has no [[steps]], or more than {STEPS_MAX:,}")
    read: list[Step] = []
    for number, step in enumerate(steps, start=1):
        try:
            read.append(_step(step))
            if len(read) > 1 and read[-1].at < read[-2].at:
                raise ValueError("it lies before the step above it")
        except ValueError as error:
            raise UsageError(f"step {number} of the scenario {path}: {error}") from None
    return Scenario(path.stem, about, tuple(read))


def _step(step: Any) -> Step:
    """Raises: ValueError."""
    if not isinstance(step, dict):
        raise ValueError("write it as [[steps]] with its keys below")  # noqa: TRY004
    at, event = step.get("at"), step.get("event")
    if not isinstance(event, str) or not event:
        raise ValueError('give it an event, such as event = "plan_changed"')
    without, means = step.get("without", []), step.get("means")
    if not isinstance(without, list) or not set(without) <= {"owner_email", "owner_id"}:
        raise ValueError('without = ["owner_email", "owner_id"], or one of them')
    if means is not None and (means != RESTORED or event != "plan_changed"):
        raise ValueError(f'means = "{RESTORED}" is all it can mean, and of a plan_changed')
    fields = {name: value for name, value in step.items() if name not in _KEYS}
    for name, value in fields.items():
        _value(name, value, "", date(2000, 1, 1))
    return Step(_after(at), event, fields, frozenset(without), means == RESTORED)


def _after(at: Any) -> timedelta:
    found = _AT.fullmatch(at.replace(" ", "")) if isinstance(at, str) and at.strip() else None
    if found is None:
        raise ValueError(f'at = {at!r} is no time: write at = "3d 10h 30m"')
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if days > DAYS_MAX:
        raise ValueError(f"a story takes {DAYS_MAX:,} days at most")
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _value(name: str, value: Any, key: str, first_day: date) -> Value:
    """Raises: ValueError for what no event holds."""
    if isinstance(value, bool):
        return value
    if name in _DATES and isinstance(value, int):
        if not 0 <= value <= 2 * DAYS_MAX:
            raise ValueError(f"{name} = {value} is no day of the story")
        return first_day + timedelta(days=value)
    if isinstance(value, str) and value.startswith("$"):
        return f"{value[1:]}-{_digest(key, value)[:12]}"
    if name in _AMOUNTS and isinstance(value, int):
        return Decimal(value)
    if isinstance(value, datetime) or not isinstance(value, str | int | Decimal | date):
        message = f"{name} is text, a number, true, false or a date, not {value!r}"
        raise ValueError(message)  # noqa: TRY004  (the file's mistake, not a caller's)
    found: Value = value
    return found


def _truth(scenario: Scenario, email: str, happenings: list[Happening]) -> AccountTruth | None:
    """What the story adds up to; None where only the models' own rules could tell.

    That is without a registration, with events about a plan of which some name a workspace and
    some do not, and with a notice that lacks its amount or due date.
    """
    registered = [each for each in happenings if each.event_type == "user_registered"]
    about_plans = [each for each in happenings if each.event_type in _ABOUT_A_PLAN]
    names = {str(each.fields.get("workspace_id") or email) for each in about_plans}
    is_mixed = email in names and len(names) > 1
    if len(registered) != 1 or is_mixed or any(map(_lacks, about_plans)):
        return None
    source = str(registered[0].fields.get("source") or "unknown")
    truth = TruthRecorder(Funnel(email, registered[0].occurred_at, source))
    for step, happening in zip(scenario.steps, happenings, strict=True):
        _write_down(truth, email, step, happening)
    return truth.result({name: name for name in names})


def _lacks(happening: Happening) -> bool:
    wanted = {"overdue_payment": ("amount", "due_date"), "plan_changed": ("plan_id",)}
    return any(name not in happening.fields for name in wanted.get(happening.event_type, ()))


def _write_down(truth: TruthRecorder, email: str, step: Step, happening: Happening) -> None:
    """What is true from this happening on."""
    said, at = happening.fields, happening.occurred_at
    subscription = str(said.get("workspace_id") or email)
    match happening.event_type:
        case "workspace_created":
            truth.workspace_created(subscription, at)
        case "workspace_deleted":
            truth.workspace_deleted(subscription, at)
        case "plan_changed":
            plan = str(said["plan_id"])
            truth.plan(subscription, plan, at, is_paid=plan not in _NOT_PAID)
            if step.is_restored:
                truth.restored(subscription, at)
            elif plan in _NOT_PAID:
                truth.episode_closed(subscription, "lost", at)
        case "plan_renewed":
            truth.renewed(at)
            truth.episode_closed(subscription, "recovered", at)
        case "overdue_payment":
            due, amount = said["due_date"], said["amount"]
            assert isinstance(due, date)
            assert isinstance(amount, Decimal)
            cause = "wallet_short" if said.get("auto_renew") else "non_renewal"
            payment = said.get("payment_id")
            truth.notice(
                subscription,
                Episode(
                    email,
                    subscription,
                    None if payment is None else str(payment),
                    cause,
                    at,
                    at,
                    1,
                    amount,
                    due,
                ),
            )


def _digest(key: str, what: str) -> str:
    return hashlib.sha256(f"{key}/{what}".encode()).hexdigest()
