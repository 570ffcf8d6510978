"""Landing: committed events become Parquet files once, whatever is interrupted when."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import apsw
import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from receiving import wait_until

from ingest import lake, landing, paths
from ingest.catalogue import live_files
from ingest.errors import LandingError
from ingest.landing import land_now, landing_lock
from ingest.ledger import Delivery, open_ledger, store_deliveries, transaction
from ingest.parse import Arrival, parse_body
from ingest.settings import Settings, load_settings
from ingest.worker import Watch

NOW = 1_790_000_000_000_000
COLUMNS = {
    "event_id": "VARCHAR",
    "sender_event": "VARCHAR",
    "occurred_at": "TIMESTAMP WITH TIME ZONE",
    "event_time_source": "VARCHAR",
    "received_at": "TIMESTAMP WITH TIME ZONE",
    "origin": "VARCHAR",
    "delivery_id": "VARCHAR",
    "batch_id": "VARCHAR",
    "node": "VARCHAR",
    "seq": "BIGINT",
    "account_id": "VARCHAR",
    "owner_id": "VARCHAR",
    "workspace_id": "VARCHAR",
    "workspace_name": "VARCHAR",
    "source": "VARCHAR",
    "plan_id": "VARCHAR",
    "payment_id": "VARCHAR",
    "currency": "VARCHAR",
    "auto_renew": "BOOLEAN",
    "amount": "DECIMAL(18,2)",
    "start_date": "DATE",
    "end_date": "DATE",
    "renewal_date": "DATE",
    "due_date": "DATE",
    "payload": "VARCHAR",
}
"""What is inside a file, in order; event_type and event_month are in its path."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings(tmp_path / "data")
    made.paths.ensure()
    return made


def bodies() -> list[bytes]:
    """Four types over three months, one quarantined in between, one with everything in it."""
    return [
        json.dumps(body).encode()
        for body in (
            {"event": "user_registered", "email": "a", "created_at": "2024-03-31T23:59:59.999999Z"},
            {"event": "user_registered", "email": "b", "created_at": "2024-04-01T00:00:00Z"},
            {"event": "plan_changed", "email": "no plan"},
            {
                "event": "overdue_payment",
                "occurred_at": "2024-04-20T10:00:00+10:00",
                "email": "c",
                "owner_id": 7,
                "workspace_id": "w",
                "payment_id": "p",
                "currency": "USD",
                "auto_renew": "on",
                "amount": "-12345678901234.50",
                "due_date": "2024-04-19",
            },
            {"event": "brand_new", "email": "d", "timestamp": "2024-05-01T00:00:00Z"},
            {"event": "plan_renewed", "email": "e", "timestamp": "0001-01-01T00:00:00Z"},
        )
    ]


def store(settings: Settings, *given: bytes, node: str = "n1") -> None:
    connection = open_ledger(settings.paths.ledger)
    deliveries = [
        Delivery(parse_body(body, Arrival(stored_at=NOW)), body, NOW, verified_by="token:t")
        for body in given
    ]
    with transaction(connection):
        store_deliveries(connection, deliveries, node)
    connection.close()


def on_disk(settings: Settings) -> dict[str, str]:
    """Path below the lake -> sha256, of every file there is."""
    root = settings.paths.lake
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def catalogued(settings: Settings) -> dict[str, str]:
    return {file.path: file.sha256 for file in live_files(settings.paths.ledger)}


def rows(settings: Settings) -> list[tuple[Any, ...]]:
    glob = str(settings.paths.lake / "*" / "*" / "*.parquet")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(
            "select seq, event_id, event_type, event_month, account_id, payload"
            " from read_parquet(?, hive_partitioning = true, hive_types_autocast = false)"
            " order by seq",
            [glob],
        )
        return found.fetchall()


def test_a_landed_file_has_the_agreed_columns_types_and_place(settings: Settings) -> None:
    store(settings, *bodies())
    report = land_now(settings)

    assert (report.events, report.files, report.is_complete) == (5, 5, True)
    assert set(on_disk(settings)) == {
        "event_type=other/event_month=2024-05/n1-1-6.parquet",
        "event_type=overdue_payment/event_month=2024-04/n1-1-6.parquet",
        "event_type=plan_renewed/event_month=0001-01/n1-1-6.parquet",
        "event_type=user_registered/event_month=2024-03/n1-1-6.parquet",
        "event_type=user_registered/event_month=2024-04/n1-1-6.parquet",
    }
    for path in on_disk(settings):
        file = settings.paths.lake / path
        with duckdb.connect() as connection:
            found = connection.execute(
                f"describe select * from read_parquet('{file}', hive_partitioning = false)"
            ).fetchall()
        assert {row[0]: row[1] for row in found} == COLUMNS
        assert [row[0] for row in found] == list(COLUMNS)
        metadata = pq.ParquetFile(file).metadata
        assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_landed_row_is_the_event_to_the_last_digit(settings: Settings) -> None:
    store(settings, *bodies())
    land_now(settings)
    file = settings.paths.lake / "event_type=overdue_payment/event_month=2024-04/n1-1-6.parquet"
    (row,) = pl.read_parquet(file, hive_partitioning=False).to_dicts()

    assert str(row["amount"]) == "-12345678901234.50"
    assert row["occurred_at"].isoformat() == "2024-04-20T00:00:00+00:00"
    assert row["received_at"].timestamp() == NOW / 1_000_000
    assert row["due_date"].isoformat() == "2024-04-19"
    assert (row["auto_renew"], row["owner_id"], row["seq"], row["node"]) == (True, "7", 4, "n1")
    assert (row["sender_event"], row["origin"]) == ("overdue_payment", "webhook")
    assert (row["event_time_source"], row["plan_id"]) == ("payload", None)
    assert row["payload"].encode() == bodies()[3]


def test_the_catalogue_names_every_file_with_its_rows_size_and_checksum(
    settings: Settings,
) -> None:
    store(settings, *bodies())
    land_now(settings)
    files = live_files(settings.paths.ledger)

    assert catalogued(settings) == on_disk(settings)
    for file in files:
        path = settings.paths.lake / file.path
        assert file.rows == pq.ParquetFile(path).metadata.num_rows
        assert file.bytes == path.stat().st_size
        assert (file.node, file.first_seq, file.last_seq, file.batch_id) == ("n1", 1, 6, None)
        assert f"event_type={file.event_type}/event_month={file.event_month}/" in file.path
    assert [file.file_id for file in files] == sorted(file.file_id for file in files)
    assert live_files(settings.paths.ledger, after_file_id=files[-1].file_id) == []


def test_landing_again_adds_nothing_and_later_events_get_files_of_their_own(
    settings: Settings,
) -> None:
    store(settings, *bodies())
    land_now(settings)
    before = on_disk(settings)
    assert land_now(settings).events == 0
    assert on_disk(settings) == before

    store(settings, bodies()[1].replace(b'"b"', b'"z"'))
    assert land_now(settings).files == 1
    new = set(on_disk(settings)) - set(before)
    assert new == {"event_type=user_registered/event_month=2024-04/n1-7-7.parquet"}
    assert {path: digest for path, digest in on_disk(settings).items() if path in before} == before


def test_many_rows_land_in_ranges_of_the_agreed_size(settings: Settings) -> None:
    few = settings.model_copy(update={"land_rows_max": 10})
    store(few, *(b'{"event":"plan_renewed","email":"a%d"}' % n for n in range(25)))
    report = land_now(few)

    assert (report.events, report.files) == (25, 3)
    assert [(f.first_seq, f.last_seq, f.rows) for f in live_files(few.paths.ledger)] == [
        (1, 10, 10),
        (11, 20, 10),
        (21, 25, 5),
    ]
    assert [row[0] for row in rows(few)] == list(range(1, 26))


def test_landing_ends_though_events_never_stop_arriving(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(settings, *bodies())
    write = landing.write_range
    arrived = 0

    def write_while_one_more_arrives(*given: Any, **named: Any) -> list[lake.WrittenFile]:
        nonlocal arrived
        arrived += 1
        assert arrived < 10, "landing follows the load for ever"
        store(settings, json.dumps({"event": "user_registered", "email": f"n{arrived}"}).encode())
        return write(*given, **named)

    monkeypatch.setattr(landing, "write_range", write_while_one_more_arrives)
    assert land_now(settings).is_complete
    assert len(rows(settings)) == 5
    monkeypatch.undo()
    assert land_now(settings).events == 1


def test_large_payloads_make_smaller_ranges(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "LANDING_BYTES_MAX", 1000)
    body = b'{"event":"plan_renewed","email":"a","x":"%b"}'
    store(settings, *(body % (b"x" * 600) for _ in range(4)))
    land_now(settings)

    assert [file.rows for file in live_files(settings.paths.ledger)] == [2, 2]


def test_nodes_that_share_a_ledger_never_share_a_file(settings: Settings) -> None:
    store(settings, b'{"event":"plan_renewed","email":"a"}', node="east")
    store(settings, b'{"event":"plan_renewed","email":"b"}', node="west-2")
    land_now(settings)

    assert sorted(Path(path).name for path in on_disk(settings)) == [
        "east-1-2.parquet",
        "west-2-1-2.parquet",
    ]


def test_without_a_ledger_or_events_there_is_nothing_to_land(settings: Settings) -> None:
    assert land_now(settings) == landing.LandingReport(0, 0, is_complete=True)
    assert not settings.paths.ledger.exists()
    store(settings, b"quarantined")
    assert land_now(settings) == landing.LandingReport(0, 0, is_complete=True)
    assert live_files(settings.paths.ledger) == []


def test_everything_written_is_private(settings: Settings) -> None:
    before = os.umask(0o077)
    try:
        store(settings, *bodies())
        land_now(settings)
    finally:
        os.umask(before)
    for path in settings.paths.root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert list(settings.paths.staging.iterdir()) == []


def landed_before(settings: Settings, count: int) -> None:
    """So many landings of one event each, as if the events had left the ledger since."""
    connection = open_ledger(settings.paths.ledger)
    with transaction(connection):
        connection.execute("update sequence set next = next + ?", (count,))
        connection.execute(
            "with recursive number(last) as (select next - ? from sequence"
            "  union all select last + 1 from number where last + 1 < (select next from sequence))"
            " insert into landings select last, last, 'landed', ?, ?, 1 from number",
            (count, NOW, NOW),
        )
    connection.close()


def steps_of(ask: Callable[[], object]) -> int:
    """How many steps SQLite takes meanwhile, on all connections that are opened."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    def watch(connection: apsw.Connection) -> None:
        connection.set_progress_handler(count, 1)

    apsw.connection_hooks.append(watch)
    try:
        ask()
    finally:
        apsw.connection_hooks.remove(watch)
    return steps


def test_neither_landing_nor_readiness_costs_more_after_many_landings(settings: Settings) -> None:
    store(settings, bodies()[0])
    watch = Watch(settings)
    few_asked = steps_of(watch.report)
    few = steps_of(lambda: land_now(settings))
    landed_before(settings, 20_000)
    store(settings, bodies()[1])
    watch = Watch(settings)
    assert steps_of(watch.report) < 2 * few_asked
    assert watch.report()["landing_lag_seconds"] > 0
    assert steps_of(lambda: land_now(settings)) < 2 * few
    assert [row[0] for row in rows(settings)] == [1, 20_002]
    assert Watch(settings).report()["landing_lag_seconds"] == 0


# -- interrupted at every step -------------------------------------------------------------------


class CrashError(BaseException):
    """Stands for the end of the process: no handler of an error may see it."""


@contextmanager
def crashing_at(step: int) -> Iterator[list[str]]:
    """Ends the landing before or after its n-th effect on the disk or the ledger."""
    effects: list[str] = []

    def wrapped(name: str, true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            for moment in ("before", "after"):
                if moment == "after":
                    found = true(*arguments, **named)
                effects.append(f"{moment} {name}")
                if len(effects) == step:
                    raise CrashError
            return found

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", wrapped("fsync", os.fsync))
        patch.setattr(Path, "rename", wrapped("rename", Path.rename))
        patch.setattr(Path, "mkdir", wrapped("mkdir", Path.mkdir))
        patch.setattr(lake, "file_sha256", wrapped("checksum", lake.file_sha256))
        patch.setattr(landing, "enter_files", wrapped("catalogue", landing.enter_files))
        patch.setattr(landing, "write_range", wrapped("files", lake.write_range))
        yield effects


@pytest.mark.slow
def test_a_crash_at_any_step_is_mended_with_the_same_files_and_no_duplicate(
    settings: Settings, tmp_path: Path
) -> None:
    store(settings, *bodies()[1:4])
    pristine = tmp_path / "pristine"
    shutil.copytree(settings.data_dir, pristine)
    with crashing_at(-1) as effects:
        land_now(settings)
    expected, steps = on_disk(settings), len(effects)
    assert len(expected) == 2
    assert steps > 40
    assert effects[-1] == "after catalogue"

    for step in range(1, steps + 1):
        shutil.rmtree(settings.data_dir)
        shutil.copytree(pristine, settings.data_dir)
        with crashing_at(step) as effects, pytest.raises(CrashError):
            land_now(settings)
        assert catalogued(settings) == {}, f"nothing is announced {effects[-1]}"
        store(settings, b'{"event":"plan_renewed","email":"later"}')  # it joins no planned range
        assert land_now(settings).is_complete

        assert catalogued(settings) == on_disk(settings), effects[-1]
        assert expected.items() <= on_disk(settings).items(), effects[-1]
        assert len(on_disk(settings)) == 3, effects[-1]
        assert len(rows(settings)) == 3, effects[-1]


def test_a_folder_made_before_a_crash_is_synced_after_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash comes between making a partition's folder and syncing its name."""
    store(settings, bodies()[1])
    monkeypatch.setattr(paths, "_DURABLE", set())
    with crashing_at(-1) as effects, monkeypatch.context() as patch:
        true = Path.mkdir

        def make(path: Path, *arguments: Any, **named: Any) -> None:
            true(path, *arguments, **named)
            if path.name.startswith("event_month="):
                raise CrashError

        patch.setattr(Path, "mkdir", make)
        with pytest.raises(CrashError):
            land_now(settings)
    assert effects

    monkeypatch.setattr(paths, "_DURABLE", set())  # as in another process
    synced: list[str] = []
    true_fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        true_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    land_now(settings)
    partition = settings.paths.lake / "event_type=user_registered"
    for folder in (partition / "event_month=2024-04", partition, settings.paths.lake):
        assert str(folder) in synced


def test_a_full_disk_fails_by_name_and_the_range_lands_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(settings, *bodies())

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(LandingError, match="No space left"):
            land_now(settings)
    assert live_files(settings.paths.ledger) == []
    assert list(settings.paths.staging.iterdir()) == []
    assert land_now(settings).events == 5


def test_a_partial_file_that_cannot_be_removed_hides_no_full_disk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(settings, *bodies())

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        patch.setattr(Path, "unlink", read_only)
        with pytest.raises(LandingError, match="No space left"):
            land_now(settings)


def test_a_full_disk_is_looked_at_before_the_partial_file_is_removed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(settings, *bodies())
    staging = settings.paths.staging

    def cut_off(_frame: pl.DataFrame, stream: BinaryIO, **_: Any) -> None:
        stream.write(b"PAR1")
        raise pl.exceptions.ComputeError("failed to write")

    def full_while_staged(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=0 if list(staging.iterdir()) else 1 << 40, f_frsize=1)

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", cut_off)
        patch.setattr(os, "statvfs", full_while_staged)
        with pytest.raises(LandingError, match="No space left"):
            land_now(settings)
    assert list(staging.iterdir()) == []


# -- one at a time -------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from ingest.landing import landing_lock
from ingest.paths import DataDir
with landing_lock(DataDir(Path(sys.argv[1]))) as is_held:
    print(is_held, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_landing(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(settings.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_two_processes_never_land_at_once_and_the_lock_dies_with_its_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "WAIT_SECONDS_MAX", 0.1)
    store(settings, *bodies())
    with another_process_landing(settings) as holder:
        with landing_lock(settings.paths) as is_held:
            assert not is_held
        report = land_now(settings)
        assert (report.events, report.is_complete) == (0, False)
        assert on_disk(settings) == {}

        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        assert land_now(settings).events == 5


def test_beside_another_lander_it_waits_until_what_was_pending_has_landed(
    settings: Settings,
) -> None:
    store(settings, *bodies())
    reports: list[landing.LandingReport] = []
    with landing_lock(settings.paths) as is_held:
        assert is_held
        waiting = threading.Thread(target=lambda: reports.append(land_now(settings)))
        waiting.start()
        connection = open_ledger(settings.paths.ledger)
        landing._land_until(connection, settings, landing._last_committed(connection))
        connection.close()
        wait_until(lambda: reports, seconds=5, what="land_now to see the other's landing")
        waiting.join()
    assert reports == [landing.LandingReport(0, 0, is_complete=True)]
    assert len(rows(settings)) == 5
