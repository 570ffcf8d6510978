"""Event lists that make no business sense, so that every rule meets every other.

Instants lie on a coarse grid: gaps of exactly a day, ends of exactly thirty, and events of one
instant are common. Overdue notices alone never share an instant with another event of theirs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.sql.reference import Catalogue, Price

START = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = (
    "event_id", "event_type", "occurred_at", "event_time_source", "received_at", "node", "seq",
    "account_id", "workspace_id", "source", "plan_id", "payment_id", "currency", "auto_renew",
    "amount", "start_date", "end_date", "renewal_date", "due_date",
)  # fmt: skip
PRICES = (
    Price("free", 0, "USD", "month", Decimal("0.00"), date(2026, 1, 1)),
    Price("trial", 0, "USD", "month", Decimal("0.00"), date(2026, 1, 1)),
    Price(
        "business",
        1,
        "USD",
        "month",
        Decimal("29.00"),
        date(2026, 1, 1),
        date(2026, 2, 10),
        Decimal("10.00"),
    ),
    Price("business", 1, "USD", "month", Decimal("35.00"), date(2026, 2, 10)),
    Price("large", 3, "USD", "month", Decimal("149.00"), date(2026, 1, 1)),
    Price("yearly", 1, "USD", "year", Decimal("99.99"), date(2026, 1, 1), cost=Decimal("30.06")),
    Price("euro", 1, "EUR", "month", Decimal("20.00"), date(2026, 1, 1), cost=Decimal("25.00")),
    *(
        Price("promo", 1, "USD", "month", Decimal(price), start, end)
        for price, start, end in (
            ("12.00", date(2026, 1, 1), date(2026, 1, 8)),
            ("0.00", date(2026, 1, 8), date(2026, 2, 1)),
            ("15.00", date(2026, 2, 1), date(2026, 3, 1)),
            ("0.00", date(2026, 3, 1), None),
        )
    ),
    Price("old", 2, "EUR", "month", Decimal("7.00"), date(2025, 1, 1), date(2026, 2, 1)),
)
CATALOGUE = Catalogue(list(PRICES))
_TYPES = (
    *["plan_changed"] * 5,
    *["plan_renewed"] * 3,
    *["overdue_payment"] * 5,
    "workspace_created",
    "workspace_deleted",
    "user_registered",
)
_PLANS = (
    ["business", "free"],
    ["business", "large", "free", "trial", "mystery"],
    ["business", "euro", "free", "yearly", "old", "mystery", "enigma"],
    ["mystery", "free", "euro"],
    ["promo", "business", "free"],
    ["promo", "promo", "old", "free"],
)


def catalogue_csv() -> str:
    """The catalogue as the file the growth team would edit."""
    lines = ["plan_id,plan_name,tier,currency,interval,price,cost,valid_from,valid_to"]
    lines += [
        f"{p.plan_id},{p.plan_id},{p.tier},{p.currency},{p.interval},{p.price},{p.cost},"
        f"{p.valid_from or ''},{p.valid_to or ''}"
        for p in PRICES
    ]
    return "\n".join(lines) + "\n"


def random_history(chance: random.Random, account_id: str, first_seq: int) -> list[dict[str, Any]]:
    """Up to 24 events of one account, all stored columns that matter, in order of seq."""
    hours = chance.choice([1, 6, 12, 24, 24, 72])
    days = chance.choice([10, 40, 120])
    workspaces = [f"{account_id}-w{i}" for i in range(chance.choice([1, 1, 2, 3]))]
    names_workspace = chance.choice([0, 0.3, 0.7, 1])
    plans = chance.choice(_PLANS)
    taken: set[datetime] = set()
    events = []
    for number in range(chance.randint(1, 24)):
        event_type = chance.choice(_TYPES)
        at = START + timedelta(hours=hours * chance.randint(0, max(1, days * 24 // hours)))
        if chance.random() < 0.1:
            at += timedelta(seconds=chance.choice([-1, 1]))
        if chance.random() < 0.15 and events:
            at = chance.choice(events)["occurred_at"]
        while event_type == "overdue_payment" and at in taken:
            at += timedelta(seconds=7)
        taken.add(at)
        event: dict[str, Any] = dict.fromkeys(FIELDS)
        can_be_dated = event_type in ("plan_changed", "plan_renewed", "overdue_payment")
        event |= {
            "event_id": f"{account_id}-{number}",
            "event_type": event_type,
            "occurred_at": at,
            "event_time_source": (
                "date" if can_be_dated and at.hour == 0 and chance.random() < 0.3 else "payload"
            ),
            "received_at": at + timedelta(seconds=chance.choice([0, 0, 5, 90000])),
            "node": chance.choice(["n1", "n2"]),
            "seq": first_seq + number,
            "account_id": account_id,
        }
        is_about_workspace = event_type.startswith("workspace")
        if is_about_workspace or (
            event_type != "user_registered" and chance.random() < names_workspace
        ):
            event["workspace_id"] = chance.choice(workspaces)
        event |= _fields(chance, event_type, at.date(), plans, account_id)
        events.append(event)
    return events


def resent(chance: random.Random, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some of the events once more, received at another time or node under another number."""
    return [
        event
        | {
            "received_at": event["received_at"]
            + timedelta(seconds=chance.choice([-1, 0, 0, 3600])),
            "node": chance.choice(["n1", "n2"]),
            "seq": 10_000_000 + number,
        }
        for number, event in enumerate(events)
        if chance.random() < 0.1
    ]


def once(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the rows of one event the first received."""
    kept: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda e: (e["received_at"], e["node"], e["seq"])):
        kept.setdefault(event["event_id"], event)
    return list(kept.values())


def _fields(
    chance: random.Random, event_type: str, day: date, plans: list[str], account_id: str
) -> dict[str, Any]:
    def some(share: float, value: Any) -> Any:
        return value if chance.random() < share else None

    def later(*days: int) -> date:
        return day + timedelta(days=chance.choice(days))

    if event_type == "user_registered":
        return {"source": chance.choice([None, "ads", "landing_page"])}
    if event_type == "plan_changed":
        return {
            "plan_id": chance.choice(plans),
            "auto_renew": chance.choice([None, True, False]),
            "start_date": some(0.6, later(-2, -1, 0, 1, 2)),
            "end_date": some(0.6, later(1, 3, 5, 28, 30, 31)),
        }
    if event_type == "plan_renewed":
        return {
            "plan_id": chance.choice([None, *plans]),
            "renewal_date": some(0.5, later(-1, 0, 1)),
            "end_date": some(0.3, later(30)),
        }
    if event_type == "overdue_payment":
        return {
            "payment_id": some(0.4, f"{chance.choice(['p1', 'p2'])}-{account_id}"),
            "auto_renew": chance.choice([None, True, False]),
            "amount": some(0.5, Decimal(chance.randint(-500, 5000)).scaleb(-2)),
            "currency": some(0.3, chance.choice(["USD", "EUR"])),
            "due_date": some(0.5, later(*range(-3, 40))),
        }
    return {}
