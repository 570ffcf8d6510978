"""The sender's half of trust: headers that prove a body, in every scheme hooklake verifies.

Pure: the same arguments give the same headers. It shares no code with `verify`, so that a mistake
in one cannot hide in the other.
Source: events.md's trust table; Standard Webhooks specification; the signing pages of Stripe,
GitHub, Shopify and Slack, read 2026-11.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ingest.errors import UsageError

STANDARD_PREFIX: Final = "whsec_"
STANDARD_KEY_BYTES_MIN: Final = 16


class SigningError(UsageError):
    """A body cannot be signed so: unknown scheme, or a secret of the wrong form."""

    code = "signing"


@dataclass(frozen=True)
class HmacTemplate:
    """How scheme `hmac` signs: the template has `{body}` and perhaps `{timestamp}` in it."""

    header: str = "X-Signature"
    prefix: str = ""
    template: str = "{timestamp}.{body}"
    algorithm: str = "sha256"
    encoding: str = "hex"
    timestamp_header: str = "X-Timestamp"


@dataclass(frozen=True)
class Envelope:
    """What is signed. `timestamp`: whole Unix seconds of the sending, not of what happened."""

    body: bytes
    delivery_id: str
    timestamp: int


def signed_headers(
    scheme: str,
    envelope: Envelope,
    secret: str,
    hmac_template: HmacTemplate | None = None,
) -> dict[str, str]:
    """Headers that satisfy `scheme` for the envelope; none of them is Content-Type.

    Raises:
        SigningError: the scheme is unknown, or the secret cannot be a key of it.
    """
    if scheme == "hmac":
        return _hmac(envelope, secret, hmac_template or HmacTemplate())
    if scheme not in _SIGNERS:
        known = ", ".join(sorted([*_SIGNERS, "hmac"]))
        raise SigningError(f"cannot sign with the scheme {scheme!r}: choose one of {known}")
    return _SIGNERS[scheme](envelope, secret)


def _standard(envelope: Envelope, secret: str) -> dict[str, str]:
    signed = b"%s.%d.%s" % (envelope.delivery_id.encode(), envelope.timestamp, envelope.body)
    digest = hmac.digest(_standard_key(secret), signed, hashlib.sha256)
    return {
        "webhook-id": envelope.delivery_id,
        "webhook-timestamp": str(envelope.timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _standard_key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(STANDARD_PREFIX) or len(key) < STANDARD_KEY_BYTES_MIN:
        raise SigningError(
            f"the signing secret is no key of the scheme standard: it must be {STANDARD_PREFIX}"
            f" and then base64 of at least {STANDARD_KEY_BYTES_MIN} bytes"
        )
    return key


def _stripe(envelope: Envelope, secret: str) -> dict[str, str]:
    signed = b"%d.%s" % (envelope.timestamp, envelope.body)
    return {"Stripe-Signature": f"t={envelope.timestamp},v1={_hex(secret, signed)}"}


def _github(envelope: Envelope, secret: str) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={_hex(secret, envelope.body)}"}


def _shopify(envelope: Envelope, secret: str) -> dict[str, str]:
    digest = hmac.digest(secret.encode(), envelope.body, hashlib.sha256)
    return {"X-Shopify-Hmac-SHA256": base64.b64encode(digest).decode()}


def _slack(envelope: Envelope, secret: str) -> dict[str, str]:
    signed = b"v0:%d:%s" % (envelope.timestamp, envelope.body)
    return {
        "X-Slack-Signature": f"v0={_hex(secret, signed)}",
        "X-Slack-Request-Timestamp": str(envelope.timestamp),
    }


def _token(_envelope: Envelope, secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _none(_envelope: Envelope, _secret: str) -> dict[str, str]:
    return {}


def _hmac(envelope: Envelope, secret: str, how: HmacTemplate) -> dict[str, str]:
    # The body goes in last: a body that holds the text {timestamp} must not be filled in.
    before, body, after = how.template.replace("{timestamp}", str(envelope.timestamp)).partition(
        "{body}"
    )
    signed = before.encode() + (envelope.body if body else b"") + after.encode()
    try:
        digest = hmac.digest(secret.encode(), signed, how.algorithm)
    except ValueError as error:
        raise SigningError(f"cannot sign with the algorithm {how.algorithm!r}: {error}") from None
    text = base64.b64encode(digest).decode() if how.encoding == "base64" else digest.hex()
    headers = {how.header: how.prefix + text}
    if "{timestamp}" in how.template and how.timestamp_header:
        headers[how.timestamp_header] = str(envelope.timestamp)
    return headers


def _hex(secret: str, signed: bytes) -> str:
    return hmac.digest(secret.encode(), signed, hashlib.sha256).hex()


_SIGNERS: Final[dict[str, Callable[[Envelope, str], dict[str, str]]]] = {
    "standard": _standard,
    "stripe": _stripe,
    "github": _github,
    "shopify": _shopify,
    "slack": _slack,
    "token": _token,
    "none": _none,
}
