"""What a restore leaves until its warehouse is built and proved: from which backup it was made.

It is durable before the ledger is moved into place. Where both are there, everything kept is, and
only the warehouse may be missing: the same command goes on there and copies nothing a second time,
and a refresh finishes it as well.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ingest.paths import DataDir, fsync_directory, write_file_durably
from warehouse.backup import Manifest


class Mark(BaseModel):
    """made_at, manifest_sha256: of the backup. erased: events of people forgotten since."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_at: str
    manifest_sha256: str
    erased: int

    def is_of(self, manifest: Manifest) -> bool:
        return self.manifest_sha256 == _digest(manifest)


def leave_mark(staged: DataDir, manifest: Manifest, erased: int) -> None:
    """Durable in the folder that a restore copies into."""
    mark = Mark(made_at=manifest.made_at, manifest_sha256=_digest(manifest), erased=erased)
    write_file_durably(_place(staged.root), mark.model_dump_json().encode())


def read_mark(paths: DataDir) -> Mark | None:
    """None unless a restore into this directory was cut off after the ledger was in place."""
    try:
        found = _place(paths.restoring).read_bytes()
        return Mark.model_validate_json(found) if paths.ledger.exists() else None
    except (OSError, ValidationError):
        return None


def keep_only_mark(staged: DataDir) -> None:
    """Of the folder that a restore copied into, once all that counts has left it."""
    for path in staged.root.iterdir():
        if path == _place(staged.root):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_mark(paths: DataDir) -> None:
    """The warehouse is published: nothing is left for a restore to go on with."""
    if paths.restoring.exists() and paths.ledger.exists():
        shutil.rmtree(paths.restoring, ignore_errors=True)
        fsync_directory(paths.root)


def _place(folder: Path) -> Path:
    return folder / "restored.json"


def _digest(manifest: Manifest) -> str:
    return sha256(manifest.model_dump_json().encode()).hexdigest()
