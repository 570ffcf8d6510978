"""Every format says the same: NDJSON packed or not, JSON arrays, CSV, Parquet, our own lake."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract import BUSINESS_COLUMNS
from ingest.errors import UsageError
from ingest.lifecycles import in_time_order, lives
from ingest.payloads import SEED_DIALECT, body_bytes, render
from ingest.population import World
from warehouse.backfill import table_options
from warehouse.columns import Columns, ColumnsError
from warehouse.exports import Row, examine, rows
from warehouse.json_arrays import ArrayError, array_lines, object_lines
from warehouse.shapes import shape_of
from warehouse.sources import ExportError, TableOptions

LIMIT = 4096
BODIES = [
    body_bytes(render(lived, SEED_DIALECT))
    for lived in in_time_order(lives(World(2, 8, datetime(2026, 5, 1, tzinfo=UTC), days=90)))
]
NDJSON = b"".join(body + b"\n" for body in BODIES)


def read(path: Path, options: TableOptions | None = None) -> list[Row]:
    (export,) = examine([path], options=options)
    found = list(rows(export, LIMIT))
    assert export.lines >= (found[-1].line if found else 0)
    return found


def bodies(path: Path, options: TableOptions | None = None) -> list[Any]:
    return [json.loads(row.body) for row in read(path, options)]


def write_table(path: Path, names: list[str], lines: list[list[str]], **how: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **how)
        writer.writerow(names)
        writer.writerows(lines)
    return path


@pytest.mark.parametrize("pack", [gzip.compress, lambda text: pa.compress(text, "zstd", True)])
def test_packing_changes_neither_rows_nor_checksum(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "plain.ndjson").write_bytes(NDJSON)
    (tmp_path / "packed.bin").write_bytes(pack(NDJSON))
    packed, plain = examine([tmp_path / "packed.bin", tmp_path / "plain.ndjson"])
    assert (packed.sha256, packed.lines, packed.bytes) == (plain.sha256, plain.lines, plain.bytes)
    assert list(rows(packed, LIMIT)) == list(rows(plain, LIMIT))


@pytest.mark.parametrize("cut", [3, 20])
def test_a_packed_file_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "e.zst").write_bytes(pa.compress(NDJSON, "zstd", True)[:-cut])
    with pytest.raises(ExportError, match="is the file whole"):
        read(tmp_path / "e.zst")


def test_an_array_is_its_elements(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(b"\xef\xbb\xbf [" + b" ,\n".join(BODIES) + b"]\n ")
    assert [row.body for row in read(path)] == BODIES
    path.write_text(json.dumps([json.loads(body) for body in BODIES], indent=2))
    assert bodies(path) == [json.loads(body) for body in BODIES]
    assert [row.line for row in read(path)] == list(range(1, len(BODIES) + 1))
    path.write_text("[ ]")
    assert read(path) == []


@settings(deadline=None)
@given(
    st.lists(
        st.recursive(
            st.none() | st.integers() | st.text('a"\\[]{},\n'),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text('a"\\]}', max_size=3), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=6,
    ),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
def test_any_array_in_blocks_of_any_size_comes_out_element_by_element(
    elements: list[Any], size: int, indent: int | None
) -> None:
    text = json.dumps(elements, indent=indent).encode()
    at = 0

    def read_some(_wanted: int) -> bytes:
        nonlocal at
        found = text[at : at + (size if at else max(size, 1))]
        at += len(found)
        return found

    lines = b"".join(array_lines(read_some, element_bytes_max=10_000)).splitlines()
    assert [json.loads(line) for line in lines] == elements


@pytest.mark.parametrize("indent", [None, 2])
def test_what_the_quarantine_shows_is_read_as_the_body_it_kept(
    tmp_path: Path, indent: int | None
) -> None:
    shown = {
        "seq": 7,
        "received_at": "2026-01-02T03:04:05.000000Z",
        "event_type": "overdue_payment",
        "errors": [],
        "body_bytes": 3,
        "delivery_id": "m1",
        "body": BODIES[0].decode(),
    }
    path = tmp_path / "e.json"
    path.write_text((json.dumps(shown, indent=indent) + "\n") * 2)
    assert [row.body for row in read(path)] == [BODIES[0]] * 2
    assert {row.signed_id for row in read(path)} == {"m1"}
    assert {row.own_received_at for row in read(path)} == {1_767_323_045_000_000}


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.text('a"\\{'), st.text("b}]{\\"), max_size=3)), st.integers(1, 9)
)
def test_objects_over_several_lines_come_out_one_by_one(elements: list[Any], size: int) -> None:
    text = "\n".join(json.dumps(element, indent=2) for element in elements).encode()
    parts = iter([text[at : at + size] for at in range(0, len(text), size)])
    lines = b"".join(object_lines(lambda _size: next(parts, b""), element_bytes_max=10_000))
    assert [json.loads(line) for line in lines.splitlines()] == elements


def test_what_is_no_element_still_gets_a_line_of_its_own() -> None:
    parts = iter([b'[{"a":1},,nonsense, {"b": [1,2]}]', b"", b""])
    (block,) = array_lines(lambda _size: next(parts), element_bytes_max=100)
    assert block == b'{"a":1}\n,\nnonsense\n{"b": [1,2]}\n'
    endless = iter([b'["', *[b"x" * 4_000_000] * 3])
    with pytest.raises(ArrayError, match="longer than any event"):
        list(array_lines(lambda _size: next(endless), element_bytes_max=100))


def test_columns_are_known_by_any_spelling_of_the_contract(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "e.csv",
        ["Event Type", "E-mail", "user_email", "Auto Renew", "plan", "utm source", "start-date"],
        [["plan_changed", "x", "a@b", "on", "Pro", "ad", "2026-01-01"]],
    )
    assert bodies(path) == [
        {
            "event_type": "plan_changed",
            "E-mail": "x",
            "user_email": "a@b",
            "auto_renew": "on",
            "plan": "Pro",
            "utm source": "ad",
            "start_date": "2026-01-01",
        }
    ]


def test_columns_go_where_they_are_mapped_and_an_event_may_be_given(tmp_path: Path) -> None:
    names, line = ["who", "email", "when", "id"], ["a@b", "not this", "2026-01-02T03:04:05Z", "7"]
    path = write_table(tmp_path / "e.csv", names, [line])
    options = table_options(
        ["who=owner_email", "when=registered_at", "id=event_id"], "user_registered"
    )
    assert bodies(path, options) == [
        {
            "event": "user_registered",
            "owner_email": "a@b",
            "email": "not this",
            "registered_at": "2026-01-02T03:04:05Z",
            "event_id": "7",
        }
    ]


def test_receipt_delivery_id_and_whole_bodies_come_from_columns_too(tmp_path: Path) -> None:
    names = ["payload", "received_at", "Webhook-ID"]
    lines = [
        [body.decode(), "2026-05-01T10:00:00Z", f"m{number}"] for number, body in enumerate(BODIES)
    ]
    found = read(write_table(tmp_path / "e.csv", names, lines))
    assert [row.body for row in found] == BODIES
    assert [row.signed_id for row in found] == [f"m{number}" for number in range(len(BODIES))]
    assert {row.own_received_at for row in found} == {1_777_629_600_000_000}


def test_lines_are_numbered_as_in_the_file_and_ragged_ones_are_bad(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text('event,email\nx,"a\nb"\n\ny,c,d\n"z",e\n', encoding="utf-8-sig")
    found = read(path)
    assert [row.line for row in found] == [3, 5, 6]
    assert json.loads(found[0].body) == {"event": "x", "email": "a\nb"}
    assert json.loads(found[1].body)[0] == "3 fields in a table of 2 columns"
    path.write_bytes(b"event,email\nx,\xff\n")
    assert [row.body for row in read(path)] == [b'{"event":"x","email":"\xff"}']


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["e.csv", "e.tsv.gz", "e.csv.zst"])
def test_the_delimiter_is_told_by_the_first_line(tmp_path: Path, delimiter: str, name: str) -> None:
    text = f'event{delimiter}email\nx{delimiter}"a{delimiter}b"\n'.encode()
    packed = text
    if name.endswith(".gz"):
        packed = gzip.compress(text)
    elif name.endswith(".zst"):
        packed = pa.compress(text, "zstd", True)
    (tmp_path / name).write_bytes(packed)
    assert bodies(tmp_path / name) == [{"event": "x", "email": f"a{delimiter}b"}]


@pytest.mark.parametrize(
    ("text", "given", "event", "reason"),
    [
        (b"email\na@b\n", [], None, "no column says which event"),
        (b"event,email\nx,y\n", [], "overdue", "leave out --event"),
        (b"event,event\nx,y\n", [], None, "given twice"),
        (b"event,email\nx,y\n", ["who=owner_email"], None, "there is no column 'who'"),
        (b'event,email\nx,"a\n', [], None, "near line"),
        (b"", [], "overdue", "names are missing"),
        (b'{"event":"x"}\n', [], "overdue", "it is JSON"),
    ],
)
def test_a_table_that_makes_no_events_is_refused_with_what_to_do(
    tmp_path: Path, text: bytes, given: list[str], event: str | None, reason: str
) -> None:
    (tmp_path / "e.csv").write_bytes(text)
    with pytest.raises(ExportError, match=reason):
        read(tmp_path / "e.csv", table_options(given, event))


@pytest.mark.parametrize("given", ["who", "=owner_email", "who=", "who=nothing_known"])
def test_a_mapping_that_cannot_be_meant_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="--map"):
        table_options([given], None)
    with pytest.raises(UsageError, match="mapped already"):
        table_options(["a=email", "b=email"], None)
    with pytest.raises(UsageError, match="--event"):
        table_options([], "nothing_known")


def test_two_columns_never_become_one_field() -> None:
    fields = Columns({"a": "email"}, "overdue").fields(["a", "email", "E-Mail", "Amount", "amount"])
    assert len(set(fields)) == 5
    with pytest.raises(ColumnsError):
        Columns({}, None).fields([])


def test_parquet_says_what_its_types_mean(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "event": ["overdue", "overdue"],
            "email": ["a@b", None],
            "amount": pl.Series(["49.90", None]).str.to_decimal(scale=2),
            "due_date": [at.date(), None],
            "occurred_at": [at, None],
            "auto_renew": [True, None],
            "payment_id": [7, None],
            "note": [{"x": [1, 2]}, None],
        }
    )
    frame.write_parquet(tmp_path / "e.parquet")
    first, second = bodies(tmp_path / "e.parquet")
    assert first == {
        "event": "overdue",
        "email": "a@b",
        "amount": "49.90",
        "due_date": "2026-01-02",
        "occurred_at": "2026-01-02T03:04:05.600000Z",
        "auto_renew": True,
        "payment_id": 7,
        "note": {"x": [1, 2]},
    }
    assert {name for name, value in second.items() if value is not None} == {"event"}


def test_hostile_parquet_ends_the_load_and_nothing_else(tmp_path: Path) -> None:
    sound = tmp_path / "sound.parquet"
    pl.DataFrame({"event": ["x"] * 999, "email": ["y"] * 999}).write_parquet(sound)
    chance, content = random.Random(4), sound.read_bytes()
    for number in range(6):
        broken = bytearray(content)
        for _ in range(20):
            broken[chance.randrange(4, len(broken) - 4)] = chance.randrange(256)
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(broken)
        try:
            read(path)
        except ExportError as error:
            assert str(path) in str(error)
    (tmp_path / "cut.parquet").write_bytes(content[:100])
    with pytest.raises(ExportError, match=r"cut\.parquet"):
        read(tmp_path / "cut.parquet")


def test_patterns_folders_and_several_paths_name_each_file_once(tmp_path: Path) -> None:
    for name in ("a.ndjson", "b.json.gz", "c.txt", "deep/d.csv.zst"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"event,email\nx,y\n" if "csv" in name else BODIES[0])
    os.symlink("/etc/passwd", tmp_path / "z.json")
    found = examine([tmp_path / "*.ndjson", tmp_path, tmp_path / "**" / "*.zst"])
    assert [export.path.name for export in found] == ["a.ndjson", "b.json.gz", "d.csv.zst"]
    with pytest.raises(ExportError, match="no such file"):
        examine([tmp_path / "*.nothing"])
    with pytest.raises(ExportError, match="neither a file nor a folder"):
        examine([Path("/dev/null")])


def test_every_business_column_can_come_from_a_table() -> None:
    fields = Columns({}, None).fields(["event", *BUSINESS_COLUMNS[1:]])
    assert fields == ["event", *BUSINESS_COLUMNS[1:]]


def test_lines_of_the_log_are_the_deliveries_they_tell_of(tmp_path: Path) -> None:
    told = {
        "seq": 7,
        "rejection_id": None,
        "verdict": "accepted",
        "received_at": "2026-01-02T03:04:05.000000Z",
        "event_type": "overdue_payment",
        "account_id": "other@x.test",
        "event_id": "m1~0123456789ab",
        "delivery_id": "m1",
        "landed_at": None,
        "body": BODIES[0].decode(),
    }
    refused = {**told, "verdict": "rejected", "rejection_id": 3, "body": None}
    torn = {**refused, "verdict": "quarantined", "body_base64": "/w=="}
    blind = {name: value for name, value in told.items() if name != "body"}
    unsigned = {**told, "delivery_id": None}
    lines = [told, refused, torn, blind, unsigned, {**torn, "body_base64": "?"}]
    path = tmp_path / "log.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = {row.line: row for row in read(path)}

    at = 1_767_323_045_000_000
    assert found.keys() == {1, 3, 4, 5, 6}
    assert found[1] == Row(1, BODIES[0], at, "m1")
    assert found[3] == Row(3, b"\xff", at, "m1")
    assert found[5] == Row(5, BODIES[0], at, "m1~0123456789ab")
    assert [row.problem.code for row in found.values() if row.problem] == ["missing", "unreadable"]
    assert shape_of(json.dumps(blind).encode()) is None
    assert shape_of(json.dumps(refused).encode()) is None
