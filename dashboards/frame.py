"""What surrounds every page: its title, the filters in the address bar, the data's age.

`watch` is what makes pages follow the data: a fragment the browser runs every two seconds, which
compares the name behind the link and starts the page anew only when that changed. Reading a link
is all it costs while nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import streamlit as st

from dashboards import formats
from dashboards.context import Installation
from dashboards.filters import (
    DEFAULT_PERIOD,
    PERIOD_DAYS,
    PERIOD_LABELS,
    Filters,
    chosen_filters,
)
from dashboards.source import Source
from dashboards.states import RefreshStatus, refresh_status
from ingest.paths import DataDir
from warehouse.reader import Published, resolved_path

LOOK_SECONDS: Final = 2
TOUCH_SECONDS: Final = 20


def seen(data_dir: DataDir) -> tuple[str, ...]:
    """What a page depends on, cheaply: another value means it has to be drawn anew."""
    path = resolved_path(data_dir)
    return (str(data_dir.root.is_dir()), _stamp(path), _refresh_outcome(data_dir.refresh_status))


def watch(installation: Installation, drawn: tuple[str, ...], version: Published | None) -> None:
    """Say how old the data is, and draw the page anew within seconds when it has changed."""

    @st.fragment(run_every=LOOK_SECONDS)
    def look() -> None:
        touch(installation.data_dir.viewing)
        if seen(installation.data_dir) != drawn:
            st.rerun(scope="app")
        if version is not None:
            st.caption(age_line(version, datetime.now(UTC)))

    look()


def age_line(version: Published, now: datetime) -> str:
    """As of when the numbers are, how old that is, and of how many events."""
    age = formats.ago(max(0.0, (now - version.as_of).total_seconds()))
    newest = (
        f" · newest event received {formats.instant(version.newest_received_at)}"
        if version.newest_received_at
        else ""
    )
    return (
        f"As of **{formats.instant(version.as_of)}** ({age}){newest} · "
        f"{formats.counted(version.events, 'event')} · version {version.version} · all days in UTC"
    )


def touch(viewing: Path, now: float | None = None) -> bool:
    """Mark that somebody looks, at most every TOUCH_SECONDS; whether the mark was renewed.

    A directory that is read-only or gone is no reason for a page to fail.
    """
    with contextlib.suppress(OSError):
        moment = time.time() if now is None else now
        if viewing.parent.is_dir():
            try:
                last = viewing.stat().st_mtime
            except FileNotFoundError:
                last = 0.0
            if not 0 <= moment - last < TOUCH_SECONDS:
                viewing.touch(mode=0o600)
                os.utime(viewing, (moment, moment))
                return True
    return False


def filters_bar(
    source: Source,
    first_day: date | None,
    *,
    has_period: bool = True,
    has_sources: bool = True,
) -> Filters:
    """The widgets, bound to the address bar, and what they mean together.

    A page gets those it obeys and no others, so that nobody takes its numbers for filtered.
    """
    today = source.version.as_of.date()
    with st.container(horizontal=True, vertical_alignment="top", key="filters"):
        period = _period() if has_period else DEFAULT_PERIOD
        custom: tuple[date, ...] = ()
        if period == "custom":
            begin = first_day or today
            chosen = st.date_input(
                "First and last day",
                value=(max(begin, today.replace(day=1)), today),
                max_value=today,
                format="YYYY-MM-DD",
                key="days",
                bind="query-params",
                width=240,
            )
            custom = chosen if isinstance(chosen, tuple) else (chosen,)
        known = source.ask("sources")["source"].to_list()  # a file cut short shows here, if not yet
        sources = _sources(known) if has_sources else []
    return chosen_filters(period, custom, tuple(sources), first_day=first_day or today, today=today)


def _period() -> str:
    return (
        st.segmented_control(
            "Period (UTC days, today included)",
            list(PERIOD_DAYS),
            default=DEFAULT_PERIOD,
            format_func=PERIOD_LABELS.__getitem__,
            key="period",
            bind="query-params",
            required=True,
            wrap=True,
        )
        or DEFAULT_PERIOD
    )


def _sources(known: list[str]) -> list[str]:
    return st.multiselect(
        "Registration source",
        known,
        placeholder="All sources",
        key="source",
        bind="query-params",
        width=320,
    )


def banner_status(data_dir: DataDir) -> RefreshStatus | None:
    """The last refresh, if it failed or warned."""
    status = refresh_status(data_dir.refresh_status)
    return status if status and (status.reason is not None or status.warnings) else None


def _stamp(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        found = path.stat()
    except OSError:
        return str(path)
    return f"{path}:{found.st_mtime_ns}:{found.st_size}"


def _refresh_outcome(path: Path) -> str:
    status = refresh_status(path)
    if status is None:
        return ""
    return f"{status.stage}:{status.reason}:{status.warnings}"
