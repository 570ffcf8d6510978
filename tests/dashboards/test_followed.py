"""Every number of every page leads to rows that are as many as it says, or add up to it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from followed import Behind, followed
from test_pages import environment
from test_queries import of

from dashboards import addresses, figures, queries
from dashboards.filters import Filters
from dashboards.people import People
from ingest.paths import DataDir
from ingest.population import World
from tests.sql.made_up import lived
from tests.sql.random_lives import catalogue_csv, random_history
from warehouse.reader import connect, published
from warehouse.workbench import Workbench

__all__ = ["environment"]

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
RANDOM_UNTIL = datetime(2026, 5, 15, 12, tzinfo=UTC)
SHOWN = (
    (addresses.OVERVIEW, {}, 13),
    (addresses.OVERVIEW, {"period": "12m"}, 13),
    (addresses.OVERVIEW, {"period": "30d", "source": ["referral"]}, 13),
    (addresses.FUNNEL, {"period": "all"}, 5),
    (addresses.FUNNEL, {"source": ["referral", "webinar"]}, 5),
    (addresses.RETENTION, {}, 4),
    (addresses.RETENTION, {"retained": "revenue"}, 4),
    (addresses.PLAN_CHANGES, {"period": "12m"}, 8),
    (addresses.PLAN_CHANGES, {"source": ["referral"]}, 8),
    (addresses.OVERDUE_PAYMENTS, {"period": "12m"}, 4),
    (addresses.OVERDUE_PAYMENTS, {"source": ["referral"]}, 4),
    (addresses.ACCOUNTS, {}, 6),
    (addresses.ACCOUNTS, {"source": ["webinar"]}, 6),
)


@pytest.fixture(scope="module")
def lived_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the models make of the events of made-up lives."""
    bench = Workbench(tmp_path_factory.mktemp("lived"))
    bench.add(lived(World(seed=5, accounts=400, until=UNTIL, days=400)))
    bench.refresh(as_of=UNTIL)
    yield bench.data.root


def assert_led(
    monkeypatch: pytest.MonkeyPatch,
    data_dir: Path,
    place: str,
    choice: dict[str, object],
    least: int,
) -> None:
    found = followed(monkeypatch, data_dir, place, clicks=choice)
    assert not found.page.exception and not found.page.error
    cards = [
        (metric.label, metric.value, f"{metric.label} in the last 24 hours")
        for metric in found.page.metric
    ]
    assert len(cards) >= least
    version = published(DataDir(data_dir))
    assert version is not None
    led = set()
    with connect(version) as connection:
        for label, value, in_the_last_day in cards:
            name = in_the_last_day if label in led else label
            if name not in found.leads:
                name = in_the_last_day
            led.add(name)
            behind = Behind(connection, found.leads[name], of("90d"))
            if value == "–":
                assert behind.total(0) == 0, label
            else:
                assert behind.value(label) == value, (label, found.leads[name].parts)


@pytest.mark.parametrize(("place", "choice", "least"), SHOWN)
def test_the_number_of_every_card_is_that_of_the_rows_it_leads_to(
    monkeypatch: pytest.MonkeyPatch,
    full_dir: Path,
    place: str,
    choice: dict[str, object],
    least: int,
) -> None:
    assert_led(monkeypatch, full_dir, place, choice, least)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "choice", "least"), SHOWN)
def test_the_same_holds_of_what_the_models_make_of_events(
    monkeypatch: pytest.MonkeyPatch,
    lived_dir: Path,
    place: str,
    choice: dict[str, object],
    least: int,
) -> None:
    assert_led(monkeypatch, lived_dir, place, choice, 1)


@pytest.fixture(scope="module")
def random_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Histories that no life has: paid and free at one instant, ends before beginnings."""
    bench = Workbench(tmp_path_factory.mktemp("random"))
    bench.data.plan_prices.write_text(catalogue_csv())
    chance = random.Random(1)
    told = [each for n in range(300) for each in random_history(chance, f"a{n:03d}", 100 * n)]
    bench.add(sorted(told, key=lambda event: event["seq"]))
    bench.refresh(as_of=RANDOM_UNTIL)
    yield bench.data.root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("histories", "until", "sources"),
    [
        ("lived_dir", UNTIL, ()),
        ("lived_dir", UNTIL, ("referral", "webinar")),
        ("random_dir", RANDOM_UNTIL, ()),
    ],
)
@pytest.mark.parametrize("days", [3, 30, 91])
def test_who_stopped_paying_is_whose_paid_plans_ended(
    request: pytest.FixtureRequest,
    histories: str,
    until: datetime,
    sources: tuple[str, ...],
    days: int,
) -> None:
    """Counted from what each event changed, listed from the plans: the same accounts."""
    version = published(DataDir(request.getfixturevalue(histories)))
    assert version is not None
    found = 0
    with connect(version) as connection:
        for back in range(0, 160, 7):
            last = until.date() - timedelta(days=back)
            filters = Filters(last - timedelta(days=days - 1), last, sources)
            counted = queries.churned_by_day(connection, filters)
            before = filters.first_day - timedelta(days=1)
            for churn, first, end in (
                (figures.this_period(counted, filters, "day"), filters.first_day, last),
                (
                    figures.previous_period(counted, filters, "day"),
                    filters.previous_first_day,
                    before,
                ),
            ):
                for column, who in (("accounts", None), ("paid_before", "before")):
                    behind = People.of("ceased", who, first, end)
                    listed = len(queries.rows_behind(connection, filters, behind))
                    assert figures.total(churn, column) == listed, (column, first, end)
                    found += listed
    assert found > 0
