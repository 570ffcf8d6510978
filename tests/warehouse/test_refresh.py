"""The command: one refresh at a time, its outcome on record, and a watcher that reacts."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest
from minutes import event

from ingest.catalogue import LakeFile
from ingest.errors import DiskFullError, HooklakeError, UsageError
from ingest.ledger import open_ledger
from ingest.settings import Settings, load_settings
from warehouse import refresh as refreshing
from warehouse import watch
from warehouse.build import Wanted
from warehouse.reader import published
from warehouse.refresh import Refresher, RefreshError
from warehouse.transform import Transformer
from warehouse.watch import Changes, Watcher
from warehouse.workbench import Workbench

pytestmark = pytest.mark.alone


class Installation:
    """A data directory with a real ledger, into whose catalogue the workbench's files go."""

    def __init__(self, root: Path, transformer: Transformer) -> None:
        self.bench = Workbench(root, transformer)
        self.data = self.bench.data
        self.settings: Settings = load_settings(root)
        self.ledger = open_ledger(self.data.ledger)
        self.refresher = Refresher(self.settings, lambda report: None)
        self.refresher.transformer = transformer

    def land(self, *events: dict[str, Any]) -> None:
        for file in self.bench.add(events):
            enter(self.ledger, file)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data.refresh_status.read_text())
        return found


def enter(ledger: apsw.Connection, file: LakeFile) -> None:
    ledger.execute(
        "insert into files (path, event_type, event_month, node, first_seq, last_seq, rows, bytes,"
        " sha256, batch_id, added_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, null, 0)",
        (
            file.path,
            file.event_type,
            file.event_month,
            file.node,
            file.first_seq,
            file.last_seq,
            file.rows,
            file.bytes,
            file.sha256,
        ),
    )


@pytest.fixture
def installation(tmp_path: Path, small_transformer: Transformer) -> Iterator[Installation]:
    made = Installation(tmp_path / "data", small_transformer)
    yield made
    made.ledger.close()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_refresh_leaves_its_outcome(installation: Installation) -> None:
    installation.land(event("a", 1))
    report = installation.refresher.refresh(Wanted(), land=True)
    status = installation.status()
    assert status["ok"] is True
    assert status["version"] == report.version == 1
    assert (status["stage"], status["error"], status["warnings"]) == ("done", None, [])
    assert status["attempted_at"].endswith("Z")


def test_a_failure_is_on_record_with_its_stage_and_the_version_that_stays(
    installation: Installation,
) -> None:
    installation.refresher.refresh(Wanted(), land=True)
    installation.land(event("a", 1))
    (installation.data.lake / installation.bench.files[0].path).write_bytes(b"PAR1 damaged")
    with pytest.raises(RefreshError, match="at stage 'load'"):
        installation.refresher.refresh(Wanted(), land=True)
    status = installation.status()
    assert (status["ok"], status["version"], status["stage"]) == (False, 1, "load")
    assert "the last good version stays" in status["error"]


def test_who_may_not_write_is_told_who_may(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", "state.duckdb")

    monkeypatch.setattr(refreshing, "build", refused)
    with pytest.raises(RefreshError, match=r"Run it as the user whose data directory it is$"):
        installation.refresher.refresh(Wanted(), land=True)


def test_a_refresh_stops_before_the_disk_is_full(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(installation.data.root)
    full = os.statvfs_result((*tuple(real)[:4], 10, *tuple(real)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(DiskFullError, match="MiB are wanted"):
        installation.refresher.refresh(Wanted(), land=False)


def test_a_second_refresh_waits_for_the_first(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    done = threading.Event()

    def refresh() -> None:
        installation.refresher.refresh(Wanted(), land=False)
        done.set()

    with held(installation.data.refresh_lock):
        other = threading.Thread(target=refresh)
        other.start()
        until(lambda: "waiting for it" in capsys.readouterr().err)
        assert not done.is_set()
    other.join(60)
    assert done.is_set()


def test_a_refresh_that_waits_too_long_says_so(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "LOCK_SECONDS_MAX", 0.1)
    with (
        held(installation.data.refresh_lock),
        pytest.raises(RefreshError, match="another refresh of"),
    ):
        installation.refresher.refresh(Wanted(), land=False)


@contextmanager
def held(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def test_as_of_does_not_go_with_watch(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    with pytest.raises(UsageError, match="--watch shows the present"):
        refreshing.run(settings, watch=True, as_of=datetime(2026, 1, 1, tzinfo=UTC))


def test_changes_are_seen_only_when_the_catalogue_or_the_prices_change(
    installation: Installation,
) -> None:
    changes = Changes(installation.data)
    first = changes.look()
    installation.ledger.execute("insert into meta values ('x', 'a commit that is no landing')")
    assert changes.look() == first
    installation.land(event("a", 1))
    second = changes.look()
    assert second != first
    assert changes.look() == second
    installation.data.plan_prices.write_text("x")
    assert changes.look() != second
    changes.close()


def test_changes_start_where_there_is_no_ledger_yet(bench: Workbench) -> None:
    changes = Changes(bench.data)
    nothing = changes.look()
    ledger = open_ledger(bench.data.ledger)
    (file,) = bench.add([event("a", 1)])
    enter(ledger, file)
    assert changes.look() != nothing
    changes.close()
    ledger.close()


@contextmanager
def watching(installation: Installation, refresh: Callable[[bool], object]) -> Iterator[Watcher]:
    watcher = Watcher(installation.data, refresh)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.stop()
        thread.join(60)
        assert not thread.is_alive()


def test_a_watcher_refreshes_at_once_and_on_every_change_only(
    installation: Installation,
) -> None:
    calls: list[bool] = []
    with watching(installation, calls.append):
        until(lambda: calls == [True])
        time.sleep(3 * watch.POLL_SECONDS)  # that nothing happens can only be waited for
        assert calls == [True]
        installation.land(event("a", 1))
        until(lambda: calls == [True, False], 2)


def test_what_arrives_during_a_refresh_goes_into_one_more(installation: Installation) -> None:
    calls: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def refresh(is_first: bool) -> None:
        calls.append(len(installation.bench.files))
        entered.set()
        assert go_on.wait(30)

    with watching(installation, refresh):
        assert entered.wait(30)
        for minute in range(5):
            installation.land(event("a", minute))
        go_on.set()
        until(lambda: calls == [0, 5])


def test_a_watcher_survives_a_failure_and_tries_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RETRY_SECONDS", (0.05, 0.1))
    calls: list[bool] = []

    def refresh(is_first: bool) -> None:
        calls.append(is_first)
        if len(calls) < 4:
            raise HooklakeError("not yet")

    with watching(installation, refresh):
        until(lambda: len(calls) == 4)
    assert calls == [True] * 4


def test_an_open_page_moves_the_clock(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CLOCK_SECONDS", 0.1)
    calls: list[bool] = []
    with watching(installation, calls.append):
        until(lambda: len(calls) == 1)
        time.sleep(2 * watch.POLL_SECONDS)  # nobody looks: nothing may happen
        assert len(calls) == 1
        installation.data.viewing.touch()
        until(lambda: len(calls) >= 2)
        os.utime(installation.data.viewing, (0, 0))
        time.sleep(watch.POLL_SECONDS)
        settled = len(calls)
        time.sleep(2 * watch.POLL_SECONDS)
        assert len(calls) == settled


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_watches_reacts_and_ends_cleanly(
    tmp_path: Path, small_transformer: Transformer, number: signal.Signals
) -> None:
    installation = Installation(tmp_path / "data", small_transformer)
    arguments = [sys.executable, "-m", "warehouse.cli", "refresh", "--watch"]
    arguments += ["--data-dir", str(installation.data.root)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        try:
            until(lambda: published(installation.data) is not None, 120)
            installation.land(event("a@x.test", 1))
            until(lambda: (published(installation.data) or 0).events == 1)  # type: ignore[union-attr]
            second = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
            assert second.returncode == 1
            assert "looks after" in second.stderr
            command.send_signal(number)
            out, err = command.communicate(timeout=20)
        finally:
            command.kill()
    assert command.returncode == 0
    assert err == b""
    assert b"version 2: 1 new of 1 event, 1 account" in out
    installation.ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 2.0, 3.5, 5.0])
def test_a_watcher_told_to_end_amid_its_first_refresh_ends_cleanly(
    tmp_path: Path, seconds: float
) -> None:
    arguments = [sys.executable, "-m", "warehouse.cli", "refresh", "--watch"]
    with subprocess.Popen(
        [*arguments, "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as command:
        try:
            assert command.stdout is not None
            assert command.stdout.readline().startswith(b"watching")
            time.sleep(seconds)  # the instant is what is varied: import, parse, models, publish
            command.send_signal(signal.SIGTERM)
            _, err = command.communicate(timeout=20)
        finally:
            command.kill()
    assert (command.returncode, err) == (0, b"")


@pytest.mark.slow
def test_the_command_prints_json_and_writes_nothing_into_the_project(tmp_path: Path) -> None:
    from warehouse.transform import PROJECT

    before = {path: path.stat().st_mtime_ns for path in PROJECT.rglob("*") if path.is_file()}
    arguments = ["refresh", "--json", "--as-of", "2026-01-01", "--data-dir", str(tmp_path / "d")]
    done = subprocess.run(
        [sys.executable, "-m", "warehouse.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert (report["version"], report["as_of"]) == (1, "2026-01-01T00:00:00Z")
    after = {path: path.stat().st_mtime_ns for path in PROJECT.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]
    private = {path.stat().st_mode & 0o077 for path in (tmp_path / "d").rglob("*")}
    assert private == {0}
