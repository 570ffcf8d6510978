"""`hooklake verify`: names the mistake behind a refused signature."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ingest.errors import UsageError
from ingest.explain import explain, parse_request, run
from ingest.settings import Settings
from ingest.sign import Envelope, signed_headers
from ingest.verify import Headers, Request

NOW = 1_790_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"event": "x", "data": {"b": 1, "a": "é"}}, ensure_ascii=False).encode()


def request(
    scheme: str,
    secret: str,
    *,
    sent: bytes = BODY,
    signed: bytes = BODY,
    at: int = NOW,
    replaced: dict[str, str] | None = None,
) -> Request:
    headers = signed_headers(scheme, Envelope(signed, "msg_1", at), secret) | (replaced or {})
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request(Headers(raw), sent, NOW)


def advice(settings: Settings, given: Request) -> str:
    (finding,) = explain(settings, given)
    assert not finding.is_satisfied
    return finding.advice


def only(scheme: str, secret: str = SECRET) -> Settings:
    return Settings(verify=scheme, secrets=secret)


def test_a_right_request_is_believed_and_the_key_named() -> None:
    settings = Settings(verify="standard", secrets=f"old={SECRET}")
    (finding,) = explain(settings, request("standard", SECRET))
    assert finding.is_satisfied
    assert "old" in finding.detail


@pytest.mark.parametrize(
    ("layout", "sent"),
    [
        ("compact", json.dumps(json.loads(BODY), ensure_ascii=False, separators=(",", ":"))),
        ("indented by 2", json.dumps(json.loads(BODY), ensure_ascii=False, indent=2)),
        ("sorted keys", json.dumps(json.loads(BODY), ensure_ascii=False, sort_keys=True)),
    ],
)
def test_a_body_that_was_written_again_is_told(layout: str, sent: str) -> None:
    # signed as the layout says, sent as BODY: the receiver must find the layout that was signed
    given = request("standard", SECRET, sent=BODY, signed=sent.encode())
    found = advice(only("standard"), given)
    assert "re-serialised" in found
    assert layout in found


def test_a_lost_line_break_is_told() -> None:
    given = request("github", "secret", sent=BODY, signed=BODY + b"\n")
    assert "line break" in advice(only("github", "secret"), given)


@pytest.mark.parametrize(("off", "side"), [(301, "behind"), (-7200, "ahead of")])
@pytest.mark.parametrize("scheme", ["standard", "stripe", "slack"])
def test_a_clock_that_is_off_is_told_in_seconds(scheme: str, off: int, side: str) -> None:
    found = advice(only(scheme), request(scheme, SECRET, at=NOW - off))
    assert f"{abs(off)} s {side}" in found


def test_base64_instead_of_hex_is_told() -> None:
    right = signed_headers("github", Envelope(BODY, "m", NOW), "secret")["X-Hub-Signature-256"]
    digest = bytes.fromhex(right.removeprefix("sha256="))
    wrong = {"X-Hub-Signature-256": "sha256=" + base64.b64encode(digest).decode()}
    given = request("github", "secret", replaced=wrong)
    assert "base64" in advice(only("github", "secret"), given)


def test_a_secret_used_as_text_is_told() -> None:
    import hashlib
    import hmac

    signed = b"msg_1.%d." % NOW + BODY
    digest = hmac.digest(SECRET.encode(), signed, hashlib.sha256)
    wrong = {"webhook-signature": "v1," + base64.b64encode(digest).decode()}
    found = advice(only("standard"), request("standard", SECRET, replaced=wrong))
    assert "its text as the key" in found


def test_another_secret_is_just_that() -> None:
    found = advice(only("standard"), request("standard", "whsec_" + "A" * 32))
    assert found == "another secret, or other bytes than were signed"


def test_a_missing_header_names_it() -> None:
    (finding,) = explain(only("standard"), Request(Headers([]), BODY, NOW))
    assert finding.reason == "missing_header"
    assert "webhook-id" in finding.detail


def test_no_finding_carries_a_secret() -> None:
    for scheme in ("standard", "stripe", "github", "shopify", "slack"):
        for finding in explain(only(scheme), request(scheme, "whsec_" + "B" * 32)):
            assert "MfKQ9r8" not in json.dumps(finding.as_dict())


def test_a_pasted_request_keeps_its_body_to_the_byte() -> None:
    raw = b"POST /webhooks/uchat/tok HTTP/1.1\r\nA: 1\r\nB:2\r\n\r\n{\r\n\r\n}\n"
    parsed = parse_request(raw, now=NOW)
    assert parsed.body == b"{\r\n\r\n}\n"
    assert parsed.path_token == "tok"
    assert parsed.headers.all(b"a") == [b"1"]


def test_curls_own_output_can_be_pasted() -> None:
    raw = b"> POST /webhooks/uchat HTTP/1.1\n> X-Signature: ab\n>\n{}"
    parsed = parse_request(raw, now=NOW)
    assert parsed.body == b"{}"
    assert parsed.headers.all(b"x-signature") == [b"ab"]


def test_a_paste_without_an_empty_line_is_explained() -> None:
    with pytest.raises(UsageError, match="empty line"):
        parse_request(b"A: 1\n", now=NOW)


def test_the_command_exits_0_only_if_the_request_is_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path, verify="token", tokens="right")
    for token, code in (("right", 0), ("wrong", 1)):
        pasted = tmp_path / "request"
        pasted.write_text(f"POST /webhooks/uchat/{token} HTTP/1.1\n\n{{}}")
        asked = {"body_file": None, "record": None, "now": None}
        assert run(settings, source=pasted, as_json=True, **asked) == code
        assert json.loads(capsys.readouterr().out)["verified"] is (code == 0)
