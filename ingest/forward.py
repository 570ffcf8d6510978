"""What was received handed on to an application under development, signed anew.

The application sees the very bytes under the id that the event has here, with proof made by this
installation's first usable scheme, so it checks signatures with the receiver's own secret.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from ingest.deliver import (
    Delivery,
    ReceiverAbsentError,
    Target,
    credential_of,
    send_one,
)
from ingest.delivery_log import Logged
from ingest.errors import UsageError
from ingest.resend import replay_id
from ingest.settings import Settings, is_loopback

FORWARD_HEADER: Final = "X-Hooklake-Forward"
BODY_SHOWN_MAX: Final = 2_000


@dataclass(frozen=True)
class Forwarded:
    """What the application answered. status: None where no whole answer came in time."""

    status: int | None
    seconds: float
    body: str

    def as_dict(self) -> dict[str, object]:
        return {"status": self.status, "seconds": round(self.seconds, 6), "body": self.body}


class Forwarder:
    """Hands deliveries on to one URL, one after the other."""

    def __init__(self, settings: Settings, url: str, *, allows_remote: bool = False) -> None:
        """Raises: UsageError for a URL that is not to be sent to; SigningError without a secret."""
        target = Target.of(url)
        is_near = is_loopback(target.host)
        if not is_near and not allows_remote:
            raise UsageError(
                f"{url} is not on this machine, and bodies hold customers' addresses: add"
                " --allow-remote if it is meant"
            )
        if is_near and target.port == settings.port and not target.is_tls:
            raise UsageError(
                f"{url} is this receiver itself: it would be shown what it was sent, and so on;"
                " `hooklake replay` sends again to it"
            )
        self.url = url
        self.credential = credential_of(settings)

    def forward(self, logged: Logged, body: bytes) -> Forwarded:
        """The application's answer, whatever it is; redirects are not followed."""
        seq = logged.seq if logged.first_seq is None else logged.first_seq
        delivery = Delivery(body, replay_id(logged), headers=((FORWARD_HEADER, str(seq)),))
        began = time.monotonic()
        try:
            answer = send_one(self.url, delivery, self.credential.sign)
        except ReceiverAbsentError as error:
            return Forwarded(None, time.monotonic() - began, error.found)
        text = answer.body[: BODY_SHOWN_MAX + 1].decode("utf-8", "replace")
        return Forwarded(answer.status, time.monotonic() - began, text[:BODY_SHOWN_MAX])
