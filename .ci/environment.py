"""Makes the virtual environment that `make` works in; runs on a bare Python, standard library only.

    python3 .ci/environment.py setup      .venv holding exactly requirements.lock, and the project
    python3 .ci/environment.py browser    a Chromium for the browser tests, or what to install

Both are instant when there is nothing to do. What is missing and can be installed (Debian's
packages, as root) is installed; what cannot is named together with the command that installs it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "hooklake-installed"
"""Names what was installed; while it is newer than the lock, make does not even start this file."""

PYTHON_MIN = (3, 11)
PROGRESS_STEP_PACKAGES = 20
PIP_LAST_LINES = 30
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PLACES = (
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


class CannotContinueError(Exception):
    """Something is missing that this program may not install; the message says what to do."""


def main(arguments: list[str]) -> int:
    """The exit code: 0 done, 1 something is missing, 2 wrong usage."""
    actions = {"setup": set_up, "browser": provide_browser}
    if len(arguments) != 1 or arguments[0] not in actions:
        say(f"usage: environment.py {'|'.join(actions)}")
        return 2
    try:
        actions[arguments[0]]()
    except CannotContinueError as error:
        say(f"error: {error}")
        return 1
    return 0


def set_up() -> None:
    """Installs the lock and the project into .venv unless exactly that is there already."""
    wanted = fingerprint()
    if STAMP.exists() and VENV_PYTHON.exists() and STAMP.read_text("utf-8") == wanted:
        STAMP.touch()
        return
    require_python()
    if not venv_is_sound():
        create_venv()
    STAMP.unlink(missing_ok=True)
    install_lock()
    pip("install", "--quiet", "--no-build-isolation", "--no-deps", "--editable", str(ROOT))
    STAMP.write_text(wanted, "utf-8")
    say("setup: done")


def fingerprint() -> str:
    """Text that changes whenever the environment has to be made anew: place, lock or project file.

    The place counts because a virtual environment that was moved along with its checkout still
    runs the programs of the old one.
    """
    inputs = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    return f"{ROOT}\n{inputs.hexdigest()}\n"


def require_python() -> None:
    """Raises CannotContinueError on an interpreter that the lock is not made for."""
    if sys.version_info < PYTHON_MIN:
        found = ".".join(map(str, sys.version_info[:3]))
        wanted = ".".join(map(str, PYTHON_MIN))
        raise CannotContinueError(
            f"Python {wanted} or newer is needed, {sys.executable} is {found}. "
            f"Install one and name it: make setup PYTHON=/path/to/python{wanted}"
        )


def venv_is_sound() -> bool:
    """Whether .venv has a working Python, new enough, with pip, and stands where it was made."""
    probe = f"import sys, pip; sys.exit(sys.version_info < {PYTHON_MIN!r})"
    try:
        done = subprocess.run([str(VENV_PYTHON), "-c", probe], capture_output=True, check=False)
    except OSError:
        return False
    activate = VENV / "bin" / "activate"
    return done.returncode == 0 and activate.exists() and str(VENV) in activate.read_text("utf-8")


def create_venv() -> None:
    """Makes .venv anew, installing Debian's split-off venv package first where that is missing."""
    if subprocess.run(
        [sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True
    ).returncode:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        install_debian_package(package, reason="this Python comes without venv and pip")
    say(f"setup: making .venv with Python {sys.version.split()[0]}")
    shutil.rmtree(VENV, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
    if done.returncode:
        raise CannotContinueError(f"{sys.executable} -m venv {VENV} failed; its message is above")


def install_lock() -> None:
    """Installs the locked packages, every file checked against its hash, counting them aloud."""
    total = sum("==" in line for line in LOCK.read_text("utf-8").splitlines())
    say(f"setup: installing about {total} packages (the first time takes a minute or two)")
    command = pip_command(
        "install", "--require-hashes", "--no-deps", "--progress-bar", "off", "-r", str(LOCK)
    )
    said: deque[str] = deque(maxlen=PIP_LAST_LINES)
    with subprocess.Popen(
        command,
        env=pip_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        for line in fetched(remembered(process.stdout, said), total):
            say(line)
    if process.returncode:
        raise CannotContinueError(
            f"pip could not install requirements.lock:\n{''.join(said)}"
            "Is a package registry reachable?"
        )


def remembered(lines: Iterable[str], last: deque[str]) -> Iterator[str]:
    """The same lines, the latest of them kept in `last`: pip is quiet unless it fails."""
    for line in lines:
        last.append(line)
        yield line


def fetched(pip_output: Iterator[str], total: int) -> Iterator[str]:
    """Progress lines for pip's talk: one in twenty packages fetched, and the long silent step."""
    count = 0
    for line in pip_output:
        if line.startswith("Collecting "):
            count += 1
            if count % PROGRESS_STEP_PACKAGES == 0:
                yield f"setup: {count} of about {total} packages fetched"
        elif line.startswith("Installing collected packages"):
            yield "setup: all fetched, installing"


def provide_browser() -> None:
    """Prints the path of a Chromium, installing Debian's where that is possible."""
    found = find_chromium()
    if found is None:
        install_debian_package("chromium", reason="the browser tests drive a real Chromium")
        found = find_chromium()
    if found is None:
        raise CannotContinueError("chromium was installed but is not on the PATH")
    sys.stdout.write(f"{found}\n")


def find_chromium() -> str | None:
    """The browser's path: $CHROMIUM where set, else the first of the usual names and places."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    candidates = (shutil.which(name) for name in (*CHROMIUM_NAMES, *CHROMIUM_PLACES))
    return next((path for path in candidates if path), None)


def install_debian_package(package: str, *, reason: str) -> None:
    """Installs the package with apt-get as root; else raises with the command for the user."""
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise CannotContinueError(f"{reason}. Install {package}, then run the same make again")
    if os.geteuid() != 0:
        command = f"sudo apt-get install {package}"
        raise CannotContinueError(f"{reason}. Run: {command}; then the same make again")
    say(f"setup: installing {package} ({reason})")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "--no-install-recommends", package],
    ):
        done = subprocess.run(
            [apt_get, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CannotContinueError(f"apt-get {' '.join(arguments)} failed:\n{done.stdout}")


def pip(*arguments: str) -> None:
    """Runs the environment's pip; raises CannotContinueError when it fails."""
    done = subprocess.run(pip_command(*arguments), env=pip_environment(), check=False)
    if done.returncode:
        raise CannotContinueError(f"pip {' '.join(arguments)} failed; its message is above")


def pip_command(*arguments: str) -> list[str]:
    return [str(VENV_PYTHON), "-m", "pip", *arguments]


def pip_environment() -> dict[str, str]:
    """The user's environment (registry settings included) less pip's notices about itself."""
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return {**os.environ, **quiet, "PYTHONWARNINGS": "ignore"}


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
