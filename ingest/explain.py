"""`hooklake verify`: why a request is or is not believed, in words a person can act on.

The verdict is the receiver's own. Where a signature is wrong, the usual mistakes are tried one by
one, and the one that makes it right is named: another encoding, a lost prefix, a secret used as
text instead of its decoded bytes, a clock that is off, a body that was parsed and written again.
Pure but for `run`, which reads the request.
"""

from __future__ import annotations

import base64
import hmac
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ingest.errors import UsageError
from ingest.ledger import open_read_only
from ingest.settings import Settings
from ingest.standard_streams import standard_input
from ingest.verify import Headers, Refusal, Rejected, Request, Verified, Verifier
from ingest.wording import number_of

_ADVICE: Final = {
    "missing_header": "the sender does not sign in this scheme, or a proxy drops the header",
    "repeated_header": "the header arrives twice; a proxy or the sender adds it again",
    "malformed_header": "the header is there but not written as the scheme demands",
    "stale_timestamp": "it was signed too long ago: a late retry, a replay, or a clock that is off",
    "future_timestamp": "the sender's clock is ahead of this machine's, or this one is behind",
    "wrong_signature": "another secret, or other bytes than were signed",
    "missing_token": "put a token of HOOKLAKE_TOKENS at the end of the URL",
    "unknown_token": "the token is none of HOOKLAKE_TOKENS; was it changed, or cut off?",
}
_ANY_TIME_SECONDS: Final = 10**10


@dataclass(frozen=True)
class Finding:
    """What is known of one scheme: `is_satisfied`, the refusal's reason, and what to do."""

    scheme: str
    is_satisfied: bool
    reason: str
    detail: str
    advice: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "scheme": self.scheme,
            "verified": self.is_satisfied,
            "reason": self.reason,
            "detail": self.detail,
            "advice": self.advice,
        }


def explain(settings: Settings, request: Request) -> list[Finding]:
    """One finding for each accepted scheme, in the order of HOOKLAKE_VERIFY."""
    findings = []
    for scheme in settings.verify:
        verdict = _verify(settings, scheme, request)
        if isinstance(verdict, Verified):
            detail = f"signed with {verdict.key_name}"
            findings.append(Finding(scheme, True, "verified", detail, "nothing is wrong"))
            continue
        refusal = verdict.refusals[0]
        advice = _diagnose(settings, refusal, request) or _ADVICE[refusal.reason]
        findings.append(Finding(scheme, False, refusal.reason, refusal.detail, advice))
    return findings


def parse_request(raw: bytes, *, path_token: str | None = None, now: float) -> Request:
    """A request as text: headers, one empty line, the body's exact bytes.

    A first line such as `POST /webhooks/uchat/<token> HTTP/1.1` may stand before the headers and
    `> ` (as curl -v prints) before each. Raises: UsageError.
    """
    head, separator, body = _split(raw)
    if not separator:
        raise UsageError("no empty line between headers and body; paste both, that line included")
    headers = []
    for number, line in enumerate(head.split(b"\n"), start=1):
        text = line.rstrip(b"\r").removeprefix(b"> ")
        if not text:
            continue
        name, colon, value = text.partition(b":")
        if number == 1 and (not colon or b" " in name.strip()):
            path_token = path_token or _token_of(text)
            continue
        if not colon:
            raise UsageError(f"line {number} is no header (`Name: value`)")
        headers.append((name.strip().lower(), value.strip()))
    return Request(Headers(headers), body, now, path_token)


def run(
    settings: Settings,
    *,
    source: Path | None,
    body_file: Path | None,
    record: int | None,
    now: float | None,
    as_json: bool,
) -> int:
    """Explain the request in `source` (default standard input) or a refused one; 0 if believed."""
    if record is not None:
        if source is not None or body_file is not None:
            raise UsageError(
                f"--record {record} explains a refused request as it was kept: leave out "
                f"{'FILE' if body_file is None else '--body'}, or leave out --record"
            )
        return _run_record(settings, record, as_json=as_json)
    moment = time.time() if now is None else now
    request = parse_request(_read(source), now=moment)
    if body_file is not None:
        request = Request(request.headers, _read(body_file), moment, request.path_token)
    findings = explain(settings, request)
    is_believed = any(finding.is_satisfied for finding in findings)
    if as_json:
        answer = {"verified": is_believed, "schemes": [found.as_dict() for found in findings]}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        lines = ["believed" if is_believed else "refused (401)"]
        for found in findings:
            mark = "yes" if found.is_satisfied else "no"
            lines.append(f"  {found.scheme:<9}{mark:<4}{found.detail}")
            if not found.is_satisfied:
                lines.append(f"  {'':<13}{found.advice}")
        sys.stdout.write("\n".join(lines) + "\n")
    return 0 if is_believed else 1


def _run_record(settings: Settings, record: int, *, as_json: bool) -> int:
    with open_read_only(settings.paths.ledger) as connection:
        row = connection.execute(
            "select rejection_id, received_at, reason, detail, body_bytes from rejections"
            " where rejection_id = ?",
            (record,),
        ).fetchone()
    if row is None:
        raise UsageError(f"no refused request is kept under {record}; only the newest 1,000 are")
    _, received_at, reason, detail, body_bytes = row
    reasons = [part for part in reason.split("+") if part in _ADVICE]
    received = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(received_at / 1_000_000))
    if as_json:
        answer = {
            "rejection_id": record,
            "received_at": received,
            "reasons": reasons,
            "detail": detail,
            "body_bytes": body_bytes,
            "advice": {part: _ADVICE[part] for part in reasons},
        }
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return 1
    lines = [
        f"refused at {received}, a body of {number_of(body_bytes, 'byte')} (not kept)",
        f"  {detail}",
    ]
    lines += [f"  {part}: {_ADVICE[part]}" for part in reasons]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1


def _verify(settings: Settings, scheme: str, request: Request) -> Verified | Rejected:
    return Verifier(settings.model_copy(update={"verify": (scheme,)})).verify(request)


def _diagnose(settings: Settings, refusal: Refusal, request: Request) -> str | None:
    """The one mistake that, mended, makes the signature right; None if none of the usual."""
    scheme = refusal.scheme
    if refusal.reason in ("stale_timestamp", "future_timestamp"):
        return _clock(settings, scheme, request)
    if scheme == "token" or refusal.reason not in ("wrong_signature", "malformed_header"):
        return None
    for what, body in _rewritten(request.body):
        changed = Request(request.headers, body, request.now, request.path_token)
        if isinstance(_verify(settings, scheme, changed), Verified):
            return f"the signature is right for {what}: sign and send the very same bytes"
    return _encoding(settings, scheme, request)


def _clock(settings: Settings, scheme: str, request: Request) -> str:
    """Whether only the moment is wrong, and by how much."""
    for seconds in _timestamps(scheme, settings, request.headers):
        moved = Request(request.headers, request.body, seconds, request.path_token)
        if isinstance(_verify(settings, scheme, moved), Verified):
            off = int(request.now) - seconds
            side = "behind" if off > 0 else "ahead of"
            return (
                f"secret and body are right, only the clock is off: the sender's is {abs(off)} s "
                f"{side} this machine's (or it is a late retry)"
            )
    return "the timestamp is off and the signature is wrong as well"


def _timestamps(scheme: str, settings: Settings, headers: Headers) -> Iterator[int]:
    names = {
        "standard": (b"webhook-timestamp", b"svix-timestamp"),
        "slack": (b"x-slack-request-timestamp",),
        "hmac": (settings.hmac_timestamp_header.lower().encode(),),
        "stripe": (b"stripe-signature",),
    }[scheme]
    for name in names:
        for value in headers.all(name):
            text = value
            if scheme == "stripe":
                parts = dict(part.partition(b"=")[::2] for part in value.split(b","))
                text = parts.get(b"t", b"")
            if text.isdigit() and int(text) < _ANY_TIME_SECONDS:
                yield int(text)


def _rewritten(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The body as other programs would have written it."""
    yield "the body without its last line break", body.rstrip(b"\r\n")
    yield "the body with a line break at its end", body + b"\n"
    yield "the body with Windows line breaks", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "the body with Unix line breaks", body.replace(b"\r\n", b"\n")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    for is_sorted in (False, True):
        for is_ascii in (False, True):
            for indent, separators, layout in (
                (None, (",", ":"), "compact"),
                (None, (", ", ": "), "spaced"),
                (2, None, "indented by 2"),
                (4, None, "indented by 4"),
            ):
                text = json.dumps(
                    document,
                    sort_keys=is_sorted,
                    ensure_ascii=is_ascii,
                    indent=indent,
                    separators=separators,
                )
                order = " with sorted keys" if is_sorted else ""
                yield f"re-serialised JSON ({layout}{order})", text.encode("utf-8", "replace")


def _encoding(settings: Settings, scheme: str, request: Request) -> str | None:
    """Whether the digest is right but written, or its key read, in another way."""
    header, algorithm = {
        "standard": (b"webhook-signature", "sha256"),
        "stripe": (b"stripe-signature", "sha256"),
        "github": (b"x-hub-signature-256", "sha256"),
        "shopify": (b"x-shopify-hmac-sha256", "sha256"),
        "slack": (b"x-slack-signature", "sha256"),
        "hmac": (settings.hmac_header.lower().encode(), settings.hmac_algorithm),
    }[scheme]
    given = b" ".join(request.headers.all(header) or request.headers.all(b"svix-signature"))
    if not given:
        return None
    for secret in settings.secrets:
        keys = [("its text", secret.value.encode())]
        if secret.standard_key is not None:
            keys.append(("the base64 behind whsec_", secret.standard_key))
            keys.append(("the text behind whsec_", secret.value.removeprefix("whsec_").encode()))
        for key_is, key in keys:
            for signed_is, signed in _signed_variants(scheme, settings, request):
                digest = hmac.digest(key, signed, algorithm)
                for written_as, text in (
                    ("lower-case hex", digest.hex().encode()),
                    ("upper-case hex", digest.hex().upper().encode()),
                    ("base64", base64.b64encode(digest)),
                    ("URL-safe base64", base64.urlsafe_b64encode(digest)),
                ):
                    if text in given or text.rstrip(b"=") in given:
                        return (
                            f"{secret.name} made this signature over {signed_is}, with {key_is} as "
                            f"the key, written as {written_as}; the scheme `{scheme}` wants it "
                            "otherwise (see the README's table of schemes)"
                        )
    return None


def _signed_variants(
    scheme: str, settings: Settings, request: Request
) -> Iterator[tuple[str, bytes]]:
    headers, body = request.headers, request.body
    yield "the body alone", body
    stamps = list(_timestamps(scheme, settings, headers)) if scheme in _STAMPED else []
    for stamp in stamps:
        text = str(stamp).encode()
        yield "timestamp.body", text + b"." + body
        yield "timestamp and body", text + body
        for name in (b"webhook-id", b"svix-id"):
            for delivery_id in headers.all(name):
                yield "id.timestamp.body", delivery_id + b"." + text + b"." + body


_STAMPED: Final = frozenset(("standard", "slack", "hmac", "stripe"))


def _split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    positions = [
        (raw.find(mark), mark)
        for mark in (b"\r\n\r\n", b"\n\n", b"\n>\n", b"\n> \n")
        if mark in raw
    ]
    if not positions:
        return raw, b"", b""
    position, mark = min(positions)
    return raw[:position], mark, raw[position + len(mark) :]


def _token_of(request_line: bytes) -> str | None:
    parts = request_line.split()
    if len(parts) < 2:
        return None
    path = parts[1].split(b"?")[0].decode("utf-8", "replace")
    head, _, token = path.rpartition("/")
    return token if head.endswith("/webhooks/uchat") and token else None


def _read(source: Path | None) -> bytes:
    if source is None or str(source) == "-":
        if sys.stdin.isatty():
            sys.stderr.write("paste the headers, an empty line and the body; end with Ctrl-D\n")
        return standard_input()
    try:
        return source.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from None
