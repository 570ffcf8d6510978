"""What a stored delivery is answered: status and JSON. Pure.

Source: design.md, "HTTP".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from ingest.ledger import Outcome

encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_quoted: Final[Callable[[str], str]] = json.encoder.encode_basestring


def answer_of(outcome: Outcome) -> tuple[int, bytes]:
    """Status and body for the outcome of a committed transaction."""
    if outcome.event_id is not None:
        return 200, _of_event(outcome, outcome.event_id).encode()
    if outcome.verdict == "quarantined":
        errors = [problem.as_dict() for problem in outcome.problems]
        answer = {"status": outcome.verdict, "seq": outcome.seq, "errors": errors}
        return 202, encode(answer).encode()
    return 200, encode({"status": outcome.verdict, "seq": outcome.seq}).encode()


def _of_event(outcome: Outcome, event_id: str) -> str:
    """The usual answer, put together by hand: an encoder takes three times as long."""
    parts = (
        f'{{"status":"{outcome.verdict}","event_id":{_quoted(event_id)},'
        f'"event_type":"{outcome.event_type}","seq":{outcome.seq}'
    )
    if outcome.id_reused:
        parts += ',"id_reused":true'
    if outcome.warnings:
        parts += f',"warnings":{encode([problem.as_dict() for problem in outcome.warnings])}'
    return parts + "}"
