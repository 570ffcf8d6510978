"""What a page costs the server at its first view: nothing kept from before, nothing drawn twice.

    python tests/bench/dashboard.py --events 10000000 --rounds 3

Made-up lives as in rebuild.py, published once; then every page as Streamlit runs it for a reader
who is the first to open it on that version: from the script's first line to its last, by the clock
and in processor time of all cores (the fairer one where others work as well). `answers` is the part
spent in questions to the warehouse. One account's page is drawn for somebody with a long history.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import streamlit as st
from rebuild import History, say
from streamlit.testing.v1 import AppTest

from dashboards import addresses, source
from dashboards.launch import load_pages
from dashboards.people import People
from dashboards.views import VIEWS
from warehouse.workbench import Workbench

TARGET_MILLISECONDS = 300
SCRIPT = """
import time
import streamlit as st
from dashboards.app import draw_safely
from dashboards.views import VIEWS
started = time.perf_counter(), time.process_time()
draw_safely(next(view for view in VIEWS if view.url_path == {page!r}))
st.session_state.spent = time.perf_counter() - started[0], time.process_time() - started[1]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=0, help="the dearest ones to list")
    arguments, _ = parser.parse_known_args(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    bench = Workbench(folder / "data")
    history = History(bench, folder / "told.parquet")
    history.tell(arguments.events)
    bench.refresh()
    say(f"pages of {history.rows:,} events, {history.accounts:,} accounts, each seen first")
    [(somebody,)] = bench.query(
        "select account_id from fct_plan_changes"
        " group by account_id order by count(*) desc, account_id limit 1"
    )
    os.environ["HOOKLAKE_DATA_DIR"] = str(bench.data.root)
    asked = Asked()
    views = [(view.title, view.url_path, {}) for view in VIEWS]
    views.append(("Accounts, one account", addresses.ACCOUNTS, {"account": somebody}))
    [(today,)] = bench.query("select as_of::date from hooklake.build")
    for title, kind, parts in (
        ("Rows behind MRR", "paying", ("USD", today)),
        ("Rows behind a retention", "retention", (None, 3, None)),
        ("Rows behind NRR", "kept", ("USD", today.replace(day=1))),
        ("Rows behind registrations", "registered", (None, today - timedelta(days=364), today)),
    ):
        people = People.of(kind, *parts).address
        views.append((f"{title} (when followed)", addresses.ACCOUNTS, {"people": people}))
    logging.disable(logging.WARNING)  # Streamlit's, of not being run by its server
    load_pages()  # as the server does before it lets anybody in
    draw(addresses.OVERVIEW, {})
    for title, page, address in views:
        seconds, cores, answers = [], [], []
        for _ in range(arguments.rounds):
            st.cache_data.clear()
            asked.seconds.clear()
            spent, spent_cores = draw(page, address)
            seconds.append(spent)
            cores.append(spent_cores)
            answers.append(sum(asked.seconds.values()))
        clock, cpu, within = (
            1000 * statistics.median(found) for found in (seconds, cores, answers)
        )
        is_met = clock <= TARGET_MILLISECONDS or "people" in address
        mark = "" if is_met else f"  over {TARGET_MILLISECONDS} ms"
        say(f"{title}: {clock:.0f} ms (processor {cpu:.0f}), answers {within:.0f} ms{mark}")
        dearest = sorted(asked.seconds.items(), key=lambda item: -item[1])
        for question, spent in dearest[: arguments.questions]:
            say(f"    {question}: {spent * 1000:.0f} ms")


def draw(page: str, address: dict[str, str]) -> tuple[float, float]:
    """Seconds of one view of the page by somebody new, and of processor time.

    A page that fails ends the run.
    """
    test = AppTest.from_string(SCRIPT.format(page=page), default_timeout=120)
    for name, value in address.items():
        test.query_params[name] = value
    test.run()
    if test.exception or test.error:
        raise SystemExit(f"{page}: {[part.value for part in (*test.exception, *test.error)]}")
    spent: tuple[float, float] = test.session_state["spent"]
    return spent


class Asked:
    """Seconds each question of queries/ took since `seconds` was cleared."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        ask = source.Source.ask

        def timed(asking: source.Source, question: str, *arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return ask(asking, question, *arguments, **named)
            finally:
                spent = time.perf_counter() - started
                self.seconds[question] = self.seconds.get(question, 0.0) + spent

        source.Source.ask = timed  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
