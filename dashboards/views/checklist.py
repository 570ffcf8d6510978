"""The checklist of an integration: what was really seen, proved, and the command for the rest."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import streamlit as st

from dashboards import components, formats
from dashboards.context import Installation
from dashboards.filters import Filters
from dashboards.source import Source
from ingest.checklist import Item, checklist, command_of
from ingest.errors import LedgerError
from ingest.ledger import open_read_only

LOOK_SECONDS: Final = 5
REST: Final = 20
"""So many times as long as a look took, nobody looks again."""


def draw(_source: Source, _filters: Filters) -> None:
    """Nothing here comes from the warehouse; `draw_ledger` draws all of it."""


def draw_ledger(installation: Installation) -> None:
    """Every row, green once the receiver has seen it; also where there is no warehouse."""

    @st.fragment(run_every=LOOK_SECONDS)
    def look() -> None:
        try:
            items = _items(installation.data_dir.ledger)
        except LedgerError as error:
            if not installation.data_dir.ledger.exists():
                components.nothing("The receiver has not made its ledger yet.")
                return
            st.warning("**The receiver's ledger cannot be read now.** It is looked at again.")
            st.text(str(error))
            return
        _progress(items)
        components.download(
            "checklist.csv",
            lambda: _frame(items, str(installation.data_dir.root)),
            key="checklist-csv",
        )
        for group in dict.fromkeys(item.group for item in items):
            st.subheader(group, anchor=False)
            for item in items:
                if item.group == group:
                    _row(item, str(installation.data_dir.root))

    look()


_looked: dict[Path, tuple[float, list[Item]]] = {}


def _items(ledger: Path) -> list[Item]:
    """The rows as they are now, or were when a look was last due: a large ledger takes seconds."""
    began = time.monotonic()
    due, items = _looked.get(ledger, (0.0, []))
    if began < due and ledger.exists():
        return items
    with open_read_only(ledger) as connection:
        items = list(checklist(connection))
    ended = time.monotonic()
    _looked[ledger] = (ended + max(LOOK_SECONDS - 1, REST * (ended - began)), items)
    return items


def _frame(items: list[Item], data_dir: str) -> pl.DataFrame:
    """group, title, meaning, seen (times), last_at, command: the rows as they are shown."""
    rows = [
        (item.group, item.title, item.meaning, item.count, item.last_at, command_of(item, data_dir))
        for item in items
    ]
    names = ["group", "title", "meaning", "seen", "last_at", "command"]
    frame = pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"last_at": pl.Int64})
    return frame.with_columns(pl.from_epoch("last_at", "us").dt.replace_time_zone("UTC"))


def _progress(items: list[Item]) -> None:
    seen = sum(item.is_seen for item in items)
    st.progress(seen / len(items), text=f"{seen} of {len(items)} seen and proved")
    st.caption(
        "What this installation has ever received and proved, from the receiver's ledger; looked "
        "at again every few seconds. Test deliveries count like any other. `hooklake log` lists "
        "the deliveries, `hooklake log --event plan_changed` those of one event."
    )


def _row(item: Item, data_dir: str) -> None:
    with st.container(border=True, key=f"check-{item.key}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(
                "✓ Seen" if item.is_seen else "Not yet", color="green" if item.is_seen else "gray"
            )
            st.markdown(f"**{item.title}**", width="content")
            st.caption(_told(item), width="stretch")
        st.code(command_of(item, data_dir), language="bash", wrap_lines=True)


def _told(item: Item) -> str:
    if item.last_at is None:
        return f"{item.meaning}; test it with:"
    last = datetime.fromtimestamp(item.last_at / 1_000_000, UTC)
    times = formats.counted(item.count, "time")
    when = formats.day(last.date()) if item.is_last_a_day else formats.instant(last)
    return f"{item.meaning}: {times}, last {when}"
