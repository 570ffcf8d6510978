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
    "listen": (
        "hooklake trigger plan_changed --set plan_id=business",
        "timeout 2 hooklake listen --since 2h || true",
        "hooklake listen --since 10m --no-follow --where plan=business --where 'end_date>2026'",
        "hooklake listen --no-follow --verdict accepted --json | head -n 1",
        "timeout 2 hooklake listen --since 10m --forward-to http://127.0.0.1:9/hook || true",
        "hooklake listen --full </dev/null || echo that one needs a terminal",
    ),
    "log": (
        "hooklake trigger plan_changed --set owner_email=ada@example.com",
        "hooklake log --account ada@example.com --since 1h",
        "hooklake log --where plan=business --verdict accepted --limit 5",
        "hooklake log --json --bodies --limit 0 > deliveries.ndjson",
        "hooklake log 1",
    ),
    "contract": (
        "hooklake contract",
        "hooklake contract --json > contract.schema.json",
        "hooklake trigger overdue_payment --set amount=null --set total_amount=12",
        "hooklake contract --observed",
    ),
    "replay": (
        "hooklake trigger plan_changed --set owner_email=ada@example.com",
        "hooklake replay 1 --dry-run",
        "hooklake replay --account ada@example.com --since 2h",
        "hooklake replay --all --until 1d --quarantined",
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
