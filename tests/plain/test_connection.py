"""Tests of one WebSocket in the shape of websockets.sync: both roles, one at each end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest

from tests.e2e.process import until
from tests.plain.helpers import handshake, serving, together, url
from tests.wire.helpers import client_frame, close_frame, open_descriptors
from threadchat import connect
from threadchat.errors import (
    CloseFrame,
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    TooManyPings,
)
from threadchat.plain.connection import WebSocket
from threadchat.plain.websockets.exceptions import ProtocolError
from threadchat.wire.protocol import frames


class Pair(NamedTuple):
    server: WebSocket
    client: WebSocket


@contextmanager
def pair(**options: Any) -> Iterator[Pair]:
    """Both ends of one connection; the handler waits until the block is over."""
    opened: SimpleQueue[WebSocket] = SimpleQueue()
    over = threading.Event()

    def handler(websocket: WebSocket) -> None:
        opened.put(websocket)
        over.wait()

    with serving(handler, **options) as server, connect(url(server), **options) as client:
        try:
            yield Pair(opened.get(timeout=20), client)
        finally:
            over.set()


both_ways = pytest.mark.parametrize("way", ["client to server", "server to client"])


def ends(found: Pair, way: str) -> tuple[WebSocket, WebSocket]:
    return (found.client, found.server) if way == "client to server" else (found.server, found.client)


@both_ways
@pytest.mark.parametrize(
    ("sent", "text", "got"),
    [
        ("hi", None, "hi"),
        ("", None, ""),
        ("ü" * 40_000, None, "ü" * 40_000),
        (b"\0\xff", None, b"\0\xff"),
        (bytearray(b"ba"), None, b"ba"),
        (memoryview(b"mv"), None, b"mv"),
        (b"as text", True, "as text"),
        ("as bytes", False, b"as bytes"),
        (["to", "ge", "ther"], None, "together"),
        ((b"a", bytearray(b"b")), None, b"ab"),
        (bytes(900_000), None, bytes(900_000)),
    ],
)
def test_messages(way: str, sent: Any, text: bool | None, got: str | bytes) -> None:
    with pair() as found:
        sender, receiver = ends(found, way)
        sender.send(sent, text=text)
        assert receiver.recv(20) == got


def test_nothing_in_pieces_is_nothing() -> None:
    with pair() as found:
        found.client.send([])
        found.client.send("next")
        assert found.server.recv(20) == "next"


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (3, "str, bytes, or an iterable of either, not int"),
        ({"a": 1}, "no mapping"),
        (["a", b"b"], "all str or all bytes"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_message(message: Any, complaint: str) -> None:
    with pair() as found, pytest.raises(TypeError, match=complaint):
        found.client.send(message)


def test_recv_in_another_type() -> None:
    with pair() as found:
        found.client.send("text")
        found.client.send(b"bytes")
        assert found.server.recv(20, decode=False) == b"text"
        assert found.server.recv(20, decode=True) == "bytes"
        found.client.send(b"\xff")
        with pytest.raises(ConnectionClosedError, match="1007"):
            found.server.recv(20, decode=True)


def test_recv_without_a_message() -> None:
    with pair() as found:
        with pytest.raises(TimeoutError):
            found.server.recv(timeout=0)
        found.client.send("late")
        assert found.server.recv() == "late"


def test_two_threads_cannot_receive_at_once() -> None:
    with pair() as found:
        got: list[object] = []
        thread = threading.Thread(target=lambda: got.append(found.server.recv()))
        thread.start()
        until(found.server._receiving.locked, "one that receives")
        with pytest.raises(ConcurrencyError, match="another thread"):
            found.server.recv(0)
        found.client.send("for the first")
        thread.join(60)
        assert got == ["for the first"]
        found.client.send("next")
        assert found.server.recv(20) == "next"


# -- the end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001])
def test_iteration_ends_with_a_good_end(code: int) -> None:
    with pair() as found:
        found.client.send("a")
        found.client.send("b")
        found.client.close(code, "bye")
        assert list(found.server) == ["a", "b"]
        assert (found.server.close_code, found.server.close_reason) == (code, "bye")
        assert found.client.wait_closed(20)


def test_a_close_without_code_is_a_good_end() -> None:
    opened: SimpleQueue[Any] = SimpleQueue()

    def handler(websocket: WebSocket) -> None:
        opened.put(list(websocket))
        opened.put(websocket.close_code)

    with serving(handler) as server:
        peer = handshake(server.port)
        peer.send(close_frame(None))
        assert peer.frame() == (frames.CLOSE, b"")
        assert (opened.get(timeout=20), opened.get(timeout=20)) == ([], 1005)
        peer.close()


def test_iteration_raises_at_a_bad_end() -> None:
    with pair() as found:
        found.client.send("a")
        found.client.close(4000, "ouch")
        got: list[object] = []
        with pytest.raises(ConnectionClosedError, match="received 4000") as caught:
            got.extend(found.server)
        assert caught.value.rcvd == CloseFrame(4000, "ouch")
        with pytest.raises(ConnectionClosedError):
            found.server.send("too late")
        with pytest.raises(ConnectionClosedError):
            found.client.recv()


def test_a_lost_connection_is_a_bad_end_without_a_close() -> None:
    with pair() as found:
        found.client.threaded.connection.abort(1006)
        with pytest.raises(ConnectionClosedError, match="no close frame received or sent") as caught:
            found.server.recv(20)
        assert (caught.value.rcvd, caught.value.sent) == (None, None)


def test_both_kinds_are_connection_closed() -> None:
    assert issubclass(ConnectionClosedOK, ConnectionClosed)
    assert issubclass(ConnectionClosedError, ConnectionClosed)


def test_close_wakes_who_receives() -> None:
    with pair() as found:
        caught: list[object] = []

        def receive() -> None:
            try:
                found.server.recv()
            except ConnectionClosedOK as error:
                caught.append(error.code)

        thread = threading.Thread(target=receive)
        thread.start()
        until(found.server._receiving.locked, "one that receives")
        found.server.close()
        thread.join(60)
        assert caught == [1000]


def test_close_is_idempotent_and_waits_until_the_connection_is_gone() -> None:
    with pair() as found:
        assert found.client.close_code is None
        assert not found.client.wait_closed(0)
        found.client.close(1000, "first")
        assert found.client.threaded.gone.is_set()
        found.client.close(4000, "second")
        assert (found.client.close_code, found.client.close_reason) == (1000, "first")


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2999, 5000])
def test_codes_that_must_not_be_sent(code: int) -> None:
    with pair() as found, pytest.raises(ValueError, match=f"close code {code}: must be"):
        found.client.close(code)


def test_a_block_that_fails_closes_with_1011() -> None:
    with pair() as found:
        with pytest.raises(ZeroDivisionError), found.client:
            raise ZeroDivisionError
        with pytest.raises(ConnectionClosedError, match="1011"):
            found.server.recv(20)


# -- pings -------------------------------------------------------------------------------------------


@both_ways
def test_a_ping_is_answered_while_nobody_receives(way: str) -> None:
    with pair(ping_interval=None) as found:
        sender, _ = ends(found, way)
        assert sender.latency == 0
        assert sender.ping().wait(20)
        assert sender.ping("payload").wait(20)
        assert sender.ping(b"payload").wait(20)
        assert 0 < sender.latency < 20


def test_pings_that_cannot_be() -> None:
    with pair() as found:
        with pytest.raises(ProtocolError, match="at most 125 bytes"):
            found.client.ping(bytes(126))
        with pytest.raises(TypeError, match="str or bytes, not int"):
            found.client.ping(3)  # type: ignore[arg-type]
        found.client.close()
        with pytest.raises(ConnectionClosedOK):
            found.client.ping()


def test_unanswered_pings_have_a_bound() -> None:
    opened: SimpleQueue[WebSocket] = SimpleQueue()
    over = threading.Event()

    def handler(websocket: WebSocket) -> None:
        opened.put(websocket)
        over.wait()

    with serving(handler) as server:
        peer = handshake(server.port)  # answers nothing
        websocket = opened.get(timeout=20)
        waiting = [websocket.ping() for _ in range(16)]
        with pytest.raises(TooManyPings):
            websocket.ping()
        payloads = [peer.frame()[1] for _ in waiting]
        peer.send(client_frame(frames.PONG, payloads[-1]))  # stands for all before it
        assert all(event.wait(20) for event in waiting)
        over.set()
        peer.close()


# -- many threads ------------------------------------------------------------------------------------


@both_ways
def test_many_threads_send_and_each_message_arrives_whole_and_in_its_threads_order(way: str) -> None:
    with pair() as found:
        sender, receiver = ends(found, way)

        def send(thread: int) -> None:
            for number in range(100):
                sender.send(f"{thread} {number} " + "x" * (number * 37 % 500))

        def receive() -> list[str]:
            return [str(receiver.recv(30)) for _ in range(800)]

        senders: list[Callable[[], object]] = [lambda thread=thread: send(thread) for thread in range(8)]  # type: ignore[misc]
        got = together(receive, *senders)
        assert got[1:] == [None] * 8
        messages = got[0]
        assert isinstance(messages, list)
        for thread in range(8):
            mine = [message.split(" ")[1:] for message in messages if message.startswith(f"{thread} ")]
            assert [int(number) for number, _ in mine] == list(range(100))
            assert all(body == "x" * (int(number) * 37 % 500) for number, body in mine)


@both_ways
def test_eight_threads_send_while_one_closes(way: str) -> None:
    """Whatever was taken arrives; what is not, raises; the peer sees whole messages and one good end."""
    for _ in range(5):
        with pair() as found:
            sender, receiver = ends(found, way)

            def send(sender: WebSocket = sender) -> int:
                taken = 0
                try:
                    while True:
                        sender.send("message")
                        taken += 1
                except ConnectionClosedOK:
                    return taken

            def receive(receiver: WebSocket = receiver) -> int:
                return sum(1 for message in receiver if message == "message")

            def close(sender: WebSocket = sender) -> None:
                sender.send("message")
                sender.close()

            results = together(receive, close, *[send] * 8)
            counts = [count for count in results if isinstance(count, int)]
            assert len(counts) == 9, results
            assert counts[0] == sum(counts[1:]) + 1
            assert receiver.close_code == 1000


def test_everybody_closes_at_once() -> None:
    for _ in range(5):
        with pair() as found:
            together(*[found.client.close, found.server.close] * 4)
            assert found.client.wait_closed(20)
            assert found.server.wait_closed(20)


# -- pressure ----------------------------------------------------------------------------------------


def test_a_peer_that_takes_nothing_loses_the_connection() -> None:
    opened: SimpleQueue[Any] = SimpleQueue()

    def handler(websocket: WebSocket) -> None:
        try:
            while True:
                websocket.send(bytes(64_000))
        except ConnectionClosed as error:
            opened.put(error)

    with serving(handler, send_timeout=0.2) as server:
        peer = handshake(server.port)  # never reads on
        error = opened.get(timeout=30)
        assert isinstance(error, ConnectionClosedError)
        assert error.code == 3008
        peer.close()


def test_a_handler_that_only_sends_has_its_pongs_read() -> None:
    over = threading.Event()
    opened: SimpleQueue[WebSocket] = SimpleQueue()

    def handler(websocket: WebSocket) -> None:
        opened.put(websocket)
        while not over.is_set():
            websocket.send("tick")

    with serving(handler) as server, connect(url(server)) as client:
        websocket = opened.get(timeout=20)
        reading = threading.Thread(target=lambda: [None for _ in client])
        reading.start()
        assert websocket.ping().wait(20)
        over.set()
        reading.join(60)


def test_what_comes_ahead_of_recv_is_bounded_and_nothing_is_lost() -> None:
    with pair(max_queue=4, send_timeout=60) as found:

        def send() -> None:
            for number in range(2000):
                found.client.send(f"{number} " + "x" * 2000)

        def receive() -> list[int]:
            until(lambda: found.server.threaded.receive_queue._full, "a full receive_queue")
            return [int(str(found.server.recv(30)).split(" ")[0]) for _ in range(2000)]

        assert together(send, receive)[1] == list(range(2000))


def test_no_descriptor_is_left() -> None:
    before = open_descriptors()
    with pair() as found:
        found.client.send("x")
        found.server.recv(20)
    assert open_descriptors() == before


def test_what_is_known_of_it() -> None:
    with pair() as found:
        assert found.client.remote_address == found.server.local_address
        assert found.server.remote_address == found.client.local_address
        assert found.client.id != found.server.id
        assert found.client.subprotocol is None
        assert repr(found.server).startswith("<ServerConnection ")
        assert "open received=0 outbox=0/100" in repr(found.client)
