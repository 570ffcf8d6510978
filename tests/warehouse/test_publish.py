"""Publishing: readers never see anything but a whole version, whatever is killed when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest
from minutes import event

from warehouse import publish
from warehouse.copying import copy_durably
from warehouse.reader import connect, published, resolved_path
from warehouse.state import literal, open_engine
from warehouse.workbench import Workbench


def test_nothing_is_published_before_the_first_refresh(small: Workbench) -> None:
    assert published(small.data) is None
    assert resolved_path(small.data) is None


def test_the_link_names_the_newest_and_three_are_kept(small: Workbench) -> None:
    for _ in range(5):
        small.refresh()
    assert os.readlink(small.data.warehouse) == "warehouse-5.duckdb"
    assert [number for number, _ in publish.versions(small.data)] == [5, 4, 3]
    version = published(small.data)
    assert version is not None
    assert (version.version, version.events, version.newest_received_at) == (5, 0, None)
    assert version.path == small.data.root / "warehouse-5.duckdb"


def test_a_published_file_is_private_whole_and_of_the_agreed_storage_version(
    small: Workbench,
) -> None:
    small.add([event("a", 1)])
    path = small.refresh().path
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_name(f"{path.name}.wal").exists()
    with duckdb.connect() as connection:
        connection.execute(f"attach {literal(str(path))} as w (read_only)")
        (tags,) = connection.execute(
            "select tags['storage_version'] from duckdb_databases() where database_name = 'w'"
        ).fetchall()[0]
        assert tags.startswith("v1.5")
        schemas = connection.execute(
            "select distinct schema_name from duckdb_tables() where database_name = 'w' order by 1"
        ).fetchall()
    assert schemas == [("hooklake",), ("hooklake_inner",), ("main",)]


def test_the_file_can_be_attached_under_any_name(small: Workbench) -> None:
    small.add([event("a", 1, event_id="x"), event("b", 2, event_id="x")])
    path = small.refresh().path
    for alias in ("hooklake", "serve", "main2", "w"):
        with duckdb.connect() as connection:
            connection.execute(f"attach {literal(str(path))} as {alias} (read_only)")
            (count,) = connection.execute(f"select count(*) from {alias}.events").fetchall()[0]
            assert count == 2
            assert connection.execute(f"select count(*) from {alias}.dim_seen").fetchall() == [(2,)]


def test_an_open_reader_keeps_its_version_through_many_others(small: Workbench) -> None:
    small.add([event("a", 1)])
    small.refresh()
    version = published(small.data)
    assert version is not None
    with connect(version) as reader:
        for minute in range(2, 6):
            small.add([event("a", minute)])
            small.refresh()
        assert not version.path.exists()
        assert reader.execute("select events from mart_total").fetchall() == [(1,)]


def test_leftovers_of_a_killed_publishing_are_removed(small: Workbench) -> None:
    small.refresh()
    leftovers = [
        small.data.root / ".warehouse-2.duckdb.77.tmp",
        small.data.root / ".warehouse.duckdb.77.tmp",
    ]
    leftovers[0].write_bytes(b"half")
    leftovers[1].symlink_to("warehouse-9.duckdb")
    orphan = small.data.root / "warehouse-2.duckdb"
    orphan.write_bytes(b"renamed, but never linked")
    assert small.refresh().version == 3
    assert not any(os.path.lexists(path) for path in leftovers)
    small.refresh()
    small.refresh()
    assert not orphan.exists()


def test_a_full_disk_while_copying_keeps_the_last_version(
    small: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.refresh()
    small.add([event("a", 1)])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "copy_file_range", full)
        with pytest.raises(OSError, match="No space left"):
            small.refresh()
    assert published(small.data).version == 1  # type: ignore[union-attr]
    assert small.refresh().accounts == 1
    assert small.query("select events from mart_total") == [(1,)]


def test_copying_works_where_the_kernel_cannot_copy_between_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    copy_durably(source, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


def test_readers_never_fail_and_only_see_whole_versions(small: Workbench) -> None:
    """Every count seen is one that was published, while versions are swapped under the readers."""
    small.add([event("a", 0)])
    small.refresh()
    rounds, seen, errors = 8, set(), []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                version = published(small.data)
                assert version is not None
                with connect(version) as reader:
                    (row,) = reader.execute(
                        "select (select count(*) from events), (select accounts from mart_total)"
                    ).fetchall()
                seen.add(row)
            except Exception as error:  # noqa: BLE001 - any failure of a reader fails the test
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, rounds):
        small.add([event(f"a{number}", number)])
        small.refresh()
    done.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert seen <= {(count, count) for count in range(1, rounds + 1)}


CHILD = """
import pickle, sys
from pathlib import Path
from warehouse.transform import Transformer
from warehouse.workbench import Workbench

root, project = Path(sys.argv[1]), Path(sys.argv[2])
bench = Workbench(root, Transformer(root / "dbt", project))
bench.files = pickle.loads(sys.stdin.buffer.read())
bench._transformer.manifest()
print("ready", flush=True)
bench.refresh()
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.faults
def test_killed_anywhere_in_a_refresh_the_last_version_stays_and_the_next_does_it_all(
    small: Workbench, small_project: Path
) -> None:
    """SIGKILL after rising delays, from before the load to after the swap."""
    import pickle

    small.add([event("a", 0)])
    small.refresh()
    killed = 0
    for number in range(1, 9):
        small.add([event(f"a{number}", number), event("a", number)])
        before = published(small.data)
        assert before is not None
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(small.data.root), str(small_project)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(pickle.dumps(small.files))
            child.stdin.close()
            assert child.stdout.readline() == b"ready\n"
            time.sleep(number * 0.06)  # the instant of the kill is what is varied
            child.send_signal(signal.SIGKILL)
            killed += child.stdout.read() != b"done\n"
        after = published(small.data)
        assert after is not None
        assert after.events in (before.events, before.events + 2)
        with connect(after) as reader:
            total = reader.execute("select count(*) from events").fetchall()
        assert total == [(after.events,)]
    assert killed > 0
    small.refresh(as_of="2026-06-01T00:00:00Z")
    incremental = [small.rows(table) for table in ("fct_accounts", "mart_total", "dim_seen")]
    small.refresh(full=True, as_of="2026-06-01T00:00:00Z")
    assert [
        small.rows(table) for table in ("fct_accounts", "mart_total", "dim_seen")
    ] == incremental
    assert not list(small.data.root.glob(".warehouse*"))


def test_pending_accounts_are_forgotten_only_after_publishing(
    small: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.refresh()
    small.add([event("a", 1)])

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(publish, "fsync_directory", fail)
        with pytest.raises(OSError, match="Input/output"):
            small.refresh()
    with open_engine(small.data) as engine:
        assert engine.execute("select account_id from state.pending") == [("a",)]
    assert small.refresh().accounts == 1
