"""A warehouse of two accounts, loaded and published by the commands themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from walking import run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its `data` is the data directory; the events are Ann's, one, and Bob's, two."""
    place = tmp_path_factory.mktemp("walkthrough")
    moment = {"occurred_at": "2026-01-01T00:00:00Z"}
    events = [
        {"event": "user_registered", "email": "ann@example.com", "event_id": "1", **moment},
        {"event": "user_registered", "email": "bob@example.com", "event_id": "2", **moment},
        {"event": "plan_changed", "email": "bob@example.com", "plan": "pro", **moment},
    ]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (place / "export.ndjson").write_text(lines)
    run("hooklake backfill export.ndjson && hooklake refresh", place)
    return place
