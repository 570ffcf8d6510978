"""Data health: what the page says of deliveries is what the receiver's own ledger holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from drawn_charts import told
from test_pages import environment, metrics, run_page, shown
from warehouse_builder import build_warehouse

from dashboards import addresses, charts, deliveries, theme
from dashboards.views import health as page
from ingest.errors import LedgerError
from ingest.ledger import (
    Delivery,
    open_ledger,
    record_rejection,
    store_deliveries,
    transaction,
)
from ingest.parse import Arrival, parse_body
from ingest.paths import DataDir

__all__ = ["environment"]  # a fixture of the pages' tests, used here as well
EVIL = "![x](http://evil.invalid/x)<script>alert(1)</script>"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    page._health.clear()
    yield
    page._health.clear()


def deliver(ledger: Path, *bodies: object, at: datetime | None = None) -> None:
    """Store bodies as a receiver does: bytes as they are, everything else as JSON."""
    received = (at or datetime.now(UTC)).timestamp()
    stored_at = int(received * 1_000_000)
    with closing(open_ledger(ledger)) as connection, transaction(connection):
        store_deliveries(
            connection,
            [
                Delivery(
                    content=parse_body(raw, Arrival(stored_at=stored_at)),
                    body=raw,
                    received_at=stored_at,
                    verified_by="standard",
                )
                for raw in (
                    body if isinstance(body, bytes) else json.dumps(body).encode()
                    for body in bodies
                )
            ],
            "n1",
        )


def registered(email: str, **more: object) -> dict[str, object]:
    return {
        "event": "user_registered",
        "data": {"email": email, "registered_at": "2026-11-01T00:00:00Z", **more},
    }


def reject(ledger: Path, reason: str) -> None:
    with closing(open_ledger(ledger)) as connection:
        record_rejection(
            connection,
            received_at=int(datetime.now(UTC).timestamp() * 1_000_000),
            reason=reason,
            detail=EVIL,
            client=None,
            body_bytes=10,
        )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """3 accepted, 1 duplicate, 2 quarantined, 1 rejected; one unknown field."""
    tmp_path.chmod(0o700)
    path = DataDir(tmp_path).ledger
    deliver(
        path,
        registered("ada@example.com"),
        registered("bob@example.com", shoe_size=44),
        registered("ada@example.com"),
        registered(EVIL + "@example.com"),
        {"event": "workspace_created", "data": {"workspace_name": EVIL}},
        b"no json at all " + EVIL.encode(),
    )
    reject(path, "bad_signature")
    return path


def test_the_cards_are_the_ledgers_counters(ledger: Path, tmp_path: Path) -> None:
    build_warehouse(tmp_path, accounts=20)
    test = run_page(tmp_path, addresses.HEALTH)
    assert not test.exception and not test.error
    found = metrics(test)
    with closing(open_ledger(ledger)) as connection:
        accepted, duplicates, quarantined = (
            next(connection.execute(f"select count(*) from {table}"))[0]
            for table in ("inbox", "duplicates", "quarantine")
        )
    assert (accepted + duplicates + quarantined, duplicates) == (6, 1)
    assert (found["Accepted"], found["Duplicates"], found["Quarantined"], found["Rejected"]) == (
        str(accepted), "1", str(quarantined), "1",
    )  # fmt: skip
    assert f"{100 / 6:.1f} % of 6 deliveries ever" in shown(test)
    assert "age of the oldest event not in the lake" in shown(test)


def test_nothing_a_stranger_wrote_becomes_markup(ledger: Path, tmp_path: Path) -> None:
    build_warehouse(tmp_path, accounts=20)
    test = run_page(tmp_path, addresses.HEALTH)
    assert EVIL in str(deliveries.quarantined_delivery(ledger, 6).body)
    assert any(
        EVIL in str(value) for frame in test.dataframe for value in frame.value.to_numpy().ravel()
    )
    for element in (*test.markdown, *test.caption, *test.warning, *test.subheader):
        assert "evil" not in element.value


def test_verdicts_reasons_and_fields(ledger: Path) -> None:
    found = deliveries.health(ledger, now=datetime.now(UTC), window=HOUR, bucket=HOUR)
    counted = dict(found.course.group_by("verdict").sum().select("verdict", "deliveries").rows())
    assert counted["duplicate"] == 1 and counted["rejected"] == 1
    assert sum(counted.values()) == 7 == found.newest.height
    assert found.reaches_back is None
    reasons = {row[:2] for row in found.reasons.rows()}
    assert ("body", "invalid_json") in reasons and ("workspace_id", "missing") in reasons
    assert found.quarantined_open == found.quarantine.height == found.counters["quarantined"]
    assert ("unknown", "user_registered", "data.shoe_size", 1) in found.fields.rows()
    assert found.newest.filter(verdict="rejected")["reason"][0] == f"bad_signature: {EVIL}"
    drawn = told(charts.deliveries(found.course, HOUR, theme.LIGHT, until=datetime.now(UTC)))
    assert drawn["layer"][0]["encoding"]["color"]["scale"]["domain"][0] == "Accepted"


def test_what_lies_before_the_window_is_not_counted(tmp_path: Path) -> None:
    path = DataDir(tmp_path).ledger
    now = datetime.now(UTC)
    deliver(path, registered("old@example.com"), at=now - 3 * HOUR)
    deliver(path, registered("new@example.com"), at=now)
    found = deliveries.health(path, now=now, window=2 * HOUR, bucket=HOUR)
    assert found.course["deliveries"].sum() == 1
    assert found.newest["account_id"].to_list() == ["new@example.com", "old@example.com"]


def test_a_limit_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DataDir(tmp_path).ledger
    now = datetime.now(UTC)
    for age in (3, 2, 1):
        deliver(path, registered(f"{age}@example.com"), at=now - age * HOUR)
    monkeypatch.setattr(deliveries, "COUNTED_MAX", 2)
    found = deliveries.health(path, now=now, window=4 * HOUR, bucket=HOUR)
    assert found.course["deliveries"].sum() == 2
    assert found.reaches_back is not None
    assert abs(found.reaches_back - (now - 2 * HOUR)) < timedelta(seconds=1)


def test_health_is_shown_before_the_first_warehouse(ledger: Path, tmp_path: Path) -> None:
    test = run_page(tmp_path, addresses.HEALTH)
    assert not test.exception
    assert "first numbers are not there yet" in shown(test)
    assert metrics(test)["Rejected"] == "1"
    assert "nothing is published" in shown(test)


def test_health_is_shown_beside_a_broken_warehouse(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "warehouse-9.duckdb").write_text("no database at all" * 1000)
    (tmp_path / "warehouse.duckdb").symlink_to("warehouse-9.duckdb")
    test = run_page(tmp_path, addresses.HEALTH)
    assert not test.exception
    assert "cannot be read" in shown(test)
    assert metrics(test)["Duplicates"] == "1"


def test_no_ledger_and_a_broken_one_are_sentences(full_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(full_dir, tmp_path / "data", symlinks=True)
    test = run_page(tmp_path / "data", addresses.HEALTH)
    assert not test.exception and not test.error
    assert "not made its ledger yet" in shown(test)
    (tmp_path / "data" / "ledger.sqlite").write_bytes(b"no ledger" * 2000)
    test = run_page(tmp_path / "data", addresses.HEALTH)
    assert not test.exception and not test.error
    assert "ledger cannot be read now" in shown(test)
    with pytest.raises(LedgerError):
        deliveries.health(tmp_path / "no", now=datetime.now(UTC), window=HOUR, bucket=HOUR)


def test_reading_changes_nothing(ledger: Path) -> None:
    before = ledger.read_bytes()
    deliveries.health(ledger, now=datetime.now(UTC), window=HOUR, bucket=HOUR)
    assert ledger.read_bytes() == before


def test_unknown_types_and_waiting_deletions_are_told(tmp_path: Path) -> None:
    path = build_warehouse(tmp_path, accounts=20)
    with duckdb.connect(str(path)) as writer:
        writer.execute("insert into events by name select 'x' as event_id, 'other' as event_type, "
                       "'bot_paused' as sender_event, now() as received_at")  # fmt: skip
        writer.execute("insert into events by name select 'y' as event_id, "
                       "'workspace_deleted' as event_type, 'nobodys' as workspace_id")  # fmt: skip
        writer.execute("insert into hooklake_inner.waiting values ('nobodys')")
    test = run_page(tmp_path, addresses.HEALTH)
    assert not test.exception and not test.error
    assert test.dataframe[0].value["sender_event"].to_list() == ["bot_paused"]
    assert "1 deletion" in test.warning[0].value
