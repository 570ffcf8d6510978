"""`.ci/environment.py`, which `make setup` runs on a bare Python."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, pointed at an empty checkout of its own."""
    specification = importlib.util.spec_from_file_location(
        "hooklake_environment", ROOT / ".ci" / "environment.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    venv = tmp_path / ".venv"
    for name, value in {
        "ROOT": tmp_path,
        "VENV": venv,
        "VENV_PYTHON": venv / "bin" / "python",
        "LOCK": tmp_path / "requirements.lock",
        "STAMP": venv / "hooklake-installed",
    }.items():
        monkeypatch.setattr(module, name, value)
    (tmp_path / "requirements.lock").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return module


def pretend_installed(environment: ModuleType) -> None:
    environment.VENV_PYTHON.parent.mkdir(parents=True)
    environment.VENV_PYTHON.symlink_to(sys.executable)
    environment.STAMP.write_text(environment.fingerprint())


def test_a_second_setup_starts_nothing(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_installed(environment)
    monkeypatch.setattr(environment.subprocess, "run", None)
    monkeypatch.setattr(environment.subprocess, "Popen", None)

    assert environment.main(["setup"]) == 0


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_file_installs_anew(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    pretend_installed(environment)
    steps: list[str] = []
    monkeypatch.setattr(environment, "venv_is_sound", lambda: True)
    monkeypatch.setattr(environment, "install_lock", lambda: steps.append("lock"))
    monkeypatch.setattr(environment, "pip", lambda *_: steps.append("project"))
    with (environment.ROOT / changed).open("a") as file:
        file.write("# another line\n")

    assert environment.main(["setup"]) == 0
    assert steps == ["lock", "project"]
    assert environment.STAMP.read_text() == environment.fingerprint()


def test_a_moved_checkout_counts_as_changed(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment.fingerprint()
    monkeypatch.setattr(environment, "ROOT", environment.ROOT / ".." / environment.ROOT.name)

    assert environment.fingerprint() != before


def test_an_interrupted_install_leaves_no_stamp(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_installed(environment)
    (environment.ROOT / "requirements.lock").write_text("a==2\n")

    def fail() -> None:
        raise environment.CannotContinueError("the registry is away")

    monkeypatch.setattr(environment, "venv_is_sound", lambda: True)
    monkeypatch.setattr(environment, "install_lock", fail)

    assert environment.main(["setup"]) == 1
    assert not environment.STAMP.exists()
    assert capsys.readouterr().err == "error: the registry is away\n"


def test_a_venv_without_interpreter_is_not_sound(environment: ModuleType) -> None:
    environment.VENV_PYTHON.parent.mkdir(parents=True)
    environment.VENV_PYTHON.symlink_to("/nowhere/python3")

    assert not environment.venv_is_sound()


def test_an_old_python_is_refused_with_the_way_out(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 10, 13))

    assert environment.main(["setup"]) == 1
    said = capsys.readouterr().err
    assert "is 3.10.13" in said
    assert "make setup PYTHON=/path/to/python3.11" in said


def test_without_root_the_missing_package_is_named_with_its_command(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(environment.shutil, "which", lambda _: "/usr/bin/apt-get")

    with pytest.raises(environment.CannotContinueError, match="sudo apt-get install chromium"):
        environment.install_debian_package("chromium", reason="the tests drive a browser")


def test_elsewhere_than_debian_the_missing_package_is_named(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)

    with pytest.raises(environment.CannotContinueError, match="Install chromium, then"):
        environment.install_debian_package("chromium", reason="the tests drive a browser")


def test_chromium_is_the_one_named_in_the_environment(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    browser = tmp_path / "my-browser"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(browser))

    assert environment.find_chromium() == str(browser)


def test_progress_is_one_line_for_twenty_packages(environment: ModuleType) -> None:
    talk = [f"Collecting package-{n}\n" for n in range(41)]
    talk += ["  Using cached package.whl\n", "Installing collected packages: a, b\n"]

    assert list(environment.fetched(iter(talk), 41)) == [
        "setup: 20 of about 41 packages fetched",
        "setup: 40 of about 41 packages fetched",
        "setup: all fetched, installing",
    ]


@pytest.mark.parametrize("arguments", [[], ["install"], ["setup", "browser"]])
def test_wrong_usage_is_exit_code_2(environment: ModuleType, arguments: list[str]) -> None:
    assert environment.main(arguments) == 2
