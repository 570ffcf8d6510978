"""README's recipes for other tools, and its SQL commands, executed as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
import readme
from walking import run

pytestmark = pytest.mark.slow
TABLES = readme.section("Tables")
RECIPES = re.findall(r"```python\n(.*?)```", TABLES, re.DOTALL)
PRINTED = (("lifecycle", "accounts"), ("lifecycle", "change_id"), ("plan_id", "pro"))


def test_every_sql_command_answers(folder: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    lines = [line for line in readme.shell_lines(TABLES) if line.startswith("hooklake ")]
    assert len(lines) >= 5
    for line in lines:
        run(line.replace("sql/analyses", f"{root}/sql/analyses"), folder)
    changes = pl.read_parquet(folder / "plan_changes.parquet")
    assert changes["to_plan_id"].to_list() == ["pro"]
    assert (folder / "mrr.csv").read_text().startswith("month,currency,")


@pytest.mark.parametrize(("recipe", "printed"), list(zip(RECIPES, PRINTED, strict=True)))
def test_every_recipe_runs(folder: Path, recipe: str, printed: tuple[str, ...]) -> None:
    pytest.importorskip("pandas")
    done = subprocess.run(
        [sys.executable, "-c", recipe],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    for word in printed:
        assert word in done.stdout


def test_a_reader_cannot_change_the_published_file(folder: Path) -> None:
    with (
        duckdb.connect(str(folder / "data" / "warehouse.duckdb"), read_only=True) as warehouse,
        pytest.raises(duckdb.Error, match="read-only"),
    ):
        warehouse.execute("drop table dim_accounts")
