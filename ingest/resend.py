"""`hooklake replay`: stored deliveries sent again, signed anew, to this or another receiver.

A replay carries the very bytes that were received and the id under which they were stored, so the
receiver that stored them answers `duplicate`, and another one stores what this one did. The header
X-Hooklake-Replay says which number it had here. Every page of the log is read when it is its turn,
and nothing delivered after the start is sent: a replay to the receiver itself comes to an end.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from ingest.deliver import (
    Answer,
    Delivery,
    ReceiverRefusedError,
    Signer,
    Tally,
    receiver_url,
    send_all,
    signer_of,
)
from ingest.delivery_log import Filter, Logged, Verdict, deliveries, newest_seq
from ingest.errors import UsageError
from ingest.ledger import open_read_only
from ingest.log_lines import json_line, note_unlikely_event, text_line
from ingest.settings import Settings
from ingest.sign import Envelope
from ingest.since import instant_of
from ingest.standard_streams import bearing_a_lost_reader

REPLAY_HEADER: Final = "X-Hooklake-Replay"
NOT_KEPT_SHOWN_MAX: Final = 20
_SPAN: Final = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]{1,256}")
_WITH_BODY: Final[frozenset[Verdict]] = frozenset(("accepted", "quarantined"))
_KEPT: Final = ("accepted", "duplicate", "quarantined")
_REFUSED: Final = (401, 404, 405)


@dataclass(frozen=True)
class Choice:
    """Which stored deliveries are sent. Numbers beyond `until` did not exist at the start.

    named: single numbers, sent whatever their verdict; spans: sorted, apart, both ends inside.
    """

    named: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    wanted: Filter


def run(
    settings: Settings,
    numbers: Sequence[str] = (),
    *,
    ids: Sequence[str] = (),
    is_all: bool = False,
    event: str | None = None,
    account: str | None = None,
    since: str | None = None,
    until: str | None = None,
    has_quarantined: bool = False,
    url: str | None = None,
    is_dry: bool = False,
    as_json: bool = False,
) -> int:
    """Send what was chosen to `url`, see `receiver_url`; 0 if all of it was kept there.

    numbers: `12` or `12-40`. ids: event ids, or delivery ids of the sender. is_dry prints the lines
    of `listen` instead of sending. Raises: UsageError, SigningError, LedgerError,
    ReceiverAbsentError, ReceiverRefusedError.
    """
    if not (numbers or ids or is_all or event or account or since or until):
        raise UsageError(
            "say what to send again: numbers (12, 12-40), --id, --event, --account, --since,"
            " --until or --all; --dry-run shows what it would be"
        )
    note_unlikely_event(event)
    wanted = Filter(
        event=event,
        account=account,
        verdicts=_WITH_BODY if has_quarantined else frozenset(("accepted",)),
        since=None if since is None else instant_of(since),
        until=None if until is None else instant_of(until),
    )
    with open_read_only(settings.paths.ledger) as connection:
        choice = choose(connection, numbers, ids, wanted)
        stored = chosen(connection, choice)
        if is_dry:
            return _show_dry(stored, as_json=as_json)
        target = receiver_url(settings, url)
        signer = signer_of(settings)
        if not _signs_ids(signer):
            sys.stderr.write(
                "note: the scheme used signs no id; what has neither an id nor an instant of its"
                " own will be a new event, not a duplicate\n"
            )
        tally, not_kept = resend(stored, target, signer)
    if not tally.sent:
        sys.stderr.write(
            "note: no stored event fits; `hooklake log` shows what is kept, and --quarantined takes"
            " quarantined deliveries, too\n"
        )
    _show(target, tally, not_kept, as_json=as_json)
    return 0 if sum(tally.verdicts[name] for name in _KEPT) == tally.sent else 1


def choose(
    connection: apsw.Connection, numbers: Sequence[str], ids: Sequence[str], wanted: Filter
) -> Choice:
    """What the words of a command line mean in this ledger; nothing named is everything.

    Raises: UsageError for a word that is no number, and for one under which no body is kept.
    """
    newest = newest_seq(connection)
    named = {_seq_of(connection, event_id) for event_id in ids}
    spans: list[tuple[int, int]] = []
    for text in numbers:
        found = _SPAN.fullmatch(text)
        if found is None:
            raise UsageError(
                f"{text!r} is neither a number (12) nor a range (12-40); ids take --id"
            )
        if found[2] is None:
            named.add(_with_body(connection, int(found[1])))
        elif int(found[1]) > int(found[2]):
            raise UsageError(f"the range {text} is empty: write the smaller number first")
        else:
            spans.append((int(found[1]), min(int(found[2]), newest)))
    if not numbers and not ids:
        spans = [(1, newest)]
    return Choice(tuple(sorted(named)), tuple(_apart(spans)), wanted)


def chosen(connection: apsw.Connection, choice: Choice) -> Iterator[Logged]:
    """The deliveries of the choice, those named first, each once, by number."""
    exactly = Filter(
        event=choice.wanted.event,
        account=choice.wanted.account,
        verdicts=_WITH_BODY,
        since=choice.wanted.since,
        until=choice.wanted.until,
    )
    for seq in choice.named:
        yield from deliveries(connection, exactly, after=seq - 1, until=seq)
    for first, last in choice.spans:
        for logged in deliveries(connection, choice.wanted, after=first - 1, until=last):
            if logged.seq not in choice.named:
                yield logged


def resend(
    stored: Iterable[Logged], url: str, signer: Signer
) -> tuple[Tally, list[tuple[str, str]]]:
    """Send one after the other; the tally, and numbers and verdicts of the first not kept.

    In order, because it counts where an id was used twice or nothing but the receipt tells when.

    Raises: ReceiverAbsentError, ReceiverRefusedError at the first answer that would be every
    other's too.
    """
    not_kept: list[tuple[str, str]] = []

    def heard(delivery: Delivery, answer: Answer) -> None:
        if answer.status in _REFUSED:
            raise ReceiverRefusedError(
                f"the receiver at {url} answered {answer.status} to a replay, and would to every"
                " other: sign with the receiver's own secret (HOOKLAKE_SECRETS, HOOKLAKE_VERIFY)"
                " and check the URL"
            )
        if answer.verdict not in _KEPT and len(not_kept) < NOT_KEPT_SHOWN_MAX:
            not_kept.append((dict(delivery.headers)[REPLAY_HEADER], answer.verdict))

    return send_all(url, map(as_delivery, stored), signer, connections=1, on_answer=heard), not_kept


def as_delivery(stored: Logged, body: bytes | None = None) -> Delivery:
    """The same bytes under the same id, marked as a replay. body: where the log has none."""
    sent = stored.body if body is None else body
    assert sent is not None
    return Delivery(sent, replay_id(stored), headers=((REPLAY_HEADER, str(stored.seq)),))


def replay_id(stored: Logged) -> str:
    """The delivery id under which the receiver finds the same event_id again.

    A body's own id goes before it, so it decides only for a body without: there it is the id the
    sender signed, or the one that was made for it. An id that no header can carry is a body's own.
    """
    found = (stored.delivery_id if stored.verdict == "quarantined" else stored.event_id) or ""
    if stored.is_id_reused:
        suffix = found[found.rindex("~") :]
        while found.endswith(suffix):
            found = found.removesuffix(suffix)
    return found if _HEADER_SAFE.fullmatch(found) else f"replay-{stored.seq}"


def _seq_of(connection: apsw.Connection, wanted_id: str) -> int:
    row = connection.execute(
        "select min(seq) from ("
        " select seq from inbox where event_id = :id"
        " union all select seq from inbox where delivery_id = :id"
        " union all select seq from quarantine where delivery_id = :id and origin <> 'backfill')",
        {"id": wanted_id},
    ).fetchone()
    if row is None or row[0] is None:
        raise UsageError(f"no stored delivery has the id {wanted_id!r}")
    return int(row[0])


def _with_body(connection: apsw.Connection, seq: int) -> int:
    """The number itself, or that of the event it repeats."""
    row = connection.execute(
        "select seq from inbox where seq = :seq"
        " union all select seq from quarantine where seq = :seq and origin <> 'backfill'"
        " union all select first.seq from duplicates as again"
        " join inbox as first on first.event_id = again.event_id where again.seq = :seq",
        {"seq": seq},
    ).fetchone()
    if row is None:
        raise UsageError(
            f"no delivery is kept under {seq}; `hooklake listen --since 1d --no-follow` shows the"
            " numbers"
        )
    return int(row[0])


def _apart(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans without what an earlier one covers, by their beginnings."""
    covered = 0
    for first, last in sorted(spans):
        begin = max(first, covered + 1)
        if begin <= last:
            yield begin, last
            covered = last


def _signs_ids(signer: Signer) -> bool:
    return "webhook-id" in signer(Envelope(b"{}", "id", 0))


def _show_dry(stored: Iterable[Logged], *, as_json: bool) -> int:
    count = 0
    with bearing_a_lost_reader():
        for logged in stored:
            count += 1
            sys.stdout.write((json_line if as_json else text_line)(logged) + "\n")
        sys.stdout.flush()
    sys.stderr.write(f"{count} to send; nothing was sent\n")
    return 0


def _show(url: str, tally: Tally, not_kept: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        found: dict[str, Any] = {
            "url": url,
            "sent": tally.sent,
            **{name: tally.verdicts[name] for name in _KEPT},
            "other": tally.sent - sum(tally.verdicts[name] for name in _KEPT),
            "not_kept": [{"seq": int(seq), "verdict": verdict} for seq, verdict in not_kept],
            "retried": tally.retried,
            "seconds": round(tally.seconds, 3),
        }
        sys.stdout.write(json.dumps(found) + "\n")
        return
    lines = [f"{tally.sent} sent again to {url}"]
    lines += [f"  {name:<12}{amount:>8}" for name, amount in sorted(tally.verdicts.items())]
    lines += [f"  {seq} was answered {verdict}" for seq, verdict in not_kept]
    sys.stdout.write("\n".join(lines) + "\n")
