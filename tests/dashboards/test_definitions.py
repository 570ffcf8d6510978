"""What a page explains is, word for word, what the tables' comments say."""

from __future__ import annotations

import pytest

from dashboards import definitions
from warehouse.glossary import glossary

EXPLAINED = {
    "registration": definitions.REGISTERED,
    "paying_accounts": definitions.PAYING,
    "paid": definitions.PAYING,
    "mrr": definitions.MRR,
    "restore_grace": definitions.CHURNED,
    "open_overdue": definitions.OPEN_OVERDUE,
    "overdue_episode": definitions.OPEN_OVERDUE,
    "time_to_paid": definitions.TIME_TO_PAID,
    "matured": definitions.SOURCES,
    "mrr_new": definitions.MOVEMENTS,
    "expansion": definitions.MOVEMENTS,
    "contraction": definitions.MOVEMENTS,
    "churn": definitions.MOVEMENTS,
    "reactivation": definitions.MOVEMENTS,
    "cancel_cause": definitions.CAUSES,
    "days_overdue": definitions.AGEING,
    "recovery": definitions.RECOVERY,
    "overdue_cause": definitions.RECOVERY,
    "retention": definitions.RETENTION,
    **{f"change_{kind}": text for kind, text in definitions.CHANGES.items()},
    **{f"lifecycle_{name}": text for name, text in definitions.LIFECYCLES.items()},
}


@pytest.mark.parametrize("word", EXPLAINED)
def test_a_word_of_the_glossary_is_explained_by_it(word: str) -> None:
    assert glossary()[word].definition[1:] in EXPLAINED[word]


def test_conversion_names_its_window_where_the_glossary_says_w() -> None:
    shown = definitions.CONVERSION.format(days=30)
    assert "at least 30 days ago" in shown
    assert "sum(paid_30) / sum(matured_30)" in shown
    assert "W" not in shown
