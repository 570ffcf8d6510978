"""hooklake's commands as forks of one process that has imported everything, each under strace.

A fault at every N-th system call needs thousands of runs; importing dbt, polars and DuckDB for
each would take all of their time. A fork waits for SIGUSR1, so that strace can be attached before
the command's first system call; from there on it is the very code the command runs. Forks that
nothing is done to learn of dbt from each other, as a watcher's refreshes do (recipe.py); a fork
under strace knows no more than the parsed models, as the first refresh of a process.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ingest.paths import keep_files_private
from tests.e2e.installation import is_alive, wait_until

_TRACED = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?:\d+<(?P<file>[^>]*)>)?")
ATTACH_SECONDS_MAX = 20.0
RUN_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Injection:
    """What happens to the N-th call of a system call in a thread. `how`: `signal=SIGKILL`, …

    files: only calls on these count; `{pid}` in a name is the fork's. None: all calls count.
    """

    call: str
    how: str
    number: int
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.call}:{self.how}:when={self.number}"


@dataclass(frozen=True)
class Calls:
    """How often the thread that called something most often did so.

    made: by system call. written: files written with `write`, writes: how many of these calls.
    """

    made: dict[str, int]
    written: tuple[str, ...]
    writes: int


@dataclass(frozen=True)
class Watching:
    """Nothing happens to these system calls; the trace tells how often each was made."""

    calls: tuple[str, ...]


@dataclass
class Child:
    """A fork that runs one command in a session of its own; under strace if it was asked for."""

    pid: int
    nursery: Nursery
    said: Path
    strace: subprocess.Popen[bytes] | None
    trace: Path
    has_hung: bool = False

    def is_alive(self) -> bool:
        return is_alive(self.pid)

    def terminate(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code, negative for a signal, once it and all its children are gone.

        One that has not ended by itself after RUN_SECONDS_MAX `has_hung` and is killed.
        """
        try:
            wait_until(lambda: not self.is_alive(), seconds=RUN_SECONDS_MAX, what="its end")
        except AssertionError:
            self.has_hung = True
            os.killpg(self.pid, signal.SIGKILL)
        code = self.nursery.collect()
        wait_until(self._family_is_gone, seconds=RUN_SECONDS_MAX, what="a fork's children to end")
        if self.strace:
            self.strace.communicate(timeout=ATTACH_SECONDS_MAX)
        return code

    def was_hit(self) -> bool:
        """Whether the injection happened: the command came as far as its N-th call."""
        text = self.trace.read_text("utf-8", "replace")
        return "INJECTED" in text or "killed by SIGKILL" in text

    def calls(self) -> Calls:
        """What was called, from the trace of a run under `Watching`."""
        made: Counter[tuple[str, str]] = Counter()
        written: set[str] = set()
        writes: Counter[str] = Counter()
        for line in self.trace.read_text("utf-8", "replace").splitlines():
            found = _TRACED.match(line)
            if found:
                made[found["thread"], found["call"]] += 1
                if found["call"] == "write" and (found["file"] or "").startswith("/"):
                    written.add(found["file"].replace(f".{self.pid}.", ".{pid}."))
                    writes[found["thread"]] += 1
        return Calls(_most(made), tuple(sorted(written)), max(writes.values(), default=0))

    def _family_is_gone(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


class Nursery:
    """The process that forks; one child at a time. Close it, or use it as `with nursery()`."""

    _parse: ClassVar[bytes] = b""
    """dbt's partial parse, left by the nursery before for the next: the models are the same."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._parsed = folder / "dbt" / "target" / "partial_parse.msgpack"
        if self._parse:
            self._parsed.parent.mkdir(parents=True)
            self._parsed.write_bytes(self._parse)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery", str(folder / "dbt")],
            cwd=Path(__file__).resolve().parents[2],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._child: Child | None = None

    def start(
        self, do: str, data_dir: Path, *, under: Injection | Watching | None = None, **given: Any
    ) -> Child:
        """Fork and run `do` (see `COMMANDS`) on a data directory."""
        said, trace = self._folder / f"{do}.log", self._folder / "trace"
        trace.write_bytes(b"")
        order = {"do": do, "data_dir": str(data_dir), "said": str(said), "given": given}
        self._tell(order | {"learns": under is None})
        pid = int(self._hear())
        strace = self._attach(pid, under, trace) if under else None
        os.kill(pid, signal.SIGUSR1)
        self._child = Child(pid, self, said, strace, trace)
        return self._child

    def run(self, do: str, data_dir: Path, **given: Any) -> tuple[int, str]:
        """Exit code and output of a run that nothing is done to."""
        child = self.start(do, data_dir, **given)
        return child.wait(), child.said.read_text("utf-8", "replace")

    def collect(self) -> int:
        """The child's exit code. Until now its process id could not become somebody else's."""
        self._tell({"do": "collect"})
        self._child = None
        return int(self._hear())

    def close(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        try:
            self._process.communicate(timeout=ATTACH_SECONDS_MAX)  # closes its orders: it ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        if self._parsed.exists():
            Nursery._parse = self._parsed.read_bytes()

    def _tell(self, order: dict[str, Any]) -> None:
        assert self._process.stdin
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def _hear(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the nursery ended"
        return line

    def _attach(
        self, pid: int, under: Injection | Watching, trace: Path
    ) -> subprocess.Popen[bytes]:
        command: tuple[str, ...] = ("strace", "-qq", "-f", "-o", str(trace), "-p", str(pid))
        rules: tuple[str, ...] = ("signal=SIGKILL",)
        if isinstance(under, Injection):
            rules += (f"trace={under.call}", f"inject={under}")
            for name in under.files:
                command += ("-P", name.replace("{pid}", str(pid)))
        else:
            command += ("-y",)
            rules += (f"trace={','.join(under.calls)}",)
        strace = subprocess.Popen(
            [*command, *(part for rule in rules for part in ("-e", rule))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

        def is_traced() -> bool:
            assert strace.poll() is None, strace.stderr and strace.stderr.read().decode()
            status = Path(f"/proc/{pid}/status").read_text()
            return "TracerPid:\t0\n" not in status

        wait_until(is_traced, seconds=ATTACH_SECONDS_MAX, what="strace to attach", every=0.001)
        return strace


def _most(counted: Counter[tuple[str, str]]) -> dict[str, int]:
    most: dict[str, int] = {}
    for (_, name), times in counted.items():
        most[name] = max(times, most.get(name, 0))
    return most


@contextmanager
def nursery(folder: Path, environment: dict[str, str]) -> Iterator[Nursery]:
    opened = Nursery(folder, environment)
    try:
        yield opened
    finally:
        opened.close()


# -- the other side: the process that forks ---------------------------------------------------


def _serve(data_dir: Path, given: dict[str, Any]) -> int:
    from ingest.serve import run
    from ingest.settings import load_settings

    return run(load_settings(data_dir, **given))


def _land(data_dir: Path, given: dict[str, Any]) -> int:
    from ingest.landing import land_now
    from ingest.settings import load_settings

    return 0 if land_now(load_settings(data_dir, **given)).is_complete else 1


def _refresh(data_dir: Path, given: dict[str, Any]) -> int:
    """As the watcher's later refreshes: with the models parsed already, before the fork."""
    from ingest.settings import load_settings
    from warehouse.build import Wanted
    from warehouse.refresh import Refresher

    refresher = Refresher(load_settings(data_dir), lambda report: None)
    refresher.data.ensure()
    refresher.transformer = _parsed[0]
    refresher.refresh(Wanted(**given), land=True)
    return 0


_parsed: list[Any] = []


def _recall(learnt: Path) -> None:
    if learnt.exists():
        _parsed[0]._recipes.update(pickle.loads(learnt.read_bytes()))  # noqa: S301 - our own


def _remember(learnt: Path) -> None:
    if _parsed[0]._recipes:
        learnt.write_bytes(pickle.dumps(_parsed[0]._recipes))


def _backfill(data_dir: Path, given: dict[str, Any]) -> int:
    from ingest.settings import load_settings
    from warehouse.backfill import run

    return run(load_settings(data_dir), [Path(given["export"])], as_json=True)


def _compact(data_dir: Path, given: dict[str, Any]) -> int:
    from ingest.settings import load_settings
    from warehouse.compact import run

    full = given.pop("full", False)
    return run(load_settings(data_dir, **given), full=full, as_json=True)


def _forget(data_dir: Path, given: dict[str, Any]) -> int:
    from ingest.settings import load_settings
    from warehouse.forget import erase
    from warehouse.person import named
    from warehouse.refresh import Refresher

    refresher = Refresher(load_settings(data_dir), lambda report: None)
    refresher.transformer = _parsed[0]
    person = named(given["email"], None)
    report = erase(refresher.settings, person, is_linked=True, refresher=refresher)
    return 1 if report["left"] or "unpublished" in report else 0


COMMANDS: dict[str, Callable[[Path, dict[str, Any]], int]] = {
    "serve": _serve,
    "land": _land,
    "refresh": _refresh,
    "backfill": _backfill,
    "compact": _compact,
    "forget": _forget,
}


def _import_everything() -> None:
    import dbt.adapters.duckdb.connections
    import dbt.cli.main
    import duckdb
    import polars

    import ingest.serve
    import warehouse.backfill
    import warehouse.compact
    import warehouse.forget
    import warehouse.refresh

    assert dbt and duckdb and polars and ingest and warehouse
    pools = [
        path for path in Path("/proc/self/task").glob("*/comm") if "polars-0" in path.read_text()
    ]
    assert not pools, "an import of ours makes polars work: its threads would be missing in a fork"


def _parse_models(work_dir: Path) -> Any:
    from warehouse.transform import Transformer

    transformer = Transformer(work_dir)
    transformer.manifest()
    return transformer


def _command(order: dict[str, Any]) -> int:
    """As warehouse/cli.py: a HooklakeError becomes its exit code and one line."""
    from ingest.errors import HooklakeError

    learnt = Path(sys.argv[1]) / "recipes.pickle"
    try:
        if order["learns"]:
            _recall(learnt)
        code = COMMANDS[order["do"]](Path(order["data_dir"]), order["given"])
        if order["learns"]:
            _remember(learnt)
        return code
    except HooklakeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def _child(order: dict[str, Any]) -> None:
    """Never returns. Ends without tidying up the interpreter, which takes longer than the run."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for ours, theirs in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(ours, theirs)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    signal.sigwait({signal.SIGUSR1})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    code = 1
    try:
        keep_files_private()
        code = _command(order)
    except BaseException:  # noqa: BLE001 - as an interpreter would
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> None:
    """Fork for each order on standard input and tell the fork's id; to `collect`, its exit code."""
    _import_everything()
    _parsed.append(_parse_models(Path(sys.argv[1])))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    pid = 0
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "collect":
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
            continue
        pid = os.fork()
        if pid == 0:
            _child(order)
        print(pid, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
