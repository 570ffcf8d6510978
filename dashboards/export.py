"""CSV that opens in a spreadsheet without running anything.

Streamlit's own download writes cells as they are, and a workspace called `=HYPERLINK(...)` is a
formula to Excel; that control is switched off (theme.py) and this one used instead.
"""

from __future__ import annotations

import polars as pl

_FORMULA_STARTS = r"^[\s]*[=+\-@|%\t\r\n\x00]"


def formula_safe_csv(frame: pl.DataFrame) -> bytes:
    """The frame as UTF-8 CSV with a byte order mark (Excel reads it as UTF-8 only then).

    Text cells and headings that a spreadsheet could take for a formula get a leading apostrophe,
    also behind leading blanks; numbers, dates and booleans stay as they are. Instants are RFC 3339
    with Z. Source: OWASP, CSV Injection.
    """
    text = [name for name, kind in frame.schema.items() if kind == pl.String]
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    safe = frame.with_columns(
        *(
            pl.when(pl.col(name).str.contains(_FORMULA_STARTS))
            .then(pl.concat_str(pl.lit("'"), pl.col(name)))
            .otherwise(pl.col(name))
            .alias(name)
            for name in text
        ),
        *(
            pl.col(name).dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            for name in instants
        ),
    )
    headings = pl.Series(safe.columns, dtype=pl.String)
    marked = headings.str.contains(_FORMULA_STARTS).to_list()
    safe.columns = [
        f"'{name}" if is_formula else name
        for name, is_formula in zip(safe.columns, marked, strict=True)
    ]
    return safe.write_csv(include_bom=True).encode()
