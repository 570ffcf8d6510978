"""The parts pages are made of: cards, headings with their definition, charts, tables, exports.

Labels, captions and help are Markdown to Streamlit, so only texts of ours and formatted numbers
may reach them; text from events goes into tables and charts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

import polars as pl
import streamlit as st

from dashboards import formats, navigation, people, theme
from dashboards.charts import PEOPLE
from dashboards.export import formula_safe_csv
from dashboards.people import Lead
from dashboards.queries import unit_of
from dashboards.theme import Palette
from dashboards.vega import Chart

ROW_PIXELS = 35
TABLE_ROWS_SHOWN = 12
CURRENCIES_ADDED_MAX = 8
_ROWS = {"change": "changes", "movement": "movements", "episode": "payments"}


def palette() -> Palette:
    """The colours of the theme the browser shows now."""
    return theme.palette(st.context.theme.type)


def cards(key: str, *, small: bool = False) -> AbstractContextManager[Any]:
    """A grid that gives each card in it the same width, two abreast on a phone."""
    return st.container(key=f"{'cards-small' if small else 'cards'}-{key}")


def card(
    label: str,
    value: str,
    *,
    help_text: str,
    caption: str,
    change: str | None = None,
    change_label: str = "",
    course: Sequence[float] = (),
    is_more_better: bool | None = True,
    key: str = "",
    lead: Lead | None = None,
) -> None:
    """One number: its change, its course, what it was made of, and its definition on demand.

    change: signed text, None where there is nothing to compare with. is_more_better None: the
    change is neither good nor bad. key: needed where two cards of a page may share a label.
    lead: the rows that make the number; None where they stand on the same page.
    """
    colour: Literal["normal", "inverse", "off"] = (
        "off" if is_more_better is None else "normal" if is_more_better else "inverse"
    )
    with st.container(border=True, key=f"card-{key or _slug(label)}", gap="xsmall"):
        st.metric(
            label,
            value,
            delta=change,
            delta_color="off" if change and change.strip("+-0. %p") == "" else colour,
            delta_description=change_label if change else None,
            chart_data=list(course) if len(course) > 1 else None,
            chart_type="area",
            help=help_text,
        )
        st.caption(caption)
        if lead is not None:
            follow(lead, label)


def follow(lead: Lead, label: str) -> None:
    """Under a number: the way to its rows. label names the number for those who hear the page."""
    rows = _ROWS.get(unit_of(lead.parts[0]), "who")
    navigation.link(lead, f":primary[Show {rows}] *behind {label}*")


def follow_each(leads: Mapping[str, Lead], *, key: str) -> None:
    """Numbers of a line of text as links to their rows, by what each says; Markdown of ours."""
    with st.container(horizontal=True, key=f"leads-{key}", gap="small"):
        for label, lead in leads.items():
            navigation.link(lead, f":primary[{label}]")


def section(title: str, definition: str, *, shown: bool = True) -> None:
    """A heading, and its definition in a line of its own or behind the question mark."""
    st.subheader(title, help=None if shown else definition, anchor=False)
    if shown:
        st.caption(definition)


def chart(figure: Chart, description: str) -> None:
    """A chart with its description for people who cannot see it."""
    st.vega_lite_chart(spec=_with_data(figure), width="stretch", alt=description)


def chart_of_people(
    figure: Chart,
    description: str,
    *,
    key: str,
    number: str | None,
    sources: Sequence[str] = (),
) -> None:
    """A chart whose marks lead to the accounts behind them, from these sources alone if any.

    figure: made of a frame with a column `people`, and one called `number` that says of how many a
    mark tells, if it does. A list beneath has the same marks for those who do not use a mouse.
    """
    state = st.vega_lite_chart(
        spec=_with_data(figure),
        width="stretch",
        alt=f"{description}. Choose a mark, or one of the list beneath, to see its accounts.",
        key=key,
        on_select="rerun",
        selection_mode=PEOPLE,
    )
    clicked = cast(Any, state)["selection"].get(PEOPLE) or []
    chosen = clicked[0].get(PEOPLE) if clicked else None
    listed = _marks(figure, number)
    picked = st.selectbox(
        f"People behind a mark of this chart: {description}",
        list(listed),
        index=None,
        format_func=listed.__getitem__,
        placeholder="People behind a mark …",
        key=f"behind-{key}",
        label_visibility="collapsed",
        width=320,
    )
    for address in (chosen, picked):
        if isinstance(address, str):
            navigation.open_people(address, sources)


def _marks(figure: Chart, number: str | None) -> dict[str, str]:
    """What to call each mark that leads to people, by their address, in the order drawn.

    A mark of nobody is not among them.
    """
    named: dict[str, str] = {}
    for frame in figure.frames.values():
        if PEOPLE not in frame.columns:
            continue
        for address, amount in frame.select(
            PEOPLE, pl.col(number or PEOPLE).alias("amount")
        ).rows():
            behind = people.read(address)
            if behind is not None and amount:
                told = "" if number is None else f" · {formats.count(amount)}"
                named[address] = f"{behind.label}{told}"
    return named


def _with_data(figure: Chart) -> dict[str, Any]:
    return figure.spec | {"datasets": figure.frames}


def nothing(message: str) -> None:
    """A calm line where a chart or table would be, for a choice with no rows."""
    with st.container(border=True):
        st.caption(message)


def say_left_out(currencies: int) -> None:
    """A line for currencies beyond those a page has room for."""
    if currencies:
        st.caption(
            f"{formats.counted(currencies, 'further currency', 'further currencies')} with smaller "
            "amounts not shown here; the warehouse has them all."
        )


def table(
    frame: pl.DataFrame,
    columns: Mapping[str, Any],
    *,
    key: str,
    rows_shown: int = TABLE_ROWS_SHOWN,
    is_selectable: bool = False,
) -> int | None:
    """The columns named, in that order, under their headings; text is drawn as text.

    The number of the row the reader chose, where is_selectable and one is chosen.
    """
    height = ROW_PIXELS * (min(frame.height, rows_shown) + 1) + 3
    state = st.dataframe(
        frame.select(list(columns)),
        column_config=dict(columns),
        hide_index=True,
        width="stretch",
        height=height,
        placeholder=formats.NOTHING,
        key=key,
        on_select="rerun" if is_selectable else "ignore",
        selection_mode="single-row",
    )
    if not is_selectable:
        return None
    chosen = cast(Any, state)["selection"]["rows"]
    return int(chosen[0]) if chosen and chosen[0] < frame.height else None


def listing(
    frame: pl.DataFrame,
    columns: Mapping[str, Any],
    *,
    key: str,
    noun: tuple[str, str],
    file_name: str,
    everything: Callable[[], pl.DataFrame],
    is_selectable: bool = False,
    opens_accounts: bool = False,
    foot: str | None = None,
) -> int | None:
    """A table of the newest rows with their true number, and the whole of it as CSV.

    frame has a column `total`; everything fetches all rows when the download is asked for.
    opens_accounts: a chosen row leads to the page of its `account_id`. The chosen row otherwise.
    foot: what all rows, shown or not, add up to; text of ours.
    """
    total = int(frame["total"][0]) if frame.height else 0
    shown = "" if frame.height == total else f", the first {formats.count(frame.height)} shown"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{formats.counted(total, *noun)}{shown}", width="stretch")
        download(file_name, lambda: everything().drop("total"), key=f"{key}-csv")
    chosen = table(frame, columns, key=key, is_selectable=is_selectable or opens_accounts)
    if foot is not None:
        st.markdown(foot)
    if opens_accounts:
        say_and_open_account(frame, chosen)
    return chosen


def say_and_open_account(frame: pl.DataFrame, chosen: int | None) -> None:
    """Under a table of accounts: what choosing a row does, and doing it."""
    st.caption("Choose a row to see everything about that account.")
    if chosen is not None:
        navigation.open_account(str(frame["account_id"][chosen]))


def say_and_open_lead(leads: Sequence[Lead], chosen: int | None) -> None:
    """Under a table of numbers: what choosing a row does, and doing it."""
    st.caption("Choose a row to see the rows behind its numbers.")
    if chosen is not None:
        navigation.open_lead(leads[chosen])


def download(file_name: str, frame: Callable[[], pl.DataFrame], *, key: str) -> None:
    """A button that fetches and writes the CSV only once it is pressed."""
    st.download_button(
        "Export CSV",
        data=lambda: formula_safe_csv(frame()),
        file_name=file_name,
        mime="text/csv",
        key=key,
        on_click="ignore",
        help="Text that a spreadsheet could take for a formula gets a leading apostrophe.",
    )


def _slug(label: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in label.lower())
