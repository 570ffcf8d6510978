"""`hooklake log`: the log searched, exported, and one delivery followed into the tables."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import apsw
import pytest
from kept import HOUR, keep, plan_changed, refuse
from receiver_process import HOOKLAKE, Receiver, environment
from typer.testing import CliRunner

from ingest import log_search
from ingest.delivery_log import Filter
from ingest.errors import LedgerError, UsageError
from ingest.ledger import open_ledger
from ingest.quarantine import replay
from ingest.settings import Settings
from warehouse import trace
from warehouse.commands.root import app

NOW = time.time_ns() // 1_000


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(data_dir=tmp_path)  # type: ignore[call-arg]


@pytest.fixture
def connection(settings: Settings) -> Iterator[apsw.Connection]:
    opened = open_ledger(settings.paths.ledger)
    yield opened
    opened.close()


@pytest.fixture
def filled(connection: apsw.Connection) -> apsw.Connection:
    """seq 1 and its duplicate 2, another account's 3, malformed 4, and a refusal."""
    keep(connection, plan_changed(event_id="e1"), NOW - 3 * HOUR, delivery_id="msg_1")
    keep(connection, plan_changed(event_id="e1"), NOW - 2 * HOUR, delivery_id="msg_2")
    keep(connection, plan_changed("b@example.com", event_id="e3", plan_id="business"), NOW - HOUR)
    keep(connection, b"no json \xff", NOW - HOUR, delivery_id="msg_4")
    refuse(connection, NOW)
    return connection


def found(
    settings: Settings, capsys: pytest.CaptureFixture[str], **options: Any
) -> list[dict[str, Any]]:
    code = log_search.run(settings, as_json=True, **options)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    return lines


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3, 4, None]),
        ({"ids": ["e1"]}, [1, 2]),
        ({"ids": ["msg_2"]}, [2]),
        ({"ids": ["msg_4", "e3", "nothing"]}, [3, 4]),
        ({"ids": ["e1"], "verdict": "duplicate"}, [2]),
        ({"ids": ["e1"], "where": ["plan=business"]}, []),
        ({"ids": ["nothing"]}, []),
        ({"account": "A@example.com"}, [1, 2]),
        ({"verdict": "quarantined"}, [4]),
        ({"verdict": "rejected"}, [None]),
        ({"since": "90m"}, [3, 4, None]),
        ({"until": "90m"}, [1, 2]),
        ({"since": "150m", "until": "90m"}, [2]),
        ({"where": ["plan=free"]}, [1, 2]),
        ({"where": ["plan=business", "email~B@"]}, [3]),
        ({"event": "plan_changed", "limit": 2}, [2, 3]),
        ({"limit": 1}, [None]),
        ({"limit": 0}, [1, 2, 3, 4, None]),
    ],
)
def test_deliveries_are_found_by_what_is_known_of_them(
    settings: Settings,
    filled: apsw.Connection,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    expected: list[int | None],
) -> None:
    assert [line["seq"] for line in found(settings, capsys, **options)] == expected


def test_bodies_are_exported_byte_for_byte(
    settings: Settings, filled: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = found(settings, capsys, has_bodies=True)
    assert lines[0]["body"] == lines[1]["body"] == json.dumps(plan_changed(event_id="e1"))
    assert base64.b64decode(lines[3]["body_base64"]) == b"no json \xff"
    assert lines[4]["body"] is None
    assert "body" not in found(settings, capsys)[0]


def test_a_limit_that_cuts_is_said(
    settings: Settings, filled: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_search.run(settings, limit=2) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "--limit 0" in shown.err
    with pytest.raises(UsageError):
        log_search.run(settings, where=["=x"])


def test_that_nothing_fits_is_said_with_what_would_find_more(
    settings: Settings, filled: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_search.run(settings, account="nobody@example.com", since="1h", as_json=True) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(
        "note: no delivery in the log fits: widen or leave out --account or --since."
    )
    assert "30 days" in shown.err and "`hooklake sql 'from events'`" in shown.err


def test_that_the_log_is_empty_is_said(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_search.run(settings) == 0
    assert capsys.readouterr().err.startswith("note: the log is empty. It holds deliveries")


def test_a_number_is_followed_alone_and_an_unlikely_event_is_noted(
    settings: Settings, filled: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--data-dir", str(settings.data_dir)]
    for more in (["--event", "plan_changed"], ["--limit", "5"], ["--bodies"], ["--id", "e1"]):
        done = CliRunner().invoke(app, ["log", "1", *more, *place])
        assert isinstance(done.exception, UsageError), more
        assert "follows that delivery alone" in str(done.exception)
    assert CliRunner().invoke(app, ["log", "1", *place]).exit_code == 0
    for event, is_noted in (("plan_chnaged", True), ("Plan_Changed", False), ("mine", False)):
        log_search.run(settings, event=event)
        assert ("but plan_changed" in capsys.readouterr().err) is is_noted, event


def test_without_a_ledger_it_says_how_to_get_one(settings: Settings) -> None:
    with pytest.raises(LedgerError, match="hooklake serve"):
        log_search.run(settings)


def test_what_is_not_stored_or_not_landed_is_said(
    settings: Settings, filled: apsw.Connection
) -> None:
    assert trace.trace(settings.paths, 4).state == trace.NOT_STORED
    waiting = trace.trace(settings.paths, 2)
    assert (waiting.state, waiting.event_id, waiting.seq) == (trace.WAITS_FOR_LANDING, "e1", 1)
    with pytest.raises(UsageError, match="no delivery has the number 99"):
        trace.trace(settings.paths, 99)
    mended = replay(filled, 4, node="n1", mended_body=json.dumps(plan_changed()).encode())
    assert mended is not None
    replayed = trace.trace(settings.paths, 4)
    assert (replayed.state, replayed.seq) == (trace.WAITS_FOR_LANDING, 5)


def told_body(ledger: apsw.Connection, seq: int) -> bytes:
    [(payload,)] = ledger.execute("select payload from inbox where seq = ?", (seq,)).fetchall()
    return str(payload).encode()


@pytest.mark.slow
def test_a_delivery_is_followed_to_its_row_and_the_tables_it_moved(receiver: Receiver) -> None:
    def hooklake(*arguments: str) -> str:
        done = subprocess.run(
            [HOOKLAKE, *arguments, "--data-dir", receiver.data_dir],
            env=environment(HOOKLAKE_PORT=str(receiver.port)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    hooklake("simulate", "three_overdue_notices")
    receiver.stop()
    before = json.loads(hooklake("log", "7", "--json"))
    assert before["state"] == "waits_for_refresh"
    assert (receiver.data_dir / "lake" / "events" / before["file"]).is_file()
    hooklake("refresh")
    told = json.loads(hooklake("log", "7", "--json"))
    assert (told["state"], told["stored_seq"]) == ("published", 7)
    assert before["row"] == {}
    row = told["row"]
    assert (row["event_type"], row["plan_id"], row["auto_renew"]) == (
        "plan_changed",
        "free",
        "false",
    )
    assert (row["event_id"], row["seq"]) == (told["event_id"], "7")
    assert row["occurred_at"].endswith("Z")
    assert not {"payload", "start_date"} & set(row)
    tables = {each["table"]: (each["of_event"], each["of_account"]) for each in told["tables"]}
    # by hand: 7 events; registered; business, then free; one episode of three notices
    assert tables["events"] == (1, 7)
    assert tables["fct_plan_changes"] == (1, 2)
    assert tables["dim_accounts"] == (None, 1)
    assert tables["fct_registration_funnel"] == (None, 1)
    assert tables["fct_overdue_episodes"] == (None, 1)
    moved = [each["table"] for each in told["aggregates"] if each["of_event"]]
    assert moved == [  # the plan became free, which ended the episode
        "mart_plan_changes_daily",
        "mart_mrr_daily",
        "mart_mrr_monthly",
        "mart_overdue_monthly",
    ]
    text = hooklake("log", "7")
    assert "fct_plan_changes" in text
    assert "    plan_id                   free" in text
    assert "  * mart_mrr_monthly          month 20" in text
    assert "    mart_funnel_daily         cohort_date 20" in text
    assert "row 7 of lake/events/event_type=plan_changed/" in text
    ledger = open_ledger(receiver.settings.paths.ledger)
    keep(ledger, told_body(ledger, 7), NOW)
    ledger.execute("delete from inbox where seq = 7")  # as the ledger lets go after a month
    ledger.close()
    again = json.loads(hooklake("log", "8", "--json"))
    assert (again["state"], again["stored_seq"], again["file"]) == ("published", None, None)
    assert again["row"] == row
    assert (again["tables"], again["aggregates"]) == (told["tables"], told["aggregates"])


def test_the_newest_are_those_of_the_whole_log(
    settings: Settings, connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "SPAN_MIN", 3)
    for number in range(50):
        keep(connection, plan_changed(f"{number % 7}@example.com", event_id=f"e{number}"), NOW)
        if number % 10 == 0:
            refuse(connection, NOW)
        if number == 25:  # a backfill takes a block of numbers
            connection.execute("update sequence set next = next + 1000")
    for wanted in (Filter(), Filter(account="3@example.com"), Filter(event="overdue")):
        whole = list(log_search.search(connection, wanted))
        for limit in (1, 2, 7, 30, 100):
            part = list(log_search.search(connection, wanted, limit=limit))
            assert len(part) == min(limit, len(whole))
            seqs = [logged.seq for logged in part if logged.seq]
            known = [logged.seq for logged in whole if logged.seq]
            assert seqs == known[len(known) - len(seqs) :]
