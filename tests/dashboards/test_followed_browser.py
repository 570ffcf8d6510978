"""From a number on a card to its rows in a real Chromium: by mouse, by keyboard, by address."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from test_dashboard_browser import (
    Watched,
    browser,
    data_dir,
    metric,
    page,
    settled,
    url,
    watched,
)

from dashboards import addresses

pytestmark = pytest.mark.browser
ROLES: tuple[Literal["link", "button"], ...] = ("link", "button")
__all__ = ["browser", "data_dir", "page", "url", "watched"]


def people(start: str) -> re.Pattern[str]:
    return re.compile(rf"/accounts\?.*people={re.escape(quote(start, safe=''))}")


def test_the_revenue_of_a_card_is_the_sum_of_the_rows_it_leads_to(
    page: Page, url: str, watched: Watched
) -> None:
    page.goto(url)
    settled(page)
    shown = metric(page, "MRR USD")
    page.get_by_role("link", name="Show who behind MRR USD").click()
    expect(page).to_have_url(people("paying,USD,2026-11-22"))
    foot = page.get_by_text("All together: ")
    expect(foot).to_be_visible()
    settled(page)
    told = re.search(r"together: (\d+) accounts · MRR USD ([\d,.]+)", foot.inner_text())
    assert told is not None
    assert shown == f"USD {float(told[2].replace(',', '')):,.0f}"
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    with Path(download.value.path()).open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == int(told[1])
    assert f"{sum(float(row['mrr']) for row in rows):,.2f}" == told[2]
    watched.assert_quiet()


def test_a_share_leads_to_its_numerator_and_its_denominator_by_keyboard_alone(
    page: Page, url: str, watched: Watched
) -> None:
    page.goto(f"{url}/?source=referral&period=12m")
    settled(page)
    link = page.get_by_role("link", name="Show who behind Paid within 30 days")
    for _ in range(60):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(people("converted,30,"))
    expect(page).to_have_url(re.compile("source=referral"))
    parts = page.get_by_role("combobox", name="What this number is made of")
    expect(parts).to_be_visible()
    settled(page)
    parts.focus()
    page.keyboard.type("has had 30")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(people("matured,30,"))
    expect(page.get_by_text("Only: ")).to_contain_text("has had 30 days")
    settled(page)
    shared, foot = page.url, page.get_by_text("All together: ").inner_text()
    page.goto(shared)  # what a colleague sees who gets the link
    expect(page.get_by_text("Only: ")).to_contain_text("has had 30 days")
    expect(page.get_by_text(foot)).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Show everybody").click()
    expect(page).not_to_have_url(re.compile("people=|of="))
    watched.assert_quiet()


@pytest.mark.parametrize(
    ("place", "name", "wanted"),
    [
        (addresses.FUNNEL, "Show who behind Median time to paid", "funnel,paid,"),
        (addresses.RETENTION, "Show who behind After 3 months", "retention,,3,"),
        (addresses.PLAN_CHANGES, "Show changes behind Upgrades", "change,upgrade,"),
        (addresses.PLAN_CHANGES, "Show who behind NRR USD, Oct 2026", "kept,USD,2026-10-01"),
        (addresses.PLAN_CHANGES, "Show every movement in USD", "movement,,USD,"),
        (addresses.OVERDUE_PAYMENTS, "Show payments behind Open now", "overdue,,"),
        (addresses.ACCOUNTS, "Show who behind Churned", "lifecycle,churned"),
    ],
)
def test_a_card_of_every_page_leads_to_its_rows(
    page: Page, url: str, watched: Watched, place: str, name: str, wanted: str
) -> None:
    page.goto(f"{url}/{place}")
    settled(page)
    link, button = (page.get_by_role(role, name=name) for role in ROLES)
    link.or_(button).click()
    expect(page).to_have_url(people(wanted))
    expect(page.get_by_text("All together: ")).to_be_visible()
    settled(page)
    page.go_back()
    expect(page).to_have_url(re.compile(f"/{place}(\\?|$)"))
    settled(page)
    watched.assert_quiet()


def test_a_row_of_a_table_of_numbers_leads_to_the_rows_behind_them(
    page: Page, url: str, watched: Watched
) -> None:
    page.goto(f"{url}/{addresses.PLAN_CHANGES}")
    settled(page)
    table = page.locator(".st-key-revenue").get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    settled(page)
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 14, box["y"] + 35 + 17)  # the first row's mark
    expect(page).to_have_url(people("kept,"))
    expect(page.get_by_text("Only: ")).to_contain_text("when November 2026 began")
    settled(page)
    watched.assert_quiet()
