"""`hooklake run`: receiver, refresher and dashboard as one thing that starts and ends together.

Each is the ordinary command in a process of its own, so what runs here is what would run apart,
and a crash of one is seen and named. When one ends, all end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from rich.console import Console
from rich.text import Text

from ingest.errors import HooklakeError
from ingest.settings import Settings, ensure_credentials
from warehouse import demo as demo_data
from warehouse.ports import require_free_port
from warehouse.welcome import local_url, readable, welcome

READY_SECONDS_MAX: Final = 60.0
READY_POLL_SECONDS: Final = 0.1
STOP_SECONDS_MAX: Final = 9.0
LAST_WORDS_LINES: Final = 15
LINE_BYTES_MAX: Final = 1 << 20
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartFailedError(HooklakeError):
    """A part ended by itself, or did not become ready in time."""

    code = "part_failed"


@dataclass(frozen=True)
class Part:
    """A command of ours.

    ready_url: answers 200 once it works; None where nothing can be asked. is_talking: what it
    prints is for the person at the screen; of the others only the error stream is.
    """

    name: str
    arguments: tuple[str, ...]
    ready_url: str | None = None
    is_talking: bool = False


@dataclass
class Child:
    """A started part. `last_words`: its latest lines, for when it fails."""

    part: Part
    process: asyncio.subprocess.Process
    relays: tuple[asyncio.Task[None], ...]
    last_words: deque[str]

    async def ended(self) -> int:
        """Its exit code, once it has ended and all it said has been read."""
        await asyncio.wait(self.relays)
        return await self.process.wait()


def run(settings: Settings, *, demo: bool = False) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP; then 0. `demo` fills the data first.

    Raises: RefusedError for a demo in a directory of real events, PortTakenError before anything is
    started, PartFailedError after all has been ended.
    """
    settings.paths.ensure()
    fill_command = demo_data.begin(settings.paths, datetime.now(UTC).date()) if demo else None
    require_free_port(settings.host, settings.port, setting="HOOKLAKE_PORT", what="the receiver")
    require_free_port(
        settings.dashboard_host,
        settings.dashboard_port,
        setting="HOOKLAKE_DASHBOARD_PORT",
        what="the dashboard",
    )
    credentials = ensure_credentials(settings)
    console = Console(soft_wrap=True, highlight=False)
    may_show_token = console.is_terminal or "tokens" in credentials.made
    screen = welcome(credentials.settings, may_show_token=may_show_token)
    asyncio.run(Supervisor(credentials.settings, console, screen).run(fill_command))
    return 0


def parts(settings: Settings) -> tuple[Part, ...]:
    """The three, in the order of their start."""
    receiver = local_url(settings.host, settings.port)
    dashboard = local_url(settings.dashboard_host, settings.dashboard_port)
    return (
        Part("receiver", ("serve",), f"{receiver}/readyz"),
        Part("refresher", ("refresh", "--watch")),
        Part("dashboard", ("dashboard",), f"{dashboard}/_stcore/health"),
    )


class Supervisor:
    """Owns the children from their start to their end; used once."""

    def __init__(self, settings: Settings, console: Console, screen: Text) -> None:
        self.settings = settings
        self.console = console
        self.screen = screen
        self.children: list[Child] = []
        self.asked_to_stop = asyncio.Event()
        self.asked_twice = asyncio.Event()

    async def run(self, fill_command: tuple[str, ...] | None) -> None:
        """Return after a stop signal; raise after a failure; leave nothing running either way."""
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        self.console.print("hooklake is starting …", style="dim")
        try:
            for part in parts(self.settings):
                self.children.append(await self.start(part))
            await self.watch(asyncio.create_task(self.bring_up(fill_command)))
            self.console.print("hooklake is ending …", style="dim")
        finally:
            await self.end(self.children)

    def stop(self) -> None:
        if self.asked_to_stop.is_set():
            self.asked_twice.set()
        self.asked_to_stop.set()

    async def watch(self, work: asyncio.Task[None]) -> None:
        """Return once asked to stop; raise when a child has ended or `work` has failed."""
        stopped = asyncio.create_task(self.asked_to_stop.wait())
        ended = {asyncio.create_task(child.ended()): child for child in self.children}
        waiting: set[asyncio.Task[Any]] = {work, stopped, *ended}
        try:
            while not self.asked_to_stop.is_set():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task, child in ended.items():
                    if task in done and not self.asked_to_stop.is_set():
                        raise PartFailedError(obituary(child, task.result()))
                if work in done:
                    work.result()
        finally:
            for unfinished in (work, stopped, *ended):
                unfinished.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def bring_up(self, fill_command: tuple[str, ...] | None) -> None:
        """Wait until all work, say where they are, and fill what is to be filled."""
        for child in self.children:
            await wait_until_ready(child.part)
        self.console.print(self.screen)
        if fill_command is not None:
            await self.fill(fill_command)

    async def fill(self, command: tuple[str, ...]) -> None:
        """Send the simulated accounts as any sender would, through the receiver."""
        self.console.print(f"sending a year of {demo_data.ACCOUNTS:,} simulated accounts …")
        sender = await self.start(Part("demo", command, is_talking=True))
        try:
            exit_code = await sender.ended()
            if exit_code:
                raise PartFailedError(obituary(sender, exit_code))
            demo_data.mark_filled(self.settings.paths)
        finally:
            await self.end([sender])

    async def start(self, part: Part) -> Child:
        """Start `hooklake <arguments>` in a session of its own: Ctrl-C reaches only us."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "warehouse.child", str(os.getpid())),
            *part.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(self.settings),
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        last_words: deque[str] = deque(maxlen=LAST_WORDS_LINES)
        streams = ((process.stdout, part.is_talking), (process.stderr, True))
        relays = tuple(
            asyncio.create_task(self.relay(part, stream, last_words, is_shown=is_shown))
            for stream, is_shown in streams
        )
        return Child(part, process, relays, last_words)

    async def relay(
        self, part: Part, stream: asyncio.StreamReader, last_words: deque[str], *, is_shown: bool
    ) -> None:
        """Show a child's lines as far as they are worth showing; remember the latest of all."""
        while True:
            try:
                raw = await stream.readline()
            except ValueError:  # a line over the limit; the stream has dropped it
                continue
            if not raw:
                return
            line = raw.decode("utf-8", "replace").rstrip()
            last_words.append(line)
            shown = readable(line) if is_shown else None
            if shown is not None:
                self.console.print(Text(f"{part.name:>9}  ", style="dim"), Text(shown), sep="")

    async def end(self, children: Iterable[Child]) -> None:
        """SIGTERM to each, then SIGKILL to the groups of those that take too long."""
        running = [child for child in children if child.process.returncode is None]
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        gone = asyncio.create_task(everyone_gone(running))
        hurried = asyncio.create_task(self.asked_twice.wait())
        await asyncio.wait(
            {gone, hurried}, timeout=STOP_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        for child in running:
            if child.process.returncode is None:
                self.console.print(f"{child.part.name} takes too long to end and is killed")
        for child in children:
            # The group outlives its leader as long as a helper process of it does.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
        await gone


async def everyone_gone(children: list[Child]) -> None:
    await asyncio.gather(*(child.process.wait() for child in children))


async def wait_until_ready(part: Part) -> None:
    """Return when the part's URL answers 200.

    Raises: PartFailedError after READY_SECONDS_MAX.
    """
    if part.ready_url is None:
        return
    answer = "no answer"
    async with httpx.AsyncClient(trust_env=False, timeout=READY_SECONDS_MAX) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS_MAX):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        response = await client.get(part.ready_url)
                        if response.status_code == httpx.codes.OK:
                            return
                        answer = f"{response.status_code} {response.text[:200]}"
                    await asyncio.sleep(READY_POLL_SECONDS)
    raise PartFailedError(
        f"the {part.name} was not ready within {READY_SECONDS_MAX:.0f} s: "
        f"{part.ready_url} gave {answer}"
    )


def child_environment(settings: Settings) -> dict[str, str]:
    """Ours, and what the command line may have overridden, so that all three agree."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "HOOKLAKE_DATA_DIR": str(settings.data_dir),
        "HOOKLAKE_HOST": settings.host,
        "HOOKLAKE_PORT": str(settings.port),
        "HOOKLAKE_DASHBOARD_HOST": settings.dashboard_host,
        "HOOKLAKE_DASHBOARD_PORT": str(settings.dashboard_port),
    }


def obituary(child: Child, exit_code: int) -> str:
    """What ended, how, and its last lines."""
    how = (
        f"was ended by {signal.Signals(-exit_code).name}"
        if exit_code < 0
        else f"ended with exit code {exit_code}"
    )
    said = "".join(f"\n  {line}" for line in child.last_words) or " nothing"
    return f"the {child.part.name} {how}, so all was ended. Its last lines:{said}"
