"""A command of hooklake as a child that never outlives the supervisor.

    python -m warehouse.child SUPERVISOR_PID serve --data-dir data

The kernel sends SIGTERM when the supervisor is gone, however it went (SIGKILL included), and the
command then ends as it would on any SIGTERM: the receiver finishes what it has accepted. Set here
and not between fork and exec, where Python code must not run beside threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # Source: prctl(2), linux/prctl.h


def main(arguments: list[str]) -> NoReturn:
    """Run `arguments[1:]` as hooklake's command line, tied to the process `arguments[0]`."""
    supervisor_pid = int(arguments[0])
    end_with_parent()
    if os.getppid() != supervisor_pid:
        sys.exit(0)  # it died before the tie was made; no signal will come any more

    from warehouse.cli import main as command_line

    sys.argv = ["hooklake", *arguments[1:]]
    command_line()
    sys.exit(0)


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM at the parent's death; a no-op where there is no prctl."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
