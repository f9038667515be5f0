"""Runs scripts/examples/from_socketio.py, and tests it in memory, as its table says that one may."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.talker import Talker
from tests.examples.conftest import Window
from tests.mounted.host import EXAMPLES, Host
from threadchat.errors import CommandError
from threadchat.testing import InMemory, Peer

pytest.importorskip("flask")


@pytest.fixture
def ported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, fresh."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop("from_socketio", None)
    module = importlib.import_module("from_socketio")
    yield module
    module.chat.close()
    sys.modules.pop("from_socketio", None)


def test_in_memory(ported: Any) -> None:
    web = ported.app.test_client()

    def enter(name: str) -> Peer:
        web.get(f"/login/{name}")
        cookie = web.get_cookie("session")
        assert cookie is not None
        peer: Peer = memory.connect("/live", headers={"Cookie": f"session={cookie.value}"})
        assert peer.ask("hello")["user"] == name
        return peer

    with InMemory(ported.app) as memory:
        ann, bob = enter("ann"), enter("bob")
        assert ann.call("enter", "lobby") == ["lobby"]
        assert bob.call("enter", "lobby") == ["lobby"]
        assert ann.event("status")["data"] == {"text": "bob is here"}
        assert ann.call("say", {"room": "lobby", "text": "hi"}) == 3
        assert bob.event("said")["data"] == {"by": "ann", "text": "hi"}
        with pytest.raises(CommandError, match="enter the room first"):
            bob.call("say", {"room": "garden", "text": "hi"})
        with pytest.raises(CommandError, match="`text`"):
            bob.call("say", {"room": "lobby"})
        web.post("/warn/cy")
        cy = enter("cy")
        cy.close()
        assert ported.chat.connected("ann")
        assert len(ported.chat.sessions("bob")) == 1


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The program; it ends after the windows of `browse`, which else try to connect again."""
    with Host(tmp_path, str(EXAMPLES / "from_socketio.py")) as host:
        yield host


def test_under_werkzeug(host: Host) -> None:
    _, cookie = host.cookie("/login/ann")
    with Talker(host.ws, "/live", additional_headers={"Cookie": cookie}) as ann:
        assert ann.ask("hello")["user"] == "ann"
        assert ann.ask("call", name="enter", data="lobby")["data"] == ["lobby"]
        assert host.get("/warn/ann", b"")[0] == 200
        while ann.next().get("name") != "warning":
            pass


def test_the_page(host: Host, browse: Callable[[str], Window]) -> None:
    ann = browse(f"{host.url}/login/ann")
    ann.write("[name=text]", "too early")
    ann.reads("#ack", "refused: enter the room first")
    ann.click("#enter button")
    ann.reads("#ack", '["lobby"]')
    _, cookie = host.cookie("/login/bob")
    with Talker(host.ws, "/live", additional_headers={"Cookie": cookie}) as bob:
        bob.ask("hello")
        assert bob.ask("call", name="enter", data="lobby")["data"] == ["lobby"]
        ann.reads("#said", "bob is here")
        ann.write("[name=text]", "hi bob")
        ann.reads("#ack", "3")
        ann.reads("#said", "ann: hi bob")
        while (event := bob.next()).get("name") != "said":
            pass
        assert event["data"] == {"by": "ann", "text": "hi bob"}
    host.get("/warn/ann", b"")
    ann.reads("#warning", "be nice")
    assert "Traceback" not in host.log()
