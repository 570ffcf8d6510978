"""What is exported opens in a spreadsheet as the text it was, never as a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime

import polars as pl
import pytest

from dashboards.export import formula_safe_csv


def exported(frame: pl.DataFrame) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(formula_safe_csv(frame).decode("utf-8-sig"))))


@pytest.mark.parametrize(
    "cell",
    [
        '=HYPERLINK("http://evil")',
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "|calc",
        "%0A=1",
        "\t=1",
        "\r=1",
        " =1",
        "\n=cmd|' /C calc'!A0",
        "\u00a0=1",
    ],
)
def test_text_that_may_be_a_formula_gets_an_apostrophe(cell: str) -> None:
    [row] = exported(pl.DataFrame({"name": [cell]}))
    assert row["name"] == f"'{cell}"


@pytest.mark.parametrize("cell", ["plain", "a=b", "1-2", "é", "ws\nname", 'say "hi"', "日本,語"])
def test_other_text_stays_as_it_is(cell: str) -> None:
    [row] = exported(pl.DataFrame({"name": [cell]}))
    assert row["name"] == cell


def test_numbers_days_and_instants_stay_what_they_are() -> None:
    frame = pl.DataFrame(
        {
            "amount": [-12.5],
            "due": [date(2026, 1, 2)],
            "at": [datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)],
            "missing": pl.Series([None], dtype=pl.String),
        }
    )
    assert exported(frame) == [
        {
            "amount": "-12.5",
            "due": "2026-01-02",
            "at": "2026-01-02T03:04:05.000006Z",
            "missing": "",
        }
    ]


def test_the_file_begins_with_the_mark_that_makes_excel_read_utf_8() -> None:
    assert formula_safe_csv(pl.DataFrame({"name": ["é"]})).startswith(b"\xef\xbb\xbf")


def test_an_empty_frame_is_its_headings() -> None:
    frame = pl.DataFrame(schema={"name": pl.String, "n": pl.Int64})
    assert formula_safe_csv(frame).decode("utf-8-sig") == "name,n\n"
