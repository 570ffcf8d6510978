"""The receiver as a process: starting, stopping, dying, its child, a full queue, a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import apsw
import duckdb
import pytest
from receiving import (
    HOOKLAKE,
    PATH,
    STOP_SECONDS_MAX,
    Answer,
    Receiver,
    children,
    environment,
    is_alive,
    read_until_closed,
    registration,
    serving,
    wait_until,
)

from ingest.catalogue import live_files
from ingest.landing import land_now
from ingest.paths import DataDir
from ingest.settings import load_settings
from warehouse.locks import held

pytestmark = pytest.mark.alone

RESUME_SECONDS_MAX = 5.0


def landed(data_dir: Path) -> list[str]:
    """The accounts of every row in the lake's catalogued files, sorted."""
    files = [str(data_dir / "lake/events" / f.path) for f in live_files(data_dir / "ledger.sqlite")]
    if not files:
        return []
    with duckdb.connect() as connection:
        found = connection.execute("select account_id from read_parquet(?) order by 1", [files])
        return [row[0] for row in found.fetchall()]


def accounts(count: int) -> list[str]:
    return sorted(f"a{number}@x.y" for number in range(count))


def the_child(receiver: Receiver, module: str) -> int:
    """The one that runs `module`; the kernel's list may leave out one while another ends."""
    (found,) = wait_until(
        lambda: children(receiver.process.pid, module), seconds=5, what=f"a process of {module}"
    )
    return found


def attempt(receiver: Receiver, body: bytes) -> Answer | None:
    try:
        return receiver.post(body)
    except OSError:
        return None


# -- starting ------------------------------------------------------------------------------------


def start_in_vain(tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    done = subprocess.run(
        [HOOKLAKE, "serve", "--data-dir", tmp_path / "data", "--port", "0", *arguments],
        env=environment(**settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_broken_ledger_stops_the_start_with_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger.sqlite").write_bytes(b"this is no database " * 500)
    code, said = start_in_vain(tmp_path)

    assert code == 1
    assert "error: cannot open the ledger" in said
    assert "ledger.sqlite" in said


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = start_in_vain(tmp_path, "--port", str(port))

    assert code == 1
    assert f"port {port}" in said


def test_an_address_that_is_not_this_machines_is_named(tmp_path: Path) -> None:
    code, said = start_in_vain(tmp_path, "--host", "192.0.2.1")

    assert code == 1
    assert "cannot listen on 192.0.2.1:" in said
    assert "choose an address of this machine with HOOKLAKE_HOST" in said


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in its place")
    code, said = start_in_vain(tmp_path)

    assert code == 1
    assert said.startswith("error: ")
    assert str(tmp_path / "data") in said


def test_the_first_start_makes_credentials_and_shows_how_to_deliver(tmp_path: Path) -> None:
    with serving(tmp_path) as receiver:
        assert "warning: " in receiver.said()  # a token alone could be captured and sent again
    shutil.rmtree(tmp_path / "data")
    given = environment()
    del given["HOOKLAKE_SECRETS"], given["HOOKLAKE_TOKENS"]
    process = subprocess.Popen(
        [HOOKLAKE, "serve", "--data-dir", tmp_path / "data", "--port", "0"],
        env=given,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "secrets.env" in line:
                break
        (command,) = (line.strip() for line in lines if line.strip().startswith("curl "))
        wait_until(
            lambda: _curl(command, tmp_path).startswith("HTTP/1.1 200"),
            seconds=10,
            what="the printed curl line to be accepted",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    secrets = tmp_path / "data" / "secrets.env"
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert "whsec_" in secrets.read_text()
    assert "whsec_" not in "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("later", [0.0, 0.05, 0.2])
def test_a_signal_right_after_the_first_line_ends_it_in_peace(
    tmp_path: Path, number: signal.Signals, later: float
) -> None:
    process = subprocess.Popen(
        [str(HOOKLAKE), "serve", "--data-dir", str(tmp_path / "data"), "--port", "0"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "hooklake receives at" in process.stdout.readline()
        time.sleep(later)  # the moment is what is tried, nothing is awaited
        process.send_signal(number)
        try:
            said, _ = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "error" not in said


BEFORE_ANYBODY_LISTENS = """
import os, signal, sys
from ingest import serve
from warehouse import cli

introduce = serve.introduce


class Callback:
    def __del__(self):  # what is raised in one is printed and forgotten, as in many of C
        os.kill(os.getpid(), signal.{number})


def introduced(*arguments):
    introduce(*arguments)
    Callback()


serve.introduce = introduced
sys.argv[0] = "hooklake"
cli.main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_before_anybody_listens_to_it_is_not_lost(
    tmp_path: Path, number: str, workers: str
) -> None:
    code = BEFORE_ANYBODY_LISTENS.format(number=number)
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0", "--workers", workers],
        cwd=tmp_path,
        env=environment(data_dir=str(tmp_path / "data")),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr


def _curl(command: str, folder: Path) -> str:
    return subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, text=True, cwd=folder, check=False
    ).stdout


def test_options_that_go_before_the_environment_hold_for_the_landing_process_too(
    tmp_path: Path,
) -> None:
    wide = "0.0.0.0"  # noqa: S104 - refused together with the scheme none, but for --host
    narrow = ("--host", "127.0.0.1")
    with serving(tmp_path, arguments=narrow, host=wide, verify="none") as receiver:
        receiver.post(registration("a0@x.y"))
        wait_until(
            lambda: landed(receiver.data_dir) == accounts(1), seconds=10, what="the event to land"
        )
        assert "landing_process_ended" not in receiver.said()


def test_everything_in_the_data_directory_is_private(receiver: Receiver) -> None:
    receiver.post(registration("private@x.y"))
    wait_until(
        lambda: "private@x.y" in landed(receiver.data_dir), seconds=10, what="the event to land"
    )
    for path in (receiver.data_dir, *receiver.data_dir.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


# -- stopping and dying --------------------------------------------------------------------------


def test_sigterm_lands_the_rest_and_exits_0_in_time(tmp_path: Path) -> None:
    with serving(tmp_path, land_interval_seconds="60") as receiver:
        family = children(receiver.process.pid)
        assert len(family) == 2
        for account in accounts(30):
            assert receiver.post(registration(account)).status == 200
        assert receiver.stop() == 0

        assert not any(map(is_alive, family))
        assert landed(receiver.data_dir) == accounts(30)


@contextmanager
def landing_held_up(receiver: Receiver) -> Iterator[None]:
    """One event has landed, so that its process is known to be there; another one cannot."""
    assert receiver.post(registration("a0@x.y")).status == 200
    wait_until(
        lambda: landed(receiver.data_dir) == accounts(1), seconds=10, what="the event to land"
    )
    with held(DataDir(receiver.data_dir).landing_lock, wait_seconds=5) as is_held:
        assert is_held
        assert receiver.post(registration("a1@x.y")).status == 200
        yield


def test_sigterm_lands_the_rest_once_another_process_lets_go_of_the_lock(tmp_path: Path) -> None:
    with serving(tmp_path, land_interval_seconds="0.1") as receiver:
        with landing_held_up(receiver):
            receiver.process.send_signal(signal.SIGTERM)
            wait_until(
                lambda: not children(receiver.process.pid, "ingest.writer"),
                seconds=STOP_SECONDS_MAX,
                what="the writing process to end; then the rest is landed",
            )
            time.sleep(1)
        assert receiver.process.wait(STOP_SECONDS_MAX) == 0
        assert "landing_unfinished" not in receiver.said()
    assert landed(receiver.data_dir) == accounts(2)


def test_sigterm_says_so_where_another_process_keeps_the_landing_lock(tmp_path: Path) -> None:
    with serving(tmp_path, land_interval_seconds="0.1") as receiver:
        with landing_held_up(receiver):
            assert receiver.stop() == 0
        assert "landing_unfinished" in receiver.said()
        assert land_now(load_settings(receiver.data_dir)).events == 1


def test_sigterm_says_nothing_of_a_lock_where_all_has_landed(tmp_path: Path) -> None:
    with serving(tmp_path) as receiver:
        with held(DataDir(receiver.data_dir).landing_lock, wait_seconds=5) as is_held:
            assert is_held
            assert receiver.stop() == 0
        assert "landing_unfinished" not in receiver.said()


def test_sigterm_answers_a_body_that_does_not_end_with_503(tmp_path: Path) -> None:
    with serving(tmp_path) as receiver, receiver.socket() as opened:
        opened.settimeout(STOP_SECONDS_MAX)
        head = f"POST {PATH} HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\n"
        opened.sendall(head.encode() + b'{"event"')
        wait_until(
            lambda: receiver.metric("hooklake_ready") == 1, seconds=5, what="the part was read"
        )
        assert receiver.stop() == 0
        answer = read_until_closed(opened)
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert b"shutting down" in answer


def test_a_log_that_cannot_be_written_costs_nothing_but_the_log(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with serving(tmp_path, stderr=full, land_interval_seconds="0.1") as receiver:
            body = registration("a0@x.y")
            assert receiver.post(body, "/webhooks/uchat").status == 401
            assert receiver.post(b"{}").status == 202
            lander = the_child(receiver, "ingest.landing")
            os.kill(lander, signal.SIGKILL)
            wait_until(
                lambda: children(receiver.process.pid, "ingest.landing") not in ([], [lander]),
                seconds=10,
                what="another landing process",
            )
            assert receiver.post(body).status == 200
            wait_until(
                lambda: landed(receiver.data_dir) == accounts(1), seconds=10, what="its landing"
            )
            assert receiver.stop() == 0
    finally:
        os.close(full)


def test_sigterm_right_after_the_port_has_opened_is_a_clean_end_too(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(HOOKLAKE), "serve", "--data-dir", str(tmp_path / "data"), "--port", "0"],
            cwd=tmp_path,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: b"receives at" in log.read_bytes(), seconds=20, what="an open port")
    process.terminate()
    assert process.wait(10) == 0, log.read_text()


def test_sigint_ends_it_as_well(tmp_path: Path) -> None:
    with serving(tmp_path, land_interval_seconds="60") as receiver:
        receiver.post(registration("a0@x.y"))
        os.killpg(receiver.process.pid, signal.SIGINT)  # as Ctrl-C does: the whole group
        assert receiver.process.wait(10) == 0
        assert landed(receiver.data_dir) == accounts(1)


@pytest.mark.slow
def test_sigterm_amid_deliveries_loses_and_doubles_nothing(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    lock = threading.Lock()
    with serving(tmp_path) as receiver:
        stop = threading.Event()

        def deliver(client: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                name = f"{client}-{number}@x.y"
                answer = attempt(receiver, registration(name))
                if answer is None:
                    continue
                assert answer.status in (200, 503), answer
                if answer.status == 200:
                    with lock:
                        acknowledged.append(name)
                else:
                    assert answer.headers["retry-after"].isdigit()

        threads = [threading.Thread(target=deliver, args=(client,)) for client in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > 300, seconds=20, what="300 acknowledgements")
        half = socket.create_connection(("127.0.0.1", receiver.port))
        body = registration("half@x.y")
        head = f"POST {PATH} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        half.sendall(head + body[:5])
        started = time.monotonic()
        assert receiver.stop() == 0
        assert time.monotonic() - started < 10
        half.close()
        stop.set()
        for thread in threads:
            thread.join()

        assert set(acknowledged) <= set(landed(receiver.data_dir))
        assert len(landed(receiver.data_dir)) == len(set(landed(receiver.data_dir)))
        assert "half@x.y" not in landed(receiver.data_dir)


def test_killing_the_parent_leaves_no_orphan_and_the_next_start_lands_once(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, land_interval_seconds="60") as receiver:
        family = children(receiver.process.pid)
        assert len(family) == 2
        for account in accounts(20):
            assert receiver.post(registration(account)).status == 200
        receiver.process.kill()
        receiver.process.wait(10)
        wait_until(lambda: not any(map(is_alive, family)), seconds=5, what="the children to end")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", receiver.port))
        data_dir = receiver.data_dir

    with serving(tmp_path, data_dir=data_dir) as receiver:
        receiver.post(registration("a20@x.y"))
        wait_until(lambda: len(landed(data_dir)) >= 21, seconds=10, what="everything to be landed")
    assert landed(data_dir) == accounts(21)


def test_a_killed_landing_process_is_replaced_and_nothing_lands_twice(tmp_path: Path) -> None:
    with serving(tmp_path, land_interval_seconds="0.05") as receiver:
        for round_number in range(2):
            child = the_child(receiver, "ingest.landing")
            receiver.post(registration(f"a{2 * round_number}@x.y"))
            os.kill(child, signal.SIGKILL)
            receiver.post(registration(f"a{2 * round_number + 1}@x.y"))
            wait_until(
                lambda gone=child: {*children(receiver.process.pid, "ingest.landing")} - {gone},  # type: ignore[misc]
                seconds=5,
                what="another landing process",
            )
        wait_until(
            lambda: landed(receiver.data_dir) == accounts(4), seconds=10, what="all to be landed"
        )
        assert receiver.stop() == 0
    assert landed(receiver.data_dir) == accounts(4)


def test_a_killed_writing_process_ends_the_receiver_with_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path) as receiver:
        assert receiver.post(registration("a0@x.y")).status == 200
        writer = the_child(receiver, "ingest.writer")
        os.kill(writer, signal.SIGKILL)
        assert receiver.process.wait(10) == 1
        assert "cannot be written (the writing process ended)" in receiver.log.read_text()
        data_dir = receiver.data_dir
    with serving(tmp_path, data_dir=data_dir):
        wait_until(lambda: landed(data_dir) == accounts(1), seconds=10, what="what was kept")


def test_land_now_beside_a_running_receiver_lands_each_event_once(tmp_path: Path) -> None:
    with serving(tmp_path, land_interval_seconds="0.02") as receiver:
        settings = load_settings(receiver.data_dir)
        done = threading.Event()
        incomplete = []

        def land() -> None:
            while not done.is_set():
                incomplete.append(not land_now(settings).is_complete)

        thread = threading.Thread(target=land)
        thread.start()
        for account in accounts(150):
            assert receiver.post(registration(account)).status == 200
        done.set()
        thread.join()
        assert land_now(settings).is_complete
        assert landed(receiver.data_dir) == accounts(150)
        assert not any(incomplete)
        assert receiver.stop() == 0
    assert landed(receiver.data_dir) == accounts(150)


def test_two_receivers_share_a_ledger(tmp_path: Path) -> None:
    with (
        serving(tmp_path, node="east") as east,
        serving(tmp_path, node="west", data_dir=east.data_dir) as west,
    ):
        body = b'{"event":"plan_renewed","event_id":"%d","email":"a%d@x.y"}'
        verdicts = []
        for number in range(40):
            for receiver in (east, west):
                answer = receiver.post(body % (number, number))
                assert answer.status == 200, answer
                verdicts.append(answer.json()["status"])
        assert verdicts == ["accepted", "duplicate"] * 40
        assert (east.stop(), west.stop()) == (0, 0)
    assert landed(east.data_dir) == accounts(40)


# -- a queue and a disk that are full ------------------------------------------------------------


def test_a_full_queue_is_503_with_retry_after_and_the_others_are_stored(tmp_path: Path) -> None:
    with serving(tmp_path, queue_records_max="2", commit_wait_ms="0") as receiver:
        other = apsw.Connection(str(receiver.data_dir / "ledger.sqlite"))
        other.execute("begin immediate")
        with ThreadPoolExecutor(12) as pool:
            answers = [
                pool.submit(receiver.post, registration(account)) for account in accounts(12)
            ]
            wait_until(
                lambda: sum(answer.done() for answer in answers) >= 8,  # 2 in hand, 2 waiting
                seconds=4,
                what="the surplus to be refused while the ledger is held",
            )
            refused = [answer.result() for answer in answers if answer.done()]
            other.execute("rollback")
            other.close()
            found = [answer.result() for answer in answers]

        for answer in refused:
            assert answer.status == 503
            assert answer.headers["retry-after"].isdigit()
            assert answer.json()["reason"]
        assert {answer.status for answer in found} == {200, 503}
        accepted = sum(answer.status == 200 for answer in found)
        assert receiver.counters()["events"] == accepted


@pytest.mark.slow
def test_an_answer_never_takes_8_s_though_the_ledger_is_held(tmp_path: Path) -> None:
    with serving(tmp_path) as receiver:
        other = apsw.Connection(str(receiver.data_dir / "ledger.sqlite"))
        other.execute("begin immediate")
        started = time.monotonic()
        answer = attempt(receiver, registration("a0@x.y"))
        seconds = time.monotonic() - started
        other.execute("rollback")
        other.close()

        assert seconds < 8.5
        assert answer is None or answer.status == 503
        assert receiver.process.poll() is None
        assert receiver.post(registration("a1@x.y")).status == 200


def test_little_free_space_is_503_before_the_disk_is_full(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with serving(tmp_path) as receiver:
        receiver.stop()
    done = subprocess.Popen(
        [HOOKLAKE, "serve", "--data-dir", tmp_path / "data", "--port", "0"],
        env=environment(free_bytes_min=str(free * 10)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with done:
        assert done.stdout is not None
        port = int(done.stdout.readline().rpartition(b":")[2].partition(b"/")[0])
        receiver = Receiver(done, tmp_path / "data", tmp_path / "none", port)
        wait_until(lambda: attempt(receiver, b"") is not None, seconds=10, what="it to listen")
        answer, ready = receiver.post(registration("a0@x.y")), receiver.get("/readyz")
        assert (answer.status, ready.status) == (503, 503)
        assert answer.headers["retry-after"].isdigit()
        assert receiver.get("/healthz").status == 200
        assert receiver.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB; only root can mount one."""
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("this fault test needs root to mount a small disk")
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount") or "mount"
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=16m", "hooklake-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", place], check=True)


@pytest.mark.slow
@pytest.mark.faults
def test_a_full_disk_is_503_and_it_resumes_by_itself_when_space_comes_back(
    tmp_path: Path, small_disk: Path
) -> None:
    acknowledged: list[str] = []
    data_dir = small_disk / "data"
    with serving(tmp_path, data_dir=data_dir, free_bytes_min="0", log_level="error") as receiver:
        for round_number in range(2):
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(bytes(65536))
                except OSError:
                    pass
            number = 0
            while True:
                name = f"{round_number}-{number}@x.y"
                started = time.monotonic()
                answer = receiver.post(registration(name, padding="x" * 20_000))
                assert time.monotonic() - started < 1.5
                if answer.status != 200:
                    break
                acknowledged.append(name)
                number += 1
                assert number < 2000
            assert answer.status == 503
            assert answer.headers["retry-after"].isdigit()
            assert receiver.get("/healthz").status == 200

            filler.unlink()
            wait_until(
                lambda: receiver.post(registration("back@x.y")).status == 200,
                seconds=RESUME_SECONDS_MAX,
                what="it to accept again",
            )
            wait_until(
                lambda: receiver.get("/readyz").status == 200, seconds=2, what="it to be ready"
            )
        counted = receiver.counters()
        assert counted["deliveries"] == counted["events"]
        kept = {row[0] for row in receiver.query("select account_id from inbox")}
        assert set(acknowledged) <= kept
        assert receiver.stop() == 0
        assert set(acknowledged) <= set(landed(receiver.data_dir))
