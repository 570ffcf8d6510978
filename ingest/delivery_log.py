"""The ledger read as one log of deliveries: whatever became of them, in the order they came.

Every delivery has one number of the ledger's sequence, whatever its verdict; refused requests have
numbers of their own. Lines of a backfilled file were never delivered and are left out. Each page is
one short read: a slow reader holds no snapshot that would keep the ledger's log from being folded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import apsw

from ingest.contract import TYPE_BY_NAME
from ingest.identity import renamed_id
from ingest.ledger import single_integer
from ingest.parse import Arrival, Event, parse_body
from ingest.stated import stated_account
from ingest.values import read_account

PAGE_ROWS: Final = 64
"""Bodies may be 1 MiB each."""
COMMIT_DELAY_MICROSECONDS: Final = 30_000_000
"""Receivers that share a ledger number their deliveries within so much of the order of receipt."""

Verdict = Literal["accepted", "duplicate", "quarantined", "rejected"]
VERDICTS: Final[tuple[Verdict, ...]] = ("accepted", "duplicate", "quarantined", "rejected")


@dataclass(frozen=True)
class Reason:
    """Why a delivery is no event, or what of it could not be read. field: None for a refusal."""

    field: str | None
    code: str
    message: str

    def as_dict(self) -> dict[str, str | None]:
        return {"field": self.field, "code": self.code, "message": self.message}


@dataclass(frozen=True)
class Logged:
    """One delivery of the log. Instants: microseconds since 1970 UTC.

    seq: in the ledger's sequence; None for a refused request, which has a rejection_id instead.
    body: None where none is kept (duplicates, refused requests). first_seq: what a duplicate
    repeats. occurred_at: when it happened, as it or its signature says; None where neither does.
    landed_at: when its row was in the lake; None while it is not, or never will be.
    """

    verdict: Verdict
    received_at: int
    seq: int | None = None
    rejection_id: int | None = None
    event_type: str | None = None
    sender_event: str | None = None
    account_id: str | None = None
    event_id: str | None = None
    delivery_id: str | None = None
    origin: str | None = None
    verified_by: str | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    unknown_fields: tuple[str, ...] = ()
    is_id_reused: bool = False
    first_seq: int | None = None
    occurred_at: int | None = None
    landed_at: int | None = None
    client: str | None = None
    body: bytes | None = field(default=None, repr=False)

    @property
    def received_after_seconds(self) -> float | None:
        """From when it happened to its receipt; below 0 where the sender's clock is ahead."""
        if self.occurred_at is None:
            return None
        return (self.received_at - self.occurred_at) / 1_000_000

    @property
    def landed_after_seconds(self) -> float | None:
        """From receipt to the lake; None where it is not known, and for what was replayed later."""
        if self.landed_at is None or self.origin == "replay":
            return None
        return max(0, self.landed_at - self.received_at) / 1_000_000


@dataclass(frozen=True)
class Filter:
    """Which deliveries are wanted; None wants all. since, until: half-open, by receipt.

    event: a type of the contract, one of its aliases, or a sender's own name.
    """

    event: str | None = None
    account: str | None = None
    verdicts: frozenset[Verdict] = frozenset(VERDICTS)
    since: int | None = None
    until: int | None = None

    @property
    def wants_rejections(self) -> bool:
        """A refused request has neither type nor account: nobody knows who sent it."""
        return "rejected" in self.verdicts and self.event is None and self.account is None


def newest_seq(connection: apsw.Connection) -> int:
    """The last number given; whatever was delivered up to it can be read."""
    return single_integer(connection, "select next - 1 from sequence")


def newest_rejection(connection: apsw.Connection) -> int:
    return single_integer(connection, "select coalesce(max(rejection_id), 0) from rejections")


def seq_before(connection: apsw.Connection, since: int) -> int:
    """A number below that of every delivery received at or after `since`.

    Found by halves, as numbers rise with receipt: no index on the instant is needed. A replay from
    quarantine keeps its first receipt, so it is not asked.
    """
    low, high = 0, newest_seq(connection)
    while low < high:
        middle = (low + high) // 2
        row: tuple[Any, ...] | None = connection.execute(
            _NEXT_RECEIPT, {"seq": middle + 1}
        ).fetchone()
        if row is None or row[0] >= since - COMMIT_DELAY_MICROSECONDS:
            high = middle
        else:
            low = middle + 1
    return low


def deliveries(
    connection: apsw.Connection, wanted: Filter, *, after: int, until: int
) -> Iterator[Logged]:
    """Authentic deliveries with after < seq <= until, by seq.

    A replay from quarantine counts as received when it was replayed, for since and until too.
    """
    last = after
    while True:
        rows = _page(connection, wanted, last, until)
        for row in rows:
            logged = _logged(row)
            last = row[0]
            if _is_wanted(logged, wanted):
                yield logged
        if len(rows) < PAGE_ROWS:
            return


def seqs_of(connection: apsw.Connection, wanted_id: str) -> list[int]:
    """Numbers of the deliveries of the event or under the sender's id, rising; empty if none."""
    rows = connection.execute(
        "select seq from inbox where event_id = :id or delivery_id = :id"
        " union select seq from duplicates where event_id = :id or delivery_id = :id"
        " union select seq from quarantine where delivery_id = :id and origin <> 'backfill'"
        " order by 1",
        {"id": wanted_id},
    )
    return [int(row[0] or 0) for row in rows]


def body_of(connection: apsw.Connection, logged: Logged) -> bytes | None:
    """The delivery's bytes; a duplicate's are those of the event it repeats. None: not kept."""
    if logged.body is not None or logged.first_seq is None:
        return logged.body
    row = connection.execute(
        "select payload from inbox where seq = ?", (logged.first_seq,)
    ).fetchone()
    return None if row is None else str(row[0]).encode()


def rejections(
    connection: apsw.Connection, wanted: Filter, *, after: int, until: int
) -> Iterator[Logged]:
    """Refused requests with after < rejection_id <= until; only the newest 1,000 are kept."""
    if not wanted.wants_rejections:
        return
    rows: list[tuple[Any, ...]] = connection.execute(
        "select rejection_id, received_at, reason, detail, client from rejections"
        " where rejection_id > ? and rejection_id <= ? order by rejection_id",
        (after, until),
    ).fetchall()
    for number, received_at, reason, detail, client in rows:
        logged = Logged(
            "rejected",
            received_at,
            rejection_id=number,
            reasons=(Reason(None, reason, detail),),
            client=client,
        )
        if _is_in_time(logged, wanted):
            yield logged


_COLUMNS: Final = (
    "seq, verdict, received_at, event_type, sender_event, account_id, event_id, delivery_id,"
    " origin, verified_by, digest, first_seq, occurred_at, problems, body"
)
_SAID_AT: Final = """
            case when event_time_source in ('payload', 'delivery') then occurred_at end"""
_ARMS: Final[dict[str, str]] = {
    "accepted": f"""
        select seq, 'accepted' as verdict, received_at, event_type, sender_event, account_id,
            event_id, delivery_id, origin, verified_by, digest,
            null as first_seq,{_SAID_AT} as occurred_at, null as problems,
            cast(payload as blob) as body
        from inbox
        where seq > :after and seq <= :until
            and (:account is null or account_id = :account)
            and (:event is null or event_type = :event or lower(sender_event) = :event)
        order by seq limit :rows""",
    "duplicate": f"""
        select again.seq, 'duplicate' as verdict, again.received_at, again.event_type,
            first.sender_event, again.account_id, again.event_id, again.delivery_id, again.origin,
            again.verified_by, first.digest, first.seq as first_seq,{_SAID_AT} as occurred_at,
            null as problems, null as body
        from duplicates as again
        left join inbox as first on first.event_id = again.event_id
        where again.seq > :after and again.seq <= :until
            and (:account is null or again.account_id = :account)
            and (:event is null or again.event_type = :event or lower(first.sender_event) = :event)
        order by again.seq limit :rows""",
    "quarantined": """
        select seq, 'quarantined' as verdict, received_at, event_type, sender_event,
            null as account_id, null as event_id, delivery_id, origin, verified_by, null as digest,
            null as first_seq, signed_at as occurred_at, problems, body
        from quarantine
        where seq > :after and seq <= :until and origin <> 'backfill'
            and (:event is null or event_type = :event or lower(sender_event) = :event)
        order by seq limit :rows""",
}
_LANDED_AT: Final = """(
        select case when last_seq >= page.seq then landed_at end from landings
        where status = 'landed' and first_seq <= page.seq
        order by first_seq desc limit 1)"""
_NEXT_RECEIPT: Final = (
    "select received_at from ("
    + " union all ".join(
        f"select * from (select seq, received_at from {table}"
        " where seq >= :seq and origin = 'webhook' order by seq limit 1)"
        for table in ("inbox", "duplicates", "quarantine")
    )
    + ") order by seq limit 1"
)


def _page(
    connection: apsw.Connection, wanted: Filter, after: int, until: int
) -> list[tuple[Any, ...]]:
    arms = [f"select * from ({sql})" for name, sql in _ARMS.items() if name in wanted.verdicts]
    if not arms:
        return []
    event = None if wanted.event is None else wanted.event.strip().lower()
    kind = TYPE_BY_NAME.get(event or "")
    return connection.execute(
        f"with page as ({' union all '.join(arms)})"
        f" select {_COLUMNS}, case verdict when 'accepted' then {_LANDED_AT} end"
        " from page order by seq limit :rows",
        {
            "after": after,
            "until": until,
            "rows": PAGE_ROWS,
            "event": kind.name if kind else event,
            "account": _account_of(wanted),
        },
    ).fetchall()


def _account_of(wanted: Filter) -> str | None:
    """The account asked for; "" for a blank one, which nobody has."""
    return None if wanted.account is None else read_account(wanted.account) or ""


def _is_wanted(logged: Logged, wanted: Filter) -> bool:
    if wanted.account is not None and logged.account_id != _account_of(wanted):
        return False
    return logged.origin == "replay" or _is_in_time(logged, wanted)


def _is_in_time(logged: Logged, wanted: Filter) -> bool:
    is_early = wanted.since is not None and logged.received_at < wanted.since
    return not is_early and (wanted.until is None or logged.received_at < wanted.until)


def _logged(row: tuple[Any, ...]) -> Logged:
    (
        seq,
        verdict,
        received_at,
        event_type,
        sender_event,
        account_id,
        event_id,
        delivery_id,
        origin,
        verified_by,
        digest,
        first_seq,
        occurred_at,
        problems,
        body,
        landed_at,
    ) = row
    warnings: tuple[Reason, ...] = ()
    unknown_fields: tuple[str, ...] = ()
    if verdict == "accepted":
        warnings, unknown_fields = _reading(body, received_at)
    elif verdict == "quarantined":
        account_id = stated_account(body)
    return Logged(
        verdict,
        received_at,
        seq=seq,
        event_type=event_type,
        sender_event=sender_event,
        account_id=account_id,
        event_id=event_id,
        delivery_id=delivery_id,
        origin=origin,
        verified_by=verified_by,
        reasons=tuple(Reason(**problem) for problem in json.loads(problems or "[]")),
        warnings=warnings,
        unknown_fields=unknown_fields,
        is_id_reused=bool(digest) and event_id.endswith(renamed_id("", digest)),
        first_seq=first_seq,
        occurred_at=occurred_at,
        landed_at=landed_at,
        body=body,
    )


def _reading(body: bytes, received_at: int) -> tuple[tuple[Reason, ...], tuple[str, ...]]:
    """What the answer warned of; the ledger keeps the bytes, not the words."""
    event = parse_body(body, Arrival(stored_at=received_at))
    if not isinstance(event, Event):
        return (), ()
    warnings = (Reason(found.field, found.code, found.message) for found in event.warnings)
    return tuple(warnings), event.unknown_fields
