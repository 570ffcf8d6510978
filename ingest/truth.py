"""What really happened to an account, written down while its life is made up.

The metrics are checked against this. It follows metrics.md's words, yet never looks at the events
that are sent: whoever writes a life says `restored` or `lost`, nothing is inferred from payloads.
All instants are UTC; what lies at or after the world's end is never recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

RESTORE_GRACE = timedelta(hours=24)
_OUTCOMES = ("renewed", "ended", "overdue")
"""Of several within one window the first of these counts."""


@dataclass(frozen=True)
class Funnel:
    """One row of fct_registration_funnel; a step not reached is None."""

    account_id: str
    registered_at: datetime
    source: str
    workspace_at: datetime | None = None
    paid_at: datetime | None = None
    first_paid_plan_id: str | None = None
    renewed_at: datetime | None = None


@dataclass(frozen=True)
class PlanPeriod:
    """One row of int_plan_periods: half-open, an open end is None."""

    account_id: str
    subscription_id: str
    plan_id: str
    valid_from: datetime
    valid_to: datetime | None = None


@dataclass(frozen=True)
class Episode:
    """One row of fct_overdue_episodes."""

    account_id: str
    subscription_id: str
    payment_id: str | None
    cause: str
    opened_at: datetime
    last_notice_at: datetime
    notices: int
    amount: Decimal
    due_date: date
    status: str = "open"
    closed_at: datetime | None = None


@dataclass(frozen=True)
class Renewal:
    """A renewal that was to be expected by its day, and what came of it.

    outcome: `renewed`, `ended`, `overdue`, or None when nothing was heard in its window.
    """

    account_id: str
    subscription_id: str
    plan_id: str
    end_date: date
    outcome: str | None = None


@dataclass(frozen=True)
class AccountTruth:
    """Periods, episodes and renewals are in the order in which they began.

    renewals: with those of days after the world's end; empty where the author writes none down.
    known_ends: by subscription and start of a paid period, the day it was last known to end.
    """

    funnel: Funnel
    periods: tuple[PlanPeriod, ...]
    episodes: tuple[Episode, ...]
    workspaces_total: int
    workspaces_live: int
    renewals: tuple[Renewal, ...] = ()
    known_ends: dict[tuple[str, datetime], date] = field(default_factory=dict)


class TruthRecorder:
    """Collects one account's truth; calls for one subscription come in the order of time."""

    def __init__(self, funnel: Funnel) -> None:
        self._funnel = funnel
        self._periods: dict[str, list[PlanPeriod]] = {}
        self._episodes: dict[str, list[Episode]] = {}
        self._workspaces: dict[str, bool] = {}
        self._renewals: dict[str, list[Renewal]] = {}
        self._known_ends: dict[tuple[str, datetime], date] = {}

    def workspace_created(self, workspace: str, at: datetime) -> None:
        self._workspaces[workspace] = True
        reached = max(at, self._funnel.registered_at)
        self._funnel = replace(
            self._funnel, workspace_at=_earlier(self._funnel.workspace_at, reached)
        )

    def workspace_deleted(self, workspace: str, at: datetime) -> None:
        """Its subscription has no plan from here on, and what was due of it is lost."""
        self._workspaces[workspace] = False
        self._end_period(workspace, at)
        self.episode_closed(workspace, "lost", at)

    def plan(self, workspace: str, plan_id: str, at: datetime, *, is_paid: bool) -> None:
        """The subscription is on `plan_id` from `at`; the plan it is on already changes nothing."""
        periods = self._periods.setdefault(workspace, [])
        if periods and periods[-1].valid_to is None and periods[-1].plan_id == plan_id:
            return
        self._end_period(workspace, at)
        periods.append(PlanPeriod(self._funnel.account_id, workspace, plan_id, at))
        if is_paid and (self._funnel.paid_at is None or at < self._funnel.paid_at):
            self._funnel = replace(self._funnel, paid_at=at, first_paid_plan_id=plan_id)

    def restored(self, workspace: str, at: datetime) -> None:
        """The last gap of the subscription is undone: shorter than the grace, it never was."""
        *earlier, paid, gap, _again = self._periods[workspace]
        if at - gap.valid_from >= RESTORE_GRACE:
            raise ValueError(f"a gap of {at - gap.valid_from} is no restore")
        self._periods[workspace] = [*earlier, replace(paid, valid_to=None)]
        self._reopen_lost(workspace, gap.valid_from)
        self.episode_closed(workspace, "recovered", at)

    def renewed(self, at: datetime) -> None:
        self._funnel = replace(self._funnel, renewed_at=_earlier(self._funnel.renewed_at, at))

    def notice(self, workspace: str, episode: Episode) -> None:
        """One overdue notice: the first of its due date opens the episode, later ones extend it."""
        episodes = self._episodes.setdefault(workspace, [])
        if episodes and episodes[-1].due_date == episode.due_date:
            before = episodes[-1]
            episodes[-1] = replace(
                before, last_notice_at=episode.last_notice_at, notices=before.notices + 1
            )
        else:
            episodes.append(episode)

    def episode_closed(self, workspace: str, status: str, at: datetime) -> None:
        """Close what is open of the subscription; nothing open is no fault."""
        self._episodes[workspace] = [
            replace(episode, status=status, closed_at=at) if episode.status == "open" else episode
            for episode in self._episodes.get(workspace, [])
        ]

    def period_ends(self, workspace: str, end: date) -> None:
        """The paid period is known to end on that day, until something else is said."""
        self._known_ends[workspace, self._periods[workspace][-1].valid_from] = end

    def renewal_expected(self, workspace: str, plan_id: str, end: date) -> None:
        """The known end comes near and the plan is still on; what comes of it is told next."""
        self._renewals.setdefault(workspace, []).append(
            Renewal(self._funnel.account_id, workspace, plan_id, end)
        )

    def renewal_explained(self, workspace: str, end: date, outcome: str) -> None:
        """Something was heard within the window of that day's renewal, if one was expected."""
        renewals = self._renewals.get(workspace)
        if renewals and renewals[-1].end_date == end:
            best = min(outcome, renewals[-1].outcome or outcome, key=_OUTCOMES.index)
            renewals[-1] = replace(renewals[-1], outcome=best)

    def result(self, subscription_ids: dict[str, str]) -> AccountTruth:
        """The truth so far; `subscription_ids`: what each workspace's subscription is known as."""
        periods = [
            replace(period, subscription_id=subscription_ids[period.subscription_id])
            for periods in self._periods.values()
            for period in periods
        ]
        episodes = [
            replace(episode, subscription_id=subscription_ids[episode.subscription_id])
            for episodes in self._episodes.values()
            for episode in episodes
        ]
        renewals = [
            replace(renewal, subscription_id=subscription_ids[renewal.subscription_id])
            for renewals in self._renewals.values()
            for renewal in renewals
        ]
        return AccountTruth(
            funnel=self._funnel,
            periods=tuple(sorted(periods, key=lambda period: period.valid_from)),
            episodes=tuple(sorted(episodes, key=lambda episode: episode.opened_at)),
            workspaces_total=len(self._workspaces),
            workspaces_live=sum(self._workspaces.values()),
            renewals=tuple(sorted(renewals, key=lambda renewal: renewal.end_date)),
            known_ends={
                (subscription_ids[workspace], start): end
                for (workspace, start), end in self._known_ends.items()
            },
        )

    def _end_period(self, workspace: str, at: datetime) -> None:
        periods = self._periods.get(workspace, [])
        if periods and periods[-1].valid_to is None:
            periods[-1] = replace(periods[-1], valid_to=at)

    def _reopen_lost(self, workspace: str, lost_at: datetime) -> None:
        self._episodes[workspace] = [
            replace(episode, status="open", closed_at=None)
            if episode.status == "lost" and episode.closed_at == lost_at
            else episode
            for episode in self._episodes.get(workspace, [])
        ]


def _earlier(before: datetime | None, at: datetime) -> datetime:
    return at if before is None else min(before, at)
