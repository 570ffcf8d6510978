"""The console script `hooklake`; the commands are in `warehouse.commands`.

They are loaded where Ctrl-C is caught already: it may come in the half second that this takes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ingest.errors import HooklakeError, UsageError
from ingest.standard_streams import OutputError, discard_output, open_standard_streams

INTERRUPTED_EXIT: Final = 130
_QUERY_INTERRUPTED: Final = "Query interrupted"
"""DuckDB's RuntimeError in KeyboardInterrupt's place where Ctrl-C meets it amid a query."""


def main() -> None:
    """Run the command line given; turns every named failure into one line and its exit code."""
    open_standard_streams()
    code = _outcome()
    try:
        sys.stdout.flush()
    except HooklakeError as error:
        code = _tell(error)
    except KeyboardInterrupt:
        code = INTERRUPTED_EXIT
    if code:
        sys.exit(code)


def _outcome() -> int:
    try:
        _check_text(sys.argv[1:])
        from warehouse.commands.root import app

        app()
    except SystemExit as end:
        return int(end.code or 0)
    except HooklakeError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except RuntimeError as error:
        if str(error) != _QUERY_INTERRUPTED:
            raise
        return INTERRUPTED_EXIT
    return 0


def _check_text(arguments: Sequence[str]) -> None:
    """Only a file may have a name that is no text; no ledger, query or URL can hold such a thing.

    Raises: UsageError, which repeats nothing of it: it may be a person's address.
    """
    for place, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            if not Path(argument).is_file():
                raise UsageError(
                    f"argument {place} of the command line is no UTF-8 text (see its character"
                    f" {error.start + 1}); write it in UTF-8, or rename what it names"
                ) from None


def _tell(error: HooklakeError) -> int:
    if isinstance(error, OutputError):
        discard_output()  # what still waits to be written would fail once more at the end
    with contextlib.suppress(OSError):  # nobody can be told
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


if __name__ == "__main__":
    main()
