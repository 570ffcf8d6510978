"""`hooklake listen --full`: driven by keys, in the pilot of Textual and in a real terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from kept import keep, plan_changed, refuse
from receiver_process import HOOKLAKE, Receiver, environment
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from ingest import listen, listen_full
from ingest.delivery_log import Filter
from ingest.errors import UsageError
from ingest.ledger import open_ledger, open_read_only
from ingest.listen_full import FullScreen
from ingest.settings import NamedSecret, Settings
from ingest.where import parse

pytestmark = pytest.mark.alone

NOW = time.time_ns() // 1_000
HOSTILE = "[red]x[/red][@click=app.quit]\x1b]0;owned\x07\u202e"
Steps = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    secrets = (NamedSecret("s", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),)
    return Settings(data_dir=tmp_path, secrets=secrets)  # type: ignore[call-arg]


@pytest.fixture
def connection(settings: Settings) -> Iterator[apsw.Connection]:
    opened = open_ledger(settings.paths.ledger)
    yield opened
    opened.close()


def drive(settings: Settings, steps: Steps, **options: Any) -> None:
    """Run the screen on a terminal of 120 x 40 that only a test sees."""

    async def run() -> None:
        with open_read_only(settings.paths.ledger) as reading:
            app = FullScreen(settings, reading, options.pop("wanted", Filter()), **options)
            async with app.run_test(size=(120, 40)) as pilot:
                await pilot.pause()
                await steps(pilot)

    asyncio.run(run())


def rows(pilot: Pilot[None]) -> list[list[str]]:
    table = pilot.app.query_one(DataTable)
    return [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]


def details(pilot: Pilot[None]) -> str:
    return str(pilot.app.query_one("#details", Static).content)


async def until(pilot: Pilot[None], is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        await pilot.pause(0.05)
    raise AssertionError((rows(pilot), details(pilot)))


def test_what_was_there_is_listed_and_what_comes_is_added(
    settings: Settings, connection: apsw.Connection
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    refuse(connection, NOW + 1)

    async def steps(pilot: Pilot[None]) -> None:
        assert [row[1] for row in rows(pilot)] == ["accepted", "rejected"]
        assert "hooklake verify --record 1" in details(pilot)
        keep(connection, {"event": "plan_changed", "data": {}}, NOW + 2)
        await until(pilot, lambda: len(rows(pilot)) == 3)
        await until(pilot, lambda: "plan_id missing" in details(pilot))
        await pilot.press("f", "up", "up")
        await until(pilot, lambda: '"plan_id": "free"' in details(pilot))
        keep(connection, plan_changed(event_id="e2"), NOW + 3)
        await until(pilot, lambda: len(rows(pilot)) == 4)
        assert "e1" in details(pilot)
        await pilot.press("q")

    drive(settings, steps)


def test_two_bodies_are_compared_line_by_line(
    settings: Settings, connection: apsw.Connection
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    keep(connection, plan_changed(event_id="e2", plan_id="business"), NOW + 1)
    keep(connection, plan_changed(event_id="e2", plan_id="business"), NOW + 2)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("x", "m", "up", "x")
        await until(pilot, lambda: "say the same" in details(pilot))  # a duplicate and its event
        await pilot.press("up", "x")
        await until(pilot, lambda: "--- seq 3" in details(pilot))
        assert '-    "plan_id": "business"' in details(pilot)
        assert '+    "plan_id": "free"' in details(pilot)
        await pilot.press("d")
        await until(pilot, lambda: "seq 1: accepted" in details(pilot))

    drive(settings, steps)


def test_text_of_a_sender_is_neither_markup_nor_an_escape(
    settings: Settings, connection: apsw.Connection
) -> None:
    keep(connection, plan_changed(f"{HOSTILE}@example.com", event_id=HOSTILE), NOW)
    keep(connection, {"event": HOSTILE, "data": {HOSTILE: HOSTILE}}, NOW)
    keep(connection, b"[bold]no json \x1b[2J \xff", NOW)

    async def steps(pilot: Pilot[None]) -> None:
        shown = [cell for row in rows(pilot) for cell in row]
        await pilot.press("m", "up", "x")
        shown.append(details(pilot))
        await pilot.press("d", "up")
        await pilot.pause()
        shown.append(details(pilot))
        whole = "\n".join(shown)
        assert "[red]x[/red]" in whole
        assert all(letter.isprintable() for letter in whole.replace("\n", ""))
        screen = pilot.app.export_screenshot()
        assert "[red]" in screen.replace("&#91;", "[").replace("&#x5B;", "[")

    drive(settings, steps)


def test_only_the_newest_lines_are_kept_and_filters_hold(
    settings: Settings, connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen_full, "LINES_MAX", 5)
    monkeypatch.setattr(listen_full, "READ_AT_ONCE_MAX", 3)
    for number in range(12):
        keep(connection, plan_changed(event_id=f"e{number}", amount=number), NOW + number)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: [row[4] for row in rows(pilot)][-1:] == ["e11"])
        assert [row[4] for row in rows(pilot)] == ["e7", "e8", "e9", "e10", "e11"]

    drive(settings, steps)

    async def filtered(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: [row[4] for row in rows(pilot)] == ["e0", "e1"])

    drive(settings, filtered, conditions=[parse("amount<2")])


def test_a_delivery_is_sent_again_on_a_key(receiver: Receiver) -> None:
    ours = receiver.settings
    done = subprocess.run(
        [HOOKLAKE, "trigger", "plan_changed", "--data-dir", receiver.data_dir],
        env=environment(HOOKLAKE_PORT=str(receiver.port)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(pilot)) == 1)
        await pilot.press("r")
        await until(pilot, lambda: [row[1] for row in rows(pilot)] == ["accepted", "duplicate"])

    drive(ours, steps)


def test_a_receiver_that_is_away_is_said_and_nothing_ends(
    settings: Settings, connection: apsw.Connection
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    refuse(connection, NOW + 1)
    away = settings.model_copy(update={"port": 9})
    said: list[str] = []

    async def steps(pilot: Pilot[None]) -> None:
        pilot.app.notify = lambda message, **_: said.append(message)  # type: ignore[method-assign, assignment, misc]
        await pilot.press("r")
        await until(pilot, lambda: any("no body is kept" in each for each in said))
        await pilot.press("up", "r")
        await until(pilot, lambda: any("not sent: no receiver answers" in each for each in said))
        assert len(rows(pilot)) == 2

    drive(away, steps)


def test_without_a_terminal_or_for_a_script_it_is_a_usage_error(
    settings: Settings, connection: apsw.Connection
) -> None:
    with pytest.raises(UsageError, match="needs a terminal"):
        listen.run(settings, is_full=True)
    for options in ({"as_json": True}, {"is_following": False}):
        with pytest.raises(UsageError, match="--full is for a person"):
            listen.run(settings, is_full=True, **options)  # type: ignore[arg-type]


@contextmanager
def on_a_terminal(settings: Settings, *options: str) -> Iterator[int]:
    """`hooklake listen --full` on a pseudo-terminal of 120 x 40, whose other end is yielded."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(
        [HOOKLAKE, "listen", "--full", "--data-dir", settings.data_dir, *options],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", HOOKLAKE_PORT=str(settings.port)),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours
        os.write(ours, b"q")
        read_until(ours, "\x1b[?1049l")  # the screen that was there before is back
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_in_a_real_terminal_it_shows_a_delivery_and_ends_on_q(
    settings: Settings, connection: apsw.Connection
) -> None:
    keep(connection, plan_changed("terminal@example.com", event_id="e1"), NOW)
    with on_a_terminal(settings) as terminal:
        read_until(terminal, "terminal@example.com", '"plan_id"')


@pytest.mark.slow
def test_in_a_real_terminal_keys_show_details_compare_and_send_again(receiver: Receiver) -> None:
    ours = receiver.settings
    for plan in ("business", "free"):
        done = subprocess.run(
            [HOOKLAKE, "trigger", "plan_changed", "--set", f"plan_id={plan}"],
            env=environment(
                HOOKLAKE_PORT=str(receiver.port), HOOKLAKE_DATA_DIR=str(receiver.data_dir)
            ),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
    with on_a_terminal(ours) as terminal:
        read_until(terminal, "seq 2: accepted", "proved by", '"plan_id": "free"')
        os.write(terminal, b"m")
        read_until(terminal, "seq 2 is marked")
        os.write(terminal, b"\x1b[A")  # up
        read_until(terminal, "seq 1: accepted", '"plan_id": "business"')
        os.write(terminal, b"x")
        read_until(terminal, "--- seq 2", "+++ seq 1", '-    "plan_id": "free"', '+    "plan_id"')
        os.write(terminal, b"d")
        read_until(terminal, "seq 1: accepted", "proved by")
        os.write(terminal, b"r")
        read_until(terminal, "duplicate", "sent again: answered 200 duplicate")
    with open_read_only(ours.paths.ledger) as reading:
        rows = reading.execute(
            "select duplicates.event_id = inbox.event_id from duplicates, inbox where inbox.seq = 1"
        ).fetchall()
    assert rows == [(1,)]


def read_until(terminal: int, *awaited: str) -> None:
    """Returns once the terminal was sent every word, in any order, colours left out."""
    shown = ""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            shown += os.read(terminal, 65_536).decode("utf-8", "replace")
        except OSError:  # its other end is closed
            break
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        if all(word in shown or word in plain for word in awaited):
            return
    raise AssertionError(f"{awaited!r} was not shown: {shown[-2_000:]!r}")
