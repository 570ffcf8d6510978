"""README's section on a person's data, executed as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import readme

pytestmark = pytest.mark.slow
BODY = {"event": "user_registered", "email": "ann@example.com", "event_id": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one event of Ann's has been loaded and published."""
    place = tmp_path_factory.mktemp("person")
    (place / "export.ndjson").write_text(
        json.dumps({**BODY, "occurred_at": "2026-01-01T00:00:00Z"}) + "\n"
    )
    run("hooklake backfill export.ndjson && hooklake refresh", place)
    return place


def run(command: str, folder: Path) -> str:
    here = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "HOOKLAKE_DATA_DIR": str(folder / "data"),
        "HOOKLAKE_FREE_BYTES_MIN": "0",
    }
    return subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_commands_export_and_forget(folder: Path) -> None:
    lines = readme.shell_lines(readme.section("A person's data"))
    assert len(lines) == 3
    for line in lines:
        run(line, folder)
    assert json.loads((folder / "ann.json").read_text())["events"][0]["event_id"] == "1"
    kept = [path for path in (folder / "data").rglob("*") if path.is_file()]
    assert [path for path in kept if b"ann@example.com" in path.read_bytes().lower()] == []
    code = re.search(r"```python\n(.*?)```", readme.section("A person's data"), re.DOTALL)
    assert code
    (certificate,) = (folder / "data" / "erasures").iterdir()
    answer = subprocess.run(
        [sys.executable, "-c", code[1], certificate], check=True, capture_output=True, text=True
    ).stdout
    assert answer == "True\n"
