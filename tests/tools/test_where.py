"""`--where`: conditions on a delivery's body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.errors import UsageError
from ingest.where import Condition, parse

BODY: dict[str, Any] = {
    "event": "overdue_payment",
    "id": "e1",
    "data": {
        "plan": "Business",
        "amount": "49.90",
        "user_email": "ada@example.com",
        "auto_renew": True,
        "payment_id": 7,
        "note": "",
        "source": None,
        "utm": {"campaign": "spring", "list": [1]},
        "due_date": "2026-04-20",
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plan=business", True),
        ("plan_id=BUSINESS", True),
        ("plan_details = business", True),
        ("plan!=business", False),
        ("plan=free", False),
        ("owner_email=ada@example.com", True),
        ("account_id~ADA@", True),
        ("email~bob", False),
        ("amount=49.9", True),
        ("amount>=49.90", True),
        ("amount>49.90", False),
        ("amount<100", True),
        ("amount<=49", False),
        ("payment_id=7", True),
        ("payment_id=07", True),
        ("auto_renew=true", True),
        ("due_date<2026-05", True),
        ("due_date>2026-05", False),
        ("data.utm.campaign=spring", True),
        ("utm.campaign=spring", False),
        ("data.utm.list.x=1", False),
        ("event=overdue_payment", True),
        ("id=e1", True),
        ("plan", True),
        ("!plan", False),
        ("note", False),
        ("!source", True),
        ("unheard_of", False),
        ("unheard_of!=x", False),
        ("!unheard_of", True),
        ("plan=a=b", False),
        ("note=", False),
    ],
)
def test_a_condition_holds_or_does_not(text: str, expected: bool) -> None:
    assert parse(text).holds(json.dumps(BODY).encode()) is expected


def test_a_flat_body_is_read_alike_and_data_goes_before_the_top() -> None:
    assert parse("plan=free").holds(b'{"event":"plan_changed","plan":"free"}')
    body = b'{"plan":"free","data":{"plan_id":"business"}}'
    assert parse("plan=business").holds(body)
    assert not parse("plan=free").holds(body)


@pytest.mark.parametrize("body", [None, b"", b"no json", b"[1]", b'{"a":NaN}'])
def test_of_what_is_no_object_only_absence_holds(body: bytes | None) -> None:
    assert parse("!plan").holds(body)
    assert not parse("plan").holds(body)
    assert not parse("plan!=x").holds(body)


@pytest.mark.parametrize("text", ["", " ", "=x", "!", "!a=b", "a b", "a b=c", "!!a"])
def test_what_is_no_condition_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--where plan=business"):
        parse(text)


def test_numbers_that_are_none_are_text() -> None:
    assert parse("a=NaN") == Condition("a", "=", "NaN")
    assert parse("a=nan").holds(b'{"a":"NaN"}')
    assert parse("a<b").holds(b'{"a":"1"}')
