"""Who the made-up accounts are: plans, sources, names, and when they register.

The shares and hazards are invented so that a year of them looks like one: growth, weekdays, about
one registration in five that ever pays, some of them overdue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal

Fate = Literal["renew", "lost", "up", "down", "cancel", "delete", "expire", "lapse", "short"]


@dataclass(frozen=True)
class Plan:
    """A paid plan; `steps`: plans one may move up and down to."""

    plan_id: str
    months: int
    price: Decimal
    share: float
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


PLANS: Final[dict[str, Plan]] = {
    plan.plan_id: plan
    for plan in (
        Plan(
            "business",
            1,
            Decimal("29.00"),
            0.50,
            up=("business_lite", "business_large"),
            down=("business_yearly",),
        ),
        Plan(
            "business_lite", 1, Decimal("59.00"), 0.22, up=("business_large",), down=("business",)
        ),
        Plan("business_large", 1, Decimal("149.00"), 0.12, down=("business_lite", "business")),
        Plan("business_yearly", 12, Decimal("290.00"), 0.16, up=("business_large",)),
    )
}
"""Prices as the shipped catalogue (sql/seeds/plan_prices.csv) has them."""
CURRENCY: Final = "USD"

FATES_OF_A_MONTH: Final[dict[Fate, float]] = {
    "up": 0.030,
    "down": 0.012,
    "cancel": 0.012,
    "delete": 0.004,
    "lapse": 0.030,
    "short": 0.040,
    "expire": 0.008,
    "lost": 0.012,
    "renew": 0.852,
}
FATES_OF_A_YEAR: Final[dict[Fate, float]] = {
    "up": 0.10,
    "cancel": 0.07,
    "delete": 0.02,
    "lapse": 0.20,
    "short": 0.05,
    "expire": 0.05,
    "lost": 0.01,
    "renew": 0.50,
}


@dataclass(frozen=True)
class Source:
    """Where registrations come from: the share of them, and how many ever pay."""

    name: str | None
    share: float
    conversion_rate: float


SOURCES: Final = (
    Source("landing_page", 0.38, 0.18),
    Source("chatbot", 0.22, 0.15),
    Source("custom_domain", 0.18, 0.27),
    Source("partner_referral", 0.09, 0.36),
    Source("webinar", 0.08, 0.24),
    Source(None, 0.05, 0.12),
)

FIRST_NAMES: Final = (
    *("Ada", "Amir", "Bo", "Chen", "Dana", "Eli", "Emma", "Femi", "Finn", "Grace", "Hana", "Ines"),
    *("Ivan", "Jo", "Kai", "Lea", "Liam", "Luca", "Mara", "Maya", "Milo", "Nia", "Noah", "Nora"),
    *("Omar", "Pia", "Raj", "Rosa", "Sam", "Sara", "Siri", "Tara", "Theo", "Uma", "Yara", "Zoe"),
)
LAST_NAMES: Final = (
    *("Adler", "Bauer", "Costa", "Diaz", "Evans", "Fischer", "Garcia", "Haddad", "Ito", "Jansen"),
    *("Kim", "Larsen", "Lopez", "Meyer", "Nguyen", "Novak", "Okafor", "Patel", "Quist", "Rossi"),
    *("Sato", "Silva", "Singh", "Smith", "Tanaka", "Usman", "Vogel", "Wang", "Weber", "Zhang"),
)
DOMAINS: Final = ("example.com", "example.net", "example.org")
"""Reserved for documentation (RFC 2606): nobody can own an address there."""
SHOPS: Final = ("Bakery", "Bikes", "Books", "Clinic", "Coffee", "Dental", "Fitness", "Flowers")

_GROWTH: Final = 1.5
"""Registrations at the end of the span, over those at its start, less one."""
_WEEKDAYS: Final = (1.10, 1.15, 1.15, 1.10, 1.00, 0.75, 0.75)
_QUARTERS_OF_A_DAY: Final = (0.5, 1.1, 1.5, 0.9)


@dataclass(frozen=True)
class World:
    """A population; `until` is exclusive and carries UTC. Two equal worlds send equal bytes."""

    seed: int
    accounts: int
    until: datetime
    days: int = 365

    @property
    def key(self) -> str:
        """Names the world: other accounts, days or end make other people, never changed ones."""
        return f"{self.seed}/{self.accounts}/{self.days}/{int(self.until.timestamp())}"

    @property
    def since(self) -> datetime:
        return self.until - timedelta(days=self.days)


def registration_instant(world: World, number: int, within: float) -> datetime:
    """Rises with the account's number: growing over the span, weekdays and daytime preferred."""
    share = (number + within) / world.accounts
    position = ((1 + (_GROWTH**2 + 2 * _GROWTH) * share) ** 0.5 - 1) / _GROWTH
    seconds = position * world.days * 86_400
    begin = world.since
    monday = datetime.combine(begin.date() - timedelta(days=begin.weekday()), time(), UTC)
    offset = (begin - monday).total_seconds()
    week, second_of_week = divmod(offset + seconds, 7 * 86_400)
    day, second_of_day = divmod(_warped(second_of_week / (7 * 86_400), _WEEKDAYS) * 7, 1)
    warped = (day + _warped(second_of_day, _QUARTERS_OF_A_DAY)) * 86_400
    at = monday + timedelta(seconds=int(week * 7 * 86_400 + warped))
    return min(max(at, begin), world.until - timedelta(seconds=1))


def _warped(fraction: float, weights: Sequence[float]) -> float:
    """A rising map of 0..1 onto itself that spends `weights` of the input on each equal part."""
    left = fraction * sum(weights)
    for part, weight in enumerate(weights):
        if left < weight:
            return (part + left / weight) / len(weights)
        left -= weight
    return 1.0
