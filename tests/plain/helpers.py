"""What the tests of plain/ share: a server on a free port, and a connection whose peer is plain bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.wire.helpers import ENVIRON, Hand, Peer, close_frame, tcp_pair
from threadchat.plain.engine import Engine
from threadchat.plain.receive_queue import ReceiveQueue
from threadchat.plain.server import Server, serve
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.wire.connection import CLOSE_TIMEOUT, Connection
from threadchat.wire.limits import Limits

LOOPBACK = "127.0.0.1"


@contextmanager
def serving(handler: Callable[[Any], object], **options: Any) -> Iterator[Server]:
    """A server on loopback, which is shut down at the end."""
    with serve(handler, LOOPBACK, 0, **options) as server:
        yield server


def url(server: Server, path: str = "/") -> str:
    return f"ws://{LOOPBACK}:{server.port}{path}"


def echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


def request(port: int, *lines: str, target: str = "/", method: str = "GET", small: bool = False) -> Peer:
    """A request by hand, with `lines` for headers; the answer is to be read. `small`: its buffer is."""
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.connect((LOOPBACK, port))
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: here", *lines, "", ""])
    sock.sendall(head.encode("latin-1"))
    return Peer(sock)


HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def handshake(port: int, *lines: str, small: bool = False) -> Peer:
    """An open connection to a server, by hand."""
    peer = request(port, *HANDSHAKE, *lines, small=small)
    assert peer.response().startswith(b"HTTP/1.1 101 ")
    return peer


class Scene(NamedTuple):
    """A threaded, its peer, and the hand that moves its clock; none of its deadlines goes off by itself."""

    threaded: ThreadedConnection
    peer: Peer
    hand: Hand
    engine: Engine


@contextmanager
def served(
    *,
    small: bool = False,
    limits: Limits | None = None,
    receive_queue: ReceiveQueue | None = None,
    close_timeout: float | None = 10.0,
    answer_timeout: float | None = CLOSE_TIMEOUT,
) -> Iterator[Scene]:
    """A threaded over TCP after its handshake; `small`: next to nothing fits into the socket."""
    hand = Hand()
    engine = Engine(lambda: hand.pinger)
    ours, theirs = tcp_pair(small=small)
    peer = Peer(theirs)
    try:
        threaded = ThreadedConnection(
            lambda slot, on_gone: Connection(
                slot.number,
                ours,
                ENVIRON,
                turnstile=slot.turnstile,
                pinger=slot.pinger,
                limits=limits or Limits(),
                on_gone=on_gone,
            ),
            receive_queue or ReceiveQueue(),
            close_timeout=close_timeout,
            answer_timeout=answer_timeout,
            engine=engine,
        )
    except BaseException:
        peer.close()
        raise
    try:
        assert peer.response().startswith(b"HTTP/1.1 101 ")
        yield Scene(threaded, peer, hand, engine)
    finally:
        threaded.connection.abort(1006)
        assert threaded.wait_gone(10)
        peer.close()


def say_goodbye(peer: Peer) -> None:
    """Answers a Close, and ends the stream."""
    peer.send(close_frame())
    peer.close()


def together(*actions: Callable[[], object]) -> list[object]:
    """Runs `actions` at once, each on a thread; their results or errors, in the same order."""
    start = threading.Barrier(len(actions))
    results: list[object] = [None] * len(actions)

    def run(index: int, action: Callable[[], object]) -> None:
        start.wait()
        try:
            results[index] = action()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index, action)) for index, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results
