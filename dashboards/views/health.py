"""Events and data health: what arrives, what became of it, and how far behind the numbers are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import streamlit as st

from dashboards import charts, components, definitions, deliveries, figures, formats
from dashboards.context import Installation
from dashboards.deliveries import Health
from dashboards.filters import Filters
from dashboards.source import Source
from ingest.errors import HooklakeError, LedgerError
from warehouse.reader import published

LOOK_SECONDS: Final = 5
BEHIND_A_COUNT: Final = (
    "The deliveries behind a count: `hooklake log --verdict duplicate`, and likewise `accepted`, "
    "`quarantined`, `rejected`; `hooklake log 12` follows one of them to every row it made. Those "
    "that the ledger has let go of since are counted still."
)
BODY_LETTERS_MAX: Final = 20_000
# for each window: its length, its bucket, the unit of the bucket in words
WINDOWS: Final = {
    "1h": ("Last hour", timedelta(hours=1), timedelta(minutes=1), "minute"),
    "24h": ("24 hours", timedelta(hours=24), timedelta(hours=1), "hour"),
    "7d": ("7 days", timedelta(days=7), timedelta(hours=6), "6 hours"),
    "30d": ("30 days", timedelta(days=30), timedelta(days=1), "day"),
}


def draw(source: Source, _: Filters) -> None:
    """What the warehouse knows of its own completeness."""
    unknown = source.ask("unknown_event_types")
    waiting = int(source.ask("waiting_deletions")["deletions"][0])
    if unknown.is_empty() and not waiting and source.ask("unpriced_plans").is_empty():
        components.nothing(
            "Every stored event is of a known type and has an owner, and every plan in use has a "
            "price."
        )
        return
    if waiting:
        st.warning(
            f"**{formats.counted(waiting, 'deletion')} of workspaces nobody is known to own.** "
            "They count as soon as another event tells the owner. Which they are: `select * from "
            "events where event_type = 'workspace_deleted' and account_id is null` on the page SQL."
        )
    if not unknown.is_empty():
        components.section("Unknown event types", definitions.UNKNOWN_TYPES)
        components.table(
            unknown,
            {
                "sender_event": st.column_config.TextColumn("Event, as the sender calls it"),
                "events": st.column_config.NumberColumn("Events", format="localized"),
                "last_received_at": _instant("Last received (UTC)"),
            },
            key="unknown-types",
        )
        st.caption("The events: `select * from events where event_type = 'other'` on the page SQL.")


def draw_ledger(installation: Installation) -> None:
    """What the receiver's ledger tells, also where there is no warehouse to show."""
    window = (
        st.segmented_control(
            "Deliveries of",
            list(WINDOWS),
            default="24h",
            format_func=lambda name: WINDOWS[name][0],
            key="window-of-deliveries",
            required=True,
        )
        or "24h"
    )

    @st.fragment(run_every=LOOK_SECONDS)
    def look() -> None:
        try:
            found = _health(installation.data_dir.ledger, window)
        except LedgerError as error:
            if not installation.data_dir.ledger.exists():
                components.nothing("The receiver has not made its ledger yet.")
                return
            st.warning("**The receiver's ledger cannot be read now.** It is looked at again.")
            st.text(str(error))
            return
        _cards(installation, found)
        st.caption(BEHIND_A_COUNT)
        _course(found, window)
        _stream(found)
        _quarantine(installation.data_dir.ledger, found)
        _fields(found)

    look()


@st.cache_data(ttl=LOOK_SECONDS - 1, max_entries=8, show_spinner=False)
def _health(ledger: Path, window: str) -> Health:
    _, length, bucket, _ = WINDOWS[window]
    return deliveries.health(ledger, now=datetime.now(UTC), window=length, bucket=bucket)


def _cards(installation: Installation, found: Health) -> None:
    now = datetime.now(UTC)
    all_of_them = found.counters["deliveries"]
    with components.cards("health"):
        for label, counter, meaning in (
            ("Accepted", "events", "accepted"),
            ("Duplicates", "duplicates", "duplicate"),
            ("Quarantined", "quarantined", "quarantined"),
        ):
            number = found.counters[counter]
            components.card(
                label,
                formats.count(number),
                help_text=definitions.VERDICTS[meaning],
                caption=f"{formats.percent(formats.rate(number, all_of_them))} of "
                f"{formats.counted(all_of_them, 'delivery', 'deliveries')} ever",
            )
        rejected = figures.total(found.course.filter(pl.col("verdict") == "rejected"), "deliveries")
        components.card(
            "Rejected",
            formats.count(rejected),
            help_text=definitions.VERDICTS["rejected"],
            caption="in the window, of the newest 1,000 kept",
        )
        last = found.newest_event_at
        components.card(
            "Last event",
            formats.ago(max(0.0, (now - last).total_seconds())) if last else formats.NOTHING,
            help_text="When the receiver last accepted an event that it had not seen before.",
            caption=formats.instant(last) if last else "none yet",
        )
        waits = found.pending_since
        components.card(
            "Landing lag",
            formats.span(max(0.0, (now - waits).total_seconds())) if waits else "0 s",
            help_text=definitions.LANDING_LAG,
            caption="age of the oldest event not in the lake" if waits else "all is in the lake",
        )
        _refresh_card(installation, found)


def _refresh_card(installation: Installation, found: Health) -> None:
    try:
        version = published(installation.data_dir)
    except (duckdb.Error, OSError, IndexError, TypeError):
        version = None
    shown = version.newest_received_at if version else None
    behind = None
    if version is not None and found.newest_event_at is not None:
        behind = (
            max(0.0, (found.newest_event_at - shown).total_seconds()) if shown is not None else None
        )
    components.card(
        "Refresh lag",
        formats.span(behind),
        help_text=definitions.REFRESH_LAG,
        caption=f"version {version.version} of {formats.instant(version.built_at)}"
        if version
        else "nothing is published",
    )


def _course(found: Health, window: str) -> None:
    label, _, _, unit = WINDOWS[window]
    components.section(f"Deliveries by {unit}", definitions.DELIVERIES)
    if found.course.is_empty():
        components.nothing(f"Nothing arrived in this window ({label.lower()}).")
    else:
        components.chart(
            charts.deliveries(
                found.course, WINDOWS[window][2], components.palette(), until=datetime.now(UTC)
            ),
            f"Deliveries by {unit} and by what became of them",
        )
        totals = dict(found.course.group_by("verdict").agg(pl.col("deliveries").sum()).iter_rows())
        everything = sum(totals.values())
        st.caption(
            " · ".join(
                f"{definitions.VERDICT_LABELS[verdict]} {formats.count(totals.get(verdict, 0))} "
                f"({formats.percent(formats.rate(totals.get(verdict, 0), everything))})"
                for verdict in deliveries.VERDICTS
            )
        )
    if found.reaches_back is not None:
        st.caption(
            f"Only the newest {formats.count(deliveries.COUNTED_MAX)} of a kind are counted here; "
            f"before {formats.instant(found.reaches_back)} some are missing."
        )


def _stream(found: Health) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width="stretch"):
            components.section(
                "Newest deliveries",
                f"The last {deliveries.NEWEST_MAX}, looked at again every {LOOK_SECONDS} seconds.",
            )
        components.download("deliveries.csv", lambda: found.newest, key="deliveries-csv")
    if found.newest.is_empty():
        components.nothing("Nothing has been delivered yet.")
        return
    text = st.column_config.TextColumn
    components.table(
        found.newest.with_columns(pl.col("verdict").replace(definitions.VERDICT_LABELS)),
        {
            "received_at": st.column_config.DatetimeColumn(
                "Received (UTC)", format="D MMM HH:mm:ss", timezone="UTC"
            ),
            "verdict": text("Verdict"),
            "event_type": text("Event"),
            "account_id": text("Account"),
            "workspace_id": text("Workspace"),
            "reason": text("Why", width="large"),
            "verified_by": text("Verified by"),
            "seq": st.column_config.NumberColumn("Number"),
        },
        key="stream",
    )


def _quarantine(ledger: Path, found: Health) -> None:
    components.section("Quarantine", definitions.VERDICTS["quarantined"])
    if found.quarantine.is_empty():
        components.nothing("Nothing is quarantined.")
        return
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    reasons, listed = st.columns([1, 2], gap="large")
    with reasons:
        st.markdown("**Reasons**")
        components.table(
            found.reasons,
            {
                "field": text("Field"),
                "code": text("Problem"),
                "deliveries": number("Deliveries", format="localized"),
            },
            key="reasons",
        )
    with listed:
        shown = formats.count(found.quarantine.height)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"{formats.count(found.quarantined_open)} open, the newest {shown} here. Choose a "
                "row to see what was received.",
                width="stretch",
            )
            components.download(
                "quarantine.csv", lambda: found.quarantine.drop("problems"), key="quarantine-csv"
            )
        chosen = components.table(
            found.quarantine,
            {
                "received_at": _instant("Received (UTC)"),
                "sender_event": text("Event"),
                "reason": text("Why", width="large"),
                "seq": number("Number"),
                "body_bytes": number("Bytes", format="localized"),
            },
            key="quarantine",
            is_selectable=True,
        )
    if chosen is not None:
        _body(ledger, int(found.quarantine["seq"][chosen]))


def _body(ledger: Path, seq: int) -> None:
    try:
        delivery = deliveries.quarantined_delivery(ledger, seq)
    except HooklakeError as error:
        st.text(str(error))
        return
    for problem in delivery.problems:
        st.text(f"{problem.field}: {problem.message} ({problem.code})")
    body = delivery.body[: 4 * BODY_LETTERS_MAX].decode("utf-8", "backslashreplace")
    st.caption("The body as received:")
    st.code(body[:BODY_LETTERS_MAX], language="json", wrap_lines=True)
    if len(body) > BODY_LETTERS_MAX:
        st.caption("It goes on; the command below shows all of it.")
    st.caption("To see all of it, and to read it again after a mend:")
    st.code(f"hooklake quarantine show {seq}\nhooklake quarantine replay {seq}", language="bash")


def _fields(found: Health) -> None:
    components.section("Fields nobody expected, or nobody could read", definitions.FIELDS)
    if found.fields.is_empty():
        components.nothing("Every field of every event was known and readable.")
        return
    text = st.column_config.TextColumn
    components.table(
        found.fields.with_columns(pl.col("kind").replace(definitions.FIELD_LABELS)),
        {
            "kind": text("Kind"),
            "event_type": text("Event"),
            "name": text("Field"),
            "count": st.column_config.NumberColumn("Times", format="localized"),
        },
        key="fields",
    )


def _instant(title: str) -> Any:
    return st.column_config.DatetimeColumn(title, format="D MMM YYYY HH:mm", timezone="UTC")
