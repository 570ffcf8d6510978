"""One source of words: what a page explains is what the tables' comments say."""

from __future__ import annotations

import re

from warehouse.glossary import glossary
from warehouse.transform import PROJECT

MODELS = PROJECT / "models"


def test_every_block_of_the_glossary_can_be_read() -> None:
    blocks = re.findall(r"{% docs (\w+) %}", (MODELS / "glossary.md").read_text())
    assert list(glossary()) == blocks
    for term in glossary().values():
        assert term.title and term.title == term.title.strip()
        assert term.definition.endswith(".") and "\n" not in term.definition


def test_every_word_is_quoted_where_it_is_used() -> None:
    quoted = {
        name
        for path in MODELS.rglob("*.yml")
        for name in re.findall(r"doc\('(\w+)'\)", path.read_text())
    }
    assert quoted == set(glossary())


def test_the_growth_teams_words_are_there() -> None:
    assert {
        *("registration", "activated", "paid", "mrr", "expansion", "contraction", "churn"),
        *("reactivation", "grr", "nrr", "logo_churn", "arpa", "retention", "overdue_episode"),
        *("recovery", "conversion", "matured"),
    } <= set(glossary())
