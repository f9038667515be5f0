"""Tests of a threaded connection: its reader, its queue's backpressure, and how long a close may take."""

from __future__ import annotations

import gc
import threading

import pytest

from tests.e2e.process import until
from tests.plain.helpers import say_goodbye, served
from tests.wire.helpers import PATIENCE, client_frame, close_frame, text_frame
from threadchat.errors import ConnectionClosed
from threadchat.plain.engine import Engine
from threadchat.plain.receive_queue import ReceiveQueue
from threadchat.plain.threaded_connection import OWNER_LOOK, ThreadedConnection
from threadchat.wire.connection import CLOSE_TIMEOUT, Connection
from threadchat.wire.limits import Limits
from threadchat.wire.protocol import frames


def test_messages_go_into_the_inbox_and_out_of_the_outbox() -> None:
    with served() as scene:
        scene.peer.send(text_frame("hi"), client_frame(frames.BINARY, b"\0\1"))
        assert [scene.threaded.receive_queue.get(20), scene.threaded.receive_queue.get(20)] == ["hi", b"\0\1"]
        scene.threaded.send(scene.threaded.connection.text("ho"))
        assert scene.peer.frame() == (frames.TEXT, b"ho")


def test_threads_and_addresses_have_names() -> None:
    with served() as scene:
        assert scene.threaded.thread.name == "reader-1"
        assert scene.threaded.thread.daemon
        assert scene.threaded.remote_address == scene.peer.socket.getsockname()
        assert scene.threaded.local_address == scene.peer.socket.getpeername()
        assert repr(scene.threaded) == "1 open received=0 outbox=0/100"


def test_pings_are_answered_while_nobody_receives() -> None:
    with served() as scene:
        scene.peer.send(text_frame("one"), client_frame(frames.PING, b"?"))
        assert scene.peer.frame() == (frames.PONG, b"?")
        assert scene.threaded.receive_queue.qsize() == 1


def test_a_full_inbox_stops_the_reader_until_somebody_receives() -> None:
    with served(receive_queue=ReceiveQueue(max_messages=2)) as scene:
        scene.peer.send(text_frame("1"), text_frame("2"))
        until(lambda: scene.threaded.receive_queue._full, "two messages")
        scene.peer.send(client_frame(frames.PING, b"?"))
        assert scene.threaded.connection.keepalive.reading_since is None, "the reader is not in recv"
        assert scene.threaded.receive_queue.get(20) == "1"
        assert scene.peer.frame() == (frames.PONG, b"?")


def test_a_full_inbox_holds_nobody_who_closes() -> None:
    with served(receive_queue=ReceiveQueue(max_messages=1)) as scene:
        scene.peer.send(text_frame("1"))
        until(lambda: scene.threaded.receive_queue._full, "a message")
        scene.threaded.close(1000, "")
        assert scene.peer.frame() == (frames.CLOSE, b"\x03\xe8")
        say_goodbye(scene.peer)
        assert scene.threaded.wait_gone(20)
        assert scene.threaded.receive_queue.get() == "1"


def test_a_reader_that_waits_for_room_sees_that_the_connection_was_lost() -> None:
    with served(receive_queue=ReceiveQueue(max_messages=1)) as scene:
        scene.peer.send(text_frame("1"))
        until(lambda: scene.threaded.receive_queue._full, "a message")
        scene.threaded.connection.abort(1006)
        assert scene.threaded.wait_gone(20)
        assert scene.threaded.receive_queue.get() == "1"


def test_the_peers_close_is_answered_and_what_came_before_it_is_kept() -> None:
    with served() as scene:
        scene.peer.send(text_frame("last"), close_frame(4000, "done"))
        assert scene.peer.rest() == [(frames.CLOSE, (4000).to_bytes(2, "big") + b"done")]
        assert scene.threaded.wait_gone(20)
        assert scene.threaded.receive_queue.get() == "last"
        with pytest.raises(EOFError):
            scene.threaded.receive_queue.get()
        assert scene.threaded.connection.peer_closed
        assert scene.threaded.connection.closed is not None
        assert (scene.threaded.connection.closed.code, scene.threaded.connection.closed.reason) == (
            4000,
            "done",
        )


def test_the_first_close_counts() -> None:
    with served() as scene:
        scene.threaded.close(4001, "first")
        scene.threaded.close(4002, "second")
        assert scene.peer.frame() == (frames.CLOSE, (4001).to_bytes(2, "big") + b"first")


def test_a_peer_that_never_answers_the_close_is_gone_two_seconds_after_it_left() -> None:
    with served() as scene:
        scene.threaded.close(1000, "")
        assert scene.peer.frame() == (frames.CLOSE, b"\x03\xe8")
        scene.hand.advance(0.3)  # seen to have left
        scene.hand.advance(CLOSE_TIMEOUT - 0.4)
        assert not scene.threaded.gone.is_set()
        scene.hand.advance(0.2)
        assert scene.threaded.wait_gone(20)


def test_what_waits_may_take_longer_than_that_to_leave() -> None:
    with served(small=True) as scene:
        for _ in range(20):
            scene.threaded.send(scene.threaded.connection.binary(bytes(40_000)))
        scene.threaded.close(1000, "")
        for _ in range(4):
            scene.hand.advance(CLOSE_TIMEOUT)
        assert not scene.threaded.gone.is_set()
        got = scene.peer.rest()
        assert [len(payload) for _, payload in got] == [40_000] * 20 + [2]
        say_goodbye(scene.peer)
        assert scene.threaded.wait_gone(20)


def test_but_no_longer_than_its_timeout() -> None:
    with served(small=True, close_timeout=5.0) as scene:
        for _ in range(20):
            scene.threaded.send(scene.threaded.connection.binary(bytes(40_000)))
        scene.threaded.close(1000, "")
        scene.hand.advance(4.9)
        assert not scene.threaded.gone.is_set()
        scene.hand.advance(0.3)
        assert scene.threaded.wait_gone(20)


def test_a_reader_that_fails_closes_with_1011(monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as scene:

        def fail(messages: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(scene.threaded.receive_queue, "put", fail)
        scene.peer.send(text_frame("x"))
        assert scene.peer.frame() == (frames.CLOSE, (1011).to_bytes(2, "big") + b"internal error")
        with pytest.raises(EOFError):
            scene.threaded.receive_queue.get(20)


def test_keepalive_pings_measure_the_latency() -> None:
    with served(limits=Limits(ping_interval=20, pong_timeout=40)) as scene:
        scene.hand.advance(20)
        opcode, payload = scene.peer.frame()
        assert opcode == frames.PING
        scene.hand.clock.advance(0.25)
        scene.peer.send(client_frame(frames.PONG, payload))
        until(lambda: scene.threaded.latency == 0.25, "the pong")
        scene.hand.advance(20)
        assert scene.peer.frame()[0] == frames.PING


def test_a_peer_that_answers_no_ping_is_gone() -> None:
    with served(limits=Limits(ping_interval=20, pong_timeout=40)) as scene:
        scene.hand.advance(20)
        assert scene.peer.frame()[0] == frames.PING
        scene.hand.advance(20)
        while (frame := scene.peer.frame())[0] == frames.PING:
            pass
        assert frame == (frames.CLOSE, (3012).to_bytes(2, "big") + b"no pong")


def test_a_connection_that_nobody_can_use_any_more_ends() -> None:
    class Owner:
        pass

    with served(limits=Limits(ping_interval=None)) as scene:
        owner = Owner()
        scene.threaded.end_with(owner)
        scene.hand.advance(10 * OWNER_LOOK)
        assert scene.threaded.is_open
        del owner
        gc.collect()
        scene.hand.advance(OWNER_LOOK)
        assert scene.peer.frame() == (frames.CLOSE, b"\x03\xe9")


def test_without_an_interval_there_are_no_pings() -> None:
    with served(limits=Limits(ping_interval=None)) as scene:
        scene.hand.advance(1e6)
        scene.threaded.close(1000, "")
        assert scene.peer.frame()[0] == frames.CLOSE


def test_a_connection_that_cannot_be_made_is_no_longer_counted() -> None:
    engine = Engine()

    def fail(slot: object, on_gone: object) -> Connection:
        raise ConnectionClosed(1002)

    with pytest.raises(ConnectionClosed):
        ThreadedConnection(fail, ReceiveQueue(), engine=engine)
    assert engine._slots == {}


def test_without_a_thread_for_the_reader_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name.startswith("reader"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="new thread"), served():
        pass


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_the_reader_starts_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Ctrl-C in `Thread.start`: one thread does the reader's part, this one or the one that has started."""
    start, readers = threading.Thread.start, []

    def interrupted(thread: threading.Thread) -> None:
        if not thread.name.startswith("reader"):
            start(thread)
            return
        readers.append(thread)
        if begun:
            start(thread)
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt), served():
            pass
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if not begun:
        readers[0].start()  # the system was about to: it finds that its part is done
        readers[0].join(PATIENCE)
