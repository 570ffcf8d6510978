"""Command lines that each command's help ends with. The tests run every one of them, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "serve": (
        "hooklake serve",
        "HOOKLAKE_VERIFY=standard hooklake serve --port 0 --workers 2",
    ),
    "refresh": (
        "hooklake trigger user_registered",
        "hooklake refresh",
        "hooklake refresh --full --as-of 1d --json",
    ),
    "dashboard": ("hooklake dashboard",),
    "run": ("hooklake run",),
    "trigger": (
        "hooklake trigger user_registered",
        "hooklake trigger plan_changed --set plan_id=free --set auto_renew=false"
        " --remove start_date --remove end_date",
        "hooklake trigger overdue_payment --count 3 --set owner_email=user{n}@example.com",
        "hooklake trigger plan_renewed --dialect flat --scheme token",
        "hooklake trigger no_enough_credit --url http://127.0.0.1:$HOOKLAKE_PORT",
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
    "replay": (
        "hooklake trigger plan_changed --set owner_email=ada@example.com",
        "hooklake replay 1 --dry-run",
        "hooklake replay --account ada@example.com --since 2h",
        "hooklake replay 1-40 --event plan_changed --url http://127.0.0.1:$HOOKLAKE_PORT",
        "hooklake replay --all --until 1d --quarantined",
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
    "checklist": (
        "hooklake checklist || echo some are still to be seen",
        "hooklake checklist --json || true",
    ),
    "contract": (
        "hooklake contract",
        "hooklake contract --json > contract.schema.json",
        "hooklake trigger overdue_payment --set amount=null --set total_amount=12",
        "hooklake contract --observed",
    ),
    "verify": (
        "hooklake trigger plan_changed --as http > request.http",
        "hooklake verify request.http",
        "hooklake verify request.http --now 1d || echo the clock is off",
        "hooklake trigger plan_changed --forged || hooklake verify --record 1 --json || true",
    ),
    "sql": (
        "hooklake trigger plan_changed",
        "hooklake refresh",
        "hooklake sql 'select to_plan_id, count(*) from fct_plan_changes group by all'",
        "echo 'from dim_accounts' | hooklake sql --format json",
        "hooklake sql 'from fct_plan_changes' --output changes.parquet --max-rows 0",
    ),
    "backfill": (
        'echo \'{"event":"overdue","email":"ada@example.com","due_date":"2026-04-20"}\''
        " > export.ndjson",
        "hooklake backfill export.ndjson --dry-run",
        "hooklake backfill export.ndjson",
        "(echo who,when; echo ada@example.com,2026-04-27) > signups.csv",
        "hooklake backfill signups.csv --event user_registered --map who=owner_email"
        " --map when=registered_at",
        "hooklake backfill --list",
    ),
    "compact": (
        "hooklake compact",
        "hooklake compact --full --json",
    ),
    "backup": (
        "hooklake backup copy",
        "hooklake backup copy --incremental --with-secrets",
    ),
    "restore": (
        "hooklake backup copy",
        "hooklake restore copy --data-dir restored",
    ),
    "doctor": (
        "hooklake doctor",
        "hooklake doctor --json",
    ),
    "forget": (
        "hooklake trigger plan_changed --set owner_email=ada@example.com",
        "hooklake forget ada@example.com --dry-run",
        "echo ada@example.com | hooklake forget -",
    ),
    "export-person": (
        "hooklake trigger plan_changed --set owner_email=ada@example.com",
        "hooklake export-person ada@example.com --output ada.json",
    ),
    "quarantine list": (
        'echo \'{"event":"overdue"}\' | hooklake trigger --raw - || echo quarantined',
        "hooklake quarantine list",
        "hooklake quarantine list --status all --json",
    ),
    "quarantine show": (
        'echo \'{"event":"overdue"}\' | hooklake trigger --raw - || echo quarantined',
        "hooklake quarantine show 1",
        "hooklake quarantine show 1 --raw > body.json",
    ),
    "quarantine replay": (
        'echo \'{"event":"overdue"}\' | hooklake trigger --raw - || echo quarantined',
        "hooklake quarantine replay --all || echo nothing was mended",
        'echo \'{"event":"overdue","email":"ada@example.com"}\''
        " | hooklake quarantine replay 1 --body -",
    ),
}
"""By command; each line is one for a POSIX shell and succeeds beside a running receiver. What runs
until it is told to stop has lines that are started alone."""


def epilog(command: str) -> str:
    """The examples as typer shows them below a command's options: a line each."""
    return "\n\n".join(["Examples:", *EXAMPLES[command]])
