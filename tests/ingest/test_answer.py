"""What a stored delivery is answered: always the compact JSON of the same few keys."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ingest.answer import answer_of
from ingest.ledger import Outcome
from ingest.parse import Problem

WARNING = Problem("amount", "unreadable", '`amount` is "a list"; send é\u2028')


def compact(answer: dict[str, object]) -> bytes:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


@given(
    event_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256),
    is_duplicate=st.booleans(),
    is_reused=st.booleans(),
    warnings=st.sampled_from([(), (WARNING,), (WARNING, WARNING)]),
)
def test_the_answer_about_an_event_is_its_compact_json_whatever_its_id_holds(
    event_id: str, is_duplicate: bool, is_reused: bool, warnings: tuple[Problem, ...]
) -> None:
    outcome = Outcome(
        "duplicate" if is_duplicate else "accepted",
        7,
        event_id,
        "overdue_payment",
        is_reused,
        warnings=warnings,
    )
    expected: dict[str, object] = {
        "status": outcome.verdict,
        "event_id": event_id,
        "event_type": "overdue_payment",
        "seq": 7,
    }
    if is_reused:
        expected["id_reused"] = True
    if warnings:
        expected["warnings"] = [warning.as_dict() for warning in warnings]

    assert answer_of(outcome) == (200, compact(expected))


def test_malformed_and_erased_deliveries_are_answered_without_an_event() -> None:
    malformed = Outcome("quarantined", 8, event_type="plan_changed", problems=(WARNING,))

    assert answer_of(malformed) == (
        202,
        compact({"status": "quarantined", "seq": 8, "errors": [WARNING.as_dict()]}),
    )
    assert answer_of(Outcome("erased", 9, event_type="plan_changed")) == (
        200,
        compact({"status": "erased", "seq": 9}),
    )
