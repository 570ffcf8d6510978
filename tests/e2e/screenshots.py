"""`make screenshots`: the README's pictures, taken of a demo filled for the purpose.

Nothing of a person's own data can get into them: the data directory is made here and thrown away.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from pathlib import Path

from browser import DESKTOP, chromium, chromium_path, open_page, picture
from installation import Installation, installation, wait_until

FOLDER = Path(__file__).resolve().parents[2] / "dashboards" / "screenshots"
PAGES = {
    "overview": "",
    "funnel": "funnel",
    "plan-changes": "plan-changes",
    "overdue-payments": "overdue-payments",
    "retention": "retention",
    "accounts": "accounts",
    "sql": "sql",
}
FILL_SECONDS_MAX = 300


def main() -> int:
    """The exit code; the pictures are in FOLDER afterwards."""
    path = chromium_path()
    if path is None:
        sys.stderr.write("error: no Chromium found; install it or set CHROMIUM to its path\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, installation(Path(folder)) as demo:
        demo.start("run", "--demo")
        wait_until(lambda: is_filled(demo), seconds=FILL_SECONDS_MAX, what="the filled demo")
        with chromium(path) as browser:
            for name, address in PAGES.items():
                watch = open_page(browser, f"{demo.dashboard_url}/{address}", DESKTOP)
                watch.page.get_by_text("As of", exact=False).first.wait_for()
                (FOLDER / f"{name}.png").write_bytes(picture(watch))
                watch.assert_clean()
                sys.stdout.write(f"{FOLDER.name}/{name}.png\n")
    return 0


def is_filled(demo: Installation) -> bool:
    """Whether everything sent is in the published tables."""
    assert demo.processes[0].poll() is None, demo.said("run")
    try:
        note = json.loads((demo.data_dir / "demo.json").read_text("utf-8"))
    except FileNotFoundError:
        return False
    if not note["is_filled"] or not (demo.data_dir / "warehouse.duckdb").exists():
        return False
    published = demo.query("select events from hooklake.build")
    return published[0]["events"] == rows_in_the_ledger(demo)


def rows_in_the_ledger(demo: Installation) -> int:
    connection = sqlite3.connect(f"file:{demo.data_dir / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        return int(connection.execute("select count(*) from inbox").fetchone()[0])
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
