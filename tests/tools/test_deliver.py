"""Sending: retries, lost connections, refusals, and a year that arrives exactly once."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from receiver_process import Receiver

from ingest import simulate
from ingest.deliver import (
    Answer,
    Delivery,
    ReceiverAbsentError,
    ReceiverRefusedError,
    Tally,
    Target,
    receiver_url,
    request_bytes,
    send_all,
    send_one,
    signer_of,
)
from ingest.errors import UsageError
from ingest.ledger import open_read_only, read_counters
from ingest.lifecycles import in_time_order, lives
from ingest.population import World
from ingest.settings import NamedSecret, Settings
from ingest.sign import Envelope, SigningError

TODAY = datetime.now(UTC).date()
MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), UTC)


def unsigned(_envelope: Envelope) -> dict[str, str]:
    return {}


def numbered(count: int) -> list[Delivery]:
    return [Delivery(json.dumps({"n": n}).encode(), f"msg_{n}") for n in range(count)]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # five, the default, would make the 32 connections wait for seconds

    def handle_error(self, *_: object) -> None:
        """A client that left is no error here."""


@contextmanager
def server(
    answer: Callable[[http.server.BaseHTTPRequestHandler, bytes], None],
) -> Iterator[str]:
    """A real HTTP server whose every POST is answered by `answer(handler, body)`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            """Quiet."""

    running = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/webhooks/uchat"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    verdict: str = "accepted",
    **headers: str,
) -> None:
    body = json.dumps({"status": verdict}).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_503_is_tried_again_and_a_lost_connection_too() -> None:
    seen: Counter[bytes] = Counter()
    lock = threading.Lock()

    def answer(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        with lock:
            seen[body] += 1
            attempt = seen[body]
        number = json.loads(body)["n"]
        if attempt == 1 and number % 3 == 0:
            reply(handler, 503, "busy", Retry_After="0")
        elif attempt == 1 and number % 3 == 1:
            handler.close_connection = True  # never answered
        else:
            reply(handler, 200)

    with server(answer) as url:
        tally = send_all(url, numbered(30), unsigned, connections=4)
    assert tally.verdicts == {"accepted": 30}
    assert tally.retried == 20
    assert sum(seen.values()) == 50


def test_the_wait_that_the_receiver_asks_for_is_kept() -> None:
    attempts = 0

    def answer(handler: http.server.BaseHTTPRequestHandler, _body: bytes) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            reply(handler, 503, "busy", Retry_After="1")
        else:
            reply(handler, 200)

    with server(answer) as url:
        tally = send_all(url, numbered(1), unsigned)
    assert tally.seconds >= 1


def test_an_answer_that_closes_the_connection_is_followed_by_a_new_one() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.close_connection = True
        reply(handler, 200, Connection="close")

    with server(answer) as url:
        tally = send_all(url, numbered(20), unsigned, connections=2)
    assert (tally.sent, tally.retried) == (20, 0)


def test_every_delivery_is_answered_to_the_caller() -> None:
    heard: list[tuple[str, int]] = []

    def hear(delivery: Delivery, answer: Answer) -> None:
        heard.append((delivery.delivery_id, answer.status))

    with server(lambda handler, _body: reply(handler, 202, "quarantined")) as url:
        tally = send_all(url, numbered(50), unsigned, on_answer=hear)
    assert tally.verdicts == {"quarantined": 50}
    assert sorted(heard) == sorted((f"msg_{n}", 202) for n in range(50))


def test_what_the_callback_raises_ends_the_sending() -> None:
    def refuse(_delivery: Delivery, _answer: Answer) -> None:
        raise ReceiverRefusedError("enough")

    with (
        server(lambda handler, _body: reply(handler, 401, "rejected")) as url,
        pytest.raises(ReceiverRefusedError, match="enough"),
    ):
        send_all(url, numbered(1_000), unsigned, on_answer=refuse)


def test_an_answer_that_is_no_http_is_no_answer() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.wfile.write(b"hello?\r\n\r\n")
        handler.close_connection = True

    with server(answer) as url, pytest.raises(ReceiverAbsentError, match="not HTTP"):
        send_one(url, numbered(1)[0], unsigned)


def test_nothing_listening_is_said_at_once() -> None:
    with pytest.raises(ReceiverAbsentError, match="hooklake serve"):
        send_all("http://127.0.0.1:9/webhooks/uchat", numbered(5), unsigned)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://127.0.0.1/",
        "http://",
        "http://user:word@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX-Injected: 1",
        "http://exämple/",
    ],
)
def test_an_url_that_cannot_be_sent_to_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        Target.of(url)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/webhooks/uchat"),
        ("https://[::1]:8080?x=/", "https://[::1]:8080/webhooks/uchat?x=/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("https://hooks.example.com/other/path", "https://hooks.example.com/other/path"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://", "http://"),
        ("ftp://host", "ftp://host"),
        (None, "http://127.0.0.1:8080/webhooks/uchat"),
    ],
)
def test_an_url_without_a_path_means_the_webhooks(given: str | None, expected: str) -> None:
    assert receiver_url(Settings(), given) == expected


def test_targets_keep_port_query_and_ipv6() -> None:
    assert (Target.of("https://h/x?y=1").port, Target.of("https://h/x?y=1").path) == (443, "/x?y=1")
    assert Target.of("http://[::1]:8080/x").host == "::1"
    assert Target.of("http://[::1]:8080/x").authority == "[::1]:8080"


def test_a_header_value_cannot_smuggle_another_header() -> None:
    def smuggler(_envelope: Envelope) -> dict[str, str]:
        return {"webhook-id": "a\r\nX-Injected: 1"}

    with pytest.raises(SigningError, match="webhook-id"):
        request_bytes(Target.of("http://h/"), numbered(1)[0], smuggler, 0)


def test_the_first_accepted_scheme_with_a_secret_signs(tmp_path: Path) -> None:
    key = NamedSecret("one", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    other = NamedSecret("two", "not-a-standard-key")
    token = NamedSecret("url", "t0ken")

    def names(
        verify: str, secrets: tuple[NamedSecret, ...], tokens: tuple[NamedSecret, ...]
    ) -> set[str]:
        settings = Settings(data_dir=tmp_path, verify=verify, secrets=secrets, tokens=tokens)  # type: ignore[arg-type]
        return set(signer_of(settings)(Envelope(b"{}", "m", 1)))

    standard = {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert names("standard,token", (other, key), (token,)) == standard
    assert names("standard,token", (), (token,)) == {"Authorization"}
    assert names("github,standard", (key,), ()) == {"X-Hub-Signature-256"}
    assert names("none", (), ()) == set()
    with pytest.raises(SigningError, match=r"secrets\.env"):
        names("standard,token", (), ())


def test_a_simulated_year_is_accepted_once_and_then_only_duplicate(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    def simulated(seed: int) -> dict[str, int]:
        assert simulate.run(receiver.settings, 60, seed, until=TODAY, as_json=True) == 0
        summary: dict[str, int] = json.loads(capsys.readouterr().out)
        return summary

    first, again = simulated(3), simulated(3)
    expected = sum(1 for _ in in_time_order(lives(World(3, 60, MIDNIGHT))))
    assert (first["sent"], first["accepted"], first["duplicate"]) == (expected, expected, 0)
    assert (again["sent"], again["accepted"], again["duplicate"]) == (expected, 0, expected)
    assert simulated(4)["duplicate"] == 0


def test_the_receiver_killed_in_the_middle_has_everything_once_after_its_return(
    receiver: Receiver,
) -> None:
    world = World(11, 150, MIDNIGHT)
    expected = sum(1 for _ in in_time_order(lives(world)))
    settings, port = receiver.settings, receiver.port
    restarts: list[threading.Thread] = []

    def restart() -> None:
        receiver.kill()
        receiver.start(port)

    def on_sent(_reached: datetime, sent: int) -> None:
        if sent == expected // 2 and not restarts:
            restarts.append(threading.Thread(target=restart))
            restarts[0].start()

    tally: Tally = simulate.send_world(
        world, settings.webhook_url, signer_of(settings), on_sent=on_sent
    )
    restarts[0].join()
    assert tally.sent == expected
    assert set(tally.verdicts) <= {"accepted", "duplicate"}
    receiver.stop()
    with open_read_only(settings.paths.ledger) as ledger:
        assert read_counters(ledger)["events"] == expected


def test_a_receiver_with_other_secrets_ends_the_simulation_with_the_reason(
    receiver: Receiver,
) -> None:
    other = receiver.settings.model_copy(
        update={"secrets": (NamedSecret("x", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),)}
    )
    with pytest.raises(ReceiverRefusedError, match="401"):
        simulate.run(other, 20, 1, as_json=True)


@pytest.mark.parametrize(
    ("accounts", "days", "until"),
    [(0, 365, TODAY), (1, 0, TODAY), (1, 4_000, TODAY), (1, 1, TODAY + timedelta(days=1))],
)
def test_a_world_that_cannot_be_is_a_usage_error(
    tmp_path: Path, accounts: int, days: int, until: object
) -> None:
    with pytest.raises(UsageError, match="cannot simulate"):
        simulate.run(Settings(data_dir=tmp_path), accounts, 1, days=days, until=until)  # type: ignore[arg-type, call-arg]
