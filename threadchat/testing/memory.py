"""Connections without a port: peers of a WSGI application, joined to it by socket pairs in this process."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.server.chat import Chat
from threadchat.server.http.connection import HttpConnection
from threadchat.server.http.environ import server_part
from threadchat.testing.peer import TIMEOUT, Peer

HOST: Final = "testserver"
"""What peers in memory ask for, as their Host header says."""


class InMemory:
    """A WSGI application whose WebSockets are opened in memory: your own with a chat mounted, or just a Chat.

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

    Everything but TCP is as in a real server: the request is parsed, judged and authenticated, and the
    session has its threads. At the end all peers close, and the threads of their connections end; the
    chat itself stays the test's to close. For one thread.
    """

    def __init__(self, app: Chat | WSGIApplication, *, timeout: float = TIMEOUT) -> None:
        """A `Chat` by itself is found at `/chat`. `timeout`: seconds for each wait of its peers."""
        self._app = app.mount(_nothing) if isinstance(app, Chat) else app
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []

    def connect(self, path: str = "/chat", *, headers: Mapping[str, str] | None = None) -> Peer:
        """A peer at `path`. Raises HandshakeRefused, with what the application answered instead."""
        theirs, ours = socket_pair()
        number = next(self._numbers)
        thread = threading.Thread(
            target=self._serve, args=(theirs, number), name=f"memory-{number}", daemon=True
        )
        self._threads.append(thread)
        thread.start()
        peer = Peer(f"ws://{HOST}{path}", sock=ours, headers=headers, timeout=self._timeout)
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        """Closes all peers, and waits until the application has let go of their connections.

        Raises AssertionError where it does not, within `timeout` seconds each.
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

    def _serve(self, sock: socket.socket, number: int) -> None:
        """Runs on: a thread for each connection, as in the server."""
        http_connection = HttpConnection(
            sock, number, timeout=self._timeout, clock=monotonic, release=lambda: None
        )
        http_connection.run(self._app, server_part(HOST, 80), ("127.0.0.1", number), monotonic())


class _PairSocket(socket.socket):
    """One of two joined Unix sockets, for code that sets options of TCP: it needs none of them."""

    def setsockopt(self, level: int, *option: Any) -> None:
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *option)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets that are joined: one to be served as if it was accepted, and the client's."""
    theirs, ours = socket.socketpair()
    return _PairSocket(fileno=theirs.detach()), ours


def finish(thread: threading.Thread, timeout: float) -> None:
    """Waits for a thread that has to end by itself."""
    thread.join(timeout)
    if thread.is_alive():
        raise AssertionError(f"{thread.name} still ran {timeout:g} s after its peer had gone")


def _nothing(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The application around a chat that is tested alone."""
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There is nothing but the chat here, at /chat.\n"]
