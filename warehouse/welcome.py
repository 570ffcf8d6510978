"""The one screen that `hooklake run` shows: where to send, where to look, and what goes wrong."""

from __future__ import annotations

import json
import shlex
from typing import Final

from rich.text import Text

from ingest.settings import Settings

ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)
SAMPLE_BODY: Final = {
    "event": "user_registered",
    "data": {"email": "ada@example.com", "source": "landing_page"},
}
QUIET_LEVELS: Final = frozenset(("debug", "info"))
LOG_FIELDS_HIDDEN: Final = frozenset(("event", "level", "timestamp", "logger"))


def local_url(host: str, port: int) -> str:
    """Where this machine reaches a server bound to `host`, without a trailing slash."""
    reachable = ANY_ADDRESS.get(host, host)
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def welcome(settings: Settings) -> Text:
    """What to do next: the URL for UChat, the dashboard, a request that works when pasted."""
    rows = (
        ("give to UChat", delivery_url(settings)),
        ("dashboard", local_url(settings.dashboard_host, settings.dashboard_port)),
        ("try it", first_request(settings)),
        ("secrets", str(settings.paths.secrets)),
    )
    text = Text("\nhooklake is running. Ctrl-C ends it.\n\n", style="bold")
    for label, value in rows:
        text.append(f"  {label:<14}", style="dim")
        text.append(f"{value}\n", style="not bold")
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        text.append(
            "\n  UChat reaches this address only through a tunnel or a proxy with TLS in front.\n",
            style="not bold dim",
        )
    return text


def delivery_url(settings: Settings) -> str:
    """The webhook URL, with the first token in it where tokens are accepted."""
    if "token" in settings.verify and settings.tokens:
        return f"{settings.webhook_url}/{settings.tokens[0].value}"
    return settings.webhook_url


def first_request(settings: Settings) -> str:
    """A shell command that delivers one event: curl where no signature is needed."""
    if {"token", "none"} & set(settings.verify):
        body = json.dumps(SAMPLE_BODY)
        return f"curl {shlex.quote(delivery_url(settings))} --data {shlex.quote(body)}"
    return f"hooklake trigger user_registered --data-dir {shlex.quote(str(settings.data_dir))}"


def readable(line: str) -> str | None:
    """A child's line as a person wants to see it; None for what is of no interest here.

    Structured log lines are shown from `warning` on, as their message and fields; blank lines
    never; anything else as it stands.
    """
    if not line.strip():
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "event" not in entry:
        return line
    if entry.get("level") in QUIET_LEVELS:
        return None
    fields = " ".join(
        f"{name}={value}" for name, value in entry.items() if name not in LOG_FIELDS_HIDDEN
    )
    return f"{entry.get('level', 'note')}: {entry['event']} {fields}".rstrip()
