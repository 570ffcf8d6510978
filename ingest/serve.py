"""Runs the receiver: listening processes, and one that lands events into the lake.

Started it makes missing credentials, opens the ledger and the port, and says what to do next.
On SIGTERM or SIGINT it stops accepting, finishes and commits what it holds, has the rest landed
and exits 0. One worker is this very process; of several it is the parent, which shares the port
among them. A child hangs on its parent by a pipe: killed, the parent leaves nobody answering.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from prometheus_client import multiprocess

from ingest.errors import HooklakeError, LedgerError
from ingest.introduce import introduce
from ingest.lander import Lander
from ingest.ledger import open_ledger
from ingest.logs import configure_logging, log
from ingest.metrics import METRICS_FOLDER_VARIABLE
from ingest.paths import keep_files_private
from ingest.settings import Settings, ensure_credentials
from ingest.worker import BACKLOG, SICK_EXIT_CODE, listen, sent_settings

WORKER_RESTART_SECONDS: Final = 1.0
WORKER_STOP_SECONDS_MAX: Final = 7.0
SUPERVISE_SECONDS: Final = 0.25


class PortInUseError(HooklakeError):
    code = "port_in_use"


def run(settings: Settings) -> int:
    """Serve until told to stop; the exit code.

    Raises: HooklakeError where it cannot start or go on.
    """
    keep_files_private()
    early = EarlySignal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, early)
    configure_logging(settings.log_level)
    settings.paths.ensure()
    credentials = ensure_credentials(settings)
    settings = credentials.settings
    completing = _complete_erasures(settings)
    listener = _bind(settings.host, settings.port)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    introduce(settings, credentials.made)
    if settings.workers == 1:
        listen(settings, listener, Lander(settings), was_told=early.was_told)
    else:
        _supervise(settings, listener, was_told=early.was_told)
    if completing is not None:
        completing.poll()
    return 0


def _complete_erasures(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Have an erasure that was interrupted completed beside the receiver: a refresh does it."""
    connection = open_ledger(settings.paths.ledger)
    try:
        found = connection.execute("select 1 from erasures where status <> 'done'").fetchone()
    finally:
        connection.close()
    if found is None:
        return None
    log("receiver").warning("erasure_interrupted", next="completing it")
    return subprocess.Popen(
        [sys.executable, "-m", "warehouse.cli", "refresh", "--data-dir", str(settings.data_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


class EarlySignal:
    """The handler while it starts: remembers that it was told to stop, for whoever waits later.

    Raising instead could meet an event loop that is being made, which swallows it and serves on.
    """

    _is_told = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told = True

    def was_told(self) -> bool:
        return self._is_told


class Worker:
    """A listening child; its standard input is the string it hangs on."""

    def __init__(self, settings: Settings, listener: socket.socket, metrics_folder: str) -> None:
        self._command = [sys.executable, "-m", "ingest.worker", str(listener.fileno())]
        self._settings = sent_settings(settings)
        self._listener = listener
        self._environment = {**os.environ, METRICS_FOLDER_VARIABLE: metrics_folder}
        self._started_at = 0.0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._started_at = time.monotonic()
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            pass_fds=(self._listener.fileno(),),
            env=self._environment,
        )
        assert process.stdin is not None
        process.stdin.write(self._settings)
        process.stdin.flush()
        return process

    def keep_running(self) -> None:
        """Start it again where it has ended, at most once a second.

        Raises: LedgerError when it ended because the ledger cannot be written.
        """
        code = self.process.poll()
        if code is None:
            return
        if code == SICK_EXIT_CODE:
            raise LedgerError("a worker cannot write the ledger; its own line above says why")
        if time.monotonic() - self._started_at < WORKER_RESTART_SECONDS:
            return
        log("receiver").error("worker_ended", exit_code=code, next="starting it again")
        multiprocess.mark_process_dead(self.process.pid)  # type: ignore[no-untyped-call]
        self.process = self._start()

    def release(self) -> None:
        """Have it finish what it holds, and end."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def wait(self, deadline: float) -> None:
        """Until it has ended; from `deadline` on the monotonic clock it is stopped."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log("receiver").error("worker_stopped", pid=self.process.pid)
            self.process.kill()
            self.process.wait()


def _supervise(
    settings: Settings, listener: socket.socket, *, was_told: Callable[[], bool]
) -> None:
    """Keep the workers and the landing process alive until a signal, then end them in order."""
    folder = tempfile.mkdtemp(prefix="hooklake-metrics-")
    os.environ[METRICS_FOLDER_VARIABLE] = folder
    lander = Lander(settings)
    workers: list[Worker] = []
    try:
        with _stop_signal() as stop:
            lander.start()
            workers += [Worker(settings, listener, folder) for _ in range(settings.workers)]
            while not (was_told() or select.select([stop], [], [], SUPERVISE_SECONDS)[0]):
                lander.keep_running()
                for worker in workers:
                    worker.keep_running()
    finally:
        listener.close()
        for worker in workers:
            worker.release()
        deadline = time.monotonic() + WORKER_STOP_SECONDS_MAX
        for worker in workers:
            worker.wait(deadline)
        lander.drain()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _stop_signal() -> Iterator[int]:
    """A descriptor that becomes readable on SIGTERM or SIGINT."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {
        number: signal.signal(number, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket: whoever connects from now on is answered once the worker runs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use; end what listens there, "
                "or choose another with HOOKLAKE_PORT"
            ) from None
        raise HooklakeError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose an address of this machine "
            "with HOOKLAKE_HOST, or another HOOKLAKE_PORT"
        ) from None
    listener.set_inheritable(False)
    return listener
