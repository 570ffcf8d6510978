"""Ends, clean and violent: what was acknowledged stays, and so does the last good version."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from installation import Installation, end_group, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.alone]


def event_body(event_id: str) -> bytes:
    return json.dumps(
        {
            "event": "workspace_created",
            "occurred_at": "2026-04-01T09:00:00Z",
            "event_id": event_id,
            "data": {
                "workspace_id": f"w-{event_id}",
                "owner_email": f"{event_id}@example.com",
                "workspace_name": "under fire",
            },
        }
    ).encode()


def test_sigterm_drains_what_was_acknowledged_into_the_lake(hooklake: Installation) -> None:
    receiver = hooklake.start_receiver()
    for number in range(50):
        assert hooklake.deliver(event_body(f"event-{number}")).status_code == 200

    assert hooklake.stop(receiver) == 0

    # No receiver runs any more and no refresh has: the files are what SIGTERM left behind.
    files = list(hooklake.data_dir.glob("lake/events/**/*.parquet"))
    assert sum(rows_of(file) for file in files) == 50
    assert all(not file.stat().st_mode & 0o077 for file in files)
    assert not hooklake.data_dir.stat().st_mode & 0o077


def rows_of(file: os.PathLike[str]) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(file).num_rows)


@pytest.mark.parametrize("moment", ["state.duckdb", "serve.duckdb", "the new version"])
def test_a_refresher_killed_amid_a_build_leaves_the_last_good_version(
    hooklake: Installation, moment: str
) -> None:
    receiver = hooklake.start_receiver()
    assert hooklake.deliver(event_body("before")).status_code == 200
    hooklake.command("refresh")
    link = hooklake.data_dir / "warehouse.duckdb"
    good = link.resolve()
    versions = set(hooklake.data_dir.glob("*warehouse-*"))
    assert hooklake.deliver(event_body("after")).status_code == 200

    refresher = hooklake.start("refresh", "--full")

    def has_come() -> bool:
        if moment == "the new version":
            return set(hooklake.data_dir.glob("*warehouse-*")) != versions
        return has_open(refresher.pid, hooklake.data_dir / moment)

    wait_until(lambda: has_come() or refresher.poll() is not None, seconds=30, what=moment, every=0)
    end_group(refresher)
    refresher.wait()

    # The link never dangles; only where the kill came after the swap it leads to the new version.
    published = {row["event_id"] for row in hooklake.query("select event_id from events")}
    assert published == ({"before"} if link.resolve() == good else {"before", "after"})
    if moment == "state.duckdb":
        assert link.resolve() == good
    hooklake.command("refresh")
    rows = hooklake.query("select event_id from events order by event_id")
    assert [row["event_id"] for row in rows] == ["after", "before"]
    rows = hooklake.query("select count(*) as accounts from dim_accounts")
    assert rows == [{"accounts": 2}]
    hooklake.stop(receiver)


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if descriptor.readlink() == path:
                return True
        except OSError:
            continue
    return False
