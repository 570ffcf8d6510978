"""Forgets again whom a restored backup has brought back: nobody's name is known, only tombstones.

Every account, owner id and workspace that is stored, and every address in bodies and payloads, is
hashed and looked up. Whoever has a tombstone is erased as by `hooklake forget`, all at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import duckdb

from ingest.catalogue import live_files
from ingest.errors import LedgerError, StorageError
from ingest.ledger import describe, open_ledger, transaction
from ingest.paths import DataDir
from ingest.settings import Settings
from ingest.stated import addresses
from ingest.tombstones import Tombstones, carry_over, key_name, key_of, take_over, tombstones
from warehouse.certificate import FOLDER
from warehouse.forget import erase
from warehouse.person import Person, lake_reader

_NAMES: Final = ("account_id", "owner_id", "workspace_id")
_ADDRESSES: Final = (
    "select distinct unnest(regexp_extract_all(lower(payload),"
    " '[^\\s\"''<>()\\[\\]{},;:\\\\/|=&?]+@[^\\s\"''<>()\\[\\]{},;:\\\\/|=&?]+')) from lake"
    " where account_id is null or length(payload) - length(replace(payload, '@', '')) > 1"
)
"""Of the payloads with one address alone, that address is the account and looked up as such."""


def apply_tombstones(settings: Settings, *, newer_ledger: Path | None = None) -> int:
    """Forget everybody who has a tombstone and is here again; how many events that were.

    newer_ledger: a ledger of this installation that may know of later erasures than the restored
    one. Tombstones of the certificates in the data directory are taken over as well. Idempotent.
    Raises: HooklakeError.
    """
    paths = settings.paths
    if not paths.ledger.exists():
        return 0
    connection = open_ledger(paths.ledger)
    try:
        with transaction(connection):
            if newer_ledger is not None:
                carry_over(newer_ledger, connection)
            take_over(connection, key_of(connection), _of_certificates(connection, paths))
        known = tombstones(connection)
        if known is None:
            return 0
        person = _returned(known, paths, connection)
    except apsw.Error as error:
        raise LedgerError(f"reading tombstones of {paths.ledger}: {describe(error)}") from error
    except duckdb.Error as error:
        raise StorageError(
            f"searching the lake for people who were forgotten failed ({type(error).__name__});"
            " `hooklake doctor` says which file is damaged"
        ) from None
    finally:
        connection.close()
    if person == Person():
        return 0
    return int(erase(settings, person, is_linked=False)["removed"]["events"])


def _of_certificates(connection: apsw.Connection, paths: DataDir) -> Iterator[tuple[Any, ...]]:
    """Tombstones that certificates of this installation tell; others cannot be used here."""
    ours = key_name(key_of(connection))
    for path in sorted((paths.root / FOLDER).glob("*.json")):
        try:
            certificate = json.loads(path.read_text("utf-8"))
            told = certificate["tombstones"]
            if told["key"] == ours:
                for each in told["of"]:
                    yield bytes.fromhex(each["hash"]), each["kind"], certificate["erasure_id"], 0
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no certificate


def _returned(known: Tombstones, paths: DataDir, connection: apsw.Connection) -> Person:
    """All that is stored of people with tombstones, as one."""
    bodies: Any = connection.execute("select body from quarantine")
    loose = {
        found for (body,) in bodies for found in addresses(bytes(body).decode("utf-8", "replace"))
    }
    with lake_reader(paths.lake, live_files(paths.ledger)) as reader:
        columns: dict[str, set[str]] = {}
        for name in _NAMES:
            rows: list[Any] = reader.execute(f"select distinct {name} from lake").fetchall()
            rows += connection.execute(f"select distinct {name} from inbox").fetchall()
            columns[name] = {str(row[0]) for row in rows if row[0] is not None}
        loose |= {str(row[0]).rstrip(".") for row in reader.execute(_ADDRESSES).fetchall()}
    return Person(
        known.among("account", columns["account_id"] | loose),
        known.among("owner", columns["owner_id"]),
        known.among("workspace", columns["workspace_id"]),
    )
