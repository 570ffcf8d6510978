"""One field's value in every dialect: booleans, amounts, dates, instants, ids."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingest import values
from ingest.strict_json import Number, parse_object


def read(written: str) -> object:
    """What the JSON text `written` is as a field's value."""
    return parse_object(b'{"a":%b}' % written.encode())["a"]


def at(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return round(moment.timestamp()) * 1_000_000 + moment.microsecond


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((word, True) for word in ("true", "1", '"1"', '"on"', '"yes"', '"true"')),
        *((word, False) for word in ("false", "0", '"0"', '"off"', '"no"', '"false"')),
        ('"ON"', True),
        ('"Yes"', True),
        ('" oFF "', False),
        ('"FALSE"', False),
        ("2", None),
        ("-1", None),
        ('"y"', None),
        ('"enabled"', None),
        ("[true]", None),
        ("{}", None),
    ],
)
def test_a_boolean_is_read_in_every_dialect(written: str, expected: bool | None) -> None:
    assert values.read_boolean(read(written)) is expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("49.99", "49.99"),
        ('"49.99"', "49.99"),
        ("49.9", "49.90"),
        ("49", "49.00"),
        ('" 49 "', "49.00"),
        ("0", "0.00"),
        ("-0", "0.00"),
        ("-0.00", "0.00"),
        ("-12.50", "-12.50"),
        ('"-12.5"', "-12.50"),
        ("1e2", "100.00"),
        ("4999e-2", "49.99"),
        ("0.01", "0.01"),
        ("9007199254740993.01", "9007199254740993.01"),
        ("9999999999999999.99", "9999999999999999.99"),
        ("-9999999999999999.99", "-9999999999999999.99"),
        ("10000000000000000", None),
        ("-10000000000000000", None),
        ("1e16", None),
        ("1e999", None),
        ("1e-999", None),
        ("9" * 5000, None),
        ("49.999", None),
        ("49.990", None),
        ("0.001", None),
        ('"much"', None),
        ('"$49.99"', None),
        ('"49,99"', None),
        ('"1_000"', None),
        ('"٤٩"', None),
        ('"NaN"', None),
        ('"Infinity"', None),
        ('"0x10"', None),
        ("true", None),
        ("[1]", None),
        ("{}", None),
    ],
)
def test_an_amount_is_a_decimal_of_its_text_with_two_places(
    written: str, expected: str | None
) -> None:
    assert values.read_amount(read(written)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"2024-04-01"', "2024-04-01"),
        ('" 2024-04-01 "', "2024-04-01"),
        ('"2024-02-29"', "2024-02-29"),
        ('"2024-04-01T23:30:00-01:00"', "2024-04-02"),
        ('"2024-04-01T00:30:00+01:00"', "2024-03-31"),
        ('"2024-04-01 12:00:00"', "2024-04-01"),
        ("1711929600", "2024-04-01"),
        ('"1711929600"', "2024-04-01"),
        ("1711929600000", "2024-04-01"),
        ('"2023-02-29"', None),
        ('"2024-13-01"', None),
        ('"2024-4-1"', None),
        ('"2024-W01-1"', None),
        ('"2024-04-0\uff11"', None),
        ('"01/04/2024"', None),
        ('"20240401"', None),
        ('"２０２４-04-01"', None),
        ("20240401", None),
        ("true", None),
        ("[]", None),
    ],
)
def test_a_date_is_a_day_and_an_instant_there_counts_by_its_utc_day(
    written: str, expected: str | None
) -> None:
    assert values.read_date(read(written)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"2024-04-27T10:00:00Z"', at("2024-04-27T10:00:00")),
        ('"2024-04-27t10:00:00z"', at("2024-04-27T10:00:00")),
        ('"2024-04-27 10:00:00"', at("2024-04-27T10:00:00")),
        ('"2024-04-27T10:00:00"', at("2024-04-27T10:00:00")),
        ('"2024-04-27T10:00:00+10:00"', at("2024-04-27T00:00:00")),
        ('"2024-04-27 10:00:00-00:30"', at("2024-04-27T10:30:00")),
        ('"2024-04-27T10:00:00.5Z"', at("2024-04-27T10:00:00.500000")),
        ('"2024-04-27T10:00:00.123456789Z"', at("2024-04-27T10:00:00.123456")),
        ('"2016-12-31T23:59:60Z"', at("2017-01-01T00:00:00")),
        ("1714212000", at("2024-04-27T10:00:00")),
        ('"1714212000"', at("2024-04-27T10:00:00")),
        ("1714212000.25", at("2024-04-27T10:00:00.250000")),
        ("1714212000123", at("2024-04-27T10:00:00.123000")),
        ('"1714212000123"', at("2024-04-27T10:00:00.123000")),
        ("1.714212e9", at("2024-04-27T10:00:00")),
        ("946684800", at("2000-01-01T00:00:00")),
        ("946684800000", at("2000-01-01T00:00:00")),
        ("4102444800", at("2100-01-01T00:00:00")),
        ("946684799", None),
        ("946684799999", None),
        ("99999999999", None),
        ("100000000000", None),
        ("1714212000123456", None),
        ("-1", None),
        ("0", None),
        ("1e400", None),
        ("9" * 5000, None),
        ('"2024-04-27"', None),
        ('"2024-04-27T24:00:01Z"', None),
        ('"2024-04-27T10:60:00Z"', None),
        ('"2024-04-27T10:00:61Z"', None),
        ('"2024-04-31T10:00:00Z"', None),
        ('"2024-04-27T10:00:00+25:00"', None),
        ('"2024-04-27T10:00:00+01:60"', None),
        ('"0001-01-01T00:00:00+10:00"', None),
        ('"9999-12-31T23:59:59-10:00"', None),
        ('"0000-01-01T00:00:00Z"', None),
        ('"yesterday"', None),
        ('"２０２４-04-27T10:00:00Z"', None),
        ("true", None),
        ("{}", None),
    ],
)
def test_an_instant_is_rfc_3339_or_unix_time_and_never_a_bare_date(
    written: str, expected: int | None
) -> None:
    assert values.read_instant(read(written)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"abc123"', "abc123"),
        ('"  abc 123\\n"', "abc 123"),
        ("123", "123"),
        ("1.10", "1.10"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", None),
        ("[1]", None),
        ('{"id":1}', None),
    ],
)
def test_an_id_is_text_or_a_number_as_it_was_written(written: str, expected: str | None) -> None:
    found = values.read_text(read(written))

    assert found == expected
    assert type(found) in (str, type(None))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('" Ada@Example.COM "', "ada@example.com"),
        ('"[email\\u00a0protected]"', "[email\u00a0protected]"),
        ('"[email protected]"', "[email protected]"),
        ('"no address"', "no address"),
        ('"ÉLISE@example.com"', "élise@example.com"),
    ],
)
def test_any_text_is_an_account_in_lower_case(written: str, expected: str) -> None:
    assert values.read_account(read(written)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('" Business "', "business"),
        ("7", "7"),
        ('{"plan_id":"Pro","id":"x","name":"y"}', "pro"),
        ('{"plan_id":"","id":12,"name":"y"}', "12"),
        ('{"plan_id":null,"name":" Gold "}', "gold"),
        ('{"price":5}', None),
        ("{}", None),
        ("[]", None),
        ("true", None),
    ],
)
def test_a_plan_is_its_id_also_out_of_an_object(written: str, expected: str | None) -> None:
    assert values.read_plan(read(written)) == expected


@pytest.mark.parametrize("written", ["null", '""', '" "', '"\\t\\n"', '"\\u00a0"'])
def test_null_empty_and_blank_count_as_absent(written: str) -> None:
    assert values.is_absent(read(written))


@pytest.mark.parametrize("written", ["0", "false", '"0"', "[]", "{}"])
def test_zero_false_and_empty_containers_are_given(written: str) -> None:
    assert not values.is_absent(read(written))


def test_a_day_begins_when_the_last_microsecond_of_the_one_before_is_over() -> None:
    last = values.read_instant("2024-03-31T23:59:59.999999Z")

    assert last is not None
    assert values.date_as_instant("2024-04-01") == last + 1


def test_a_number_stays_text_inside() -> None:
    assert isinstance(Number("1.10"), str)
