"""Ports: free, taken, and by whom."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from warehouse.ports import PortTakenError, held_by, require_free_port


def test_a_free_port_is_nothing_to_speak_of() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    require_free_port("127.0.0.1", port, setting="HOOKLAKE_PORT", what="the receiver")


def test_a_taken_port_is_named_with_its_holder_and_the_way_out() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(PortTakenError) as raised:
            require_free_port("127.0.0.1", port, setting="HOOKLAKE_PORT", what="the receiver")

    message = str(raised.value)
    assert message.startswith(f"the receiver cannot listen on 127.0.0.1:{port}, in use by process")
    assert f"process {os.getpid()} (" in message
    assert f"HOOKLAKE_PORT={port + 1}" in message
    assert raised.value.exit_code == 1


def test_an_address_this_machine_does_not_have_is_said_so() -> None:
    with pytest.raises(PortTakenError, match=r"not to be had: .*Change HOOKLAKE_PORT or its host"):
        require_free_port("192.0.2.1", 8080, setting="HOOKLAKE_PORT", what="the receiver")


def test_a_holder_that_cannot_be_seen_is_left_out(tmp_path: Path) -> None:
    assert held_by(8080, proc=tmp_path) == ""
