"""Processes that the receiver starts and that end when it does."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

_NOT_FOR_IT = (signal.SIGINT, signal.SIGTERM)


def start_deaf(
    command: Sequence[str], *, stdin: int, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start it deaf to SIGINT and SIGTERM from its first instruction: Ctrl-C reaches it too.

    Raises: OSError.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)
    try:
        return subprocess.Popen(command, stdin=stdin, pass_fds=pass_fds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
