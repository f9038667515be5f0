"""Covers threadchat/testing/pair.py."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from threadchat import ConnectionClosed
from threadchat.errors import HandshakeRefused
from threadchat.testing import Pair, Peer


def test_both_ends() -> None:
    with Pair(headers={"X-User": "ann"}) as pair:
        assert pair.server.request.headers["X-User"] == "ann"
        for number in range(10):
            pair.client.send(str(number))
            pair.server.send(bytes([number]))
        assert [pair.server.recv() for _ in range(10)] == [str(number) for number in range(10)]
        assert [pair.client.recv() for _ in range(10)] == [bytes([number]) for number in range(10)]


def flood(peer: Peer) -> None:
    while True:
        peer.send(bytes(64 << 10))


def test_what_nobody_receives_is_not_taken_for_ever() -> None:
    with Pair() as pair:
        pair.client.socket.settimeout(0.05)  # only now: until here everything may take its time
        with pytest.raises(TimeoutError, match=r"accepted nothing for 0\.05 s"):
            flood(pair.client)
        pair.client.reset()


def test_the_handler_ends_the_connection() -> None:
    with Pair(lambda connection: connection.send("bye")) as pair:
        assert pair.client.recv() == "bye"
        with pytest.raises(ConnectionClosed) as end:
            pair.client.recv()
        assert end.value.code == 1000


def test_a_handler_that_fails() -> None:
    def fail(connection: Any) -> None:
        raise ValueError(connection.recv())

    with Pair(fail) as pair:
        pair.client.send("oh")
        with pytest.raises(ConnectionClosed) as end:
            pair.client.recv()
        assert end.value.code == 1011


def test_either_side_may_close() -> None:
    with Pair() as pair:
        pair.client.close(3007)
        with pytest.raises(ConnectionClosed) as end:
            pair.server.recv()
        assert end.value.code == 3007
    with Pair() as pair:
        closing = threading.Thread(target=pair.server.close, args=(3007, "enough"))
        closing.start()
        with pytest.raises(ConnectionClosed, match="3007 enough"):
            pair.client.recv()
        pair.client.close()
        closing.join()


def test_a_handler_that_does_not_return_is_a_failure() -> None:
    goes_on = threading.Event()
    pair = Pair(lambda connection: goes_on.wait())
    pair._memory._timeout = 0.05  # only now: until here everything may take its time
    pair.client.reset()
    with pytest.raises(AssertionError, match=r"still running 0\.05 s"):
        pair.close()
    goes_on.set()


def test_a_request_that_is_refused() -> None:
    with pytest.raises(HandshakeRefused) as refusal:
        Pair(headers={"Sec-WebSocket-Version": "12"})
    assert refusal.value.status == 426
