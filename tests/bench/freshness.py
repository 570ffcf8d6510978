"""How soon a delivery is in the published warehouse while more keep coming: "p95 <= 5 s".

    python -m tests.bench.freshness --events 1000000 --per-second 100 --seconds 30

A history is backfilled and refreshed once. Then a receiver and `refresh --watch` run as their own
processes, signed deliveries come at a steady rate, and a reader follows the link of the published
warehouse. Counted is from sending a delivery to the first look at a version that has its account.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import httpx

from tests.e2e.installation import Installation, installation, sign

EVENTS_PER_ACCOUNT = 5
LOOK_SECONDS = 0.05
LATE_SECONDS_MAX = 60.0
P95_SECONDS_MAX = 5.0
START = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000, help="in the lake before it begins")
    parser.add_argument("--per-second", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments, _ = parser.parse_known_args(sys.argv[1:])
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder)) as installed,
    ):
        measure(installed, arguments)


def measure(installed: Installation, arguments: argparse.Namespace) -> None:
    export = installed.logs / "history.ndjson"
    with export.open("w", encoding="utf-8") as written:
        written.writelines(f"{line}\n" for line in history(arguments.events))
    for command in (("backfill", str(export)), ("refresh",)):
        process = installed.start(*command)
        if process.wait():
            raise SystemExit(installed.said(command[0]))
    export.unlink()
    receiver = installed.start_receiver()
    watcher = installed.start("refresh", "--watch")
    reader = Reader(installed)
    reader.start()
    # The watcher's first refreshes read and record the models; nothing is counted until then.
    for first in ("first", "second"):
        reader.follow_until(set(asyncio.run(deliver(installed, first, 1, 1))))
    sent = asyncio.run(deliver(installed, "load", arguments.per_second, arguments.seconds))
    reader.follow_until(set(sent))
    reader.end()
    if receiver.poll() is not None or watcher.poll() is not None:
        raise SystemExit(installed.said("serve") + installed.said("refresh"))
    delays = sorted(reader.seen[account] - moment for account, moment in sent.items())
    tell(arguments, delays)


def tell(arguments: argparse.Namespace, delays: list[float]) -> None:
    def share(part: float) -> float:
        return delays[min(len(delays) - 1, math.ceil(part * len(delays)) - 1)]

    p95 = share(0.95)
    mark = "" if p95 <= P95_SECONDS_MAX else f"  over {P95_SECONDS_MAX:g} s"
    sys.stdout.write(
        f"delivery -> visible, {arguments.events:,} events before, {arguments.per_second} a second "
        f"for {arguments.seconds:g} s: median {share(0.5):.2f} s, p95 {p95:.2f} s, "
        f"all {len(delays)} within {delays[-1]:.2f} s{mark}\n"
    )


def history(events: int) -> Iterator[str]:
    """Registered, workspace, plan, two renewals for one account after the other."""
    for number in range(events):
        account, step = divmod(number, EVENTS_PER_ACCOUNT)
        begun = START + timedelta(seconds=account % 20_000_000)
        fields = {"owner_email": f"old-{account}@example.com", "workspace_id": f"w-{account}"}
        kind = ("user_registered", "workspace_created", "plan_changed", *["plan_renewed"] * 2)[step]
        if kind == "plan_changed":
            fields["plan_id"] = "business"
        elif kind == "plan_renewed":
            fields["renewal_date"] = f"{begun + timedelta(days=30 * (step - 2)):%Y-%m-%d}"
        moment = begun + timedelta(days=max(0, step - 2) * 30, minutes=step)
        yield json.dumps(
            {
                "event": kind,
                "event_id": f"old-{number}",
                "occurred_at": moment.isoformat(),
                "data": fields,
            }
        )


async def deliver(
    installed: Installation, label: str, per_second: int, seconds: float
) -> dict[str, float]:
    """When each account's delivery was sent; every one of them was acknowledged."""
    sent: dict[str, float] = {}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

        async def send(number: int) -> None:
            account = f"fresh-{label}-{number}@example.com"
            event = {"event": "user_registered", "data": {"owner_email": account}}
            body = json.dumps(event | {"occurred_at": datetime.now(UTC).isoformat()}).encode()
            sent[account] = time.monotonic()
            answer = await client.post(installed.webhook_url, content=body, headers=sign(body))
            answer.raise_for_status()

        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(per_second * seconds)):
                await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
                tasks.create_task(send(number))
    return sent


class Reader(threading.Thread):
    """Looks at every version published; `seen`: when each account was first there."""

    def __init__(self, installed: Installation) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self._link = installed.data_dir / "warehouse.duckdb"
        self._is_over = threading.Event()

    def run(self) -> None:
        looked_at: Path | None = None
        while not self._is_over.wait(LOOK_SECONDS):
            version = self._link.resolve()
            if version == looked_at:
                continue
            with suppress(duckdb.IOException), duckdb.connect(version, read_only=True) as published:
                found = published.execute(
                    "select account_id from fct_registration_funnel"
                    " where starts_with(account_id, 'fresh-')"
                ).fetchall()
                now = time.monotonic()
                for (account,) in found:
                    self.seen.setdefault(account, now)
                looked_at = version

    def follow_until(self, accounts: set[str]) -> None:
        """Until all of them are there. Raises: SystemExit after LATE_SECONDS_MAX."""
        deadline = time.monotonic() + LATE_SECONDS_MAX
        while not accounts <= self.seen.keys():
            if time.monotonic() > deadline:
                missing = len(accounts - self.seen.keys())
                raise SystemExit(f"{missing} deliveries are not visible {LATE_SECONDS_MAX:g} s on")
            time.sleep(LOOK_SECONDS)

    def end(self) -> None:
        self._is_over.set()
        self.join()


if __name__ == "__main__":
    main()
