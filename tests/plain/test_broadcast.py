"""Tests of `broadcast`: one encoding, nobody waited for, and both answers to a full outbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

import pytest

from tests.e2e.process import until
from tests.plain.helpers import handshake, serving, together, url
from threadchat import broadcast, connect
from threadchat.errors import ConfigError, ConnectionClosedError
from threadchat.plain import broadcast as broadcasting
from threadchat.plain.server import Server


@contextmanager
def crowd(size: int, **options: Any) -> Iterator[tuple[Server, list[Any], list[Any]]]:
    """A server with `size` clients: it, its ends of the connections, and theirs, in the same order."""
    opened: SimpleQueue[Any] = SimpleQueue()
    over = threading.Event()

    def handler(websocket: Any) -> None:
        opened.put(websocket)
        over.wait()

    with ExitStack() as stack:
        server = stack.enter_context(serving(handler, **options))
        stack.callback(over.set)
        ours, clients = [], []
        for _ in range(size):
            clients.append(stack.enter_context(connect(url(server), max_queue=100_000)))
            ours.append(opened.get(timeout=20))
        yield server, ours, clients


def test_everybody_gets_it_and_it_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def counted(*given: Any) -> Any:
        calls.append(given)
        return encoded(*given)

    encoded = broadcasting.encoded
    monkeypatch.setattr(broadcasting, "encoded", counted)
    with crowd(10) as (_, ours, clients):
        assert broadcast(ours, "hello") == 10
        assert len(calls) == 1
        assert broadcast(iter(ours), b"bytes") == 10
        assert broadcast(set(ours), b"text", text=True) == 10
        assert broadcast(ours, "bytes", text=False) == 10
        for client in clients:
            assert [client.recv(20) for _ in range(4)] == ["hello", b"bytes", "text", b"bytes"]


def test_clients_connections_have_each_a_frame_of_their_own() -> None:
    with crowd(3) as (_, ours, clients):
        assert broadcast([*clients, *ours], "hello") == 6
        for websocket in [*ours, *clients]:
            assert websocket.recv(20) == "hello"


def test_nobody_is_nobody() -> None:
    assert broadcast([], "hello") == 0


def test_closed_ones_are_passed_over() -> None:
    with crowd(2) as (_, ours, clients):
        ours[0].threaded.connection.abort(1006)
        assert broadcast(ours, "hello") == 1
        assert clients[1].recv(20) == "hello"


@pytest.mark.parametrize("message", [3, None, ["a"]])
def test_what_is_no_message(message: Any) -> None:
    with pytest.raises(TypeError, match="str or bytes"):
        broadcast([], message)


def test_what_is_no_policy() -> None:
    with pytest.raises(ConfigError, match="'close' or 'skip'"):
        broadcast([], "x", on_full="wait")  # type: ignore[arg-type]


@pytest.mark.parametrize("on_full", ["close", "skip"])
def test_one_that_never_reads_holds_up_nobody(on_full: Any) -> None:
    with crowd(2) as (server, ours, clients):
        stalled = handshake(server.port, small=True)  # from here on it reads nothing
        until(lambda: len(server.connections) == 3, "its handler")
        (slow,) = server.connections - set(ours)
        everybody = [*ours, slow]
        counts = []
        for _ in range(40):
            counts.append(broadcast(everybody, bytes(60_000), on_full=on_full))
            for client in clients:
                assert client.recv(20) == bytes(60_000)
        assert counts == sorted(counts, reverse=True)
        assert (counts[0], counts[-1]) == (3, 2)
        if on_full == "close":
            assert slow.close_code == 3008
            with pytest.raises(ConnectionClosedError, match="3008"):
                slow.send("x")
        else:
            assert slow.close_code is None
            while slow.threaded.connection.outbox.qsize():
                stalled.socket.recv(1 << 20)
            assert broadcast(everybody, "again", on_full=on_full) == 3
        slow.threaded.connection.abort(1006)
        stalled.close()


def test_a_burst_closes_nobody_who_keeps_up() -> None:
    """Four at once, each faster than any writer."""
    with crowd(10) as (_, ours, clients):

        def receive(client: Any) -> int:
            return sum(len(client.recv(60)) for _ in range(4 * 200))

        def send() -> None:
            for _ in range(200):
                assert broadcast(ours, "x" * 100) == 10

        results = together(*[send] * 4, *[lambda c=client: receive(c) for client in clients])  # type: ignore[misc]
        assert results == [None] * 4 + [4 * 200 * 100] * 10


def test_one_that_is_full_only_because_it_waits_for_its_turn_gets_it_after_that() -> None:
    """As many messages as an outbox takes, offered while no writer may run."""
    with crowd(1, outbox_messages=4) as (_, ours, clients):
        turnstile = ours[0].threaded.connection.line
        until(lambda: not turnstile.holders, "the handshake's turn is over")
        with turnstile._lock:
            held, turnstile.permits = turnstile.permits, 0
        for number in range(4):
            ours[0].threaded.offer(ours[0].threaded.connection.text(str(number)), listed := [])
            turnstile.enter(listed)

        def release() -> None:
            until(lambda: len(turnstile._line) == 2, "the broadcast's ticket")
            with turnstile._lock:
                turnstile.permits = held
            turnstile.enter(())

        assert together(lambda: broadcast(ours, "4"), release) == [1, None]
        assert [clients[0].recv(20) for _ in range(5)] == list("01234")
