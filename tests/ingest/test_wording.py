"""A count and its noun agree in everything that people read."""

from __future__ import annotations

import pytest

from ingest.wording import number_of


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1204, "1,204 events")],
)
def test_one_stands_before_the_singular_and_any_other_number_before_the_plural(
    number: int, expected: str
) -> None:
    assert number_of(number, "event") == expected


def test_a_plural_without_an_s_and_a_verb_that_agrees_are_given_in_full() -> None:
    assert number_of(1, "file is", "files are") == "1 file is"
    assert number_of(3, "file is", "files are") == "3 files are"
