"""What `hooklake run` shows, and what it keeps from the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.settings import NamedSecret, Settings
from warehouse.welcome import delivery_url, first_request, local_url, readable, welcome

WITH_TOKEN = Settings(tokens=(NamedSecret("token-1", "t0k3n"),))  # type: ignore[call-arg]


def test_the_screen_names_the_url_for_the_sender_and_the_dashboard() -> None:
    shown = welcome(WITH_TOKEN, may_show_token=True).plain

    assert "give to UChat http://127.0.0.1:8080/webhooks/uchat/t0k3n\n" in shown
    assert "dashboard     http://127.0.0.1:8501\n" in shown


def test_where_the_screen_may_be_a_log_no_token_is_on_it() -> None:
    shown = welcome(WITH_TOKEN, may_show_token=False).plain

    assert "t0k3n" not in shown
    assert "/webhooks/uchat/<a token of HOOKLAKE_TOKENS>" in shown
    assert "hooklake trigger user_registered --data-dir data" in shown


def test_without_tokens_the_url_is_bare_and_the_first_request_is_signed_by_trigger() -> None:
    settings = Settings(verify="standard", data_dir=Path("my data"))  # type: ignore[arg-type, call-arg]

    url = delivery_url(settings, may_show_token=True)
    command = first_request(settings, may_show_token=True)

    assert url == "http://127.0.0.1:8080/webhooks/uchat"
    assert command == "hooklake trigger user_registered --data-dir 'my data'"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104
        ("::", "http://[::1]:80"),
        ("lake.example", "http://lake.example:80"),
    ],
)
def test_a_local_url_is_one_this_machine_can_open(host: str, url: str) -> None:
    assert local_url(host, 80) == url


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("", None),
        ("   ", None),
        ("plain words", "plain words"),
        ("[1, 2]", "[1, 2]"),
        ('{"event": "delivery", "level": "info", "verdict": "accepted"}', None),
        (
            '{"event": "disk nearly full", "level": "warning", "timestamp": "x", "free": 3}',
            "warning: disk nearly full free=3",
        ),
    ],
)
def test_only_what_a_person_should_act_on_is_shown(line: str, shown: str | None) -> None:
    assert readable(line) == shown
