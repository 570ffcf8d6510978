"""Sends deliveries over HTTP as a patient sender would: signed, many at a time, until answered.

One keep-alive connection for each worker, one request at a time on it. Written on asyncio's
protocols and httptools because a year of made-up events must not take longer to send than to
receive: side by side with it, httpx sent less than a quarter of the deliveries per second.

DeliveryError
|- ReceiverAbsentError   nothing answers at the URL
`- ReceiverRefusedError  it answers, but will take nothing that is sent so
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools
import uvloop

from ingest.errors import HooklakeError, UsageError
from ingest.settings import STANDARD_PREFIX, WEBHOOK_PATH, Settings
from ingest.sign import Envelope, HmacTemplate, SigningError, signed_headers

CONNECTIONS: Final = 32
ANSWER_SECONDS_MAX: Final = 15.0
"""The receiver answers within 8 s or not at all."""
RETRY_WAIT_SECONDS_MAX: Final = 10.0
PATIENCE_SECONDS: Final = 60.0
"""How long one delivery is tried again before giving up."""
ANSWER_BYTES_MAX: Final = 1 << 20

Signer = Callable[[Envelope], Mapping[str, str]]


class DeliveryError(HooklakeError):
    code = "delivery"


class ReceiverAbsentError(DeliveryError):
    """`found`: what the network said."""

    code = "receiver_absent"
    is_retryable = True

    def __init__(self, message: str, found: str) -> None:
        self.found = found
        super().__init__(message)


class ReceiverRefusedError(DeliveryError):
    code = "receiver_refused"


@dataclass(frozen=True)
class Delivery:
    """A body and the sender's id for it; sending it twice is the same delivery.

    headers: further ones, of plain ASCII; they prove nothing. signer: in place of the common one.
    due_seconds: not to be sent earlier, from the beginning of all. mark: the sender's own note.
    """

    body: bytes
    delivery_id: str
    headers: tuple[tuple[str, str], ...] = ()
    signer: Signer | None = None
    due_seconds: float = 0.0
    mark: str = ""


@dataclass(frozen=True)
class Answer:
    """`retry_after`: seconds, where the receiver asked for patience."""

    status: int
    body: bytes
    retry_after: float | None = None

    def document(self) -> dict[str, Any]:
        """The JSON object of the answer; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def verdict(self) -> str:
        """accepted, duplicate, quarantined, erased or rejected; else `http_<status>`."""
        said = self.document().get("status")
        is_known = said in ("accepted", "duplicate", "quarantined", "erased", "rejected")
        return str(said) if is_known else f"http_{self.status}"


@dataclass
class Tally:
    """What came of many deliveries. `retried`: attempts beyond the first of each."""

    verdicts: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        return sum(self.verdicts.values())

    @property
    def per_second(self) -> float:
        return self.sent / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Credential:
    """What proves a sender: a scheme and its secret or token (empty for `none`)."""

    scheme: str
    secret: str = field(repr=False)
    hmac_template: HmacTemplate

    def sign(self, envelope: Envelope) -> dict[str, str]:
        """Headers that prove the envelope. Raises: SigningError."""
        return signed_headers(self.scheme, envelope, self.secret, self.hmac_template)


def credential_of(settings: Settings, scheme: str | None = None) -> Credential:
    """What the receiver of these settings believes: its first usable scheme, or the one named.

    Raises: SigningError where there is no secret or token to sign with.
    """
    template = HmacTemplate(
        header=settings.hmac_header,
        prefix=settings.hmac_prefix,
        template=settings.hmac_template,
        algorithm=settings.hmac_algorithm,
        encoding=settings.hmac_encoding,
        timestamp_header=settings.hmac_timestamp_header,
    )
    candidates = settings.verify if scheme is None else (scheme,)
    for candidate in candidates:
        secret = _secret_for(settings, candidate)
        if secret is not None:
            return Credential(candidate, secret, template)
    raise SigningError(
        f"no secret or token is known for the scheme(s) {', '.join(candidates)}: start"
        f" `hooklake serve` once to have them made in {settings.paths.secrets}, or set"
        " HOOKLAKE_SECRETS or HOOKLAKE_TOKENS as the receiver has them"
    )


def forged_credential(settings: Settings, scheme: str | None = None) -> Credential:
    """The same scheme with a secret that no receiver knows. Raises: SigningError."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    value = secrets.token_hex(20) if scheme == "token" else f"{STANDARD_PREFIX}{key}"
    return replace(credential_of(settings, scheme), secret=value)


def signer_of(settings: Settings, scheme: str | None = None) -> Signer:
    """Signs as `credential_of` says. Raises: SigningError."""
    return credential_of(settings, scheme).sign


def _secret_for(settings: Settings, scheme: str) -> str | None:
    if scheme == "none":
        return ""
    if scheme == "token":
        return settings.tokens[0].value if settings.tokens else None
    usable = (
        secret.value
        for secret in settings.secrets
        if scheme != "standard" or secret.standard_key is not None
    )
    return next(usable, None)


def receiver_url(settings: Settings, given: str | None) -> str:
    """The URL given, with the webhook's path where it has none; else this installation's receiver.

    `http://host/` has a path, the root.
    """
    if given is None:
        return settings.webhook_url
    head, mark, query = given.partition("?")
    scheme, _, rest = head.partition("://")
    is_bare = scheme in ("http", "https") and rest and "/" not in rest and "#" not in rest
    return f"{head}{WEBHOOK_PATH}{mark}{query}" if is_bare else given


def send_all(
    url: str,
    deliveries: Iterable[Delivery],
    signer: Signer,
    *,
    connections: int = CONNECTIONS,
    on_answer: Callable[[Delivery, Answer], None] | None = None,
) -> Tally:
    """Send every delivery, in about their order, and count the answers.

    503 and lost connections are tried again, signed anew; `on_answer` hears the final answers.

    Raises:
        ReceiverAbsentError: nothing listens, or it went away and stayed away.
        UsageError: the URL is none that can be sent to.
    """
    target = Target.of(url)
    run = _Run(target, iter(deliveries), signer, on_answer)
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.all(connections))
    run.tally.seconds = time.monotonic() - began
    return run.tally


def send_one(url: str, delivery: Delivery, signer: Signer) -> Answer:
    """The receiver's answer to one delivery, whatever it is; 503 is not tried again here.

    Raises: ReceiverAbsentError, UsageError.
    """
    target = Target.of(url)

    async def send() -> Answer:
        connection = await _connect(target)
        try:
            return await connection.ask(request_bytes(target, delivery, signer, time.time()))
        except ConnectionError as error:
            raise _absent(target, error) from None
        finally:
            connection.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(send())


@dataclass(frozen=True)
class Target:
    """Where to send: the parts of an http or https URL."""

    url: str
    host: str
    port: int
    path: str
    authority: str
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """Raises: UsageError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"cannot send to {url!r}: {error}") from None
        is_usable = parts.scheme in ("http", "https") and parts.hostname and not parts.username
        if not is_usable or not url.isascii() or any(letter <= " " for letter in url):
            raise UsageError(
                f"cannot send to {url!r}: give an URL such as http://127.0.0.1:8080/webhooks/uchat"
            )
        is_tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(
            url,
            parts.hostname or "",
            port or (443 if is_tls else 80),
            path,
            parts.netloc,
            is_tls,
        )


def request_bytes(target: Target, delivery: Delivery, signer: Signer, now: float) -> bytes:
    """The whole HTTP request, signed at `now` (Unix time)."""
    headers = {
        "Host": target.authority,
        "User-Agent": "hooklake",
        "Content-Type": "application/json",
        "Content-Length": str(len(delivery.body)),
        **dict(delivery.headers),
        **(delivery.signer or signer)(Envelope(delivery.body, delivery.delivery_id, int(now))),
    }
    lines = [f"POST {target.path} HTTP/1.1"]
    for name, value in headers.items():
        if not value.isprintable() or not value.isascii():
            raise SigningError(f"the header {name} cannot carry this value: it is no plain ASCII")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + delivery.body


class _Run:
    """The workers of one `send_all`, their shared supply and their common tally."""

    def __init__(
        self,
        target: Target,
        supply: Iterator[Delivery],
        signer: Signer,
        on_answer: Callable[[Delivery, Answer], None] | None,
    ) -> None:
        self._target = target
        self._supply = supply
        self._signer = signer
        self._on_answer = on_answer
        self._began = time.monotonic()
        self.tally = Tally()

    async def all(self, connections: int) -> None:
        first = await _connect(self._target)  # says at once when nothing listens
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._work(first))
                for _ in range(connections - 1):
                    group.create_task(self._work(None))
        except* HooklakeError as errors:
            failure: BaseException = errors
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            raise failure from None

    async def _work(self, connection: _Connection | None) -> None:
        line = _Line(self._target, connection)
        try:
            for delivery in self._supply:
                if delivery.due_seconds:
                    await asyncio.sleep(self._began + delivery.due_seconds - time.monotonic())
                answer = await self._deliver(line, delivery)
                self.tally.verdicts[answer.verdict] += 1
                if self._on_answer:
                    self._on_answer(delivery, answer)
        finally:
            line.close()

    async def _deliver(self, line: _Line, delivery: Delivery) -> Answer:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        attempt = 0
        while True:
            attempt += 1
            wait = min(0.05 * 2**attempt, RETRY_WAIT_SECONDS_MAX)
            try:
                request = request_bytes(self._target, delivery, self._signer, time.time())
                answer = await line.ask(request)
                if answer.status != 503 or time.monotonic() > give_up_at:
                    return answer
                wait = min(answer.retry_after or wait, RETRY_WAIT_SECONDS_MAX)
            except (ConnectionError, ReceiverAbsentError) as error:
                if time.monotonic() > give_up_at:
                    raise _absent(self._target, error) from None
            self.tally.retried += 1
            await asyncio.sleep(wait)


class _Line:
    """A worker's connection, opened anew whenever the last one is gone."""

    def __init__(self, target: Target, connection: _Connection | None) -> None:
        self._target = target
        self._connection = connection

    async def ask(self, request: bytes) -> Answer:
        """Raises: ConnectionError, ReceiverAbsentError."""
        if self._connection is None or self._connection.is_closed:
            self._connection = await _connect(self._target)
        return await self._connection.ask(request)

    def close(self) -> None:
        if self._connection:
            self._connection.close()


class _Connection(asyncio.Protocol):
    """One connection: a request goes out, its answer comes back, then the next."""

    def __init__(self) -> None:
        self.is_closed = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._retry_after: float | None = None
        self._has_length = False
        self._has_header = False

    async def ask(self, request: bytes) -> Answer:
        """Raises: ConnectionError when no whole answer comes back in time."""
        if self._transport is None or self.is_closed:
            raise ConnectionResetError("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._has_header = False
        self._transport.write(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await self._waiting
        except TimeoutError:
            self.close()
            raise ConnectionAbortedError(f"no answer in {ANSWER_SECONDS_MAX:.0f} s") from None

    def close(self) -> None:
        self.is_closed = True
        if self._transport:
            self._transport.close()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(ConnectionAbortedError("the answer is not HTTP"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if exc is None and self._has_header and not self._has_length:
            self.on_message_complete()  # a body without a length ends with the connection
        self._fail(ConnectionResetError(str(exc or "closed before an answer")))

    # httptools' side

    def on_message_begin(self) -> None:
        self._body.clear()
        self._retry_after = None
        self._has_length = self._has_header = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.isdigit():
            self._retry_after = float(value)
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        self._has_header = True

    def on_body(self, body: bytes) -> None:
        self._body += body[: ANSWER_BYTES_MAX - len(self._body)]

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), bytes(self._body), self._retry_after)
        if not self._parser.should_keep_alive():
            self.close()
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(answer)

    def _fail(self, error: ConnectionError) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(error)


async def _connect(target: Target) -> _Connection:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context() if target.is_tls else None
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            _, connection = await loop.create_connection(
                _Connection, target.host, target.port, ssl=context
            )
    except (OSError, TimeoutError) as error:
        raise _absent(target, error) from None
    return connection


def _absent(target: Target, error: Exception) -> ReceiverAbsentError:
    if isinstance(error, ReceiverAbsentError):
        return error
    found = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ReceiverAbsentError(
        f"no receiver answers at {target.authority} ({found}): start one with `hooklake serve`"
        " (or `make run`) in another terminal, or name another place with --url",
        found,
    )
