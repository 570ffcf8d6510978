"""What a stored delivery is answered: status and JSON. Pure.

Source: design.md, "HTTP".
"""

from __future__ import annotations

import json
from typing import Any, Final

from ingest.ledger import Outcome

encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def answer_of(outcome: Outcome) -> tuple[int, bytes]:
    """Status and body for the outcome of a committed transaction."""
    status, answer = _answer(outcome)
    return status, encode(answer).encode()


def _answer(outcome: Outcome) -> tuple[int, dict[str, Any]]:
    if outcome.verdict == "quarantined":
        return 202, {
            "status": "quarantined",
            "seq": outcome.seq,
            "errors": [problem.as_dict() for problem in outcome.problems],
        }
    if outcome.verdict == "erased":
        return 200, {"status": "erased", "seq": outcome.seq}
    answer: dict[str, Any] = {
        "status": outcome.verdict,
        "event_id": outcome.event_id,
        "event_type": outcome.event_type,
        "seq": outcome.seq,
    }
    if outcome.id_reused:
        answer["id_reused"] = True
    if outcome.warnings:
        answer["warnings"] = [problem.as_dict() for problem in outcome.warnings]
    return 200, answer
