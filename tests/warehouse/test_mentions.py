"""Somebody's address is found in every spelling, and nobody else's is taken for it."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.mentions import Mentions

OTHERS = ("mary.ann@x.test", "mary+ann@x.test", "ann@x.test.au", "ann@x.test-2.org")
ANN = Mentions(["ann@x.test"], OTHERS)


@pytest.mark.parametrize(
    "text",
    [
        "ann@x.test",
        "ANN@X.Test",
        "Mail <ann@x.test>.",
        "write to ann@x.test.",
        '{"note": "ann\\u0040x.test"}',
        '{"note": "\\u0041NN\\u0040X.test"}',
        '{"note": "by\\u003cann@x.test\\u003e"}',
        '{"note": "line\\nann@x.test\\nline"}',
        "https://x.test/unsubscribe?email=ann%40x.test&all=1",
        "https://x.test/?a=%3Cann%40x.test%3E",
        "ann@x.test,bob@x.test",
        "order-ann@x.test-17",
        "data.ann@x.test",
        "export_of_ann@x.test.ndjson",
        "mary.ann@x.test wrote to ann@x.test",
    ],
)
def test_every_spelling_is_found_and_replaced(text: str) -> None:
    assert ANN.found(text)
    assert "[erased]" in ANN.redacted(text)
    assert not ANN.found(ANN.redacted(text))


@pytest.mark.parametrize(
    "text",
    [
        "joann@x.test",
        "ann@x.testing",
        *OTHERS,
        '{"a": "Mary.Ann\\u0040x.test"}',
        "ann@y.test",
        "ann",
        "",
        "100 % \\u0041",
    ],
)
def test_nobody_else_is_found(text: str) -> None:
    assert not ANN.found(text)
    assert ANN.redacted(text) == text


def test_an_account_that_is_no_address_is_found_only_as_a_whole_text() -> None:
    masked = Mentions(["owner"])
    assert masked.found('{"owner_email": " Owner "}')
    assert not masked.found('{"owner_email": "the owner"}')
    assert masked.redacted('{"a": "owner", "b": "owners"}') == '{"a": "[erased]", "b": "owners"}'


def test_composed_and_decomposed_letters_are_found_by_either() -> None:
    for form in ("NFC", "NFD"):
        jose = Mentions([unicodedata.normalize(form, "josé@x.test")])
        assert jose.found(unicodedata.normalize("NFC", "José@x.test"))
        assert jose.found(unicodedata.normalize("NFD", "José@x.test"))
        assert jose.found(json.dumps("JOSÉ@x.test"))
        assert jose.found(quote("josé@x.test"))


def test_bytes_of_other_encodings_are_searched() -> None:
    assert ANN.found_in_bytes("ann@x.test".encode("utf-16"))
    assert ANN.found_in_bytes(b"\xff ann@x.test \xfe")
    assert ANN.redacted_bytes(b"\xff <ann@x.test> \xfe") == b"\xff <[erased]> \xfe"


def test_redacted_json_stays_json() -> None:
    body = json.dumps({"a": ["ann@x.test", "<ann@x.test>\n"], "ann@x.test": 1, "b": "Zoë"})
    assert json.loads(ANN.redacted(body)) == {
        "a": ["[erased]", "<[erased]>\n"],
        "[erased]": 1,
        "b": "Zoë",
    }


@given(st.text(max_size=30), st.text(max_size=30), st.booleans())
def test_an_address_between_blanks_is_found_whatever_stands_around(
    before: str, after: str, is_ascii: bool
) -> None:
    body = json.dumps({"note": f"{before} 😀zoë@x.test {after}"}, ensure_ascii=is_ascii)
    person = Mentions(["😀zoë@x.test"])
    assert person.found(body)
    assert "x.test" not in json.loads(person.redacted(body))["note"].replace(before, "").replace(
        after, ""
    )
