"""Tests of Flask-SocketIO on our connections: the real library, its Python client, and its JS client."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.mounted.host import Host, gunicorn
from tests.plain.test_programs import PROGRAMS
from threadchat.errors import ConfigError
from threadchat.plain import socketio as module
from threadchat.plain.socketio import use_threadchat

socketio = pytest.importorskip("socketio")
engineio = pytest.importorskip("engineio")
pytest.importorskip("flask_socketio")
pytest.importorskip("websocket")  # the Python client's

# They leave a socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def under_werkzeug(folder: Path) -> Host:
    shutil.copy(PROGRAMS / "socketio_server.py", folder)
    return Host(folder, str(folder / "socketio_server.py"), "{port}")


def under_gunicorn(folder: Path) -> Host:
    shutil.copy(PROGRAMS / "socketio_server.py", folder)
    return gunicorn(folder, "socketio_server:app", "--threads", "1")


servers = pytest.mark.parametrize("start", [under_werkzeug, under_gunicorn])


class Talker:
    """The Python client, over a WebSocket only."""

    def __init__(self, url: str) -> None:
        self.heard: SimpleQueue[Any] = SimpleQueue()
        self.client = socketio.Client(reconnection=False)
        for event in ("hello", "said", "bytes", "in"):
            self.client.on(event, lambda *data, event=event: self.heard.put((event, *data)))
        self.client.connect(url, transports=["websocket"], wait_timeout=60)

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.disconnect()


@servers
def test_its_python_client(tmp_path: Path, start: Any) -> None:
    with start(tmp_path) as host, Talker(host.url) as ann:
        assert ann.heard.get(timeout=60) == ("hello", {"who": "server"})
        assert ann.client.call("say", "hi", timeout=60) == "got hi"
        assert ann.heard.get(timeout=60) == ("said", "HI")
        ann.client.emit("bytes", b"\0\1")
        assert ann.heard.get(timeout=60) == ("bytes", b"\0\1!")
        ann.client.emit("say", "x" * 300_000)
        assert ann.heard.get(timeout=60) == ("said", "X" * 300_000)
        assert ann.client.transport() == "websocket"
        assert host.get() == (200, b"page")
        assert "Traceback" not in host.log()


def test_its_websockets_leave_the_pool(tmp_path: Path) -> None:
    with under_gunicorn(tmp_path) as host, ExitStack() as stack:
        crowd = [stack.enter_context(Talker(host.url)) for _ in range(20)]
        assert host.get() == (200, b"page")  # the one thread is free
        for talker in crowd:
            talker.client.emit("join", "room")
            assert talker.heard.get(timeout=60) == ("hello", {"who": "server"})
        for talker in crowd:
            assert talker.heard.get(timeout=60) == ("in", "room")


@servers
def test_its_js_client(tmp_path: Path, start: Any) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not installed")
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "socket.io-client@4"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.skip(f"npm gives no socket.io-client: {done.stderr:.200}")
    shutil.copy(PROGRAMS / "socketio_client.mjs", tmp_path)
    with start(tmp_path) as host:
        command = [node, "socketio_client.mjs", host.url]
        talked = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert talked.stdout.splitlines() == [
            'hello {"who":"server"}',
            "said HI",
            "answer got hi",
            "bytes [1,2,33]",
            "transport websocket",
        ], talked.stderr


def test_what_cannot_be_switched(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="that has its application"):
        use_threadchat(object())
    server = engineio.Server(async_mode="threading")
    theirs = server._async["websocket"]
    monkeypatch.setattr(module, "version", lambda name: "5.1.0")
    with pytest.raises(ConfigError, match=r"python-engineio 5.1.0: from 4.9 and below 5.0"):
        use_threadchat(server)
    monkeypatch.undo()
    server.async_mode = "gevent"
    with pytest.raises(ConfigError, match="must be 'threading'"):
        use_threadchat(server)
    assert server._async["websocket"] is theirs


def test_only_that_server_changes() -> None:
    one, other = (socketio.Server(async_mode="threading") for _ in range(2))
    use_threadchat(one)
    assert one.eio._async["websocket"] is not other.eio._async["websocket"]
