"""Standard input and output where they are closed, full, or left by their reader.

A command may be started without any of the three (`<&-`), with its output on a full disk, or into
`| head`, which leaves as soon as it has seen enough.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final

from ingest.errors import HooklakeError, UsageError

_FLAGS: Final = {0: os.O_WRONLY, 1: os.O_RDWR, 2: os.O_RDWR}
"""Nothing can be read from what takes the place of standard input: it is not empty, but missing."""


class OutputError(HooklakeError):
    """Standard output takes no more."""

    code = "output"


class LostReaderError(Exception):
    """The reader of what is printed for them alone has left; no BrokenPipeError, of which typer
    and rich make an exit code of 1."""


class StandardOutput(io.FileIO):
    """Goes on without its reader, unless it prints for the reader alone."""

    is_for_reader_alone = False

    def write(self, data: Any, /) -> int:
        """Raises: OutputError, LostReaderError."""
        try:
            return super().write(data)
        except BrokenPipeError:
            if StandardOutput.is_for_reader_alone:
                raise LostReaderError from None
            discard_output()
            return len(memoryview(data))
        except OSError as error:
            raise OutputError(
                f"cannot write standard output: {error.strerror}; make room where it goes, or"
                " redirect it elsewhere"
            ) from None


def open_standard_streams() -> None:
    """Makes descriptors 0 to 2 and sys's streams ones that can be relied upon; for `main`.

    A closed descriptor would be given to the next file or socket that is opened.
    """
    for number, flags in _FLAGS.items():
        try:
            os.fstat(number)
        except OSError:
            # takes the lowest free number, which is this one
            os.set_inheritable(os.open(os.devnull, flags), True)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    before: Any = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    raw = StandardOutput(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if before.write_through else io.BufferedWriter(raw),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )


def discard_output() -> None:
    """From now on, and what waits in buffers, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@contextlib.contextmanager
def bearing_a_lost_reader() -> Iterator[None]:
    """Ends the printing where the reader leaves: `hooklake listen | head -1` is no failure."""
    StandardOutput.is_for_reader_alone = True
    try:
        yield
    except LostReaderError:
        discard_output()
    finally:
        StandardOutput.is_for_reader_alone = False


class AwaitedInput(io.RawIOBase):
    """Standard input whose reader a Ctrl-C ends at once, whenever it comes.

    Python looks for signals between two steps of its own only: one that comes after the last of
    them would wait for the read's end, and one amid the flushes of `input` is swallowed.
    """

    def __init__(self, signals: int) -> None:
        self._signals = signals

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Raises: KeyboardInterrupt."""
        readable, _, _ = select.select([0, self._signals], [], [])
        if self._signals in readable and signal.SIGINT in os.read(self._signals, 64):
            raise KeyboardInterrupt
        return os.readv(0, [buffer])


@contextlib.contextmanager
def awaited_input() -> Iterator[io.BufferedReader]:
    """To be entered before a question is shown; by the main thread."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield io.BufferedReader(AwaitedInput(reader))
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def standard_input(bytes_max: int = -1, *, question: str = "") -> bytes:
    """What can be read there, at most `bytes_max`.

    question: shown on standard error where somebody types. Raises: UsageError.
    """
    with awaited_input() as typed:
        if question and sys.stdin.isatty():
            sys.stderr.write(question)
            sys.stderr.flush()
        try:
            return typed.read(bytes_max)
        except OSError as error:
            raise UsageError(
                f"cannot read standard input ({error.strerror}); pipe something in, or redirect a"
                " file to it"
            ) from None


def standard_input_text(bytes_max: int = -1, *, question: str = "") -> str:
    """The same as text. Raises: UsageError."""
    try:
        return standard_input(bytes_max, question=question).decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is no UTF-8 text (see its byte {error.start + 1}); convert it first"
        ) from None
