"""The Makefile's own promises; that `make run` and `make test` work is shown by running them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE)
INTERNAL = {"stale"}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_prints_the_help() -> None:
    assert make().stdout == make("help").stdout != ""


@pytest.mark.parametrize("target", sorted(set(TARGETS) - INTERNAL))
def test_every_target_is_explained_in_the_help(target: str) -> None:
    assert re.search(rf"^  make {target} +\S", make("help").stdout, re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(TARGETS) - INTERNAL - {"help", "clean", "setup"}))
def test_every_target_sets_up_first(target: str) -> None:
    assert re.search(rf"^{target}: \$\(STAMP\) ##", MAKEFILE, re.MULTILINE)


def test_backfill_without_a_file_says_how_to_call_it() -> None:
    done = make("backfill")

    assert done.returncode == 2
    assert "make backfill FROM=" in done.stderr


def test_no_python_new_enough_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()

    done = subprocess.run(
        ["make", "setup", "PYTHON=no-python"],  # noqa: S607
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "no Python 3.11 or newer found" in done.stderr
    assert "make setup PYTHON=" in done.stderr


def test_ci_runs_lint_and_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "set -euo pipefail" in script
    assert "make lint" in script
    assert "make test" in script
    assert "make test" in (ROOT / "README.md").read_text("utf-8")
