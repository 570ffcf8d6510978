"""README's status codes, verification schemes and metrics are the receiver's, each way."""

from __future__ import annotations

import re

import readme

from ingest import app, http_protocol, observe
from ingest.openapi import openapi_document
from ingest.settings import SCHEMES, WEBHOOK_PATH, Settings

CONTRACT = openapi_document(Settings())  # type: ignore[call-arg]


def documented_codes() -> set[int]:
    rows = readme.table(readme.section("Answers"), first_heading="status")
    return {int(row.name) for row in rows}


def test_every_status_code_is_documented_and_every_documented_one_exists() -> None:
    of_deliveries = {int(code) for code in CONTRACT["paths"][WEBHOOK_PATH]["post"]["responses"]}
    of_the_connection = set(http_protocol._PHRASES)
    of_the_router = {404, 405}
    assert documented_codes() == of_deliveries | of_the_connection | of_the_router


def test_the_receivers_source_holds_no_other_refusal() -> None:
    assert app.__file__
    with open(app.__file__, encoding="utf-8") as source:
        raised = re.findall(r"AnswerError\(\s*(\d{3})", source.read())
    assert set(map(int, raised)) <= documented_codes()


def test_every_path_is_documented() -> None:
    answers = readme.section("Answers")
    for path, methods in CONTRACT["paths"].items():
        for method in methods:
            if method != "parameters":
                assert f"`{method.upper()} {path}`" in answers


def test_every_scheme_is_documented_and_every_documented_one_exists() -> None:
    rows = readme.table(readme.section("Who is believed"), first_heading="scheme")
    assert tuple(row.name for row in rows) == SCHEMES


def test_replayable_schemes_carry_the_warning() -> None:
    rows = readme.table(readme.section("Who is believed"), first_heading="scheme")
    without_signed_time = {row.name for row in rows if "for ever" in row.cells[2]}
    assert without_signed_time == {"github", "shopify", "hmac", "token", "none"}
    assert "scheme without a signed timestamp" in readme.section("Who is believed")


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in observe.Metrics().registry.collect()
    }
    rows = readme.table(readme.section("Answers"), first_heading="metric")
    assert {row.name for row in rows} == exported
