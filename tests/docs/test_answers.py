"""README's status codes, verification schemes and metrics are the receiver's, each way."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import readme

from ingest import http_protocol, metrics, receiver, responses
from ingest.openapi import openapi_document
from ingest.settings import SCHEMES, WEBHOOK_PATH, Settings

CONTRACT = openapi_document(Settings())  # type: ignore[call-arg]


def documented_codes() -> set[int]:
    rows = readme.table(readme.section("Answers"), first_heading="status")
    return {int(row.name) for row in rows}


def raised_codes(module: ModuleType, call: str) -> set[int]:
    """Status codes that the module's source hands to `call`."""
    return set(map(int, re.findall(rf"{call}\(\s*(\d{{3}})", inspect.getsource(module))))


def test_every_status_code_is_documented_and_every_documented_one_exists() -> None:
    of_deliveries = {int(code) for code in CONTRACT["paths"][WEBHOOK_PATH]["post"]["responses"]}
    of_the_connection = raised_codes(http_protocol, "(?:_refuse|_refuse_in_turn|_RefusalError)")
    of_the_router = {404, 405}
    assert of_connection_is_plausible(of_the_connection)
    assert documented_codes() == of_deliveries | of_the_connection | of_the_router


def of_connection_is_plausible(codes: set[int]) -> bool:
    """Guards the reading of the source above: these three can only come from the connection."""
    return {400, 408, 431} <= codes


def test_the_receivers_source_holds_no_other_refusal() -> None:
    for module in (receiver, responses):
        assert raised_codes(module, "AnswerError")
        assert raised_codes(module, "AnswerError") <= documented_codes()


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
        for family in metrics.Metrics().registry.collect()
    }
    rows = readme.table(readme.section("Answers"), first_heading="metric")
    assert {row.name for row in rows} == exported
