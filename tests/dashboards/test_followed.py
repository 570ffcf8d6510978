"""Every number of every page leads to rows that are as many as it says, or add up to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from followed import Behind, followed
from test_pages import environment
from test_queries import of

from dashboards import addresses
from ingest.paths import DataDir
from ingest.population import World
from tests.sql.made_up import lived
from warehouse.reader import connect, published
from warehouse.workbench import Workbench

__all__ = ["environment"]

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
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
