"""SQL: an analyst's own questions, in the sandbox of warehouse.adhoc."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import streamlit as st

from dashboards import answers, charts, components, context, definitions, formats
from dashboards.filters import Filters
from dashboards.source import Source
from ingest.errors import HooklakeError
from ingest.paths import DataDir
from warehouse import adhoc

ROWS_MAX: Final = 10_000
MEMORY_BYTES_MAX: Final = 1 << 30
QUERIES_AT_ONCE_MAX: Final = 2
WAIT_SECONDS_MAX: Final = 5
LOOK_SECONDS: Final = 0.2
LETTERS_MAX: Final = 50_000
HISTORY_MAX: Final = 20
TIME_LIMITS: Final = (10, 30, 60)
ANALYSES: Final = Path(__file__).parents[2] / "sql" / "analyses"
FIRST_QUERY: Final = """select lifecycle, count(*) as accounts
from dim_accounts
group by lifecycle
order by accounts desc"""

_EDITOR, _KEPT, _OUTCOME, _HISTORY = "sql", "_sql_kept", "_sql_outcome", "_sql_history"
_running = threading.BoundedSemaphore(QUERIES_AT_ONCE_MAX)


@dataclass(frozen=True)
class Outcome:
    """What became of a query: frame or error, never both."""

    query: str
    asked_at: datetime
    seconds: float
    version: int
    frame: pl.DataFrame | None = None
    is_capped: bool = False
    error: HooklakeError | None = None


def draw(source: Source, _: Filters) -> None:
    """The whole page."""
    editor, browser = st.columns([3, 2], gap="large")
    with editor:
        _editor(source)
    with browser:
        _tables(source.ask("public_columns"))
    outcome: Outcome | None = st.session_state.get(_OUTCOME)
    if outcome is not None:
        _show(outcome)
    _history()


def _editor(source: Source) -> None:
    components.section("Question", definitions.SANDBOX)
    examples = answers.examples(ANALYSES)
    if examples:
        chosen = st.selectbox(
            "Example questions",
            range(len(examples)),
            index=None,
            format_func=lambda number: examples[number].title,
            placeholder="Take one as a start",
            key="example",
            on_change=lambda: _take_example(examples),
        )
        del chosen
    st.session_state.setdefault(_EDITOR, st.session_state.get(_KEPT, FIRST_QUERY))
    with st.form("question", border=False):
        query = st.text_area(
            "SELECT", key=_EDITOR, height=240, max_chars=LETTERS_MAX, help=definitions.SANDBOX
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            is_asked = st.form_submit_button("Run", type="primary", help="Ctrl+Enter")
            limit = st.segmented_control(
                "Time limit",
                TIME_LIMITS,
                default=TIME_LIMITS[0],
                format_func=lambda seconds: f"{seconds} s",
                key="time-limit",
                required=True,
            )
    st.session_state[_KEPT] = query
    if is_asked:
        _wait_for(query or "", limit or TIME_LIMITS[0], source.version.version)


def _wait_for(query: str, limit: int, version: int) -> None:
    """Ask in a thread of its own, so that this one notices Cancel, a new question or a closed tab.

    Streamlit tells a script to end when it draws something; whatever ends it ends the query.
    """
    cancelled = threading.Event()
    installation = context.installation()
    slot = st.empty()
    with ThreadPoolExecutor(1) as threads, slot.container():
        st.button(
            "Cancel",
            key="cancel",
            on_click=lambda: _keep(_cancelled(query, version)),
            help="Ends the query; its process is gone at once.",
        )
        drawn = st.empty()
        asked = threads.submit(_ask, installation.data_dir, query, limit, version, cancelled)
        try:
            with st.spinner("Asking the sandbox …", show_time=True):
                while not wait([asked], timeout=LOOK_SECONDS).done:
                    drawn.empty()
            _keep(asked.result())
        finally:
            cancelled.set()
    slot.empty()


def _cancelled(query: str, version: int) -> Outcome:
    error = adhoc.QueryStoppedError("cancelled before it was answered")
    return Outcome(query, datetime.now(UTC), 0.0, version, error=error)


def _take_example(examples: list[answers.Example]) -> None:
    number = st.session_state.get("example")
    if number is not None and number < len(examples):
        st.session_state[_EDITOR] = examples[number].query


def _ask(
    data: DataDir, query: str, limit: int, version: int, cancelled: threading.Event
) -> Outcome:
    asked_at, began = datetime.now(UTC), time.perf_counter()

    def outcome(**result: Any) -> Outcome:
        return Outcome(query, asked_at, time.perf_counter() - began, version, **result)

    if not _running.acquire(timeout=WAIT_SECONDS_MAX):
        return outcome(
            error=adhoc.QueryStoppedError(
                f"{QUERIES_AT_ONCE_MAX} other questions are running; ask again in a moment"
            )
        )
    try:
        answer = adhoc.execute(
            data,
            query,
            max_rows=ROWS_MAX,
            timeout_seconds=limit,
            memory_bytes=MEMORY_BYTES_MAX,
            cancelled=cancelled,
        )
        return outcome(frame=answers.frame_of(answer), is_capped=answer.is_capped)
    except HooklakeError as error:
        return outcome(error=error)
    finally:
        _running.release()


def _keep(outcome: Outcome) -> None:
    st.session_state[_OUTCOME] = outcome
    history: list[Outcome] = st.session_state.setdefault(_HISTORY, [])
    others = [past for past in history if past.query != outcome.query]
    st.session_state[_HISTORY] = [outcome, *others][:HISTORY_MAX]


def _show(outcome: Outcome) -> None:
    components.section(
        "Answer",
        f"Asked {formats.instant(outcome.asked_at)}, of version {outcome.version}, in "
        f"{outcome.seconds:.1f} s.",
    )
    if outcome.error is not None:
        _failed(outcome.query, outcome.error)
        return
    frame = outcome.frame
    if frame is None or not frame.width:
        return
    rows = formats.counted(frame.height, "row")
    capped = f": the first {formats.count(ROWS_MAX)}, there are more" if outcome.is_capped else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{rows}{capped}", width="stretch")
        components.download("answer.csv", lambda: frame, key="answer-csv")
        st.download_button(
            "Export Parquet",
            data=lambda: answers.parquet(frame),
            file_name="answer.parquet",
            mime="application/vnd.apache.parquet",
            key="answer-parquet",
            on_click="ignore",
        )
    drawn = answers.charted(frame)
    if drawn is not None:
        along, value = drawn
        components.chart(
            charts.answer(frame, along, value, components.palette()),
            "Chart of the answer; the table below has its numbers",
        )
    components.table(
        frame, {name: st.column_config.Column() for name in frame.columns}, key="answer"
    )


def _failed(query: str, error: HooklakeError) -> None:
    if isinstance(error, adhoc.QueryError):
        place = f" Line {error.line}, column {error.column}:" if error.line and error.column else ""
        st.error(f"**The query cannot run.**{place}")
        pointed = answers.pointed(query, error)
        if pointed:
            st.code(pointed, language=None)
        st.text(error.reason)
        return
    if isinstance(error, adhoc.QueryStoppedError):
        st.warning("**The query was stopped.** Nothing but its own process was affected.")
    elif isinstance(error, adhoc.QueryRefusedError):
        st.warning("**The query was refused.** Only one SELECT over the published tables runs.")
    else:
        st.warning("**There was nothing to ask.**")
    st.text(str(error))


def _tables(columns: pl.DataFrame) -> None:
    components.section("Tables", "What the warehouse publishes, with the models' own words.")
    names = columns["table_name"].unique(maintain_order=True).to_list()
    table = st.selectbox("Table", names, key="table", bind="query-params")
    if table is None:
        return
    of_table = columns.filter(pl.col("table_name") == table)
    st.text(of_table["table_description"][0] or "")
    text = st.column_config.TextColumn
    components.table(
        of_table,
        {
            "column_name": text("Column"),
            "type": text("Type", width="small"),
            "description": text("What it says", width="large"),
        },
        key="columns",
        rows_shown=8,
    )
    st.button(
        "Its first 100 rows",
        key="first-rows",
        on_click=lambda: st.session_state.update({_EDITOR: f"select *\nfrom {table}\nlimit 100"}),
    )


def _history() -> None:
    history: list[Outcome] = st.session_state.get(_HISTORY, [])
    if not history:
        return
    with st.expander(f"Asked before in this window: {formats.count(len(history))}"):
        for number, past in enumerate(history):
            ended = (
                formats.counted(past.frame.height, "row") if past.frame is not None else "no answer"
            )
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"{formats.instant(past.asked_at)} · {ended}", width="stretch")
                st.button(
                    "Take into the editor",
                    key=f"again-{number}",
                    on_click=lambda query=past.query: st.session_state.update({_EDITOR: query}),
                )
            st.code(past.query, language="sql", wrap_lines=True)
