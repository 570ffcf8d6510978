"""The checklist's page: green row by row, in every state of the ledger and the warehouse."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_health import EVIL, deliver, registered, reject
from test_pages import environment, run_page, shown
from warehouse_builder import build_warehouse

from dashboards import addresses
from dashboards.views import checklist as page
from ingest.checklist import CHECKS, remember
from ingest.ledger import open_ledger
from ingest.paths import DataDir

__all__ = ["environment"]  # a fixture of the pages' tests, used here as well


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    page._looked.clear()
    yield
    page._looked.clear()


def badges(text: str) -> tuple[int, int]:
    return text.count("green-badge["), text.count("gray-badge[")


def test_what_was_seen_is_green_and_the_rest_has_its_command(tmp_path: Path) -> None:
    ledger = DataDir(tmp_path).ledger
    build_warehouse(tmp_path, accounts=20)
    deliver(ledger, registered("ada@example.com"), registered("ada@example.com"))
    deliver(ledger, {"event": "workspace_created", "data": {"workspace_id": EVIL, "email": EVIL}})
    reject(ledger, "missing_token+wrong_signature")
    test = run_page(tmp_path, addresses.CHECKLIST)
    assert not test.exception and not test.error
    text = shown(test)
    assert badges(text) == (4, len(CHECKS) - 4)
    assert [code.value.split(" --data-dir")[0] for code in test.code] == [
        check.command for check in CHECKS
    ]
    assert f"--data-dir {tmp_path}" in text
    assert "1 time, last" in text
    assert "evil" not in text
    [progress] = test.get("progress")
    assert "4 of 14 seen and proved" in str(progress.proto)


def test_an_empty_ledger_has_no_green_row(tmp_path: Path) -> None:
    build_warehouse(tmp_path, accounts=0)
    deliver(DataDir(tmp_path).ledger)
    test = run_page(tmp_path, addresses.CHECKLIST)
    assert not test.exception and not test.error
    assert badges(shown(test)) == (0, len(CHECKS))


def test_what_the_ledger_has_let_go_of_is_green_and_told_to_the_day(tmp_path: Path) -> None:
    ledger = DataDir(tmp_path).ledger
    deliver(ledger, registered("ada@example.com"))
    with contextlib.closing(open_ledger(ledger)) as connection:
        remember(connection)
        connection.execute("delete from inbox")
        connection.execute("update seen set last_at = 1777075200000000")  # 25 April 2026
    test = run_page(tmp_path, addresses.CHECKLIST)
    assert not test.exception
    text = shown(test)
    assert badges(text) == (1, len(CHECKS) - 1)
    assert "1 time, last 25 Apr 2026" in text
    assert "25 Apr 2026 00:00" not in text


def test_it_is_shown_before_the_first_warehouse_and_beside_a_broken_one(tmp_path: Path) -> None:
    deliver(DataDir(tmp_path).ledger, registered("ada@example.com"))
    test = run_page(tmp_path, addresses.CHECKLIST)
    assert not test.exception
    assert badges(shown(test))[0] == 1
    (tmp_path / "warehouse-9.duckdb").write_text("no database at all" * 1000)
    (tmp_path / "warehouse.duckdb").symlink_to("warehouse-9.duckdb")
    test = run_page(tmp_path, addresses.CHECKLIST)
    assert not test.exception
    assert "cannot be read" in shown(test)
    assert badges(shown(test))[0] == 1


def test_no_ledger_and_a_broken_one_are_sentences(full_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(full_dir, tmp_path / "data", symlinks=True)
    test = run_page(tmp_path / "data", addresses.CHECKLIST)
    assert not test.exception and not test.error
    assert "not made its ledger yet" in shown(test)
    (tmp_path / "data" / "ledger.sqlite").write_bytes(b"no ledger" * 2000)
    test = run_page(tmp_path / "data", addresses.CHECKLIST)
    assert not test.exception and not test.error
    assert "ledger cannot be read now" in shown(test)
