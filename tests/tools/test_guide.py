"""README's ten minutes: every line and every configuration shown there, run and checked."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from receiver_process import HOOKLAKE, Receiver, environment

from ingest import scenario as stories

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]
NAME = "hooks.example.com"
BODY = b'{"event":"plan_changed","data":{"plan_id":"free","owner_email":"a@example.com"}}'


def guide() -> str:
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"^## Ten minutes to a tested webhook\n(.*?)^## ", text, re.M | re.S)
    assert found
    return found[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", guide(), re.M | re.S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if is_so():
                return
        time.sleep(0.1)
    raise AssertionError(f"{what} is not so after {seconds} s")


@pytest.mark.slow
def test_its_lines_lead_from_an_empty_directory_to_a_full_checklist(tmp_path: Path) -> None:
    start, *steps = blocks("sh")
    assert start == "make run\n"  # tests/build holds that to be `hooklake run`
    port, dashboard_port = free_port(), free_port()
    (tmp_path / ".venv").symlink_to(HOOKLAKE.parents[1])
    known = {"HOOKLAKE_PORT": str(port), "HOOKLAKE_DASHBOARD_PORT": str(dashboard_port)}
    running = subprocess.Popen(
        [HOOKLAKE, "run"],
        cwd=tmp_path,
        env=environment(**known),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_for(lambda: httpx.get(ready).status_code == 200, "the receiver ready")
        script = "set -e\n" + "".join(steps).replace(":8080/", f":{port}/")
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=tmp_path,
            env=environment(**known),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"status":"accepted"' in done.stdout  # curl's, by the token
        assert "rejected: no proof" in done.stdout
        assert "rejected: not our secret" in done.stdout
        assert "14 of 14 seen and proved" in done.stdout
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(30)


def test_the_story_shown_is_one_and_ends_well(tmp_path: Path) -> None:
    [story] = blocks("toml")
    path = tmp_path / "late.toml"
    path.write_text(story)
    told = stories.told(stories.load(str(path)), 1, 0, date(2026, 1, 1))
    assert told.truth is not None
    [episode] = told.truth.episodes
    assert (episode.status, episode.notices, episode.cause) == ("recovered", 1, "non_renewal")
    [period] = told.truth.periods
    assert (period.plan_id, period.valid_to) == ("business", None)


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Self-signed, for this machine."""
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    openssl = shutil.which("openssl")
    if openssl is None:
        cannot_run("needs openssl")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", made.key, "-out", made.certificate, "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return made


def cannot_run(reason: str) -> NoReturn:
    """What the guide shows must have been tried in CI; elsewhere a program may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"this must be run in CI: {reason}")
    pytest.skip(reason)


def program(name: str, folder: Path) -> Path:
    """The installed program, else Debian's package unpacked into the folder; `cannot_run` else."""
    for known in (shutil.which(name), f"/usr/sbin/{name}"):
        if known and Path(known).exists():
            return Path(known)
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        cannot_run(f"needs {name}")
    folder.mkdir()
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run([apt, "download", name], cwd=folder, capture_output=True, timeout=90)
    for package in folder.glob(f"{name}_*.deb"):
        subprocess.run([dpkg, "-x", package, folder], check=True)
    found = next((path for path in folder.rglob(name) if path.parent.name in ("bin", "sbin")), None)
    if found is None or subprocess.run([found, "-v"], capture_output=True).returncode not in (0, 1):
        cannot_run(f"needs {name}; apt-get download gave none that runs here")
    return found


def get(url: str) -> int:
    return httpx.get(url, verify=False).status_code  # noqa: S501  (self-signed)


@contextlib.contextmanager
def serving(command: list[Any], url: str, **env: str) -> Iterator[None]:
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(**env),
    )
    try:
        wait_for(lambda: get(url) == 404, "the proxy up", 20)
        yield
    finally:
        running.terminate()
        running.communicate(timeout=20)


def check_proxy(receiver: Receiver, url: str, certificate: Certificate) -> None:
    """Proofs survive the proxy to the byte, limits hold, and nothing but the webhook is reached."""
    hook = f"{url}/webhooks/uchat"
    [token] = [each.value for each in receiver.settings.tokens]
    for scheme in ("standard", "token"):
        done = subprocess.run(
            [
                *(HOOKLAKE, "trigger", "plan_changed", "--scheme", scheme),
                *("--url", hook, "--data-dir", receiver.data_dir),
            ],
            env=environment(SSL_CERT_FILE=str(certificate.certificate)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with httpx.Client(verify=False) as client:  # noqa: S501  (self-signed)
        sent = client.post(f"{hook}/{token}", content=BODY)
        assert (sent.status_code, sent.json()["status"]) == (200, "accepted")
        assert client.post(f"{hook}/{token[:-1]}", content=BODY).status_code == 401
        whole = BODY[:-1] + b" " * ((1 << 20) - len(BODY)) + b"}"
        assert client.post(f"{hook}/{token}", content=whole).status_code == 200
        for more in (1, 1, 1, 1_000_000, 4_000_000, 4_000_000):
            too_large = client.post(f"{hook}/{token}", content=whole + b" " * more)
            assert too_large.status_code == 413, more
        for path in ("/", "/metrics", "/readyz", "/healthz", "/webhooks", "/openapi.json"):
            assert client.get(url + path).status_code == 404, path
        receiver.kill()
        assert client.post(f"{hook}/{token}", content=BODY).status_code == 502


@pytest.mark.slow
def test_nginx_hands_deliveries_on_and_logs_no_token(
    receiver: Receiver, certificate: Certificate, tmp_path: Path
) -> None:
    nginx = program("nginx", tmp_path / "nginx")
    [site] = blocks("nginx")
    logs, port = tmp_path / "logs", free_port()
    logs.mkdir()
    for shown, ours in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(certificate.certificate)),
        (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(certificate.key)),
        ("127.0.0.1:8080", f"127.0.0.1:{receiver.port}"),
        ("/var/log/nginx", str(logs)),
    ):
        assert shown in site
        site = site.replace(shown, ours)
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {tmp_path}/nginx.pid; error_log {logs}/error.log;"
        f" events {{}} http {{ access_log {logs}/access.log; {temporary}\n{site}\n}}"
    )
    command = [nginx, "-c", configuration, "-e", logs / "error.log"]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "warn" not in tested.stderr
    with serving(command, f"https://127.0.0.1:{port}/"):
        [token] = [each.value for each in receiver.settings.tokens]
        check_proxy(receiver, f"https://127.0.0.1:{port}", certificate)
    written = "".join(path.read_text() for path in logs.iterdir())
    assert "GET /metrics" in written
    assert token not in written
    assert token[:-1] not in written


@pytest.mark.slow
def test_caddy_hands_deliveries_on_and_logs_no_token(
    receiver: Receiver, certificate: Certificate, tmp_path: Path
) -> None:
    caddy = program("caddy", tmp_path / "caddy")
    [site] = blocks("caddyfile")
    port = free_port()
    assert site.startswith("{\n")
    assert f"\n{NAME} {{\n" in site
    tls = f"\ttls {certificate.certificate} {certificate.key}\n"
    site = site.replace(f"{NAME} {{\n", f"https://127.0.0.1:{port} {{\n{tls}", 1)
    site = site.replace("127.0.0.1:8080", f"127.0.0.1:{receiver.port}")
    configuration = tmp_path / "Caddyfile"
    configuration.write_text(site.replace("{\n", "{\n\tadmin off\n", 1))
    homes = {
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    arguments = ["--config", configuration, "--adapter", "caddyfile"]
    tested = subprocess.run(
        [caddy, "validate", *arguments],
        env=environment(**homes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stderr
    log = tmp_path / "caddy.log"
    command = ["/bin/sh", "-c", f'exec "$@" >"{log}" 2>&1', "sh", caddy, "run", *arguments]
    with serving(command, f"https://127.0.0.1:{port}/", **homes):
        check_proxy(receiver, f"https://127.0.0.1:{port}", certificate)
    [token] = [each.value for each in receiver.settings.tokens]
    written = log.read_text()
    assert "serving initial configuration" in written
    assert token[:-1] not in written


def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    [unit] = blocks("ini")
    shown = "/srv/hooklake/.venv/bin/hooklake"
    assert shown in unit
    for instance in ("serve", "refresh", "dashboard"):
        assert f"hooklake@{instance}" in guide()
        path = tmp_path / f"hooklake@{instance}.service"
        path.write_text(unit.replace(shown, str(HOOKLAKE)))
        done = subprocess.run(
            [analyze, "verify", "--man=no", path], capture_output=True, text=True, check=False
        )
        ours = [line for line in done.stderr.splitlines() if "hooklake" in line]
        assert ours == [], done.stderr
        bad = tmp_path / f"hooklake@bad{instance}.service"
        bad.write_text(path.read_text().replace("Restart=always", "Restart=sometimes"))
        again = subprocess.run(
            [analyze, "verify", "--man=no", bad], capture_output=True, text=True, check=False
        )
        assert "sometimes" in again.stderr  # it would have said so
