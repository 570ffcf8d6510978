"""Command lines that each tool's help ends with. The tests run every one of them, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "trigger": (
        "hooklake trigger user_registered",
        "hooklake trigger plan_changed --set plan_id=free --set auto_renew=false"
        " --remove start_date --remove end_date",
        "hooklake trigger overdue_payment --count 3 --set owner_email=user{n}@example.com",
        "hooklake trigger plan_renewed --dialect flat --scheme token",
        "hooklake trigger plan_changed --as curl | sh",
        "hooklake trigger plan_changed --as http | hooklake verify",
        'echo \'{"event":"overdue","email":"ada@example.com"}\' | hooklake trigger --raw -',
        "hooklake trigger --as postman > hooklake.postman_collection.json",
        "hooklake trigger plan_changed --scheme none || echo rejected, as it must be",
    ),
    "simulate": (
        "hooklake simulate --list",
        "hooklake simulate three_overdue_notices",
        "hooklake simulate renewals --accounts 20 --days 60 --speed 31536000",
        "hooklake simulate cancel --seed 2 --chaos duplicate=0.5,reorder,bad_signature",
        "hooklake simulate --accounts 25 --days 90 --seed 7 --chaos all --mixed-dialects",
    ),
    "checklist": (
        "hooklake checklist || echo some are still to be seen",
        "hooklake checklist --json || true",
    ),
}
"""By command; each line is one for a POSIX shell and succeeds beside a running receiver."""


def epilog(command: str) -> str:
    """The examples as typer shows them below a command's options: a line each."""
    return "\n\n".join(["Examples:", *EXAMPLES[command]])
