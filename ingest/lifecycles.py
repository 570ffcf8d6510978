"""Made-up accounts and their lives in virtual time: the events, and the truth behind them.

Each life is a pure function of its world and the account's number, so lives can be made in any
order, one at a time, in constant memory. No event lies at or after the world's end, and the truth
is what is true at that moment.

The way through a life: registration -> workspaces -> trial -> perhaps a subscription, whose every
period ends in one of a few fates (renewal, a renewal whose webhook is lost, change of plan, cancel
at once or at its end, deletion, lapse with three notices, the partner's wallet running short) ->
perhaps a return.
Source: the sender's business rules: 14 days of trial, three notices on three days, a restore at
the nightly 20:00 Melbourne run.
"""

from __future__ import annotations

import calendar
import hashlib
import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

from ingest.payloads import Happening, Value
from ingest.population import (
    CURRENCY,
    DOMAINS,
    FATES_OF_A_MONTH,
    FATES_OF_A_YEAR,
    FIRST_NAMES,
    LAST_NAMES,
    PLANS,
    SHOPS,
    SOURCES,
    Fate,
    Plan,
    Source,
    World,
    registration_instant,
)
from ingest.truth import AccountTruth, Episode, Funnel, TruthRecorder

TRIAL: Final = timedelta(days=14)
NIGHTLY_RUN: Final = time(10, tzinfo=UTC)
"""20:00 in Melbourne (standard time)."""
_BEFORE_REGISTRATION: Final = timedelta(seconds=20)


@dataclass(frozen=True)
class Life:
    """One account: its happenings in the order of time, and what they add up to."""

    happenings: tuple[Happening, ...]
    truth: AccountTruth


def lives(world: World) -> Iterator[Life]:
    """Every life of the world, by rising time of registration."""
    return (life(world, number) for number in range(world.accounts))


def life(world: World, number: int) -> Life:
    """The life of one account, 0 <= number < accounts."""
    return _Author(world, number).write()


def in_time_order(every_life: Iterable[Life]) -> Iterator[Happening]:
    """All happenings merged by time; lives must come by rising time of registration.

    Holds the future of the accounts registered so far, nothing else.
    """
    waiting: list[tuple[datetime, int, Happening]] = []
    order = 0
    for each in every_life:
        # A workspace may be announced a few seconds before its registration, never earlier.
        reached = each.truth.funnel.registered_at - _BEFORE_REGISTRATION
        while waiting and waiting[0][0] < reached:
            yield heapq.heappop(waiting)[2]
        for happening in each.happenings:
            heapq.heappush(waiting, (happening.occurred_at, order, happening))
            order += 1
    while waiting:
        yield heapq.heappop(waiting)[2]


@dataclass(frozen=True)
class _Habits:
    """What this account's deliveries say and leave out.

    `names_workspace`: whether plan, renewal and overdue events carry a workspace_id; only
    `always` allows a second subscription, since no other reading could tell two apart.
    """

    names_workspace: Literal["always", "sometimes", "never"]
    names_owner: bool
    announces_trial: bool
    renewal_states_end: bool
    states_payment_id: bool
    states_currency: bool


@dataclass(frozen=True)
class _Turn:
    """How a stretch on one plan ended; `plan`: the one it moved to, None when paying stopped.

    anchor: the day its periods are counted from, None for the day of `at`.
    """

    at: datetime
    plan: Plan | None
    is_deleted: bool = False
    anchor: date | None = None


class _WorldEndedError(Exception):
    """The next happening would lie at or after the world's end."""


class _Author:
    """Writes one life. Instants are whole seconds."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self._chance = chance = random.Random(f"{world.key}/{number}")  # noqa: S311  (no secret)
        self._happenings: list[Happening] = []
        self._workspaces: list[str] = []
        self._named_workspaces: set[str] = set()
        self._registered_at = registration_instant(world, number, chance.random())
        self._source = chance.choices(SOURCES, [each.share for each in SOURCES])[0]
        self._first_name = chance.choice(FIRST_NAMES)
        self._email = self._make_email(chance.choice(LAST_NAMES), chance.choice(DOMAINS))
        self._owner_id = self._identifier("usr")
        self._pays = chance.random() < self._source.conversion_rate
        has_more = chance.random() < (0.30 if self._pays else 0.06)
        self._further_count = chance.choice((1, 1, 1, 2)) if has_more else 0
        self._habits = _Habits(
            names_workspace=chance.choices(("always", "sometimes", "never"), (0.6, 0.1, 0.3))[0],
            names_owner=chance.random() < 0.8,
            announces_trial=chance.random() < 0.6,
            renewal_states_end=chance.random() < 0.5,
            states_payment_id=chance.random() < 0.9,
            states_currency=chance.random() < 0.7,
        )
        self._truth = TruthRecorder(_funnel(self._email, self._registered_at, self._source))

    def write(self) -> Life:
        self._tell("user_registered", self._registered_at, source=self._source.name)
        if self._chance.random() < 0.93:
            self._tell_owner()
        in_order = sorted(self._happenings, key=lambda happening: happening.occurred_at)
        return Life(tuple(in_order), self._truth.result(self._subscription_ids()))

    # Chapters: each is told until it ends or the world does.

    def _tell_owner(self) -> None:
        chance = self._chance
        created_at = self._registered_at + timedelta(seconds=chance.randint(-20, 90))
        if chance.random() < 0.08:
            created_at = self._registered_at + self._days(0.2, 6)
        pays_at = self._conversion_instant(created_at) if self._pays else None
        moves = self._habits.names_workspace == "always" and chance.random() < 0.12
        home = self._new_workspace()
        try:
            self._create_workspace(home, created_at)
            begins_at = max(self._registered_at, created_at)
            if pays_at is None:
                self._tell_trial(home, begins_at, None)
            elif moves:  # billing opens a new workspace instead of upgrading the old one
                self._tell_trial(home, begins_at, None)
                office = self._new_workspace()
                self._create_workspace(office, pays_at - timedelta(seconds=chance.randint(5, 60)))
                self._tell_subscription(office, pays_at)
            else:
                self._tell_trial(home, begins_at, pays_at)
                self._tell_subscription(home, pays_at)
        except _WorldEndedError:
            pass
        for _ in range(self._further_count):
            self._tell_further_workspace(created_at)

    def _tell_trial(self, workspace: str, begins_at: datetime, pays_at: datetime | None) -> None:
        """The trial runs out silently or loudly, or is cut short by paying or by deletion."""
        ends_at = begins_at + TRIAL
        leaves = not self._pays and self._may_delete() and self._chance.random() < 0.05
        leaves_at = begins_at + self._days(0.5, 60) if leaves else None
        cut_at = pays_at or leaves_at
        if self._habits.announces_trial:
            self._change_plan(
                workspace,
                "trial",
                begins_at + timedelta(seconds=self._chance.randint(1, 9)),
                start_date=begins_at.date(),
                end_date=ends_at.date(),
                auto_renew=False,
            )
            if cut_at is None or cut_at > ends_at + timedelta(minutes=5):
                self._fall_to_free(
                    workspace, ends_at + timedelta(seconds=self._chance.randint(9, 240))
                )
        if leaves_at:
            self._delete_workspace(workspace, leaves_at)

    def _tell_subscription(self, workspace: str, begins_at: datetime) -> None:
        """Paid stretches with pauses between them, until the account stays away."""
        plan = self._chance.choices(list(PLANS.values()), [p.share for p in PLANS.values()])[0]
        for _ in range(4):
            turn = _Turn(begins_at, plan)
            while turn.plan:
                turn = self._tell_plan(workspace, turn.plan, turn.at, turn.anchor)
            if turn.is_deleted:
                return
            if self._chance.random() < 0.78:
                if self._may_delete() and self._chance.random() < 0.15:
                    self._delete_workspace(workspace, turn.at + self._days(3, 60))
                return
            begins_at = turn.at + self._days(6, 110)
            if self._chance.random() < 0.4:
                plan = PLANS[self._chance.choice(list(PLANS))]

    def _tell_plan(
        self, workspace: str, plan: Plan, begins_at: datetime, anchor: date | None
    ) -> _Turn:
        """Periods on one plan, one after another, until something else follows.

        A renewal whose webhook is lost leaves everybody but the customer in the dark: nobody
        knows when the period it paid for ends, so none expects the next one.
        """
        anchor = anchor or begins_at.date()
        end = _months_after(anchor, plan.months)
        self._change_plan(
            workspace, plan.plan_id, begins_at, start_date=anchor, end_date=end, auto_renew=True
        )
        self._truth.period_ends(workspace, end)
        period_start, elapsed, is_end_known = begins_at, plan.months, True
        while True:
            elapsed += plan.months
            following = _months_after(anchor, elapsed)
            fate = self._draw_fate(plan)
            inside = self._instant_inside(period_start, end)
            match fate:
                case "cancel":
                    return self._fall_to_free(workspace, inside)
                case "delete":
                    self._delete_workspace(workspace, inside)
                    return _Turn(inside, None, is_deleted=True)
                case "up":
                    return _Turn(inside, PLANS[self._chance.choice(plan.up)])
                case "down":
                    return _Turn(inside, PLANS[self._chance.choice(plan.down)])
            if is_end_known:
                self._truth.renewal_expected(workspace, plan.plan_id, end)
            turn: _Turn | None = None
            match fate:
                case "expire":
                    turn = self._fall_to_free(workspace, self._instant_on(end))
                    self._truth.renewal_explained(workspace, end, "ended")
                case "lapse":
                    turn = self._tell_lapse(workspace, plan, end, following)
                case "short":
                    turn = self._tell_short_wallet(workspace, plan, end, following)
                case "renew":
                    self._renew(workspace, plan, end, following, self._instant_on(end))
            if turn:
                return turn
            is_end_known = fate != "lost"
            period_start, end = _midnight(end), following

    def _tell_lapse(self, workspace: str, plan: Plan, end: date, following: date) -> _Turn | None:
        """Auto-renew is off: three notices on three days, then free, unless somebody pays."""
        payment = self._payment_id()
        pays_after = self._chance.choices((1, 2, 3, None), (0.08, 0.07, 0.10, 0.75))[0]
        for day in range(3):
            at = self._instant_on(end + timedelta(days=day))
            self._notice(workspace, plan, at, end, payment, auto_renew=False)
            if pays_after == day + 1:
                self._renew(workspace, plan, end, following, at + self._days(0.05, 0.9))
                return None
        seconds = self._chance.randint(0, 600)
        turn = self._fall_to_free(workspace, _nightly_run(end, 3) + timedelta(seconds=seconds))
        self._truth.renewal_explained(workspace, end, "ended")
        return turn

    def _tell_short_wallet(
        self, workspace: str, plan: Plan, end: date, following: date
    ) -> _Turn | None:
        """The partner's wallet is empty: topped up in time, restored at night, late, or never."""
        payment = self._payment_id()
        outcome = self._chance.choices(("in_time", "night", "late", "never"), (50, 32, 8, 10))[0]
        notices = self._chance.randint(1, 2) if outcome == "in_time" else 3
        for day in range(notices):
            at = self._instant_on(end + timedelta(days=day))
            self._notice(workspace, plan, at, end, payment, auto_renew=True)
        if outcome == "in_time":
            topped_up_at = self._instant_on(end + timedelta(days=notices))
            self._renew(workspace, plan, end, following, topped_up_at)
            return None
        turn = self._fall_to_free(workspace, _nightly_run(end, 3) + self._days(0.05, 0.55))
        self._truth.renewal_explained(workspace, end, "ended")
        if outcome == "never":
            return turn
        restored_at = _nightly_run(end, 4 if outcome == "night" else 6) + self._days(0, 0.003)
        if outcome == "late":
            return _Turn(restored_at, plan, anchor=end)
        self._change_plan(
            workspace,
            plan.plan_id,
            restored_at,
            start_date=end,
            end_date=following,
            auto_renew=True,
        )
        self._truth.restored(workspace, restored_at)
        self._truth.period_ends(workspace, following)
        self._truth.renewal_explained(workspace, end, "renewed")
        return None

    def _tell_further_workspace(self, created_at: datetime) -> None:
        at = created_at + self._days(1, 200)
        workspace = self._new_workspace()
        try:
            self._create_workspace(workspace, at)
            if self._pays and self._may_delete() and self._chance.random() < 0.2:
                self._tell_subscription(workspace, at + self._days(0.1, 40))
            elif self._may_delete() and self._chance.random() < 0.1:
                self._delete_workspace(workspace, at + self._days(0.5, 90))
        except _WorldEndedError:
            return

    # Sentences: each sends one event and writes down what is true from then on.

    def _create_workspace(self, workspace: str, at: datetime) -> None:
        name = f"{self._first_name}'s {self._chance.choice(SHOPS)}"
        self._tell("workspace_created", at, workspace_id=workspace, workspace_name=name)
        self._truth.workspace_created(workspace, at)

    def _delete_workspace(self, workspace: str, at: datetime) -> None:
        if self._chance.random() < 0.9:
            self._tell("workspace_deleted", at, workspace_id=workspace)
        else:
            self._tell(
                "workspace_deleted", at, workspace_id=workspace, owner_email=None, owner_id=None
            )
        self._truth.workspace_deleted(workspace, at)

    def _change_plan(self, workspace: str, plan_id: str, at: datetime, **said: Value) -> None:
        named = self._named(workspace, at)
        self._tell("plan_changed", at, workspace_id=named, plan_id=plan_id, **said)
        self._truth.plan(workspace, plan_id, at, is_paid=plan_id in PLANS)

    def _fall_to_free(self, workspace: str, at: datetime) -> _Turn:
        self._change_plan(workspace, "free", at, auto_renew=False)
        self._truth.episode_closed(workspace, "lost", at)
        return _Turn(at, None)

    def _renew(self, workspace: str, plan: Plan, end: date, following: date, at: datetime) -> None:
        self._tell(
            "plan_renewed",
            at,
            workspace_id=self._named(workspace, at),
            plan_id=plan.plan_id,
            renewal_date=end,
            end_date=following if self._habits.renewal_states_end else None,
        )
        self._truth.renewed(at)
        self._truth.period_ends(workspace, following)
        self._truth.renewal_explained(workspace, end, "renewed")
        self._truth.episode_closed(workspace, "recovered", at)

    def _notice(
        self,
        workspace: str,
        plan: Plan,
        at: datetime,
        due_date: date,
        payment_id: str | None,
        *,
        auto_renew: bool,
    ) -> None:
        self._tell(
            "overdue_payment",
            at,
            workspace_id=self._named(workspace, at),
            payment_id=payment_id,
            amount=plan.price,
            currency=CURRENCY if self._habits.states_currency else None,
            due_date=due_date,
            auto_renew=auto_renew,
        )
        cause = "wallet_short" if auto_renew else "non_renewal"
        self._truth.notice(
            workspace,
            Episode(self._email, workspace, payment_id, cause, at, at, 1, plan.price, due_date),
        )
        self._truth.renewal_explained(workspace, due_date, "overdue")

    def _tell(self, event_type: str, at: datetime, **said: Value) -> None:
        if at >= self._world.until:
            raise _WorldEndedError
        who: dict[str, Value] = {"owner_email": self._email}
        if self._habits.names_owner:
            who["owner_id"] = self._owner_id
        event_id = "evt_" + self._digest(f"event/{len(self._happenings)}")[:24]
        self._happenings.append(Happening(event_type, at, who | said, event_id))

    # Names and dice.

    def _subscription_ids(self) -> dict[str, str]:
        """What each workspace's subscription is known as to a reader of the events."""
        if self._habits.names_workspace == "always":
            return {workspace: workspace for workspace in self._workspaces}
        only = next(iter(self._named_workspaces), self._email)
        return dict.fromkeys(self._workspaces, only)

    def _named(self, workspace: str, at: datetime) -> str | None:
        """The workspace, where this account's plan events say it."""
        habit = self._habits.names_workspace
        if habit == "never" or (habit == "sometimes" and self._chance.random() < 0.5):
            return None
        if at < self._world.until:
            self._named_workspaces.add(workspace)
        return workspace

    def _may_delete(self) -> bool:
        """With several workspaces and none named, what a deletion ends would be a guess."""
        return self._habits.names_workspace == "always" or self._further_count == 0

    def _draw_fate(self, plan: Plan) -> Fate:
        fates = FATES_OF_A_MONTH if plan.months == 1 else FATES_OF_A_YEAR
        fate = self._chance.choices(list(fates), list(fates.values()))[0]
        is_impossible = (
            (fate == "up" and not plan.up)
            or (fate == "down" and not plan.down)
            or (fate == "delete" and not self._may_delete())
        )
        return "renew" if is_impossible else fate

    def _new_workspace(self) -> str:
        self._workspaces.append(self._identifier("ws"))
        return self._workspaces[-1]

    def _payment_id(self) -> str | None:
        return self._identifier("pay") if self._habits.states_payment_id else None

    def _identifier(self, kind: str) -> str:
        return f"{kind}_{self._chance.getrandbits(48):012x}"

    def _make_email(self, last_name: str, domain: str) -> str:
        name = f"{self._first_name}.{last_name}".lower()
        return f"{name}.{self._digest('email')[:8]}@{domain}"

    def _digest(self, what: str) -> str:
        return hashlib.sha256(f"{self._world.key}/{self._number}/{what}".encode()).hexdigest()

    def _days(self, least: float, most: float) -> timedelta:
        return timedelta(seconds=int(self._chance.uniform(least, most) * 86_400))

    def _conversion_instant(self, created_at: datetime) -> datetime:
        spans = ((0.02, 3.0), (3.0, 13.5), (13.5, 16.0), (16.0, 75.0))
        least, most = self._chance.choices(spans, (0.25, 0.35, 0.25, 0.15))[0]
        return max(created_at, self._registered_at) + self._days(least, most)

    def _instant_on(self, day: date) -> datetime:
        return _midnight(day) + timedelta(seconds=self._chance.randint(60, 8 * 3600))

    def _instant_inside(self, period_start: datetime, end: date) -> datetime:
        """An instant of the period: a week after its start (late top-ups), days before its end."""
        first = period_start + timedelta(days=7)
        span = _midnight(end) - timedelta(days=5) - first
        return first + timedelta(seconds=int(self._chance.random() * span.total_seconds()))


def _funnel(email: str, registered_at: datetime, source: Source) -> Funnel:
    return Funnel(email, registered_at, source.name or "unknown")


def _nightly_run(day: date, days_later: int) -> datetime:
    return datetime.combine(day + timedelta(days=days_later), NIGHTLY_RUN)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _months_after(day: date, months: int) -> date:
    """The same day of a later month, its last where that month is shorter."""
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
