"""`hooklake dashboard` as a process: where it listens, what it refuses, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from dashboards import addresses, launch
from ingest.errors import RefusedError
from ingest.paths import DataDir
from ingest.settings import load_settings
from warehouse.ports import PortTakenError

START = (
    "import sys; from pathlib import Path; from dashboards.launch import run; "
    "from ingest.settings import load_settings; "
    "sys.exit(run(load_settings(Path(sys.argv[1]), dashboard_port=0)))"
)


@contextmanager
def running(data_dir: Path, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The dashboard in a process of its own, once it has said where it is."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    process = subprocess.Popen(
        [sys.executable, "-W", "error::DeprecationWarning:dashboards", "-c", START, str(data_dir)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Dashboard: http://127.0.0.1:"), line
        yield process, line.removeprefix("Dashboard: ").strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


DRAW_ALL = """
import sys
from dashboards import addresses, launch
launch.load_pages()
from streamlit.testing.v1 import AppTest
before = {name.partition(".")[0] for name in sys.modules}
for page in addresses.PAGES:
    drawn = AppTest.from_string(
        "from dashboards.app import draw_safely\\n"
        "from dashboards.views import VIEWS\\n"
        f"draw_safely(next(view for view in VIEWS if view.url_path == {page!r}))\\n",
        default_timeout=30,
    ).run()
    assert not drawn.exception and not drawn.error, page
after = {name.partition(".")[0] for name in sys.modules}
print(sorted(after - before - set(sys.stdlib_module_names)))
"""


def wait_until_it_answers(url: str) -> None:
    transport = httpx.HTTPTransport(retries=8)
    with httpx.Client(transport=transport, timeout=20, trust_env=False) as client:
        assert client.get(f"{url}/_stcore/health").status_code == 200


def test_what_pages_draw_with_is_loaded_before_visitors_come(full_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRAW_ALL],
        env={**os.environ, "HOOKLAKE_DATA_DIR": str(full_dir)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_exit_code_0(
    full_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with running(full_dir, tmp_path) as (process, url):
        wait_until_it_answers(url)
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_it_works_from_any_directory_and_writes_nothing_there(
    full_dir: Path, tmp_path: Path
) -> None:
    """An unfriendly .streamlit/config.toml of somebody else's project changes nothing either."""
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(
        '[server]\naddress = "0.0.0.0"\n[browser]\ngatherUsageStats = true\n'
    )
    before = set(tmp_path.rglob("*"))
    with running(full_dir, tmp_path) as (process, url):
        wait_until_it_answers(url)
        for page in addresses.PAGES:
            answer = httpx.get(f"{url}/{page}", trust_env=False)
            assert answer.status_code == 200 and "<title>hooklake</title>" in answer.text
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "http" not in policy
            assert answer.headers["referrer-policy"] == "no-referrer"
        port = int(url.rpartition(":")[2])
        listening = {
            int(row.split()[1].partition(":")[0], 16)
            for row in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if int(row.split()[1].rpartition(":")[2], 16) == port and row.split()[3] == "0A"
        }
        assert listening == {int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)}
        process.terminate()
        assert process.wait(timeout=10) == 0
    assert set(tmp_path.rglob("*")) == before


def test_a_port_in_use_is_named_with_the_setting_to_change(full_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"{port}.*HOOKLAKE_DASHBOARD_PORT"):
            launch.run(load_settings(full_dir, dashboard_port=port))


EVERYBODY = "0.0.0.0"  # noqa: S104  (refused, not bound)


@pytest.mark.parametrize("host", [EVERYBODY, "::", "192.168.1.5", "dashboard.example"])
def test_an_address_others_can_reach_is_refused_without_a_login(tmp_path: Path, host: str) -> None:
    with pytest.raises(RefusedError, match=r"HOOKLAKE_DASHBOARD_HOST.*login\.toml"):
        launch.run(load_settings(tmp_path, dashboard_host=host))


def test_no_login_file_means_no_login(tmp_path: Path) -> None:
    assert launch.login_secrets(DataDir(tmp_path)) is None


@pytest.mark.parametrize(
    "content", ["", "auth = 1", "[auth]\nredirect_uri = 'x'", "[auth", "\udcff"]
)
def test_a_login_file_that_cannot_work_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "login.toml").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(launch.LoginError) as raised:
        launch.login_secrets(DataDir(tmp_path))
    assert "login.toml" in str(raised.value)


def test_a_login_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "login.toml").write_text("[auth]\nredirect_uri = 'x'\ncookie_secret = 'hidden'\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(launch.LoginError, match="Authlib") as raised:
        launch.login_secrets(DataDir(tmp_path))
    assert "hidden" not in str(raised.value)


def test_the_policy_allows_the_inline_scripts_of_the_page_and_no_other() -> None:
    """sha256 of `1`: a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s= (base64)."""
    policy = launch.content_security_policy("<head><script>1</script></head>")
    assert "'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='" in policy
    assert "script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval' 'sha256-" in policy
