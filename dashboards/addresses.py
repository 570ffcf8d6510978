"""The pages' places in the address bar, which links and bookmarks rely on."""

from __future__ import annotations

from typing import Final

OVERVIEW: Final = ""  # the main page has no name in the address
FUNNEL: Final = "funnel"
PLAN_CHANGES: Final = "plan-changes"
OVERDUE_PAYMENTS: Final = "overdue-payments"
ACCOUNTS: Final = "accounts"
HEALTH: Final = "data-health"
CHECKLIST: Final = "checklist"
SQL: Final = "sql"
RETENTION: Final = "retention"
PAGES: Final = (
    OVERVIEW,
    FUNNEL,
    RETENTION,
    PLAN_CHANGES,
    OVERDUE_PAYMENTS,
    ACCOUNTS,
    HEALTH,
    CHECKLIST,
    SQL,
)
