"""`hooklake listen --full`: the log on a whole terminal, with details, comparison and resending.

The list keeps the newest 1,000 lines and no body; a body is read from the ledger when its line is
looked at. Whatever a sender wrote is shown as text: never as markup, never as an escape sequence.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar, Final

import apsw
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Static

from ingest import since as moments
from ingest.deliver import DeliveryError, credential_of, send_one
from ingest.delivery_log import (
    Filter,
    Logged,
    body_of,
    deliveries,
    newest_rejection,
    newest_seq,
)
from ingest.errors import HooklakeError, UsageError
from ingest.forward import Forwarder
from ingest.ledger import open_read_only
from ingest.listen import POLL_SECONDS, FollowedLog, answer_line
from ingest.log_lines import details, kind_of
from ingest.resend import as_delivery
from ingest.settings import Settings
from ingest.sign import SigningError
from ingest.strict_json import InvalidJsonError, parse_object
from ingest.terminal import one_line
from ingest.where import Condition
from ingest.wording import number_of

LINES_MAX: Final = 1_000
SHOWN_AT_START: Final = 200
READ_AT_ONCE_MAX: Final = 500
"""Lines taken from the log between two looks at the keyboard."""
BODY_LINES_MAX: Final = 2_000
_COLUMNS: Final = ("received (UTC)", "verdict", "event", "account", "id")
_STYLES: Final = {
    "accepted": "green",
    "duplicate": "cyan",
    "quarantined": "yellow",
    "rejected": "red",
}


def run(
    settings: Settings,
    wanted: Filter,
    conditions: Sequence[Condition] = (),
    forwarder: Forwarder | None = None,
) -> int:
    """Show the log until `q`; always 0. Raises: UsageError without a terminal, LedgerError."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--full needs a terminal; without it a line is printed for each delivery")
    with open_read_only(settings.paths.ledger) as connection:
        FullScreen(settings, connection, wanted, conditions, forwarder).run()
    return 0


class FullScreen(App[None]):
    """The list above, what is chosen in it below."""

    TITLE = "hooklake listen"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    DataTable { height: 1fr; }
    #lower { height: 1fr; border-top: solid $primary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "details", "Details"),
        Binding("m", "mark", "Mark"),
        Binding("x", "compare", "Compare with mark"),
        Binding("r", "resend", "Resend"),
        Binding("f", "follow", "Follow on/off"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self,
        settings: Settings,
        connection: apsw.Connection,
        wanted: Filter,
        conditions: Sequence[Condition] = (),
        forwarder: Forwarder | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._connection = connection
        self._forwarder = forwarder
        self._newest_at_start = newest_seq(connection)
        self._is_history_meant = wanted.since is not None
        newest = max(self._newest_at_start, newest_rejection(connection))
        self._log_read = FollowedLog(
            connection, wanted, conditions, begin=max(0, newest - SHOWN_AT_START)
        )
        self._to_send: queue.SimpleQueue[Callable[[], tuple[Logged, str]]] = queue.SimpleQueue()
        self._unread: Iterator[Logged] = iter(())
        self._lines: OrderedDict[str, Logged] = OrderedDict()
        self._marked: Logged | None = None
        self._is_following = True
        self._is_comparing = False

    def compose(self) -> ComposeResult:
        table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=True)
        yield table
        with VerticalScroll(id="lower"):
            yield Static(id="details", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        table = self._table
        for name in _COLUMNS:
            table.add_column(name, key=name)
        table.focus()
        threading.Thread(target=self._send_waiting, name="send", daemon=True).start()
        self.set_interval(POLL_SECONDS, self._read)
        self._read()

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    def _read(self) -> None:
        """Add what is new, and forget the oldest lines beyond the limit."""
        taken = 0
        for logged in self._next_lines():
            self._add(logged)
            taken += 1
        if not taken:
            return
        while len(self._lines) > LINES_MAX:
            key, _ = self._lines.popitem(last=False)
            self._table.remove_row(key)
        if self._is_following:
            self._table.move_cursor(row=self._table.row_count - 1)

    def _next_lines(self) -> Iterator[Logged]:
        """At most so many that keys are answered in between; the rest is read next time."""
        for count in range(READ_AT_ONCE_MAX):
            logged = next(self._unread, None)
            if logged is None:
                if count:
                    return
                self._unread = self._log_read.unread()
                logged = next(self._unread, None)
                if logged is None:
                    return
            yield logged

    def _add(self, logged: Logged) -> None:
        key = _key(logged)
        self._lines[key] = logged
        self._table.add_row(
            Text(moments.rfc3339(logged.received_at)[:23]),
            Text(logged.verdict, style=_STYLES[logged.verdict]),
            Text(one_line(kind_of(logged), 40)),
            Text(one_line(logged.account_id or "-", 40)),
            Text(one_line(logged.event_id or "-", 60)),
            key=key,
        )
        if self._forwarder is not None and self._forwards(logged):
            body = body_of(self._connection, logged)
            if body is not None:
                self._to_send.put(partial(self._forward, self._forwarder, logged, body))

    def _forwards(self, logged: Logged) -> bool:
        """What was there at the start is handed on only where `--since` asked for it."""
        return self._is_history_meant or (logged.seq or 0) > self._newest_at_start

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        if not self._is_comparing:
            self.action_details()

    def action_details(self) -> None:
        """Everything about the line under the cursor."""
        self._is_comparing = False
        logged = self._chosen
        if logged is not None:
            self._show("\n".join(self._told(self._as_it_is_now(logged))))

    def _as_it_is_now(self, logged: Logged) -> Logged:
        """The same delivery read again: when it was listed it was not in the lake yet."""
        if logged.seq is None:
            return logged
        of_its_number = {"after": logged.seq - 1, "until": logged.seq}
        return next(deliveries(self._connection, Filter(), **of_its_number), logged)

    def action_mark(self) -> None:
        """Remember this delivery, to compare another one with it."""
        self._marked = self._chosen
        if self._marked is not None:
            self._say(f"{_name(self._marked)} is marked; choose another one and press x")

    def action_compare(self) -> None:
        """What differs between the bodies of the marked delivery and of this one."""
        logged = self._chosen
        if logged is None or self._marked is None:
            self._say("mark a delivery with m first, then choose another one")
            return
        self._is_comparing = True
        one, other = (
            list(_body_lines(body_of(self._connection, each))) for each in (self._marked, logged)
        )
        difference = list(
            difflib.unified_diff(one, other, _name(self._marked), _name(logged), lineterm="")
        )
        if not difference:
            self._show("The two bodies say the same.")
            return
        self._show(Text("\n").join(Text(line, style=_style_of(line)) for line in difference))

    def action_resend(self) -> None:
        """Send this delivery again, signed anew: to the application, else to the receiver."""
        logged = self._chosen
        body = None if logged is None else body_of(self._connection, logged)
        if logged is None or body is None:
            self._say("of this one no body is kept; there is nothing to send")
        elif self._forwarder is not None:
            self._to_send.put(partial(self._forward, self._forwarder, logged, body))
        else:
            self._to_send.put(partial(self._resend, logged, body))

    def action_follow(self) -> None:
        """Whether the cursor goes to what is new."""
        self._is_following = not self._is_following
        self._say("following" if self._is_following else "standing still")

    @property
    def _chosen(self) -> Logged | None:
        table = self._table
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return None if key is None else self._lines.get(key)

    def _told(self, logged: Logged) -> Iterator[str]:
        yield f"{_name(logged)}: {logged.verdict}, {one_line(kind_of(logged))}"
        for name, value in (
            ("received", moments.rfc3339(logged.received_at)),
            ("account", logged.account_id),
            ("event id", logged.event_id),
            ("delivery id", logged.delivery_id),
            ("proved by", logged.verified_by),
            ("client", logged.client),
        ):
            if value is not None:
                yield f"  {name:<12}{one_line(value, 300)}"
        yield from (f"  {each}" for each in details(logged))
        yield ""
        yield from _body_lines(body_of(self._connection, logged))

    def _send_waiting(self) -> None:
        """The sending thread: one after the other, in the order they were asked for."""
        while True:
            logged, said = self._to_send.get()()
            with contextlib.suppress(RuntimeError):  # the screen is gone
                self.call_from_thread(self._say, f"{_name(logged)} {said}")

    def _resend(self, logged: Logged, body: bytes) -> tuple[Logged, str]:
        delivery = as_delivery(logged, body)
        try:
            signer = credential_of(self._settings).sign
            answer = send_one(self._settings.webhook_url, delivery, signer)
            said = f"answered {answer.status} {answer.verdict}"
        except (DeliveryError, SigningError) as error:
            said = f"not sent: {error}"
        return logged, f"sent again: {said}"

    def _forward(self, forwarder: Forwarder, logged: Logged, body: bytes) -> tuple[Logged, str]:
        try:
            return logged, answer_line(forwarder.forward(logged, body)).strip()
        except HooklakeError as error:
            return logged, str(error)

    def _show(self, text: str | Text) -> None:
        self.query_one("#details", Static).update(Text(text) if isinstance(text, str) else text)
        self.query_one("#lower", VerticalScroll).scroll_home(animate=False)

    def _say(self, message: str) -> None:
        self.notify(one_line(message, 300), markup=False, timeout=6)


def _style_of(line: str) -> str:
    """The colour of a line of a comparison; its sign says the same."""
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


def _key(logged: Logged) -> str:
    return f"r{logged.rejection_id}" if logged.seq is None else f"s{logged.seq}"


def _name(logged: Logged) -> str:
    return f"refused {logged.rejection_id}" if logged.seq is None else f"seq {logged.seq}"


def _body_lines(body: bytes | None) -> Iterator[str]:
    """The body for a person, as lines that are safe for a terminal; JSON with sorted keys."""
    if body is None:
        yield "(no body is kept)"
        return
    try:
        text = json.dumps(parse_object(body), indent=2, ensure_ascii=False, sort_keys=True)
    except InvalidJsonError:
        text = body.decode("utf-8", "backslashreplace")
    lines = text.split("\n")
    yield from (one_line(line, 500) for line in lines[:BODY_LINES_MAX])
    if len(lines) > BODY_LINES_MAX:
        yield f"… and {number_of(len(lines) - BODY_LINES_MAX, 'further line')}"
