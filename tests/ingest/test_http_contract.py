"""Every row of the HTTP table, asked over real sockets."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from receiving import (
    PATH,
    TOKEN,
    Receiver,
    read_until_closed,
    registration,
    serving,
    sign,
    wait_until,
)

from ingest.contract import EVENT_TYPES
from ingest.http_protocol import REQUESTS_AHEAD_MAX

pytestmark = pytest.mark.alone

MIB = 1_048_576
HEADER_SECONDS = 5.0
BODY_SECONDS = 10.0


def request(target: str = PATH, *headers: str, body: bytes = b"", method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: receiver", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, f"no answer but {answer[:80]!r}"
    return int(found[1])


def says_close(answer: bytes) -> bool:
    return b"connection: close" in answer.partition(b"\r\n\r\n")[0].lower()


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


# -- what is stored, and how it is answered ------------------------------------------------------


def test_a_well_formed_delivery_is_accepted_with_its_id_and_type(receiver: Receiver) -> None:
    answer = receiver.post(
        b'{"event":"overdue","event_id":"http-1","data":{"email":"a@example.com"}}'
    )

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert (said["status"], said["event_id"], said["event_type"]) == (
        "accepted",
        "http-1",
        "overdue_payment",
    )


def test_the_same_event_again_is_a_duplicate_whichever_way_it_came(receiver: Receiver) -> None:
    body = registration("b@example.com", created_at="2024-04-01T09:00:00Z")
    first = receiver.post(body, "/webhooks/uchat", sign(body, message_id="http-2"))
    again = receiver.post(body, "/webhooks/uchat", sign(body, message_id="http-2"))

    assert (first.status, first.json()["status"]) == (200, "accepted")
    assert (again.status, again.json()["status"]) == (200, "duplicate")
    assert first.json()["event_id"] == again.json()["event_id"] == "http-2"


def test_an_id_used_for_another_event_is_answered_with_both_told_apart(receiver: Receiver) -> None:
    bodies = [
        b'{"event":"plan_changed","event_id":"http-3","data":{"email":"c@x.y","plan":"%b"}}' % plan
        for plan in (b"free", b"business", b"business")
    ]
    first, other, again = (receiver.post(body).json() for body in bodies)

    assert first["status"] == "accepted"
    assert "id_reused" not in first
    assert (other["status"], other["id_reused"]) == ("accepted", True)
    assert re.fullmatch(r"http-3~[0-9a-f]{12}", other["event_id"])
    assert (again["status"], again["event_id"]) == ("duplicate", other["event_id"])


def test_a_malformed_delivery_is_quarantined_with_every_reason_and_its_exact_bytes(
    receiver: Receiver,
) -> None:
    body = b'{"event": "workspace_created",  "data": {"workspace_name": "\xc3\xa9"}}'
    answer = receiver.post(body)

    assert answer.status == 202
    said = answer.json()
    assert said["status"] == "quarantined"
    assert {(error["field"], error["code"]) for error in said["errors"]} == {
        ("account_id", "missing"),
        ("workspace_id", "missing"),
    }
    assert all(set(error) == {"field", "code", "message"} for error in said["errors"])
    assert (body,) in receiver.query("select body from quarantine")


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe", b"[" * 70, b"null", b"\xef\xbb\xbf{}"])
def test_an_authentic_delivery_is_kept_whatever_its_bytes(receiver: Receiver, body: bytes) -> None:
    answer = receiver.post(body)

    assert answer.status == 202
    assert answer.json()["errors"][0]["field"] == "body"
    assert (body,) in receiver.query("select body from quarantine")


def test_an_unreadable_optional_field_is_a_warning_of_an_accepted_event(
    receiver: Receiver,
) -> None:
    answer = receiver.post(
        b'{"event":"overdue_payment","data":{"email":"d@example.com","amount":"much"}}'
    )

    assert answer.status == 200
    assert [(found["field"], found["code"]) for found in answer.json()["warnings"]] == [
        ("amount", "unreadable")
    ]


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({}, "/webhooks/uchat"),
        ({}, "/webhooks/uchat/wrong"),
        ({}, "/webhooks/uchat/%c3%a9%ff%00"),
        ({"Authorization": "Bearer wrong"}, "/webhooks/uchat"),
        ({"Authorization": f"Basic {TOKEN}"}, "/webhooks/uchat"),
        (
            {"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,a"},
            "/webhooks/uchat",
        ),
    ],
)
def test_what_is_not_proved_is_401_and_only_counted(
    receiver: Receiver, headers: dict[str, str], path: str
) -> None:
    before = receiver.counters()
    answer = receiver.post(registration("eve@example.com"), path, headers)

    assert answer.status == 401
    assert answer.json()["status"] == "rejected"
    assert answer.json()["reason"]
    assert receiver.counters() == before


def test_non_ascii_header_bytes_are_401(receiver: Receiver) -> None:
    headers = ("webhook-id: \xe9", "webhook-timestamp: \xb2\xb2", "webhook-signature: v1,\xff")
    answer = receiver.send(
        request("/webhooks/uchat", *headers, "Content-Length: 2", "Connection: close", body=b"{}")
    )

    assert status(answer) == 401


def test_each_proof_alone_suffices(receiver: Receiver) -> None:
    body = registration("f@example.com")
    by_url = receiver.post(body)
    by_bearer = receiver.post(body, "/webhooks/uchat", {"Authorization": f"Bearer {TOKEN}"})
    by_signature = receiver.post(body, "/webhooks/uchat", sign(body))
    beside_a_bad_one = receiver.post(body, PATH, {"webhook-id": "x"})

    assert [answer.status for answer in (by_url, by_bearer, by_signature, beside_a_bad_one)] == [
        200
    ] * 4


def test_the_content_type_does_not_matter(receiver: Receiver) -> None:
    for given in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x"):
        assert receiver.post(registration("g@x.y"), PATH, {"Content-Type": given}).status == 200


# -- what is refused before it is read -----------------------------------------------------------


@pytest.mark.parametrize("length", [MIB + 1, 10_000_000_000, 2**64 - 1])
def test_a_declared_length_over_the_limit_is_413_without_waiting_for_it(
    receiver: Receiver, length: int
) -> None:
    started = time.monotonic()
    answer = receiver.send(request(PATH, f"Content-Length: {length}", body=b"{"))

    assert status(answer) == 413
    assert says_close(answer)
    assert time.monotonic() - started < 5


def test_expect_100_continue_is_not_invited_to_send_too_much(receiver: Receiver) -> None:
    answer = receiver.send(request(PATH, f"Content-Length: {MIB + 1}", "Expect: 100-continue"))

    assert status(answer) == 413


def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_413(receiver: Receiver) -> None:
    assert receiver.post(b" " * MIB).status == 202
    assert receiver.post(b" " * (MIB + 1)).status == 413


def test_a_chunked_body_over_the_limit_is_413_and_one_below_is_read(receiver: Receiver) -> None:
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    head = request(PATH, "Transfer-Encoding: chunked", "Connection: close")
    fits = receiver.send(head + chunk * (MIB // 0x4000) + b"0\r\n\r\n")
    assert status(fits) == 202

    with receiver.socket() as opened:
        opened.sendall(head + chunk * (MIB // 0x4000) + b"1\r\n \r\n")
        answer = read_until_closed(opened)
    assert status(answer) == 413
    assert says_close(answer)


def test_a_chunked_delivery_is_accepted(receiver: Receiver) -> None:
    body = registration("h@example.com")
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    answer = receiver.send(
        request(PATH, "Transfer-Encoding: chunked", "Connection: close", body=chunks + b"0\r\n\r\n")
    )

    assert status(answer) == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x"])
def test_a_content_encoding_is_415(receiver: Receiver, encoding: str) -> None:
    assert receiver.post(b"x" * 50, PATH, {"Content-Encoding": encoding}).status == 415


@pytest.mark.parametrize("encoding", ["gzip, chunked", "chunked, chunked", "identity, chunked"])
def test_a_transfer_encoding_but_chunked_is_refused(receiver: Receiver, encoding: str) -> None:
    body = registration("coded@example.com")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer = receiver.send(request(PATH, f"Transfer-Encoding: {encoding}", body=chunks))

    assert status(answer) in (400, 415)
    assert says_close(answer)


@pytest.mark.parametrize("target", [PATH, "/healthz", "/nowhere"])
@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (400, ("Content-Length: 5", "Transfer-Encoding: chunked")),
        (400, ("Transfer-Encoding: chunked", "Content-Length: 5")),
        (400, ("Content-Length: 5", "Content-Length: 6")),
        (400, ("Content-Length: 5, 6",)),
        (400, ("Content-Length: +5",)),
        (400, ("Content-Length: " + "5" * 5000,)),
        (400, ("Transfer-Encoding: xchunked",)),
        (400, ("Transfer-Encoding: chunked, identity",)),
        (400, ("Bad\x00Header: x",)),
        (400, ("Content-Length : 5",)),
        (400, ("Content-Length: 5", "Content-Length: 5")),
        (400, ("X-Folded: a\r\n b", "Content-Length: 5")),
        (400, ("X-Bare: a\nX-Next: b", "Content-Length: 5")),
        (400, ("Host: another", "Content-Length: 5")),
        (431, ("X-Large: " + "a" * 16_384, "Content-Length: 5")),
        (431, ("X-Large: " + "a" * 300_000, "Content-Length: 5")),
        (431, (*(f"X-{number}: a" for number in range(64)), "Content-Length: 5")),
        (431, (*(f"X-{number}: a" for number in range(3000)), "Content-Length: 5")),
    ],
    ids=lambda value: None if isinstance(value, int) else value[0][:26],
)
def test_ambiguous_or_excessive_headers_are_refused_and_closed(
    receiver: Receiver, target: str, expected: int, headers: tuple[str, ...]
) -> None:
    method = "GET" if target == "/healthz" else "POST"
    before = receiver.counters()
    answer = receiver.send(request(target, *headers, body=b"0\r\n\r\n", method=method))

    assert status(answer) == expected
    assert says_close(answer)
    assert receiver.counters() == before


def test_64_header_fields_of_nearly_16_kib_are_still_taken(receiver: Receiver) -> None:
    body = registration("i@example.com")
    several = [f"X-{number}: {'a' * 240}" for number in range(61)]
    answer = receiver.send(
        request(PATH, *several, f"Content-Length: {len(body)}", "Connection: close", body=body)
    )

    assert status(answer) == 200


def test_an_over_long_url_is_431(receiver: Receiver) -> None:
    answer = receiver.send(request(f"/webhooks/uchat?{'a' * 20_000}", "Content-Length: 0"))

    assert status(answer) == 431


def test_an_offered_upgrade_changes_nothing_and_keeps_the_body(receiver: Receiver) -> None:
    for number, protocol in enumerate(("h2c", "websocket", "TLS/1.0")):
        body = registration(f"upgrade-{number}@example.com")
        upgrade = (f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings")
        asked = request(PATH, *upgrade, f"Content-Length: {len(body)}", body=body)
        closing = request(PATH, "Content-Length: 0", "Connection: close")
        answer = receiver.send(asked + closing)

        assert status(answer) == 200, protocol
        assert b'"accepted"' in answer
        assert answer.count(b"HTTP/1.1 ") == 2, "the connection goes on in HTTP/1.1"
        assert (body.decode(),) in receiver.query("select payload from inbox")


@pytest.mark.parametrize("ending", ["half", "reset"])
def test_fewer_bytes_than_declared_are_never_acknowledged(receiver: Receiver, ending: str) -> None:
    body = registration(f"short-{ending}@example.com")
    before = receiver.metric('hooklake_refused_total{reason="client_gone"}')
    with receiver.socket() as opened:
        opened.sendall(request(PATH, f"Content-Length: {len(body) + 1}", body=body))
        if ending == "half":
            opened.shutdown(socket.SHUT_WR)
            answer = read_until_closed(opened)
            assert not answer or status(answer) >= 400
        else:
            opened.close()
    wait_until(
        lambda: receiver.metric('hooklake_refused_total{reason="client_gone"}') > before,
        seconds=5,
        what="the receiver to notice that the client is gone",
    )
    kept = receiver.query("select payload from inbox union all select body from quarantine")
    assert (body.decode(),) not in kept
    assert (body,) not in kept


def test_who_sends_no_more_still_gets_every_answer(receiver: Receiver) -> None:
    body = registration("half-closed@example.com")
    delivery = request(PATH, f"Content-Length: {len(body)}", body=body)
    for asked, answers in (
        ([delivery], 1),
        ([delivery[:-1], delivery[-1:]], 1),
        ([delivery + request("/metrics", method="GET") + delivery], 3),
        ([delivery + b"\x01junk\r\n\r\n"], 1),
        ([delivery + b"POST /x HT"], 1),
    ):
        with receiver.socket() as opened:
            for piece in asked:
                opened.sendall(piece)
            opened.shutdown(socket.SHUT_WR)
            opened.settimeout(5)
            assert read_until_closed(opened).count(b"HTTP/1.1 200 OK") == answers


def test_pipelined_deliveries_are_each_answered_in_their_order(receiver: Receiver) -> None:
    bodies = [
        b'{"event":"user_registered","event_id":"pipe-%d","email":"p@x.y"}' % number
        for number in range(20)
    ]
    several = b"".join(request(PATH, f"Content-Length: {len(body)}", body=body) for body in bodies)
    answer = receiver.send(several + request("/healthz", "Connection: close", method="GET"))

    assert re.findall(rb'"event_id":"pipe-(\d+)"', answer) == [b"%d" % n for n in range(20)]
    assert answer.count(b"HTTP/1.1 200 OK") == 21


@pytest.mark.parametrize(
    ("more", "body", "code"),
    [
        ((), registration("pieces@example.com"), 200),
        ((), b'{"event":"user_registered"}', 202),
        (("Connection: close",), registration("pieces@example.com"), 200),
        (("Authorization: Bearer wrong", "Authorization: Bearer wrong"), b"{}", 401),
        (("Content-Encoding: gzip",), b"{}", 415),
        (("Content-Length: 3",), b"{}", 400),
    ],
)
def test_a_delivery_is_answered_alike_whole_and_in_pieces(
    receiver: Receiver, more: tuple[str, ...], body: bytes, code: int
) -> None:
    target = "/webhooks/uchat" if code == 401 else PATH
    whole = request(target, f"Content-Length: {len(body)}", *more, body=body)
    closing = request("/healthz", "Connection: close", method="GET")
    answers = []
    for pieces in (
        [whole],
        [whole[: -len(body)], body],
        [whole[:-1], whole[-1:]],
        [bytes([byte]) for byte in whole],
    ):
        with receiver.socket() as opened:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in (*pieces, closing):
                opened.sendall(piece)
                time.sleep(0.001)  # a packet of its own; its time decides nothing
            came = read_until_closed(opened)
        assert status(came) == code
        head, _, said = came.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        answer = json.loads(said[: int(fields[b"content-length"])])
        answers.append((sorted(fields.keys() - {b"date"}), sorted(answer)))

    assert all(answer == answers[0] for answer in answers), answers


@pytest.mark.parametrize("target", ["http://", "http://receiver"])
def test_a_target_without_a_path_is_400_also_behind_a_delivery(
    receiver: Receiver, target: str
) -> None:
    body = registration("target@example.com")
    delivery = request(PATH, f"Content-Length: {len(body)}", body=body)
    for size in (0, 2):
        wrong = request(target, f"Content-Length: {size}", body=b"{}"[:size])
        assert status(receiver.send(wrong)) == 400
        answers = receiver.send(delivery + wrong).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"200", b"400"]


def test_a_refusal_tells_head_the_length_it_tells_get(receiver: Receiver) -> None:
    lengths = []
    for method in ("GET", "HEAD"):
        closing = request("/nothing", "Connection: close", method=method)
        head, _, body = receiver.send(closing).partition(b"\r\n\r\n")
        assert bool(body) == (method == "GET")
        lengths.append(re.search(rb"content-length: (\d+)", head.lower()))
    assert all(lengths)
    assert lengths[0][1] == lengths[1][1] != b"0"


def test_only_so_many_requests_are_taken_ahead_of_their_answers(receiver: Receiver) -> None:
    ahead = request("/healthz", method="GET") * (REQUESTS_AHEAD_MAX + 200)
    answer = receiver.send(ahead)

    assert answer.count(b"HTTP/1.1 200 OK") == REQUESTS_AHEAD_MAX
    assert answer.count(b"HTTP/1.1 ") == REQUESTS_AHEAD_MAX + 1
    assert answer.count(b"HTTP/1.1 400 Bad Request") == 1


@pytest.mark.parametrize(
    "broken", [b"no request\r\n\r\n", b"POST / HTTP/1.1\r\nBad\x00: 1\r\n\r\n"]
)
def test_what_is_broken_behind_a_delivery_does_not_take_its_answer(
    receiver: Receiver, broken: bytes
) -> None:
    body = registration(f"before-{len(broken)}@example.com")
    answer = receiver.send(request(PATH, f"Content-Length: {len(body)}", body=body) + broken)

    assert status(answer) == 200
    assert b'"accepted"' in answer.split(b"HTTP/1.1 ")[1]
    assert answer.split(b"HTTP/1.1 ")[2].startswith(b"400")
    assert (body.decode(),) in receiver.query("select payload from inbox")


def test_who_waits_to_be_invited_is_invited_to_send_the_body(receiver: Receiver) -> None:
    body = registration("invited@example.com")
    with receiver.socket() as opened:
        opened.sendall(request(PATH, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert opened.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n")
        opened.sendall(body + request("/healthz", "Connection: close", method="GET"))
        assert status(read_until_closed(opened)) == 200


@pytest.mark.parametrize(
    "endless",
    [
        b"POST /" + b"a" * 100_000,
        b"POST / HTTP/1.1\r\nX: " + b"b" * 100_000,
        b"\r\n" * 50_000,
        request(PATH, "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\nX: " + b"c" * 100_000,
        request(PATH, "Transfer-Encoding: chunked") + b"1;x=" + b"d" * 100_000,
    ],
    ids=["target", "header", "empty lines", "trailer", "chunk extension"],
)
def test_what_has_no_end_is_refused_before_it_is_large(receiver: Receiver, endless: bytes) -> None:
    for pieces in ([endless], [endless[at : at + 4000] for at in range(0, len(endless), 4000)]):
        with receiver.socket() as opened:
            opened.settimeout(3)  # below the deadlines of header and body
            for piece in pieces:
                opened.sendall(piece)
            answer = read_until_closed(opened)
        assert status(answer) == 431
        assert receiver.get("/healthz").status == 200


def test_a_large_header_is_taken_in_whatever_pieces_it_comes(receiver: Receiver) -> None:
    body = registration("large-header@example.com")
    fields = ("X-Long: " + "a" * 7_000, "X-Longer: " + "b" * 6_000, "Connection: close")
    whole = request(PATH, f"Content-Length: {len(body)}", *fields, body=body)
    for size in (1_000, 5_000, len(whole)):
        with receiver.socket() as opened:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(whole), size):
                opened.sendall(whole[at : at + size])
                time.sleep(0.001)  # a packet of its own; its time decides nothing
            assert status(read_until_closed(opened)) == 200, size


def test_trailers_say_nothing_of_a_request(receiver: Receiver) -> None:
    body = registration("trailers@example.com")
    head = request("/webhooks/uchat", "Transfer-Encoding: chunked", "Connection: close")
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    for trailer, target, code in (
        ("Authorization: Bearer wrong\r\nHost: other\r\n", PATH, 200),
        (f"Authorization: Bearer {TOKEN}\r\n", "/webhooks/uchat", 401),
    ):
        first = head.replace(b"/webhooks/uchat", target.encode())
        last = b"0\r\n" + trailer.encode() + b"\r\n"
        for pieces in ([first + chunk + last], [first, chunk, last]):
            with receiver.socket() as opened:
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in pieces:
                    opened.sendall(piece)
                    time.sleep(0.01)  # a packet of its own; its time decides nothing
                assert status(read_until_closed(opened)) == code


def test_trailers_count_as_headers(receiver: Receiver) -> None:
    before = receiver.counters()
    trailers = "".join(f"X-{number}: {'a' * 1000}\r\n" for number in range(20)).encode()
    chunked = b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"
    answer = receiver.send(request(PATH, "Transfer-Encoding: chunked", body=chunked))

    assert status(answer) == 431
    assert receiver.counters() == before


def test_a_request_without_a_host_is_400(receiver: Receiver) -> None:
    answer = receiver.send(b"GET /healthz HTTP/1.1\r\n\r\n")

    assert status(answer) == 400
    assert status(receiver.send(b"GET /healthz HTTP/1.0\r\n\r\n")) == 200


# -- paths and methods ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/webhooks",
        "/webhooks/uchat/",
        f"{PATH}/",
        f"{PATH}/more",
        f"//{PATH}",
        "/webhooks/UChat",
        "/healthz/",
        "/docs",
        f"/webhooks/uchat%2f{TOKEN}/",
        f"/webhooks/uchat%2F{TOKEN}",
        f"/webhooks%2fuchat/{TOKEN}",
    ],
)
def test_any_other_path_is_404_without_a_redirect(receiver: Receiver, path: str) -> None:
    for body in (b"", b"x" * 3_000_000):
        answer = receiver.post(body, path)

        assert answer.status == 404
        assert "location" not in answer.headers
        assert answer.json()["status"] == "refused"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/webhooks/uchat"),
        ("GET", PATH),
        ("PUT", PATH),
        ("DELETE", "/webhooks/uchat"),
        ("POST", "/healthz"),
        ("POST", "/metrics"),
        ("OPTIONS", PATH),
        ("QUERY", PATH),
    ],
)
def test_another_method_is_405_and_says_which_is_allowed(
    receiver: Receiver, method: str, path: str
) -> None:
    answer = receiver.ask(method, path)

    assert answer.status == 405
    assert answer.headers["allow"]


# -- what watches over it ------------------------------------------------------------------------


def test_health_readiness_and_metrics_answer(receiver: Receiver) -> None:
    assert receiver.get("/healthz").status == 200
    ready = receiver.get("/readyz")
    assert (ready.status, ready.json()["status"]) == (200, "ready")
    assert ready.json()["free_bytes"] > 0

    accepted = 'hooklake_deliveries_total{event_type="user_registered",verdict="accepted"}'
    before = receiver.metric(accepted)
    refused_before = receiver.metric('hooklake_refused_total{reason="not_verified"}')
    receiver.post(registration("metric@example.com"))
    receiver.post(b"{}", "/webhooks/uchat")

    metrics = receiver.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert receiver.metric(accepted) == before + 1
    assert receiver.metric('hooklake_refused_total{reason="not_verified"}') == refused_before + 1
    for name in ("commit_seconds_count", "queue_bytes", "landing_lag_seconds"):
        assert f"\nhooklake_{name} ".encode() in metrics.body


def test_openapi_describes_every_path_with_an_example_the_receiver_takes(
    receiver: Receiver,
) -> None:
    document = receiver.get("/openapi.json").json()

    assert document["openapi"].startswith("3.")
    assert set(document["paths"]["/readyz"]["get"]["responses"]) == {"200", "503"}
    assert document["info"]["title"]
    assert document["info"]["version"]
    assert set(document["paths"]) == {
        "/webhooks/uchat",
        "/webhooks/uchat/{token}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    }
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if "operationId" in operation
    ]
    assert len(names) == len(set(names))
    for target in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        found = document
        for part in target.split("/"):
            found = found[part]
    post = document["paths"]["/webhooks/uchat"]["post"]
    assert set(post["responses"]) >= {"200", "202", "400", "401", "413", "415", "431", "503"}
    examples = post["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == set(EVENT_TYPES)
    for name, example in examples.items():
        answer = receiver.post(json.dumps(example["value"]).encode())
        assert (answer.status, answer.json()["event_type"]) == (200, name)
    assert TOKEN not in json.dumps(document)
    assert f"127.0.0.1:{receiver.port}" in document["servers"][0]["url"]


# -- time and crowds -----------------------------------------------------------------------------


def closes_after(
    opened: socket.socket, started: float, found: dict[str, object], name: str
) -> None:
    answer = read_until_closed(opened)
    found[name] = (time.monotonic() - started, status(answer) if answer else None)


@pytest.mark.slow
def test_stalled_headers_end_at_5_s_and_stalled_bodies_at_10_s(receiver: Receiver) -> None:
    """All at once, so that the test takes as long as the longest deadline."""
    whole = request(PATH, "Content-Length: 100")
    kept = registration("kept@example.com")
    delivery = request(PATH, f"Content-Length: {len(kept)}", body=kept)
    openings = {
        "silent": b"",
        "empty lines": b"\r\n\r\n",
        "after a delivery": delivery + b"POST /web",
        "half a line": b"POST /web",
        "half a header": whole[:-2],
        "after an answer": request("/healthz", method="GET") + b"GET /hea",
        "no body": whole,
        "half a body": whole + b"{",
        "half a chunk": request(PATH, "Transfer-Encoding: chunked") + b"5\r\n{",
    }
    header_only = set(openings) - {"no body", "half a body", "half a chunk"}
    found: dict[str, tuple[float, int | None]] = {}
    threads, sockets = [], []
    started = time.monotonic()
    for name, opening in openings.items():
        opened = socket.create_connection(("127.0.0.1", receiver.port), timeout=20)
        sockets.append(opened)
        opened.sendall(opening)
        thread = threading.Thread(target=closes_after, args=(opened, started, found, name))
        thread.start()
        threads.append(thread)
    dripping = socket.create_connection(("127.0.0.1", receiver.port), timeout=20)
    sockets.append(dripping)
    dripping.sendall(whole)
    thread = threading.Thread(target=closes_after, args=(dripping, started, found, "a drip"))
    thread.start()
    threads.append(thread)
    while thread.is_alive() and time.monotonic() - started < 15:
        try:
            dripping.sendall(b" ")
        except OSError:
            break
        thread.join(1.0)

    for thread in threads:
        thread.join(20)
    for opened in sockets:
        opened.close()
    for name, (seconds, code) in found.items():
        if name in header_only:
            assert HEADER_SECONDS - 0.5 < seconds < HEADER_SECONDS + 2, name
            assert code in (408, 200, None), name  # 200: what was asked before it stalled
        else:
            assert BODY_SECONDS - 0.5 < seconds < BODY_SECONDS + 3, name
            assert code == 408, name
    assert set(found) == {*openings, "a drip"}


def test_a_body_nobody_reads_does_not_hold_a_connection(receiver: Receiver) -> None:
    with receiver.socket() as opened:
        opened.settimeout(5)
        opened.sendall(request("/healthz", "Content-Length: 1000000", method="GET"))
        answer = read_until_closed(opened)

    assert status(answer) == 200


def test_bodies_that_never_end_hold_little_memory_and_give_way_to_others(tmp_path: Path) -> None:
    body = registration("through@example.com")
    with serving(tmp_path) as receiver, contextlib.ExitStack() as crowd:
        before = receiver.memory()
        stalled = [crowd.enter_context(receiver.socket()) for _ in range(64)]
        for one in stalled:
            one.sendall(request(PATH, f"Content-Length: {MIB}", body=b" " * (MIB - 1)))
        with receiver.socket() as opened:
            opened.settimeout(8)
            opened.sendall(request(PATH, f"Content-Length: {len(body)}", "Connection: close"))
            opened.sendall(body[:20])
            time.sleep(0.1)  # so that it comes in two reads
            opened.sendall(body[20:])
            assert status(read_until_closed(opened)) == 200
        wait_until(
            lambda: receiver.metric('hooklake_refused_total{reason="bodies_full"}') >= 56,
            seconds=8,
            what="the oldest bodies refused",
        )
        grown = receiver.memory() - before
        assert grown <= 16 * MIB, f"{grown / MIB:.1f} MiB"
        stalled[0].settimeout(5)
        answer = read_until_closed(stalled[0])
        assert status(answer) == 503
        assert b"retry-after" in answer.lower()
        assert json.loads(body_of(answer))["status"] == "unavailable"


@pytest.mark.alone
def test_hundreds_of_bodies_that_never_end_hold_little_more(tmp_path: Path) -> None:
    stalling = request(PATH, f"Content-Length: {MIB}", body=b" " * (MIB - 1))
    with serving(tmp_path) as receiver, contextlib.ExitStack() as crowd:
        before = peak = receiver.memory()
        for _ in range(500):
            one = crowd.enter_context(receiver.socket())
            one.setblocking(False)
            with contextlib.suppress(OSError):  # it fills, or has given way
                one.send(stalling)
            peak = max(peak, receiver.memory())
        wait_until(
            lambda: receiver.metric('hooklake_refused_total{reason="bodies_full"}') >= 100,
            seconds=8,
            what="the oldest bodies refused",
        )
        grown = max(peak, receiver.memory()) - before
        assert grown <= 24 * MIB, f"{grown / MIB:.1f} MiB"


def test_large_bodies_sent_at_once_are_all_taken(receiver: Receiver) -> None:
    bodies = [registration(f"large-{number}@example.com") for number in range(16)]
    with ThreadPoolExecutor(len(bodies)) as senders:
        answers = senders.map(lambda body: receiver.post(body.ljust(1_000_000)), bodies)
        assert [answer.status for answer in answers] == [200] * len(bodies)


@pytest.mark.alone
def test_large_bodies_that_come_slowly_beside_each_other_are_all_taken(receiver: Receiver) -> None:
    size, pieces = 1_000_000, 20

    def send(number: int) -> int:
        body = registration(f"slow-{number}@example.com").ljust(size)
        with receiver.socket() as opened:
            opened.settimeout(15)
            opened.sendall(request(PATH, f"Content-Length: {size}", "Connection: close"))
            for start in range(0, size, size // pieces):
                opened.sendall(body[start : start + size // pieces])
                time.sleep(0.1)  # half a megabyte a second
            return status(read_until_closed(opened))

    with ThreadPoolExecutor(24) as senders:
        assert list(senders.map(send, range(24))) == [200] * 24


def test_a_connection_too_many_is_told_that_it_is_our_trouble(tmp_path: Path) -> None:
    with serving(tmp_path, connections_max="1") as receiver, receiver.socket() as first:
        first.sendall(request(PATH, "Content-Length: 9", body=b"{"))
        answer = wait_until(
            lambda: b"too many" in (said := receiver.send(request("/healthz"))) and said,
            seconds=3,
            what="a connection refused",
        )
        assert status(answer) == 503
        assert b"retry-after" in answer.lower()
        assert json.loads(body_of(answer))["status"] == "unavailable"


def test_whoever_is_one_too_many_is_told_so_though_still_sending(tmp_path: Path) -> None:
    long = request(PATH, f"Content-Length: {MIB}", body=b" " * MIB)
    with serving(tmp_path, connections_max="1") as receiver, receiver.socket() as first:
        full_until = time.monotonic() + 0.8  # then the first one's body gives way
        first.sendall(request(PATH, "Content-Length: 9", body=b"{"))
        wait_until(
            lambda: b"too many" in receiver.send(request("/healthz")),
            seconds=0.5,
            what="a connection refused",
        )
        answers = []
        while time.monotonic() < full_until:
            with receiver.socket() as one_too_many:
                one_too_many.sendall(long)
                answers.append(status(read_until_closed(one_too_many)))
    assert answers
    assert set(answers) == {503}


def is_accepted(receiver: Receiver, body: bytes) -> bool:
    try:
        return receiver.post(body).status == 200
    except OSError:  # refused before it was read
        return False


@pytest.mark.slow
def test_neither_silent_nor_stalled_connections_lock_others_out(tmp_path: Path) -> None:
    cap = 32
    body = registration("in@example.com")
    with serving(tmp_path, connections_max=str(cap)) as receiver:
        for opening in (b"", b"POST /webh", request(PATH, "Content-Length: 9", body=b"{")):
            crowd = [receiver.socket() for _ in range(2 * cap)]
            opened = [one.__enter__() for one in crowd]
            try:
                for one in opened:
                    try:
                        one.sendall(opening)
                    except OSError:  # it has made room for a later one
                        continue
                wait_until(
                    lambda: is_accepted(receiver, body),
                    seconds=3,
                    what=f"an answer beside a crowd that sent {opening[:10]!r}",
                )
            finally:
                for one in opened:
                    one.close()


def test_no_token_secret_or_email_is_in_log_or_metrics(tmp_path: Path) -> None:
    with serving(tmp_path, log_level="debug") as receiver:
        email = "canary.person@example.com"
        body = registration(email, canary_field="canary_value")
        signed = sign(body)
        receiver.post(body)
        receiver.post(body, "/webhooks/uchat", signed)
        receiver.post(body, "/webhooks/uchat", {**signed, "webhook-signature": "v1,canary_sig"})
        receiver.post(body, "/webhooks/uchat/canary_token")
        receiver.post(body, "/canary_path\x1b[31m".replace("\x1b", "%1b"))
        receiver.post(b'{"event":"canary_type","email":"%b"}' % email.encode())
        receiver.post(b'{"event":"plan_changed","email":"%b","plan":[]}' % email.encode())
        receiver.post(b'{"canary_key":1,"canary_key":2}')
        metrics = receiver.get("/metrics").body.decode()
        assert receiver.stop() == 0
        said = receiver.said()

    for text in (said, metrics):
        assert "canary" not in text
        assert TOKEN not in text
        assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in text
        assert "\x1b" not in text


def test_refusals_are_counted_but_log_at_most_10_lines_a_minute(receiver: Receiver) -> None:
    before = receiver.metric('hooklake_refused_total{reason="not_verified"}')
    for _ in range(60):
        receiver.post(b"{}", "/webhooks/uchat")

    assert receiver.metric('hooklake_refused_total{reason="not_verified"}') == before + 60
    assert receiver.said().count('"event": "rejected"') <= 20  # it may straddle a minute
    assert receiver.get("/metrics").body.count(b"hooklake_refused_total{") < 30
