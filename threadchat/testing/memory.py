"""Connections without a port: connects peers to a WSGI application through socket pairs."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterable, Mapping
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Self
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.server.chat import Chat
from threadchat.server.http.connection import HttpConnection
from threadchat.server.http.environ import server_part
from threadchat.testing.peer import TIMEOUT, Peer

HOST: Final = "testserver"
"""The Host header of peers in memory."""
_SETTLING: Final = 1.0  # seconds


class InMemory:
    """Opens WebSockets of a WSGI application in memory: of your own with a mounted chat, or of a Chat alone.

    ```python
    from threadchat import Chat
    from threadchat.testing import InMemory

    chat = Chat(authenticate=lambda environ: {"id": 7, "nickname": environ["HTTP_X_USER"]})
    with chat, InMemory(chat) as memory:
        ann = memory.connect(headers={"X-User": "ann"})
        assert ann.ask("hello")["user"] == 7
        ann.ask("join", room="lobby")
        chat.publish("lobby", "hi", user=8)
        assert [ann.next()["type"] for _ in range(2)] == ["join", "message"]
    ```

    Everything except TCP works as in a real server: the request is parsed and authenticated, and the session
    has its own threads. Leaving the block closes all peers and waits for the threads of their connections;
    the test must close the chat itself. Use it on one thread only.
    """

    def __init__(self, app: Chat | WSGIApplication, *, timeout: float = TIMEOUT) -> None:
        """A `Chat` given as `app` is served at `/chat`. `timeout`: seconds for each wait of the peers."""
        self._app = app.mount(_nothing) if isinstance(app, Chat) else app
        self._chat = app if isinstance(app, Chat) else None
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []

    def connect(self, path: str = "/chat", *, headers: Mapping[str, str] | None = None) -> Peer:
        """Connects a peer to `path`. Raises HandshakeRefused, with the application's reply."""
        theirs, ours = socket_pair()
        number = next(self._numbers)
        thread = threading.Thread(
            target=self._serve, args=(theirs, number), name=f"memory-{number}", daemon=True
        )
        self._threads.append(thread)
        thread.start()
        url = f"ws://{HOST}{path}"
        peer = Peer(url, sock=ours, headers=headers, timeout=self._timeout, settle=self._settle)
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        """Closes all peers and waits until the application has released their connections.

        Raises AssertionError if one of them takes longer than `timeout` seconds.
        """
        with contextlib.ExitStack() as stack:
            for thread in self._threads:
                stack.callback(finish, thread, self._timeout)
            for peer in self._peers:
                stack.callback(peer.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self) -> None:
        """Waits, though not for ever, until no reader is at work on what has come.

        A deadline that a fake clock passes right after a reply is then missed by nobody but the peer.
        """
        deadline = monotonic() + _SETTLING
        while self._chat is not None and monotonic() < deadline:
            if not any(connection.is_behind() for connection in self._chat.registry.connections()):
                return
            sleep(0.0005)

    def _serve(self, sock: socket.socket, number: int) -> None:
        """Runs on: the thread of the connection, as in the server."""
        http_connection = HttpConnection(
            sock, number, timeout=self._timeout, clock=monotonic, release=lambda: None
        )
        http_connection.run(self._app, server_part(HOST, 80), ("127.0.0.1", number))


class _PairSocket(socket.socket):
    """A Unix socket of a pair that ignores TCP options, for code that sets them."""

    def setsockopt(self, level: int, *option: Any) -> None:
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *option)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets: one for the server, as if it had accepted it, and one for the client."""
    theirs, ours = socket.socketpair()
    return _PairSocket(fileno=theirs.detach()), ours


def finish(thread: threading.Thread, timeout: float) -> None:
    """Waits for a thread that must end by itself. Raises AssertionError if it does not."""
    thread.join(timeout)
    if thread.is_alive():
        raise AssertionError(f"{thread.name} was still running {timeout:g} s after its peer had left")


def _nothing(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The application in which a Chat is mounted that is tested alone."""
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There is only the chat here, at /chat.\n"]
