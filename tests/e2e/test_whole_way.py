"""The whole way in a real browser: signed deliveries move the numbers on pages that are open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from browser import DESKTOP, PHONE, Watch, chromium, open_page, picture, require_chromium
from installation import Installation, wait_until
from playwright.sync_api import Browser

from ingest.contract import EVENT_TYPES

pytestmark = [pytest.mark.slow, pytest.mark.browser]

VISIBLE_SECONDS_MAX = 10.0
FIRST_BUILD_SECONDS_MAX = 60.0
# Address and title; the first page is the one without an address.
PAGES = {
    "": "Overview",
    "funnel": "Funnel",
    "plan-changes": "Plan changes",
    "overdue-payments": "Overdue payments",
}


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium(require_chromium()) as started:
        yield started


def life(name: str, now: datetime) -> list[dict[str, Any]]:
    """One account's events of all six types, ending with an open overdue payment.

    A second workspace is created and deleted beside the one that pays.
    """
    email = f"{name}@example.com"
    owner = {"owner_id": f"user-{name}", "owner_email": email}

    def at(hours: float) -> str:
        return (now - timedelta(hours=hours)).isoformat()

    def day(days: int) -> str:
        return (now + timedelta(days=days)).date().isoformat()

    return [
        {
            "event": "user_registered",
            "data": {"email": email, "registration_timestamp": at(8), "source": "landing_page"},
        },
        {
            "event": "workspace_created",
            "occurred_at": at(7),
            "data": {"workspace_id": f"{name}-1", "workspace_name": "First", **owner},
        },
        {
            "event": "workspace_created",
            "occurred_at": at(6),
            "data": {"workspace_id": f"{name}-2", "workspace_name": "Second", **owner},
        },
        {
            "event": "workspace_deleted",
            "data": {"workspace_id": f"{name}-2", "deletion_time": at(5), "owner_email": email},
        },
        {
            "event": "plan_changed",
            "occurred_at": at(4),
            "data": {
                "plan_id": "business",
                "workspace_id": f"{name}-1",
                "auto_renew": True,
                "start_date": day(0),
                "end_date": day(30),
                **owner,
            },
        },
        {
            "event": "plan_renewed",
            "occurred_at": at(3),
            "data": {"plan_id": "business", "renewal_date": day(0), **owner},
        },
        {
            "event": "overdue_payment",
            "occurred_at": at(2),
            "data": {
                "payment_id": f"pay-{name}",
                "amount": 49.99,
                "currency": "USD",
                "due_date": day(-3),
                "workspace_id": f"{name}-1",
                **owner,
            },
        },
    ]


def deliver_life(hooklake: Installation, name: str) -> None:
    events = life(name, datetime.now(UTC))
    assert {event["event"] for event in events} == set(EVENT_TYPES)
    for event in events:
        answer = hooklake.deliver(event)
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted"), answer.text


def metric(watch: Watch, label: str) -> str:
    """The value of the first card with this label; empty while there is none."""
    cards = watch.page.get_by_test_id("stMetric").filter(
        has=watch.page.get_by_test_id("stMetricLabel").get_by_text(label, exact=True)
    )
    if not cards.count():
        return ""
    return cards.first.get_by_test_id("stMetricValue").inner_text().strip()


def described(watch: Watch, beginning: str) -> str:
    """The first sentence that stands for the chart whose description begins so; empty without."""
    charts = watch.page.locator(f'[aria-label^="{beginning}"]')
    told = charts.first.get_attribute("aria-label") or "" if charts.count() else ""
    return told.partition(". ")[0]


def numbers(pages: dict[str, Watch]) -> dict[str, str]:
    """What each page says about how many accounts came how far."""
    return {
        "Overview: Registered": metric(pages[""], "Registered"),
        "Overview: Paying accounts": metric(pages[""], "Paying accounts"),
        "Overview: Open overdue payments": metric(pages[""], "Open overdue payments"),
        "Funnel": described(pages["funnel"], "Funnel: "),
        "Plan changes: New paid plans": metric(pages["plan-changes"], "New paid plans"),
        "Overdue payments: Open now": metric(pages["overdue-payments"], "Open now"),
    }


def expected(accounts: int) -> dict[str, str]:
    """The numbers after so many accounts have lived the life above."""
    funnel = ", ".join(
        f"{step} {accounts}"
        for step in ("Registered", "Created a workspace", "Started paying", "Renewed")
    )
    return dict.fromkeys(
        (
            "Overview: Registered",
            "Overview: Paying accounts",
            "Overview: Open overdue payments",
            "Plan changes: New paid plans",
            "Overdue payments: Open now",
        ),
        str(accounts),
    ) | {"Funnel": f"Funnel: {funnel}"}


def wait_for_numbers(pages: dict[str, Watch], accounts: int, *, seconds: float) -> float:
    """Seconds until every page shows the numbers of `accounts` accounts."""
    began = time.monotonic()
    shown: dict[str, str] = {}

    def all_shown() -> bool:
        nonlocal shown
        # Events of the pages are heard only while playwright is at work on each of them.
        shown = numbers(pages)
        return shown == expected(accounts)

    try:
        wait_until(all_shown, seconds=seconds, what="the numbers on every page", every=0.1)
    except AssertionError:
        for watch in pages.values():
            watch.assert_drawn()
        assert shown == expected(accounts)
        raise
    return time.monotonic() - began


def test_deliveries_of_all_six_types_move_every_page_without_a_reload(
    hooklake: Installation, browser: Browser, tmp_path: Path
) -> None:
    hooklake.start_receiver()
    hooklake.start("refresh", "--watch")
    hooklake.start_dashboard()
    pages = {
        name: open_page(browser, f"{hooklake.dashboard_url}/{name}", DESKTOP) for name in PAGES
    }
    for watch in pages.values():
        watch.page.evaluate("window.sinceFirstLoad = true")

    # From the empty state to the first account, however long the first build of all takes.
    deliver_life(hooklake, "ada")
    wait_for_numbers(pages, 1, seconds=FIRST_BUILD_SECONDS_MAX)

    deliver_life(hooklake, "grace")
    seconds = wait_for_numbers(pages, 2, seconds=VISIBLE_SECONDS_MAX)

    for name, watch in pages.items():
        assert watch.page.evaluate("window.sinceFirstLoad") is True, f"{name} was reloaded"
        assert watch.page.get_by_role("heading", name=PAGES[name], level=1).count() == 1
        watch.assert_clean()
    print(f"\nseven deliveries, on all four pages after {seconds:.1f} s")  # noqa: T201

    # What is in the browser is what an analyst reads.
    (paying,) = hooklake.query("select count(*) as n from dim_accounts where is_paying")
    (changes,) = hooklake.query("select count(*) as n from fct_plan_changes")
    (overdue,) = hooklake.query("select episodes, amount from mart_overdue_ageing")
    assert (paying["n"], changes["n"], overdue["episodes"]) == (2, 2, 2)
    assert overdue["amount"] == 2 * Decimal("49.99")


def test_every_page_is_drawn_whole_at_the_width_of_a_desk_and_a_phone(
    hooklake: Installation, browser: Browser, tmp_path: Path
) -> None:
    receiver = hooklake.start_receiver()
    hooklake.command("refresh")
    hooklake.start_dashboard()
    for size in (DESKTOP, PHONE):
        empty = open_page(browser, hooklake.dashboard_url, size)
        empty.page.get_by_text("Ready for the first event").wait_for()
        keep_picture(empty, tmp_path, f"empty-{size['width']}")
        empty.assert_clean()
        empty.page.context.close()
    deliver_life(hooklake, "ada")
    hooklake.stop(receiver)
    hooklake.command("refresh")

    for size in (DESKTOP, PHONE):
        for name, title in PAGES.items():
            watch = open_page(browser, f"{hooklake.dashboard_url}/{name}", size)
            watch.page.get_by_role("heading", name=title, level=1).wait_for()
            keep_picture(watch, tmp_path, f"{name or 'overview'}-{size['width']}")
            watch.assert_drawn()
            width = watch.page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], f"{title} scrolls sideways at {size['width']} px"
            watch.assert_clean()
            watch.page.context.close()


def keep_picture(watch: Watch, folder: Path, name: str) -> None:
    """A picture for whoever wants to look, in $SCREENSHOTS where that is set."""
    target = Path(os.environ.get("SCREENSHOTS", folder))
    (target / f"{name}.png").write_bytes(picture(watch, full_page=True))
