"""Who somebody is here: accounts and owner ids that belong together, and their rows.

An e-mail leads to the owner ids stated with it, and these to further e-mails. Workspaces that only
this person ever claimed belong along: what names neither account nor owner is about them.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import apsw
import duckdb
import polars as pl

from ingest.catalogue import LakeFile
from ingest.errors import RefusedError, UsageError
from ingest.ledger import LANDED_UNTIL
from ingest.stated import stated_account, stated_owner
from ingest.values import read_account
from warehouse.mentions import Mentions
from warehouse.state import lake_table, literal

ACCOUNTS_MAX: Final = 5
"""An owner id under which more accounts are found names nobody: a sender's placeholder."""

PLACEHOLDERS: Final = frozenset(("0", "-1", "null", "none", "undefined", "nil", "n/a"))
"""Owner ids that senders without one give; they link nobody to anybody."""

SHORT_TEXT: Final = ("event_id", "delivery_id", "payload")
"""Lake columns that may speak of somebody; what the others say was read from the payload."""

IS_THEIRS: Final = (
    "(coalesce(account_id in (select name from theirs where kind = 'accounts'), false)"
    " or coalesce(owner_id in (select name from theirs where kind = 'owners'), false)"
    " or (account_id is null and owner_id is null and coalesce("
    "workspace_id in (select name from theirs where kind = 'workspaces'), false)))"
)
"""SQL over the columns of a stored row, after `name_in`: it is this person's."""

MEMORY_LIMIT: Final = "1GB"


class TooManyAccountsError(RefusedError):
    code = "too_many_accounts"


@dataclass(frozen=True)
class Person:
    """Names in the form they are stored in; `accounts` may be empty where an owner id was given.

    others: other people's accounts that hold one of these as a part.
    """

    accounts: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    workspaces: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @cached_property
    def mentions(self) -> Mentions:
        return Mentions(self.accounts, self.others)

    def as_json(self) -> str:
        return json.dumps({each.name: sorted(getattr(self, each.name)) for each in fields(self)})

    @staticmethod
    def of_json(text: str) -> Person:
        return Person(**{name: frozenset(names) for name, names in json.loads(text).items()})

    def is_stated(self, body: bytes) -> bool:
        """Whether a body that is no event is about this person, or speaks of nobody else."""
        is_mentioned = self.mentions.found_in_bytes(body)
        if not is_mentioned and not any(owner.encode() in body for owner in self.owners):
            return False
        owner, account = stated_owner(body), stated_account(body)
        if (owner is not None and owner in self.owners) or (
            account is not None and account in self.accounts
        ):
            return True
        return account is None and is_mentioned

    @property
    def mention_condition(self) -> str:
        """DuckDB's SQL over lake columns: it may speak of this person; finds too many, never too
        few."""
        if not self.accounts:
            return "false"
        pattern = literal(self.mentions.loose_pattern)
        return " or ".join(
            f"coalesce(regexp_matches({column}, {pattern}, 'i'), false)" for column in SHORT_TEXT
        )


def named(email: str | None, owner_id: str | None) -> Person:
    """Whom the command line names. Raises: UsageError."""
    account = read_account(email) if email is not None else None
    owner = owner_id.strip() if owner_id is not None else None
    if not account and not owner:
        raise UsageError("name a person by an e-mail address, or by --owner-id")
    return Person(frozenset((account,) if account else ()), frozenset((owner,) if owner else ()))


@contextmanager
def lake_reader(lake: Path, files: Sequence[LakeFile]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB whose view `lake` holds the rows of these files, `filename` among the columns."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("set preserve_insertion_order = false")
        if files:
            table = lake_table(lake, files)[:-1] + ", filename = true)"
            connection.execute(f"create view lake as select * from {table}")
        else:
            columns = "account_id, owner_id, workspace_id, event_id, delivery_id, payload, filename"
            typed = ", ".join(f"null::varchar as {name}" for name in columns.split(", "))
            connection.execute(f"create view lake as select {typed}, 0 as seq where false")
        yield connection


def name_in(connection: duckdb.DuckDBPyConnection | apsw.Connection, person: Person) -> None:
    """Put the person's names where IS_THEIRS looks for them, in DuckDB or in SQLite."""
    connection.execute("create temp table if not exists theirs (kind varchar, name varchar)")
    connection.execute("delete from theirs")
    names = [
        (kind, name)
        for kind in ("accounts", "owners", "workspaces")
        for name in sorted(getattr(person, kind))
    ]
    if names:
        connection.executemany("insert into theirs values (?, ?)", names)


def known_as(
    person: Person, reader: duckdb.DuckDBPyConnection, ledger: apsw.Connection | None
) -> Person:
    """The person with every account, owner id and workspace that belongs along.

    Raises: TooManyAccountsError where an owner id is shared by more than ACCOUNTS_MAX accounts.
    """
    _gather(reader, ledger)
    person = replace(person, accounts=person.accounts | _other_forms(person, reader))
    while True:
        name_in(reader, person)
        found = Person(
            person.accounts | _column(reader, f"select account_id from stated where {IS_THEIRS}"),
            person.owners
            | (
                _column(reader, f"select owner_id from stated where {IS_THEIRS}")
                - _placeholders(reader)
            ),
            person.workspaces,
            person.others,
        )
        if len(found.accounts) > ACCOUNTS_MAX:
            raise TooManyAccountsError(
                f"at least {len(found.accounts)} accounts share an owner id with this person, so"
                " the id names nobody; --unlinked takes the e-mail alone"
            )
        if found == person:
            return _completed(found, reader)
        person = found


def alone(
    person: Person, reader: duckdb.DuckDBPyConnection, ledger: apsw.Connection | None
) -> Person:
    """The person as named, without what only an owner id would add."""
    _gather(reader, ledger)
    person = replace(person, accounts=person.accounts | _other_forms(person, reader))
    name_in(reader, person)
    return _completed(person, reader)


def _gather(reader: duckdb.DuckDBPyConnection, ledger: apsw.Connection | None) -> None:
    """Fill temp.stated with every combination of names in the lake, and of what waits for it."""
    reader.execute(
        "create or replace temp table stated as"
        " select distinct account_id, owner_id, workspace_id from lake"
    )
    if ledger is None:
        return
    waiting = ledger.execute(
        f"select distinct account_id, owner_id, workspace_id from inbox where seq > {LANDED_UNTIL}"
    ).fetchall()
    if waiting:  # may be hundreds of thousands, and DuckDB takes a millisecond for each by itself
        names = ("account_id", "owner_id", "workspace_id")
        frame = pl.DataFrame(waiting, schema=dict.fromkeys(names, pl.String()), orient="row")
        reader.register("waiting", frame.to_arrow())
        reader.execute("insert into stated select * from waiting")
        reader.unregister("waiting")


def _other_forms(person: Person, reader: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The accounts that differ from this person's only in how their letters are composed."""
    composed = [unicodedata.normalize("NFC", account) for account in person.accounts]
    if all(account.isascii() for account in composed):
        return frozenset()
    return _column(
        reader,
        "select account_id from stated where nfc_normalize(account_id) in (select unnest(?))",
        [composed],
    )


def _completed(person: Person, reader: duckdb.DuckDBPyConnection) -> Person:
    """With the workspaces that nobody else ever claimed, and the accounts to be told from these."""
    workspaces = _column(
        reader,
        f"select workspace_id from stated where {IS_THEIRS} except"
        f" select workspace_id from stated where not {IS_THEIRS}"
        " and (account_id is not null or owner_id is not null)",
    )
    others = _column(
        reader,
        f"select account_id from stated where not {IS_THEIRS} and exists (select 1 from theirs"
        " where kind = 'accounts' and contains(account_id, name))",
    )
    return replace(person, workspaces=person.workspaces | workspaces, others=others)


def _placeholders(reader: duckdb.DuckDBPyConnection) -> frozenset[str]:
    return _column(
        reader,
        "select owner_id from stated where lower(owner_id) in (select unnest(?))",
        [sorted(PLACEHOLDERS)],
    )


def _column(
    reader: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] = ()
) -> frozenset[str]:
    rows = reader.execute(query, parameters).fetchall()
    return frozenset(str(row[0]) for row in rows if row[0] is not None)
