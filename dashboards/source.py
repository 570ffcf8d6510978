"""Answers of one published version, asked once for all who look at it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import streamlit as st

from dashboards import queries
from warehouse.reader import Published, connect

ANSWERS_KEPT_MAX = 400


class Source:
    """The questions of queries/, put to one version.

    A version never changes, so its answers are kept; they go, with the open file, as soon as
    anybody sees a newer one, since that may lack a person who asked to be forgotten.
    """

    def __init__(self, version: Published) -> None:
        self.version = version
        self._identity = f"{version.path}:{version.path.stat().st_mtime_ns}"
        _newest.show(self._identity, version)

    def ask(self, question: str, *arguments: Any, **named: Any) -> pl.DataFrame:
        """The answer of the function of queries/ called `question`; do not change it.

        Raises: duckdb.Error when the file is no warehouse.
        """
        return _answer(self._identity, self.version, question, arguments, tuple(named.items()))


class _Newest:
    """The one open file of this process. Queries of all page views take cursors of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._identity = ""
        self._connection: duckdb.DuckDBPyConnection | None = None

    def show(self, identity: str, version: Published) -> None:
        with self._lock:
            if identity == self._identity:
                return
            connection = connect(version)
            if self._connection is not None:
                self._connection.close()
            self._connection, self._identity = connection, identity
        _answer.clear()

    def cursor(self, identity: str, version: Published) -> duckdb.DuckDBPyConnection:
        """A cursor, or a connection of its own for a page that began on an older version."""
        with self._lock:
            if self._connection is not None and identity == self._identity:
                cursor = self._connection.cursor()
                cursor.execute("set timezone = 'UTC'")
                return cursor
        return connect(version)


_newest = _Newest()


@st.cache_data(max_entries=ANSWERS_KEPT_MAX, show_spinner=False)
def _answer(
    identity: str,
    _version: Published,
    question: str,
    arguments: tuple[Any, ...],
    named: tuple[tuple[str, Any], ...],
) -> pl.DataFrame:
    ask: Callable[..., pl.DataFrame] = getattr(queries, question)
    with _newest.cursor(identity, _version) as connection:
        return ask(connection, *arguments, **dict(named))
