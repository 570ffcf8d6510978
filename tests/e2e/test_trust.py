"""What is not proved changes nothing; what is incomplete is kept and named."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from installation import OTHER_SECRET, TOKEN, Installation, sign

pytestmark = [pytest.mark.slow, pytest.mark.alone]

EVENT = {
    "event": "user_registered",
    "data": {
        "email": "ada@example.com",
        "registration_timestamp": "2026-04-01T09:00:00Z",
        "source": "landing_page",
    },
}
BODY = json.dumps(EVENT).encode()


def post(hooklake: Installation, body: bytes, *, path: str = "", **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(hooklake.webhook_url + path, content=body, headers=given, trust_env=False)


def kept(hooklake: Installation) -> dict[str, int]:
    """How many rows each table of the ledger holds, the bounded record of refusals left out."""
    connection = sqlite3.connect(f"file:{hooklake.data_dir / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        names = [
            name
            for (name,) in connection.execute(
                "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
            )
        ]
        return {
            name: connection.execute(f"select count(*) from {name}").fetchone()[0]
            for name in names
            if "reject" not in name and "refus" not in name
        }
    finally:
        connection.close()


def test_an_unproved_delivery_gets_401_and_changes_nothing(hooklake: Installation) -> None:
    receiver = hooklake.start_receiver()
    before = kept(hooklake)
    now = datetime.now(UTC)
    tampered = BODY.replace(b"ada@", b"eve@")

    answers = {
        "a tampered body": post(hooklake, tampered, **sign(BODY)),
        "a stale timestamp": post(hooklake, BODY, **sign(BODY, at=now - timedelta(seconds=330))),
        "a timestamp to come": post(hooklake, BODY, **sign(BODY, at=now + timedelta(seconds=330))),
        "another secret": post(hooklake, BODY, **sign(BODY, secret=OTHER_SECRET)),
        "no signature": post(hooklake, BODY),
        "an unknown token": post(hooklake, BODY, path="/not-the-token"),
        "a malformed header": post(hooklake, BODY, **sign(BODY) | {"webhook-timestamp": "+1_0"}),
        "half a signature": post(hooklake, BODY, webhook_signature="v1,AAAA"),
    }

    for what, answer in answers.items():
        assert answer.status_code == 401, what
        assert answer.json()["status"] == "rejected", what
        assert answer.json()["reason"], what
    assert kept(hooklake) == before
    assert hooklake.stop(receiver) == 0
    hooklake.command("refresh")
    assert hooklake.query("select count(*) as stored from events") == [{"stored": 0}]
    assert not list(hooklake.data_dir.glob("lake/**/*.parquet"))


def test_each_proof_alone_suffices_and_is_stored_once(hooklake: Installation) -> None:
    receiver = hooklake.start_receiver()
    signed = sign(BODY, id="msg_first")

    first = post(hooklake, BODY, **signed)
    again = post(hooklake, BODY, **signed)
    by_token = post(hooklake, BODY.replace(b"ada@", b"grace@"), path=f"/{TOKEN}")
    by_bearer = post(hooklake, BODY.replace(b"ada@", b"joan@"), authorization=f"Bearer {TOKEN}")

    assert (first.status_code, first.json()["status"]) == (200, "accepted")
    assert first.json()["event_id"] == "msg_first"
    assert first.json()["event_type"] == "user_registered"
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert (by_token.status_code, by_bearer.status_code) == (200, 200)
    assert hooklake.stop(receiver) == 0
    hooklake.command("refresh")
    rows = hooklake.query("select account_id from fct_registration_funnel order by account_id")
    assert [row["account_id"] for row in rows] == [
        "ada@example.com",
        "grace@example.com",
        "joan@example.com",
    ]


def test_a_missing_required_field_is_named_and_the_bytes_are_quarantined(
    hooklake: Installation,
) -> None:
    receiver = hooklake.start_receiver()
    body = b'{"event": "plan_changed", "data": {"owner_email": "ada@example.com"}}'

    answer = hooklake.deliver(body)

    assert answer.status_code == 202
    assert answer.json()["status"] == "quarantined"
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [
        ("plan_id", "missing")
    ]
    assert answer.json()["errors"][0]["message"]
    assert body in quarantined_bodies(hooklake)
    assert hooklake.stop(receiver) == 0
    hooklake.command("refresh")
    assert hooklake.query("select count(*) as stored from events") == [{"stored": 0}]


def quarantined_bodies(hooklake: Installation) -> list[bytes]:
    connection = sqlite3.connect(f"file:{hooklake.data_dir / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        return [bytes(body) for (body,) in connection.execute("select body from quarantine")]
    finally:
        connection.close()
