"""Signing: the published known answers, an independent oracle, and the refusals."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from ingest.sign import Envelope, HmacTemplate, SigningError, signed_headers

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


def test_standard_webhooks_known_answer() -> None:
    envelope = Envelope(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330)
    assert signed_headers("standard", envelope, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_github_known_answer() -> None:
    headers = signed_headers(
        "github", Envelope(b"Hello, World!", "any", 0), "It's a Secret to Everybody"
    )
    assert headers == {
        "X-Hub-Signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }


def test_slack_known_answer() -> None:
    headers = signed_headers(
        "slack", Envelope(SLACK_BODY, "any", 1_531_420_618), "8f742231b10e8888abcd99yyyzzz85a5"
    )
    assert headers == {
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "X-Slack-Request-Timestamp": "1531420618",
    }


@given(body=st.text().map(str.encode), key=st.binary(min_size=16, max_size=64))
def test_the_standardwebhooks_package_accepts_what_is_signed(body: bytes, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    envelope = Envelope(body, "msg_1", int(time.time()))
    Webhook(secret).verify(body, signed_headers("standard", envelope, secret), json_parse=False)


def test_stripe_signs_timestamp_and_body_with_the_whole_secret() -> None:
    headers = signed_headers("stripe", Envelope(b"{}", "any", 1_700_000_000), "whsec_abc")
    expected = hmac.new(b"whsec_abc", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert headers == {"Stripe-Signature": f"t=1700000000,v1={expected}"}


def test_shopify_signs_the_body_in_base64() -> None:
    headers = signed_headers("shopify", Envelope(b"{}", "any", 0), "hush")
    expected = base64.b64encode(hmac.new(b"hush", b"{}", hashlib.sha256).digest()).decode()
    assert headers == {"X-Shopify-Hmac-SHA256": expected}


def test_a_token_travels_in_the_authorization_header_and_never_in_the_path() -> None:
    headers = signed_headers("token", Envelope(b"{}", "any", 0), "t0ken")
    assert headers == {"Authorization": "Bearer t0ken"}


@pytest.mark.parametrize(
    ("template", "signed", "has_timestamp"),
    [
        ("{timestamp}.{body}", b"1700000000.{timestamp}", True),
        ("v1;{timestamp};{body};", b"v1;1700000000;{timestamp};", True),
        ("{body}", b"{timestamp}", False),
        ("{body}:{timestamp}", b"{timestamp}:1700000000", True),
    ],
)
def test_an_hmac_template_is_filled_but_the_body_is_not(
    template: str, signed: bytes, has_timestamp: bool
) -> None:
    how = HmacTemplate("X-Sig", "v1=", template, "sha512", "base64", "X-Time")
    headers = signed_headers("hmac", Envelope(b"{timestamp}", "msg_1", 1_700_000_000), "hush", how)
    digest = hmac.new(b"hush", signed, hashlib.sha512).digest()
    assert headers["X-Sig"] == "v1=" + base64.b64encode(digest).decode()
    assert headers.get("X-Time") == ("1700000000" if has_timestamp else None)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64 at all!!"],
)
def test_a_secret_that_is_no_standard_key_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(SigningError) as caught:
        signed_headers("standard", Envelope(b"{}", "any", 0), secret)
    assert "at least 16 bytes" in str(caught.value)
    assert len(secret) < 8 or secret not in str(caught.value)


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(SigningError, match="choose one of github, hmac, none, shopify"):
        signed_headers("rot13", Envelope(b"{}", "any", 0), "x")


def test_an_unknown_hash_algorithm_is_a_signing_error() -> None:
    with pytest.raises(SigningError, match="rot13"):
        signed_headers("hmac", Envelope(b"{}", "any", 0), "x", HmacTemplate(algorithm="rot13"))
