"""A Postman collection that sends every event, signed anew at each press of Send.

Each request carries its own pre-request script, so a body may be edited at will and still be
believed. The secret is a variable of the collection: the file is to be kept like a secret.
Source: Postman Collection Format v2.1.0 (schema.getpostman.com), Postman sandbox API, read 2026-11.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any, Final

from ingest.deliver import Credential
from ingest.errors import UsageError
from ingest.sign import HmacTemplate

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
URL_VARIABLE: Final = "hooklake_url"
SECRET_VARIABLE: Final = "hooklake_secret"  # noqa: S105  (its name)

_BEGIN: Final = (
    "// What is signed must be what is sent: variables are filled in first, then never again.",
    "const crypto = require('crypto-js');",
    "const body = pm.variables.replaceIn(pm.request.body.raw);",
    "pm.request.body.update({ mode: 'raw', raw: body, options: { raw: { language: 'json' } } });",
    f"const secret = pm.variables.get('{SECRET_VARIABLE}');",
    f"if (!secret) throw new Error('set the variable {SECRET_VARIABLE} of this collection');",
    "const timestamp = String(Math.floor(Date.now() / 1000));",
    "const header = (key, value) => pm.request.headers.upsert({ key, value });",
    "const hex = (digest) => digest.toString(crypto.enc.Hex);",
    "const base64 = (digest) => digest.toString(crypto.enc.Base64);",
)
_SCHEMES: Final[dict[str, tuple[str, ...]]] = {
    "standard": (
        "const key = crypto.enc.Base64.parse(secret.replace(/^whsec_/, ''));",
        "const id = 'msg_' + crypto.lib.WordArray.random(12).toString();",
        "header('webhook-id', id);",
        "header('webhook-timestamp', timestamp);",
        "header('webhook-signature',",
        "  'v1,' + base64(crypto.HmacSHA256(`${id}.${timestamp}.${body}`, key)));",
    ),
    "stripe": (
        "const signature = hex(crypto.HmacSHA256(`${timestamp}.${body}`, secret));",
        "header('Stripe-Signature', `t=${timestamp},v1=${signature}`);",
    ),
    "github": ("header('X-Hub-Signature-256', 'sha256=' + hex(crypto.HmacSHA256(body, secret)));",),
    "shopify": ("header('X-Shopify-Hmac-SHA256', base64(crypto.HmacSHA256(body, secret)));",),
    "slack": (
        "const signature = hex(crypto.HmacSHA256(`v0:${timestamp}:${body}`, secret));",
        "header('X-Slack-Signature', 'v0=' + signature);",
        "header('X-Slack-Request-Timestamp', timestamp);",
    ),
    "token": ("header('Authorization', 'Bearer ' + secret);",),
}
_CHECK: Final = (
    "pm.test('the receiver has kept it', () => {",
    "  pm.expect(pm.response.code).to.equal(200);",
    "  pm.expect(pm.response.json().status).to.be.oneOf(['accepted', 'duplicate']);",
    "});",
)


def collection(
    url: str, credential: Credential, bodies: Iterable[tuple[str, bytes]]
) -> dict[str, Any]:
    """The collection: one request for each (name, body). Raises: UsageError for no UTF-8 body."""
    script = signing_script(credential.scheme, credential.hmac_template)
    return {
        "info": {
            "_postman_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"hooklake:{url}")),
            "name": "hooklake: partner webhooks",
            "description": "Every event, signed at each sending with the scheme"
            f" {credential.scheme}. Edit a body and press Send. The variable {SECRET_VARIABLE}"
            " holds the receiver's secret: share this file as you would share that.",
            "schema": SCHEMA,
        },
        "item": [_item(name, body, script) for name, body in bodies],
        "variable": [
            {"key": URL_VARIABLE, "value": url, "type": "string"},
            {"key": SECRET_VARIABLE, "value": credential.secret, "type": "string"},
        ],
    }


def signing_script(scheme: str, hmac_template: HmacTemplate) -> list[str]:
    """JavaScript for Postman's pre-request sandbox, by lines."""
    if scheme == "none":
        return []
    signing = _hmac(hmac_template) if scheme == "hmac" else _SCHEMES[scheme]
    # A block: the sandbox has globals of its own, and a second `const` of a name fails there.
    return ["{", *(f"  {line}" for line in (*_BEGIN, *signing)), "}"]


def _hmac(how: HmacTemplate) -> tuple[str, ...]:
    before, after = (
        f"{json.dumps(part)}.replace('{{timestamp}}', timestamp)"
        for part in how.template.split("{body}")
    )
    lines = [
        f"const digest = crypto.Hmac{how.algorithm.upper()}({before} + body + {after}, secret);",
        f"header({json.dumps(how.header)}, {json.dumps(how.prefix)} + {how.encoding}(digest));",
    ]
    if "{timestamp}" in how.template and how.timestamp_header:
        lines.append(f"header({json.dumps(how.timestamp_header)}, timestamp);")
    return tuple(lines)


def _item(name: str, body: bytes, script: list[str]) -> dict[str, Any]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "Postman can only send text, and this body is not UTF-8: print it with --as curl"
        ) from None
    return {
        "name": name,
        "event": [_script("prerequest", script), _script("test", list(_CHECK))],
        "request": {
            "method": "POST",
            "header": [{"key": "Content-Type", "value": "application/json"}],
            "body": {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}},
            "url": {"raw": f"{{{{{URL_VARIABLE}}}}}", "host": [f"{{{{{URL_VARIABLE}}}}}"]},
        },
        "response": [],
    }


def _script(listen: str, lines: list[str]) -> dict[str, Any]:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}
