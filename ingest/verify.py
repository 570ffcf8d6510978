"""Proves who sent a delivery: raw bytes and headers in, a verdict out. Pure, never raises.

Each scheme reads its own headers strictly and fails closed; one satisfied scheme suffices. Every
active secret is tried, so the time taken does not tell which one matched.

Source: events.md, "Trust"; Standard Webhooks; the documentation of Stripe, GitHub, Shopify and
Slack webhooks, 2026-11.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ingest.settings import Settings

Reason = Literal[
    "missing_header",
    "repeated_header",
    "malformed_header",
    "stale_timestamp",
    "future_timestamp",
    "wrong_signature",
    "missing_token",
    "unknown_token",
]

WINDOW_SECONDS: Final = 300
_TIMESTAMP: Final = re.compile(rb"[0-9]{10}")
_HEX_SHA256: Final = re.compile(rb"[0-9a-f]{64}")
_BASE64_SHA256: Final = re.compile(rb"[A-Za-z0-9+/]{43}=")
_DELIVERY_ID: Final = re.compile(rb"[\x21-\x7e]{1,256}")  # visible ASCII
_SIGNATURE_VERSION: Final = re.compile(rb"[a-zA-Z0-9]{1,16}")
_STANDARD_HEADERS: Final = tuple(
    (family, tuple(f"{family}-{part}".encode() for part in ("id", "timestamp", "signature")))
    for family in ("webhook", "svix")
)
_DIGEST_BYTES: Final = {"sha1": 20, "sha256": 32, "sha512": 64}


@dataclass(frozen=True)
class Verified:
    """delivery_id, signed_at (microseconds): only what the signature covers, else None.

    An exact replay of a request with either is known again by the event_id made of them.
    """

    scheme: str
    key_name: str
    delivery_id: str | None = None
    signed_at: int | None = None


@dataclass(frozen=True)
class Refusal:
    """Why one scheme was not satisfied; `detail` is for a person and holds no secret."""

    scheme: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Rejected:
    refusals: tuple[Refusal, ...]

    @property
    def reason(self) -> str:
        """One sentence over all schemes."""
        return "; ".join(f"{refusal.scheme}: {refusal.detail}" for refusal in self.refusals)


class Headers:
    """A request's headers as raw bytes, by lower-case name, repetitions kept."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            self._values.setdefault(name.lower(), []).append(value)

    def __contains__(self, name: bytes) -> bool:
        return name in self._values

    def all(self, name: bytes) -> list[bytes]:
        return self._values.get(name, [])

    def one(self, scheme: str, name: str) -> bytes:
        """The header's only value. Raises: `_RefusalError` without one, or with two."""
        found = self._values.get(name.lower().encode(), ())
        if not found:
            raise _RefusalError(scheme, "missing_header", f"the header {name} is missing")
        if len(found) > 1:
            raise _RefusalError(scheme, "repeated_header", f"the header {name} is given twice")
        return found[0]


class _RefusalError(Exception):
    def __init__(self, scheme: str, reason: Reason, detail: str) -> None:
        self.refusal = Refusal(scheme, reason, detail)
        super().__init__(detail)


@dataclass(frozen=True)
class Request:
    """What is judged. now: Unix time in seconds. path_token: the URL's last segment, if any."""

    headers: Headers
    body: bytes
    now: float
    path_token: str | None = None


class Verifier:
    """The schemes and keys of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._secrets = settings.secrets
        self._tokens = settings.tokens
        self._standard_keys = [
            (secret.name, secret.standard_key) for secret in self._secrets if secret.standard_key
        ]
        self._plain_keys = [(secret.name, secret.value.encode()) for secret in self._secrets]
        checks: dict[str, Callable[[Request], Verified]] = {
            "standard": self._standard,
            "stripe": self._stripe,
            "github": self._github,
            "shopify": self._shopify,
            "slack": self._slack,
            "hmac": self._hmac,
            "token": self._token,
            "none": _none,
        }
        self._checks = [checks[scheme] for scheme in settings.verify]

    def verify(self, request: Request) -> Verified | Rejected:
        """The first satisfied scheme in the order of HOOKLAKE_VERIFY, or why each failed."""
        refusals = []
        for check in self._checks:
            try:
                return check(request)
            except _RefusalError as error:
                refusals.append(error.refusal)
        return Rejected(tuple(refusals))

    def _standard(self, request: Request) -> Verified:
        scheme, headers = "standard", request.headers
        families = [
            family for family, names in _STANDARD_HEADERS if any(name in headers for name in names)
        ]
        if len(families) > 1:
            raise _RefusalError(
                scheme, "repeated_header", "webhook-* and svix-* headers are both given"
            )
        family = families[0] if families else "webhook"
        delivery_id = headers.one(scheme, f"{family}-id")
        timestamp = headers.one(scheme, f"{family}-timestamp")
        signatures = headers.one(scheme, f"{family}-signature")
        if not _DELIVERY_ID.fullmatch(delivery_id):
            raise _RefusalError(
                scheme,
                "malformed_header",
                f"{family}-id is not 1 to 256 visible ASCII characters",
            )
        seconds = _timestamp(scheme, f"{family}-timestamp", timestamp)
        given = []
        for entry in signatures.split(b" "):
            version, comma, value = entry.partition(b",")
            if not comma or not _SIGNATURE_VERSION.fullmatch(version):
                raise _RefusalError(
                    scheme, "malformed_header", f"{family}-signature is not `v1,<base64>`"
                )
            if version == b"v1":
                if not _BASE64_SHA256.fullmatch(value):
                    raise _RefusalError(
                        scheme,
                        "malformed_header",
                        f"{family}-signature's v1 is not base64 of a SHA-256",
                    )
                given.append(value)
        if not given:
            raise _RefusalError(
                scheme, "malformed_header", f"{family}-signature has no v1 signature"
            )
        _check_window(scheme, seconds, request.now, WINDOW_SECONDS)
        signed = b"%b.%b.%b" % (delivery_id, timestamp, request.body)
        key_name = _match(scheme, self._standard_keys, signed, given, "sha256", _as_base64)
        return Verified(scheme, key_name, delivery_id.decode("ascii"), _microseconds(seconds))

    def _stripe(self, request: Request) -> Verified:
        scheme, name = "stripe", "Stripe-Signature"
        stamps, given = [], []
        for entry in request.headers.one(scheme, name).split(b","):
            key, equals, value = entry.partition(b"=")
            if not equals:
                raise _RefusalError(scheme, "malformed_header", f"{name} is not `t=…,v1=…`")
            if key == b"t":
                stamps.append(value)
            elif key == b"v1":
                if not _HEX_SHA256.fullmatch(value):
                    raise _RefusalError(
                        scheme, "malformed_header", f"{name}'s v1 is not 64 lower-case hex digits"
                    )
                given.append(value)
        if len(stamps) != 1 or not given:
            raise _RefusalError(
                scheme, "malformed_header", f"{name} needs one t= and at least one v1="
            )
        seconds = _timestamp(scheme, f"{name}'s t", stamps[0])
        _check_window(scheme, seconds, request.now, WINDOW_SECONDS)
        signed = stamps[0] + b"." + request.body
        key_name = _match(scheme, self._plain_keys, signed, given, "sha256", _as_hex)
        return Verified(scheme, key_name, signed_at=_microseconds(seconds))

    def _github(self, request: Request) -> Verified:
        scheme, name = "github", "X-Hub-Signature-256"
        value = request.headers.one(scheme, name)
        digits = value.removeprefix(b"sha256=")
        if digits == value or not _HEX_SHA256.fullmatch(digits):
            raise _RefusalError(
                scheme, "malformed_header", f"{name} is not `sha256=` and 64 lower-case hex digits"
            )
        key_name = _match(scheme, self._plain_keys, request.body, [digits], "sha256", _as_hex)
        return Verified(scheme, key_name)

    def _shopify(self, request: Request) -> Verified:
        scheme, name = "shopify", "X-Shopify-Hmac-SHA256"
        value = request.headers.one(scheme, name)
        if not _BASE64_SHA256.fullmatch(value):
            raise _RefusalError(scheme, "malformed_header", f"{name} is not base64 of a SHA-256")
        key_name = _match(scheme, self._plain_keys, request.body, [value], "sha256", _as_base64)
        return Verified(scheme, key_name)

    def _slack(self, request: Request) -> Verified:
        scheme, name = "slack", "X-Slack-Signature"
        value = request.headers.one(scheme, name)
        timestamp = request.headers.one(scheme, "X-Slack-Request-Timestamp")
        digits = value.removeprefix(b"v0=")
        if digits == value or not _HEX_SHA256.fullmatch(digits):
            raise _RefusalError(
                scheme, "malformed_header", f"{name} is not `v0=` and 64 lower-case hex digits"
            )
        seconds = _timestamp(scheme, "X-Slack-Request-Timestamp", timestamp)
        _check_window(scheme, seconds, request.now, WINDOW_SECONDS)
        signed = b"v0:%b:%b" % (timestamp, request.body)
        key_name = _match(scheme, self._plain_keys, signed, [digits], "sha256", _as_hex)
        return Verified(scheme, key_name, signed_at=_microseconds(seconds))

    def _hmac(self, request: Request) -> Verified:
        scheme, settings = "hmac", self._settings
        value = request.headers.one(scheme, settings.hmac_header)
        prefix = settings.hmac_prefix.encode()
        if not value.startswith(prefix):
            raise _RefusalError(
                scheme, "malformed_header", f"{settings.hmac_header} lacks its prefix"
            )
        given = value[len(prefix) :]
        size = _DIGEST_BYTES[settings.hmac_algorithm]
        if settings.hmac_encoding == "hex":
            encode, pattern = _as_hex, rb"[0-9a-f]{%d}" % (size * 2)
        else:
            encode = _as_base64
            padding = -size % 3
            pattern = rb"[A-Za-z0-9+/]{%d}={%d}" % ((size * 4 + 2) // 3, padding)
        if not re.fullmatch(pattern, given):
            raise _RefusalError(
                scheme,
                "malformed_header",
                f"{settings.hmac_header} is not {settings.hmac_encoding} of "
                f"{settings.hmac_algorithm}",
            )
        seconds: int | None = None
        timestamp = b""
        before, _, after = settings.hmac_template.partition("{body}")
        if "{timestamp}" in settings.hmac_template:
            timestamp = request.headers.one(scheme, settings.hmac_timestamp_header)
            seconds = _timestamp(scheme, settings.hmac_timestamp_header, timestamp)
            _check_window(scheme, seconds, request.now, settings.hmac_window_seconds)
        signed = b"".join(
            (
                before.encode().replace(b"{timestamp}", timestamp),
                request.body,
                after.encode().replace(b"{timestamp}", timestamp),
            )
        )
        key_name = _match(
            scheme, self._plain_keys, signed, [given], settings.hmac_algorithm, encode
        )
        return Verified(scheme, key_name, signed_at=_microseconds(seconds))

    def _token(self, request: Request) -> Verified:
        scheme, given = "token", []
        if request.path_token is not None:
            given.append(request.path_token.encode("utf-8", "surrogatepass"))
        if b"authorization" in request.headers:
            value = request.headers.one(scheme, "Authorization")
            if value[:7].lower() == b"bearer ":
                given.append(value[7:])
        header = self._settings.token_header
        if header and header.lower().encode() in request.headers:
            given.append(request.headers.one(scheme, header))
        if not given:
            raise _RefusalError(
                scheme, "missing_token", "no token in the URL or in Authorization: Bearer"
            )
        matched: str | None = None
        for token in self._tokens:
            known = token.value.encode()
            if sum(hmac.compare_digest(known, candidate) for candidate in given):
                matched = matched or token.name
        if matched is None:
            raise _RefusalError(scheme, "unknown_token", "the token is not one of HOOKLAKE_TOKENS")
        return Verified(scheme, matched)


def _none(_: Request) -> Verified:
    return Verified("none", "none")


def _as_hex(digest: bytes) -> bytes:
    return digest.hex().encode()


def _as_base64(digest: bytes) -> bytes:
    return base64.b64encode(digest)


def _timestamp(scheme: str, name: str, value: bytes) -> int:
    if not _TIMESTAMP.fullmatch(value):
        raise _RefusalError(
            scheme, "malformed_header", f"{name} is not Unix time in seconds (ten digits)"
        )
    return int(value)


def _check_window(scheme: str, seconds: int, now: float, window: int) -> None:
    """Exactly `window` whole seconds off is still allowed, both ways."""
    off = int(now) - seconds
    if off > window:
        raise _RefusalError(
            scheme, "stale_timestamp", f"the timestamp is {off} s old ({window} s are allowed)"
        )
    if off < -window:
        raise _RefusalError(
            scheme,
            "future_timestamp",
            f"the timestamp is {-off} s ahead of this machine's clock ({window} s are allowed)",
        )


def _match(
    scheme: str,
    keys: Sequence[tuple[str, bytes | None]],
    signed: bytes,
    given: Sequence[bytes],
    algorithm: str,
    encode: Callable[[bytes], bytes],
) -> str:
    """The name of the first key under which one of the given signatures is right."""
    matched: str | None = None
    for name, key in keys:
        if not key:
            continue
        expected = encode(hmac.digest(key, signed, algorithm))
        if sum(hmac.compare_digest(expected, candidate) for candidate in given):
            matched = matched or name
    if matched is None:
        raise _RefusalError(
            scheme, "wrong_signature", "no active secret makes this signature over these bytes"
        )
    return matched


def _microseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1_000_000
