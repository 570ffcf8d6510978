"""`hooklake doctor`: is everything that was acknowledged still there, once, and readable?

Each check yields findings; a failure says what is wrong, where, and what to do. Nothing is changed.
The exit code is for cron: 0 all well (warnings allowed), 1 something is lost, broken or stuck.

Source: quality.md, "Durability rules" 7.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import apsw
import duckdb
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from ingest.catalogue import LakeFile, live_files
from ingest.errors import LedgerError
from ingest.lake import file_sha256
from ingest.landing import pending_since
from ingest.ledger import LANDED_UNTIL, open_read_only, read_counters, single_integer
from ingest.paths import DataDir
from ingest.rewrites import unfinished
from ingest.settings import Settings
from ingest.upkeep_status import read_compaction_status
from ingest.wording import number_of
from warehouse.reader import published
from warehouse.restore_mark import read_mark

LANDING_LAG_SECONDS_MAX: Final = 60.0
EXAMPLES_MAX: Final = 5

_LIVE_PATHS: Final = "select path from files where status = 'live'"

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """What one check found. `next_step` is empty where nothing is to do."""

    check: str
    level: Level
    message: str
    next_step: str = ""


def examine(
    settings: Settings, on_progress: Callable[[int, int], None] = lambda _done, _all: None
) -> list[Finding]:
    """Every check's findings. on_progress: files checksummed so far, and of how many."""
    paths = settings.paths
    if not paths.root.is_dir():
        step = "start `hooklake serve` once, or name the right directory with --data-dir"
        told = "is no directory" if paths.root.exists() else "does not exist"
        return [Finding("data directory", "failure", f"{paths.root} {told}", step)]
    findings = [*_permissions(paths), *_free_space(settings)]
    if paths.restoring.exists() and not paths.ledger.exists():
        step = "run `hooklake restore` again, as it was run before"
        findings.append(Finding("ledger", "failure", "a restore was cut off here", step))
        return findings
    if not paths.ledger.exists():
        findings.append(
            Finding("ledger", "warning", "nothing was ever received here", "start `hooklake serve`")
        )
        return findings
    if unreadable := _not_ours(paths):
        step = "run hooklake as the user that owns it; nothing says that it is damaged"
        told = f"this user may not read and write {', '.join(unreadable)}"
        findings.append(Finding("ledger", "failure", told, step))
        return findings
    try:
        with open_read_only(paths.ledger) as connection:
            findings += _integrity(connection)
            findings += _accounting(connection)
            findings += _landing(connection)
            findings += _erasures(connection)
        findings += _lake_files(paths, live_files(paths.ledger), on_progress)
        findings += _orphans(paths)
    except LedgerError as error:
        step = "restore it from a backup; do not delete its -wal file"
        findings.append(Finding("ledger", "failure", str(error), step))
        return findings
    findings += _refresh(paths)
    findings += _compaction(paths)
    return findings


def _not_ours(paths: DataDir) -> list[str]:
    """The ledger's files that this user may not use; SQLite writes beside it even to read it."""
    files = (paths.ledger.with_name(paths.ledger.name + end) for end in ("", "-wal", "-shm"))
    return [str(path) for path in files if path.exists() and not os.access(path, os.R_OK | os.W_OK)]


def run(settings: Settings, *, as_json: bool) -> int:
    """Print the findings; 0 without a failure, else 1."""
    console = Console(highlight=False, soft_wrap=True)
    with Progress(
        transient=True, console=console, disable=as_json or not console.is_terminal
    ) as bar:
        task = bar.add_task("checking lake files", total=None)
        findings = examine(
            settings, lambda done, total: bar.update(task, completed=done, total=total)
        )
    has_failed = any(finding.level == "failure" for finding in findings)
    sizes = _sizes(settings.paths)
    if as_json:
        answer = {
            "ok": not has_failed,
            "findings": [asdict(finding) for finding in findings],
            "bytes": sizes,
        }
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return int(has_failed)
    marks = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failure": ("FAIL", "red")}
    for finding in findings:
        mark, style = marks[finding.level]
        console.print(Text(f"{mark:<5}", style=style), Text(f"{finding.check}: {finding.message}"))
        if finding.next_step:
            console.print(Text(f"      {finding.next_step}", style="dim"))
    console.print(
        Text(
            "size  "
            + ", ".join(
                f"{name.replace('_', ' ')} {_megabytes(size)}" for name, size in sizes.items()
            )
        )
    )
    return int(has_failed)


def _permissions(paths: DataDir) -> Iterator[Finding]:
    open_to_others = [
        path
        for path in (paths.root, paths.ledger, paths.secrets, paths.state, paths.serve)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_to_others:
        names = ", ".join(path.name for path in open_to_others)
        yield Finding(
            "permissions",
            "failure",
            f"others may read {names}",
            f"chmod -R go-rwx {paths.root}",
        )
    else:
        yield Finding("permissions", "ok", "only the owner can read the data directory")


def _free_space(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data_dir).free
    if free < settings.free_bytes_min:
        yield Finding(
            "free space",
            "failure",
            f"{_megabytes(free)} free, deliveries are refused below "
            f"{_megabytes(settings.free_bytes_min)}",
            "make room; the receiver resumes by itself",
        )
    else:
        yield Finding("free space", "ok", f"{_megabytes(free)} free")


def _integrity(connection: apsw.Connection) -> Iterator[Finding]:
    (answer,) = next(connection.execute("pragma quick_check"))
    if answer == "ok":
        yield Finding("ledger", "ok", "SQLite finds no damage")
    else:
        yield Finding(
            "ledger",
            "failure",
            f"SQLite finds damage: {answer}",
            "stop the receiver, copy ledger.sqlite*, and restore from a backup",
        )


def _accounting(connection: apsw.Connection) -> Iterator[Finding]:
    with _snapshot(connection):
        counted = read_counters(connection)
        quarantined = single_integer(
            connection, "select count(*) from quarantine where status = 'open'"
        )
        in_lake = single_integer(
            connection, "select coalesce(sum(rows), 0) from files where status = 'live'"
        )
        waiting = single_integer(
            connection,
            f"select count(*) from inbox where seq > {LANDED_UNTIL}",
        )
    kept = sum(counted[name] for name in ("events", "duplicates", "quarantined", "erased"))
    sums = (
        f"{counted['deliveries']} deliveries = {counted['events']} events + "
        f"{counted['duplicates']} duplicates + {counted['quarantined']} quarantined + "
        f"{counted['erased']} erased"
    )
    if kept != counted["deliveries"]:
        yield _lost("row accounting", f"{sums} does not add up (that makes {kept})")
    elif quarantined != counted["quarantined"]:
        yield _lost(
            "row accounting",
            f"{counted['quarantined']} quarantined were counted, {quarantined} are there",
        )
    elif in_lake + waiting != counted["events"]:
        yield _lost(
            "row accounting",
            f"{counted['events']} events were counted; {in_lake} are in the lake and {waiting} "
            "wait to be landed",
        )
    else:
        yield Finding("row accounting", "ok", sums)


def _lost(check: str, message: str) -> Finding:
    return Finding(
        check,
        "failure",
        message,
        "keep the data directory as it is, and compare with a backup",
    )


def _landing(connection: apsw.Connection) -> Iterator[Finding]:
    since = pending_since(connection)
    lag = 0.0 if since is None else time.time() - since / 1_000_000
    if lag > LANDING_LAG_SECONDS_MAX:
        yield Finding(
            "landing",
            "warning",
            f"the oldest event that is not in the lake yet waits for {lag:.0f} s",
            "start `hooklake serve`, or run `hooklake refresh`: both land what waits",
        )
    else:
        yield Finding("landing", "ok", "nothing waits" if since is None else f"{lag:.1f} s behind")


def _erasures(connection: apsw.Connection) -> Iterator[Finding]:
    rows: list[Any] = connection.execute(
        "select requested_at from erasures where status <> 'done' order by requested_at"
    ).fetchall()
    if rows:
        hours = (time.time() - rows[0][0] / 1_000_000) / 3600
        yield Finding(
            "erasures",
            "warning",
            f"{len(rows)} not complete, the oldest asked for {hours:.1f} h ago",
            "`hooklake refresh` completes it and says what is in the way",
        )


def _planned(connection: apsw.Connection) -> set[str]:
    """What is being written right now, or was at a crash and is redone or removed later: files'
    paths, and `<first>-<last>` of ranges."""
    rows = connection.execute(
        "select first_seq, last_seq from landings"
        f" where status = 'planned' and first_seq > {LANDED_UNTIL}"
    )
    return {f"{first}-{last}" for first, last in rows} | unfinished(connection)


def _planned_blocks(connection: apsw.Connection) -> list[tuple[int, int]]:
    """Numbers of backfills that are under way or were killed; their files' ranges lie within."""
    rows = connection.execute("select first_seq, last_seq from batches where status = 'planned'")
    return [(int(first), int(last)) for first, last in rows]


def _former(connection: apsw.Connection) -> dict[str, bool]:
    """Paths of files that others have replaced, and whether they were removed from the disk."""
    return {
        str(path): bool(is_removed)
        for path, is_removed in connection.execute(
            "select path, deleted_at is not null from files where status = 'replaced'"
        )
    }


def _lake_files(
    paths: DataDir, files: list[LakeFile], on_progress: Callable[[int, int], None]
) -> Iterator[Finding]:
    broken = {}
    for done, file in enumerate(files):
        on_progress(done, len(files))
        path = paths.lake / file.path
        try:
            if path.stat().st_size != file.bytes:
                broken[file.path] = f"has another size than the {file.bytes} bytes written"
            elif file_sha256(path) != file.sha256:
                broken[file.path] = "has changed since it was written"
        except OSError as error:
            broken[file.path] = str(error.strerror)
    on_progress(len(files), len(files))
    if broken:  # what was merged into another file meanwhile may be gone by now
        still = {file.path for file in live_files(paths.ledger)}
        broken = {path: text for path, text in broken.items() if path in still}
    if not broken:
        yield Finding("lake files", "ok", f"{number_of(len(files), 'file')}, every checksum right")
    for name, text in broken.items():
        yield Finding(
            "lake files",
            "failure",
            f"{name}: {text}",
            "restore this file from a backup; what the ledger still holds can be landed again",
        )


def _orphans(paths: DataDir) -> Iterator[Finding]:
    """The lake's files that are not live, by what they are.

    The disk is looked at before the ledger, which has every file's name before it appears.
    """
    there = sorted(path.relative_to(paths.lake).as_posix() for path in _files_below(paths.lake))
    with open_read_only(paths.ledger) as connection, _snapshot(connection):
        planned, former = _planned(connection), _former(connection)
        blocks = _planned_blocks(connection)
        known = {path for (path,) in connection.execute(_LIVE_PATHS)}
    strangers = [path for path in there if path not in known]
    replaced = [path for path in strangers if path in former]
    returned = [path for path in replaced if former[path]]
    others = [path for path in strangers if path not in former]
    unfinished_ones = [
        path
        for path in others
        if path in planned or _range_of(path) in planned or _is_within(path, blocks)
    ]
    orphans = [path for path in others if path not in unfinished_ones]
    if unfinished_ones:
        yield Finding(
            "orphans",
            "ok",
            number_of(len(unfinished_ones), "file belongs", "files belong")
            + " to a landing, a backfill or a merge that is "
            "under way or will be redone",
        )
    if len(replaced) > len(returned):
        yield Finding(
            "orphans",
            "ok",
            number_of(
                len(replaced) - len(returned),
                "file was merged into another and is",
                "files were merged into others and are",
            )
            + " removed when "
            "no reader can need them",
        )
    if returned:
        yield Finding(
            "orphans",
            "warning",
            number_of(
                len(returned),
                "file was merged and removed, and is",
                "files were merged and removed, and are",
            )
            + f" there again: {_examples(returned)}",
            "`hooklake compact` removes them; only a plain glob would count them",
        )
    if orphans:
        yield Finding(
            "orphans",
            "failure",
            number_of(len(orphans), "file in the lake is", "files in the lake are")
            + f" not in the ledger: {_examples(orphans)}",
            "a plain glob would count them: move them out of the lake",
        )
    else:
        yield Finding("orphans", "ok", "the lake holds nothing the ledger does not know")


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _examples(paths: list[str]) -> str:
    return ", ".join(paths[:EXAMPLES_MAX]) + (" …" if len(paths) > EXAMPLES_MAX else "")


def _is_within(path: str, blocks: list[tuple[int, int]]) -> bool:
    first, _, last = _range_of(path).partition("-")
    if not (first.isdecimal() and last.isdecimal()):
        return False
    return any(begin <= int(first) <= int(last) <= end for begin, end in blocks)


def _range_of(path: str) -> str:
    return "-".join(path.removesuffix(".parquet").split("-")[-2:])


def _refresh(paths: DataDir) -> Iterator[Finding]:
    if read_mark(paths) is not None:
        yield Finding(
            "refresh",
            "warning" if paths.warehouse.exists() else "failure",
            "a restore was cut off here before the warehouse was built and proved; all that the "
            "backup held is in place",
            "run `hooklake restore` again, as it was run before, or `hooklake refresh`",
        )
    try:
        status = json.loads(paths.refresh_status.read_text("utf-8"))
        attempted = datetime.fromisoformat(status["attempted_at"])
    except FileNotFoundError:
        yield Finding("refresh", "warning", "there was none yet", "run `hooklake refresh`")
        return
    except (ValueError, KeyError, OSError) as error:
        yield Finding(
            "refresh", "failure", f"{paths.refresh_status} is unreadable ({error})", "refresh again"
        )
        return
    age = (datetime.now(UTC) - attempted).total_seconds()
    if not status.get("ok"):
        yield Finding(
            "refresh",
            "failure",
            f"the last one failed {age:.0f} s ago in {status.get('stage')}: {status.get('error')}",
            "the last good version stays published; mend the cause and refresh again",
        )
    elif not paths.warehouse.exists():
        yield Finding(
            "refresh",
            "failure",
            f"{paths.warehouse} leads nowhere",
            "run `hooklake refresh --full`",
        )
    elif (problem := _unreadable(paths)) is not None:
        yield Finding(
            "refresh",
            "failure",
            f"{paths.warehouse.resolve()} cannot be read ({problem})",
            "run `hooklake refresh --full`",
        )
    else:
        yield Finding("refresh", "ok", f"version {status.get('version')}, {age:.0f} s ago")


def _unreadable(paths: DataDir) -> str | None:
    """Why the published file cannot be opened, where it cannot."""
    try:
        published(paths)
    except (duckdb.Error, OSError) as error:
        return " ".join(str(error).split())
    return None


def _compaction(paths: DataDir) -> Iterator[Finding]:
    status = read_compaction_status(paths.compaction_status)
    if status is None:
        return
    age = max(0.0, time.time() - status.at)
    if status.error is not None:
        yield Finding(
            "compaction",
            "warning",
            f"the last one, {age:.0f} s ago, did not end well: {status.error}",
            "mend the cause and run `hooklake compact`",
        )
        return
    yield Finding(
        "compaction",
        "ok",
        f"{age:.0f} s ago, {number_of(status.merged, 'file')} into {status.written:,},"
        f" {status.removed:,} removed;"
        f" the lake then had {number_of(status.files, 'file')}",
    )


@contextmanager
def _snapshot(connection: apsw.Connection) -> Iterator[None]:
    """One consistent view for several reads, beside a receiver that goes on writing."""
    connection.execute("begin")
    try:
        yield
    finally:
        connection.execute("commit")


def _sizes(paths: DataDir) -> dict[str, int]:
    """Bytes of the data directory's parts, of which `other` is what has no name here; files that
    were merged and wait for their removal are apart from the lake."""
    replaced = _waiting_for_removal(paths)
    sizes = dict.fromkeys(
        ("ledger", "lake", "lake_replaced", "warehouse", "staging", "other", "total"), 0
    )
    for path in _files_below(paths.root):
        try:
            size = 0 if path.is_symlink() else path.stat().st_size
        except FileNotFoundError:  # gone since it was listed
            continue
        sizes[_part_of(path.relative_to(paths.root), replaced)] += size
        sizes["total"] += size
    return sizes


def _part_of(path: Path, replaced: set[str]) -> str:
    if path.parts[0] == "lake":
        return "lake_replaced" if Path(*path.parts[2:]).as_posix() in replaced else "lake"
    if path.parts[0] == "staging":
        return "staging"
    if path.name.startswith("ledger.sqlite"):
        return "ledger"
    return "warehouse" if ".duckdb" in path.name else "other"


def _waiting_for_removal(paths: DataDir) -> set[str]:
    try:
        with open_read_only(paths.ledger) as connection:
            return {path for path, is_removed in _former(connection).items() if not is_removed}
    except LedgerError:
        return set()


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
