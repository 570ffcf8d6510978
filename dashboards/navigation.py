"""The way from a row or a mark of any page to the accounts it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from dashboards import addresses
from dashboards.people import Lead

_PAGES = "_pages"
_PLACE = "_place"


def use(pages: Mapping[str, StreamlitPage]) -> None:
    """Remember this run's pages by their place in the address."""
    st.session_state[_PAGES] = dict(pages)


def arrive(place: str) -> None:
    """Remember which of them is being drawn."""
    st.session_state[_PLACE] = place


def open_account(account_id: str) -> None:
    """Show the account's page; its address can be shared and goes back to where one was."""
    pages: Mapping[str, StreamlitPage] = st.session_state.get(_PAGES, {})
    if addresses.ACCOUNTS in pages:
        st.switch_page(pages[addresses.ACCOUNTS], query_params={"account": account_id})


def link(lead: Lead, label: str) -> None:
    """A link to the rows behind a number: a real one, to be opened beside and copied too.

    label: Markdown of ours. On the page of the rows itself it is a button: a link from a page to
    itself leaves the address as it was.
    """
    pages: Mapping[str, StreamlitPage] = st.session_state.get(_PAGES, {})
    if st.session_state.get(_PLACE) == addresses.ACCOUNTS:
        if st.button(label, key=f"lead-{lead.parts[0].address}", type="tertiary"):
            open_lead(lead)
    elif addresses.ACCOUNTS in pages:
        st.page_link(
            pages[addresses.ACCOUNTS], label=label, icon="", query_params=lead.query, help=""
        )


def open_lead(lead: Lead) -> None:
    """Show the rows behind a number."""
    pages: Mapping[str, StreamlitPage] = st.session_state.get(_PAGES, {})
    if addresses.ACCOUNTS in pages:
        st.switch_page(pages[addresses.ACCOUNTS], query_params=lead.query)


def open_people(people: str, sources: Sequence[str] = ()) -> None:
    """Show the rows behind a mark (people.py), from these sources alone if any."""
    pages: Mapping[str, StreamlitPage] = st.session_state.get(_PAGES, {})
    if addresses.ACCOUNTS in pages:
        wanted: dict[str, str | list[str]] = {"people": people}
        if sources:
            wanted["source"] = list(sources)
        st.switch_page(pages[addresses.ACCOUNTS], query_params=wanted)
