"""Reading exports: bodies as received, wrapped bodies, and files that are something else."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.exports import ExportError, Row, examine, rows, unwrap

LIMIT = 4096
BODY = b'{"event":"user_registered","data":{"email":"a@example.com"}}'


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read(path: Path) -> list[Row]:
    (export,) = examine([path])
    return list(rows(export, LIMIT))


def test_a_body_as_received_is_kept_byte_for_byte(tmp_path: Path) -> None:
    spaced = b'  { "event" : "user_registered", "n": 1.50 } '
    path = write(tmp_path / "e.ndjson", spaced + b"\r\n\n" + BODY)
    assert read(path) == [Row(1, spaced), Row(3, BODY)]


@pytest.mark.parametrize(
    "around",
    [
        b'{"body":%s,"received_at":"2026-01-02T03:04:05Z","headers":{"webhook-id":"m1"}}',
        b'{ "headers" : {"Webhook-Id": ["m1"]} , "received_at": 1767323045, "body" : %s }',
        b'{"received_at":"2026-01-02 03:04:05","headers":[["svix-id","m1"]],"body":%s}',
    ],
)
def test_a_wrapped_body_is_taken_out_with_its_receipt_and_id(around: bytes) -> None:
    exact = b'{"event": "x", "amount": 1.10, "body": {"deep": [1, "}"]}, "u": "\xc3\xa9\\u00e9"}'
    row = unwrap(7, around % exact)
    assert row == Row(7, exact, own_received_at=1_767_323_045_000_000, signed_id="m1")


def test_a_body_given_as_text_is_that_text() -> None:
    assert unwrap(1, json.dumps({"body": BODY.decode()}).encode()) == Row(1, BODY)


def test_a_signed_timestamp_counts_only_in_its_strict_form() -> None:
    def signed_at(value: str) -> int | None:
        line = {"body": {}, "headers": {"webhook-id": "m", "webhook-timestamp": value}}
        return unwrap(1, json.dumps(line).encode()).signed_at

    assert signed_at("1767323045") == 1_767_323_045_000_000
    assert [signed_at(value) for value in ("+1_0", "1767323045.0", "", "17673230450")] == [None] * 4


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"user_registered","body":{"x":1}}',  # an event that has such a field
        b'{"body":7}',
        b'{"body":null}',
        b'{"body":{"a":1},"body":{"a":2}}',  # which of the two?
        b'{"body":',
        b"\xff\xfe",
    ],
)
def test_what_is_no_wrapping_stays_a_body(line: bytes) -> None:
    assert unwrap(1, line) == Row(1, line)


@settings(deadline=None)
@given(st.binary().filter(lambda found: b"\n" not in found))
def test_no_line_raises(line: bytes) -> None:
    assert unwrap(1, line).line == 1
    assert unwrap(1, b'{"body":' + line + b"}").line == 1


@settings(deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text('ab"\\{}é'), inner),
        max_leaves=12,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_the_exact_bytes_of_any_object_come_out(
    value: object, indent: int | None, raw: bool
) -> None:
    separators = None if indent is None else (" ,  ", "  : ")
    text = json.dumps({"v": value}, ensure_ascii=raw, separators=separators)
    row = unwrap(1, f'{{"received_at": null, "body":{text} , "headers":{{}}}}'.encode())
    assert row.body == text.encode()


def test_a_line_longer_than_a_body_may_be_is_bad_and_the_next_is_read(tmp_path: Path) -> None:
    longer = b'{"x":"' + b"x" * 10 * (LIMIT + 64 * 1024) + b'"}'
    inner = b'{"x":"' + b"y" * LIMIT + b'"}'
    path = write(tmp_path / "e.ndjson", b"\n".join([longer, inner, BODY]))
    first, second, third = read(path)
    assert first.problem is not None
    assert first.body == longer[:LIMIT]
    assert second.problem is not None
    assert third == Row(3, BODY)


def test_gzip_changes_neither_rows_nor_checksum(tmp_path: Path) -> None:
    text = BODY + b"\n" + BODY + b"\n"
    plain = write(tmp_path / "e.ndjson", text)
    packed = write(tmp_path / "e.gz", gzip.compress(text))
    first, second = examine([plain, packed])
    assert first.sha256 == second.sha256 == sha256(text).hexdigest()
    assert (first.lines, second.lines) == (2, 2)
    assert read(plain) == read(packed)


def test_a_byte_order_mark_belongs_to_the_file_not_to_its_first_body(tmp_path: Path) -> None:
    assert read(write(tmp_path / "e.ndjson", b"\xef\xbb\xbf" + BODY)) == [Row(1, BODY)]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path / "e.ndjson", b"")) == []


def test_a_folder_is_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.ndjson", "a.jsonl", "notes.txt"):
        write(tmp_path / name, BODY)
    assert [export.path.name for export in examine([tmp_path])] == ["a.jsonl", "b.ndjson"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{}".encode("utf-16"), "UTF-16"),
        (b"PAR1" + b"\0" * 9, "Parquet"),
        (b"\x28\xb5\x2f\xfd....", "is the file whole"),
        (b"\0\1\2", "binary"),
        (b"[\n" + BODY + b"\n", "is the file whole"),
        (b"[" + BODY + b"] " + BODY, "something follows"),
        (gzip.compress(BODY)[:-4], "is the file whole"),
    ],
    # gzip writes the time into its header: a test's name must be the same in every process.
    ids=["UTF-16", "Parquet", "zstd cut", "binary", "array cut", "array and more", "gzip cut"],
)
def test_another_format_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        examine([write(tmp_path / "e.ndjson", content)])


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nowhere\.ndjson: there is no such file"):
        examine([tmp_path / "nowhere.ndjson"])
    with pytest.raises(ExportError, match="the folder has no file"):
        examine([tmp_path])
