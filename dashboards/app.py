"""The script Streamlit runs for every view: frame, then page; nothing but wiring."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import duckdb
import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from dashboards import components, context, frame, navigation, states, theme
from dashboards.context import Installation
from dashboards.people import Lead, People
from dashboards.source import Source
from dashboards.views import VIEWS, Page
from ingest.errors import SettingsError
from warehouse.reader import published

ICON = Path(__file__).with_name("icon.svg")
# What a file that was cut short or exchanged makes DuckDB say, in the middle of a page as well.
DAMAGED = (
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.CatalogException,
    duckdb.FatalException,
    duckdb.InternalException,
)
log = logging.getLogger("hooklake.dashboards")


def main() -> None:
    """Draw the page the address names."""
    st.set_page_config(page_title="hooklake", page_icon=str(ICON), layout="wide")
    st.html(theme.STYLE_SHEET)
    st.logo(str(ICON), size="large")
    pages = {page.url_path: _navigable(page) for page in VIEWS}
    navigation.use(pages)
    st.navigation(list(pages.values()), position="top").run()


def draw_safely(page: Page) -> None:
    """Draw the page; a fault of ours gives the reader a calm line and the log the traceback."""
    try:
        draw(page)
    except Exception:
        reference = secrets.token_hex(4)
        log.exception("page %s failed, reference %s", page.title, reference)
        states.page_failed(reference)


def _navigable(page: Page) -> StreamlitPage:
    def run() -> None:
        navigation.arrive(page.url_path)
        draw_safely(page)

    return st.Page(run, title=page.title, url_path=page.url_path, default=page is VIEWS[0])


def draw(page: Page) -> None:
    """The frame around the page, and the page or the state that is shown in its stead."""
    try:
        installation = context.installation()
    except SettingsError as error:
        states.wrong_settings(error)
        return
    if installation.is_login_required and not st.user.is_logged_in:
        st.header("hooklake", anchor=False)
        st.button("Log in", on_click=st.login, type="primary")
        return
    _draw_warehouse(page, installation)
    if page.beneath is not None:
        page.beneath(installation)


def _draw_warehouse(page: Page, installation: Installation) -> None:
    drawn = frame.seen(installation.data_dir)
    status = frame.banner_status(installation.data_dir)
    try:
        version = published(installation.data_dir)
        source = Source(version) if version else None
        coverage = source.ask("coverage").row(0, named=True) if source else {}
    except (duckdb.Error, OSError, IndexError, TypeError):
        log.exception("the published warehouse cannot be read")
        frame.watch(installation, drawn, None)
        states.broken_warehouse(installation)
        return
    if status and status.reason is not None:
        states.failed_refresh(status, has_data=source is not None)
    if source is None or version is None:
        frame.watch(installation, drawn, None)
        if installation.data_dir.root.is_dir():
            states.no_warehouse(installation)
        else:
            states.no_data_directory(installation)
        return
    if not version.events and not coverage["accounts"]:
        frame.watch(installation, drawn, version)
        states.no_events(installation)
        return
    st.title(page.title, anchor=False)
    frame.watch(installation, drawn, version)
    try:
        filters = frame.filters_bar(
            source,
            coverage["first_day"],
            has_period=page.has_period,
            has_sources=page.has_sources,
        )
        warn_about_plans(source)
        page.draw(source, filters)
    except DAMAGED:
        log.exception("the published warehouse cannot be read to its end")
        states.broken_warehouse(installation)


def warn_about_plans(source: Source) -> None:
    """Loud: somebody pays for a plan whose price nobody told us."""
    plans = source.ask("unpriced_plans")
    if plans.is_empty():
        return
    st.warning(
        "**Some plans have no price, so MRR is too low.** Add them to `plan_prices.csv` in the "
        "data directory; the next refresh counts them."
    )
    with st.expander("Which plans"):
        chosen = components.table(
            plans,
            {
                "plan_id": st.column_config.TextColumn("Plan"),
                "accounts": st.column_config.NumberColumn("Accounts on it", format="localized"),
            },
            key="unpriced",
            is_selectable=True,
        )
        leads = [Lead((People.of("unpriced", plan),)) for plan in plans["plan_id"]]
        components.say_and_open_lead(leads, chosen)


if __name__ == "__main__":
    main()
