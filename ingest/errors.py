"""Every failure that hooklake names.

HooklakeError
|- UsageError            the command line or a file's name is wrong           exit 2
|- SettingsError         one or more settings are wrong, all listed           exit 2
|- RefusedError          not allowed, or stopped by a limit                   exit 4
`- StorageError          the data directory cannot be read or written         exit 1
   |- LedgerError        SQLite says no
   |- DiskFullError      no room for another record; mends itself             503
   `- LandingError       a lake file cannot be written

Subclasses in other modules hang below one of these. A message says what was being done, to which
thing, what was found and what to do next; it never carries a secret or a payload.
"""

from __future__ import annotations

from typing import ClassVar


class HooklakeError(Exception):
    """Base of all; `str(error)` is a sentence for a person."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    is_retryable: ClassVar[bool] = False


class UsageError(HooklakeError):
    code = "usage"
    exit_code = 2
    http_status = 400


class SettingsError(HooklakeError):
    """`problems`: one sentence for each wrong setting."""

    code = "settings"
    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} setting(s) need mending:\n{listed}")


class RefusedError(HooklakeError):
    code = "refused"
    exit_code = 4
    http_status = 403


class StorageError(HooklakeError):
    code = "storage"
    http_status = 503
    is_retryable = True


class LedgerError(StorageError):
    code = "ledger"


class DiskFullError(StorageError):
    code = "disk_full"


class LandingError(StorageError):
    code = "landing"
