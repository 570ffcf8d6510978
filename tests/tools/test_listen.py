"""`hooklake listen`: everything that was delivered, in order, live, whatever its verdict."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import time
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from kept import HOUR, keep, plan_changed, refuse
from receiver_process import HOOKLAKE, Receiver, environment
from typer.testing import CliRunner

from ingest import listen, log_lines
from ingest.delivery_log import Filter, Logged, deliveries, newest_seq, seq_before
from ingest.errors import LedgerError, UsageError
from ingest.quarantine import replay
from ingest.settings import Settings
from ingest.since import instant_of, rfc3339
from ingest.terminal import one_line
from warehouse.commands.root import app

NOW = time.time_ns() // 1_000


def lines(
    settings: Settings, capsys: pytest.CaptureFixture[str], **options: Any
) -> list[dict[str, Any]]:
    assert listen.run(settings, is_following=False, as_json=True, **options) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_verdict_is_shown_with_its_reasons_in_the_order_of_receipt(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    body = plan_changed(event_id="e1", auto_renew="perhaps", colour="red")
    keep(connection, body, NOW - 5)
    refuse(connection, NOW - 4, "the signature is wrong")
    keep(connection, body, NOW - 3)
    keep(connection, {"event": "plan_changed", "data": {"email": " A@Example.com"}}, NOW - 2)
    keep(connection, plan_changed(event_id="e1", plan_id="business"), NOW - 1)

    accepted, rejected, duplicate, quarantined, reused = lines(settings, capsys)
    assert accepted["verdict"] == "accepted"
    assert accepted["received_at"] == rfc3339(NOW - 5)
    assert [(found["field"], found["code"]) for found in accepted["warnings"]] == [
        ("auto_renew", "unreadable")
    ]
    assert accepted["unknown_fields"] == ["data.colour"]
    assert accepted["landed_at"] is None
    assert rejected["verdict"] == "rejected"
    assert rejected["rejection_id"] == 1
    assert rejected["reasons"][0]["message"] == "the signature is wrong"
    assert (duplicate["verdict"], duplicate["seq"], duplicate["first_seq"]) == ("duplicate", 2, 1)
    assert (duplicate["event_id"], duplicate["sender_event"]) == ("e1", "plan_changed")
    assert quarantined["verdict"] == "quarantined"
    assert quarantined["account_id"] == "a@example.com"
    assert [found["field"] for found in quarantined["reasons"]] == ["plan_id"]
    assert reused["id_reused"]
    assert not accepted["id_reused"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"event": "plan_changed"}, [1, 3]),
        ({"event": "overdue"}, [2]),
        ({"event": "overdue_payment"}, [2]),
        ({"event": "Brand_New"}, [4]),
        ({"event": "other"}, [4]),
        ({"account": " B@example.com "}, [2, 3]),
        ({"account": "b@example.com", "event": "plan_changed"}, [3]),
        ({"verdict": "quarantined"}, [3]),
        ({"verdict": "rejected"}, [None]),
        ({"verdict": "duplicate"}, []),
    ],
)
def test_deliveries_are_chosen_by_event_account_and_verdict(
    settings: Settings,
    connection: apsw.Connection,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    expected: list[int | None],
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    keep(connection, {"event": "overdue", "data": {"email": "b@example.com"}}, NOW)
    keep(connection, {"event": "plan_changed", "data": {"email": "b@example.com"}}, NOW)
    keep(connection, {"event": "brand_new", "data": {}}, NOW)
    refuse(connection, NOW)
    assert [line["seq"] for line in lines(settings, capsys, **options)] == expected


def test_since_shows_what_was_received_from_then_on_to_the_microsecond(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    for ago in (3 * HOUR, 2 * HOUR + 1, 2 * HOUR, HOUR):
        keep(connection, plan_changed(event_id=f"e{ago}"), NOW - ago)
        refuse(connection, NOW - ago)
    shown = lines(settings, capsys, since=rfc3339(NOW - 2 * HOUR))
    assert [(line["seq"], line["rejection_id"]) for line in shown] == [
        (3, None),
        (None, 3),
        (4, None),
        (None, 4),
    ]
    assert lines(settings, capsys, since="30m") == []


def test_the_start_is_found_among_many_pages_and_none_is_shown_twice(
    settings: Settings, connection: apsw.Connection
) -> None:
    for number in range(300):
        keep(connection, plan_changed(event_id=f"e{number}"), NOW + number * HOUR)
    assert seq_before(connection, NOW - HOUR) == 0
    assert seq_before(connection, NOW + 200 * HOUR) == 200
    assert seq_before(connection, NOW + 300 * HOUR) == 300
    found = deliveries(connection, Filter(), after=100, until=newest_seq(connection))
    assert [logged.seq for logged in found] == list(range(101, 301))


def test_a_replay_from_quarantine_is_news_though_it_was_received_long_ago(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = keep(connection, {"event": "plan_changed", "data": {}}, NOW - 48 * HOUR)
    keep(connection, plan_changed(event_id="e1"), NOW - HOUR)
    mended = json.dumps(plan_changed()).encode()
    replay(connection, broken.seq, node="n1", mended_body=mended)
    shown = lines(settings, capsys, since="2h")
    assert [(line["seq"], line["origin"]) for line in shown] == [(2, "webhook"), (3, "replay")]
    assert shown[1]["landed_after_seconds"] is None


def test_lines_of_a_backfilled_file_were_not_delivered(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(connection, b"no json", NOW, origin="backfill", file="old.ndjson", line=1)
    assert lines(settings, capsys) == []


HOSTILE = "\x1b]0;owned\x07\x9b31m\nnext line\u202egnp"


def test_nothing_that_a_sender_wrote_steers_the_terminal_or_breaks_the_line(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(connection, plan_changed(f"{HOSTILE}@example.com", event_id=HOSTILE), NOW)
    keep(connection, {"event": HOSTILE, "data": {HOSTILE: 1}}, NOW)
    keep(connection, plan_changed(event_id="e3", **{HOSTILE: 1}), NOW)
    refuse(connection, NOW, HOSTILE)
    for as_json in (False, True):
        listen.run(settings, is_following=False, as_json=as_json)
        out = capsys.readouterr().out
        assert len(out.splitlines()) == out.count("\n") == 4
        assert all(letter.isprintable() for letter in out.replace("\n", ""))


def test_a_line_for_a_person_says_what_became_of_the_delivery() -> None:
    line = log_lines.text_line(
        Logged("duplicate", 0, seq=7, event_type="plan_changed", event_id="e1", first_seq=3)
    )
    assert line == (
        "1970-01-01T00:00:00.000Z  duplicate    plan_changed       -"
        "                           e1  seq 7; repeats seq 3"
    )
    landed = Logged("accepted", 1_000_000, seq=1, landed_at=1_750_000)
    assert "landed after 0.8 s" in log_lines.text_line(landed)
    refused = log_lines.text_line(Logged("rejected", 0, rejection_id=4), is_coloured=True)
    assert "\x1b[31mrejected   \x1b[0m" in refused
    assert "hooklake verify --record 4" in refused


def test_text_is_cut_where_it_would_flood_the_terminal() -> None:
    assert one_line("x" * 201) == "x" * 199 + "…"
    assert one_line("x" * 200) == "x" * 200
    assert one_line("\n" * 200, 10) == "\\n\\n\\n\\n\\…"


def test_how_long_it_was_on_its_way_is_said_as_it_arrives(
    settings: Settings, connection: apsw.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    at = 1_777_000_000 * 1_000_000
    body = {**plan_changed(event_id="e1"), "occurred_at": 1_777_000_000}
    keep(connection, body, at + 400_000)
    keep(connection, body, at + 3 * HOUR)
    keep(connection, {"event": "plan_changed", "occurred_at": 1, "data": {}}, at + 5)
    keep(connection, plan_changed(event_id="e2"), at + 6)  # says nothing of when
    first, again, malformed, silent = lines(settings, capsys)
    assert (first["occurred_at"], first["received_after_seconds"]) == (rfc3339(at), 0.4)
    assert (again["verdict"], again["received_after_seconds"]) == ("duplicate", 3 * 3600)
    assert malformed["received_after_seconds"] is None  # nothing of it is believed, nothing signed
    assert (silent["occurred_at"], silent["received_after_seconds"]) == (None, None)
    assert listen.run(settings, is_following=False) == 0
    told = capsys.readouterr().out.splitlines()
    assert "seq 1; 0.4 s after it happened" in told[0]
    assert "3 h after it happened" in told[1]
    assert "happened" not in told[2] + told[3]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (-3.26, "-3.3 s"),
        (119.9, "119.9 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (172_800, "2 d"),
        (-172_800, "-2 d"),
        (86_400 * 3_650, "3,650 d"),
    ],
)
def test_a_duration_is_told_in_a_unit_a_person_reads(seconds: float, expected: str) -> None:
    assert log_lines.duration(seconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 10**15 - 90_000_000),
        ("2h", 10**15 - 2 * HOUR),
        ("1w", 10**15 - 168 * HOUR),
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:01Z", 1_000_000),
    ],
)
def test_a_point_in_time_is_so_long_ago_or_an_instant(text: str, expected: int) -> None:
    assert instant_of(text, 10**15) == expected


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-2h", "2 h", "yesterday", "2026-13-01", "999999w", "0001-01-01T00+01"]
)
def test_what_is_no_point_in_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no point in time"):
        instant_of(text, 10**15)


@pytest.mark.parametrize(
    "words",
    [
        ("listen", "--since"),
        ("log", "--since"),
        ("log", "--until"),
        ("replay", "--since"),
        ("replay", "--until"),
        ("refresh", "--as-of"),
        ("simulate", "--until"),
        ("verify", "--now"),
    ],
)
def test_every_command_reads_a_point_in_time_alike(words: tuple[str, ...], tmp_path: Path) -> None:
    given = [*words, "yesterday", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(app, given, input="{}")
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith("'yesterday' is no point in time: write 30m, 2h or 1d")


def test_not_following_without_a_ledger_says_how_to_get_one(settings: Settings) -> None:
    with pytest.raises(LedgerError, match="hooklake serve"):
        listen.run(settings, is_following=False)


class Listener:
    """`hooklake listen` in its own process, past its start."""

    def __init__(self, data_dir: Path, *options: str, awaited: str = "listening") -> None:
        self.process = subprocess.Popen(
            [HOOKLAKE, "listen", "--data-dir", data_dir, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        self.await_word(awaited)

    def await_word(self, awaited: str) -> None:
        assert self.process.stderr
        assert awaited in self.process.stderr.readline()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self, number: int | None) -> tuple[int, str, str]:
        if number is not None:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=10)
        return self.process.returncode, out, errors


def send(receiver: Receiver, body: dict[str, Any], **headers: str) -> httpx.Response:
    token = receiver.settings.tokens[0].value
    return httpx.post(
        f"http://127.0.0.1:{receiver.port}/webhooks/uchat",
        json=body,
        headers=headers or {"Authorization": f"Bearer {token}"},
    )


def test_it_shows_deliveries_as_they_come_and_one_refused_then_ends_on_a_signal(
    receiver: Receiver,
) -> None:
    send(receiver, plan_changed(event_id="before"))
    listener = Listener(receiver.data_dir, "--json")
    catching_up = Listener(receiver.data_dir, "--json", "--since", "1h")
    assert catching_up.line()["event_id"] == "before"

    assert send(receiver, plan_changed(event_id="after")).status_code == 200
    assert send(receiver, plan_changed(event_id="x"), authorization="no").status_code == 401
    for one in (listener, catching_up):
        assert (one.line()["event_id"], one.line()["verdict"]) == ("after", "rejected")
    assert listener.end(signal.SIGINT) == (0, "", "")
    assert catching_up.end(signal.SIGTERM) == (0, "", "")


def test_it_may_start_before_the_receiver_and_misses_nothing(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "data", "--json", awaited="waiting for `hooklake serve`")
    receiver = Receiver(tmp_path / "data")
    try:
        send(receiver, plan_changed(event_id="first"))
        listener.await_word("listening")
        assert listener.line()["event_id"] == "first"
    finally:
        receiver.close()
    assert listener.end(signal.SIGTERM) == (0, "", "")


def test_it_ends_while_it_waits_for_a_ledger(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "data", awaited="waiting")
    assert listener.end(signal.SIGINT) == (0, "", "")


def test_in_a_terminal_verdicts_are_coloured_and_ctrl_c_ends_it(
    settings: Settings, connection: apsw.Connection
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [HOOKLAKE, "listen", "--since", "1h", "--data-dir", settings.data_dir],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env=environment(TERM="xterm"),
    )
    os.close(terminal)
    shown = b""
    while b"Ctrl-C ends" not in shown:
        shown += os.read(master, 4096)
    assert b"\x1b[32maccepted   \x1b[0m  plan_changed" in shown
    os.write(master, b"\x03")
    assert process.wait(10) == 0
    os.close(master)


def test_an_idle_listener_ends_when_its_reader_is_gone(connection: apsw.Connection) -> None:
    data_dir = Path(connection.filename).parent
    listener = Listener(data_dir)
    assert listener.process.stdout
    listener.process.stdout.close()
    assert listener.process.wait(10) == 0
    assert listener.process.stderr
    assert listener.process.stderr.read() == ""
    listener.process.stderr.close()


def test_a_long_history_may_be_cut_off_by_its_reader(
    settings: Settings, connection: apsw.Connection
) -> None:
    for number in range(500):
        keep(connection, plan_changed(event_id=f"e{number}" + "x" * 200), NOW)
    command = f"{HOOKLAKE} listen --no-follow --json --data-dir {settings.data_dir} | head -1"
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["seq"] == 1
