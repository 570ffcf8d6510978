"""The certificate of an erasure: what was removed and when, without saying whose it was.

Whoever knows the address can prove that a certificate is about it: scrypt over it with the
certificate's salt gives the hash. Nobody can read the address from it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw

from ingest.paths import DataDir, ensure_directory_durably, write_file_durably
from ingest.tombstones import key_name, key_of
from warehouse.person import Person

FOLDER: Final = "erasures"
SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
SALT_BYTES: Final = 16


def certificate_of(
    connection: apsw.Connection,
    erasure_id: str,
    requested_at: int,
    person: Person,
    report: dict[str, Any],
) -> dict[str, Any]:
    """The certificate's content. requested_at: microseconds UTC."""
    salt = secrets.token_bytes(SALT_BYTES)
    return {
        "certificate": "erasure of a person by hooklake",
        "erasure_id": erasure_id,
        "requested_at": _rfc3339(datetime.fromtimestamp(requested_at / 1e6, UTC)),
        "completed_at": _rfc3339(datetime.now(UTC)),
        "person": {
            "algorithm": "scrypt",
            **SCRYPT,
            "of": "the e-mail address, trimmed and in lower case; or the owner id",
            "salt": salt.hex(),
            "accounts": [person_hash(name, salt) for name in sorted(person.accounts)],
            "owner_ids": [person_hash(name, salt) for name in sorted(person.owners)],
            "workspaces": len(person.workspaces),
        },
        "removed": report["removed"],
        "redacted_rows": report["redacted_rows"],
        "files_rewritten": report["files"],
        "warehouse_versions_dropped": report["versions_dropped"],
        "other_files_cleaned": report["other_files"],
        "files_left": report["left"],
        "tombstones": {
            "key": key_name(key_of(connection)),
            "of": [
                {"kind": kind, "hash": bytes(found).hex()}
                for kind, found in connection.execute(
                    "select kind, hash from tombstones where erasure_id = ? order by kind, hash",
                    (erasure_id,),
                )
            ],
        },
    }


def person_hash(name: str, salt: bytes) -> str:
    """scrypt over an account_id or owner id, in hex."""
    return hashlib.scrypt(name.encode(), salt=salt, **SCRYPT).hex()


def certificate_path(paths: DataDir, erasure_id: str) -> Path:
    return paths.root / FOLDER / f"{erasure_id}.json"


def write_certificate(paths: DataDir, erasure_id: str, report: dict[str, Any]) -> None:
    """Leave it in the data directory, durably; written again it is the same."""
    ensure_directory_durably(paths.root / FOLDER, below=paths.root / FOLDER)
    content = json.dumps(report["certificate"], indent=2) + "\n"
    write_file_durably(certificate_path(paths, erasure_id), content.encode())


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
