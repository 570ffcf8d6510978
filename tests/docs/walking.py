"""A shell in which README's commands are the program's, over a data directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND_SECONDS_MAX = 120


def run(command: str, folder: Path) -> str:
    """What the command prints; it must succeed."""
    here = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "HOOKLAKE_DATA_DIR": str(folder / "data"),
        "HOOKLAKE_FREE_BYTES_MIN": "0",
    }
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
