"""Analysts' SQL: what it may ask, how it is answered, and every way out of the sandbox, closed."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from minutes import event

from ingest.errors import StorageError, UsageError
from ingest.paths import DataDir
from ingest.settings import load_settings
from warehouse import adhoc, sql_command
from warehouse.adhoc import (
    NothingPublishedError,
    QueryError,
    QueryRefusedError,
    QueryStoppedError,
    execute,
)
from warehouse.transform import Transformer
from warehouse.workbench import Workbench


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory, small_transformer: Transformer
) -> Iterator[Workbench]:
    bench = Workbench(tmp_path_factory.mktemp("sql") / "da'ta", small_transformer)
    bench.add([event("a@x.test", 1, source="=1+1"), event("b@x.test", 2, source="\x1b[31mred")])
    bench.refresh()
    yield bench


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_published_file_that_cannot_be_read_is_named(
    tmp_path: Path, small_transformer: Transformer
) -> None:
    bench = Workbench(tmp_path, small_transformer)
    bench.add([event("a@x.test", 1)])
    bench.refresh()
    path = bench.data.warehouse.resolve()
    path.chmod(0o600)
    path.write_bytes(b"garbage" * 1_000)
    with pytest.raises(StorageError, match=rf"{path} cannot be read .*refresh --full"):
        execute(bench.data, "select 1")


def test_a_data_directory_that_is_a_file_holds_nothing_published(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(NothingPublishedError):
        execute(DataDir(place), "select 1")


def test_values_arrive_as_python_has_them(asked: Workbench) -> None:
    answer = execute(
        asked.data,
        "select 1.50::decimal(18, 2) as d, occurred_at, date '2026-01-02' as day, null as n,"
        " [1, 2] as l, {'a': 1.5::decimal(3, 1)} as s, 2.5::double as f, true as b, 'é' as t,"
        " time '10:00' as c, 'ab'::blob as raw, timestamp '2026-01-01 00:00:00' as naive,"
        " 170141183460469231731687303715884105727::hugeint as big"
        " from events order by occurred_at limit 1",
    )
    assert answer.rows == [
        (
            Decimal("1.50"),
            datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
            date(2026, 1, 2),
            None,
            [1, 2],
            {"a": Decimal("1.5")},
            2.5,
            True,
            "é",
            "10:00:00",
            "6162",
            datetime(2026, 1, 1),  # noqa: DTZ001 - a TIMESTAMP has no zone
            170141183460469231731687303715884105727,
        )
    ]
    assert answer.types[0] == "DECIMAL(18,2)"
    assert answer.types[1] == "TIMESTAMP WITH TIME ZONE"


def test_intervals_and_infinities_are_told_as_duckdb_tells_them(asked: Workbench) -> None:
    answer = execute(
        asked.data,
        "select interval '1 month 40 days 3 hours' as span,"
        " {'INTERVAL': [interval '1 year'], 'k': 1} as spans, 'infinity'::date as never,"
        " '-infinity'::timestamptz as ever, 'infinity'::timestamp as naive,"
        " date '9999-12-31' as last_day, null::interval as span",
    )
    assert answer.rows == [
        (
            "1 month 40 days 03:00:00",
            {"INTERVAL": ["1 year"], "k": 1},
            "infinity",
            "-infinity",
            "infinity",
            date(9999, 12, 31),
            None,
        )
    ]
    assert answer.types[:4] == (
        "INTERVAL",
        'STRUCT("INTERVAL" INTERVAL[], k INTEGER)',
        "DATE",
        "TIMESTAMP WITH TIME ZONE",
    )


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from events;",
        "select count(*) from events -- and a comment",
        "select count(*) from events; -- ended before the comment; twice;",
        "/* first */ with e as (select * from events) select count(*) from e ;;",
        "from (select count(*) from events)",
        "select count(*) from warehouse.main.events",
        "table mart_total",
        "values (1)",
        "show tables",
        "describe events",
        "summarize fct_accounts",
        "select ';' as semicolon, '--' as comment",
        "select count(*) from events where event_id like '%;%'",
    ],
)
def test_one_select_in_any_spelling_is_answered(asked: Workbench, query: str) -> None:
    assert execute(asked.data, query).rows


def test_order_is_kept_and_names_are_made_unique(asked: Workbench) -> None:
    answer = execute(asked.data, "select range as a, 1 as a from range(3000) order by 1 desc")
    assert [row[0] for row in answer.rows] == list(range(2999, -1, -1))
    assert len(set(answer.columns)) == 2


def test_the_cap_is_exact_on_both_sides(asked: Workbench) -> None:
    for count, is_capped in ((4, False), (5, False), (6, True)):
        answer = execute(asked.data, f"select * from range({count})", max_rows=5)
        assert (len(answer.rows), answer.is_capped) == (min(count, 5), is_capped)
    assert len(execute(asked.data, "from range(12345)", max_rows=0).rows) == 12345


SECRET = "/etc/passwd"
ESCAPES = [
    f"select * from read_csv('{SECRET}')",
    f"select * from read_text('{SECRET}')",
    f"select * from read_blob('{SECRET}')",
    f"select * from '{SECRET}'",
    f"select * from sniff_csv('{SECRET}')",
    f"select * from parquet_metadata('{SECRET}')",
    "select * from glob('/etc/*')",
    "select * from read_text('/proc/self/environ')",
    "select * from read_text('LAKE/../../ledger.sqlite')",
    "select * from read_blob('DATA/state.duckdb')",
    "select * from read_duckdb('DATA/state.duckdb')",
    "select * from read_text('LAKE/link')",
    "select * from glob('DATA/*')",
    "select * from read_csv('https://example.test/x.csv')",
    "attach 'DATA/state.duckdb' as s",
    "install httpfs",
    "load httpfs",
    "copy events to 'LAKE/evil.csv'",
    "copy (select 1) to 'LAKE/evil.parquet'",
    "with x as (copy (select 1) to 'LAKE/evil.csv') select 1",
    "with x as (insert into plan_prices select * from plan_prices returning *) select * from x",
    "with x as (delete from fct_accounts returning *) select * from x",
    "insert into fct_accounts select * from fct_accounts",
    "create table t as select 1",
    "create temp table t as select 1",
    "drop view events",
    "export database 'LAKE/evil'",
    "import database 'LAKE/evil'",
    "set memory_limit = '100GB'",
    "reset memory_limit",
    "pragma version",
    "call pragma_version()",
    "checkpoint",
    "use memory",
    "detach warehouse",
    "explain select 1",
    "explain analyze select 1",
    "prepare p as select 1",
    "begin",
    "select 1; select 2",
    "select 1; copy (select 1) to 'LAKE/evil.csv'",
    "select 1 /* ; */; drop view events",
    "select * from query('select 1')",
    "select * from \"query\" /* x */ ('select 1')",
    "select * from (describe select * from query('select 1'))",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "select write_log('x')",
    "select * from force_checkpoint()",
    "select * from destroy_external_resource('abs', 1)",
    "select * from enable_profiling(save_location := 'LAKE/evil.json')",
    "select * from enable_logging()",
]


@pytest.mark.parametrize("query", ESCAPES)
def test_every_way_out_is_refused_and_touches_nothing(asked: Workbench, query: str) -> None:
    lake = asked.data.lake.resolve()
    link = lake / "link"
    if not link.is_symlink():
        link.symlink_to(SECRET)
    before = tree(asked.data.root)
    text = query.replace("LAKE", str(lake).replace("'", "''"))
    text = text.replace("DATA", str(asked.data.root).replace("'", "''"))
    with pytest.raises((QueryRefusedError, QueryError)):
        execute(asked.data, text)
    assert tree(asked.data.root) == before


@pytest.mark.parametrize(
    "query",
    ["select 1) ; drop view events; select * from (select 1", "select 1) union (select 2", ")"],
)
def test_closing_the_wrapping_parenthesis_leads_nowhere(asked: Workbench, query: str) -> None:
    with pytest.raises((QueryError, QueryRefusedError)):
        execute(asked.data, query)


def test_statements_that_are_no_select_are_refused_and_say_what_they_are(
    asked: Workbench,
) -> None:
    with pytest.raises(QueryRefusedError, match="only SELECT is run here, and this is COPY"):
        execute(asked.data, "copy events to 'x.csv'")
    with pytest.raises(QueryRefusedError, match="this is 2"):
        execute(asked.data, "select 1; select 2")
    with pytest.raises(QueryRefusedError, match="COPY statement must be at the top"):
        execute(asked.data, "with x as (copy (select 1) to 'x.csv') select 1")


def test_reading_the_lakes_own_files_is_allowed(asked: Workbench) -> None:
    lake = str(asked.data.lake.resolve()).replace("'", "''")
    answer = execute(asked.data, f"select count(*) from read_parquet('{lake}/*/*/*.parquet')")
    assert answer.rows == [(2,)]


@pytest.mark.parametrize(
    ("query", "line", "column"),
    [
        ("selec 1", 1, 1),
        ("select 1,\n  nowhere\nfrom events", 2, 3),
        ("select *\nfrom nowhere", 2, 6),
        ("select 'é', nowhere from events", 1, 13),
    ],
)
def test_an_error_names_its_place(asked: Workbench, query: str, line: int, column: int) -> None:
    with pytest.raises(QueryError) as raised:
        execute(asked.data, query)
    assert (raised.value.line, raised.value.column) == (line, column)


@pytest.mark.alone
@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from range(100000000) a, range(100000000) b where a.range <> b.range",
        "with recursive r as (select 1 as x union all select x + 1 from r) select count(*) from r",
        "select count(*) from events, range(1000000000000)",
    ],
)
def test_an_endless_query_is_stopped_in_time(asked: Workbench, query: str) -> None:
    started = time.monotonic()
    with pytest.raises(QueryStoppedError, match="stopped after 1 s"):
        execute(asked.data, query, timeout_seconds=1)
    assert time.monotonic() - started < 4


@pytest.mark.alone
@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from (select unnest(range(1000000000)))",
        "select length(repeat('x', 3000000000))",
        "select list_reduce(range(100000000), lambda x, y: x + y)",
        "select list(range) from range(1000000000)",
        "select string_agg(range::varchar, ',') from range(1000000000)",
    ],
)
def test_a_greedy_query_is_stopped_by_memory_or_time(asked: Workbench, query: str) -> None:
    with pytest.raises(QueryStoppedError):
        execute(asked.data, query, timeout_seconds=8, memory_bytes=200 << 20)


def test_no_query_and_no_warehouse_are_said(asked: Workbench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no query"):
        execute(asked.data, "  \n")
    with pytest.raises(QueryRefusedError, match="this is 0"):
        execute(asked.data, "-- only a comment")
    with pytest.raises(NothingPublishedError, match="hooklake refresh"):
        execute(Workbench(tmp_path).data, "select 1")


def command(bench: Workbench) -> list[str]:
    return [sys.executable, "-m", "warehouse.cli", "sql", "--data-dir", str(bench.data.root)]


def hooklake_sql(
    bench: Workbench, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(bench), *arguments], input=stdin, capture_output=True, text=True, timeout=60
    )


def test_the_commands_exit_codes(asked: Workbench) -> None:
    codes = {
        ("select 1",): 0,
        ("selec 1",): 1,
        ("",): 2,
        ("from range(3)", "--max-rows", "2"): 3,
        ("drop view events",): 4,
        ("select count(*) from range(1e12::bigint) a", "--timeout", "0.5"): 4,
    }
    for arguments, code in codes.items():
        done = hooklake_sql(asked, *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert bool(done.stderr) == bool(code)
    assert "first 2 rows" in hooklake_sql(asked, "from range(3)", "--max-rows", "2").stderr


def test_a_query_may_begin_with_a_comment_and_an_option_is_one_still(asked: Workbench) -> None:
    done = hooklake_sql(asked, "-- how many = 2\nselect 1 as n", "--format", "csv")
    assert (done.returncode, done.stdout) == (0, "n\n1\n")
    assert hooklake_sql(asked, "--why\nselect 1 as n", "--format=csv").stdout == "n\n1\n"
    assert hooklake_sql(asked, "--comment", "select 1").returncode == 2


def test_json_is_one_array_of_objects(asked: Workbench) -> None:
    query = (
        "select 1.50::decimal(18, 2) as d, timestamptz '2026-01-01 00:00:00.5+00' as t,"
        " 'nan'::double as n, null as x, [1.5::decimal(2,1)] as l"
    )
    done = hooklake_sql(asked, query, "--format", "json")
    assert json.loads(done.stdout) == [
        {"d": "1.50", "t": "2026-01-01T00:00:00.500000Z", "n": "NaN", "x": None, "l": ["1.5"]}
    ]
    empty = hooklake_sql(asked, "select 1 where false", "--format", "json")
    assert json.loads(empty.stdout) == []


def test_csv_computes_nothing_in_a_spreadsheet(asked: Workbench) -> None:
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1", "x=1", ""]
    listed = ", ".join(f"('{text}')" for text in texts)
    query = f'select a, -5 as "=n" from (values {listed}) as t(a)'
    done = subprocess.run(
        [*command(asked), query, "--format", "csv"], capture_output=True, timeout=60
    )
    rows = list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))
    assert rows[0] == ["a", "'=n"]
    assert [row[1] for row in rows[1:]] == ["-5"] * len(texts)
    for text, (cell, _) in zip(texts[:7], rows[1:8], strict=True):
        assert cell == f"'{text}"
    assert [row[0] for row in rows[8:]] == ["x=1", ""]


def test_a_table_shows_control_characters_instead_of_sending_them(asked: Workbench) -> None:
    done = hooklake_sql(asked, "select source from events order by 1", "--format", "table")
    assert "\x1b" not in done.stdout
    assert "\\x1b[31mred" in done.stdout
    assert "2 rows" in done.stdout


def test_a_statement_may_come_from_standard_input(asked: Workbench) -> None:
    done = hooklake_sql(asked, "--format", "csv", stdin="select 7 as n;\n")
    assert done.stdout == "n\n7\n"


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_reader_may_leave_amid_the_answer(asked: Workbench, form: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    query = ("from range(20000)", "--max-rows", "0", "--format", form)
    done = subprocess.run([*command(asked), *query], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_query_ends_with_the_process_that_asked_it(asked: Workbench) -> None:
    code = (
        "import sys; from pathlib import Path; from ingest.paths import DataDir;"
        "from warehouse.adhoc import execute;"
        "execute(DataDir(Path(sys.argv[1])),"
        " 'select count(*) from range(1000000000000)', timeout_seconds=600)"
    )
    asking = subprocess.Popen([sys.executable, "-c", code, str(asked.data.root)])
    try:
        (query,) = wait_for(lambda: children_busy_for(asking.pid, seconds=0.5))
    finally:
        asking.kill()
        asking.wait()
    wait_for(lambda: not is_running(query))


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def children_busy_for(pid: int, seconds: float) -> list[int]:
    """Children that have used so much of the processor."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            ticks = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11]
            if int(ticks) >= seconds * os.sysconf("SC_CLK_TCK"):
                found.append(child)
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_run_returns_the_exit_code(asked: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(asked.data.root)
    assert sql_command.run(settings, "select 1 as n", output_format="csv") == 0
    assert capsys.readouterr().out == "n\n1\n"
    assert sql_command.run(settings, "from range(2)", output_format="csv", max_rows=1) == 3


def test_hidden_values_survive_the_way_back() -> None:
    from warehouse.sandbox import encode

    values: list[Any] = [None, True, 1, "x", float("inf"), Decimal("1.10"), [1, [None]], {"a": {}}]
    assert [adhoc.decode(json.loads(json.dumps(encode(value)))) for value in values] == values
