"""Who sent it: every scheme's known answers, boundaries, repetitions and malformed headers."""

from __future__ import annotations

import base64
import hmac
import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from ingest.settings import Settings, parse_named_secrets
from ingest.verify import Headers, Rejected, Request, Verified, Verifier

NOW = 1_790_000_000
BODY = b'{"event":"user_registered","email":"ada@example.com"}'
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
PLAIN_SECRET = "It's a Secret to Everybody"
TOKEN = "a-token"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)

Pairs = Sequence[tuple[str, str | bytes]]


def verifier(schemes: str, secrets: str = "", tokens: str = TOKEN, **more: Any) -> Verifier:
    named = parse_named_secrets(secrets, "secret") if secrets else ()
    return Verifier(
        Settings(
            verify=tuple(schemes.split(",")),
            secrets=named,
            tokens=parse_named_secrets(tokens, "token"),
            **more,
        )
    )


def judge(
    judging: Verifier,
    headers: Pairs,
    body: bytes = BODY,
    *,
    now: float = NOW,
    path_token: str | None = None,
) -> Verified | Rejected:
    raw = [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in headers
    ]
    return judging.verify(Request(Headers(raw), body, now, path_token))


def reason(verdict: Verified | Rejected) -> str:
    assert isinstance(verdict, Rejected), verdict
    (refusal,) = verdict.refusals
    return refusal.reason


def digest(secret: str, signed: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), signed, algorithm).digest()


def standard(
    body: bytes = BODY, *, at: int = NOW, name: str = "msg_1", secret: str = STANDARD_SECRET
) -> list[tuple[str, str]]:
    """Made by the project's own library, not by ours."""
    signature = Webhook(secret).sign(name, datetime.fromtimestamp(at, UTC), body.decode())
    return [
        ("webhook-id", name),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", signature),
    ]


def stripe(
    body: bytes = BODY, *, at: int = NOW, secret: str = PLAIN_SECRET
) -> list[tuple[str, str]]:
    signature = digest(secret, b"%d.%b" % (at, body)).hex()
    return [("Stripe-Signature", f"t={at},v1={signature}")]


def github(body: bytes = BODY, *, at: int = 0, secret: str = PLAIN_SECRET) -> list[tuple[str, str]]:
    return [("X-Hub-Signature-256", f"sha256={digest(secret, body).hex()}")]


def shopify(
    body: bytes = BODY, *, at: int = 0, secret: str = PLAIN_SECRET
) -> list[tuple[str, str]]:
    return [("X-Shopify-Hmac-SHA256", base64.b64encode(digest(secret, body)).decode())]


def slack(
    body: bytes = BODY, *, at: int = NOW, secret: str = PLAIN_SECRET
) -> list[tuple[str, str]]:
    signature = digest(secret, b"v0:%d:%b" % (at, body)).hex()
    return [("X-Slack-Signature", f"v0={signature}"), ("X-Slack-Request-Timestamp", str(at))]


def own(body: bytes = BODY, *, at: int = NOW, secret: str = PLAIN_SECRET) -> list[tuple[str, str]]:
    signature = digest(secret, b"%d.%b" % (at, body)).hex()
    return [("X-Signature", signature), ("X-Timestamp", str(at))]


SIGNED: dict[str, tuple[Callable[..., list[tuple[str, str]]], str, str]] = {
    "standard": (standard, STANDARD_SECRET, OTHER_SECRET),
    "stripe": (stripe, PLAIN_SECRET, "other"),
    "github": (github, PLAIN_SECRET, "other"),
    "shopify": (shopify, PLAIN_SECRET, "other"),
    "slack": (slack, PLAIN_SECRET, "other"),
    "hmac": (own, PLAIN_SECRET, "other"),
}
TIMED = ("standard", "stripe", "slack", "hmac")


# -- known answers -------------------------------------------------------------------------------


def test_the_known_answer_of_standard_webhooks() -> None:
    headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    body = b'{"test": 2432232314}'
    for family in ("webhook", "svix"):
        named = [(name.replace("webhook", family), value) for name, value in headers]
        verdict = judge(verifier("standard", STANDARD_SECRET), named, body, now=1_614_265_330)
        assert isinstance(verdict, Verified)
        assert verdict.delivery_id == "msg_p5jXN8AQM9LWM0D4loKWxJek"
        assert verdict.signed_at == 1_614_265_330_000_000


def test_the_known_answer_of_github() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    verdict = judge(
        verifier("github", PLAIN_SECRET), [("X-Hub-Signature-256", signature)], b"Hello, World!"
    )
    assert isinstance(verdict, Verified)
    assert (verdict.delivery_id, verdict.signed_at) == (None, None)


def test_the_known_answer_of_slack() -> None:
    headers = [
        (
            "X-Slack-Signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
        ("X-Slack-Request-Timestamp", "1531420618"),
    ]
    judging = verifier("slack", "8f742231b10e8888abcd99yyyzzz85a5")
    assert isinstance(judge(judging, headers, SLACK_BODY, now=1_531_420_618), Verified)


@given(
    body=st.text().map(lambda text: text.encode("utf-8", "replace")),
    key=st.binary(min_size=16, max_size=64),
    name=st.from_regex(r"[!-\-/-~]{1,256}", fullmatch=True),
)
def test_what_the_standardwebhooks_library_signs_is_believed(
    body: bytes, key: bytes, name: str
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    verdict = judge(verifier("standard", secret), standard(body, name=name, secret=secret), body)
    assert isinstance(verdict, Verified)
    assert verdict.delivery_id == name


# -- what every signing scheme has in common -----------------------------------------------------


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_right_signature_is_believed_and_its_key_named(scheme: str) -> None:
    sign, secret, other = SIGNED[scheme]
    judging = verifier(scheme, f"old={other},new={secret}")
    new, old = judge(judging, sign()), judge(judging, sign(secret=other))

    assert isinstance(new, Verified)
    assert isinstance(old, Verified)
    assert (new.scheme, new.key_name, old.key_name) == (scheme, "new", "old")


@pytest.mark.parametrize("scheme", SIGNED)
def test_another_body_or_secret_is_a_wrong_signature(scheme: str) -> None:
    sign, secret, other = SIGNED[scheme]
    judging = verifier(scheme, secret)

    for body in (BODY + b" ", BODY[:-1], b"", BODY.replace(b"ada", b"Ada")):
        assert reason(judge(judging, sign(), body)) == "wrong_signature"
    assert reason(judge(judging, sign(secret=other))) == "wrong_signature"


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_missing_header_is_refused(scheme: str) -> None:
    sign, secret, _ = SIGNED[scheme]
    headers = sign()
    judging = verifier(scheme, secret)

    assert reason(judge(judging, [])) == "missing_header"
    for position in range(len(headers)):
        rest = headers[:position] + headers[position + 1 :]
        assert reason(judge(judging, rest)) == "missing_header"


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_header_given_twice_is_refused_even_with_the_same_value(scheme: str) -> None:
    sign, secret, _ = SIGNED[scheme]
    headers = sign()
    judging = verifier(scheme, secret)

    for name, value in headers:
        for extra in (value, "", "x"):
            again: Pairs = [*headers, (name.upper(), extra)]
            assert reason(judge(judging, again)) == "repeated_header"


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    ("off", "expected"),
    [
        (-301, "future_timestamp"),
        (-300, None),
        (-299, None),
        (0, None),
        (299, None),
        (300, None),
        (301, "stale_timestamp"),
        (10**9, "stale_timestamp"),
    ],
)
def test_exactly_300_seconds_are_allowed_both_ways(
    scheme: str, off: int, expected: str | None
) -> None:
    sign, secret, _ = SIGNED[scheme]
    at = NOW - off if off < 10**8 else 1_000_000_000
    verdict = judge(verifier(scheme, secret), sign(at=at))

    assert (reason(verdict) if isinstance(verdict, Rejected) else None) == expected
    if isinstance(verdict, Verified):
        assert verdict.signed_at == at * 1_000_000


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    "timestamp",
    [
        b"",
        b" ",
        b"nan",
        b"inf",
        b"-1790000000",
        b"+1790000000",
        b" 1790000000",
        b"1790000000 ",
        b"1790000000\n",
        b"1_790_000_00",
        b"179000000",
        b"17900000000",
        b"1790000000000",
        b"1790000000.0",
        b"1.79e9",
        b"0x6ab13b80",
        "١٧٩٠٠٠٠٠٠٠".encode(),
        b"\xb2\xb2\xb2\xb2\xb2\xb2\xb2\xb2\xb2\xb2",
        b"1790000000,1790000000",
        b"9" * 5000,
    ],
)
def test_a_timestamp_has_ten_digits_and_nothing_else(scheme: str, timestamp: bytes) -> None:
    sign, secret, _ = SIGNED[scheme]
    headers = [
        (
            name,
            value.replace(f"t={NOW}", "t=@").encode().replace(b"@", timestamp)
            if scheme == "stripe"
            else (timestamp if "timestamp" in name.lower() else value),
        )
        for name, value in sign()
    ]
    assert reason(judge(verifier(scheme, secret), headers)) == "malformed_header"


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_signature_in_another_spelling_is_malformed(scheme: str) -> None:
    sign, secret, _ = SIGNED[scheme]
    judging = verifier(scheme, secret)
    for position, (name, value) in enumerate(sign()):
        if "signature" not in name.lower() and "hmac" not in name.lower():
            continue
        mistakes: list[bytes] = [
            b"",
            b" ",
            value.upper().encode() + b"=",
            b" " + value.encode(),
            value.encode() + b" ",
            value.encode() + b"\n",
            value[:-1].encode(),
            value.encode() + b"0",
            value.replace("=", "==", 1).encode(),
            value[:-8].encode() + b" " + value[-8:].encode(),
            value[:-4].encode() + b"\xe9" * 4,
            value.encode() + b"," + value.encode(),
            b"sha256=" + value.encode(),
        ]
        for mistake in set(mistakes) - {value.encode()}:
            headers: list[tuple[str, str | bytes]] = list(sign())
            headers[position] = (name, mistake)
            assert reason(judge(judging, headers)) == "malformed_header", mistake


# -- single schemes ------------------------------------------------------------------------------


def test_standard_takes_any_right_v1_among_several_and_ignores_other_versions() -> None:
    headers = dict(standard())
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    for signatures in (
        f"{wrong} {headers['webhook-signature']}",
        f"v1a,anything {headers['webhook-signature']} v2,x",
        f"{headers['webhook-signature']} {wrong}",
    ):
        named = list((headers | {"webhook-signature": signatures}).items())
        assert isinstance(judge(verifier("standard", STANDARD_SECRET), named), Verified)
    for signatures, expected in ((wrong, "wrong_signature"), ("v2,x", "malformed_header")):
        named = list((headers | {"webhook-signature": signatures}).items())
        assert reason(judge(verifier("standard", STANDARD_SECRET), named)) == expected


def test_standard_signatures_that_only_claim_v1_are_not_taken_for_it() -> None:
    headers = dict(standard())
    signature = headers["webhook-signature"].removeprefix("v1,")
    for version in ("v2", "v1a", "V1", "v10", "1"):
        named = list((headers | {"webhook-signature": f"{version},{signature}"}).items())
        assert reason(judge(verifier("standard", STANDARD_SECRET), named)) == "malformed_header"


def test_webhook_and_svix_headers_together_are_refused() -> None:
    for extra in ("svix-id", "svix-timestamp", "svix-signature"):
        verdict = judge(verifier("standard", STANDARD_SECRET), [*standard(), (extra, "x")])
        assert reason(verdict) == "repeated_header"


@pytest.mark.parametrize("name", ["", " ", "a b", "é", "a\x7f", "x" * 257, "a\n"])
def test_a_standard_id_is_visible_ascii(name: str) -> None:
    headers: list[tuple[str, str | bytes]] = [("webhook-id", name.encode()), *standard()[1:]]
    assert reason(judge(verifier("standard", STANDARD_SECRET), headers)) == "malformed_header"


def test_a_swapped_id_or_timestamp_is_a_wrong_signature() -> None:
    judging = verifier("standard", STANDARD_SECRET)
    headers = dict(standard())
    for swapped in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(NOW - 1)}):
        assert reason(judge(judging, list((headers | swapped).items()))) == "wrong_signature"


def test_standard_keys_are_the_bytes_behind_whsec_and_never_its_text() -> None:
    signed = b"msg_1.%d.%b" % (NOW, BODY)
    for key in (STANDARD_SECRET.encode(), STANDARD_SECRET.removeprefix("whsec_").encode()):
        signature = base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
        headers = [*standard()[:2], ("webhook-signature", f"v1,{signature}")]
        verdict = judge(verifier("standard", STANDARD_SECRET), headers)
        assert reason(verdict) == "wrong_signature"


def test_stripe_takes_any_right_v1_and_refuses_two_timestamps() -> None:
    ((name, value),) = stripe()
    wrong = "v1=" + "0" * 64
    judging = verifier("stripe", PLAIN_SECRET)

    for given_value in (f"{value},{wrong}", f"{wrong},{value}", f"{value},v0={'0' * 64}"):
        assert isinstance(judge(judging, [(name, given_value)]), Verified)
    for given_value in (f"t={NOW},{value}", wrong, f"t={NOW}", "v1", f"t={NOW},v1="):
        assert reason(judge(judging, [(name, given_value)])) == "malformed_header"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("template", ["{body}", "{timestamp}.{body}", "v1:{body}:{timestamp}:end"])
def test_hmac_signs_as_its_settings_say(algorithm: str, encoding: str, template: str) -> None:
    judging = verifier(
        "hmac",
        PLAIN_SECRET,
        hmac_header="X-Own",
        hmac_prefix="sig=",
        hmac_template=template,
        hmac_algorithm=algorithm,
        hmac_encoding=encoding,
        hmac_timestamp_header="X-At",
        hmac_window_seconds=5,
    )
    body = b"{timestamp}" + BODY  # a placeholder inside the body stays what it is
    before, after = template.replace("{timestamp}", str(NOW)).encode().split(b"{body}")
    raw = digest(PLAIN_SECRET, before + body + after, algorithm)
    text = raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()
    headers = [("X-Own", f"sig={text}"), ("X-At", str(NOW))]

    assert isinstance(judge(judging, headers, body, now=NOW + 5), Verified)
    late = judge(judging, headers, body, now=NOW + 6)
    assert isinstance(late, Rejected) == ("{timestamp}" in template)
    assert reason(judge(judging, [("X-Own", text), ("X-At", str(NOW))], body)) == "malformed_header"


def test_a_token_is_taken_from_the_url_the_bearer_or_its_own_header() -> None:
    judging = verifier("token", tokens=f"first={TOKEN},other", token_header="X-Token")

    for headers, path in (
        ([], TOKEN),
        ([("Authorization", f"Bearer {TOKEN}")], None),
        ([("authorization", f"bearer {TOKEN}")], None),
        ([("x-token", TOKEN)], None),
        ([("Authorization", "Bearer wrong")], TOKEN),
    ):
        verdict = judge(judging, headers, path_token=path)
        assert isinstance(verdict, Verified)
        assert (verdict.key_name, verdict.delivery_id, verdict.signed_at) == ("first", None, None)


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [
        ([], None, "missing_token"),
        ([], "", "unknown_token"),
        ([], "A-token", "unknown_token"),
        ([], "a-token ", "unknown_token"),
        ([], "\udce9", "unknown_token"),
        ([("Authorization", TOKEN)], None, "missing_token"),
        ([("Authorization", f"Basic {TOKEN}")], None, "missing_token"),
        ([("Authorization", b"Bearer \xe9\xff")], None, "unknown_token"),
        (
            [("Authorization", "Bearer x"), ("Authorization", f"Bearer {TOKEN}")],
            None,
            "repeated_header",
        ),
        ([("X-Token", TOKEN)], None, "missing_token"),
        ([("X-Token", TOKEN), ("Authorization", "Bearer ")], None, "unknown_token"),
    ],
)
def test_any_other_token_is_refused(headers: Pairs, path: str | None, expected: str) -> None:
    assert reason(judge(verifier("token"), headers, path_token=path)) == expected


def test_a_token_is_no_signing_secret_and_a_secret_no_token() -> None:
    judging = verifier("github,token", PLAIN_SECRET)

    assert isinstance(judge(judging, github(secret=TOKEN)), Rejected)
    assert isinstance(judge(judging, [], path_token=PLAIN_SECRET), Rejected)


def test_one_satisfied_scheme_suffices_and_a_bad_header_fails_only_its_own() -> None:
    judging = verifier("standard,github,token", f"{STANDARD_SECRET},{PLAIN_SECRET}")
    broken: list[tuple[str, str | bytes]] = [("webhook-id", "x"), ("webhook-id", "y")]

    by_token = judge(judging, broken, path_token=TOKEN)
    by_github = judge(judging, [*broken, *github()])
    assert isinstance(by_token, Verified)
    assert isinstance(by_github, Verified)
    assert (by_token.scheme, by_github.scheme) == ("token", "github")
    neither = judge(judging, broken)
    assert isinstance(neither, Rejected)
    assert [refusal.scheme for refusal in neither.refusals] == ["standard", "github", "token"]


def test_only_the_schemes_named_are_tried() -> None:
    judging = verifier("standard", f"{STANDARD_SECRET},{PLAIN_SECRET}")

    assert isinstance(judge(judging, github(), path_token=TOKEN), Rejected)


def test_without_a_key_nothing_is_believed() -> None:
    for scheme, (sign, _, _) in SIGNED.items():
        headers = sign(secret="whsec_" + "A" * 24) if scheme == "standard" else sign(secret="")
        assert isinstance(judge(verifier(scheme), headers), Rejected), scheme


def test_none_believes_everybody() -> None:
    assert isinstance(judge(verifier("none"), []), Verified)


def test_a_refusal_says_what_to_look_at_without_repeating_what_was_sent() -> None:
    judging = verifier("standard,github,token", f"{STANDARD_SECRET},{PLAIN_SECRET}")
    sent = "visible-secret-text"
    verdict = judge(
        judging,
        [("webhook-id", sent), ("webhook-timestamp", sent), ("webhook-signature", sent)],
        path_token=sent,
    )

    assert isinstance(verdict, Rejected)
    for word in (sent, STANDARD_SECRET, PLAIN_SECRET, TOKEN):
        assert word not in verdict.reason
    assert verdict.reason.isprintable()


# -- whatever is sent ----------------------------------------------------------------------------


def mutated(value: bytes, source: random.Random) -> bytes:
    """`value` with one to three random edits."""
    found = bytearray(value)
    for _ in range(source.randint(1, 3)):
        place = source.randint(0, len(found))
        edit = source.randrange(5)
        if edit == 0:
            found[place:place] = bytes([source.randrange(256)])
        elif edit == 1 and found:
            found[place % len(found)] = source.randrange(256)
        elif edit == 2:
            del found[place : place + source.randint(1, 8)]
        elif edit == 3:
            found[place:place] = found[: source.randint(0, 60)]
        else:
            found[place:place] = source.choice((b",", b" ", b"=", b"v1,", b"\xff", b"\x00", b"."))
    return bytes(found)


def test_10000_mutated_headers_never_raise_and_never_pass() -> None:
    source = random.Random(20260401)
    schemes = ",".join((*SIGNED, "token"))
    judging = verifier(schemes, f"{STANDARD_SECRET},{PLAIN_SECRET}", token_header="X-Token")
    kinds = [sign for sign, _, _ in SIGNED.values()]
    passed = 0
    for _ in range(10_000):
        headers = [(name.encode(), value.encode()) for name, value in source.choice(kinds)()]
        if source.random() < 0.3:
            headers.append((b"authorization", b"Bearer " + TOKEN.encode()))
        position = source.randrange(len(headers))
        name, value = headers[position]
        changed = mutated(value, source)
        headers[position] = (name, changed)
        verdict = judging.verify(Request(Headers(headers), BODY, NOW, None))
        believed_by = verdict.scheme if isinstance(verdict, Verified) else None
        if changed == value or name == b"authorization" or believed_by == "token":
            passed += 1
            continue
        if believed_by in ("standard", "stripe"):  # further entries are ignored by agreement
            entries = re.split(rb"[ ,]", changed)
            assert set(re.split(rb"[ ,]", value)) <= {*entries, b"v1"}
            continue
        assert believed_by is None, (name, changed)
    assert passed < 5000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"webhook-id",
                    b"webhook-timestamp",
                    b"webhook-signature",
                    b"svix-id",
                    b"stripe-signature",
                    b"x-hub-signature-256",
                    b"x-shopify-hmac-sha256",
                    b"x-slack-signature",
                    b"x-slack-request-timestamp",
                    b"x-signature",
                    b"x-timestamp",
                    b"authorization",
                ]
            ),
            st.binary(max_size=80) | st.sampled_from([b"%d" % NOW, b"v1,", b"t=,v1=", b"sha256="]),
        ),
        max_size=8,
    ),
    st.none() | st.text(max_size=20),
)
def test_no_headers_make_it_raise(headers: list[tuple[bytes, bytes]], token: str | None) -> None:
    judging = verifier(",".join((*SIGNED, "token")), f"{STANDARD_SECRET},{PLAIN_SECRET}")

    assert isinstance(judging.verify(Request(Headers(headers), BODY, NOW, token)), Rejected)


def test_every_key_is_tried_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the time taken does not tell which key, or whether the first one, matched."""
    for scheme, (sign, secret, _) in SIGNED.items():
        fillers = [f"whsec_{base64.b64encode(bytes([n]) * 24).decode()}" for n in range(4)]
        first, last = [secret, *fillers], [*fillers, secret]
        made = []
        for order in (first, last):
            calls: list[bytes] = []
            true_digest = hmac.digest

            def counting(key: bytes, signed: bytes, algorithm: str) -> bytes:
                calls.append(key)  # noqa: B023
                return true_digest(key, signed, algorithm)  # noqa: B023

            monkeypatch.setattr("ingest.verify.hmac.digest", counting)
            assert isinstance(judge(verifier(scheme, ",".join(order)), sign()), Verified)
            monkeypatch.undo()
            made.append(len(calls))
        assert made == [5, 5], scheme
