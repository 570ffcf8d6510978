"""What a page shows instead of numbers: each state says what is so and what to do next.

The texts put together here hold places and addresses of this installation, in code blocks, and
never a secret.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import streamlit as st

from dashboards import formats
from dashboards.context import Installation
from ingest.errors import SettingsError

REASON_LETTERS_MAX = 600


@dataclass(frozen=True)
class RefreshStatus:
    """The outcome of the last refresh attempt; reason is None when it went well."""

    reason: str | None
    stage: str
    attempted_at: datetime | None
    warnings: tuple[str, ...] = ()


def refresh_status(path: Path) -> RefreshStatus | None:
    """What refresh.json says; None without one, or while it says nothing that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
        attempted = datetime.fromisoformat(str(found["attempted_at"]))
        is_ok = bool(found["ok"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if attempted.tzinfo is None:
        return None
    reason = None if is_ok else str(found.get("error") or "no reason was recorded")
    return RefreshStatus(
        reason[:REASON_LETTERS_MAX] if reason is not None else None,
        str(found.get("stage") or ""),
        attempted,
        tuple(str(warning)[:REASON_LETTERS_MAX] for warning in found.get("warnings") or ()),
    )


def failed_refresh(status: RefreshStatus, *, has_data: bool) -> None:
    """A calm banner: what failed, when, and that the last good numbers are still right."""
    kept = (
        "The numbers below are the last good ones and stay until a refresh succeeds."
        if has_data
        else "There are no earlier numbers to show yet."
    )
    when = f" at {formats.instant(status.attempted_at)}" if status.attempted_at else ""
    st.warning(f"**The last refresh{when} did not succeed.** {kept}")
    with st.expander("Why, and what to do"):
        st.text(status.reason or "")
        st.caption("Run this on the machine that keeps the data; it says more:")
        st.code("hooklake refresh", language="bash")


def wrong_settings(error: SettingsError) -> None:
    """The settings cannot be read."""
    _title("hooklake's settings need mending")
    st.text(str(error))


def no_data_directory(installation: Installation) -> None:
    """Nothing has ever been started here."""
    _title("Nothing has been received here yet")
    st.markdown("There is no data directory yet. Start everything with one command:")
    st.code("make run", language="bash")
    st.caption("or the receiver alone, where hooklake is installed:")
    st.code(f"hooklake serve --data-dir {_quoted(installation)}", language="bash")
    _waits()


def no_warehouse(installation: Installation) -> None:
    """Something is being received, and no refresh has run."""
    _title("The first numbers are not there yet")
    st.markdown(
        "The data directory exists, but no refresh has published a warehouse. This is normal for "
        "the first seconds of `make run`. If the receiver was started alone, start this beside it:"
    )
    st.code(f"hooklake refresh --watch --data-dir {_quoted(installation)}", language="bash")
    _waits()


def no_events(installation: Installation) -> None:
    """The warehouse is whole and empty: shows how to send the first event."""
    _title("Ready for the first event")
    st.markdown(
        "The warehouse is up and empty. Send one event and watch this page: it shows the "
        "registration within seconds, without a reload."
    )
    with st.container(border=True):
        st.markdown("**From this machine,** signed for you")
        st.code(
            f"hooklake trigger user_registered --data-dir {_quoted(installation)}",
            language="bash",
        )
    with st.container(border=True):
        st.markdown("**With curl,** as UChat will send it")
        address = installation.webhook_url + ("/$TOKEN" if installation.accepts_url_token else "")
        body = json.dumps(
            {
                "event": "user_registered",
                "data": {"email": "ada@example.com", "source": "landing_page"},
            }
        )
        st.code(f"curl \"{address}\" \\\n  --data '{body}'", language="bash", wrap_lines=True)
        if installation.accepts_url_token:
            st.caption("Your token is HOOKLAKE_TOKENS in this file, which only you can read:")
            st.code(str(installation.data_dir.secrets), language=None)
    with st.container(border=True):
        st.markdown("**In UChat:** paste that same address into the partner settings, Webhook URL")
        st.caption(
            "UChat must reach it from the internet: put a tunnel or a proxy with TLS in front."
        )
    _waits()


def broken_warehouse(installation: Installation) -> None:
    """The published file cannot be read."""
    _title("The warehouse file cannot be read")
    st.markdown(
        "The published file is there but is not a whole warehouse: it may have been cut short or "
        "replaced by hand. No event is lost. Build it again from the lake:"
    )
    st.code(f"hooklake refresh --full --data-dir {_quoted(installation)}", language="bash")
    st.caption("The file:")
    st.code(str(installation.data_dir.warehouse), language=None)
    _waits()


def page_failed(reference: str) -> None:
    """A fault of ours: what the reader may do, and where the particulars are."""
    st.error(
        "**This page could not be drawn.** The data is unharmed. Try another period, or reload; "
        f"the dashboard's log has the particulars under `{reference}`."
    )


def _title(text: str) -> None:
    st.header(text, anchor=False)


def _waits() -> None:
    st.caption("This page looks again every two seconds; there is no need to reload it.")


def _quoted(installation: Installation) -> str:
    return shlex.quote(str(installation.data_dir.root))
