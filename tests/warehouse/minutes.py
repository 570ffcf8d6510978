"""Events told by the minute of 2026 they happened in."""

from __future__ import annotations

from typing import Any


def event(
    account: str | None, minute: int, kind: str = "user_registered", **more: Any
) -> dict[str, Any]:
    """An event of `account`, `minute` minutes into 2026."""
    at = f"2026-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00+00:00"
    return {"event_type": kind, "account_id": account, "occurred_at": at} | more
