"""SIGKILL, EIO and ENOSPC at the N-th system call of forgetting a person.

Whatever happens, everybody else is whole for every reader; one clean run, and of the person no byte
is left, however things are encoded.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator

import duckdb

from tests.warehouse.forgetting import places_of

from .accounting import account, lake_rows
from .load import Book, body_of
from .nursery import Child, Injection, Watching
from .outcome import Outcome, Scale
from .stock import stock
from .syscalls import Scene, published_rows, run_scene


def run(scale: Scale) -> Outcome:
    return run_scene(Erasing, scale)


class Erasing(Scene):
    """Somebody with events in a file with others', in one alone, in waiting and in the history."""

    name = "syscalls-erase"
    OTHERS, THEIRS = 20, 4

    def prepare(self) -> None:
        settings = self.hooklake.settings
        self.email = _account_of(f"{self.name}-0")
        theirs = list(itertools.islice(self._ids(is_theirs=True), self.THEIRS))
        others = list(itertools.islice(self._ids(is_theirs=False), self.OTHERS))
        self.others = Book(self.name)
        stock(settings, self.others, others)
        for command, event_ids in (("refresh", theirs[:2]), ("land", theirs[2:3])):
            stock(settings, self.book, event_ids)
            code, said = self.forks.run(command, self.data_dir)
            assert code == 0, said
        stock(settings, self.book, theirs[3:])
        history = self.data_dir / "sql_history"
        history.write_text(f"select 1;\nselect '{self.email}';\n")

    def _ids(self, *, is_theirs: bool) -> Iterator[str]:
        for number in itertools.count():
            event_id = f"{self.name}-{number}"
            if (_account_of(event_id) == self.email) == is_theirs:
                yield event_id

    def act(self, under: Injection | Watching | None) -> tuple[Child, int]:
        child = self.forks.start("forget", self.data_dir, under=under, email=self.email)
        return child, child.wait()

    def check_after_fault(self, outcome: Outcome) -> None:
        """The published version, where there is one, has everybody else; and all of them or none
        of the person's."""
        try:
            rows = published_rows(self.data_dir)
        except FileNotFoundError:
            return  # a build that failed leaves no version that tells of the person
        except duckdb.Error as error:
            outcome.problems.append(f"the published version cannot be read: {error}")
            return
        theirs = [row for row in rows if row[0] in self.book.sent]
        outcome.require(len(theirs) in (0, 2), f"{len(theirs)} of the person's are published")
        account(outcome, self.others, [row for row in rows if row not in theirs], "published: ")

    def check_mended(self, outcome: Outcome) -> None:
        account(outcome, self.others, lake_rows(self.data_dir))
        account(outcome, self.others, published_rows(self.data_dir), "published: ")
        left = places_of(self.data_dir, re.escape(self.email))
        outcome.require(not left, f"the person is still in {left}")
        certificates = list((self.data_dir / "erasures").glob("*.json"))
        outcome.require(0 < len(certificates) <= 2, f"{len(certificates)} certificates")


def _account_of(event_id: str) -> str:
    return str(json.loads(body_of(event_id))["data"]["owner_email"])
