"""`hooklake trigger EVENT`: sends one realistic, signed delivery and says what came of it.

Or many, or any body byte for byte, with any scheme of proof, to any URL; or it prints the request
for another tool to send.
"""

from __future__ import annotations

import itertools
import json
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console

from ingest.deliver import (
    Answer,
    Credential,
    Delivery,
    Tally,
    credential_of,
    forged_credential,
    receiver_url,
    send_all,
    send_one,
)
from ingest.errors import UsageError
from ingest.payloads import body_bytes
from ingest.postman import collection
from ingest.request_forms import curl_line, http_request
from ingest.samples import LESSON, SAMPLE_NAMES, sample, with_field, without_field
from ingest.settings import Settings, ensure_credentials
from ingest.standard_streams import standard_input
from ingest.wording import number_of

Form = Literal["curl", "http", "postman"]
COUNT_MAX: Final = 1_000_000
POSTMAN_COUNT_MAX: Final = 1_000


def run(
    settings: Settings,
    event: str | None,
    set_fields: Sequence[str] = (),
    remove_fields: Sequence[str] = (),
    *,
    raw: str | None = None,
    dialect: str | None = None,
    scheme: str | None = None,
    is_forged: bool = False,
    count: int = 1,
    url: str | None = None,
    form: Form | None = None,
    as_json: bool = False,
) -> int:
    """Send the event to `url`, see `receiver_url`; 0 if it was answered 200.

    set_fields: `field=value` each, see `with_field`; remove_fields, see `without_field`, go first.
    raw: a file (`-`: standard input) sent byte for byte in place of a sample. dialect: of
    `samples.DIALECTS`. scheme: another than the receiver's first; is_forged signs with a secret
    made up, which must be rejected. count: so many deliveries, each with an id of its own; `{n}`
    in a value set is then its number. form prints requests that send the same instead of sending
    them; `postman` without an event has all of them.
    Raises: UsageError, SigningError, ReceiverAbsentError.
    """
    _check(event, raw, [*set_fields, *remove_fields, *([dialect] if dialect else [])], count, form)
    target = receiver_url(settings, url)
    what = "a raw body" if raw is not None else (event or "every event")
    bodies: Iterable[tuple[str, bytes]] = (
        itertools.repeat((what, _read(raw)), count)
        if raw is not None
        else _samples(event, set_fields, remove_fields, dialect or LESSON, count)
    )
    if form == "postman":
        settings = ensure_credentials(settings).settings
    credential = (forged_credential if is_forged else credential_of)(settings, scheme)
    if form is not None:
        return _print_requests(form, target, bodies, credential)
    deliveries = (_delivery(body) for _, body in bodies)
    if count > 1:
        tally = send_all(target, deliveries, credential.sign)
        _show_tally(what, target, tally, as_json=as_json)
        return 0 if tally.verdicts["accepted"] + tally.verdicts["duplicate"] == tally.sent else 1
    delivery = next(deliveries)
    answer = send_one(target, delivery, credential.sign)
    if as_json:
        found = {
            "http_status": answer.status,
            "answer": answer.document(),
            "sent": _sent(delivery.body),
        }
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        expected = _expected_rejection(settings, credential, is_forged=is_forged)
        console = Console(highlight=False, markup=False, soft_wrap=True)
        _show(console, what, target, answer, expected)
    return 0 if answer.status == 200 else 1


def _check(
    event: str | None, raw: str | None, shaping: Sequence[str], count: int, form: Form | None
) -> None:
    if not 1 <= count <= COUNT_MAX:
        raise UsageError(f"cannot send {count} deliveries: give 1 to {COUNT_MAX:,}")
    if form == "postman" and count > POSTMAN_COUNT_MAX:
        raise UsageError(f"a collection has at most {POSTMAN_COUNT_MAX:,} requests")
    if raw is not None and (event is not None or shaping):
        raise UsageError(
            "--raw sends a body as it stands: leave out EVENT, --set, --remove and --dialect"
        )
    if raw is None and event is None and form != "postman":
        raise UsageError(
            f"say what to send: one of {', '.join(SAMPLE_NAMES)}, or a body with --raw FILE"
        )


def _samples(
    event: str | None,
    set_fields: Sequence[str],
    remove_fields: Sequence[str],
    dialect: str,
    count: int,
) -> Iterator[tuple[str, bytes]]:
    now = datetime.now(UTC)
    for name in SAMPLE_NAMES if event is None else (event,):
        for number in range(1, count + 1):
            payload = sample(name, now, dialect)
            for field in remove_fields:
                payload = without_field(payload, name, field)
            for setting in set_fields:
                filled = setting.replace("{n}", str(number)) if count > 1 else setting
                payload = with_field(payload, name, filled)
            yield name, body_bytes(payload)


def _read(raw: str) -> bytes:
    if raw == "-":
        return standard_input()
    try:
        return Path(raw).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the body from {raw}: {error.strerror}") from None


def _delivery(body: bytes) -> Delivery:
    return Delivery(body, f"msg_{secrets.token_hex(12)}")


def _sent(body: bytes) -> Any:
    """The body as a script reads it: its JSON where it is some, else its text."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _print_requests(
    form: Form, url: str, bodies: Iterable[tuple[str, bytes]], credential: Credential
) -> int:
    out = sys.stdout.buffer
    if form == "postman":
        document = collection(url, credential, bodies)
        out.write(json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
        sys.stderr.write("note: this collection holds the receiver's secret\n")
        return 0
    for number, (_, body) in enumerate(bodies):
        delivery = _delivery(body)
        if form == "curl":
            out.write(curl_line(url, delivery, credential.sign).encode() + b"\n")
        else:
            out.write(b"\n\n###\n\n" if number else b"")
            out.write(http_request(url, delivery, credential.sign))
    if form == "http" and sys.stdout.isatty():
        out.write(b"\n")
    out.flush()
    return 0


def _expected_rejection(
    settings: Settings, credential: Credential, *, is_forged: bool
) -> str | None:
    """Why a receiver with these settings must reject what is proved so; None: it need not."""
    if "none" in settings.verify:
        return None
    if is_forged:
        return "Rejected, as it must be: the secret was made up"
    if credential.scheme == "none":
        return "Rejected, as it must be: nothing proved who sent it"
    if credential.scheme not in settings.verify:
        accepted = ",".join(settings.verify)
        return (
            f"Rejected: HOOKLAKE_VERIFY here is {accepted} and does not accept {credential.scheme}"
        )
    return None


def _show(console: Console, event: str, url: str, answer: Answer, expected: str | None) -> None:
    document = answer.document()
    console.print(f"{event} -> {url}")
    shown = json.dumps(document, indent=2, ensure_ascii=False) if document else "(no JSON)"
    console.print(f"{answer.status} {shown}")
    for line in meaning(answer, expected):
        console.print(line)


def _show_tally(event: str, url: str, tally: Tally, *, as_json: bool) -> None:
    if as_json:
        known = ("accepted", "duplicate", "quarantined", "rejected")
        found = {"sent": tally.sent, **{name: tally.verdicts[name] for name in known}}
        found["other"] = tally.sent - sum(tally.verdicts[name] for name in known)
        sys.stdout.write(json.dumps(found) + "\n")
        return
    lines = [f"{number_of(tally.sent, 'time')} {event} -> {url}"]
    lines += [f"  {name:<12}{amount:>8}" for name, amount in sorted(tally.verdicts.items())]
    sys.stdout.write("\n".join(lines) + "\n")


def meaning(answer: Answer, expected: str | None = None) -> list[str]:
    """What an answer says about the delivery, and what to do next; one sentence each.

    expected: why a rejection is no surprise.
    """
    document = answer.document()
    lines = [_VERDICTS.get(answer.verdict) or _meaning_of_status(answer)]
    if answer.verdict == "rejected":
        lines[0] = f"{expected}." if expected else lines[0]
        lines[0] += f" The reason given: {document.get('reason')}."
    if document.get("id_reused"):
        lines.append("Its id belonged to an event with other fields, so it was given a new one.")
    lines += [f"  error: {_problem(found)}" for found in document.get("errors", [])]
    lines += [f"  warning: {_problem(found)}" for found in document.get("warnings", [])]
    return lines


_VERDICTS: Final = {
    "accepted": "Accepted: committed to the ledger; the tables have it after the next refresh.",
    "duplicate": "Duplicate: this very event is stored already; it was counted, nothing else.",
    "quarantined": "Quarantined: authentic and kept byte for byte, but no event as it stands.",
    "erased": "Erased: it is about a person who was forgotten; it was counted, nothing was kept.",
    "rejected": "Rejected: the receiver does not believe who sent it. Does it run with the same"
    " --data-dir, secrets and HOOKLAKE_VERIFY as this command?",
}


def _meaning_of_status(answer: Answer) -> str:
    match answer.status:
        case 404:
            return "Not found: the receiver's path is /webhooks/uchat."
        case 503:
            wait = "" if answer.retry_after is None else f" in {answer.retry_after:.0f} s"
            return f"Not stored: the receiver cannot write right now; send it again{wait}."
        case _:
            return (
                f"Not stored: the answer {answer.status} is none a hooklake receiver gives to this."
            )


def _problem(found: Any) -> str:
    if not isinstance(found, dict):
        return str(found)
    return f"{found.get('field')} ({found.get('code')}): {found.get('message')}"
