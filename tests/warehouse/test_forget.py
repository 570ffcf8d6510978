"""`hooklake forget`: nothing of the person is left, everybody else is whole, nothing comes back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forgetting import (
    ANN,
    BOB,
    anns_bodies,
    bobs_bodies,
    body,
    check_gone,
    counters,
    deliver,
    fill,
    ledger_of,
    rows,
    settings_of,
)
from terminal import on_a_terminal

from ingest.checklist import checklist
from ingest.errors import UsageError
from ingest.ledger import transaction
from ingest.settings import Settings
from ingest.tombstones import lay
from warehouse import erasure, forget, refresh
from warehouse.build import Wanted
from warehouse.certificate import person_hash
from warehouse.doctor import examine
from warehouse.person import ACCOUNTS_MAX, TooManyAccountsError, named
from warehouse.refresh import Refresher, RefreshError
from warehouse.sweep_people import apply_tombstones

pytestmark = pytest.mark.slow
HOOKLAKE = Path(sys.executable).with_name("hooklake")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forgetting")
    settings = settings_of(folder / "data")
    fill(settings, folder)
    Refresher(settings, lambda report: None).refresh(Wanted(), land=False)
    deliver(settings, body("plan_changed", "late", email=ANN, plan="free"))
    return folder / "data"


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    shutil.copytree(template, tmp_path / "data", symlinks=True)
    return settings_of(tmp_path / "data")


def erase(settings: Settings, email: str = ANN) -> dict[str, Any]:
    return forget.erase(settings, named(email, None), is_linked=True)


def test_nothing_of_the_person_is_left_and_everybody_else_is_whole(settings: Settings) -> None:
    before = rows(settings, "select sum(registered) from mart_funnel_daily")
    assert before == [(2,)]

    report = erase(settings)

    check_gone(settings)
    assert rows(settings, "select sum(registered) from mart_funnel_daily") == [(1,)]
    assert report["removed"] == {"events": 9, "duplicates": 1, "quarantined": 3}
    assert report["left"] == []
    exports = settings.paths.root / "exports"
    assert (exports / "rows.csv").read_text() == f"account,note\n{BOB},fine\n{BOB},more\n"
    assert (exports / "notes.md").read_text() == "Call [erased] back.\n"
    history = settings.paths.root / "sql_history"
    assert history.read_text() == "select 1;\nselect 2;\n"
    assert [row for row in rows(settings, "select payload from events") if "[erased]" in row[0]]
    counted = counters(settings)
    assert counted["erased"] == 13


def test_the_checklist_stays_green_for_what_a_forgotten_person_has_shown(
    settings: Settings,
) -> None:
    with ledger_of(settings) as connection:
        connection.execute("update inbox set verified_by = 'standard:s'")
        before = {item.key: item.count for item in checklist(connection)}
    assert before["workspace_deleted"]

    erase(settings)

    check_gone(settings)
    with ledger_of(settings) as connection:
        assert {item.key: item.count for item in checklist(connection)} == before


def test_nothing_brings_the_person_back(settings: Settings, tmp_path: Path) -> None:
    erase(settings)
    before = counters(settings)

    verdicts = deliver(settings, *anns_bodies())
    assert set(verdicts) - {"erased"} == {"accepted"}  # a-7 names nobody where the contract looks
    assert verdicts.count("erased") == len(verdicts) - 1
    assert counters(settings)["erased"] == before["erased"] + len(verdicts) - 1


def test_somebody_elses_events_are_still_known_as_duplicates(settings: Settings) -> None:
    erase(settings)
    verdicts = deliver(settings, *(raw for raw in bobs_bodies()[:3]))
    assert verdicts == ["duplicate"] * 3


def test_the_certificate_proves_whom_it_is_about_without_saying_it(settings: Settings) -> None:
    report = erase(settings)
    path = settings.paths.root / "erasures" / f"{report['erasure_id']}.json"
    text = path.read_text()
    certificate = json.loads(text)
    assert path.stat().st_mode & 0o777 == 0o600
    assert ANN not in text
    person = certificate["person"]
    assert person_hash(ANN, bytes.fromhex(person["salt"])) in person["accounts"]
    assert certificate["removed"] == report["removed"]
    files = certificate["files_rewritten"]
    assert sum(each["rows_before"] - each["rows_after"] for each in files) == 9
    assert certificate["tombstones"]["of"]


def test_an_erasure_of_nobody_changes_no_number(settings: Settings) -> None:
    before = counters(settings)
    report = erase(settings, "nobody@y.test")
    assert report["removed"] == {"events": 0, "duplicates": 0, "quarantined": 0}
    assert counters(settings) == before
    assert deliver(settings, body("user_registered", email="Nobody@y.test")) == ["erased"]


def test_a_dry_run_says_how_much_there_is_and_changes_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(settings.paths.root)
    assert forget.run(settings, ANN, is_dry=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["accounts"], told["owner_ids"], told["workspaces"]) == (2, 1, 2)
    assert fingerprint(settings.paths.root) == before


def fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.mark.parametrize(("answer", "is_erased"), [("n", False), ("", False), ("y", True)])
def test_on_a_terminal_it_asks_first(settings: Settings, answer: str, is_erased: bool) -> None:
    arguments = [str(HOOKLAKE), "forget", ANN, "--data-dir", str(settings.data_dir)]
    with on_a_terminal(arguments) as (screen, program):
        told = screen.until("[y/n] (n): ")
        assert "9  events" in told
        screen.type(f"{answer}\n")
        screen.until("certificate: " if is_erased else "nothing was erased")
        assert program.wait(30) == (0 if is_erased else 4)
    assert counters(settings)["erased"] == (13 if is_erased else 0)


@pytest.mark.parametrize(("who", "prompt"), [(ANN, "[y/n] (n): "), ("-", "e-mail address: ")])
def test_ctrl_c_ends_a_question_at_once(settings: Settings, who: str, prompt: str) -> None:
    arguments = [str(HOOKLAKE), "forget", who, "--data-dir", str(settings.data_dir)]
    with on_a_terminal(arguments) as (screen, program):
        screen.until(prompt)
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 130
    assert counters(settings)["erased"] == 0


def test_a_copy_of_before_forgets_again(settings: Settings, tmp_path: Path) -> None:
    for name in ("by-ledger", "by-certificate"):
        shutil.copytree(settings.data_dir, tmp_path / name, symlinks=True)
    assert erase(settings)["removed"]["events"] == 9

    restored = settings_of(tmp_path / "by-ledger")
    assert apply_tombstones(restored) == 0  # it knows of nobody
    assert apply_tombstones(restored, newer_ledger=settings.paths.ledger) == 9
    check_gone(restored)
    assert apply_tombstones(restored) == 0

    restored = settings_of(tmp_path / "by-certificate")
    shutil.copytree(settings.paths.root / "erasures", restored.paths.root / "erasures")
    assert apply_tombstones(restored) == 9
    check_gone(restored)


def test_an_owner_id_leads_to_the_person(settings: Settings) -> None:
    forget.erase(settings, named(None, "u-1"), is_linked=True)
    check_gone(settings)


def test_an_owner_id_that_everybody_has_names_nobody(settings: Settings) -> None:
    shared = [
        body("user_registered", email=f"p{n}@x.test", owner_id="7") for n in range(ACCOUNTS_MAX + 1)
    ]
    deliver(settings, *shared)
    with pytest.raises(TooManyAccountsError, match="--unlinked"):
        forget.run(settings, "p1@x.test", is_certain=True)
    assert counters(settings)["erased"] == 0
    forget.erase(settings, named("p1@x.test", None), is_linked=False)
    assert counters(settings)["erased"] == 1


def test_a_placeholder_for_an_owner_id_links_nobody(settings: Settings) -> None:
    deliver(
        settings,
        *(body("user_registered", email=f"p{n}@x.test", owner_id="Null") for n in range(2)),
    )
    assert erase(settings, "p1@x.test")["removed"]["events"] == 1


def test_what_cannot_be_changed_is_named(settings: Settings) -> None:
    backup = settings.paths.root / "backups" / "monday"
    backup.mkdir(parents=True)
    (backup / "manifest.json").write_text(f'{{"of": "{ANN}"}}')
    (settings.paths.root / "exports" / "odd.bin").write_bytes(b"\0" + ANN.encode() + b"\0")
    (settings.paths.root / "old.zip").write_bytes(b"PK\x03\x04 whatever")
    shutil.copy(settings.paths.ledger, settings.paths.root / "ledger.sqlite.bak")
    shutil.copy(settings.paths.serve, settings.paths.root / "mine.duckdb")
    assert erase(settings)["left"] == [
        "backups/monday (a backup)",
        "ledger.sqlite.bak",
        "mine.duckdb",
        "old.zip",
        "exports/odd.bin",
    ]
    assert ANN in (backup / "manifest.json").read_text()


def test_where_nothing_was_received_nobody_can_be_forgotten(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was ever received"):
        forget.run(settings_of(tmp_path / "empty"), ANN, is_certain=True)
    assert not (tmp_path / "empty").exists()


def test_the_address_comes_by_standard_input_and_nobody_else_is_asked(settings: Settings) -> None:
    done = subprocess.run(
        [HOOKLAKE, "forget", "-", "--json", "--data-dir", settings.data_dir],
        input=f"{ANN}\n",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOOKLAKE_FREE_BYTES_MIN": "0"},
    )
    told = json.loads(done.stdout)
    assert told["removed"]["events"] == 9
    assert ANN not in done.stdout + done.stderr
    check_gone(settings)


@pytest.mark.parametrize("given", ["", "  ", None])
def test_nobody_cannot_be_forgotten(settings: Settings, given: str | None) -> None:
    with pytest.raises(UsageError, match="name a person"):
        forget.run(settings, given)


STAGES: list[tuple[Any, str]] = [
    (erasure, "search"),
    (erasure, "rewrite"),
    (erasure, "remove"),
    (refresh, "build"),
    (erasure, "_drop_versions"),
    (erasure, "remove_replaced"),
    (erasure, "scrub"),
    (erasure, "write_certificate"),
    (erasure, "_close"),
]


class KilledError(BaseException):
    pass


@pytest.mark.parametrize(("module", "step"), STAGES, ids=[step for _, step in STAGES])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_an_erasure_stopped_anywhere_is_completed_by_the_next_refresh(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, is_after: bool
) -> None:
    real: Callable[..., Any] = getattr(module, step)

    def stop(*arguments: Any, **named_ones: Any) -> None:
        if is_after:
            real(*arguments, **named_ones)
        raise KilledError

    monkeypatch.setattr(module, step, stop)
    with pytest.raises(KilledError):
        erase(settings)
    monkeypatch.undo()
    assert deliver(settings, anns_bodies()[0]) == ["erased"]
    is_done = (step, is_after) == ("_close", True)
    assert ("erasures" in {finding.check for finding in examine(settings)}) != is_done

    Refresher(settings, lambda report: None).refresh(Wanted(), land=True)

    check_gone(settings)
    with ledger_of(settings) as connection:
        assert erasure.unfinished(connection) == []
    assert len(list((settings.paths.root / "erasures").iterdir())) == 1


def test_where_no_warehouse_can_be_built_none_is_left(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: Any) -> None:
        raise RefreshError("a model failed")

    monkeypatch.setattr(refresh, "build", fail)
    assert forget.run(settings, ANN, is_certain=True) == 1
    assert "none is published now" in capsys.readouterr().err
    monkeypatch.undo()
    assert not settings.paths.warehouse.exists()
    assert list(settings.paths.root.glob("*.duckdb")) == []
    Refresher(settings, lambda report: None).refresh(Wanted(), land=True)
    check_gone(settings)


def test_a_person_with_a_tombstone_and_no_erasure_is_only_refused(settings: Settings) -> None:
    with ledger_of(settings) as connection, transaction(connection):
        lay(connection, "e-0", "account", [BOB])
    assert deliver(settings, bobs_bodies()[0]) == ["erased"]
