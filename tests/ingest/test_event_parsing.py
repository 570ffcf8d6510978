"""From a body to an event: fields, dialects, tolerance, moments, ids, and every reason against."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.contract import BUSINESS_COLUMNS, EVENT_TYPES
from ingest.layout import KEPT_BODY_BYTES_MAX, known_layout
from ingest.parse import Arrival, Event, Malformed, parse_body

NOW = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
WEBHOOK = Arrival(stored_at=NOW)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def parse(body: object, arrival: Arrival = WEBHOOK) -> Event | Malformed:
    return parse_body(body if isinstance(body, bytes) else json.dumps(body).encode(), arrival)


def event(body: object, arrival: Arrival = WEBHOOK) -> Event:
    found = parse(body, arrival)
    assert isinstance(found, Event), found
    return found


def columns(found: Event) -> dict[str, object]:
    """The business columns that are not null."""
    named = zip(BUSINESS_COLUMNS, found.business, strict=True)
    return {column: value for column, value in named if value is not None}


def reasons(body: object, arrival: Arrival = WEBHOOK) -> list[tuple[str, str]]:
    found = parse(body, arrival)
    assert isinstance(found, Malformed), found
    assert all(problem.message for problem in found.problems)
    return [(problem.field, problem.code) for problem in found.problems]


def warnings(body: object) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in event(body).warnings]


# -- fields and their names ----------------------------------------------------------------------

FULL: dict[str, tuple[dict[str, Any], dict[str, object]]] = {
    "user_registered": (
        {"owner_email": "A@B.c", "source": "landing_page", "owner_id": "u1"},
        {"account_id": "a@b.c", "source": "landing_page", "owner_id": "u1"},
    ),
    "workspace_created": (
        {"workspace_id": 7, "owner_email": "A@B.c", "owner_id": 1, "workspace_name": "My"},
        {"account_id": "a@b.c", "owner_id": "1", "workspace_id": "7", "workspace_name": "My"},
    ),
    "workspace_deleted": (
        {"workspace_id": "w", "owner_email": "A@B.c", "owner_id": "u"},
        {"account_id": "a@b.c", "owner_id": "u", "workspace_id": "w"},
    ),
    "plan_changed": (
        {
            "plan_id": "Free",
            "owner_email": "A@B.c",
            "auto_renew": "off",
            "start_date": "2024-04-01",
            "end_date": "2024-05-01",
            "workspace_id": "w",
            "owner_id": "u",
        },
        {
            "account_id": "a@b.c",
            "owner_id": "u",
            "workspace_id": "w",
            "plan_id": "free",
            "auto_renew": False,
            "start_date": "2024-04-01",
            "end_date": "2024-05-01",
        },
    ),
    "plan_renewed": (
        {
            "owner_email": "A@B.c",
            "renewal_date": "2024-05-01",
            "plan_id": "Business",
            "workspace_id": "w",
            "end_date": "2024-06-01",
            "owner_id": "u",
        },
        {
            "account_id": "a@b.c",
            "owner_id": "u",
            "workspace_id": "w",
            "plan_id": "business",
            "end_date": "2024-06-01",
            "renewal_date": "2024-05-01",
        },
    ),
    "overdue_payment": (
        {
            "owner_email": "A@B.c",
            "payment_id": "pay789",
            "amount": 49.99,
            "currency": "USD",
            "due_date": "2024-04-20",
            "workspace_id": "w",
            "auto_renew": 1,
            "owner_id": "u",
        },
        {
            "account_id": "a@b.c",
            "owner_id": "u",
            "workspace_id": "w",
            "payment_id": "pay789",
            "currency": "USD",
            "auto_renew": True,
            "amount": "49.99",
            "due_date": "2024-04-20",
        },
    ),
}
REQUIRED = {
    "user_registered": {"owner_email": "account_id"},
    "workspace_created": {"workspace_id": "workspace_id", "owner_email": "account_id"},
    "workspace_deleted": {"workspace_id": "workspace_id"},
    "plan_changed": {"plan_id": "plan_id", "owner_email": "account_id"},
    "plan_renewed": {"owner_email": "account_id"},
    "overdue_payment": {"owner_email": "account_id"},
}


def test_the_tables_of_this_test_name_the_six_events() -> None:
    assert set(FULL) == set(REQUIRED) == set(EVENT_TYPES)


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("key", ["event", "event_type", "type"])
def test_every_field_is_stored_under_its_column_nested_or_flat(name: str, key: str) -> None:
    given, expected = FULL[name]
    nested = event({key: name, "data": given})
    flat = event({key: name, **given})

    assert columns(nested) == columns(flat) == expected
    assert nested.digest == flat.digest
    assert (nested.event_type, nested.sender_event) == (name, name)
    assert not nested.unknown_fields
    assert not nested.warnings


@pytest.mark.parametrize("name", FULL)
def test_a_missing_or_unreadable_required_field_is_named_by_its_column(name: str) -> None:
    given, _ = FULL[name]
    absent: Any
    unreadable: object
    for field, column in REQUIRED[name].items():
        rest = {other: value for other, value in given.items() if other != field}
        for absent in ({}, {field: None}, {field: ""}, {field: " \t"}):
            assert reasons({"event": name, "data": rest | absent}) == [(column, "missing")]
        for unreadable in ([], {}, True):
            assert reasons({"event": name, "data": rest | {field: unreadable}}) == [
                (column, "unreadable")
            ]


@pytest.mark.parametrize("name", FULL)
def test_optional_fields_may_be_absent_and_unreadable_ones_are_null_with_a_warning(
    name: str,
) -> None:
    given, expected = FULL[name]
    needed = {field: given[field] for field in REQUIRED[name]}
    assert not event({"event": name, "data": needed}).warnings

    for field in set(given) - set(needed):
        found = event({"event": name, "data": given | {field: ["?"]}})
        ((column, code),) = [(problem.field, problem.code) for problem in found.warnings]
        assert code == "unreadable"
        assert columns(found) == {k: v for k, v in expected.items() if k != column}


def test_all_reasons_are_given_at_once() -> None:
    body = {"event": "workspace_created", "data": {"owner_email": [], "workspace_name": {}}}

    assert reasons(body) == [("account_id", "unreadable"), ("workspace_id", "missing")]


@pytest.mark.parametrize(
    ("name", "alias", "column"),
    [
        *((name, alias, "account_id") for name in FULL for alias in ("email", "user_email")),
        *((name, "user_id", "owner_id") for name in FULL),
        ("plan_changed", "plan", "plan_id"),
        ("plan_renewed", "plan", "plan_id"),
        ("plan_renewed", "plan_details", "plan_id"),
    ],
)
def test_an_alias_is_stored_under_the_first_name(name: str, alias: str, column: str) -> None:
    first = {"account_id": "owner_email"}.get(column, column)
    given, expected = FULL[name]
    renamed = {alias if field == first else field: value for field, value in given.items()}

    assert columns(event({"event": name, "data": renamed})) == expected
    assert columns(event({"event": name, **renamed})) == expected


def test_an_alias_of_another_event_is_unknown_there() -> None:
    body = {"event": "plan_changed", "data": {"email": "a", "plan_details": "pro"}}

    assert reasons(body) == [("plan_id", "missing")]


def test_plan_details_may_be_an_object() -> None:
    for details in ({"plan_id": "Pro"}, {"id": "Pro"}, {"name": "Pro"}, "Pro"):
        body = {"event": "plan_renewed", "data": {"email": "a", "plan_details": details}}
        assert columns(event(body))["plan_id"] == "pro"


def test_data_goes_before_the_top_level_then_the_order_of_names_and_blanks_are_passed() -> None:
    data = {"user_email": "third@data", "email": "second@data"}
    top = {"event": "user_registered", "owner_email": "first@top"}

    assert columns(event({**top, "data": data}))["account_id"] == "second@data"
    assert (
        columns(event({**top, "data": data | {"owner_email": " "}}))["account_id"] == "second@data"
    )
    assert columns(event({**top, "data": {"email": "", "x": 1}}))["account_id"] == "first@top"


def test_data_that_is_no_object_leaves_the_fields_flat() -> None:
    for data in (None, "text", [1], 5, True):
        assert event({"event": "user_registered", "email": "a", "data": data})


def test_the_name_of_an_event_is_read_in_any_case_and_kept_as_sent() -> None:
    found = event({"event": " Plan_Changed ", "data": {"email": "a", "plan": "x"}})

    assert (found.event_type, found.sender_event) == ("plan_changed", "Plan_Changed")


def test_overdue_is_another_name_of_overdue_payment() -> None:
    found = event({"event": "overdue", "data": {"email": "a"}})

    assert (found.event_type, found.sender_event) == ("overdue_payment", "overdue")


def test_the_first_type_key_that_is_not_blank_names_the_event() -> None:
    body = {"event": " ", "event_type": "plan_renewed", "type": "user_registered", "email": "a"}

    assert event(body).event_type == "plan_renewed"


@pytest.mark.parametrize("given", [{}, {"event": None}, {"type": "  "}, {"data": {"event": "x"}}])
def test_without_a_name_the_event_type_is_missing(given: dict[str, object]) -> None:
    assert ("event_type", "missing") in reasons({**given, "email": "a"})


@pytest.mark.parametrize("given", [7, True, [], {}, ["plan_changed"]])
def test_a_name_that_is_no_text_is_unreadable(given: object) -> None:
    assert ("event_type", "unreadable") in reasons({"event": given, "email": "a"})


def test_the_samples_of_the_lesson_are_accepted_as_they_stand() -> None:
    samples = [
        {
            "event": "workspace_created",
            "data": {
                "workspace_id": "abc123",
                "owner_id": "user456",
                "owner_email": "[email protected]",
                "workspace_name": "My Workspace",
            },
        },
        {
            "event": "workspace_deleted",
            "data": {
                "workspace_id": "abc123",
                "owner_email": "[email protected]",
                "deletion_time": "2024-04-27T10:00:00Z",
            },
        },
        {
            "event": "overdue_payment",
            "data": {
                "payment_id": "pay789",
                "amount": 49.99,
                "due_date": "2024-04-20",
                "owner_email": "[email protected]",
            },
        },
    ]
    for sample in samples:
        found = event(sample)
        assert found.account_id == "[email protected]"
        assert not found.warnings
        assert not found.unknown_fields


def test_unknown_fields_are_listed_and_refuse_nothing() -> None:
    body = {
        "event": "user_registered",
        "version": 3,
        "data": {"email": "a", "utm": {"source": "x"}, "plan_id": "pro"},
    }

    assert set(event(body).unknown_fields) == {"version", "data.utm", "data.plan_id"}


# -- bytes that are no event ---------------------------------------------------------------------


def test_bytes_that_are_not_one_json_object_are_a_problem_of_the_body() -> None:
    for body in (b"", b"[]", b"{", b"\xff", b'{"a":NaN}', b'{"a":1,"a":2}', b'{"a":"\\ud800"}'):
        assert reasons(body) == [("body", "invalid_json")]
    assert reasons(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}") == [("body", "too_deep")]


def test_no_reason_quotes_what_was_sent() -> None:
    secret = "very-personal-text"
    for body in (
        {"event": "overdue_payment", "data": {"email": "a", "amount": secret, "due_date": secret}},
        {"event": "user_registered", "data": {"email": "a", "registered_at": secret}},
        {"event": "plan_changed", "data": {"email": [secret], "plan": {"x": secret}}},
    ):
        found = parse(body)
        problems = found.problems if isinstance(found, Malformed) else found.warnings
        assert problems
        assert secret not in str(problems)


# -- when it happened ----------------------------------------------------------------------------

T = [f"2024-04-0{day}T09:00:00Z" for day in range(1, 9)]


@pytest.mark.parametrize(
    ("name", "instants"),
    [
        (
            "user_registered",
            [
                "registered_at",
                "registration_timestamp",
                "registration_time",
                "created_at",
                "timestamp",
            ],
        ),
        ("workspace_deleted", ["deleted_at", "deletion_time", "deletion_timestamp"]),
    ],
)
def test_the_events_own_instants_count_in_the_order_of_their_names(
    name: str, instants: list[str]
) -> None:
    needed = {"email": "a", "workspace_id": "w"}
    for first in range(len(instants)):
        stated = dict(zip(instants[first:], T, strict=False))
        for body in ({"event": name, "data": needed | stated}, {"event": name, **needed, **stated}):
            found = event(body)
            assert found.occurred_at == at("2024-04-01T09:00:00"), instants[first]
            assert found.event_time_source == "payload"


def test_occurred_at_goes_first_the_envelopes_before_the_one_inside_data() -> None:
    body: dict[str, Any] = {
        "event": "user_registered",
        "occurred_at": T[0],
        "timestamp": T[3],
        "created_at": T[4],
        "data": {"email": "a", "occurred_at": T[1], "registered_at": T[2]},
    }
    order = [("", "occurred_at"), ("data", "occurred_at"), ("data", "registered_at")]
    for expected, (place, name) in zip((1, 2, 3), order, strict=True):
        assert event(body).occurred_at == at(f"2024-04-0{expected}T09:00:00")
        del (body[place] if place else body)[name]


@pytest.mark.parametrize("name", FULL)
def test_at_the_top_level_timestamp_goes_before_created_at(name: str) -> None:
    needed, _ = FULL[name]
    both = event({"event": name, "timestamp": T[0], "created_at": T[1], "data": needed})
    one = event({"event": name, "created_at": T[1], "data": needed})

    own = name == "user_registered"  # there both are aliases of its own instant, created_at first
    assert both.occurred_at == at("2024-04-02T09:00:00" if own else "2024-04-01T09:00:00")
    assert one.occurred_at == at("2024-04-02T09:00:00")


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("instant", ["timestamp", "created_at"])
def test_inside_data_they_count_for_registrations_and_new_workspaces_only(
    name: str, instant: str
) -> None:
    found = event({"event": name, "data": {**FULL[name][0], instant: T[0]}})

    if name in ("user_registered", "workspace_created"):
        assert (found.occurred_at, found.event_time_source) == (
            at("2024-04-01T09:00:00"),
            "payload",
        )
    else:
        assert (found.occurred_at, found.event_time_source) == (NOW, "received")


def test_an_unreadable_instant_falls_to_the_next_and_warns() -> None:
    body = {
        "event": "user_registered",
        "occurred_at": "2024-04-01",
        "data": {"email": "a", "registered_at": "soon", "created_at": T[2]},
    }

    assert event(body).occurred_at == at("2024-04-03T09:00:00")
    assert warnings(body) == [("occurred_at", "unreadable")] * 2


def test_after_the_payload_comes_the_signed_time_then_the_receipt() -> None:
    body = {"event": "plan_renewed", "data": {"email": "a", "renewal_date": "2024-05-01"}}
    signed = event(body, Arrival(stored_at=NOW, signed_at=NOW - 5 * SECOND))
    received = event(body)

    assert (signed.occurred_at, signed.event_time_source) == (NOW - 5 * SECOND, "delivery")
    assert (received.occurred_at, received.event_time_source) == (NOW, "received")


def test_a_moment_to_come_becomes_the_moment_of_storing_but_not_in_ids() -> None:
    def stated(when: str, arrival: Arrival = WEBHOOK) -> Event:
        return event(
            {"event": "plan_changed", "occurred_at": when, "email": "a", "plan": "p"}, arrival
        )

    later, much_later = stated("2099-01-01T00:00:00Z"), stated("2099-01-02T00:00:00Z")
    assert (later.occurred_at, later.event_time_source) == (NOW, "received")
    assert later.event_id != much_later.event_id
    assert later.digest != much_later.digest
    afterwards = stated("2099-01-01T00:00:00Z", Arrival(stored_at=NOW + SECOND))
    assert (afterwards.event_id, afterwards.digest) == (later.event_id, later.digest)

    exactly = stated("2026-11-01T12:00:00Z")
    assert (exactly.occurred_at, exactly.event_time_source) == (NOW, "payload")
    signed_ahead = event(
        {"event": "plan_changed", "email": "a", "plan": "p"},
        Arrival(stored_at=NOW, signed_at=NOW + 200 * SECOND),
    )
    assert (signed_ahead.occurred_at, signed_ahead.event_time_source) == (NOW, "received")


# -- backfilled rows -----------------------------------------------------------------------------

ROW = Arrival(stored_at=NOW, origin="backfill", file_sha256="f" * 64, line=3)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("plan_changed", "start_date"),
        ("plan_renewed", "renewal_date"),
        ("overdue_payment", "due_date"),
    ],
)
def test_a_backfilled_row_may_be_timed_by_its_date(name: str, field: str) -> None:
    body = {"event": name, "data": {"email": "a", "plan_id": "p", field: "2024-05-01"}}
    found = event(body, ROW)

    assert (found.occurred_at, found.event_time_source) == (at("2024-05-01T00:00:00"), "date")
    again = event(body, ROW)
    next_line = event(body, Arrival(NOW, "backfill", file_sha256="f" * 64, line=4))
    other_file = event(body, Arrival(NOW, "backfill", file_sha256="e" * 64, line=3))
    assert found.event_id == again.event_id
    assert len({found.event_id, next_line.event_id, other_file.event_id}) == 3
    assert found.digest == next_line.digest == other_file.digest


def test_a_backfilled_row_prefers_its_instant_then_the_signed_time_then_its_own_receipt() -> None:
    body = {"event": "plan_renewed", "data": {"email": "a", "renewal_date": "2024-05-01"}}
    own, signed = at("2024-05-03T00:00:00"), at("2024-05-02T00:00:00")
    received = event(body, Arrival(NOW, "backfill", own_received_at=own))
    delivered = event(body, Arrival(NOW, "backfill", signed_at=signed, own_received_at=own))
    stated = event({**body, "timestamp": T[0]}, Arrival(NOW, "backfill", own_received_at=own))

    assert (received.occurred_at, received.event_time_source) == (own, "received")
    assert (delivered.occurred_at, delivered.event_time_source) == (signed, "delivery")
    assert stated.event_time_source == "payload"
    assert received.event_id == event(body, Arrival(NOW, "backfill", own_received_at=own)).event_id


def test_a_backfilled_row_without_any_time_is_quarantined() -> None:
    assert reasons({"event": "plan_changed", "data": {"email": "a", "plan": "p"}}, ROW) == [
        ("occurred_at", "missing")
    ]


def test_a_replay_is_timed_by_its_receipt_like_a_webhook() -> None:
    found = event({"event": "plan_renewed", "email": "a"}, Arrival(NOW, "replay"))

    assert (found.occurred_at, found.event_time_source) == (NOW, "received")


# -- ids and equality ----------------------------------------------------------------------------


def identified(signed_id: str | None = None, **given: Any) -> str:
    body = {"event": "user_registered", "timestamp": T[0], **given}
    return event(body, Arrival(NOW, signed_id=signed_id)).event_id


def test_event_id_goes_first_then_the_envelopes_id_then_the_signed_one_then_the_hash() -> None:
    data = {"email": "a"}
    assert identified("s", event_id="e", id="i", data=data) == "e"
    assert identified("s", data={"event_id": "e", **data}) == "e"
    assert identified("s", id="i", data=data) == "i"
    assert identified("s", data=data) == "s"
    assert len(identified(data=data)) == 64


def test_a_flat_bodys_id_may_be_anything_and_is_no_event_id() -> None:
    assert identified("s", id="i", email="a") == "s"
    assert identified("s", id="i", email="a", data={}) == "s"
    assert identified("s", data={"id": "i", "email": "a"}) == "s"


@pytest.mark.parametrize("given", ["", "  ", None, True, [], {}, "x" * 257])
def test_an_id_that_is_no_text_of_1_to_256_characters_is_absent(given: object) -> None:
    assert identified("s", event_id=given, data={"email": "a"}) == "s"


def test_ids_are_trimmed_and_may_be_numbers() -> None:
    assert identified(event_id=" x ", email="a") == "x"
    assert identified(event_id="x" * 256, email="a") == "x" * 256
    assert identified(event_id=12345678901234567890, email="a") == "12345678901234567890"


def test_a_webhook_timed_by_its_receipt_alone_is_always_new() -> None:
    body = {"event": "overdue_payment", "data": {"email": "a", "due_date": "2024-04-20"}}
    ids = {event(body).event_id for _ in range(3)}

    assert len(ids) == 3
    assert all(uuid.UUID(one).version == 4 for one in ids)


def test_the_signed_time_of_a_delivery_without_id_makes_its_id() -> None:
    body = {"event": "plan_renewed", "email": "a"}

    def delivered(seconds: int) -> str:
        return event(body, Arrival(NOW, signed_at=NOW - seconds * SECOND)).event_id

    assert delivered(1) == delivered(1)
    assert delivered(1) != delivered(2)


def test_equality_counts_the_stated_instant_but_neither_delivery_nor_receipt() -> None:
    body = {"event": "plan_renewed", "event_id": "x", "email": "a"}
    received, delivered = event(body), event(body, Arrival(NOW, signed_at=NOW - 9 * SECOND))
    stated = event({**body, "timestamp": T[0]})

    assert received.digest == delivered.digest
    assert stated.digest != received.digest
    assert stated.digest != event({**body, "timestamp": T[1]}).digest


@pytest.mark.parametrize("column", ["plan_id", "auto_renew", "start_date", "workspace_id"])
def test_any_other_business_column_makes_another_event(column: str) -> None:
    given = FULL["plan_changed"][0] | {"event_id": "x"}
    other = given | {column: {"auto_renew": True, "start_date": "2024-04-02"}.get(column, "z")}

    assert (
        event({"event": "plan_changed", **given}).digest
        != event({"event": "plan_changed", **other}).digest
    )


def test_an_unknown_event_is_other_under_its_own_name_and_equal_by_its_bytes() -> None:
    body = b'{"event":"no_enough_credit","timestamp":"2024-04-01T09:00:00Z","data":{"email":"A"}}'
    found = event(body)

    assert (found.event_type, found.sender_event) == ("other", "no_enough_credit")
    assert found.account_id == "a"
    assert event(body).event_id == found.event_id
    assert event(body.replace(b",", b", ")).event_id != found.event_id
    assert event(body.replace(b"no_enough", b"not_enough")).event_id != found.event_id
    assert event(b'{"event":"x"}').event_type == "other"


def test_the_payload_is_the_exact_body() -> None:
    body = b' {"event" : "user_registered",\r\n"email":"\\u0041@b" , "n": 1.10} '

    assert event(body).payload == body


def test_documents_of_equal_keys_in_another_order_list_unknown_fields_as_they_give_them() -> None:
    inside = {"owner_email": "a@b.c", "plan_id": "p"}
    for _ in range(2):  # the second time from memory
        for extra in ({"x": 1, "y": 2}, {"y": 2, "x": 1}):
            found = event({"event": "plan_changed", "data": {**inside, **extra}})
            assert found.unknown_fields == tuple(f"data.{name}" for name in extra)
        flat = event({"event": "plan_changed", **inside, "x": 1})
        assert flat.unknown_fields == ("x",)


def test_the_keys_of_a_large_document_are_read_but_not_remembered() -> None:
    before = known_layout.cache_info().currsize
    body = {"event": "plan_changed", "email": "a@b.c", "plan": "p", "k" * KEPT_BODY_BYTES_MAX: 1}

    assert event(body).unknown_fields == ("k" * KEPT_BODY_BYTES_MAX,)
    assert known_layout.cache_info().currsize == before


# -- properties ----------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    for arrival in (WEBHOOK, ROW):
        assert isinstance(parse_body(body, arrival), Event | Malformed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
field_names = st.sampled_from(
    sorted(
        {name for given, _ in FULL.values() for name in given}
        | {"email", "plan", "plan_details", "occurred_at", "timestamp", "created_at", "deleted_at"}
        | {"event_id", "id", "registered_at", "data"}
    )
)


@given(
    name=st.sampled_from([*EVENT_TYPES, "overdue", "other", "new"]),
    top=st.dictionaries(field_names, json_values, max_size=6),
    data=st.dictionaries(field_names, json_values, max_size=6),
    origin=st.sampled_from([WEBHOOK, ROW]),
)
def test_no_document_makes_it_raise_and_what_it_reads_can_be_stored(
    name: str, top: dict[str, Any], data: dict[str, Any], origin: Arrival
) -> None:
    found = parse_body(json.dumps({"data": data, **top, "event": name}).encode(), origin)

    if isinstance(found, Malformed):
        assert found.problems
        return
    assert 0 < len(found.event_id) <= 256
    assert found.occurred_at <= origin.stored_at
    json.dumps([found.event_id, *found.business], ensure_ascii=False).encode()
    found.payload.decode()


def spellings(value: bool) -> st.SearchStrategy[Any]:
    words = ("true", "1", "on", "yes") if value else ("false", "0", "off", "no")
    return st.sampled_from([value, int(value), *words, *(word.upper() for word in words)])


@st.composite
def dialects(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """One overdue payment's canonical columns, and a body in a random dialect that says them."""
    cents = draw(st.integers(-(10**12), 10**12))
    day = draw(st.dates(min_value=date(2001, 1, 1), max_value=date(2026, 1, 1)))
    is_on = draw(st.booleans())
    number = draw(st.integers(1, 10**9))
    text = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    moment = f"{day.isoformat()}T10:11:12"
    unix = at(moment) // SECOND
    pad = draw(st.sampled_from(["", " ", "\\t"]))
    says: list[tuple[list[str], list[str]]] = [
        (["owner_email", "email", "user_email"], [f'"{pad}Ada@B.c"', '"ada@b.c "']),
        (["owner_id", "user_id"], [str(number), f'"{number}"']),
        (["payment_id"], [str(number), f'"{pad}{number}"']),
        (["amount"], [text, f'"{text}"']),
        (["due_date"], [f'"{day}"', f'"{day}T23:59:59Z"', f'"{day} 00:00:00"', str(unix)]),
        (["auto_renew"], [json.dumps(draw(spellings(is_on)))]),
    ]
    parts = [
        f'"{draw(st.sampled_from(names))}":{draw(st.sampled_from(ways))}' for names, ways in says
    ]
    instant = draw(
        st.sampled_from([f'"{moment}Z"', f'"{moment}"', f'"{moment.replace("T", " ")}"', str(unix)])
    )
    kind = draw(st.sampled_from(["event", "event_type", "type"]))
    name = draw(st.sampled_from(["overdue", "overdue_payment"]))
    envelope = [f'"{kind}":"{name}"', f'"occurred_at":{instant}']
    inside = [part for part in parts if draw(st.booleans())]
    outside = [part for part in parts if part not in inside]
    if inside:
        envelope.append(f'"data":{{{",".join(draw(st.permutations(inside)))}}}')
    body = "{" + ",".join(draw(st.permutations([*envelope, *outside]))) + "}"
    expected = {
        "account_id": "ada@b.c",
        "owner_id": str(number),
        "payment_id": str(number),
        "auto_renew": is_on,
        "amount": "0.00" if cents == 0 else text,
        "due_date": day.isoformat(),
    }
    return expected, body.encode()


@given(dialects())
def test_one_event_in_any_dialect_has_the_same_columns_digest_and_id(
    spoken: tuple[dict[str, Any], bytes],
) -> None:
    expected, body = spoken
    found = event(body)
    plain = event(
        {
            "event": "overdue_payment",
            "occurred_at": found.occurred_at // SECOND,
            "data": {"owner_email" if k == "account_id" else k: v for k, v in expected.items()},
        }
    )

    assert columns(found) == columns(plain) == expected
    assert (found.event_id, found.digest) == (plain.event_id, plain.digest)


def test_ids_made_of_fields_never_change_between_versions() -> None:
    """A stored lake is compared with a later backfill by these: freeze them."""
    found = event(
        {
            "event": "plan_changed",
            "occurred_at": "2024-04-01T09:00:00Z",
            "data": {"email": "Ada@example.com", "plan": "Pro", "auto_renew": "on"},
        }
    )
    canonical = (
        '["ada@example.com",null,null,null,null,"pro",null,null,true,null,null,null,null,null]'
    )
    digest = sha256(
        json.dumps(["plan_changed", canonical, 1711962000000000], separators=(",", ":")).encode()
    ).hexdigest()
    assert found.digest == digest
    bare = sha256(
        json.dumps(["plan_changed", canonical, None], separators=(",", ":")).encode()
    ).hexdigest()
    assert (
        found.event_id
        == sha256(
            json.dumps(["id", bare, 1711962000000000], separators=(",", ":")).encode()
        ).hexdigest()
    )


def test_parsing_needs_no_clock_file_or_network() -> None:
    for name in ("parse", "layout", "values", "identity", "strict_json", "contract"):
        source = (Path(__file__).parents[2] / "ingest" / f"{name}.py").read_text("utf-8")
        for forbidden in ("import time", "now()", "open(", "import socket", "import os"):
            assert forbidden not in source, name
