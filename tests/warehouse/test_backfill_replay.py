"""A replay of a backfilled line: the row that a backfill of the mended line makes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ingest import identity
from ingest.contract import BUSINESS_COLUMNS
from ingest.landing import land_now
from ingest.ledger import open_ledger, open_read_only
from ingest.parse import Arrival, Event, parse_body
from ingest.quarantine import replay
from ingest.settings import Settings, load_settings
from tests.warehouse.test_backfill import export, lake, load, settings
from warehouse.commands.root import app

__all__ = ["settings"]

BROKEN = {"event": "plan_changed", "data": {"plan": "pro", "start_date": "2024-03-05"}}
OWNER = {"owner_email": "a@example.com"}
ROW = ", ".join(
    (
        "event_type, event_month, sender_event, occurred_at, event_time_source, delivery_id",
        *BUSINESS_COLUMNS,
        "payload",
    )
)


def line(body: dict[str, Any], **around: Any) -> bytes:
    return json.dumps({"body": body, **around} if around else body).encode()


def mended(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "data": {**body["data"], **OWNER}}


def quarantined_seq(settings: Settings) -> int:
    with open_read_only(settings.paths.ledger) as ledger:
        ((seq,),) = ledger.execute("select seq from quarantine where status = 'open'")
    return int(seq)


def replayed(settings: Settings, body: bytes | None) -> str:
    """The verdict; what it accepted is in the lake."""
    ledger = open_ledger(settings.paths.ledger)
    outcome = replay(ledger, quarantined_seq(settings), node=settings.node, mended_body=body)
    ledger.close()
    land_now(settings)
    return outcome.verdict


def test_a_line_dated_by_a_day_is_replayed_to_that_day_through_the_command(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export(settings, [b"", line(BROKEN)])
    load(settings, capsys, path)
    body = tmp_path / "mended.json"
    body.write_bytes(line(mended(BROKEN)))
    seq = str(quarantined_seq(settings))
    asked = ["quarantine", "replay", seq, "--body", str(body)]
    result = CliRunner().invoke(app, [*asked, "--data-dir", str(settings.data_dir)])
    assert result.exit_code == 0, result.output
    land_now(settings)

    parsed = parse_body(body.read_bytes(), Arrival(stored_at=0))
    assert isinstance(parsed, Event)
    march = datetime(2024, 3, 5, tzinfo=UTC)
    event_id = identity.content_id(
        identity.fields_hash("plan_changed", parsed.business, None),
        int(march.timestamp()) * 1_000_000,
        file_line=(sha256(path.read_bytes()).hexdigest(), 2),
    )
    columns = "event_id, event_month, occurred_at, event_time_source, origin"
    assert lake(settings, columns) == [(event_id, "2024-03", march, "date", "replay")]


@pytest.mark.parametrize(
    ("body", "around"),
    [
        (BROKEN, {}),
        (BROKEN, {"received_at": "2024-05-01T10:00:00Z"}),
        (BROKEN | {"occurred_at": "2024-06-01T00:00:00Z"}, {"received_at": "2024-05-01T10:00:00Z"}),
        (BROKEN | {"occurred_at": "2024-06-01T00:00:00Z"}, {}),
        (BROKEN | {"id": "given"}, {}),
        (BROKEN, {"headers": {"webhook-id": "msg_1", "webhook-timestamp": "1714557600"}}),
        (BROKEN, {"headers": {"webhook-id": "msg_1"}, "received_at": 1714557600}),
    ],
)
def test_a_mended_line_is_replayed_as_it_would_be_backfilled(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    body: dict[str, Any],
    around: dict[str, Any],
) -> None:
    load(settings, capsys, export(settings, [line(body, **around)]))
    assert replayed(settings, line(mended(body))) == "accepted"

    other = load_settings(tmp_path / "other", free_bytes_min=0)
    load(other, capsys, export(other, [line(mended(body), **around)], "mended.ndjson"))
    assert lake(settings, ROW) == lake(other, ROW)
    is_dated = lake(other, "event_time_source") == [("date",)]
    if not (is_dated and "id" not in body):  # else the id takes the file, which differs
        assert lake(settings, "event_id") == lake(other, "event_id")
    if "received_at" in around:
        assert lake(settings, "received_at") == lake(other, "received_at")


def test_a_line_without_any_time_stays_in_quarantine(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    load(
        settings,
        capsys,
        export(settings, [b'{"event":"user_registered","data":{"email":"x@y.z"}}']),
    )
    assert replayed(settings, None) == "quarantined"
    assert lake(settings) == []


def test_a_replay_keeps_when_the_batch_began_as_its_receipt(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    report = load(settings, capsys, export(settings, [line(BROKEN)]))
    replayed(settings, line(mended(BROKEN)))
    with open_read_only(settings.paths.ledger) as ledger:
        ((started_at,),) = ledger.execute("select started_at from batches")
    ((received_at, batch_id),) = lake(settings, "received_at, batch_id")
    assert (received_at.timestamp() * 1e6, batch_id) == (
        pytest.approx(started_at, abs=1),
        report["batch_id"],
    )
