"""README's section on a person's data, executed as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import readme
from walking import run

pytestmark = pytest.mark.slow


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
