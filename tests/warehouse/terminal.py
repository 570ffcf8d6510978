"""A program on a terminal of its own, as a test reads and types there."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def on_a_terminal(command: Sequence[str]) -> Iterator[tuple[Screen, subprocess.Popen[bytes]]]:
    """The running program and its screen; it is gone afterwards."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "dumb", "INPUTRC": "/dev/null", "HOOKLAKE_FREE_BYTES_MIN": "0"},
        start_new_session=True,
    ) as program:
        os.close(follower)
        try:
            yield Screen(leader), program
        finally:
            if program.poll() is None:
                program.send_signal(signal.SIGKILL)
            os.close(leader)


class Screen:
    """What a program has written to its terminal and nobody has looked for yet."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = ""

    def until(self, wanted: str) -> str:
        """Everything up to and with `wanted`; what follows it stays for the next look."""
        assert self.comes(wanted, seconds=60), f"waited for {wanted!r}, saw {self._unread!r}"
        before, _, self._unread = self._unread.partition(wanted)
        return before + wanted

    def comes(self, wanted: str, *, seconds: float) -> bool:
        """Whether `wanted` is there in time."""
        deadline = time.monotonic() + seconds
        while wanted not in self._unread:
            wait = max(deadline - time.monotonic(), 0)
            ready, _, _ = select.select([self._descriptor], [], [], wait)
            if not ready:
                return False
            self._unread += os.read(self._descriptor, 4096).decode(errors="replace")
        return True

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())
