"""The commands under "History in" do what is said there, run as written."""

from __future__ import annotations

import json
from pathlib import Path

import readme
from walking import run

SHOWN_ID = "b-20260101T000000Z-1"
EVENT = b'{"event":"user_registered","event_id":"r1","email":"a@x.test","timestamp":1767323045}\n'
TABLE = "who;when\na@x.test;2026-01-02T03:04:05Z\nb@x.test;2026-01-02T03:04:06Z\n"


def test_the_commands_shown_load_history_and_take_it_back(tmp_path: Path) -> None:
    (tmp_path / "export.ndjson").write_bytes(EVENT)
    (tmp_path / "signups.csv").write_text(TABLE)
    lines = readme.shell_lines(readme.section("History in"))
    assert any("--undo" in line for line in lines)
    told = {}
    for line in lines:
        assert line.startswith("hooklake "), line
        if "--undo" in line:
            first = json.loads(run("hooklake backfill --list --json", tmp_path))[-1]
            line = line.replace(SHOWN_ID, first["batch_id"])
        told[line] = run(line, tmp_path)
    assert "2 new" in "".join(told.values())
    (left, first) = json.loads(run("hooklake backfill --list --json", tmp_path))
    assert (left["events"], left["status"]) == (2, "landed")
    assert (first["events"], first["status"]) == (0, "undone")
    own = json.loads(run("hooklake backfill data/lake/events --json", tmp_path))
    assert (own["new"], own["duplicate"]) == (0, 2)  # what was undone may still lie there
