"""What two parsers could read differently is refused; everything else is read as it was written."""

from __future__ import annotations

import contextlib
import json
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.strict_json import InvalidJsonError, Number, parse_object

REFUSED = [
    b"",
    b" ",
    b"\n\t ",
    b"null",
    b"true",
    b"1",
    b'"text"',
    b"[]",
    b'[{"a":1}]',
    b"{",
    b"}",
    b"{]",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1,}',
    b'{,"a":1}',
    b'{"a":1 "b":2}',
    b'{"a":1}{"b":2}',
    b'{"a":1} x',
    b'{"a":1}\x00',
    b'{"a":[1,]}',
    b'{"a":[,1]}',
    b'{"a":[1}',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":1}//',
    b'/**/{"a":1}',
    b'{"a":/**/1}',
    b'{"a":True}',
    b'{"a":undefined}',
    b'{"a":nul}',
    # numbers
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":nan}',
    b'{"a":-}',
    b'{"a":+1}',
    b'{"a":01}',
    b'{"a":-01}',
    b'{"a":1.}',
    b'{"a":.5}',
    b'{"a":1e}',
    b'{"a":1e+}',
    b'{"a":0x10}',
    b'{"a":1_000}',
    '{"a":\u0661}'.encode(),
    '{"a":\uff11}'.encode(),
    # texts
    b'{"a":"',
    b'{"a":"\\"}',
    b'{"a":"\\x41"}',
    b'{"a":"\\u12"}',
    b'{"a":"\\u12G4"}',
    b'{"a":"\\\x00"}',
    b'{"a":"tab\there"}',
    b'{"a":"line\nend"}',
    b'{"a":"nul\x00"}',
    b'{"a":"nul\\u0000"}',
    b'{"nul\\u0000":1}',
    b'{"a":[{"b":"\\u0000"}]}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\udfff"}',
    b'{"a":"\\udc00\\ud800"}',
    b'{"a":"\\ud800\\u0041"}',
    b'{"\\ud800":1}',
    b'{"a":{"b":["\\uDBFF"]}}',
    # bytes
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b"\x00{\x00}",
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-32"),
    b'{"a":"\xff"}',
    b'{"a":"\xc0\x80"}',
    b'{"a":"\xc1\xbf"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xf4\x90\x80\x80"}',
    b'{"a":"\xe2\x82"}',
    '{"a":"é"}'.encode("latin-1"),
    b"\xc2\xa0{}",
    b"\xe2\x80\xa8{}",
    b"\x0b{}",
    b"\x0c{}",
    # keys given twice
    b'{"a":1,"a":1}',
    b'{"a":1,"\\u0061":2}',
    b'{"":1,"":2}',
    b'{"x":{"a":1,"a":2}}',
    b'{"x":[[{"b":0},{"a":1,"b":2,"a":null}]]}',
    '{"é":1,"\\u00e9":2}'.encode(),
]

READ = [
    (b"{}", {}),
    (b' \t\r\n{"a":null}\n', {"a": None}),
    (b'{"a":true,"b":false}', {"a": True, "b": False}),
    (b'{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t"}', {"a": '"\\/\b\f\n\r\t'}),
    (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    ('{"a":"\U0001f600\u2028\x7f\ufeff"}'.encode(), {"a": "\U0001f600\u2028\x7f\ufeff"}),
    (b'{"a":"\\\\u0000"}', {"a": "\\u0000"}),
    (b'{"a":{"a":{"a":[]}},"A":1}', {"a": {"a": {"a": []}}, "A": "1"}),
    ('{"e\u0301":1,"\u00e9":2}'.encode(), {"e\u0301": "1", "\u00e9": "2"}),
    (b'{"__proto__":{"a":1},"constructor":2}', {"__proto__": {"a": "1"}, "constructor": "2"}),
]


@pytest.mark.parametrize("body", REFUSED)
def test_a_hostile_document_is_refused_as_invalid_json(body: bytes) -> None:
    with pytest.raises(InvalidJsonError) as refused:
        parse_object(body)

    assert refused.value.code == "invalid_json"
    assert str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(("body", "expected"), READ)
def test_an_unusual_but_sound_document_is_read(body: bytes, expected: object) -> None:
    assert parse_object(body) == expected


@pytest.mark.parametrize(
    "written",
    [
        "0",
        "-0",
        "-0.0",
        "1.10",
        "1e999",
        "-1E+999",
        "1e-999",
        "9007199254740993",
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
        "9" * 5000,
        "-" + "9" * 5000,
        "0." + "9" * 5000,
    ],
)
def test_a_number_keeps_the_text_it_was_written_as(written: str) -> None:
    found = parse_object(b'{"a":[%b]}' % written.encode())["a"][0]

    assert type(found) is Number
    assert found == written


def nested(depth: int, opening: str, closing: str) -> bytes:
    """A document `depth` levels deep, its own object being the first."""
    return f'{{"a":{opening * (depth - 1)}1{closing * (depth - 1)}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_64_levels_are_read_and_65_are_too_deep(opening: str, closing: str) -> None:
    assert parse_object(nested(64, opening, closing))

    with pytest.raises(InvalidJsonError) as refused:
        parse_object(nested(65, opening, closing))
    assert refused.value.code == "too_deep"


def test_brackets_in_texts_and_side_by_side_are_no_depth() -> None:
    in_text = b'{"a":"' + b"[{" * 500 + b'\\"' + b"[" * 500 + b'"}'
    side_by_side = b'{"a":[' + b"[]," * 500 + b"{}]}"

    assert parse_object(in_text)
    assert len(parse_object(side_by_side)["a"]) == 501


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_document_of_one_megabyte_of_levels_is_too_deep(opening: bytes) -> None:
    with pytest.raises(InvalidJsonError) as refused:
        parse_object((opening * 1_048_576)[:1_048_576])

    assert refused.value.code == "too_deep"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"[]," * 70 + b'"' + b'\\"' * 500_000,
        b'{"a":[' + b"[]," * 70 + b'"' * 1_000_001,
        b'{"a":[' + b"[]," * 70 + b'"' + b"\\" * 1_000_001,
        b'{"a":' + b"[" * 60 + b'"\\u0041"' + b',""' * 300_000 + b"]" * 60 + b"}",
        b'{"a":[' + b"[]," * 340_000 + b"[]]}",
        b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b"}",
    ],
    ids=["escaped quotes", "quotes", "backslashes", "deep texts", "brackets", "keys"],
)
def test_no_document_of_a_megabyte_takes_more_than_linear_time(body: bytes) -> None:
    """Quadratic time would be minutes; the bound only tells those two apart."""

    def give_up(*_: object) -> None:
        raise TimeoutError("reading it takes more than ten seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 10)
    try:
        with contextlib.suppress(InvalidJsonError):
            parse_object(body)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_error_names_the_place_and_never_more_than_a_key() -> None:
    with pytest.raises(InvalidJsonError, match="line 2, column 7"):
        parse_object(b'{"a":1,\n"b":2,}')
    with pytest.raises(InvalidJsonError, match="byte 6"):
        parse_object(b'{"a":"\xff"}')
    long_key = "k" * 5000
    with pytest.raises(InvalidJsonError) as refused:
        parse_object(
            json.dumps({"x": 1})[:-1].encode() + f',"{long_key}":1,"{long_key}":2}}'.encode()
        )
    assert len(str(refused.value)) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values))
def test_whatever_it_reads_is_what_the_standard_parser_reads(document: dict[str, object]) -> None:
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        found = parse_object(body)
    except InvalidJsonError:
        assert any(text in body for text in (b"\\u0000", b"\xed")), "only NUL and surrogates"
        return
    assert found == json.loads(body, parse_int=str, parse_float=str)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_the_named_error(body: bytes) -> None:
    for candidate in (body, b'{"a":' + body + b"}", b'{"a":"' + body + b'"}'):
        try:
            parse_object(candidate)
        except InvalidJsonError as refused:
            assert refused.code in ("invalid_json", "too_deep")
