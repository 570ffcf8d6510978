"""Intake figures: acknowledged deliveries per second, memory and start time, beside two peers.

    python tests/bench/acknowledge.py --seconds 5 --rounds 3

In one run and in turn, each at 64 connections: `hooklake serve` (verified, parsed, synced), an
empty Starlette handler on the same uvicorn, parser and loop (reads nothing, empty 200), and the
same Starlette committing each body into PostgreSQL (started here on a port of its own, fsync on).
Prints a line a figure; ratios are medians of the rounds. wrk makes the load.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CONNECTIONS = 64
DEADLINE_SECONDS = 30.0
TOKEN = "bench-token-of-no-value"
PATH = f"/webhooks/uchat/{TOKEN}"
HERE = Path(__file__).resolve()
HOOKLAKE = Path(sys.executable).with_name("hooklake")
SCRIPT = """
wrk.method = "POST"
local number = 0
request = function()
  number = number + 1
  local id = "ROUND-" .. number
  return wrk.format(nil, nil, nil, '{"event":"plan_changed","id":"' .. id .. '","data":{'
    .. '"plan_id":"business","owner_email":"owner' .. number .. '@example.com",'
    .. '"auto_renew":true,"start_date":"2024-04-01","end_date":"2024-05-01"}}')
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("error: wrk makes the load; install it (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root and must reach its own folder
        empty = stack.enter_context(peer("empty"))
        receiver = stack.enter_context(hooklake(folder))
        postgres = stack.enter_context(postgresql(folder))
        database = stack.enter_context(peer("postgres", postgres)) if postgres else None
        measure(arguments, empty, receiver, database)


def measure(
    arguments: argparse.Namespace, empty: int, receiver: tuple[int, int], database: int | None
) -> None:
    port, pid = receiver
    over_empty, over_database, rates = [], [], []
    for number in range(arguments.rounds):
        reference = load(empty, arguments.seconds, f"e{number}")
        ours = load(port, arguments.seconds, f"h{number}")
        rates.append(ours)
        over_empty.append(ours / reference)
        if database is not None:
            over_database.append(ours / load(database, arguments.seconds, f"p{number}"))
    say("acknowledged", f"{statistics.median(rates):,.0f}/s at {CONNECTIONS} connections")
    say("over an empty Starlette handler", f"{statistics.median(over_empty):.2f} (target 0.6)")
    if over_database:
        say(
            "over PostgreSQL, commit per event",
            f"{statistics.median(over_database):.1f} (target 3)",
        )
    say("memory after the load", memory(pid))


def say(what: str, figure: str) -> None:
    print(f"{what:<36}{figure}", flush=True)  # noqa: T201


def load(port: int, seconds: int, name: str) -> float:
    """Answers with 200 per second."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT.replace("ROUND", name))
        script.flush()
        done = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", script.name,  # noqa: S607
             f"http://127.0.0.1:{port}{PATH}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert "Non-2xx" not in done.stdout, done.stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


def memory(pid: int) -> str:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = resident(pid)
    everything = own + sum(resident(int(child)) for child in children)
    return f"{own} MiB listening (target 100), {everything} MiB with its children (target 200)"


def resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


@contextlib.contextmanager
def hooklake(folder: Path) -> Iterator[tuple[int, int]]:
    """(port, pid) of a receiver; says how long its first acknowledgement took."""
    port = free_port()
    environment = {**os.environ, "HOOKLAKE_TOKENS": TOKEN, "HOOKLAKE_VERIFY": "token"}
    command = [str(HOOKLAKE), "serve", "--data-dir", str(folder / "data"), "--port", str(port)]
    started = time.perf_counter()
    with running(command, environment) as process:
        until(lambda: answers(port))
        say("start to first acknowledgement", f"{time.perf_counter() - started:.2f} s (target 1.5)")
        yield port, process.pid


@contextlib.contextmanager
def peer(kind: str, database_port: int | None = None) -> Iterator[int]:
    """The port of one of the two reference servers of this file."""
    port = free_port()
    environment = {**os.environ, "BENCH_DATABASE_PORT": str(database_port or 0)}
    command = [
        sys.executable, "-m", "uvicorn", f"{HERE.stem}:{kind}_app", "--app-dir", str(HERE.parent),
        "--factory", "--http", "httptools", "--loop", "uvloop", "--no-access-log",
        "--port", str(port), "--log-level", "error",
    ]  # fmt: skip
    with running(command, environment):
        until(lambda: answers(port))
        yield port


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[int | None]:
    """The port of a PostgreSQL of our own, or None with the reason where there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs or os.getuid() != 0:
        say("PostgreSQL", "not measured: needs Debian's postgresql package and root")
        yield None
        return
    binaries, home, port = programs[-1].parent, folder / "postgres", free_port()
    home.mkdir()
    shutil.chown(home, "postgres", "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    subprocess.run(
        [*as_postgres, str(binaries / "initdb"), "-D", str(home / "data"), "-A", "trust"],
        check=True, capture_output=True, cwd=home,
    )  # fmt: skip
    command = [
        *as_postgres, str(binaries / "postgres"), "-D", str(home / "data"), "-p", str(port),
        "-k", str(home), "-h", "127.0.0.1",
    ]  # fmt: skip
    with running(command, dict(os.environ), cwd=home):
        until(lambda: is_open(port))
        yield port


@contextlib.contextmanager
def running(
    command: list[str], environment: dict[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env=environment, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = b'{"event":"user_registered","email":"first@example.com"}'
    try:
        connection.request("POST", PATH, body)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "a server did not start"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def empty_app() -> object:
    """Starlette with a handler that reads nothing."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def handler(_: Request) -> Response:
        return Response(b"")

    return Starlette(routes=[Route("/webhooks/uchat/{token}", handler, methods=["POST"])])


def postgres_app() -> object:
    """The same Starlette, one INSERT and COMMIT for each body."""
    import asyncpg
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    pool: list[asyncpg.Pool] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette):  # type: ignore[no-untyped-def]
        port = int(os.environ["BENCH_DATABASE_PORT"])
        opened = await asyncpg.create_pool(
            host="127.0.0.1", port=port, user="postgres", database="postgres", max_size=16
        )
        async with opened:
            await opened.execute("create table if not exists inbox (id bigserial, body bytea)")
            pool.append(opened)
            yield

    async def handler(request: Request) -> Response:
        await pool[0].execute("insert into inbox (body) values ($1)", await request.body())
        return Response(b"")

    routes = [Route("/webhooks/uchat/{token}", handler, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    main()
