"""`hooklake trigger EVENT`: sends one realistic, signed delivery and says what came of it.

The samples tell one linked story of one account, in the lesson's dialect, so that all six in a row
move every page. A field set by hand takes the place of the sample's, whichever of its names the
sample uses.
Source: seed.txt (UChat's lesson "Test webhook events").
"""

from __future__ import annotations

import calendar
import json
import re
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from rich.console import Console

from ingest.contract import ENVELOPE_KEYS, TYPE_BY_NAME, EventType
from ingest.deliver import Answer, Delivery, Signer, Tally, send_all, send_one, signer_of
from ingest.errors import UsageError
from ingest.payloads import body_bytes
from ingest.settings import Settings
from ingest.sign import Envelope

Form = Literal["curl", "http"]
COUNT_MAX: Final = 1_000_000

OWNER: Final = {"owner_email": "ada.lovelace@example.com", "owner_id": "user456"}
WORKSPACE_ID: Final = "abc123"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_WORDS: Final = {"true": True, "false": False, "null": None}


def run(
    settings: Settings,
    event: str,
    set_fields: Sequence[str] = (),
    remove_fields: Sequence[str] = (),
    *,
    count: int = 1,
    url: str | None = None,
    form: Form | None = None,
    as_json: bool = False,
) -> int:
    """Send the event to `url` (default: this installation's receiver); 0 if it was answered 200.

    set_fields: `field=value` each, see `with_field`; remove_fields, see `without_field`, go first.
    count: so many deliveries, each with an id of its own; `{n}` in a value set is then its number.
    form prints requests that send the same instead of sending them.
    Raises: UsageError, SigningError, ReceiverAbsentError.
    """
    if not 1 <= count <= COUNT_MAX:
        raise UsageError(f"cannot send {count} deliveries: give 1 to {COUNT_MAX:,}")
    now = datetime.now(UTC)
    target = url or settings.webhook_url
    signer = signer_of(settings)

    def payloads() -> Iterator[dict[str, Any]]:
        for number in range(1, count + 1):
            payload = sample(event, now)
            for name in remove_fields:
                payload = without_field(payload, event, name)
            for setting in set_fields:
                filled = setting.replace("{n}", str(number)) if count > 1 else setting
                payload = with_field(payload, event, filled)
            yield payload

    if form is not None:
        _print_requests(form, target, map(_delivery, payloads()), signer)
        return 0
    if count > 1:
        tally = send_all(target, map(_delivery, payloads()), signer)
        _show_tally(event, target, tally, as_json=as_json)
        return 0 if tally.verdicts["accepted"] + tally.verdicts["duplicate"] == tally.sent else 1
    payload = next(payloads())
    answer = send_one(target, _delivery(payload), signer)
    if as_json:
        found = {"http_status": answer.status, "answer": answer.document(), "sent": payload}
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        _show(Console(highlight=False, markup=False, soft_wrap=True), event, target, answer)
    return 0 if answer.status == 200 else 1


def _delivery(payload: dict[str, Any]) -> Delivery:
    return Delivery(body_bytes(payload), f"msg_{secrets.token_hex(12)}")


def sample(event: str, now: datetime) -> dict[str, Any]:
    """A realistic body of the event, dated by `now` (UTC).

    Raises: UsageError for a name that has no sample.
    """
    kind = TYPE_BY_NAME.get(event)
    make = _SAMPLES.get(kind.name if kind else event)
    if make is None:
        raise UsageError(
            f"there is no sample of the event {event!r}: choose one of {', '.join(_SAMPLES)};"
            " another name can be sent with --set event=NAME"
        )
    return {"event": event, "data": make(now)}


def with_field(payload: dict[str, Any], event: str, setting: str) -> dict[str, Any]:
    """The payload with one `field=value` set.

    `data.field` and other dotted names say the place; a plain name goes where the sample has that
    field, under the spelling it uses for it. true, false, null and numbers are sent as JSON, text
    in double quotes as that text, everything else as text as it stands.

    Raises: UsageError where there is no `=` or no name before it.
    """
    name, is_given, text = setting.partition("=")
    if not is_given or not all(name.strip().split(".")):
        raise UsageError(f"cannot set {setting!r}: write --set field=value")
    changed: dict[str, Any] = json.loads(json.dumps(payload))
    parents, last = _place_of(event, name)
    if parents == ["data"]:
        last = _spelling(changed.get("data"), event, last)
    place = changed
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[last] = typed(text)
    return changed


def without_field(payload: dict[str, Any], event: str, name: str) -> dict[str, Any]:
    """The payload without one field, by any of its names; dotted names say the place.

    Raises: UsageError where the sample has no such field.
    """
    changed: dict[str, Any] = json.loads(json.dumps(payload))
    parents, last = _place_of(event, name)
    place: Any = changed
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    names = {last}
    if parents == ["data"]:
        for family in _families(TYPE_BY_NAME.get(event)):
            names |= set(family) if last in family else set()
    found = [key for key in place if key in names] if isinstance(place, dict) else []
    if not found:
        fields = changed.get("data")
        listed = ", ".join([*changed, *(fields if isinstance(fields, dict) else ())])
        raise UsageError(f"cannot remove {name!r}: the sample has {listed}")
    for key in found:
        del place[key]
    return changed


def _place_of(event: str, name: str) -> tuple[list[str], str]:
    """The objects that lead to a field, and its name; plain names are under `data`."""
    *parents, last = name.strip().split(".")
    if (parents or [last])[0] not in ENVELOPE_KEYS or _is_own_instant(event, last, parents):
        parents = ["data", *parents]
    return parents, last


def typed(text: str) -> Any:
    """A value typed at a command line as JSON has it."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _NUMBER.fullmatch(text):
            value = json.loads(text)
            return value if abs(value) != float("inf") else text
        if len(text) > 1 and text[0] == text[-1] == '"':
            return json.loads(text)
    except ValueError:
        return text
    return text


def curl_line(url: str, delivery: Delivery, signer: Signer) -> str:
    """A shell command that sends the delivery; its signature is good for five minutes."""
    headers = {"Content-Type": "application/json", **signer(_envelope(delivery))}
    words = ["curl", "-sS", "-X", "POST", url]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "--data-binary", delivery.body.decode()])


def http_request(url: str, delivery: Delivery, signer: Signer) -> str:
    """The request as an editor's REST client and `hooklake verify` read it.

    It ends with the body's last byte: one more would make the signature wrong.
    """
    headers = {"Content-Type": "application/json", **signer(_envelope(delivery))}
    lines = [f"POST {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\n".join([*lines, "", delivery.body.decode()])


def _envelope(delivery: Delivery) -> Envelope:
    return Envelope(delivery.body, delivery.delivery_id, int(time.time()))


def _print_requests(form: Form, url: str, deliveries: Iterable[Delivery], signer: Signer) -> None:
    if form == "curl":
        for delivery in deliveries:
            sys.stdout.write(curl_line(url, delivery, signer) + "\n")
        return
    for number, delivery in enumerate(deliveries):
        separator = "\n\n###\n\n" if number else ""
        sys.stdout.write(separator + http_request(url, delivery, signer))
    if sys.stdout.isatty():
        sys.stdout.write("\n")


def _is_own_instant(event: str, name: str, parents: list[str]) -> bool:
    kind = TYPE_BY_NAME.get(event)
    return not parents and kind is not None and name in kind.instants


def _spelling(data: Any, event: str, name: str) -> str:
    """The key to write; a different spelling of the same field is taken out of the sample."""
    if not isinstance(data, dict):
        return name
    for names in _families(TYPE_BY_NAME.get(event)):
        used: str | None = next((key for key in data if key in names), None)
        if name not in names or used is None or used == name:
            continue
        if name == names[0] or name == "account_id":
            return used
        del data[used]
    return name


def _families(kind: EventType | None) -> list[tuple[str, ...]]:
    if kind is None:
        return []
    fields = [
        (*known.names, "account_id") if known.column == "account_id" else known.names
        for known in kind.fields
    ]
    return [*fields, kind.instants] if kind.instants else fields


def _registered(now: datetime) -> dict[str, Any]:
    return {
        "email": OWNER["owner_email"],
        "user_id": OWNER["owner_id"],
        "registration_timestamp": _instant(now),
        "source": "landing_page",
    }


def _workspace_created(_now: datetime) -> dict[str, Any]:
    return {"workspace_id": WORKSPACE_ID, **_owner(), "workspace_name": "My Workspace"}


def _workspace_deleted(now: datetime) -> dict[str, Any]:
    return {"workspace_id": WORKSPACE_ID, **_owner(), "deletion_time": _instant(now)}


def _plan_changed(now: datetime) -> dict[str, Any]:
    return {
        "plan_id": "business",
        "owner_email": OWNER["owner_email"],
        "auto_renew": True,
        "start_date": now.date().isoformat(),
        "end_date": _in_a_month(now.date()).isoformat(),
    }


def _plan_renewed(now: datetime) -> dict[str, Any]:
    return {
        "renewal_date": now.date().isoformat(),
        "plan_id": "business",
        "owner_email": OWNER["owner_email"],
        "end_date": _in_a_month(now.date()).isoformat(),
    }


def _overdue_payment(now: datetime) -> dict[str, Any]:
    return {
        "payment_id": f"pay-{now:%Y%m%d}",
        "amount": 49.99,
        "currency": "USD",
        "due_date": now.date().isoformat(),
        "owner_email": OWNER["owner_email"],
        "auto_renew": False,
    }


def _no_enough_credit(_now: datetime) -> dict[str, Any]:
    return {**_owner(), "workspace_id": WORKSPACE_ID, "credit": 0}


_SAMPLES: Final[dict[str, Callable[[datetime], dict[str, Any]]]] = {
    "user_registered": _registered,
    "workspace_created": _workspace_created,
    "workspace_deleted": _workspace_deleted,
    "plan_changed": _plan_changed,
    "plan_renewed": _plan_renewed,
    "overdue_payment": _overdue_payment,
    "no_enough_credit": _no_enough_credit,
}


def _owner() -> dict[str, str]:
    return {"owner_id": OWNER["owner_id"], "owner_email": OWNER["owner_email"]}


def _instant(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _in_a_month(day: date) -> date:
    year, month = divmod(12 * day.year + day.month, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _show(console: Console, event: str, url: str, answer: Answer) -> None:
    document = answer.document()
    console.print(f"{event} -> {url}")
    shown = json.dumps(document, indent=2, ensure_ascii=False) if document else "(no JSON)"
    console.print(f"{answer.status} {shown}")
    for line in meaning(answer):
        console.print(line)


def _show_tally(event: str, url: str, tally: Tally, *, as_json: bool) -> None:
    if as_json:
        known = ("accepted", "duplicate", "quarantined", "rejected")
        found = {"sent": tally.sent, **{name: tally.verdicts[name] for name in known}}
        found["other"] = tally.sent - sum(tally.verdicts[name] for name in known)
        sys.stdout.write(json.dumps(found) + "\n")
        return
    lines = [f"{tally.sent} times {event} -> {url}"]
    lines += [f"  {name:<12}{amount:>8}" for name, amount in sorted(tally.verdicts.items())]
    sys.stdout.write("\n".join(lines) + "\n")


def meaning(answer: Answer) -> list[str]:
    """What an answer says about the delivery, and what to do next; one sentence each."""
    document = answer.document()
    lines = [_VERDICTS.get(answer.verdict) or _meaning_of_status(answer)]
    if answer.verdict == "rejected":
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
