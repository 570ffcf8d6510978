"""The way from a row or a mark of any page to the accounts it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from dashboards import addresses

_PAGES = "_pages"


def use(pages: Mapping[str, StreamlitPage]) -> None:
    """Remember this run's pages by their place in the address."""
    st.session_state[_PAGES] = dict(pages)


def open_account(account_id: str) -> None:
    """Show the account's page; its address can be shared and goes back to where one was."""
    pages: Mapping[str, StreamlitPage] = st.session_state.get(_PAGES, {})
    if addresses.ACCOUNTS in pages:
        st.switch_page(pages[addresses.ACCOUNTS], query_params={"account": account_id})


def open_people(people: str, sources: Sequence[str] = ()) -> None:
    """Show the list of the accounts behind a cell (people.py), from these sources alone if any."""
    pages: Mapping[str, StreamlitPage] = st.session_state.get(_PAGES, {})
    if addresses.ACCOUNTS in pages:
        wanted: dict[str, str | list[str]] = {"people": people}
        if sources:
            wanted["source"] = list(sources)
        st.switch_page(pages[addresses.ACCOUNTS], query_params=wanted)
