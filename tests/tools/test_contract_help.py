"""`hooklake contract`: the schema judges as the receiver does, and traffic is held against it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import jsonschema
import pytest
from kept import keep, plan_changed

from ingest import contract_help
from ingest.contract import CONTRACT, EVENT_TYPES
from ingest.contract_help import Differing, Missing, Unknown, Unreadable, alias_of, observe
from ingest.errors import LedgerError
from ingest.ledger import open_ledger
from ingest.lifecycles import in_time_order, lives
from ingest.openapi import EXAMPLES
from ingest.parse import Arrival, Event, parse_body
from ingest.payloads import body_bytes, random_dialect, render
from ingest.population import World
from ingest.settings import Settings

NOW = 1_790_000_000_000_000
SCHEMA = contract_help.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def is_event(body: bytes) -> bool:
    return isinstance(parse_body(body, Arrival(stored_at=NOW)), Event)


def test_it_is_a_schema_and_the_examples_are_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for body in EXAMPLES.values():
        VALIDATOR.validate(body)


def test_a_simulated_world_in_every_dialect_is_valid() -> None:
    world = World(3, 100, datetime(2026, 1, 1, tzinfo=UTC), 365)
    seen = set()
    for number, happening in enumerate(in_time_order(lives(world))):
        dialect = random_dialect(random.Random(number))
        VALIDATOR.validate(json.loads(body_bytes(render(happening, dialect))))
        seen.add(happening.event_type)
    assert seen >= set(EVENT_TYPES)


@pytest.mark.parametrize("key", ["event", "event_type", "type"])
@pytest.mark.parametrize("kind", CONTRACT, ids=lambda kind: kind.name)
def test_the_schema_and_the_receiver_agree_on_what_is_required(kind: Any, key: str) -> None:
    values = {field.names[-1]: "x" for field in kind.fields if field.is_required}
    for name in (kind.name, *kind.aliases):
        for nested in (True, False):
            for left_out in (None, *values):
                fields = {field: value for field, value in values.items() if field != left_out}
                body = {key: name, **({"data": fields} if nested else fields)}
                assert VALIDATOR.is_valid(body) is (left_out is None), body
                assert is_event(json.dumps(body).encode()) is (left_out is None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"event": "brand_new"}, True),
        ({"event": "brand_new", "data": {"anything": [1]}}, True),
        ({"data": {}}, False),
        ({"event": 5}, False),
        (plan_changed(auto_renew=None, colour="red"), True),
        (plan_changed(owner_email=None), False),
        (plan_changed(owner_email=5), True),
        (plan_changed(owner_email=["a"]), False),
        ([], False),
    ],
)
def test_the_schema_and_the_receiver_agree_on_oddities(body: Any, expected: bool) -> None:
    assert VALIDATOR.is_valid(body) is expected
    assert is_event(json.dumps(body).encode()) is expected


@pytest.mark.parametrize(
    ("event_type", "field", "lacking", "expected"),
    [
        ("plan_changed", "data.ownerEmail", set(), "account_id"),
        ("plan_changed", "OwnerEMail", set(), "account_id"),
        ("plan_changed", "data.workspaceID", set(), "workspace_id"),
        ("plan_changed", "data.customer_email", {"account_id"}, "account_id"),
        ("plan_changed", "data.customer_email", set(), None),
        ("plan_changed", "data.planName", {"plan_id"}, "plan_id"),
        ("plan_changed", "data.planName", set(), None),
        ("plan_changed", "data.autorenewal", {"auto_renew"}, "auto_renew"),
        ("plan_changed", "data.colour", {"plan_id", "account_id"}, None),
        ("workspace_deleted", "data.deletedAt", set(), "occurred_at"),
        ("other", "data.workspaceId", None, "workspace_id"),
        ("plan_changed", "…", {"plan_id"}, None),
        ("plan_changed", "data.", {"plan_id"}, None),
    ],
)
def test_an_alias_is_proposed_where_a_name_is_alike_and_the_column_lacks(
    event_type: str, field: str, lacking: set[str] | None, expected: str | None
) -> None:
    assert alias_of(event_type, field, lacking) == expected


def test_what_was_received_is_held_against_the_contract(connection: apsw.Connection) -> None:
    keep(connection, plan_changed(event_id="e1", autoRenew="on", colour="red"), NOW)
    keep(connection, plan_changed(event_id="e2", start_date="soon", colour="red"), NOW)
    keep(connection, {"event": "plan_changed", "data": {"plan": "x", "customerEmail": "a"}}, NOW)
    keep(connection, {"event": "plan_changed", "data": {"plan": [], "email": "a"}}, NOW)
    keep(connection, b"no json", NOW)
    found = observe(connection)

    assert found.events == {"plan_changed": 2}
    assert found.quarantined == {"?": 1, "plan_changed": 2}
    assert found.unknown == (
        Unknown("plan_changed", "data.colour", 2, None),
        Unknown("plan_changed", "data.autoRenew", 1, "auto_renew"),
        Unknown("plan_changed", "data.customerEmail", 1, "account_id"),
    )
    assert found.unreadable == (
        Unreadable("plan_changed", "plan_id", 1),
        Unreadable("plan_changed", "start_date", 1),
    )
    assert found.missing == (
        Missing("plan_changed", "account_id", True, 1, 4),
        *(
            Missing("plan_changed", column, False, 2, 2)
            for column in (
                "owner_id",
                "workspace_id",
                "auto_renew",
                "start_date",
                "end_date",
                "occurred_at",
            )
        ),
    )


def test_the_fields_of_a_quarantined_delivery_are_told_as_those_of_an_event(
    connection: apsw.Connection,
) -> None:
    data = {"created_at": "2026-01-01", "timestamp": 1, "type": "x", "event_id": "e"}
    for name in ("user_registered", "workspace_created", "plan_renewed"):
        body: dict[str, Any] = {"event": name, "id": "1", "more": 1, "data": data}
        keep(connection, body, NOW)
        whole = body | {"owner_email": "a@example.com", "workspace_id": "w"}
        event = parse_body(json.dumps(whole).encode(), Arrival(stored_at=NOW))
        assert isinstance(event, Event)
        told = {found.field for found in observe(connection).unknown if found.event_type == name}
        assert told == {field for field in event.unknown_fields if field != "workspace_id"}


def test_the_tables_show_every_name_and_never_a_senders_control_characters(
    tmp_path: Path, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path)
    assert contract_help.run(settings) == 0
    out = capsys.readouterr().out
    assert all(kind.name in out for kind in CONTRACT)
    assert "overdue_payment (also overdue)" in out

    assert contract_help.run(settings, is_observed=True) == 0
    assert "nothing was received yet" in capsys.readouterr().out

    keep(connection, plan_changed(**{"\x1b]0;x\x07[bold]": 1, "ownerId": "7"}), NOW)
    assert contract_help.run(settings, is_observed=True) == 0
    out = capsys.readouterr().out
    assert "[bold]" in out
    assert all(letter.isprintable() for letter in out.replace("\n", ""))
    assert contract_help.run(settings, is_observed=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["aliases"] == [
        {"event_type": "plan_changed", "column": "owner_id", "add": "ownerId"}
    ]


def test_observing_without_a_ledger_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="hooklake serve"):
        contract_help.run(Settings(data_dir=tmp_path), is_observed=True)


def test_values_of_another_type_than_the_fields_own_are_reported(
    connection: apsw.Connection,
) -> None:
    for amount in (1, "2.50", "3"):
        body = {"event": "overdue", "data": {"email": "a@example.com", "amount": amount}}
        keep(connection, body, NOW)
    keep(connection, plan_changed(auto_renew="on", plan_id=7, end_date=1_790_000_000), NOW)
    keep(connection, plan_changed(auto_renew=True, plan_id=["business"], start_date=None), NOW)
    keep(connection, {"event": "brand_new", "data": {"amount": {}}}, NOW)
    assert observe(connection).differing == (
        Differing("overdue_payment", "amount", "number", {"text": 2, "number": 1}),
        Differing("plan_changed", "auto_renew", "boolean", {"boolean": 1, "text": 1}),
        Differing("plan_changed", "end_date", "text", {"number": 1}),
        Differing("plan_changed", "plan_id", "text", {"list": 1, "number": 1}),
    )
