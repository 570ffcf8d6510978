"""Runs the receiver: one listening process, and its child that lands events into the lake.

Started it makes missing credentials, opens the ledger and the port, and says what to do next.
On SIGTERM or SIGINT it stops accepting, finishes and commits what it holds, has the rest landed
and exits 0. If it is killed, the child notices and ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from ingest.app import create_app
from ingest.commit import Committer, Health
from ingest.errors import HooklakeError, LedgerError
from ingest.http_protocol import (
    HEADER_BYTES_MAX,
    KEEP_ALIVE_SECONDS,
    BoundedProtocol,
)
from ingest.ledger import open_ledger, open_read_only
from ingest.observe import Metrics, configure_logging, log
from ingest.paths import keep_files_private
from ingest.settings import (
    Settings,
    ensure_credentials,
    is_loopback,
    unknown_variables,
)

OUTCOME_SECONDS_MAX: Final = 7.5
"""A delivery is given up after this; with the sweep's interval no answer is later than 8 s."""

SWEEP_SECONDS: Final = 0.25
FREE_SPACE_SECONDS: Final = 1.0
SHUTDOWN_SECONDS_MAX: Final = 5
LANDER_DRAIN_SECONDS_MAX: Final = 4.0
LANDER_RESTART_SECONDS: Final = 1.0
BACKLOG: Final = 2048
THREAD_SWITCH_SECONDS: Final = 0.0001
"""The commit thread lets go of the interpreter at every SQLite call. With Python's 5 ms it gets it
back that late beside a busy event loop: 4,000 rows/s where 0.1 ms gives 20,000 (2 cores)."""

_UNSTAMPED: Final = frozenset(("github", "shopify", "token"))


class PortInUseError(HooklakeError):
    code = "port_in_use"


class Watch:
    """Whether a delivery can be stored now; looked at by every request, updated by `tend`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_space_low = False
        self._free_bytes = 0
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
        return {
            "free_bytes": self._free_bytes,
            "queue_bytes": self.committer.queue_bytes if self.committer else 0,
            "landing_lag_seconds": self._landing_lag_seconds(),
        }

    def _landing_lag_seconds(self) -> float:
        try:
            with open_read_only(self._settings.paths.ledger) as connection:
                row = connection.execute(
                    "select received_at from inbox where seq > (select coalesce(max(last_seq), 0)"
                    " from landings where status = 'landed') order by seq limit 1"
                ).fetchone()
        except LedgerError:
            return 0.0
        return 0.0 if row is None else max(0.0, round(time.time() - row[0] / 1_000_000, 3))


class Lander:
    """The landing process; its standard input is the string it hangs on."""

    def __init__(self, settings: Settings) -> None:
        given = {
            "data_dir": str(settings.data_dir),
            "land_interval_seconds": settings.land_interval_seconds,
            "land_rows_max": settings.land_rows_max,
            "log_level": settings.log_level,
        }
        self._command = [sys.executable, "-m", "ingest.landing", json.dumps(given)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it deaf to SIGINT and SIGTERM from its first instruction: Ctrl-C reaches it too."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def drain(self) -> bool:
        """Have the rest landed and the process end; False if it took too long and was stopped."""
        process = self._process
        if process is None or process.stdin is None:
            return True
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            return process.wait(LANDER_DRAIN_SECONDS_MAX) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False


class _Server(uvicorn.Server):
    """uvicorn's server, but a clean shutdown on a signal is a success, not a death by it."""

    watch: Watch

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self, _: int) -> None:
        self.watch.is_draining = True
        self.should_exit = True


def run(settings: Settings) -> int:
    """Serve until told to stop; the exit code.

    Raises: HooklakeError where it cannot start.
    """
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    keep_files_private()
    configure_logging(settings.log_level)
    settings.paths.ensure()
    credentials = ensure_credentials(settings)
    settings = credentials.settings
    open_ledger(settings.paths.ledger).close()
    listener = _bind(settings.host, settings.port)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    _introduce(settings, credentials.made)
    sick: list[str] = []
    uvicorn_config, server = _build(settings, sick)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return 0
    if sick:
        raise LedgerError(
            f"the ledger {settings.paths.ledger} cannot be written ({sick[0]}); nothing was "
            "acknowledged since. Look at the disk, then start again"
        )
    return 0 if uvicorn_config.loaded and server.started else 1


def _build(settings: Settings, sick: list[str]) -> tuple[uvicorn.Config, _Server]:
    metrics = Metrics()
    watch = Watch(settings)
    holder = _Storage()
    server: _Server | None = None

    class Protocol(BoundedProtocol):
        connections_max = settings.connections_max
        silent: dict[BoundedProtocol, None] = {}  # noqa: RUF012
        arriving: dict[BoundedProtocol, float] = {}  # noqa: RUF012

        @staticmethod
        def on_refusal(reason: str) -> None:
            metrics.refused.labels(reason).inc()

    def on_commit(seconds: float, records: int) -> None:
        metrics.commit_seconds.observe(seconds)
        metrics.commit_records.inc(records)

    def on_sick(what: str) -> None:
        sick.append(what)
        if server is not None:
            server.should_exit = True

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        committer = Committer(
            settings.paths.ledger,
            settings.node,
            loop=loop,
            records_max=settings.queue_records_max,
            bytes_max=settings.queue_bytes_max,
            wait_seconds=settings.commit_wait_ms / 1000,
            on_commit=on_commit,
            on_sick=on_sick,
        )
        committer.start()
        holder.committer = watch.committer = committer
        lander = Lander(settings)
        lander.start()
        tending = asyncio.create_task(_tend(committer, watch, lander))
        try:
            yield
        finally:
            watch.is_draining = True
            tending.cancel()
            await asyncio.to_thread(committer.stop)
            if not await asyncio.to_thread(lander.drain):
                log("receiver").warning(
                    "landing_unfinished", next="the next start or refresh lands the rest"
                )

    app = create_app(settings, holder, watch, metrics)
    app.starlette.router.lifespan_context = lifespan
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
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
    server = _Server(config)
    server.watch = watch
    return config, server


class _Storage:
    """Stands for the committer, which needs the running loop, before there is one."""

    committer: Committer

    @property
    def queue_bytes(self) -> int:
        return self.committer.queue_bytes

    def submit(self, delivery: Any) -> Any:
        return self.committer.submit(delivery)

    def note_rejection(self, **rejection: Any) -> None:
        self.committer.note_rejection(**rejection)


async def _tend(committer: Committer, watch: Watch, lander: Lander) -> None:
    """Sweep late deliveries, watch the disk and keep the landing process alive."""
    looked_at = restarted_at = time.monotonic()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        committer.expire(OUTCOME_SECONDS_MAX)
        now = time.monotonic()
        if now - looked_at >= FREE_SPACE_SECONDS:
            looked_at = now
            watch.look()
        if not lander.is_running() and now - restarted_at >= LANDER_RESTART_SECONDS:
            restarted_at = now
            log("receiver").error("landing_process_ended", next="starting it again")
            try:
                lander.start()
            except OSError as error:  # no memory or process left: tried again in a second
                log("receiver").error("landing_process_not_started", error=error.strerror)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use; end what listens there, "
                "or choose another with HOOKLAKE_PORT"
            ) from None
        raise HooklakeError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.set_inheritable(False)
    return listener


def _introduce(settings: Settings, made: tuple[str, ...]) -> None:
    """Tell a person where deliveries go, where the secret is, and how to send the first one."""
    url = settings.webhook_url
    secrets_file = settings.paths.secrets
    lines = [f"hooklake receives at {url}", f"  accepted schemes  {', '.join(settings.verify)}"]
    if "token" in settings.verify:
        if "tokens" in made:
            token_url = f"{url}/{settings.tokens[0].value}"
            lines.append(f"  URL for UChat     {token_url}")
        else:
            lines.append(f"  URL for UChat     {url}/<a token of HOOKLAKE_TOKENS>")
            token_url = f"{url}/$({_token_command(secrets_file)})"
        if not _is_token_elsewhere(settings, secrets_file):
            body = '{"event":"user_registered","data":{"email":"ada@example.com"}}'
            lines.append("  try it:")
            lines.append(
                f"  curl -i -H 'Content-Type: application/json' -d '{body}' \"{token_url}\""
            )
    if made:
        lines.append(f"  made just now     {' and '.join(made)}, kept in {secrets_file}")
    elif secrets_file.exists():
        lines.append(f"  secrets           {secrets_file}")
    print("\n".join(lines), flush=True)  # noqa: T201
    for warning in _warnings(settings):
        print(f"warning: {warning}", file=sys.stderr, flush=True)  # noqa: T201


def _token_command(secrets_file: Path) -> str:
    return f"sed -n 's/^HOOKLAKE_TOKENS=\\([^,]*\\).*/\\1/p' {secrets_file}"


def _is_token_elsewhere(settings: Settings, secrets_file: Path) -> bool:
    """Whether the token in force is not the plain first one of secrets.env."""
    try:
        text = secrets_file.read_text("utf-8")
    except OSError:
        return True
    return f"HOOKLAKE_TOKENS={settings.tokens[0].value}" not in text


def _warnings(settings: Settings) -> list[str]:
    warnings = [
        f"{name} is no setting of hooklake; is it misspelt?" for name in unknown_variables()
    ]
    if "none" in settings.verify:
        warnings.append("HOOKLAKE_VERIFY contains 'none': whoever reaches this port is believed")
    unstamped = [scheme for scheme in settings.verify if scheme in _UNSTAMPED]
    if "hmac" in settings.verify and "{timestamp}" not in settings.hmac_template:
        unstamped.append("hmac")
    if unstamped:
        warnings.append(
            f"{', '.join(unstamped)}: no signed timestamp, so a captured request could be sent "
            "again at any time; keep the URL secret and use TLS"
        )
    if not is_loopback(settings.host):
        warnings.append(
            f"listening on {settings.host}: reachable from other machines, also /metrics; "
            "put a TLS proxy in front"
        )
    return warnings
