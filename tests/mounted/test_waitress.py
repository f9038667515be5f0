"""Servers that show no socket: the refusal names the way out, and the way out works."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.ports import free_port
from tests.e2e.talker import Talker
from tests.mounted.host import APPS, Host

APP = str(APPS / "plain_app.py")


@pytest.mark.parametrize("server", ["waitress", "wsgiref"])
def test_a_websocket_is_refused_with_the_way_out(tmp_path: Path, server: str) -> None:
    if server == "waitress":
        pytest.importorskip("waitress")
    with Host(tmp_path, APP, server) as host:
        for _ in range(2):
            status, peer = host.knock()
            rest = peer.socket.recv(1 << 16) if not peer._data else peer._data
            peer.close()
            assert status == 501
            assert b"chat.listen(port)" in rest
        assert host.get("/hello") == (200, b"hello")
        assert host.get("/chat/")[0] == 200
        assert host.get("/chat/chat")[0] == 426
        assert host.log().count("a WebSocket was refused") == 1
        assert "chat.listen(port)" in host.log()
        assert "Traceback" not in host.log()


def test_a_port_of_its_own_beside_the_application(tmp_path: Path) -> None:
    pytest.importorskip("waitress")
    port = free_port()
    with Host(tmp_path, APP, "waitress-beside", str(port)) as host, Talker(f"ws://127.0.0.1:{port}") as ann:
        ann.hello("ann")
        ann.ask("join", room="r")
        assert ann.next()["type"] == "join"
        assert host.get("/publish?room=r&message=from+a+request") == (200, b"2")
        assert ann.next()["message"] == "from a request"
