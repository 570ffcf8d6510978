"""What goes wrong between a sender and a receiver, done on purpose and at known rates.

Nothing here changes what is true: what is disturbed is sent besides, or in another order, and
every delivery has a verdict that it must be given.

    duplicate        the same delivery again                                      duplicate
    reorder, delay   a few deliveries later, or a few hundred                     accepted
    bad_signature    a copy signed with a secret that the receiver has not        rejected
    stale_timestamp  a copy signed more than a day ago                            rejected
    truncated_json   a copy that breaks off, signed as it stands                  quarantined
    wrong_types      a copy whose required field is a list                        quarantined
    unknown_type     a copy as an event that nobody has heard of                  accepted
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ingest.contract import OTHER, TYPE_BY_NAME, TYPE_KEYS
from ingest.deliver import Credential, Delivery
from ingest.errors import UsageError
from ingest.payloads import body_bytes
from ingest.sign import Envelope

VERDICTS: Final[Mapping[str, str]] = {
    "duplicate": "duplicate",
    "reorder": "accepted",
    "delay": "accepted",
    "bad_signature": "rejected",
    "stale_timestamp": "rejected",
    "truncated_json": "quarantined",
    "wrong_types": "quarantined",
    "unknown_type": "accepted",
}
"""What each disturbance must be answered."""
RATE: Final = 0.1
STALE_SECONDS: Final = 100_000
"""More than the longest window a receiver can be set to, a day."""
_MOVED: Final = {"reorder": (1, 5), "delay": (50, 500)}
_STAMPED: Final = frozenset(("standard", "stripe", "slack"))


def rates_of(words: Sequence[str], credential: Credential) -> dict[str, float]:
    """`duplicate=0.2,delay` as rates; `all` is every one that the scheme allows, each at 0.1.

    Raises: UsageError for an unknown name, a rate outside 0..1, and what the scheme cannot show.
    """
    rates: dict[str, float] = {}
    for word in ",".join(words).split(","):
        name, _, text = (part.strip() for part in word.partition("="))
        try:
            rate = float(text) if text else RATE
        except ValueError:
            rate = -1.0
        if not 0 <= rate <= 1:
            raise UsageError(f"--chaos {word}: a rate lies between 0 and 1, such as {name}=0.2")
        if name == "all":
            rates |= {kind: rate for kind in VERDICTS if _impossible(kind, credential) is None}
            continue
        if name not in VERDICTS:
            raise UsageError(f"there is no chaos {name!r}: choose of {', '.join(VERDICTS)}, or all")
        reason = _impossible(name, credential)
        if reason is not None and rate:
            raise UsageError(f"--chaos {name}: {reason}")
        rates[name] = rate
    return rates


def _impossible(kind: str, credential: Credential) -> str | None:
    scheme = credential.scheme
    if kind == "bad_signature" and scheme == "none":
        return "without a scheme of proof every sender is believed"
    is_stamped = scheme in _STAMPED or (
        scheme == "hmac" and "{timestamp}" in credential.hmac_template.template
    )
    if kind == "stale_timestamp" and not is_stamped:
        return f"the scheme {scheme} signs no time, so nothing can be too old"
    return None


@dataclass
class Chaos:
    """Disturbs a stream of deliveries and counts what it did, and what must be answered.

    forged: signs with a secret the receiver has not. seed: the same one disturbs in the same way.
    """

    rates: Mapping[str, float]
    credential: Credential
    forged: Credential
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)

    def disturbed(self, deliveries: Iterable[Delivery]) -> Iterator[Delivery]:
        """The deliveries and what is sent besides, in the order of sending."""
        chance = random.Random(f"chaos/{self.seed}")  # noqa: S311  (no secret)
        held: list[tuple[int, int, Delivery]] = []
        position = 0
        for delivery in deliveries:
            for each in (delivery, *self._besides(delivery, chance)):
                position += 1
                while held and held[0][0] <= position:
                    yield heapq.heappop(held)[2]
                self.expected[VERDICTS[each.mark] if each.mark else "accepted"] += 1
                moved = 0 if each.mark else self._moved(chance)
                if moved:
                    heapq.heappush(held, (position + moved, position, each))
                else:
                    yield each
        while held:
            yield heapq.heappop(held)[2]

    def _moved(self, chance: random.Random) -> int:
        """So many deliveries later."""
        for kind, span in _MOVED.items():
            if chance.random() < self.rates.get(kind, 0):
                self.done[kind] += 1
                return chance.randint(*span)
        return 0

    def _besides(self, delivery: Delivery, chance: random.Random) -> Iterator[Delivery]:
        for kind in VERDICTS:
            if kind in _MOVED or chance.random() >= self.rates.get(kind, 0):
                continue
            copy = self._copy(kind, delivery)
            if copy is not None:
                self.done[kind] += 1
                yield replace(copy, mark=kind)

    def _copy(self, kind: str, delivery: Delivery) -> Delivery | None:
        """None where this event cannot be disturbed so."""
        if kind == "duplicate":
            return delivery
        other_id = f"{delivery.delivery_id}-{kind}"
        match kind:
            case "bad_signature":
                return replace(delivery, delivery_id=other_id, signer=self.forged.sign)
            case "stale_timestamp":
                return replace(delivery, delivery_id=other_id, signer=self._sign_long_ago)
            case "truncated_json":
                body: bytes | None = delivery.body[: max(1, len(delivery.body) * 2 // 3)]
            case "wrong_types":
                body = _with_wrong_type(json.loads(delivery.body))
            case _:
                body = _of_unknown_type(json.loads(delivery.body), other_id)
        return None if body is None else replace(delivery, body=body, delivery_id=other_id)

    def _sign_long_ago(self, envelope: Envelope) -> dict[str, str]:
        return self.credential.sign(replace(envelope, timestamp=envelope.timestamp - STALE_SECONDS))


def _with_wrong_type(document: dict[str, Any]) -> bytes | None:
    """The body with a required field made a list; None for an event that requires nothing."""
    sent_as = next(str(document[key]) for key in TYPE_KEYS if key in document)
    kind = TYPE_BY_NAME.get(sent_as)
    if kind is None:
        return None
    fields = document["data"] if isinstance(document.get("data"), dict) else document
    required = {name for known in kind.fields if known.is_required for name in known.names}
    for name in required & set(fields):
        fields[name] = [fields[name]]
    return body_bytes(document)


def _of_unknown_type(document: dict[str, Any], event_id: str) -> bytes:
    for key in (*TYPE_KEYS, "id", "event_id"):
        if key in document:
            document[key] = event_id if key.endswith("id") else f"brand_new_{OTHER}"
    return body_bytes(document)
