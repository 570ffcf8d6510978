"""Ids and digests of many rows at once: identity.py's hashes, in SQL.

Only for rows whose texts hold no quote, backslash or control character, so that JSON leaves them as
they are.
"""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

from ingest.contract import BUSINESS_COLUMNS, CONTRACT, OTHER, OTHER_TYPE, EventType


def _canonical(kind: EventType) -> str:
    """SQL for `identity.canonical_json` of a row, as text within JSON."""
    columns = {field.column for field in kind.fields}
    parts = []
    for name in BUSINESS_COLUMNS:
        if name not in columns:
            parts.append("'null'")
        elif name == "auto_renew":
            parts.append("coalesce(auto_renew::varchar, 'null')")
        else:
            parts.append(rf"""coalesce('\"' || {name}::varchar || '\"', 'null')""")
    return "'[' || " + " || ',' || ".join(parts) + " || ']'"


_FIELDS: Final = (
    "case event_type "
    + " ".join(
        f"""when '{kind.name}' then '["{kind.name}","' || {_canonical(kind)} || '",'"""
        for kind in CONTRACT
    )
    + f""" when '{OTHER}' then '["' || sender_event || '","' || sha256(payload) || '",' end"""
)
assert OTHER_TYPE.name == OTHER

DIGEST: Final = f"sha256({_FIELDS} || coalesce(stated::varchar, 'null') || ']')"
"""The digest of a row with the instant its payload states in `stated`."""

_CONTENT_ID: Final = f"""
    sha256('["id","' || sha256({_FIELDS} || 'null]') || '",' || moment
        || case when is_dated then ',"' || $file || '",' || line else '' end || ']')
"""


def with_content_ids(rows: pl.DataFrame, file_sha256: str) -> pl.DataFrame:
    """The rows with an event_id made of their content where they have none.

    moment, is_dated: of the row before it was held against the clock; both are dropped.
    """
    is_missing = rows["event_id"].is_null()
    plain = rows.drop("moment", "is_dated")
    if not is_missing.any():
        return plain
    without = rows.filter(is_missing)
    with duckdb.connect() as connection:
        connection.register("without", without.to_arrow(compat_level=pl.CompatLevel.newest()))
        made = connection.sql(
            f"select {_CONTENT_ID} as event_id from without", params={"file": file_sha256}
        ).pl()["event_id"]
    if is_missing.all():
        return plain.with_columns(made)
    return plain.with_columns(plain["event_id"].scatter(is_missing.arg_true(), made))
