"""Which row of several with one id is the event: the same whatever order they came in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from warehouse.settle import Stored, settle

START = datetime(2026, 1, 1, tzinfo=UTC)


def row(stored_id: str, minute: int, digest: str, seq: int = 0, node: str = "n1") -> Stored:
    return Stored(stored_id, START + timedelta(minutes=minute), node, seq or minute, digest)


def test_of_equal_rows_the_first_received_is_the_event() -> None:
    assert settle([row("a", 2, "x"), row("a", 1, "x")]) == {("n1", 1): "a", ("n1", 2): None}


def test_a_later_row_with_other_fields_is_renamed_by_its_hash() -> None:
    answer = settle([row("a", 1, "x" * 64), row("a", 2, "0123456789abcdef")])
    assert answer == {("n1", 1): "a", ("n1", 2): "a~0123456789ab"}


def test_an_earlier_row_arriving_late_takes_the_id() -> None:
    answer = settle([row("a", 5, "late"), row("a", 1, "early")])
    assert answer == {("n1", 1): "a", ("n1", 5): "a~late"}


def test_a_row_the_receiver_renamed_and_one_renamed_here_are_one_event() -> None:
    digest = "f" * 64
    rows = [row("a", 1, "x"), row("a", 2, digest), row(f"a~{digest[:12]}", 3, digest)]
    assert settle(rows) == {
        ("n1", 1): "a",
        ("n1", 2): f"a~{digest[:12]}",
        ("n1", 3): None,
    }


def test_ties_go_by_node_and_sequence() -> None:
    rows = [row("a", 1, "x", 9, "n2"), row("a", 1, "x", 8, "n2"), row("a", 1, "x", 10, "n1")]
    assert settle(rows) == {("n2", 9): None, ("n2", 8): None, ("n1", 10): "a"}


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["a", "b", "a~p", "a~q", "a~p~q"]),
        st.integers(0, 5),
        st.sampled_from(["p", "q", "r"]),
        st.integers(1, 10_000),
    ),
    unique_by=lambda stored: (stored.node, stored.seq),
    max_size=12,
)


@given(ROWS, st.randoms(use_true_random=False))
def test_ids_are_unique_and_do_not_depend_on_the_order(rows: list[Stored], random: object) -> None:
    answer = settle(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert settle(shuffled) == answer
    kept = [event_id for event_id in answer.values() if event_id is not None]
    assert len(kept) == len(set(kept))
    assert set(answer) == {(stored.node, stored.seq) for stored in rows}
