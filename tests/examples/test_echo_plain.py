"""Runs scripts/examples/echo_plain.py, and talks to it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.mounted.host import EXAMPLES, Host


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path, str(EXAMPLES / "echo_plain.py"), "{port}") as host:
        host.wait_for_log("echoing at")
        yield host


def test_what_is_said_comes_back(server: Host) -> None:
    with connect(server.ws, max_size=None) as websocket:
        for message in ("hi", b"\0\1", "", "ü" * 3_000_000):
            websocket.send(message)
            assert websocket.recv(30) == message


def test_a_bad_end_is_told_and_a_signal_stops_it(server: Host) -> None:
    with connect(server.ws) as websocket:
        websocket.close(4000, "out")
    server.wait_for_log("127.0.0.1: received 4000 (private use) out; then sent 4000 (private use) out")
    assert server.stop(signal.SIGTERM) == 0
    assert "Traceback" not in server.log()
