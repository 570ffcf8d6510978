"""Whether an address can be listened on and, where Linux tells, which process holds it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from ingest.errors import HooklakeError

LISTEN_STATE = "0A"  # Source: Linux, include/net/tcp_states.h, TCP_LISTEN
TCP_TABLES = ("net/tcp", "net/tcp6")


class PortTakenError(HooklakeError):
    """A port that hooklake is to listen on belongs to somebody else."""

    code = "port_taken"


def require_free_port(host: str, port: int, *, setting: str, what: str) -> None:
    """Return when `host:port` can be listened on.

    Raises: PortTakenError naming the port, its holder where known, and the setting to change.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the servers do: a connection of the last run in TIME_WAIT does not block the next.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            found = f"in use{held_by(port)}"
            advice = f"End that process, or choose another port: {setting}={port + 1}"
        else:
            found = f"not to be had: {error.strerror or error}"
            advice = f"Change {setting} or its host"
        raise PortTakenError(f"{what} cannot listen on {host}:{port}, {found}. {advice}") from error


def held_by(port: int, proc: Path = Path("/proc")) -> str:
    """` by process 123 (python3)`, or nothing where the holder cannot be seen."""
    sockets = {f"socket:[{inode}]" for inode in listening_inodes(port, proc)}
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if any(str(file.readlink()) in sockets for file in (folder / "fd").iterdir()):
                return f" by process {folder.name} ({(folder / 'comm').read_text().strip()})"
        except OSError:  # another user's process, or one that has just ended
            continue
    return ""


def listening_inodes(port: int, proc: Path) -> Iterator[str]:
    """Inode numbers of the sockets that listen on `port`, whatever the address."""
    for table in TCP_TABLES:
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
