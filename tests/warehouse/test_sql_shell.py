"""The shell of `hooklake sql` on a real terminal, and answers written to files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minutes import event
from terminal import Screen, on_a_terminal

from warehouse.sql_shell import Completer
from warehouse.sql_text import as_one_line, pointed, statements
from warehouse.transform import Transformer
from warehouse.workbench import Workbench

pytestmark = pytest.mark.alone

HOOKLAKE = Path(sys.executable).with_name("hooklake")
PROMPT = "hooklake> "


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory, small_transformer: Transformer
) -> Iterator[Workbench]:
    bench = Workbench(tmp_path_factory.mktemp("shell") / "data", small_transformer)
    bench.add([event("a@x.test", 1, source="=1+1"), event("b@x.test", 2, source="\x1b[31mred")])
    bench.refresh()
    yield bench


@pytest.fixture
def screen(asked: Workbench) -> Iterator[Screen]:
    with on_a_terminal(command(asked)) as (screen, program):
        assert "2 events" in screen.until(PROMPT)
        yield screen
        screen.type("\x04")
        assert program.wait(10) == 0


def command(asked: Workbench, *arguments: str) -> list[str]:
    return [str(HOOKLAKE), "sql", "--data-dir", str(asked.data.root), *arguments]


def run(asked: Workbench, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(command(asked, *arguments), capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def test_it_answers_over_several_lines_and_says_how_long_it_took(screen: Screen) -> None:
    screen.type("select 41 +\n1 as answer\n; select ';' as semicolon;\n")
    assert "42" in screen.until("1 row")
    screen.until(" s")
    assert ";" in screen.until("1 row")
    screen.until(PROMPT)
    screen.type(".timer off\n.mode csv\nselect 7 as n;\n")
    assert "n\r\n7\r\nhooklake> " in screen.until("7\r\nhooklake> ")


def test_an_error_points_at_its_place_and_the_shell_goes_on(screen: Screen) -> None:
    screen.type("select 1,\n  no_such_column from events;\n")
    told = screen.until(PROMPT)
    assert "   2 |   no_such_column from events;\r\n         ^" in told
    assert "error: line 2, column 3" in told
    screen.type("drop view events;\n")
    screen.until("only SELECT is run here")
    screen.type("select 1 as n;\n")
    screen.until("1 row")
    screen.until(PROMPT)


def test_it_completes_tables_columns_words_and_commands(screen: Screen) -> None:
    screen.type("sel\t max(last_e\t) from fct_a\t;\n")
    assert "2026-01-01" in screen.until("1 row")
    screen.until(PROMPT)
    screen.type(".sch\t fct_\t\n")
    assert "last_event_at" in screen.until(PROMPT)


def test_it_describes_what_there_is(screen: Screen) -> None:
    screen.type(".tables\n")
    told = screen.until(PROMPT)
    assert "fct_accounts" in told
    assert "One row per account" in told
    screen.type(".tables mart%\n")
    assert "fct_accounts" not in screen.until(PROMPT)
    screen.type(".schema nothing_such\n")
    screen.until("there is no table nothing_such")
    screen.type(".help\n")
    assert ".output [FILE]" in screen.until(".quit")
    screen.type(".mode loud\n.nonsense\n")
    screen.until("one of table, csv, json, parquet")
    screen.until("there is no .nonsense")
    screen.until(PROMPT)


def test_an_interrupt_gives_up_what_was_typed(asked: Workbench) -> None:
    with on_a_terminal(command(asked)) as (screen, program):
        screen.until(PROMPT)
        screen.type("select\n")
        screen.until("...> ")
        for _ in range(10):
            program.send_signal(signal.SIGINT)
            if screen.comes(PROMPT, seconds=2):  # else the shell did not wait for a key yet
                break
        screen.until(PROMPT)
        screen.type("select count(*) from range(1000000000000);\n")
        screen.until(";")
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        screen.until("stopped")
        screen.type("select 3 as n;\n")
        screen.until("1 row")


def test_an_answer_goes_to_a_new_file_and_to_no_other(
    screen: Screen, asked: Workbench, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    screen.type(f".mode csv\n.output {target}\nselect source from events order by seq;\n")
    screen.until("written to")
    screen.until(PROMPT)
    assert target.read_text() == "source\n'=1+1\n\x1b[31mred\n"
    assert target.stat().st_mode & 0o777 == 0o600
    screen.type(f".output {target}\nselect 1 as n;\n")
    screen.until("exists already")
    screen.type(f".output {asked.data.lake}/x.csv\nselect 1 as n;\n")
    screen.until("among hooklake's own files")
    screen.until(PROMPT)


def test_the_history_stays_private_a_statement_a_line(asked: Workbench) -> None:
    history = asked.data.root / "sql_history"
    history.unlink(missing_ok=True)
    with on_a_terminal(command(asked)) as (screen, program):
        screen.until(PROMPT)
        screen.type("select 41 +  -- so it is\n1 as answer;\n")
        screen.until("1 row")
        screen.until(PROMPT)
        assert history.read_text() == "select 41 +   1 as answer;\n"
        history.write_text("select 5 as other;\n")  # as `hooklake forget` changes it
        screen.type("quit\n")
        assert program.wait(10) == 0
    assert history.read_text() == "select 5 as other;\n"
    assert history.stat().st_mode & 0o777 == 0o600
    with on_a_terminal(command(asked)) as (screen, _):
        screen.until(PROMPT)
        screen.type("\x10\n")  # the line before
        assert "5" in screen.until("1 row")


def test_a_history_is_cut_when_it_has_grown(asked: Workbench) -> None:
    history = asked.data.root / "sql_history"
    history.write_text("".join(f"select {n};\n" for n in range(1_500)))
    with on_a_terminal(command(asked)) as (screen, _):
        screen.until(PROMPT)
        lines = history.read_text().splitlines()
    assert (len(lines), lines[-1]) == (1_000, "select 1499;")


def test_parquet_keeps_numbers_days_and_instants(asked: Workbench, tmp_path: Path) -> None:
    query = (
        "select 1.50::decimal(18, 2) as amount, date '2026-01-02' as day, occurred_at, 7 as n,"
        " true as b, 2.5::double as f, [1, 2] as l, null as nothing, 'é' as t,"
        " 170141183460469231731687303715884105727::hugeint as big from events order by seq limit 1"
    )
    target = tmp_path / "rows.parquet"
    run(asked, query, "--output", str(target))
    assert pl.read_parquet(target).to_dicts()[0]["t"] == "é"
    frame = pl.read_parquet(target)
    assert frame.schema["amount"] == pl.Decimal(18, 2)
    assert frame.schema["day"] == pl.Date()
    assert frame.schema["occurred_at"] == pl.Datetime("us", "UTC")
    assert frame["l"].to_list() == ["[1, 2]"]
    assert frame["big"].to_list() == ["170141183460469231731687303715884105727"]
    piped = run(asked, query, "--format", "parquet").stdout
    assert piped == target.read_bytes()


def test_an_empty_answer_is_a_file_with_columns(asked: Workbench, tmp_path: Path) -> None:
    run(asked, "select 1 as n where false", "--output", str(tmp_path / "none.parquet"))
    assert pl.read_parquet(tmp_path / "none.parquet").schema == {"n": pl.Int32()}


def test_the_files_name_says_the_format_unless_told_otherwise(
    asked: Workbench, tmp_path: Path
) -> None:
    run(asked, "select 1 as n", "--output", str(tmp_path / "rows.json"))
    assert json.loads((tmp_path / "rows.json").read_text()) == [{"n": 1}]
    run(asked, "select 1 as n", "--output", str(tmp_path / "rows"), "--format", "csv")
    assert (tmp_path / "rows").read_text() == "n\n1\n"


def test_a_file_of_a_kind_that_is_not_written_is_refused(asked: Workbench, tmp_path: Path) -> None:
    refused = run(asked, "select 1", "--output", str(tmp_path / "rows.xlsx"), code=2)
    assert b".xlsx is not written here" in refused.stderr
    assert b".csv, .json, .parquet, .txt" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    run(asked, "select 1 as n", "--output", str(tmp_path / "rows.tsv"), "--format", "csv")
    run(asked, "select 1 as n", "--output", str(tmp_path / "rows.CSV"))
    assert (tmp_path / "rows.CSV").read_text() == "n\n1\n"


def test_the_shells_file_is_what_its_name_says(
    screen: Screen, asked: Workbench, tmp_path: Path
) -> None:
    screen.type(f".output {tmp_path}/rows.xlsx\n")
    screen.until(".xlsx is not written here")
    screen.type(f".output {tmp_path}/rows.json\nselect 1 as n;\n")
    screen.until("written to")
    screen.until(PROMPT)
    assert json.loads((tmp_path / "rows.json").read_text()) == [{"n": 1}]


def test_infinity_goes_into_no_parquet_file_and_that_is_said(
    asked: Workbench, tmp_path: Path
) -> None:
    target = tmp_path / "rows.parquet"
    done = run(asked, "select 'infinity'::date as until", "--output", str(target), code=2)
    assert b"column until holds a DATE" in done.stderr
    assert b"cast(until as varchar)" in done.stderr
    assert not target.exists()


def test_a_failed_query_leaves_no_file(asked: Workbench, tmp_path: Path) -> None:
    run(asked, "select no_such", "--output", str(tmp_path / "rows.csv"), code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_capped_file_exits_3(asked: Workbench, tmp_path: Path) -> None:
    arguments = ("from range(5)", "--max-rows", "2", "--output", str(tmp_path / "rows.csv"))
    assert b"only the first 2 rows" in run(asked, *arguments, code=3).stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select 1;", [("select 1;", True)]),
        ("select 1; select 2", [("select 1;", True), ("select 2", False)]),
        ("select ';' -- ;\n;", [("select ';' -- ;\n;", True)]),
        ('select ";" /* ; */ as "a""b;";', [('select ";" /* ; */ as "a""b;";', True)]),
        ("select $$;$$, $x$ $$; $x$;", [("select $$;$$, $x$ $$; $x$;", True)]),
        ("select 'it''s;", [("select 'it''s;", False)]),
        (" ;; \n-- nothing", []),
        ("", []),
    ],
)
def test_statements_end_at_semicolons_that_mean_it(
    text: str, found: list[tuple[str, bool]]
) -> None:
    assert list(statements(text)) == found


@given(st.text("ab;'\"-/*$ \n"))
def test_no_letter_of_what_was_typed_is_lost(text: str) -> None:
    kept = "".join(statement for statement, _ in statements(text))
    assert kept.replace(" ", "").replace("\n", "") in text.replace(" ", "").replace("\n", "") or (
        ";;" in text.replace(" ", "").replace("\n", "")
    )


def test_a_place_is_pointed_at() -> None:
    assert pointed("select 1,\n  x", 2, 3) == "   2 |   x\n         ^"
    assert as_one_line("select 1 -- one\n, 2") == "select 1  , 2"


def test_names_after_a_table_are_its_columns(asked: Workbench) -> None:
    completer = Completer(asked.data, {"t": ["alpha", "beta"], "u": ["alps"]})
    assert completer.matches("t.a", "select t.a") == ["t.alpha"]
    assert completer.matches("al", "select al") == ["alpha", "alps"]
    assert completer.matches("SEL", "SEL") == ["SELECT"]
    assert completer.matches(".mo", ".mo") == [".mode"]
    assert completer.matches("j", ".mode j") == ["json"]
