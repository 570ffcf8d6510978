"""The Postman collection: importable, and its scripts sign what the receiver believes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from receiver_process import HOOKLAKE, environment

from ingest import postman
from ingest.deliver import Credential
from ingest.errors import UsageError
from ingest.samples import SAMPLE_NAMES
from ingest.settings import NamedSecret, Settings
from ingest.sign import HmacTemplate
from ingest.verify import Headers, Request, Verified, Verifier

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
SANDBOX = r"""
// What Postman's sandbox gives a script, as far as the signing scripts use it, on Node's crypto.
const crypto = require('crypto');
const { script, body, variables } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const wrap = (buffer) => ({ buffer, toString: (encoding = 'hex') => buffer.toString(encoding) });
const bytes = (value) => (typeof value === 'string' ? Buffer.from(value, 'utf8') : value.buffer);
const hmac = (name) => (message, key) =>
  wrap(crypto.createHmac(name, bytes(key)).update(bytes(message)).digest());
const CryptoJS = {
  enc: { Hex: 'hex', Base64: Object.assign(new String('base64'), {
    parse: (text) => wrap(Buffer.from(text, 'base64')) }) },
  lib: { WordArray: { random: (count) => wrap(crypto.randomBytes(count)) } },
  HmacSHA1: hmac('sha1'), HmacSHA256: hmac('sha256'), HmacSHA512: hmac('sha512'),
};
const headers = {};
const fill = (text) => text.replace(/{{(\w+)}}/g, (whole, name) => variables[name] ?? whole);
const request = {
  body: { raw: body, update(changed) { this.raw = changed.raw; } },
  headers: { upsert: ({ key, value }) => { headers[key] = value; } },
};
const pm = { request, variables: { get: (name) => variables[name], replaceIn: fill } };
// Postman and newman declare CryptoJS and more at the top: a script may not declare it there again.
new Function('pm', 'require', 'CryptoJS', '_', 'postman', script)(pm, () => CryptoJS);
process.stdout.write(JSON.stringify({ headers, body: request.body.raw }));
"""
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TEMPLATES = (
    HmacTemplate(),
    HmacTemplate(template="{body}", algorithm="sha1", prefix="sha1=", header="X-Hub"),
    HmacTemplate(template="a'{timestamp}\"\\{body}`${1}", algorithm="sha512", encoding="base64"),
)
CASES = [
    *((scheme, HmacTemplate()) for scheme in ("standard", "stripe", "github", "shopify", "slack")),
    ("token", HmacTemplate()),
    *(("hmac", template) for template in TEMPLATES),
]

BODIES = ('{"event":"plan_changed"}', '{"a": "grün 😀 \\u0000 \\\\ `${b}`"}\n', "")


def executed(script: list[str], body: str, secret: str) -> dict[str, Any]:
    """The headers and the body that the script makes of a request, run by Node."""
    assert NODE
    given = {
        "script": "\n".join(script),
        "body": body,
        "variables": {postman.SECRET_VARIABLE: secret, "today": "2026-01-31"},
    }
    done = subprocess.run(
        [NODE, "-e", SANDBOX], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(NODE is None, reason="needs node; the structure is tested without")
@pytest.mark.parametrize(("scheme", "template"), CASES)
def test_the_script_signs_what_the_receiver_believes(scheme: str, template: HmacTemplate) -> None:
    settings = Settings(
        verify=(scheme,),
        secrets=(NamedSecret("s", WHSEC),),
        tokens=(NamedSecret("t", "t0ken"),),
        hmac_header=template.header,
        hmac_prefix=template.prefix,
        hmac_template=template.template,
        hmac_algorithm=template.algorithm,
        hmac_encoding=template.encoding,
        hmac_timestamp_header=template.timestamp_header,
    )  # type: ignore[call-arg]
    script = postman.signing_script(scheme, template)
    for body in BODIES:
        made = executed(script, body, "t0ken" if scheme == "token" else WHSEC)
        headers = [(name.encode(), value.encode()) for name, value in made["headers"].items()]
        request = Request(Headers(headers), made["body"].encode(), time.time())
        assert isinstance(Verifier(settings).verify(request), Verified), (scheme, body)
        if scheme != "token":
            other = Request(Headers(headers), made["body"].encode() + b" ", time.time())
            assert not isinstance(Verifier(settings).verify(other), Verified)


@pytest.mark.skipif(NODE is None, reason="needs node; the structure is tested without")
def test_variables_are_filled_in_before_the_body_is_signed() -> None:
    made = executed(postman.signing_script("github", HmacTemplate()), '{"d":"{{today}}"}', "k")
    assert made["body"] == '{"d":"2026-01-31"}'
    assert (
        made["headers"]
        == executed(postman.signing_script("github", HmacTemplate()), made["body"], "k")["headers"]
    )


def test_a_missing_secret_is_named_by_the_script() -> None:
    script = "\n".join(postman.signing_script("standard", HmacTemplate()))
    assert "set the variable hooklake_secret" in script
    assert postman.signing_script("none", HmacTemplate()) == []


def test_the_collection_has_every_event_and_only_what_the_format_knows(tmp_path: Path) -> None:
    done = subprocess.run(
        [HOOKLAKE, "trigger", "--as", "postman", "--data-dir", tmp_path / "data"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert "holds the receiver's secret" in done.stderr
    assert document["info"]["schema"] == postman.SCHEMA
    assert [item["name"] for item in document["item"]] == list(SAMPLE_NAMES)
    assert set(document) == {"info", "item", "variable"}
    variables = {each["key"]: each["value"] for each in document["variable"]}
    kept = (tmp_path / "data" / "secrets.env").read_text()
    assert variables["hooklake_url"] == "http://127.0.0.1:8080/webhooks/uchat"
    assert f"HOOKLAKE_SECRETS={variables['hooklake_secret']}\n" in kept
    for item in document["item"]:
        assert set(item) == {"name", "event", "request", "response"}
        assert [each["listen"] for each in item["event"]] == ["prerequest", "test"]
        assert all(isinstance(line, str) for line in item["event"][0]["script"]["exec"])
        assert "webhook-signature" in "".join(item["event"][0]["script"]["exec"])
        request = item["request"]
        assert (request["method"], request["url"]["raw"]) == ("POST", "{{hooklake_url}}")
        assert json.loads(request["body"]["raw"])["event"] == item["name"]


def test_one_event_may_be_printed_alone_and_bytes_that_are_no_text_are_refused() -> None:
    credential = Credential("none", "", HmacTemplate())
    assert len(postman.collection("http://x/", credential, [("a", b"{}")])["item"]) == 1
    with pytest.raises(UsageError, match="--as curl"):
        postman.collection("http://x/", credential, [("a", b"\xff")])


def test_make_writes_it_for_its_owner_alone_and_git_ignores_it(tmp_path: Path) -> None:
    written = ROOT / "build" / "hooklake.postman_collection.json"
    done = subprocess.run(
        ["make", "postman"],  # noqa: S607
        cwd=ROOT,
        env=environment(HOOKLAKE_DATA_DIR=str(tmp_path / "data")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(str(written.relative_to(ROOT)))
    assert written.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(written.read_text())["item"]) == len(SAMPLE_NAMES)
    asked = ["git", "check-ignore", "-q", str(written)]
    ignored = subprocess.run(asked, cwd=ROOT, check=False)
    assert ignored.returncode in (0, 128)  # 128: no git checkout
