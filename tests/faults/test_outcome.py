"""The line of a fault and its verdict: a harness that cannot fail proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .accounting import account
from .load import Book, body_of
from .outcome import CannotRunError, Outcome, require_tools


def rows(*event_ids: str) -> list[tuple[str, str]]:
    return [(event_id, body_of(event_id).decode()) for event_id in event_ids]


def book_of(*event_ids: str) -> Book:
    book = Book()
    for event_id in event_ids:
        book.sent.add(event_id)
        book.note(event_id, 200, 0.01)
    return book


def test_all_that_was_acknowledged_and_nothing_else_is_ok() -> None:
    book = book_of("a", "b")
    book.sent.add("unanswered")  # stored or not: both are right
    for kept in (("a", "b"), ("a", "b", "unanswered")):
        outcome = Outcome("kill", "lost 0", cycles=1)
        account(outcome, book, rows(*kept))
        assert outcome.is_ok
    assert outcome.line == (
        "kill: cycles=1 acknowledged=2 lost=0 duplicated=0 phantom=0 (bar lost 0) OK"
    )


@pytest.mark.parametrize(
    ("kept", "counts"),
    [
        (rows("a"), (1, 0, 0)),
        (rows("a", "b", "b", "b"), (0, 2, 0)),
        (rows("a", "b", "never sent"), (0, 0, 1)),
        ([*rows("a"), ("b", "other bytes")], (0, 0, 1)),
    ],
)
def test_a_lost_a_doubled_and_a_foreign_row_are_counted_and_fail(
    kept: list[tuple[str, str]], counts: tuple[int, int, int]
) -> None:
    outcome = Outcome("kill", "lost 0", cycles=1)
    account(outcome, book_of("a", "b"), kept)
    assert (outcome.lost, outcome.duplicated, outcome.phantom) == counts
    assert not outcome.is_ok
    assert outcome.line.endswith("FAILED")


def test_no_cycles_or_a_broken_promise_is_no_success() -> None:
    assert not Outcome("kill", "lost 0").is_ok
    late = Outcome("kill", "lost 0", cycles=1)
    late.require(False, "first acknowledgement after 9 s")
    assert not late.is_ok


def test_a_self_test_passes_only_by_losing() -> None:
    kept = Outcome("power-self-test", "lost > 0", cycles=1, must_lose=True)
    account(kept, book_of("a"), rows("a"))
    lost = Outcome("power-self-test", "lost > 0", cycles=1, must_lose=True)
    account(lost, book_of("a"), [])
    assert (kept.is_ok, lost.is_ok) == (False, True)


def test_an_acknowledgement_read_after_the_cut_is_taken_back() -> None:
    book = book_of("a", "b")
    book.acknowledged |= {"a": 10.0, "b": 10.5}
    assert book.disbelieve_since(10.0) == [0.5]
    assert set(book.acknowledged) == {"a"}


def test_a_missing_tool_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(CannotRunError, match="apt-get install e2fsprogs xfsprogs"):
        require_tools("mkfs.xfs", "mkfs.ext4")
