"""`listen --forward-to`: an application gets what was received and believes it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import apsw
import pytest
from kept import keep, plan_changed, refuse

from ingest import forward, listen
from ingest.errors import UsageError
from ingest.forward import Forwarder
from ingest.ledger import open_ledger
from ingest.settings import NamedSecret, Settings
from ingest.verify import Headers, Request, Verified, Verifier

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = time.time_ns() // 1_000


class Application:
    """Keeps what it is sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.received: list[tuple[list[tuple[str, str]], bytes]] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        application = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                application.received.append((list(self.headers.items()), body))
                self.wfile.write(application.answer)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def application() -> Iterator[Application]:
    started = Application()
    yield started
    started.close()


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    secrets = (NamedSecret("s", SECRET),)
    return Settings(data_dir=tmp_path, secrets=secrets)  # type: ignore[call-arg]


@pytest.fixture
def connection(settings: Settings) -> Iterator[apsw.Connection]:
    opened = open_ledger(settings.paths.ledger)
    yield opened
    opened.close()


def forwarded(
    settings: Settings, url: str, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    assert (
        listen.run(settings, is_following=False, as_json=True, forward_to=url, allows_remote=False)
        == 0
    )
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_application_gets_the_very_bytes_and_believes_them(
    settings: Settings,
    connection: apsw.Connection,
    application: Application,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bodies = [
        b' {"event": "plan_changed", "data":{"plan":"free","email":"a@b.example"}} ',
        b"no json \xff",
    ]
    keep(connection, bodies[0], NOW, delivery_id="msg_1")
    keep(connection, bodies[0], NOW, delivery_id="msg_1")
    keep(connection, bodies[1], NOW, delivery_id="msg_2")
    refuse(connection, NOW)
    lines = forwarded(settings, application.url, capsys)
    assert [line["verdict"] for line in lines] == [
        *("accepted", "duplicate", "quarantined", "rejected")
    ]
    assert [line["forwarded"] and line["forwarded"]["status"] for line in lines] == [
        *(200, 200, 200, None)
    ]
    assert lines[0]["forwarded"]["body"] == "ok"
    assert [body for _, body in application.received] == [bodies[0], bodies[0], bodies[1]]
    verifier = Verifier(settings)
    for headers, body in application.received:
        raw = Headers([(name.encode(), value.encode()) for name, value in headers])
        found = verifier.verify(Request(raw, body, time.time()))
        assert isinstance(found, Verified)
    ids = [dict(headers)["webhook-id"] for headers, _ in application.received]
    assert ids == ["msg_1", "msg_1", "msg_2"]
    marks = [dict(headers)[forward.FORWARD_HEADER] for headers, _ in application.received]
    assert marks == ["1", "1", "3"]


def test_its_answer_is_shown_as_text_that_steers_nothing(
    settings: Settings,
    connection: apsw.Connection,
    application: Application,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    application.answer = b"HTTP/1.1 500 X\r\nConnection: close\r\n\r\n\x1b]0;owned\x07\nline" + (
        b"y" * 5_000_000
    )
    listen.run(settings, is_following=False, forward_to=application.url)
    line, answer = capsys.readouterr().out.splitlines()
    assert "plan_changed" in line
    assert answer.startswith("    -> 500 in ")
    assert "\\x1b]0;owned\\x07\\nline" in answer
    assert len(answer) < 260


def test_redirects_are_not_followed_and_silence_is_said(
    settings: Settings,
    connection: apsw.Connection,
    application: Application,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    application.answer = (
        f"HTTP/1.1 307 X\r\nLocation: {application.url}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    [line] = forwarded(settings, application.url, capsys)
    assert line["forwarded"]["status"] == 307
    assert len(application.received) == 1
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        [line] = forwarded(settings, nowhere, capsys)
        assert line["forwarded"]["status"] is None
        listen.run(settings, is_following=False, forward_to=nowhere)
        assert "-> no answer in " in capsys.readouterr().out
    application.answer = b"this is no HTTP\r\n\r\n"
    [line] = forwarded(settings, application.url, capsys)
    assert line["forwarded"]["status"] is None


def test_only_this_machine_unless_it_is_said_and_never_the_receiver_itself(
    settings: Settings,
) -> None:
    for url in ("http://192.0.2.1/", "http://hooks.example.com/x", "https://[2001:db8::1]/"):
        with pytest.raises(UsageError, match="--allow-remote"):
            Forwarder(settings, url)
        assert Forwarder(settings, url, allows_remote=True).url == url
    for url in ("http://127.0.0.1:8080/other", "http://localhost:8080/", "http://[::1]:8080/"):
        with pytest.raises(UsageError, match="this receiver itself"):
            Forwarder(settings, url, allows_remote=True)
    with pytest.raises(UsageError, match="cannot send"):
        Forwarder(settings, "file:///etc/passwd")
    assert Forwarder(settings, "http://localhost:3000/hook")


def test_only_what_is_shown_is_forwarded(
    settings: Settings, connection: apsw.Connection, application: Application
) -> None:
    keep(connection, plan_changed(event_id="e1"), NOW)
    keep(connection, plan_changed(event_id="e2", plan_id="business"), NOW)
    keep(connection, plan_changed(event_id="e2", plan_id="business"), NOW)
    listen.run(settings, is_following=False, where=["plan=business"], forward_to=application.url)
    assert [dict(headers)["webhook-id"] for headers, _ in application.received] == ["e2", "e2"]
