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
LOG_FIELDS_HIDDEN: Final = frozenset(("event", "level", "timestamp", "part"))


def local_url(host: str, port: int) -> str:
    """Where this machine reaches a server bound to `host`, without a trailing slash."""
    reachable = ANY_ADDRESS.get(host, host)
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def welcome(settings: Settings, *, may_show_token: bool) -> Text:
    """What to do next: the URL for UChat, the dashboard, a request that works when pasted.

    may_show_token: false where the screen may be a log that is kept.
    """
    rows: tuple[tuple[str, str], ...] = (
        ("give to UChat", delivery_url(settings, may_show_token=may_show_token)),
        ("dashboard", local_url(settings.dashboard_host, settings.dashboard_port)),
        ("try it", first_request(settings, may_show_token=may_show_token)),
    )
    if settings.paths.secrets.exists():
        rows = (*rows, ("secrets", str(settings.paths.secrets)))
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


def delivery_url(settings: Settings, *, may_show_token: bool) -> str:
    """The webhook URL, with the first token in it where tokens are accepted."""
    if "token" not in settings.verify or not settings.tokens:
        return settings.webhook_url
    token = settings.tokens[0].value if may_show_token else "<a token of HOOKLAKE_TOKENS>"
    return f"{settings.webhook_url}/{token}"


def first_request(settings: Settings, *, may_show_token: bool) -> str:
    """A shell command that delivers one event; curl where no secret has to be added."""
    needs_no_signature = "none" in settings.verify or (
        "token" in settings.verify and may_show_token
    )
    if needs_no_signature:
        url = delivery_url(settings, may_show_token=may_show_token)
        return f"curl {shlex.quote(url)} --data {shlex.quote(json.dumps(SAMPLE_BODY))}"
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
