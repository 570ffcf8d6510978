"""`hooklake forget EMAIL`: everything kept about a person erased, for good, and a certificate left.

The address may come by standard input (`-`), so that no list of processes and no shell history
holds it; it is never printed in full.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from typing import Any

import apsw
import duckdb
from rich.console import Console
from rich.prompt import Confirm
from rich.text import TextType

from ingest.catalogue import live_files
from ingest.errors import (
    DiskFullError,
    HooklakeError,
    LedgerError,
    RefusedError,
    StorageError,
    UsageError,
)
from ingest.ledger import describe, open_ledger, open_read_only
from ingest.paths import DataDir, keep_files_private
from ingest.settings import Settings
from ingest.standard_streams import awaited_input, standard_input_text
from ingest.wording import number_of
from warehouse.build import Wanted
from warehouse.certificate import certificate_path
from warehouse.erase_lake import Found, judge, search
from warehouse.erase_ledger import Removed, census
from warehouse.erasure import report_of, request
from warehouse.person import Person, alone, known_as, lake_reader, named
from warehouse.publish import versions
from warehouse.refresh import Refresher


@dataclass(frozen=True)
class Preview:
    """What an erasure would find now. files: lake files that hold rows of the person."""

    person: Person
    removed: Removed
    files: int
    versions: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "accounts": len(self.person.accounts),
            "owner_ids": len(self.person.owners),
            "workspaces": len(self.person.workspaces),
            "events": self.removed.events,
            "duplicates": self.removed.duplicates,
            "quarantined": self.removed.quarantined + self.removed.replayed,
            "other_rows_that_speak_of_them": self.removed.redacted,
            "lake_files": self.files,
            "warehouse_versions": self.versions,
        }


def run(
    settings: Settings,
    email: str | None,
    *,
    owner_id: str | None = None,
    is_linked: bool = True,
    is_dry: bool = False,
    is_certain: bool = False,
    as_json: bool = False,
) -> int:
    """Erase the person; 0 when nothing is left, 1 where a file must be dealt with by hand.

    email: `-` reads it from standard input. Raises: UsageError, RefusedError, StorageError.
    """
    keep_files_private()
    person = named(read_address(email), owner_id)
    paths = settings.paths
    if not paths.ledger.exists():
        raise UsageError(f"nothing was ever received below {paths.root}; check --data-dir")
    preview = look(paths, person, is_linked=is_linked)
    if is_dry:
        _tell_preview(preview, as_json=as_json)
        return 0
    if not as_json:
        _tell_preview(preview, as_json=False)
    if not is_certain and sys.stdin.isatty() and not _is_confirmed():
        raise RefusedError("nothing was erased: the answer was no")
    _check_room(settings)
    report = erase(settings, preview.person, is_linked=is_linked)
    _tell(paths, report, as_json=as_json)
    if "unpublished" in report:
        sys.stderr.write(
            "nothing of them is left, but the warehouse could not be built anew and none is"
            f" published now: {report['unpublished']}\n"
        )
    return 1 if report["left"] or "unpublished" in report else 0


def read_address(email: str | None) -> str | None:
    """The address as given, or for `-` the one line of standard input. Raises: UsageError."""
    if email != "-":
        return email
    typed = standard_input_text(4096, question="e-mail address: ")
    lines = [line for line in typed.splitlines() if line.strip()]
    if len(lines) != 1:
        raise UsageError("standard input must hold one e-mail address, on a line of its own")
    return lines[0]


def look(paths: DataDir, person: Person, *, is_linked: bool) -> Preview:
    """What is kept about the person now; changes nothing.

    Raises: TooManyAccountsError, LedgerError, StorageError.
    """
    files = live_files(paths.ledger)
    try:
        with (
            open_read_only(paths.ledger) as ledger,
            lake_reader(paths.lake, files) as reader,
        ):
            whole = (known_as if is_linked else alone)(person, reader, ledger)
            found: list[Found] = search(reader, str(paths.lake.resolve()), files, whole)
            removed = _counted(paths, ledger, whole, found)
    except duckdb.Error as error:
        raise StorageError(
            f"searching the lake for a person failed ({type(error).__name__}); `hooklake doctor`"
            " says which file is damaged"
        ) from None
    return Preview(whole, removed, sum(1 for each in found if each.theirs), len(versions(paths)))


def _counted(
    paths: DataDir, ledger: apsw.Connection, person: Person, found: list[Found]
) -> Removed:
    ledger.execute("pragma query_only = 0")  # for temporary tables, which query_only refuses
    try:
        waiting = census(ledger, person)
    finally:
        ledger.execute("pragma query_only = 1")
    events, redacted = waiting.events, waiting.redacted
    for each in found:
        if each.others:  # only reading them tells whose they are
            judged = judge(paths, each.file, person)
            erased, freed = judged.theirs.height, len(judged.changed)
        else:
            erased, freed = each.theirs, 0
        events, redacted = events + erased, redacted + freed
    return replace(waiting, events=events, redacted=redacted)


def erase(
    settings: Settings, person: Person, *, is_linked: bool, refresher: Refresher | None = None
) -> dict[str, Any]:
    """Forget the person now, and see it completed; what is told of it.

    refresher: one that has read the models already, if there is one.
    `unpublished`: why there is no warehouse now, where the build without them failed. Raises:
    HooklakeError where the erasure is not complete; the next refresh takes it up.
    """
    connection = open_ledger(settings.paths.ensure().ledger)
    try:
        erasure_id = request(connection, person, is_linked=is_linked)
        refresher = refresher or Refresher(settings, lambda _report: None)
        try:
            refresher.refresh(Wanted(full=True), land=False, is_patient=True)
        except HooklakeError as failure:
            report = report_of(connection, erasure_id)
            if report["status"] != "done":
                raise
            return report | {"unpublished": str(failure)}
        return report_of(connection, erasure_id)
    except apsw.Error as error:
        raise LedgerError(f"erasing from {settings.paths.ledger}: {describe(error)}") from error
    finally:
        connection.close()


def _check_room(settings: Settings) -> None:
    """An erasure writes the ledger, and lake files, once more before the old ones can go."""
    paths = settings.paths
    if not paths.root.is_dir():
        return
    ledger = sum(path.stat().st_size for path in paths.root.glob("ledger.sqlite*"))
    wanted = 2 * settings.free_bytes_min + 2 * ledger
    free = shutil.disk_usage(paths.root).free
    if free < wanted:
        raise DiskFullError(
            f"erasing from {paths.root}: {free >> 20} MiB are free and {wanted >> 20} MiB are"
            " wanted for the while; make room first, nothing was erased yet"
        )


class _Question(Confirm):
    @classmethod
    def get_input(cls, console: Console, prompt: TextType, *_: Any, **__: Any) -> str:
        with awaited_input() as typed:
            console.print(prompt, end="")
            line = typed.readline()
        if not line:
            raise EOFError
        return line.decode(errors="replace").rstrip("\r\n")


def _is_confirmed() -> bool:
    return _Question.ask(
        "Erase all of it? It cannot be undone, and nothing about them is kept from now on",
        default=False,
    )


def _tell_preview(preview: Preview, *, as_json: bool) -> None:
    found = preview.as_dict()
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for name, number in found.items():
        console.print(f"{number:>8,}  {name.replace('_', ' ')}")


def _tell(paths: DataDir, report: dict[str, Any], *, as_json: bool) -> None:
    certificate = certificate_path(paths, report["erasure_id"])
    if as_json:
        told = {
            "erasure_id": report["erasure_id"],
            "certificate": str(certificate),
            **{key: report[key] for key in ("removed", "redacted_rows", "files", "left")},
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return
    removed = report["removed"]
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"erased: {number_of(removed['events'], 'event')},"
        f" {number_of(removed['duplicates'], 'duplicate')},"
        f" {removed['quarantined']:,} quarantined;"
        f" {number_of(len(report['files']), 'lake file')} written anew,"
        f" {number_of(report['versions_dropped'], 'warehouse version')} dropped"
    )
    for name in report["left"]:
        console.print(f"left: {name} may tell of them and cannot be changed; delete it yourself")
    console.print(f"certificate: {certificate}")
