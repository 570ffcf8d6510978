"""Every fault by the name `make faults ONLY=…` and its line have."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    bit_flips,
    clock,
    disk_full,
    kill,
    power,
    power_keep,
    readers,
    redelivery,
    slow_disk,
    syscalls,
    syscalls_erase,
)
from .outcome import Outcome, Scale

FAULTS: dict[str, Callable[[Scale], Outcome]] = {
    "kill": kill.run,
    "power-ext4": power.run_ext4,
    "power-xfs": power.run_xfs,
    "power-self-test": power.run_self_test,
    "power-keep-ext4": power_keep.run_ext4,
    "power-keep-xfs": power_keep.run_xfs,
    "power-keep-self-test": power_keep.run_self_test,
    "syscalls-receive": syscalls.run_receive,
    "syscalls-land": syscalls.run_land,
    "syscalls-refresh": syscalls.run_refresh,
    "syscalls-backfill": syscalls.run_backfill,
    "syscalls-compact": syscalls.run_compact,
    "syscalls-erase": syscalls_erase.run,
    "disk_full-tmpfs": disk_full.run_tmpfs,
    "disk_full-ext4": disk_full.run_ext4,
    "disk_full-watermark": disk_full.run_watermark,
    "slow_disk": slow_disk.run,
    "redelivery": redelivery.run,
    "bit_flips": bit_flips.run,
    "clock": clock.run,
    "readers": readers.run,
    "readers-compact": readers.run_compact,
}
