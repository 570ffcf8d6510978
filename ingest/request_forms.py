"""A signed request shown instead of sent: as a shell command, or as an HTTP message."""

from __future__ import annotations

import base64
import shlex
import time
from typing import Final

from ingest.deliver import Delivery, Signer
from ingest.sign import Envelope

ARGUMENT_BYTES_MAX: Final = 100_000
"""Linux takes arguments of 128 KiB; only what a shell itself prints may be longer."""


def curl_line(url: str, delivery: Delivery, signer: Signer) -> str:
    """A shell command that sends the very bytes; its signature is good for five minutes."""
    words = ["curl", "-sS", "-X", "POST", url]
    for name, value in _headers(delivery, signer).items():
        words += ["-H", f"{name}: {value}"]
    text = _argument(delivery.body)
    if text is not None:
        return shlex.join([*words, "--data-binary", text])
    encoded = base64.b64encode(delivery.body).decode()
    return f"printf %s '{encoded}' | base64 -d | {shlex.join([*words, '--data-binary', '@-'])}"


def http_request(url: str, delivery: Delivery, signer: Signer) -> bytes:
    """The request as an editor's REST client and `hooklake verify` read it.

    It ends with the body's last byte: one more would make the signature wrong.
    """
    lines = [f"POST {url} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in _headers(delivery, signer).items()]
    return "\n".join([*lines, "", ""]).encode() + delivery.body


def _headers(delivery: Delivery, signer: Signer) -> dict[str, str]:
    envelope = Envelope(delivery.body, delivery.delivery_id, int(time.time()))
    return {"Content-Type": "application/json", **signer(envelope)}


def _argument(body: bytes) -> str | None:
    """The body as an argument of curl; None where a shell, a terminal or curl would change it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    is_plain = text.isprintable() and not text.startswith("@")
    return text if is_plain and len(body) <= ARGUMENT_BYTES_MAX else None
