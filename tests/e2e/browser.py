"""A real Chromium, and a page that notices everything a visitor's console would show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from installation import wait_until
from playwright.sync_api import Browser, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing of the browser's own may reach out: what is counted is what the pages do.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
DRAWN_SECONDS_MAX = 60


def chromium_path() -> str | None:
    """$CHROMIUM, which `make test` sets, else the first of the usual names."""
    candidates = (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES))
    return next((path for path in candidates if path), None)


def require_chromium() -> str:
    """Its path; without one the test fails in CI and is skipped, with the reason, elsewhere."""
    path = chromium_path()
    if path is None:
        reason = "no Chromium found; install the package chromium or set CHROMIUM to its path"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What went wrong on a page since it was opened."""

    page: Page
    home: str
    console_errors: list[str] = field(default_factory=list)
    foreign_requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self._heard("error", str(error)))
        self.page.on("request", self._requested)
        self.page.on("websocket", lambda socket: self._reached(socket.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.console_errors.append(text)

    def _requested(self, request: Request) -> None:
        self._reached(request.url)

    def _reached(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.home:
            self.foreign_requests.append(url)

    def assert_drawn(self) -> None:
        """No page of ours failed on the server; where one did, its log has the particulars."""
        failed = self.page.get_by_text("could not be drawn")
        assert failed.count() == 0, f"{self.page.url}: {failed.first.inner_text()}"

    def assert_clean(self) -> None:
        assert self.console_errors == []
        assert self.foreign_requests == []


UNFINISHED = """() => document.querySelectorAll(
    '[data-testid="stStatusWidget"], [data-testid="stSkeleton"], '
    + '[data-testid="stVegaLiteChart"]:not(:has(svg, canvas)), '
    + '[data-testid="stMetricChart"]:not(:has(svg, canvas))'
).length"""


def picture(watch: Watch, *, full_page: bool = False) -> bytes:
    """The page as PNG once it is drawn: nothing is unfinished and two looks are the same."""
    before = b""

    def stands_still() -> bytes:
        nonlocal before
        now = watch.page.screenshot(full_page=full_page)
        is_same, before = now == before, now
        return now if is_same and not watch.page.evaluate(UNFINISHED) else b""

    what = f"{watch.page.url} to be drawn"
    return wait_until(stands_still, seconds=DRAWN_SECONDS_MAX, what=what, every=0.3)


def open_page(browser: Browser, url: str, size: dict[str, int], **context: object) -> Watch:
    """A fresh visitor's page at `url`, watched from its first request on."""
    visitor = browser.new_context(viewport=size, **context)  # type: ignore[arg-type]
    watch = Watch(visitor.new_page(), urlsplit(url).netloc)
    watch.page.goto(url)
    return watch
