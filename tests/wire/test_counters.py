"""What a connection counts, and that nobody counts twice."""

from __future__ import annotations

import pytest

from tests.wire.helpers import PATIENCE, RecordingLine, Served, text_frame
from threadchat.errors import ConnectionClosed
from threadchat.testing import FakeClock
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.outbox import Outbox, State
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import FlushingClose, Pong, Text
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.writer import Writer


class Sink:
    """A transport that takes what the test allows, and lets time pass while it waits."""

    def __init__(self, clock: FakeClock, *room: int) -> None:
        self.clock = clock
        self.room = list(room)

    def send(self, data: bytes | memoryview) -> int:
        return min(len(data), self.room.pop(0)) if self.room else len(data)

    def wait_writable(self, timeout: float) -> None:
        self.clock.advance(2)

    def finish(self) -> None:
        """Nothing more will come."""


class Scene:
    """An outbox with a writer whose turns the test takes."""

    def __init__(self, *room: int) -> None:
        self.clock = FakeClock()
        self.outbox = Outbox(RecordingLine(), clock=self.clock)
        self.counters = self.outbox.counters
        self.writer = Writer(
            "writer-1",
            self.outbox,
            Sink(self.clock, *room),
            Turnstile(),
            on_failure=lambda reason: None,
            on_end=lambda: None,
            clock=self.clock,
        )

    def offer(self, frame: bytes, messages: int = 1) -> None:
        self.outbox.offer(Text(frame, messages), [])


def test_a_writer_counts_what_the_socket_took() -> None:
    scene = Scene()
    scene.offer(b"one")
    scene.offer(b"two three", 2)
    scene.outbox.put(Pong(b"?"))
    scene.clock.advance(0.25)
    scene.writer.turn()
    counters = scene.counters
    assert (counters.frames_out, counters.bytes_out, counters.writes, counters.turns) == (3, 12 + 3, 1, 1)
    assert counters.waited == 0.25
    assert counters.last_write == scene.clock()


def test_a_close_that_flushes_is_no_message() -> None:
    scene = Scene()
    scene.offer(b"one")
    scene.outbox.close(FlushingClose(1000))
    scene.writer.turn()
    assert (scene.counters.frames_out, scene.counters.bytes_out) == (1, 3 + 4)


def test_what_the_socket_took_in_pieces_is_counted_piece_by_piece() -> None:
    scene = Scene(3, 0, 4)
    scene.offer(b"ten bytes.")
    scene.writer.turn()
    counters = scene.counters
    assert (counters.frames_out, counters.bytes_out, counters.writes, counters.turns) == (1, 10, 3, 1)
    assert counters.last_write == scene.clock()


def test_a_socket_that_takes_nothing_was_not_written() -> None:
    scene = Scene(*[0] * 20)
    scene.offer(b"x")
    with pytest.raises(ConnectionClosed):
        scene.writer.turn()
    assert (scene.counters.writes, scene.counters.last_write, scene.counters.bytes_out) == (0, 0.0, 0)


def test_an_outbox_tells_since_when_something_waits() -> None:
    scene = Scene(1)
    outbox, clock = scene.outbox, scene.clock
    assert scene.outbox.waiting_since is None
    begun = clock()
    scene.offer(b"one")
    clock.advance(1)
    scene.offer(b"two")
    assert (outbox.waiting_since, outbox.bytes_waiting) == (begun, 6)
    assert outbox.take()
    assert outbox.waiting_since == begun, "not accepted yet"
    assert outbox.settle() is State.IDLE
    assert outbox.bytes_waiting == 0
    assert scene.outbox.waiting_since is None
    scene.offer(b"three")
    outbox.take()
    scene.offer(b"four")
    clock.advance(1)
    assert outbox.settle() is State.LISTED
    assert outbox.waiting_since == clock()


def test_all_who_get_a_message_wait_since_the_same_moment() -> None:
    times = iter([3.0, 4.0])
    outboxes = [Outbox(RecordingLine(), clock=lambda: next(times)) for _ in range(3)]
    listed: list[Outbox] = []
    for outbox in outboxes:
        outbox.offer(Text(b"x"), listed)
    assert listed == outboxes
    assert [outbox.waiting_since for outbox in outboxes] == [3.0] * 3


@pytest.mark.parametrize("way", ["put", "feed", "offer_light", "control"])
def test_every_way_in_tells_it(way: str) -> None:
    outbox = Scene().outbox
    text = Text(b"x")
    if way == "offer_light":
        outbox.offer_light(text, [])
    elif way == "feed":
        outbox.feed(text, None, lambda: False)
    else:
        outbox.put(text if way == "put" else Pong())
    assert outbox.waiting_since == outbox._clock()


def test_a_connection_counts_both_ways() -> None:
    with Served() as served:
        data = text_frame("one") + text_frame("two")
        served.peer.send(data)
        served.connection.send(served.connection.text("hello"))
        assert served.peer.frame() == (frames.TEXT, b"hello")
        served.connection.close(1000, "")
        served.peer.socket.settimeout(PATIENCE)
        served.peer.rest()
        served.peer.close()
        served.join()
        counters = served.connection.counters
        assert (counters.messages_in, counters.bytes_in) == (2, len(data))
        assert counters.frames_out == 1
        assert counters.bytes_out > 7 + 4, "the handshake, a message, and a Close"
        assert counters.last_write > 0
        assert "messages_in=2" in repr(counters)


def test_all_begins_at_nothing() -> None:
    assert {getattr(ConnectionCounters(), name) for name in ConnectionCounters.__slots__} == {0, None}
