"""`hooklake run`: starts all three, ends all three, and says what is in the way."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess

import httpx
import pytest
from installation import (
    START_SECONDS_MAX,
    TOKEN,
    Installation,
    descendants,
    is_alive,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]

RUNNING = "hooklake is running"
END_SECONDS_MAX = 12.0
FIRST_VERSION_SECONDS_MAX = 60.0


def start(hooklake: Installation, *arguments: str) -> subprocess.Popen[bytes]:
    """A supervisor that has said that everything runs."""
    supervisor = hooklake.start("run", *arguments)

    def is_running() -> bool:
        assert supervisor.poll() is None, hooklake.said("run")
        return RUNNING in hooklake.said("run")

    wait_until(is_running, seconds=2 * START_SECONDS_MAX, what=RUNNING)
    return supervisor


def assert_all_gone(hooklake: Installation, family: list[int]) -> None:
    wait_until(
        lambda: not any(map(is_alive, family)),
        seconds=END_SECONDS_MAX,
        what=f"the end of every process; said:\n{hooklake.said('run')}",
    )


def test_one_ctrl_c_ends_everything_and_what_was_delivered_is_kept(
    hooklake: Installation,
) -> None:
    hooklake.credentials.clear()  # the first start makes its own
    supervisor = start(hooklake)
    family = descendants(supervisor.pid)
    assert len(family) >= 3
    assert httpx.get(f"{hooklake.url}/readyz", trust_env=False).status_code == 200
    assert httpx.get(hooklake.dashboard_url, trust_env=False).status_code == 200
    said = hooklake.said("run")
    made = (hooklake.data_dir / "secrets.env").read_text()
    token = re.search(r"^HOOKLAKE_TOKENS=(\w+)$", made, re.MULTILINE)
    assert token
    assert f"{hooklake.webhook_url}/{token[1]}" in said
    assert hooklake.dashboard_url in said

    # The curl line is pasted as it is printed.
    line = next(line for line in said.splitlines() if "curl " in line)
    pasted = subprocess.run(
        ["bash", "-c", line[line.index("curl ") :]],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"accepted"' in pasted.stdout
    wait_until(
        lambda: stored(hooklake) == 1,
        seconds=FIRST_VERSION_SECONDS_MAX,
        what="the delivery in the published tables",
    )

    os.killpg(supervisor.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    assert supervisor.wait(END_SECONDS_MAX) == 0
    assert_all_gone(hooklake, family)
    assert stored(hooklake) == 1


def stored(hooklake: Installation) -> int:
    if not (hooklake.data_dir / "warehouse.duckdb").exists():
        return 0
    return int(hooklake.query("select count(*) as stored from events")[0]["stored"])


def test_the_death_of_one_part_ends_the_others_and_is_named(hooklake: Installation) -> None:
    supervisor = start(hooklake)
    family = descendants(supervisor.pid)
    refresher = next(pid for pid in family if "refresh" in command_line(pid))

    os.kill(refresher, signal.SIGKILL)

    assert supervisor.wait(END_SECONDS_MAX) == 1
    assert_all_gone(hooklake, family)
    assert "the refresher was ended by SIGKILL" in hooklake.said("run")


def test_the_supervisors_own_death_leaves_no_orphan(hooklake: Installation) -> None:
    supervisor = start(hooklake)
    family = descendants(supervisor.pid)

    os.kill(supervisor.pid, signal.SIGKILL)

    supervisor.wait()
    assert_all_gone(hooklake, family)


def test_a_later_start_keeps_the_token_out_of_a_screen_that_may_be_a_log(
    hooklake: Installation,
) -> None:
    start(hooklake)

    assert TOKEN not in hooklake.said("run")
    assert f"{hooklake.webhook_url}/<a token of HOOKLAKE_TOKENS>" in hooklake.said("run")


def test_a_demo_refuses_to_mix_with_real_events(hooklake: Installation) -> None:
    receiver = hooklake.start_receiver()
    hooklake.stop(receiver)

    hooklake.command("run", "--demo", expect=4)

    assert not (hooklake.data_dir / "demo.json").exists()


def command_line(pid: int) -> list[str]:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().decode().split("\0")


@pytest.mark.parametrize("setting", ["HOOKLAKE_PORT", "HOOKLAKE_DASHBOARD_PORT"])
def test_a_port_in_use_is_named_with_its_holder_and_the_setting(
    hooklake: Installation, setting: str
) -> None:
    port = int(hooklake.environment[setting])
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", port))
        somebody.listen()

        supervisor = hooklake.start("run")

        assert supervisor.wait(START_SECONDS_MAX) == 1
    said = hooklake.said("run")
    assert f"127.0.0.1:{port}" in said
    assert f"process {os.getpid()} " in said
    assert setting in said
    assert "Traceback" not in said
    assert not (hooklake.data_dir / "secrets.env").exists()
