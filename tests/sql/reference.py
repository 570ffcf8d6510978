"""The metrics of one account by walking through its events in order, one at a time.

A second reading of the same definitions, written as a program with memory where the models are
windows over sets: it shares no code and no technique with the SQL. Slow and plain on purpose.
What several accounts share (prices) comes as an argument; as_of only where a value depends on it.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

Event = dict[str, Any]
GRACE = timedelta(hours=24)
CENT = Decimal("0.01")
NOTHING = Decimal("0.00")


@dataclass(frozen=True)
class Price:
    """One line of the plan catalogue."""

    plan_id: str
    tier: int
    currency: str
    interval: str
    price: Decimal
    valid_from: date | None = None
    valid_to: date | None = None
    cost: Decimal = NOTHING

    @property
    def months(self) -> int:
        """Months in one interval."""
        return 12 if self.interval == "year" else 1

    @property
    def monthly(self) -> Decimal:
        """Price of a month, rounded half away from zero to the cent."""
        return (self.price / self.months).quantize(CENT, ROUND_HALF_UP)

    @property
    def monthly_cost(self) -> Decimal:
        """Cost of a month, rounded alike."""
        return (self.cost / self.months).quantize(CENT, ROUND_HALF_UP)


@dataclass
class Catalogue:
    """All lines, in any order."""

    lines: list[Price]

    def at(self, plan_id: str | None, instant: datetime) -> Price | None:
        """The line in force; the first one reaches back for ever."""
        lines = sorted(
            (line for line in self.lines if line.plan_id == plan_id),
            key=lambda line: line.valid_from or date.min,
        )
        found = None
        for index, line in enumerate(lines):
            if index == 0 or line.valid_from is None or _midnight(line.valid_from) <= instant:
                found = line
        if found and found.valid_to and instant >= _midnight(found.valid_to):
            return None
        return found

    def is_paid(self, plan_id: str | None, instant: datetime) -> bool:
        """Whether somebody pays for that plan."""
        if plan_id is None:
            return False
        line = self.at(plan_id, instant)
        return line.monthly > 0 if line else plan_id not in ("free", "trial")

    @property
    def only_currency(self) -> str | None:
        """The currency, if there is just one."""
        currencies = {line.currency for line in self.lines}
        return currencies.pop() if len(currencies) == 1 else None


@dataclass
class State:
    """What a subscription is on from `event` onwards."""

    plan_id: str | None
    event: Event
    is_paid: bool
    price: Price | None
    end: datetime | None = None
    currency: str | None = None
    known_end: date | None = None
    first_start: date | None = None
    stated_day: int = 0
    auto_renew: bool | None = None
    said: list[tuple[datetime, date | None, bool | None]] = field(default_factory=list)
    """Known end and auto_renew after each plan event of the state."""

    @property
    def start(self) -> datetime:
        """When it began."""
        return self.event["occurred_at"]

    @property
    def mrr(self) -> Decimal:
        """Monthly revenue, nothing for what is unpriced or unpaid."""
        return self.price.monthly if self.is_paid and self.price else NOTHING

    @property
    def cost(self) -> Decimal:
        """Monthly cost, nothing for what is unpriced or unpaid."""
        return self.price.monthly_cost if self.is_paid and self.price else NOTHING

    @property
    def months(self) -> int:
        """Months of one interval."""
        return self.price.months if self.price else 1

    def runs_at(self, instant: datetime) -> bool:
        """Whether it is the state at that instant."""
        return self.start <= instant and (self.end is None or instant < self.end)


@dataclass
class Subscription:
    """`raw`: plan right now, gaps included. `states`: with healed gaps taken out again."""

    raw: str | None = None
    last_paid_plan: str | None = None
    states: list[State] = field(default_factory=list)

    @property
    def state(self) -> State | None:
        """The latest state."""
        return self.states[-1] if self.states else None

    @property
    def is_paid(self) -> bool:
        """Whether the latest state is paid."""
        return bool(self.states) and self.states[-1].is_paid


@dataclass
class Closing:
    """An event that may close an episode; reach: any, workspace or last."""

    event: Event
    outcome: str
    reach: str
    workspace_id: str | None


@dataclass
class Episode:
    """An overdue episode and its notices in order."""

    subscription_id: str
    payment_id: str | None
    notices: list[Event]
    workspace_id: str | None
    named: str | None
    closing: Closing | None = None

    @property
    def opened_at(self) -> datetime:
        """When it opened."""
        return self.notices[0]["occurred_at"]


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events in the one total order."""
    return sorted(events, key=_rank)


def _rank(event: Event) -> tuple[Any, ...]:
    return (event["occurred_at"], event["received_at"], event["node"], event["seq"])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def add_months(day: date, months: int, day_of_month: int) -> date:
    """That day of a later month, or the month's last."""
    number = day.year * 12 + day.month - 1 + months
    year, month = divmod(number, 12)
    return date(year, month + 1, min(day_of_month, calendar.monthrange(year, month + 1)[1]))


class Account:
    """Everything the metrics say of one account; `events` are its own, none of type other."""

    def __init__(self, events: Iterable[Event], catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.events = in_order(events)
        self.account_id: str = self.events[0]["account_id"]
        self._attribute()
        self._fold()
        self._workspaces()
        self.subscriptions: dict[str, Subscription] = {}
        self.raw_turns: list[tuple[Event, str | None, str | None, date | None]] = []
        self._walk(is_account_level=False)
        self._walk(is_account_level=True)
        for subscription in self.subscriptions.values():
            self._finish(subscription)
        self._closings()
        self._episodes()
        self.movements: list[tuple[datetime, str, str, Decimal]] = []
        """Instant, currency, kind and amount of every movement of MRR."""
        self.changes()

    # -- identity and folding

    def _of(self, *types: str) -> list[Event]:
        return [event for event in self.events if event["event_type"] in types]

    def _attribute(self) -> None:
        billing = self._of("plan_changed", "plan_renewed", "overdue_payment")
        named = {event["workspace_id"] for event in billing} - {None}
        for event in billing:
            if event["workspace_id"] is not None:
                event["sub"], event["attribution"] = event["workspace_id"], "workspace"
            elif len(named) == 1:
                event["sub"], event["attribution"] = next(iter(named)), "inferred"
            else:
                event["sub"], event["attribution"] = self.account_id, "account"

    def _fold(self) -> None:
        def first(events: list[Event], key: Any) -> list[Event]:
            kept: dict[Any, Event] = {}
            for event in events:
                kept.setdefault(key(event), event)
            return list(kept.values())

        self.registered = next(iter(self._of("user_registered")), None)
        self.created = first(self._of("workspace_created"), lambda e: e["workspace_id"])
        self.deleted = first(self._of("workspace_deleted"), lambda e: e["workspace_id"])
        self.changed = self._of("plan_changed")
        self.renewed = first(
            self._of("plan_renewed"),
            lambda e: (e["sub"], e["renewal_date"] or e["occurred_at"].date()),
        )
        self.notices = first(
            self._of("overdue_payment"),
            lambda e: (e["payment_id"] or e["sub"], e["occurred_at"].date()),
        )

    def _workspaces(self) -> None:
        """Marks the deletions that leave no live workspace."""
        known: set[str] = set()
        gone: set[str] = set()
        deletions = {id(event) for event in self.deleted}
        self.last_deletions: set[int] = set()
        for event in self.events:
            if event["workspace_id"] is not None:
                known.add(event["workspace_id"])
            if id(event) in deletions:
                gone.add(event["workspace_id"])
                if known == gone:
                    self.last_deletions.add(id(event))
        self.workspaces_total = len(known)
        self.workspaces_live = len(known - gone)

    # -- plan states

    def _walk(self, *, is_account_level: bool) -> None:
        mine = [
            event
            for event in [*self.changed, *self.renewed]
            if (event["attribution"] == "account") == is_account_level
        ]
        names = {event["sub"] for event in mine}
        for event in in_order([*mine, *self.deleted]):
            if event["event_type"] == "workspace_deleted":
                if is_account_level:
                    if names and id(event) in self.last_deletions:
                        self._turn(self.account_id, event, None, "account")
                elif event["workspace_id"] in names:
                    self._turn(event["workspace_id"], event, None, "workspace")
                continue
            subscription = self.subscriptions.setdefault(event["sub"], Subscription())
            plan = event["plan_id"]
            if event["event_type"] == "plan_renewed":
                plan = plan or subscription.last_paid_plan
                if plan is None:
                    continue
                if (
                    is_account_level
                    and not subscription.is_paid
                    and self.catalogue.is_paid(plan, event["occurred_at"])
                    and self._is_a_workspace_paid(event)
                ):
                    continue
            self._turn(event["sub"], event, plan, event["attribution"])

    def _is_a_workspace_paid(self, event: Event) -> bool:
        for name, subscription in self.subscriptions.items():
            if name == self.account_id:
                continue
            last = None
            for state in subscription.states:
                if _rank(state.event) < _rank(event):
                    last = state
            if last and last.is_paid:
                return True
        return False

    def _turn(self, name: str, event: Event, plan: str | None, attribution: str) -> None:
        """Take in one event that says what the plan is."""
        subscription = self.subscriptions.setdefault(name, Subscription())
        now = event["occurred_at"]
        is_paid = self.catalogue.is_paid(plan, now)
        before = subscription.raw
        known_end = subscription.state.known_end if subscription.state else None
        self.raw_turns.append((event, before, plan, known_end if before == plan else None))
        if plan != before:
            self._change(
                subscription,
                State(
                    plan,
                    {**event, "attribution": attribution},
                    is_paid,
                    self.catalogue.at(plan, now),
                ),
            )
        subscription.raw = plan
        if is_paid:
            subscription.last_paid_plan = plan
        state = subscription.state
        if state and state.is_paid and state.plan_id == plan:
            self._move_end(state, event)
            state.said.append((now, state.known_end, state.auto_renew))

    @staticmethod
    def _change(subscription: Subscription, new: State) -> None:
        states = subscription.states
        if new.is_paid:
            gap = 0
            while gap < len(states) and not states[-1 - gap].is_paid:
                gap += 1
            if (
                0 < gap < len(states)
                and states[-1 - gap].plan_id == new.plan_id
                and new.start - states[-gap].start < GRACE
            ):
                del states[-gap:]
                return
        states.append(new)

    @staticmethod
    def _move_end(state: State, event: Event) -> None:
        if state.first_start is None:
            state.first_start = event["start_date"]
        if event["auto_renew"] is not None:
            state.auto_renew = event["auto_renew"]
        renewal_date = event["renewal_date"]
        first_day = state.first_start.day if state.first_start else None
        if event["end_date"] is not None:
            state.known_end = event["end_date"]
        elif event["event_type"] != "plan_renewed":
            return
        elif renewal_date is not None:
            state.known_end = add_months(renewal_date, state.months, first_day or renewal_date.day)
        elif state.known_end is not None:
            state.known_end = add_months(
                state.known_end, state.months, first_day or state.stated_day
            )
            return
        if state.known_end is not None:
            state.stated_day = state.known_end.day

    def _finish(self, subscription: Subscription) -> None:
        states = subscription.states
        for state, after in pairwise(states):
            state.end = after.start
        for index, state in enumerate(states):
            if not state.is_paid:
                continue
            priced_before = [s for s in states[: index + 1] if s.is_paid and s.price]
            priced_after = [s for s in states[index:] if s.is_paid and s.price]
            if state.price:
                state.currency = state.price.currency
            elif priced_before:
                state.currency = priced_before[-1].price.currency  # type: ignore[union-attr]
            elif priced_after:
                state.currency = priced_after[0].price.currency  # type: ignore[union-attr]
            else:
                state.currency = "unknown"

    def periods(self) -> list[dict[str, Any]]:
        """int_plan_periods."""
        return [
            {
                "account_id": self.account_id,
                "subscription_id": name,
                "plan_id": state.plan_id,
                "valid_from": state.start,
                "valid_to": state.end,
                "is_paid": state.is_paid,
                "mrr": state.mrr,
                "currency": state.currency,
                "auto_renew": state.auto_renew,
                "period_end": state.known_end,
            }
            for name, subscription in self.subscriptions.items()
            for state in subscription.states
            if state.plan_id is not None and state.end != state.start
        ]

    # -- overdue episodes

    def _closings(self) -> None:
        found = [Closing(e, "recovered", "any", e["workspace_id"]) for e in self.renewed]
        for event, before, plan, known_end in self.raw_turns:
            if event["event_type"] != "plan_changed":
                continue
            if not self.catalogue.is_paid(plan, event["occurred_at"]):
                continue
            end = event["end_date"]
            if plan != before or (end and known_end and end > known_end):
                found.append(Closing(event, "recovered", "any", event["workspace_id"]))
        for subscription in self.subscriptions.values():
            for before_state, state in pairwise(subscription.states):
                if before_state.is_paid and not state.is_paid:
                    event = state.event
                    found.append(Closing(event, "lost", "any", event["workspace_id"]))
        for event in self.deleted:
            reach = "last" if id(event) in self.last_deletions else "workspace"
            found.append(Closing(event, "lost", reach, event["workspace_id"]))
        self.closings = sorted(found, key=lambda c: (_rank(c.event), c.outcome != "recovered"))

    def _episodes(self) -> None:
        self.episodes: list[Episode] = []
        payment_workspace: dict[str, str] = {}
        for notice in self.notices:
            if notice["payment_id"] and notice["workspace_id"]:
                payment_workspace.setdefault(notice["payment_id"], notice["workspace_id"])
        for notice in self.notices:
            episode = self._episode_for(notice)
            if episode is None:
                named = notice["workspace_id"]
                if notice["payment_id"]:
                    named = payment_workspace.get(notice["payment_id"])
                own = notice["sub"] if notice["attribution"] != "account" else None
                episode = Episode(notice["sub"], notice["payment_id"], [], named or own, named)
                self.episodes.append(episode)
            episode.notices.append(notice)
            episode.closing = self._closing_of(episode)

    def _episode_for(self, notice: Event) -> Episode | None:
        if notice["payment_id"]:
            for episode in self.episodes:
                if episode.payment_id == notice["payment_id"]:
                    return episode
            return None
        candidates = [
            episode
            for episode in self.episodes
            if episode.subscription_id == notice["sub"]
            and (episode.closing is None or _rank(episode.closing.event) > _rank(notice))
        ]
        latest = max(candidates, key=lambda e: _rank(e.notices[-1]), default=None)
        if latest is None:
            return None
        age = notice["occurred_at"] - latest.notices[-1]["occurred_at"]
        return latest if age <= timedelta(days=7) else None

    def _closing_of(self, episode: Episode) -> Closing | None:
        for closing in self.closings:
            if closing.event["occurred_at"] <= episode.opened_at:
                continue
            if closing.reach == "any":
                both = episode.named is not None and closing.workspace_id is not None
                if not both or episode.named == closing.workspace_id:
                    return closing
            elif closing.workspace_id == episode.workspace_id or (
                closing.reach == "last" and episode.named is None
            ):
                return closing
        return None

    def overdue(self, as_of: date) -> list[dict[str, Any]]:
        """fct_overdue_episodes."""
        rows = []
        for episode in self.episodes:
            stated = {
                name: [n[name] for n in episode.notices if n[name] is not None]
                for name in ("amount", "currency", "auto_renew", "due_date")
            }
            due = min(stated["due_date"], default=None)
            status = episode.closing.outcome if episode.closing else "open"
            days = (as_of - (due or episode.opened_at.date())).days if status == "open" else None
            rows.append(
                {
                    "account_id": self.account_id,
                    "subscription_id": episode.subscription_id,
                    "payment_id": episode.payment_id,
                    "cause": self._cause(episode),
                    "opened_at": episode.opened_at,
                    "last_notice_at": episode.notices[-1]["occurred_at"],
                    "notices": len(episode.notices),
                    "notices_before_close": sum(
                        episode.closing is None or _rank(notice) < _rank(episode.closing.event)
                        for notice in episode.notices
                    ),
                    "amount": stated["amount"][-1] if stated["amount"] else None,
                    "currency": (
                        stated["currency"][-1]
                        if stated["currency"]
                        else self._currency_at(episode.subscription_id, episode.opened_at)
                    ),
                    "due_date": due,
                    "status": status,
                    "closed_at": episode.closing.event["occurred_at"] if episode.closing else None,
                    "days_overdue": days,
                    "ageing_bucket": None if days is None else _bucket(days),
                }
            )
        return rows

    @staticmethod
    def _cause(episode: Episode) -> str:
        stated = [n["auto_renew"] for n in episode.notices if n["auto_renew"] is not None]
        if not stated:
            return "unknown"
        return "wallet_short" if stated[-1] else "non_renewal"

    def _currency_at(self, name: str, instant: datetime) -> str:
        if name in self.subscriptions:
            for state in self.subscriptions[name].states:
                is_over = state.end is not None and state.end <= instant
                if state.start <= instant and not is_over and state.is_paid:
                    return state.currency or "unknown"
        return self.catalogue.only_currency or "unknown"

    # -- renewals

    def renewals(self) -> list[dict[str, Any]]:
        """Every expected renewal, with what explains it or None."""
        rows = []
        for name, subscription in self.subscriptions.items():
            for state in subscription.states:
                for end in sorted(
                    {end for _, end, _ in state.said if end} if state.is_paid else []
                ):
                    opens = _midnight(end - timedelta(days=3))
                    before = [said for said in state.said if said[0] < opens]
                    if not before or before[-1][1] != end or before[-1][2] is False:
                        continue
                    if state.end is not None and state.end < opens:
                        continue
                    is_own = state.event["attribution"] != "account"
                    rows.append(
                        {
                            "account_id": self.account_id,
                            "subscription_id": name,
                            "attribution": state.event["attribution"],
                            "plan_id": state.plan_id,
                            "end_date": end,
                            "mrr": state.mrr,
                            "currency": state.currency,
                            "outcome": self._explain(name if is_own else None, opens),
                        }
                    )
        return rows

    def _explain(self, workspace: str | None, opens: datetime) -> str | None:
        shuts = opens + timedelta(days=8)
        outcomes = set()
        for closing in self.closings:
            if not opens <= closing.event["occurred_at"] < shuts:
                continue
            if workspace and closing.workspace_id:
                is_about = closing.workspace_id == workspace
            else:
                is_about = closing.reach == "any" or (closing.reach == "last" and not workspace)
            if is_about:
                outcomes.add(closing.outcome)
        if "recovered" in outcomes:
            return "renewed"
        if "lost" in outcomes:
            return "ended"
        is_noticed = any(
            opens <= notice["occurred_at"] < shuts
            and (not workspace or notice["workspace_id"] in (None, workspace))
            for notice in self.notices
        )
        return "overdue" if is_noticed else None

    # -- changes

    def changes(self) -> list[dict[str, Any]]:
        """fct_plan_changes without its ids, in the order in which they happened."""
        steps = []
        for name, subscription in self.subscriptions.items():
            before = None
            ever_paid = False
            for state in subscription.states:
                steps.append((name, before, state, ever_paid))
                ever_paid = ever_paid or state.is_paid
                before = state
        steps.sort(key=lambda s: (_rank(s[2].event), s[2].event["attribution"] == "account", s[0]))
        holdings: dict[str, dict[str, Decimal]] = {}
        ever: set[str] = set()
        rows = []
        self.movements = []
        for name, before, state, ever_paid in steps:
            was_paid = before is not None and before.is_paid
            currency = state.currency or (before.currency if was_paid and before else None)
            totals = NOTHING, NOTHING
            movement = "none"
            left = before.currency if was_paid and before else None
            if left and state.is_paid and left != state.currency:
                had = sum(holdings[left].values(), NOTHING)
                holdings[left].pop(name)
                has = sum(holdings[left].values(), NOTHING)
                departure = _movement(True, bool(holdings[left]), True, (had, has))
                self.movements.append((state.start, left, departure, has - had))
            if currency:
                held = holdings.setdefault(currency, {})
                was = sum(held.values(), NOTHING)
                was_paying = bool(held)
                held.pop(name, None)
                if state.is_paid:
                    held[name] = state.mrr
                totals = was, sum(held.values(), NOTHING)
                movement = _movement(was_paying, bool(held), currency in ever, totals)
                if held:
                    ever.add(currency)
                self.movements.append((state.start, currency, movement, totals[1] - totals[0]))
            same = was_paid and before is not None and before.currency == currency
            mrr_before = before.mrr if same and before else NOTHING
            rows.append(
                {
                    "account_id": self.account_id,
                    "subscription_id": name,
                    "attribution": state.event["attribution"],
                    "changed_at": state.start,
                    "from_plan_id": before.plan_id if before else None,
                    "to_plan_id": state.plan_id,
                    "change_type": _change_type(before, state, ever_paid),
                    "mrr_before": mrr_before,
                    "mrr_after": state.mrr,
                    "mrr_delta": state.mrr - mrr_before,
                    "account_mrr_before": totals[0],
                    "account_mrr_after": totals[1],
                    "mrr_movement": movement,
                    "currency": currency,
                    "cause": self._why(name, before, state) if was_paid and before else None,
                }
            )
        return rows

    def _why(self, name: str, before: State, state: State) -> str | None:
        if state.is_paid:
            return None
        if state.event["event_type"] == "workspace_deleted":
            return "workspace_deleted"
        guilty = [
            episode
            for episode in self.episodes
            if episode.subscription_id == name
            and not (episode.closing and episode.closing.outcome == "recovered")
            and timedelta(0) <= state.start - episode.opened_at <= timedelta(days=30)
        ]
        if guilty:
            cause = self._cause(max(guilty, key=lambda e: _rank(e.notices[0])))
            return "overdue" if cause == "unknown" else cause
        end = before.known_end
        if end and state.start.date() >= end - timedelta(days=1):
            return "expiry"
        return "early"

    # -- funnel and account

    def funnel(self) -> dict[str, Any] | None:
        """The row of fct_registration_funnel, None without a registration."""
        if self.registered is None:
            return None
        at: datetime = self.registered["occurred_at"]
        workspace = min(
            (
                max(e["occurred_at"], at)
                for e in self.created
                if e["occurred_at"] >= at - timedelta(minutes=5)
            ),
            default=None,
        )
        paid: tuple[datetime, Any, str | None] | None = None
        for subscription in self.subscriptions.values():
            for state in subscription.states:
                if not state.is_paid or state.end == state.start:
                    continue
                on_the_day = (
                    state.event["event_time_source"] == "date"
                    and state.event["event_type"] != "workspace_deleted"
                    and state.start.date() == at.date()
                )
                if state.end is None or state.end > at or on_the_day:
                    candidate = (max(state.start, at), _rank(state.event), state.plan_id)
                    paid = candidate if paid is None else min(paid, candidate)
        renewal = next((e for e in self.renewed if e["occurred_at"] >= at), None)
        paid_at, plan = (paid[0], paid[2]) if paid else (None, None)
        if renewal and (paid_at is None or renewal["occurred_at"] < paid_at):
            paid_at = renewal["occurred_at"]
            resolved = renewal["plan_id"] or next(
                (p for e, _, p, _ in self.raw_turns if e is renewal), None
            )
            plan = resolved or plan
        steps = [step for step in (workspace, paid_at) if step is not None]
        return {
            "account_id": self.account_id,
            "registered_at": at,
            "source": self.registered["source"] or "unknown",
            "workspace_at": min(steps, default=None),
            "paid_at": paid_at,
            "first_paid_plan_id": plan,
            "renewed_at": renewal["occurred_at"] if renewal else None,
            "seconds_to_paid": (paid_at - at) // timedelta(seconds=1) if paid_at else None,
        }

    def account(self, as_of: datetime) -> dict[str, Any]:
        """The row of dim_accounts."""
        paid = [
            state
            for subscription in self.subscriptions.values()
            for state in subscription.states
            if state.is_paid and state.end != state.start
        ]
        running = [state for state in paid if state.end is None]
        top = max(running, key=lambda s: (s.mrr, _rank(s.event)), default=None)
        is_registered = self.registered is not None
        at = self.registered["occurred_at"] if self.registered else None
        open_overdue = sum(episode.closing is None for episode in self.episodes)
        if top and open_overdue:
            lifecycle = "past_due"
        elif top:
            lifecycle = "paying"
        elif paid:
            lifecycle = "churned"
        elif is_registered and at > as_of - timedelta(days=14):
            lifecycle = "trialing"
        else:
            lifecycle = "activated" if self.workspaces_total else "registered"
        return {
            "account_id": self.account_id,
            "registered_at": at,
            "source": (self.registered and self.registered["source"]) or "unknown",
            "first_paid_at": min((state.start for state in paid), default=None),
            "current_plan_id": top.plan_id if top else None,
            "auto_renew": top.auto_renew if top else None,
            "period_end": top.known_end if top else None,
            "is_paying": top is not None,
            "mrr": sum((s.mrr for s in running if top and s.currency == top.currency), NOTHING),
            "currency": top.currency if top else None,
            "workspaces_live": self.workspaces_live,
            "workspaces_total": self.workspaces_total,
            "open_overdue": open_overdue,
            "lifecycle": lifecycle,
            "last_event_at": self.events[-1]["occurred_at"],
        }


def _bucket(days: int) -> str:
    for limit, name in ((-1, "not_due"), (7, "0-7"), (30, "8-30"), (60, "31-60"), (90, "61-90")):
        if days <= limit:
            return name
    return "90+"


def _movement(was: bool, is_now: bool, ever: bool, totals: tuple[Decimal, Decimal]) -> str:
    if not was and is_now:
        return "reactivation" if ever else "new"
    if was and not is_now:
        return "churn"
    if totals[1] == totals[0]:
        return "none"
    return "expansion" if totals[1] > totals[0] else "contraction"


def _change_type(before: State | None, state: State, ever_paid: bool) -> str:
    was_paid = before is not None and before.is_paid
    if not was_paid and state.is_paid:
        return "reactivation" if ever_paid else "new"
    if was_paid and not state.is_paid:
        return "cancel"
    if before is not None and was_paid:
        if state.price is None or before.price is None:
            return "switch"
        old, new = before.price.tier, state.price.tier
        if old == new:
            if before.currency != state.currency:
                return "switch"
            old, new = before.mrr, state.mrr  # type: ignore[assignment]
        if old == new:
            return "switch"
        return "upgrade" if new > old else "downgrade"
    step = (before.plan_id if before else None, state.plan_id)
    return {("trial", "free"): "trial_over", ("free", None): "closed"}.get(step, "start_free")
