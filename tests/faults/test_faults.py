"""Every fault at CI size. A fault that cannot be run counts as not passed in CI."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from .catalogue import FAULTS
from .outcome import CannotRunError, Outcome, Scale

pytestmark = [pytest.mark.slow, pytest.mark.faults]


# No deadline is asserted of these; the others must have the machine alone.
BESIDE_OTHERS = {
    *("syscalls-land", "syscalls-refresh", "syscalls-backfill", "syscalls-compact"),
    *("syscalls-erase", "power-keep-ext4", "power-keep-xfs", "redelivery", "bit_flips", "readers"),
}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault in BESIDE_OTHERS else pytest.mark.alone)
        for fault in FAULTS
    ],
)
def test_nothing_acknowledged_is_lost_or_doubled(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_here(FAULTS[fault])
    with capsys.disabled():
        print(f"\n{outcome.line}", end="")  # noqa: T201
    assert outcome.is_ok, "\n".join([outcome.line, *outcome.problems])


def run_here(run: Callable[[Scale], Outcome]) -> Outcome:
    try:
        return run(Scale())
    except CannotRunError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"this fault must be run in CI: {reason}")
        pytest.skip(str(reason))
