"""The pages in a real Chromium: filters, updates, hostile text, and what it may talk to."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from test_dashboard_launch import running
from warehouse_builder import AS_OF, Rows, build_warehouse

from dashboards import addresses

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SIZES = ((1440, 900), (390, 844))
UPDATE_MS = 10_000  # the promise: an open page follows within 10 s
DRAWN = (
    addresses.OVERVIEW,
    addresses.FUNNEL,
    addresses.RETENTION,
    addresses.PLAN_CHANGES,
    addresses.OVERDUE_PAYMENTS,
)


@dataclass
class Watched:
    """What a page did besides drawing itself."""

    url: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda socket: self._note(socket.url))

    def _note(self, url: str) -> None:
        ours = self.url.removeprefix("http")
        if not url.startswith((f"http{ours}/", f"ws{ours}/", "data:", "blob:")):
            self.strangers.append(url)

    def assert_quiet(self) -> None:
        assert self.errors == [] and self.strangers == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser") / "data"
    build_warehouse(root, accounts=600)
    return root


@contextmanager
def serving(data_dir: Path) -> Iterator[str]:
    """The address of a dashboard of its own for data_dir; it must end cleanly with pages open."""
    with running(data_dir, data_dir.parent) as (process, address):
        yield address
        process.terminate()
        assert process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def url(data_dir: Path) -> Iterator[str]:
    with serving(data_dir) as address:
        yield address


@pytest.fixture
def watched(url: str) -> Watched:
    return Watched(url)


@pytest.fixture
def page(browser: Browser, watched: Watched) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="Australia/Melbourne"
    )
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    watched.attach(opened)
    yield opened
    context.close()


def settled(page: Page) -> None:
    """Wait until the script behind the page has run and its charts are drawn."""
    expect(page.locator("h1, h2").first).to_be_visible(timeout=20_000)
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'"
        " && !document.querySelector('[data-testid=stSkeleton]')"
        " && ![...document.querySelectorAll('[data-testid=stVegaLiteChart]')]"
        ".some(chart => !chart.querySelector('canvas, svg'))"
    )


def open_choices(page: Page, name: str) -> None:
    """Open a list of choices; a page that redraws itself meanwhile closes it, so click again."""
    for _ in range(5):
        settled(page)
        page.get_by_role("combobox", name=name, exact=True).click()
        with contextlib.suppress(AssertionError):
            expect(page.get_by_role("option").first).to_be_visible(timeout=4_000)
            return
        page.keyboard.press("Escape")
    raise AssertionError(f"the choices of {name} did not open")


def metric(page: Page, label: str) -> str:
    return metric_value(page, label).inner_text()


def metric_value(page: Page, label: str) -> Locator:
    card = page.get_by_test_id("stMetric").filter(has_text=re.compile(f"^{label}")).first
    return card.get_by_test_id("stMetricValue")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
def test_every_page_is_quiet_and_fits_its_window(
    browser: Browser, url: str, watched: Watched, size: tuple[int, int], scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    watched.attach(page)
    for name in addresses.PAGES:
        page.goto(f"{url}/{name}")
        settled(page)
        assert page.get_by_test_id("stException").count() == 0
        wide = page.evaluate(
            "document.querySelector('.stMainBlockContainer').scrollWidth - window.innerWidth"
        )
        assert wide <= 0, name
        charts = page.get_by_test_id("stVegaLiteChart")
        assert charts.count() >= (2 if name in DRAWN else 0), name
    background = page.evaluate(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )
    assert background == ("rgb(16, 22, 29)" if scheme == "dark" else "rgb(255, 255, 255)")
    watched.assert_quiet()
    context.close()


def test_filters_live_in_the_address_bar(page: Page, url: str, watched: Watched) -> None:
    page.goto(url)
    settled(page)
    before = metric(page, "Registered")
    page.get_by_role("radio", name="12 months").click()
    expect(page).to_have_url(re.compile(r"period=12"))
    source = page.get_by_role("combobox", name="Registration source", exact=True)
    source.click()
    page.get_by_role("option", name="referral").click()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"source=referral"))
    settled(page)
    narrowed = metric(page, "Registered")
    assert narrowed != before
    shared = page.url
    page.get_by_role("link", name="Funnel").click()
    expect(page.get_by_role("heading", name="Funnel", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/funnel\?.*source=referral"))
    page.goto(shared)  # what a colleague sees who gets the link
    settled(page)
    expect(page.get_by_role("radio", name="12 months")).to_have_attribute("aria-checked", "true")
    assert metric(page, "Registered") == narrowed
    watched.assert_quiet()


def test_a_made_up_filter_in_the_address_is_ignored(page: Page, url: str, watched: Watched) -> None:
    page.goto(f"{url}/?period=<script>&source=%27%3B+drop&days=never")
    settled(page)
    expect(page.get_by_role("radio", name="90 days")).to_have_attribute("aria-checked", "true")
    watched.assert_quiet()


def test_the_filters_and_pages_can_be_reached_by_keyboard(page: Page, url: str) -> None:
    page.goto(url)
    settled(page)
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || "
                "document.activeElement.innerText || '').trim()"
            )
        )
    assert {"Overview", "Funnel", "Plan changes", "Overdue payments"} <= reached
    assert any("Registration source" in name for name in reached)
    assert any(name.endswith("days") for name in reached)  # arrows move on from there
    assert any(name.startswith("Help") for name in reached)


def test_a_row_of_a_list_leads_to_its_account(page: Page, url: str, watched: Watched) -> None:
    page.goto(f"{url}/{addresses.OVERDUE_PAYMENTS}")
    settled(page)
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 14, box["y"] + 35 + 17)  # the first row's mark
    expect(page).to_have_url(re.compile(r"/accounts\?.*account=owner\d+%40example\.com"))
    expect(page.get_by_text("Where is this person stuck?")).to_be_visible()
    settled(page)
    shared = page.url
    page.get_by_role("button", name="All accounts").click()
    expect(page.get_by_text("600 accounts", exact=True)).to_be_visible()
    expect(page).not_to_have_url(re.compile("account="))
    page.goto(shared)  # what a colleague sees who gets the link
    expect(page.get_by_text("Where is this person stuck?")).to_be_visible()
    settled(page)
    watched.assert_quiet()


# Page, the chart's key, where in it (shares of width and height), and whom that leads to.
CELLS = (
    (addresses.FUNNEL, "funnel-steps", 0.15, 0.6, "funnel,paid", "who reached “Started paying”"),
    (addresses.RETENTION, "triangle", 0.32, 0.33, "retention,", "First paid in"),
    (addresses.PLAN_CHANGES, "flows", 0.37, 0.52, "flow,", "Went from"),
    (addresses.OVERDUE_PAYMENTS, "ageing-0", 0.3, 0.86, "ageing,90", "Over 90 days"),
    (addresses.OVERVIEW, "level-0", 0.5, 0.3, "paying,USD,2026-", "Paying in USD at the end of"),
    (addresses.OVERVIEW, "registrations", 0.5, 0.78, "registered,", "Registered from"),
    (addresses.FUNNEL, "paid-over-time", 0.5, 0.3, "paid-by,4", "and paid by day 4"),
    (addresses.FUNNEL, "sources", 0.19, 0.1, "converted,30,", "and paid within 30 days"),
)


@pytest.mark.parametrize(("place", "chart", "x", "y", "wanted", "told"), CELLS)
def test_a_cell_of_a_chart_leads_to_the_people_behind_it(
    page: Page, url: str, watched: Watched, place: str, chart: str, x: float, y: float,
    wanted: str, told: str,
) -> None:  # fmt: skip
    page.goto(f"{url}/{place}")
    settled(page)
    drawn = page.locator(f".st-key-{chart}").get_by_test_id("stVegaLiteChart")
    drawn.scroll_into_view_if_needed()
    settled(page)
    box = drawn.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(page).to_have_url(
        re.compile(rf"/accounts\?.*people={re.escape(quote(wanted, safe=''))}")
    )
    expect(page.get_by_text("Only: ")).to_contain_text(told)
    settled(page)
    shared = page.url
    page.get_by_role("button", name="Show everybody").click()
    expect(page.get_by_text("600 accounts", exact=True)).to_be_visible()
    expect(page).not_to_have_url(re.compile("people="))
    page.locator(f"a[href*='/{place}']").first.click()  # the choice is not made a second time
    expect(drawn).to_be_visible()
    settled(page)
    expect(page).to_have_url(re.compile(f"/{place}"))
    page.goto(shared)  # what a colleague sees who gets the link
    expect(page.get_by_text("Only: ")).to_contain_text(told)
    settled(page)
    watched.assert_quiet()


@pytest.mark.parametrize(
    ("place", "described", "typed", "wanted"),
    [
        (addresses.OVERVIEW, "Monthly recurring revenue in USD", "1 Nov", "paying,USD,2026-11-01"),
        (addresses.FUNNEL, "Funnel: ", "Started", "funnel,paid,"),
        (addresses.RETENTION, "Share of accounts retained, by", "3 months", "retention,"),
        (addresses.PLAN_CHANGES, "Number of changes", "to free", "flow,"),
        (addresses.OVERDUE_PAYMENTS, "Share of overdue", "wallet", "recovered,wallet_short,"),
    ],
)
def test_the_people_behind_a_mark_are_reached_by_keyboard_alone(
    page: Page, url: str, watched: Watched, place: str, described: str, typed: str, wanted: str
) -> None:
    page.goto(f"{url}/{place}")
    settled(page)
    marks = page.get_by_role("combobox", name=f"People behind a mark of this chart: {described}")
    for _ in range(120):
        page.keyboard.press("Tab")
        if marks.evaluate("box => box === document.activeElement"):
            break
    expect(marks).to_be_focused()
    page.keyboard.type(typed)
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(
        re.compile(rf"/accounts\?.*people={re.escape(quote(wanted, safe=''))}")
    )
    expect(page.get_by_text("Only: ")).to_be_visible()
    settled(page)
    watched.assert_quiet()


def test_a_question_is_answered_refused_and_downloaded(
    page: Page, url: str, watched: Watched
) -> None:
    page.goto(f"{url}/{addresses.SQL}")
    settled(page)
    editor = page.get_by_role("textbox", name="SELECT")
    editor.fill("select '=1+1' as name, count(*) as accounts from dim_accounts")
    editor.press("Control+Enter")
    expect(page.get_by_text("1 row", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    assert text.splitlines() == ["name,accounts", "'=1+1,600"]
    editor.fill("copy dim_accounts to 'never.csv'")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("The query was refused.")).to_be_visible()
    editor.fill("select *\nfrom nowhere")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("Line 2, column 6")).to_be_visible()
    settled(page)
    watched.assert_quiet()


def test_a_question_that_takes_too_long_can_be_cancelled(
    page: Page, url: str, watched: Watched
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/{addresses.SQL}")
    settled(page)
    endless = "select count(*) from dim_accounts a, dim_accounts b, dim_accounts c, dim_accounts d"
    page.get_by_role("textbox", name="SELECT").fill(endless + " where a.mrr + b.mrr > c.mrr * 9")
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The query was stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    page.get_by_role("textbox", name="SELECT").fill("select 41 + 1 as answer")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("1 row", exact=True)).to_be_visible()
    settled(page)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390  # nothing to be scrolled sideways on a phone
    watched.assert_quiet()


def test_an_export_is_a_csv_without_formulas(
    browser: Browser, tmp_path: Path, watched: Watched
) -> None:
    def spreadsheet(rows: Rows) -> None:
        rows.tables["fct_overdue_episodes"] = [
            (row[0], "=1+1@example.com", *row[2:]) for row in rows.tables["fct_overdue_episodes"]
        ]

    build_warehouse(tmp_path / "data", accounts=400, edit=spreadsheet)
    with serving(tmp_path / "data") as address:
        page = browser.new_page()
        page.goto(f"{address}/{addresses.OVERDUE_PAYMENTS}")
        settled(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Export CSV").first.click()
        text = Path(download.value.path()).read_text("utf-8-sig")
        assert text.splitlines()[0].startswith("account_id,cause,days_overdue")
        assert "\n'=1+1@example.com," in text and "\n=1" not in text
        assert (
            page.get_by_test_id("stElementToolbarButton").filter(has_text="Download").count() == 0
        )
        page.close()


def test_a_new_version_shows_within_seconds_and_keeps_the_filters(
    browser: Browser, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    build_warehouse(root, accounts=0)
    with serving(root) as address:
        watched = Watched(address)
        page = browser.new_page()
        watched.attach(page)
        page.goto(f"{address}/?period=30+days")
        expect(page.get_by_role("heading", name="Ready for the first event")).to_be_visible()
        page.evaluate("window.notReloaded = true")

        build_warehouse(root, accounts=300, version=2)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=UPDATE_MS)
        expect(page.get_by_text("version 2")).to_be_visible()
        expect(page.get_by_role("radio", name="30 days")).to_have_attribute("aria-checked", "true")
        settled(page)
        before = metric(page, "Registered")

        def one_more(rows: Rows) -> None:
            rows.add("fct_registration_funnel", "new@example.com", AS_OF - timedelta(hours=1),
                     "brand_new_source", None, None, None, None, None)  # fmt: skip

        build_warehouse(root, accounts=300, version=3, edit=one_more)
        expect(page.get_by_text("version 3")).to_be_visible(timeout=UPDATE_MS)
        expect(metric_value(page, "Registered")).to_have_text(str(int(before) + 1))
        assert "period=30" in page.url

        status = root / "refresh.json"
        status.write_text(
            '{"ok": false, "attempted_at": "2026-11-22T10:01:00Z", "stage": "build", '
            '"error": "no space left on device", "warnings": []}'
        )
        expect(page.get_by_text("did not succeed")).to_be_visible(timeout=UPDATE_MS)
        assert int(metric(page, "Registered")) == int(before) + 1
        assert page.evaluate("window.notReloaded") is True
        assert (root / "viewing").exists()
        watched.assert_quiet()
        page.close()


HOSTILE = [
    part.replace("EVIL", "http://evil.invalid/x")
    for part in (
        "<script>alert(1)</script>",
        "<img src=EVIL onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<svg><image href=EVIL></svg>",
        "<iframe src=EVIL></iframe>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<object data=EVIL></object>",
        "<embed src=EVIL>",
        "<link rel=stylesheet href=EVIL>",
        "<style>@import 'EVIL'</style>",
        "<base href=EVIL>",
        "<meta http-equiv=refresh content='0;url=EVIL'>",
        "<form action=EVIL><button autofocus onfocus=alert(1)>",
        "<input autofocus onfocus=alert(1)>",
        "<details open ontoggle=alert(1)>",
        "<video src=EVIL onerror=alert(1)>",
        "<audio src=EVIL onerror=alert(1)>",
        "<body onload=alert(1)>",
        "<a href=javascript:alert(1)>x</a>",
        "<math><mtext><script>alert(1)</script>",
        "<template><script>alert(1)</script></template>",
        "<marquee onstart=alert(1)>",
        '"><script>alert(1)</script>',
        "'><img src=EVIL>",
        "--><script>alert(1)</script>",
        "]]><script>alert(1)</script>",
        "</script><script>alert(1)</script>",
        "</title><script>alert(1)</script>",
        "</textarea><img src=EVIL>",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "![x](EVIL)",
        "[![x](EVIL)](EVIL)",
        "[x](javascript:alert(1))",
        "<EVIL>",
        "EVIL",
        "[x]: EVIL",
        "![x][1]\n\n[1]: EVIL",
        ":material/home:",
        ":red[x]",
        ":streamlit:",
        "$\\href{EVIL}{x}$",
        "$$\\includegraphics{EVIL}$$",
        "`<img src=EVIL>`",
        "```html\n<img src=EVIL>\n```",
        "# heading",
        "| a |\n|---|\n| ![x](EVIL) |",
        "{{constructor.constructor('alert(1)')()}}",
        "${alert(1)}",
        "<%= 7*7 %>",
        "datum.x; alert(1)",
        "'+alert(1)+'",
        "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "\u202e<script>alert(1)</script>",
        "<scr\u0000ipt>alert(1)</script>".replace("\u0000", "\ufffd"),
        '=IMAGE("EVIL")',
        "'; drop table events; --",
        "__proto__",
        "x" * 4_000,
    )
]


def test_hostile_text_in_every_column_runs_nothing_and_fetches_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    """Each text column of each table gets the payloads in turn, so all of them reach each page."""
    assert len(set(HOSTILE)) >= 60

    def poison(rows: Rows) -> None:
        chosen_by_us = {
            "fct_plan_changes": {3, 7, 13, 18},
            "fct_overdue_episodes": {5, 12, 16},
            "dim_accounts": {13},
            "plan_prices": {4},
        }
        for table, values in rows.tables.items():
            ours = chosen_by_us.get(table, set())
            rows.tables[table] = [
                tuple(
                    f"{HOSTILE[(at + column) % len(HOSTILE)]}"
                    if isinstance(value, str) and column not in ours
                    else value
                    for column, value in enumerate(row)
                )
                for at, row in enumerate(values)
            ]

    build_warehouse(tmp_path / "data", accounts=1_500, edit=poison)
    with serving(tmp_path / "data") as address:
        watched = Watched(address)
        page = browser.new_page()
        page.set_default_timeout(20_000)
        watched.attach(page)
        for name in addresses.PAGES:
            page.goto(f"{address}/{name}?period=All+time")
            settled(page)
            if name in DRAWN:
                assert page.get_by_test_id("stMetric").count() >= 4, name
            assert page.locator("main img, main iframe, main object, main script").count() == 0
            if name == addresses.OVERVIEW:
                page.get_by_text("The latest").click()
                open_choices(
                    page,
                    "People behind a mark of this chart: "
                    "Registrations by month, stacked by registration source",
                )
                page.keyboard.press("Escape")
                open_choices(page, "Registration source")
                page.get_by_role("option").nth(2).click()
                page.keyboard.press("Escape")
                page.wait_for_function("location.search.includes('source=')")
                page.goto(page.url)  # drawn anew with the choice: nothing redraws itself any more
                settled(page)
            charts = page.get_by_test_id("stVegaLiteChart")
            for at in range(min(charts.count(), 6)):
                charts.nth(at).hover()
        watched.assert_quiet()
        page.close()
