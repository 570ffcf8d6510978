"""`hooklake trigger`: samples that are events, fields set by hand, and what the answer means."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from receiver_process import HOOKLAKE, Receiver, environment

from ingest import samples, trigger
from ingest.contract import BUSINESS_COLUMNS, EVENT_TYPES
from ingest.deliver import Answer, Credential, ReceiverAbsentError
from ingest.errors import UsageError
from ingest.ledger import open_read_only, read_counters
from ingest.parse import Arrival, Event, parse_body
from ingest.payloads import body_bytes
from ingest.settings import Settings
from ingest.sign import HmacTemplate

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def parsed(payload: dict[str, Any]) -> Event:
    event = parse_body(body_bytes(payload), Arrival(stored_at=int(NOW.timestamp() * 1e6)))
    assert isinstance(event, Event), event
    return event


def column(payload: dict[str, Any], name: str) -> object:
    return parsed(payload).business[BUSINESS_COLUMNS.index(name)]


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_every_sample_is_a_whole_event_of_its_type(event: str) -> None:
    found = parsed(samples.sample(event, NOW))
    assert found.event_type == event
    assert found.warnings == ()
    assert found.unknown_fields == ()
    assert found.account_id == "ada.lovelace@example.com"


def test_a_monthly_plan_bought_on_the_31st_ends_on_the_last_day_of_february() -> None:
    assert samples.sample("plan_changed", NOW)["data"]["end_date"] == "2026-02-28"


def test_the_short_name_and_the_further_event_have_samples_too() -> None:
    assert parsed(samples.sample("overdue", NOW)).event_type == "overdue_payment"
    assert parsed(samples.sample("no_enough_credit", NOW)).event_type == "other"


def test_an_unknown_event_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'user_reg'.*user_registered, workspace_created"):
        samples.sample("user_reg", NOW)


@pytest.mark.parametrize(
    ("event", "setting", "expected"),
    [
        ("plan_changed", "plan_id=free", {"plan_id": "free"}),
        ("plan_changed", "auto_renew=false", {"auto_renew": False}),
        ("plan_changed", "auto_renew=off", {"auto_renew": "off"}),
        ("overdue_payment", "amount=12.5", {"amount": 12.5}),
        ("overdue_payment", 'amount="12.50"', {"amount": "12.50"}),
        ("overdue_payment", "amount=007", {"amount": "007"}),
        ("overdue_payment", "amount=NaN", {"amount": "NaN"}),
        ("overdue_payment", "amount=1e999", {"amount": "1e999"}),
        ("workspace_deleted", "workspace_id=null", {"workspace_id": None}),
        ("workspace_deleted", "data.workspace_id=", {"workspace_id": ""}),
        ("workspace_created", "workspace_name=a=b", {"workspace_name": "a=b"}),
        ("user_registered", "owner_email=x@example.com", {"email": "x@example.com"}),
        ("user_registered", "account_id=x@example.com", {"email": "x@example.com"}),
        ("user_registered", "user_email=x@example.com", {"user_email": "x@example.com"}),
        ("user_registered", "utm.campaign=spring", {"utm": {"campaign": "spring"}}),
        (
            "user_registered",
            "registered_at=2026-01-02T03:04:05Z",
            {"registration_timestamp": "2026-01-02T03:04:05Z"},
        ),
        ("user_registered", "created_at=1767322800", {"created_at": 1_767_322_800}),
    ],
)
def test_a_field_is_set_where_the_sample_has_it(
    event: str, setting: str, expected: dict[str, object]
) -> None:
    data = samples.with_field(samples.sample(event, NOW), event, setting)["data"]
    assert expected.items() <= data.items()


def test_another_spelling_takes_the_place_of_the_samples() -> None:
    sample = samples.sample("user_registered", NOW)
    changed = samples.with_field(sample, "user_registered", "user_email=x@example.com")
    assert "email" not in changed["data"]
    assert column(changed, "account_id") == "x@example.com"
    changed = samples.with_field(sample, "user_registered", "timestamp=2026-01-02T03:04:05Z")
    assert parsed(changed).occurred_at == 1_767_323_045_000_000


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("event=brand_new", "event", "brand_new"),
        ("event_id=e1", "event_id", "e1"),
        ("occurred_at=2026-01-02T03:04:05Z", "occurred_at", "2026-01-02T03:04:05Z"),
        ("timestamp=1767323045", "timestamp", 1_767_323_045),
    ],
)
def test_a_field_of_the_envelope_is_set_there(setting: str, key: str, value: object) -> None:
    changed = samples.with_field(samples.sample("plan_changed", NOW), "plan_changed", setting)
    assert changed[key] == value


@pytest.mark.parametrize(
    ("event", "name", "gone"),
    [
        ("plan_changed", "plan_id", "plan_id"),
        ("plan_changed", "data.auto_renew", "auto_renew"),
        ("user_registered", "owner_email", "email"),
        ("user_registered", "registered_at", "registration_timestamp"),
        ("no_enough_credit", "credit", "credit"),
    ],
)
def test_a_field_is_left_out_by_any_of_its_names(event: str, name: str, gone: str) -> None:
    whole = samples.sample(event, NOW)
    data = samples.without_field(whole, event, name)["data"]
    assert data == {key: value for key, value in whole["data"].items() if key != gone}


def test_the_type_or_all_fields_can_be_left_out_and_fields_set_again() -> None:
    whole = samples.sample("plan_changed", NOW)
    assert samples.without_field(whole, "plan_changed", "event") == {"data": whole["data"]}
    bare = samples.without_field(whole, "plan_changed", "data")
    assert bare == {"event": "plan_changed"}
    again = samples.with_field(bare, "plan_changed", "plan_id=free")
    assert again == {"event": "plan_changed", "data": {"plan_id": "free"}}
    scalar = samples.with_field(whole, "plan_changed", "data=5")
    assert samples.with_field(scalar, "plan_changed", "plan_id=free") == again


@pytest.mark.parametrize("name", ["colour", "data.colour", "data.plan_id.deep", "occurred_at", ""])
def test_what_the_sample_has_not_cannot_be_left_out(name: str) -> None:
    with pytest.raises(UsageError, match="the sample has event, data, plan_id"):
        samples.without_field(samples.sample("plan_changed", NOW), "plan_changed", name)


@pytest.mark.parametrize("setting", ["plan_id", "=free", "data.=free", ".plan_id=free", ""])
def test_a_setting_without_name_or_value_is_a_usage_error(setting: str) -> None:
    with pytest.raises(UsageError, match="--set field=value"):
        samples.with_field(samples.sample("plan_changed", NOW), "plan_changed", setting)


@pytest.mark.parametrize("dialect", [*samples.DIALECTS, *["random"] * 20])
@pytest.mark.parametrize("event", EVENT_TYPES)
def test_every_dialect_says_the_same_of_every_event(event: str, dialect: str) -> None:
    said = parsed(samples.sample(event, NOW, dialect))
    lesson = parsed(samples.sample(event, NOW))
    assert said.business == lesson.business
    assert (said.warnings, said.unknown_fields) == ((), ())
    if lesson.event_time_source == "payload":
        assert said.occurred_at == lesson.occurred_at


@pytest.mark.parametrize("dialect", [*samples.DIALECTS, *["random"] * 20])
def test_a_field_is_set_and_left_out_in_every_dialect(dialect: str) -> None:
    payload = samples.sample("plan_changed", NOW, dialect)
    payload = samples.without_field(payload, "plan_changed", "auto_renew")
    payload = samples.with_field(payload, "plan_changed", "plan_id=free")
    payload = samples.with_field(payload, "plan_changed", "owner_email=x@example.com")
    assert column(payload, "plan_id") == "free"
    assert column(payload, "auto_renew") is None
    assert column(payload, "account_id") == "x@example.com"
    renamed = samples.with_field(payload, "plan_changed", "event=brand_new")
    assert parsed(renamed).sender_event == "brand_new"


def test_a_flat_sample_has_no_data_and_an_unknown_dialect_lists_the_known() -> None:
    flat = samples.sample("plan_changed", NOW, "flat")
    assert "data" not in flat
    assert samples.with_field(flat, "plan_changed", "plan=free")["plan"] == "free"
    with pytest.raises(UsageError, match="lesson, flat, unix, text, random"):
        samples.sample("plan_changed", NOW, "klingon")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event": None}, "say what to send"),
        ({"event": None, "form": "curl"}, "say what to send"),
        ({"event": "plan_changed", "raw": "-"}, "as it stands"),
        ({"event": None, "raw": "-", "set_fields": ["a=b"]}, "as it stands"),
        ({"event": None, "raw": "-", "dialect": "flat"}, "as it stands"),
        ({"event": None, "raw": "missing.json"}, "cannot read the body from missing.json"),
        ({"event": "plan_changed", "count": 0}, "cannot send 0"),
        ({"event": "plan_changed", "count": 1_001, "form": "postman"}, "at most 1,000"),
        ({"event": "plan_changed", "scheme": "stripe"}, "HOOKLAKE_SECRETS"),
    ],
)
def test_what_cannot_be_sent_is_said(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        trigger.run(Settings(data_dir=tmp_path, verify="none"), **arguments)  # type: ignore[arg-type]


def test_the_answers_are_explained() -> None:
    def lines(code: int, **document: object) -> str:
        return "\n".join(trigger.meaning(Answer(code, json.dumps(document).encode(), 2.0)))

    assert lines(200, status="accepted").startswith("Accepted")
    assert "given a new one" in lines(200, status="accepted", id_reused=True)
    assert lines(200, status="duplicate").startswith("Duplicate")
    assert lines(200, status="erased").startswith("Erased")
    assert "--data-dir" in lines(401, status="rejected", reason="stale")
    assert "send it again in 2 s" in lines(503)
    assert "/webhooks/uchat" in lines(404)
    errors = [{"field": "plan_id", "code": "missing", "message": "add it"}]
    assert "plan_id (missing): add it" in lines(202, status="quarantined", errors=errors)


@pytest.mark.parametrize(
    ("verify", "scheme", "is_forged", "expected"),
    [
        ("standard,token", "standard", True, "Rejected, as it must be: the secret was made up."),
        ("standard", "none", False, "Rejected, as it must be: nothing proved who sent it."),
        ("standard,token", "github", False, "is standard,token and does not accept github."),
        ("standard", "standard", False, "Rejected: the receiver does not believe who sent it."),
        ("none", "github", False, "Rejected: the receiver does not believe who sent it."),
    ],
)
def test_a_rejection_that_was_to_be_expected_is_told_as_such(
    verify: str, scheme: str, is_forged: bool, expected: str
) -> None:
    known = Settings(verify=verify)  # type: ignore[arg-type]
    credential = Credential(scheme, "s", HmacTemplate())
    why = trigger._expected_rejection(known, credential, is_forged=is_forged)
    rejected = Answer(401, b'{"status":"rejected","reason":"the reason"}')
    [line] = trigger.meaning(rejected, why)
    assert expected in line
    assert line.endswith("The reason given: the reason.")


def test_with_no_receiver_it_says_what_to_start(tmp_path: Any) -> None:
    settings = Settings(data_dir=tmp_path, port=9, verify="none")  # type: ignore[arg-type]
    with pytest.raises(ReceiverAbsentError, match=r"127\.0\.0\.1:9 .*`hooklake serve`"):
        trigger.run(settings, "user_registered")


def test_many_are_sent_each_its_own_and_a_printed_request_is_believed(receiver: Receiver) -> None:
    def hooklake(
        command: str, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOOKLAKE, command, *arguments, "--data-dir", receiver.data_dir],
            env=environment(HOOKLAKE_PORT=str(receiver.port)),
            capture_output=True,
            text=True,
            input=stdin,
            check=False,
        )

    many = ("--count", "20", "--set", "owner_email=user{n}@example.com", "--json")
    done = hooklake("trigger", "plan_changed", *many)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"] == 20
    with open_read_only(receiver.settings.paths.ledger) as ledger:
        accounts = {row[0] for row in ledger.execute("select account_id from inbox")}
    assert accounts == {f"user{number}@example.com" for number in range(1, 21)}

    lacking = hooklake("trigger", "plan_changed", "--count", "3", "--remove", "plan_id")
    assert lacking.returncode == 1
    assert "quarantined        3" in lacking.stdout

    printed = hooklake("trigger", "plan_changed", "--as", "http")
    assert printed.stdout.startswith(f"POST {receiver.settings.webhook_url} HTTP/1.1\n")
    assert hooklake("verify", stdin=printed.stdout).returncode == 0
    assert hooklake("verify", stdin=printed.stdout + "\n").returncode == 1
    three = hooklake("trigger", "plan_changed", "--as", "http", "--count", "3").stdout
    assert len(three.split("\n\n###\n\n")) == 3


BODIES = {
    "blank": b' {"event" : "plan_changed",\n"data":{"plan_id":"free","owner_email":"a@b.c"}}\n',
    "latin-1": b'{"event":"plan_changed","data":{"owner_email":"\xe9"}}',
    "control": b'@{"a":"\x00\x1b[31m"}\r\n',
    "empty": b"",
    "large": b'{"event":"plan_changed","data":{"plan_id":"free","owner_email":"a","x":"%b"}}'
    % (b"y" * 300_000),
}


@pytest.mark.parametrize("form", [None, "curl"])
def test_a_raw_body_arrives_byte_for_byte(receiver: Receiver, form: str | None) -> None:
    for name, body in BODIES.items():
        command = [HOOKLAKE, "trigger", "--raw", "-", "--data-dir", receiver.data_dir]
        done = subprocess.run(
            [*command, *(("--as", form) if form else ())],
            env=environment(HOOKLAKE_PORT=str(receiver.port)),
            input=body,
            capture_output=True,
            check=False,
        )
        if form:
            assert done.returncode == 0, name
            done = subprocess.run(["/bin/sh"], input=done.stdout, capture_output=True, check=True)
            assert b"rejected" not in done.stdout, name
        else:
            assert done.returncode == (0 if name in ("blank", "large") else 1), name
            assert b"Rejected" not in done.stdout, name
    with open_read_only(receiver.settings.paths.ledger) as ledger:
        stored = {row[0].encode() for row in ledger.execute("select payload from inbox")}
        kept = {bytes(row[0]) for row in ledger.execute("select body from quarantine")}
    assert stored | kept == set(BODIES.values())


def test_a_body_too_large_is_answered_not_lost(receiver: Receiver, tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    large.write_bytes(b"x" * (2 << 20))
    done = subprocess.run(
        [HOOKLAKE, "trigger", "--raw", large, "--data-dir", receiver.data_dir],
        env=environment(HOOKLAKE_PORT=str(receiver.port)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "413" in done.stdout, done.stderr


SCHEMES = ("standard", "stripe", "github", "shopify", "slack", "hmac", "token", "none")


@pytest.mark.slow
def test_every_scheme_is_sent_and_a_forgery_is_rejected(tmp_path: Path) -> None:
    ours = {
        "HOOKLAKE_VERIFY": ",".join(SCHEMES[:-1]),
        "HOOKLAKE_HMAC_TEMPLATE": "v1|{timestamp}|{body}|end",
        "HOOKLAKE_HMAC_PREFIX": "sig=",
        "HOOKLAKE_HMAC_ENCODING": "base64",
        "HOOKLAKE_HMAC_ALGORITHM": "sha512",
    }
    receiver = Receiver(tmp_path / "data", **ours)
    try:
        with open_read_only(receiver.settings.paths.ledger) as ledger:
            for scheme in SCHEMES:
                for is_forged in (False, True):
                    done = subprocess.run(
                        [
                            *(HOOKLAKE, "trigger", "plan_changed", "--scheme", scheme),
                            *(("--forged",) if is_forged else ()),
                            *("--data-dir", receiver.data_dir, "--json"),
                        ],
                        env=environment(HOOKLAKE_PORT=str(receiver.port), **ours),
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    answer = json.loads(done.stdout)
                    is_believed = scheme != "none" and not is_forged
                    assert answer["http_status"] == (200 if is_believed else 401), (scheme, answer)
            proofs = {
                row[0].split(":")[0]  # two schemes that sign the second: within one, a duplicate
                for row in ledger.execute(
                    "select verified_by from inbox union select verified_by from duplicates"
                )
            }
        assert proofs == set(SCHEMES[:-1])
    finally:
        receiver.close()


def test_all_six_are_accepted_a_gap_is_named_and_a_curl_line_works(receiver: Receiver) -> None:
    def hooklake(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOOKLAKE, "trigger", *arguments, "--data-dir", receiver.data_dir],
            env=environment(HOOKLAKE_PORT=str(receiver.port), **more),
            capture_output=True,
            text=True,
            check=False,
        )

    for event in EVENT_TYPES:
        done = hooklake(event)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Accepted" in done.stdout

    gap = hooklake("workspace_deleted", "--set", "workspace_id=null")
    assert gap.returncode == 1
    assert "workspace_id (missing)" in gap.stdout

    printed = hooklake("plan_changed", "--set", "plan_id=it's free", "--as", "curl")
    assert printed.returncode == 0
    sent = subprocess.run(
        ["/bin/sh", "-c", printed.stdout], capture_output=True, text=True, check=True
    )
    assert json.loads(sent.stdout)["status"] == "accepted"

    stranger = hooklake("plan_changed", HOOKLAKE_SECRETS="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert stranger.returncode == 1
    assert "Rejected" in stranger.stdout

    with open_read_only(receiver.settings.paths.ledger) as ledger:
        counters = read_counters(ledger)
    assert (counters["deliveries"], counters["events"], counters["quarantined"]) == (8, 7, 1)
