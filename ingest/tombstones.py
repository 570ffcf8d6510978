"""Who was forgotten: keyed hashes in the ledger, and the question whether a delivery names one.

A tombstone is HMAC-SHA256 over a kind and an identifier, under a key of this installation, so the
ledger can refuse a person without knowing whom. Kinds: `account` (the e-mail as account_id),
`owner` (the sender's id of the owner) and `workspace` (asked only where an event names neither).
The tables are part of the ledger; whoever writes deliveries asks inside the same transaction, so
nothing of a forgotten person can slip in beside an erasure.

    erasures     what was asked for, and how far it is; the person's names only until it is done
    tombstones   hashes of every name that was erased

Source: quality.md, "Erasure of a person" and durability rule 7.
"""

from __future__ import annotations

import hmac
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import apsw

from ingest.parse import Event, Malformed
from ingest.stated import addresses, stated_account, stated_owner

Kind = Literal["account", "owner", "workspace"]
KEY_NAME: Final = "erasure_key"


@dataclass(frozen=True)
class Tombstones:
    """The tombstones of a ledger, asked through the connection of a transaction under way."""

    connection: apsw.Connection
    key: bytes

    def cover(self, content: Event | Malformed, body: bytes) -> bool:
        """Whether the delivery is about somebody who was forgotten."""
        if isinstance(content, Malformed):
            return any(self.has(kind, name) for kind, name in _stated(body))
        account, owner, workspace = content.business[:3]
        if account is None and owner is None:
            return self.has("workspace", workspace)
        return self.has("account", account) or self.has("owner", owner)

    def has(self, kind: Kind, name: str | bool | None) -> bool:
        """Whether this account_id, owner_id or workspace_id was forgotten; None never was."""
        if not isinstance(name, str):
            return False
        found = self.connection.execute(
            "select 1 from tombstones where hash = ?", (hash_of(self.key, kind, name),)
        ).fetchone()
        return found is not None

    def among(self, kind: Kind, names: Iterable[str | None]) -> frozenset[str]:
        """Those of `names` that were forgotten: for a whole column at once, doubles welcome."""
        wanted = {name for name in names if name is not None}
        known = {
            bytes(row[0])
            for row in self.connection.execute(
                "select hash from tombstones where kind = ?", (kind,)
            )
        }
        return frozenset(name for name in wanted if hash_of(self.key, kind, name) in known)


def tombstones(connection: apsw.Connection) -> Tombstones | None:
    """The ledger's tombstones, None while nobody was forgotten: then there is nothing to ask."""
    if connection.execute("select 1 from tombstones limit 1").fetchone() is None:
        return None
    return Tombstones(connection, key_of(connection))


def forgotten(
    connection: apsw.Connection, names: Iterable[str | None], kind: Kind = "account"
) -> frozenset[str]:
    """The account ids (or owner, workspace ids) of a column that must not be stored."""
    found = tombstones(connection)
    return frozenset() if found is None else found.among(kind, names)


def lay(connection: apsw.Connection, erasure_id: str, kind: Kind, names: Iterable[str]) -> None:
    """Add tombstones within the caller's transaction; one that is there already stays."""
    key = key_of(connection)
    connection.executemany(
        "insert or ignore into tombstones values (?, ?, ?, ?)",
        [(hash_of(key, kind, name), kind, erasure_id, time.time_ns() // 1_000) for name in names],
    )


def carry_over(source: Path, target: apsw.Connection) -> int:
    """Take over the tombstones of another ledger file of this installation; how many were new.

    For a restored backup: what was forgotten since then stays forgotten. Within the caller's
    transaction. Raises: apsw.Error where `source` cannot be read.
    """
    other = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        other.set_busy_timeout(5_000)
        if not other.execute("select 1 from sqlite_schema where name = 'tombstones'").fetchone():
            return 0
        rows = other.execute("select hash, kind, erasure_id, added_at from tombstones").fetchall()
        if not rows:
            return 0
        key = key_of(other)
    finally:
        other.close()
    return take_over(target, key, rows)


def take_over(target: apsw.Connection, key: bytes, rows: Iterable[tuple[Any, ...]]) -> int:
    """Enter tombstones made under `key`, within the caller's transaction; how many were new.

    rows: hash, kind, erasure_id, added_at. Raises: ValueError where the ledger has another key:
    these are not of this installation, and would cover nobody.
    """
    if key_of(target) != key:
        raise ValueError("the tombstones were made under the key of another installation")
    before = target.total_changes()
    target.executemany("insert or ignore into tombstones values (?, ?, ?, ?)", rows)
    return target.total_changes() - before


def hash_of(key: bytes, kind: Kind, name: str) -> bytes:
    """The tombstone of one name; composed and decomposed letters of it are the same."""
    text = name if name.isascii() else unicodedata.normalize("NFC", name)
    return hmac.digest(key, f"{kind}\0{text}".encode(), "sha256")


def key_name(key: bytes) -> str:
    """What a key may be called where it must not be told."""
    return hmac.digest(key, b"name", "sha256").hex()[:16]


def key_of(connection: apsw.Connection) -> bytes:
    """The installation's key, made with the ledger."""
    (found,) = next(connection.execute("select value from meta where key = ?", (KEY_NAME,)))
    return bytes.fromhex(str(found))


def _stated(body: bytes) -> Iterable[tuple[Kind, str]]:
    """The names in a body that is no event; of an unreadable one, whatever looks like an e-mail."""
    account, owner = stated_account(body), stated_owner(body)
    if account is not None:
        yield "account", account
    if owner is not None:
        yield "owner", owner
    if account is None:
        for address in addresses(body.decode("utf-8", "replace")):
            yield "account", address
