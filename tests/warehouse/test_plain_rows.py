"""Lines read all at once say exactly what the receiver's own parser says of each of them."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest.contract import CONTRACT, TYPE_BY_NAME
from ingest.lifecycles import in_time_order, lives
from ingest.payloads import SEED_DIALECT, body_bytes, random_dialect, render
from ingest.population import World
from warehouse import plain_rows, single_rows
from warehouse.backfill_reading import read_piece
from warehouse.content_ids import DIGEST
from warehouse.exports import row_of
from warehouse.plain_rows import Origin
from warehouse.shape_match import Shapes
from warehouse.shapes import shape_of
from warehouse.text_lines import Piece, index

BODY_MAX = 4096
STORED_AT = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1_000_000
ORIGIN = Origin(STORED_AT, "ab" * 32, 7)
WORLD = World(3, 40, datetime(2026, 5, 1, tzinfo=UTC), days=200)


@pytest.fixture(autouse=True, scope="module")
def every_line_may_have_a_shape() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warehouse.shape_match.LINES_MIN", 1)
        patch.setattr("warehouse.shape_match.FAILURES_MAX", 1_000_000)
        yield


def one_by_one(text: bytes) -> single_rows.SingleRows:
    lines = text.split(b"\n")
    rows = [row_of(number, line, BODY_MAX) for number, line in enumerate(lines, ORIGIN.first_line)]
    return single_rows.read([row for row in rows if row is not None], ORIGIN)


def with_digests(rows: pl.DataFrame) -> pl.DataFrame:
    """The digest of every row, and without what only serves to find it."""
    if rows.is_empty():
        return rows.drop("stated")
    arrow = rows.to_arrow()
    with duckdb.connect() as connection:
        connection.register("arrow", arrow)
        found = connection.sql(
            f"select line, coalesce(digest, {DIGEST}) as digest from arrow order by line"
        ).pl()
    return rows.with_columns(found["digest"]).drop("stated")


def agree(text: bytes, shapes: Shapes | None = None) -> int:
    """Hold the two readings of a text against each other; how many lines were read at once."""
    found = read_piece(Piece(ORIGIN.first_line, text), shapes or Shapes(), ORIGIN, BODY_MAX)
    wanted = one_by_one(text)
    assert_frame_equal(with_digests(found.rows), with_digests(wanted.rows))
    assert found.bad == wanted.bad
    assert found.fields == wanted.fields
    assert found.read == wanted.rows.height + len(wanted.bad)
    plain = plain_rows.read(index(text, bytes_max=BODY_MAX), shapes or Shapes(), ORIGIN)
    return plain.rows.height


WORDS = st.sampled_from(
    [
        *("true", "false", "on", "OFF", "Yes", "no", "1", "0", "null", "maybe", "", " ", "x" * 12),
        *(
            "x" * 13,
            " padded ",
            "\u00a0hard\u00a0",
            "\u3000",
            "Café",
            "é",
            "İ",
            "ΑΣ",
            "\x7f",
            "\x85",
        ),
        *("ada@example.com", " Ada@Example.COM ", "ÄDA@example.com", 'quo"te', "back\\slash"),
        *("business", " Business_Lite", "free", "a\tb", "\u2028", "\U0001f600", "{", "[1]", ",:}"),
        *("x" * 256, "x" * 257, "é" * 200),
    ]
)
MOMENTS = st.sampled_from(
    [
        *("2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "2026-01-02T03:04:05", "2026-02-30"),
        *("2026-01-02T03:04:05.123Z", "2026-01-02T03:04:05.123456+05:30", "2024-02-29"),
        *("2026-01-02T03:04:60Z", "2026-01-02T24:00:00Z", "2026-13-01T00:00:00Z", "2026-01-02"),
        *("2026-01-02t03:04:05z", "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05-00:30"),
        *("2999-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1767323045", "1767323045000"),
        *("2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+05:60", "9999-12-31", "0000-01-01"),
        *("1899-12-31", "2026-01-02T03:04:05.123456789Z", "99999999999", "100000000000"),
        *(1767323045, 1767323045000, 1767323045.5, 946684799, 4133980800, 17673230450, "０"),
    ]
)
NUMBERS = st.sampled_from(
    [
        *(0, 1, -1, 49, 49.9, -0.5, 0.001, 1e16, 10**15, 10**16, 9007199254740993, 1.10, -0.0),
        *("49.90", "007.5", "1e3", "-0", "+1", ".5", "5.", "1_0", "٣", " 12.30 ", "1,5", "-12.3"),
    ]
)
VALUES = st.one_of(
    WORDS,
    MOMENTS,
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from([{}, [], {"plan_id": "Pro"}, {"id": None, "name": "x"}, {"name": 3}, [1]]),
    st.text(max_size=6),
)
TYPES = st.sampled_from([*TYPE_BY_NAME, "Overdue", " plan_changed ", "no_enough_credit", "", None])
NAMES = sorted(
    {name for kind in CONTRACT for field in kind.fields for name in field.names}
    | {name for kind in CONTRACT for name in kind.instants}
    | {"occurred_at", "timestamp", "created_at", "event_id", "id", "utm", "é", "body", "data"}
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """An event in any dialect, some of its fields replaced by anything."""
    key = draw(st.sampled_from(["event", "event_type", "type"]))
    seed = draw(st.integers(0, 1_000))
    chance = random.Random(seed)
    whole: dict[str, Any] = {}
    if draw(st.integers(0, 3)):
        lived = HAPPENINGS[seed % len(HAPPENINGS)]
        whole = render(lived, random_dialect(chance))
        place = whole.get("data", whole)
        for name in draw(st.lists(st.sampled_from(sorted(place)), max_size=2)):
            place[name] = draw(VALUES)
        place |= draw(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2))
    else:
        whole = {key: draw(TYPES), **draw(FIELDS)}
        if draw(st.booleans()):
            whole["data"] = draw(st.one_of(FIELDS, VALUES))
    return whole


HAPPENINGS = list(in_time_order(lives(WORLD)))
HEADERS = st.dictionaries(
    st.sampled_from(["webhook-id", "Webhook-Id", "svix-id", "webhook-timestamp", "x"]),
    st.one_of(st.sampled_from(["m1", " m2 ", "", "1767323045", "+1_0", "x" * 300]), VALUES),
    max_size=3,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A line: a body, or one wrapped; compact or spaced, escaped or not; perhaps broken."""
    body = draw(bodies())
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
    is_ascii = draw(st.booleans())
    text = json.dumps(body, separators=separators, ensure_ascii=is_ascii)
    if draw(st.integers(0, 3)) == 0:
        inner: Any = draw(st.sampled_from(["object", "text"]))
        wrapped = {
            "received_at": draw(st.one_of(MOMENTS, VALUES)),
            "body": body if inner == "object" else text,
            "headers": draw(st.one_of(HEADERS, VALUES)),
        }
        names = draw(st.lists(st.sampled_from(sorted(wrapped)), unique=True).map(lambda n: [*n]))
        text = json.dumps(
            {name: wrapped[name] for name in dict.fromkeys([*names, "body"])},
            separators=separators,
            ensure_ascii=is_ascii,
        )
    line = text.encode("utf-8", "surrogatepass")
    change = draw(st.integers(0, 19))
    if change == 0:
        at = draw(st.integers(0, max(0, len(line) - 1)))
        line = line[:at] + draw(st.binary(max_size=2)) + line[at + 1 :]
    elif change == 1:
        line = line[:-1] + b"," + line[1:]  # every key twice
    elif change == 2:
        line = b" " + line + b" \r"
    return line.replace(b"\n", b" ")


@settings(max_examples=150, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=12), st.booleans())
@example([b'{"event":"overdue","email":"a@b","due_date":"2026-01-01"}'] * 3, True)
@example(
    [b'{"event":"overdue","email":"a@b","due_date":"2026-01-01","due_date":"2026-01-02"}'], True
)
@example([b'{"event":"user_registered","email":"a@b","timestamp":1767323045,"n":NaN}'], True)
@example([b'{"event":"user_registered","email":"a@b","timestamp":1767323045,"n":01}'], True)
@example([b'\xef\xbb\xbf{"event":"user_registered","email":"a@b","timestamp":1767323045}'], True)
@example([b'{"event":"user_registered","email":"\xff","timestamp":1767323045}'], True)
@example([b""], False)
def test_any_lines_read_at_once_say_what_each_says_by_itself(
    lines: list[bytes], ends_with_newline: bool
) -> None:
    agree(b"\n".join(lines) + b"\n" * ends_with_newline)


@settings(max_examples=40, deadline=None)
@given(bodies(), st.lists(st.tuples(st.integers(0, 5), VALUES), min_size=1, max_size=20))
def test_one_shape_with_any_values_agrees(body: dict[str, Any], changes: list[Any]) -> None:
    lines = []
    for number, value in changes:
        place = body.get("data") if isinstance(body.get("data"), dict) else body
        assert isinstance(place, dict)
        names = sorted(place) or ["x"]
        changed = {**place, names[number % len(names)]: value}
        whole = {**body, "data": changed} if place is not body else changed
        lines.append(json.dumps(whole, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    agree(b"\n".join(line.replace(b"\n", b" ") for line in lines))


@pytest.mark.parametrize("is_mixed", [False, True])
def test_a_simulated_population_agrees_and_nearly_all_of_it_is_read_at_once(
    is_mixed: bool,
) -> None:
    chance = random.Random(5)
    lines = [
        body_bytes(render(lived, random_dialect(chance) if is_mixed else SEED_DIALECT))
        for lived in HAPPENINGS
    ]
    assert agree(b"\n".join(lines)) == len(lines)


def test_wrapped_lines_are_read_at_once_too() -> None:
    lines = [
        json.dumps(
            {
                "received_at": "2026-05-01T10:00:00Z",
                "headers": {"webhook-id": f"m{number}", "webhook-timestamp": "1767323045"},
                "body": render(lived, SEED_DIALECT),
            }
        ).encode()
        for number, lived in enumerate(HAPPENINGS)
    ]
    assert agree(b"\n".join(lines)) == len(lines)


def test_shapes_learnt_in_one_piece_hold_in_the_next() -> None:
    shapes = Shapes()
    lines = [body_bytes(render(lived, SEED_DIALECT)) for lived in HAPPENINGS]
    for at in range(0, len(lines), 25):
        agree(b"\n".join(lines[at : at + 25]), shapes)


@pytest.mark.parametrize("size", [0, 1, 4, 11, 12, 13, 16, 255, 256])
def test_texts_of_every_length_come_out_whole(size: int) -> None:
    line = {"event": "workspace_created", "email": "a@b", "timestamp": 1767323045}
    texts = ["w" * size, "é" * (size // 2), "z"]
    lines = [
        json.dumps(
            {**line, "workspace_id": "1", "source": "s", "workspace_name": text},
            ensure_ascii=False,
        )
        for text in texts
    ]
    assert agree("\n".join(lines).encode()) == 3


def test_blanks_that_unicode_knows_are_trimmed_as_python_trims_them() -> None:
    line = '{"event":"workspace_created","email":"a@b","timestamp":1767323045,"workspace_id":"%s"}'
    spaces = [chr(code) for code in range(32, sys.maxunicode) if chr(code).isspace()]
    near = [chr(code) for code in (0x84, 0x86, 0x9F, 0xA1, 0x200B, 0x2027, 0x202A, 0x3001, 0xFEFF)]
    texts = [f"{left}x{right}" for left in (*spaces, *near, "") for right in (*spaces, *near, "")]
    agree("\n".join(line % text for text in texts).encode())


def test_unknown_fields_of_lines_read_at_once_are_counted() -> None:
    line = (
        b'{"event":"plan_changed","utm":"x","data":{"plan":"a","email":"b","timestamp":1,"n":null}}'
    )
    dated = line.replace(b'"n":null', b'"start_date":"2026-01-01"')
    found = read_piece(Piece(1, b"\n".join([dated] * 3)), Shapes(), ORIGIN, BODY_MAX)
    assert found.fields == Counter(
        {("unknown", "plan_changed", "utm"): 3, ("unknown", "plan_changed", "data.timestamp"): 3}
    )


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"user_registered"}',  # nobody
        b'{"event":["user_registered"],"email":"a@b"}',
        b'{"email":"a@b"}',
        b'{"body":"{}"}',
        b'["event"]',
        b'{"event":"x","a":1,"a":2}',
        b'{"event":"user_registered","email":{"a":"b"}}',
        b"{" + b'"a":{' * 70 + b"}" * 71,
    ],
)
def test_a_line_without_a_shape_is_left_to_the_receivers_parser(line: bytes) -> None:
    assert shape_of(line) is None
