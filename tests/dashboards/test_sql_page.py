"""An analyst's questions: answers with their types, errors with their place, nothing written."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from drawn_charts import told
from streamlit.testing.v1 import AppTest
from test_pages import environment, expected, run_page, shown
from warehouse_builder import build_warehouse

from dashboards import addresses, answers, charts, queries, theme
from dashboards.export import formula_safe_csv
from dashboards.views import sql
from ingest.paths import DataDir
from warehouse.adhoc import Answer, QueryError, QueryStoppedError

__all__ = ["environment"]  # a fixture of the pages' tests, used here as well


def ask(data_dir: Path, query: str) -> AppTest:
    """The page after running that query."""
    test = run_page(data_dir, addresses.SQL)
    test.text_area[0].set_value(query)
    next(button for button in test.button if button.label == "Run").click()
    return test.run(timeout=60)


def test_an_answer_is_the_warehouses(full_dir: Path) -> None:
    test = ask(
        full_dir,
        "select lifecycle, count(*) as accounts from dim_accounts group by 1 order by 1",
    )
    assert not test.exception and not test.error
    found = test.dataframe[-1].value
    assert found["accounts"].sum() == 3_000
    [paying] = expected(full_dir, "select count(*) from dim_accounts where lifecycle = 'paying'")
    assert dict(zip(found["lifecycle"], found["accounts"], strict=True))["paying"] == paying
    columns = json.loads(test.dataframe[-1].proto.columns)
    assert not any(columns[name].get("hidden") for name in ("lifecycle", "accounts"))
    assert "6 rows" in shown(test)
    assert len(test.get("vega_lite_chart")) == 1
    downloads = {str(getattr(part, "label", "")) for part in test.get("download_button")}
    assert {"Export CSV", "Export Parquet"} <= downloads
    again = test.run()  # drawn anew, as after a refresh: the answer stays and is not asked again
    assert again.dataframe[-1].value["accounts"].sum() == 3_000


@pytest.mark.parametrize(
    "query",
    [
        "copy dim_accounts to '/tmp/never.csv'",
        "create table x as select 1",
        "select 1; select 2",
        "select * from read_csv('/etc/passwd')",
        "attach '/tmp/other.duckdb'",
    ],
)
def test_what_is_no_single_select_is_refused_in_words(full_dir: Path, query: str) -> None:
    test = ask(full_dir, query)
    assert not test.exception
    text = shown(test)
    assert "refused" in text.lower() or "cannot run" in text
    assert "Traceback" not in text


def test_an_error_says_where(full_dir: Path) -> None:
    test = ask(full_dir, "select account_id,\n  nonsense\nfrom dim_accounts")
    assert "Line 2, column 3" in test.error[0].value
    assert "  nonsense\n  ^" in [code.value for code in test.code]
    assert any("nonsense" in text.value for text in test.text)


def test_an_empty_question_is_a_sentence(full_dir: Path) -> None:
    test = ask(full_dir, "  ")
    assert not test.exception and not test.error
    assert "nothing to ask" in shown(test)


def test_tables_are_described_by_the_warehouse(tmp_path: Path) -> None:
    path = build_warehouse(tmp_path, accounts=20)
    path.chmod(0o600)
    with duckdb.connect(str(path)) as writer:
        writer.execute("comment on table dim_accounts is 'One row an account ![x](http://evil)'")
        writer.execute("comment on column dim_accounts.mrr is 'What `it` pays a month'")
    with duckdb.connect(str(path), read_only=True) as connection:
        columns = queries.public_columns(connection)
    assert columns["table_name"][0] == "events"
    assert "build" not in columns["table_name"].to_list()
    mrr = columns.filter(table_name="dim_accounts", column_name="mrr").row(0, named=True)
    assert (mrr["type"], mrr["description"]) == ("DECIMAL(18,2)", "What it pays a month")
    test = run_page(tmp_path, addresses.SQL, clicks={"table": "dim_accounts"})
    assert not test.exception and not test.error
    assert any("One row an account" in text.value for text in test.text)
    assert all("evil" not in part.value for part in (*test.markdown, *test.caption))


def test_earlier_questions_can_be_taken_again(full_dir: Path) -> None:
    test = ask(full_dir, "select 41 + 1 as n")
    test.text_area[0].set_value("select 2 as n")
    next(button for button in test.button if button.label == "Run").click()
    test.run(timeout=60)
    again = [button for button in test.button if button.label == "Take into the editor"]
    assert len(again) == 2
    again[1].click().run()
    assert test.text_area[0].value == "select 41 + 1 as n"


def test_every_type_comes_through() -> None:
    moment = datetime(2026, 11, 22, 10, tzinfo=UTC)
    frame = answers.frame_of(
        Answer(
            ("a", "a", "b", "c", "d", "e", "f", "g", "h"),
            (
                "BIGINT", "HUGEINT", "DECIMAL(18,2)", "DATE", "TIMESTAMP WITH TIME ZONE",
                "BOOLEAN", "VARCHAR[]", "STRUCT(x INTEGER)", "DOUBLE",
            ),
            [
                (1, 2**70, Decimal("1.10"), date(2026, 1, 2), moment, True, ["=1"], {"x": 1}, 0.5),
                (None,) * 9,
            ],
            False,
        )
    )  # fmt: skip
    assert frame.columns[:2] == ["a", "a_2"]
    assert frame.row(0) == (
        1, str(2**70), Decimal("1.10"), date(2026, 1, 2), moment, True, '["=1"]', '{"x": 1}', 0.5,
    )  # fmt: skip
    assert frame.row(1) == (None,) * 9
    assert pl.read_parquet(io.BytesIO(answers.parquet(frame))).equals(frame)


def test_an_answer_without_rows_keeps_its_columns() -> None:
    frame = answers.frame_of(Answer(("x", "y"), ("VARCHAR", "BIGINT"), [], False))
    assert frame.columns == ["x", "y"] and frame.is_empty()


def test_headings_are_no_formulas_either() -> None:
    written = formula_safe_csv(pl.DataFrame({"=1+1": ["=2"], "sum": [-1]})).decode("utf-8-sig")
    assert written.splitlines() == ["'=1+1,sum", "'=2,-1"]


def test_only_two_telling_columns_become_a_chart() -> None:
    two = pl.DataFrame({"plan": ["a", "b"], "accounts": [1, 2]})
    assert answers.charted(two) == ("plan", "accounts")
    assert answers.charted(two.select("accounts", "plan")) == ("plan", "accounts")
    assert answers.charted(two.head(1)) is None
    assert answers.charted(two.with_columns(x=1)) is None
    assert answers.charted(two.with_columns(plan=pl.lit("a"))) is None
    days = pl.DataFrame({"day.x": [date(2026, 1, 1), date(2026, 1, 2)], "n[0]": [1.5, 2.5]})
    assert answers.charted(days) == ("day.x", "n[0]")
    for frame in (two, days):
        along, value = answers.charted(frame) or ("", "")
        drawn = told(charts.answer(frame, along, value, theme.LIGHT))
        assert drawn["layer"][0]["mark"]["type"] == ("bar" if frame is two else "line")


def test_examples_are_the_analyses(tmp_path: Path) -> None:
    (tmp_path / "b_second.sql").write_text("select 1\n")
    (tmp_path / "a_first.sql").write_text(
        "-- Question: Who pays most?\nselect * from {{ ref('dim_accounts') }} limit 5\n"
    )
    (tmp_path / "c_macro.sql").write_text("-- Of dbt alone\nselect {{ as_of() }}\n")
    found = answers.examples(tmp_path)
    assert [example.title for example in found] == ["Who pays most?", "B second"]
    assert found[0].query == "-- Question: Who pays most?\nselect * from dim_accounts limit 5"
    assert answers.examples(tmp_path / "nowhere") == []


def test_the_projects_own_questions_are_offered(full_dir: Path) -> None:
    titles = [example.title for example in answers.examples(sql.ANALYSES)]
    assert titles and len(set(titles)) == len(titles)
    assert not any(title.startswith("Question") for title in titles)
    test = run_page(full_dir, addresses.SQL)
    chosen = next(box for box in test.selectbox if box.label == "Example questions")
    assert chosen.options == titles
    chosen.select_index(0).run()
    assert test.text_area[0].value == answers.examples(sql.ANALYSES)[0].query


def test_a_caret_stands_under_the_place() -> None:
    assert answers.pointed("select\n\tx y", QueryError("no", 2, 4)) == "\tx y\n\t  ^"
    assert answers.pointed("select", QueryError("no")) is None
    assert answers.pointed("select", QueryError("no", 9, 1)) is None


def _asked(data_dir: Path, query: str, limit: int) -> sql.Outcome:
    return sql._ask(DataDir(data_dir), query, limit, 1, threading.Event())


def test_a_cancelled_question_ends_at_once_and_frees_its_place(full_dir: Path) -> None:
    cancelled = threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    endless = "select count(*) from range(1000000000000) a, range(9) b"
    outcome = sql._ask(DataDir(full_dir), endless, 60, 1, cancelled)
    assert isinstance(outcome.error, QueryStoppedError) and "cancelled" in str(outcome.error)
    assert outcome.seconds < 20
    assert _asked(full_dir, "select 1 as n", 10).error is None


def test_time_is_up_for_a_query_and_not_for_the_page(
    full_dir: Path,
) -> None:
    stopped = _asked(full_dir, "select count(*) from range(1000000000000) a, range(9) b", 1)
    assert isinstance(stopped.error, QueryStoppedError) and stopped.frame is None
    assert 1 <= stopped.seconds < 10
    after = _asked(full_dir, "select 1 as n", 10)
    assert after.error is None and after.frame is not None


def test_only_so_many_questions_run_at_once(
    full_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_running", threading.BoundedSemaphore(1))
    monkeypatch.setattr(sql, "WAIT_SECONDS_MAX", 0.01)
    with sql._running:
        refused = _asked(full_dir, "select 1 as n", 10)
    assert isinstance(refused.error, QueryStoppedError) and "ask again" in str(refused.error)
    assert _asked(full_dir, "select 1 as n", 10).error is None
