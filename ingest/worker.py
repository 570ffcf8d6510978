"""The listening process: application, event loop and writing process, from start to a clean end.

Alone it keeps the landing process alive beside it. Run as `python -m ingest.worker` it is one of
several: the parent lands, and its going away, however, is told by the end of standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import uvicorn

from ingest.app import create_app
from ingest.commit import Committer, Told
from ingest.errors import HooklakeError, LedgerError
from ingest.frames import Answer, Handed, Health
from ingest.http_protocol import KEEP_ALIVE_SECONDS, BoundedProtocol
from ingest.lander import Lander
from ingest.ledger import LANDED_UNTIL, open_read_only, read_counters
from ingest.logs import LineLimit, configure_logging, log
from ingest.metrics import Metrics
from ingest.paths import keep_files_private
from ingest.settings import NamedSecret, Settings
from ingest.upkeep_status import read_compaction_status

OUTCOME_SECONDS_MAX: Final = 7.5
"""A delivery is given up after this; with the sweep's interval no answer is later than 8 s."""

SWEEP_SECONDS: Final = 0.25
FREE_SPACE_SECONDS: Final = 1.0
LEDGER_SECONDS: Final = 0.25
SHUTDOWN_SECONDS_MAX: Final = 5
BACKLOG: Final = 2048
SICK_EXIT_CODE: Final = 70


class WorkerError(HooklakeError):
    code = "worker"


class Watch:
    """Whether a delivery can be stored now; looked at by every request, updated by `tend`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_space_low = False
        self._free_bytes = 0
        self._seen: dict[str, float] = {}
        self._seen_at = -LEDGER_SECONDS
        self.is_draining = False
        self.committer: Committer | None = None
        self.look()

    def look(self) -> None:
        """Measure the free space."""
        with contextlib.suppress(OSError):
            self._free_bytes = shutil.disk_usage(self._settings.data_dir).free
        self._is_space_low = self._free_bytes < self._settings.free_bytes_min

    def problem(self) -> str | None:
        if self.is_draining or self.committer is None:
            return "draining"
        if self.committer.health is not Health.OK:
            return str(self.committer.health.value)
        return "low_space" if self._is_space_low else None

    def report(self) -> dict[str, Any]:
        now = time.monotonic()
        if now - self._seen_at >= LEDGER_SECONDS:  # whoever asks often does not stall the loop
            self._seen_at, self._seen = now, {**self._seen, **self._look_around()}
        return {
            "free_bytes": self._free_bytes,
            "queue_bytes": self.committer.queue_bytes if self.committer else 0,
            **self._seen,
        }

    def _look_around(self) -> dict[str, float]:
        """What the ledger, the published version and the last compaction say."""
        paths, now = self._settings.paths, time.time()
        seen = {
            **dict.fromkeys(("landing_lag_seconds", "quarantine_open"), 0.0),
            **dict.fromkeys(("warehouse_age_seconds", "compaction_age_seconds"), -1.0),
            **dict.fromkeys(("compaction_failed", "lake_files", "lake_bytes"), 0.0),
        }
        with contextlib.suppress(LedgerError), open_read_only(paths.ledger) as connection:
            row = connection.execute(
                f"select received_at from inbox where seq > {LANDED_UNTIL} order by seq limit 1"
            ).fetchone()
            if row is not None:
                seen["landing_lag_seconds"] = max(0.0, round(now - row[0] / 1_000_000, 3))
            seen["quarantine_open"] = read_counters(connection)["quarantined"]
        with contextlib.suppress(OSError):
            seen["warehouse_age_seconds"] = max(0.0, now - paths.warehouse.stat().st_mtime)
        if (last := read_compaction_status(paths.compaction_status)) is not None:
            seen["compaction_failed"] = float(last.error is not None)
            seen["lake_files"], seen["lake_bytes"] = last.files, last.bytes
            if last.succeeded_at is not None:
                seen["compaction_age_seconds"] = max(0.0, round(now - last.succeeded_at, 3))
        return seen


class _Server(uvicorn.Server):
    """uvicorn's server, but a clean shutdown on a signal is a success, not a death by it."""

    watch: Watch

    lifeline: int | None = None

    was_told: Callable[[], bool]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        if self.lifeline is not None:
            loop.add_reader(self.lifeline, self._stop)
        if self.was_told():
            self._stop()
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            if self.lifeline is not None:
                loop.remove_reader(self.lifeline)

    def _stop(self) -> None:
        self.watch.is_draining = True
        self.should_exit = True
        if self.lifeline is not None:
            asyncio.get_running_loop().remove_reader(self.lifeline)


def listen(
    settings: Settings,
    listener: socket.socket,
    lander: Lander | None = None,
    lifeline: int | None = None,
    was_told: Callable[[], bool] = lambda: False,
) -> None:
    """Answer deliveries on `listener` until SIGTERM or SIGINT, then finish what is held.

    lander: kept alive meanwhile, and drained at the end. lifeline: a descriptor whose end is taken
    as SIGTERM. was_told: whether such a signal came before anybody listened to it. Raises:
    LedgerError when the ledger cannot be written any more, WorkerError when the server does not
    start.
    """
    sick: list[str] = []
    server = _build(settings, lander, sick)
    server.lifeline = lifeline
    server.was_told = was_told
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if sick:
        raise LedgerError(
            f"the ledger {settings.paths.ledger} cannot be written ({sick[0]}); nothing was "
            "acknowledged since. Look at the disk, then start again"
        )
    if not server.started:
        raise WorkerError("the receiver did not start")


def _build(settings: Settings, lander: Lander | None, sick: list[str]) -> _Server:
    metrics = Metrics()
    watch = Watch(settings)
    holder = _Storage()
    server: _Server | None = None

    def on_commit(seconds: float, tally: Mapping[tuple[str, str], int], ids_reused: int) -> None:
        metrics.commit_seconds.observe(seconds)
        metrics.commit_records.inc(sum(tally.values()))
        metrics.ids_reused.inc(ids_reused)
        for labels, amount in tally.items():
            metrics.count(metrics.deliveries, *labels, amount=amount)

    def on_sick(what: str) -> None:
        sick.append(what)
        if server is not None:
            server.should_exit = True

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        committer = Committer(
            settings.paths.ledger,
            settings.node,
            records_max=settings.queue_records_max,
            bytes_max=settings.queue_bytes_max,
            wait_seconds=settings.commit_wait_ms / 1000,
            log_level=settings.log_level,
            on_commit=on_commit,
            on_sick=on_sick,
        )
        await committer.start()
        holder.committer = watch.committer = committer
        if lander is not None:
            lander.start()
        tending = asyncio.create_task(_tend(committer, watch, lander, metrics))
        try:
            yield
        finally:
            watch.is_draining = True
            tending.cancel()
            await committer.stop()
            if lander is not None:
                await asyncio.to_thread(lander.drain)

    app = create_app(settings, holder, watch, metrics)
    app.starlette.router.lifespan_context = lifespan

    class Protocol(BoundedProtocol):
        connections_max = settings.connections_max
        silent: dict[BoundedProtocol, None] = {}  # noqa: RUF012
        arriving: dict[BoundedProtocol, float] = {}  # noqa: RUF012
        turned_away: dict[BoundedProtocol, None] = {}  # noqa: RUF012
        take = staticmethod(app.take)

        @staticmethod
        def on_refusal(reason: str) -> None:
            metrics.refused.labels(reason).inc()

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
    server = _Server(config)
    server.watch = watch
    return server


class _Storage:
    """Stands for the committer, which needs the running loop, before there is one."""

    committer: Committer

    @property
    def queue_bytes(self) -> int:
        return self.committer.queue_bytes

    def take(self, delivery: Handed, told: Told) -> None:
        self.committer.take(delivery, told)

    def submit(self, delivery: Handed) -> asyncio.Future[Answer]:
        return self.committer.submit(delivery)

    def note_rejection(self, **rejection: Any) -> None:
        self.committer.note_rejection(**rejection)


async def _tend(
    committer: Committer, watch: Watch, lander: Lander | None, metrics: Metrics
) -> None:
    """Sweep late deliveries, watch the disk and keep the landing process alive.

    What fails is told and tried again: without any of these the receiver would seem well.
    """
    looked_at = time.monotonic()
    failures = LineLimit()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            committer.expire(OUTCOME_SECONDS_MAX)
            metrics.queue_bytes.set(committer.queue_bytes)
            now = time.monotonic()
            if now - looked_at >= FREE_SPACE_SECONDS:
                looked_at = now
                watch.look()
            metrics.ready.set(watch.problem() is None)
            if lander is not None:
                lander.keep_running()
        except Exception as error:  # noqa: BLE001 - see above
            if failures.allows():
                log("receiver").error("tending_failed", kind=type(error).__name__)


def sent_settings(settings: Settings) -> bytes:
    """The parent's settings for a worker: through a pipe, so that no argument holds a secret."""
    given = settings.model_dump(mode="json", exclude={"secrets", "tokens"})
    for name in ("secrets", "tokens"):
        given[name] = [(secret.name, secret.value) for secret in getattr(settings, name)]
    return json.dumps(given).encode() + b"\n"


def received_settings(line: bytes) -> Settings:
    """What the parent sent; it has checked all of it, so nothing is read or checked again."""
    given = json.loads(line)
    given["data_dir"] = Path(given["data_dir"])
    given["verify"] = tuple(given["verify"])
    for name in ("secrets", "tokens"):
        given[name] = tuple(NamedSecret(*pair) for pair in given[name])
    return Settings.model_construct(**given)


def main(arguments: list[str]) -> int:
    """`arguments`: the listening socket's descriptor. Standard input: one line of settings."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    keep_files_private()
    settings = received_settings(sys.stdin.buffer.readline())
    configure_logging(settings.log_level)
    try:
        with socket.socket(fileno=int(arguments[0])) as listener:
            listen(settings, listener, lifeline=sys.stdin.fileno())
    except HooklakeError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return SICK_EXIT_CODE if isinstance(error, LedgerError) else error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
