"""The thread that drains an outbox: turns, partial writes, deadlines, and that permits come back."""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Callable

import pytest

from tests.wire.helpers import (
    PATIENCE,
    FakeClock,
    finish,
    free_permits,
    run_all,
    split_frames,
    start,
    switching,
)
from threadchat.errors import ConnectionClosed
from threadchat.wire.outbox import Answer, Outbox, State
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import FlushingClose, Ping, Text
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.writer import Writer


class FakeTransport:
    """Takes all bytes, or as many at a time as it is told to; calls what the test hangs into it."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.most = most
        self.sent = bytearray()
        self.sizes: list[int] = []
        self.threads: set[str] = set()
        self.waits: list[float] = []
        self.finished = 0
        self.before_send: Callable[[], None] = lambda: None
        self.when_full: Callable[[float], None] = lambda _: None

    def send(self, data: bytes | memoryview) -> int:
        self.threads.add(threading.current_thread().name)
        self.before_send()
        accepted = bytes(data[: self.most])
        self.sent += accepted
        self.sizes.append(len(accepted))
        return len(accepted)

    def wait_writable(self, timeout: float) -> None:
        self.waits.append(timeout)
        self.when_full(timeout)

    def finish(self) -> None:
        self.finished += 1

    def frames(self) -> list[bytes]:
        return [payload for _, payload in split_frames(bytes(self.sent))]


class Bench:
    """A writer and all that it needs; what it reports is kept."""

    def __init__(self, transport: FakeTransport | None = None, turnstile: Turnstile | None = None) -> None:
        self.clock = FakeClock()
        self.turnstile = turnstile or Turnstile(1)
        self.outbox = Outbox(self.turnstile, clock=self.clock)
        self.transport = transport or FakeTransport()
        self.failures: list[ConnectionClosed] = []
        self.ends = 0
        self.writer = Writer(
            "writer-7",
            self.outbox,
            self.transport,
            self.turnstile,
            on_failure=self.fail,
            on_end=self.end,
            clock=self.clock,
        )

    def fail(self, reason: ConnectionClosed) -> None:
        self.failures.append(reason)
        self.outbox.end(reason)

    def end(self) -> None:
        self.ends += 1

    def start(self) -> Bench:
        self.writer.thread.start()
        return self

    def join(self) -> None:
        finish(self.writer.thread)
        assert self.ends == 1
        assert free_permits(self.turnstile) == self.turnstile.permits


class Holder:
    """Takes a permit and keeps it until told to give it back."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._woken = threading.Event()
        turnstile.enter((self,))
        assert self._woken.wait(PATIENCE)

    def wake(self) -> bool:
        self._woken.set()
        return True

    def give_back(self) -> None:
        self._turnstile.leave(self, again=False)


def numbered(i: int) -> Text:
    return Text(frames.encode(frames.TEXT, b"%d" % i))


def payloads(count: int) -> list[bytes]:
    return [b"%d" % i for i in range(count)]


LOST = ConnectionClosed(1006, "lost")
CLOSE_PAYLOAD = b"\x03\xe8"


# -- turns ---------------------------------------------------------------------------------------------


def test_everything_is_sent_in_order_by_one_thread_and_the_close_last() -> None:
    bench = Bench().start()
    for i in range(50):
        bench.outbox.put(numbered(i))
    bench.outbox.close(FlushingClose(1000))
    bench.join()
    assert bench.transport.frames() == [*payloads(50), CLOSE_PAYLOAD]
    assert bench.transport.threads == {"writer-7"}
    assert bench.transport.finished == 1
    assert bench.failures == []


def test_the_thread_is_a_daemon_with_a_name() -> None:
    thread = Bench().writer.thread
    assert (thread.daemon, thread.name) == (True, "writer-7")


def test_what_was_put_before_the_thread_started_is_sent() -> None:
    bench = Bench()
    bench.outbox.put(numbered(0))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert bench.transport.frames() == [*payloads(1), CLOSE_PAYLOAD]


def test_what_waits_when_a_turn_comes_is_one_send() -> None:
    bench = Bench()
    holder = Holder(bench.turnstile)
    bench.start()
    for i in range(100):
        bench.outbox.put(numbered(i))
    bench.outbox.put(Ping(b"!"))
    bench.outbox.close(FlushingClose(1000))
    holder.give_back()
    bench.join()
    assert bench.transport.sizes == [len(bench.transport.sent)]
    assert bench.transport.frames() == [b"!", *payloads(100), CLOSE_PAYLOAD]


def test_what_comes_during_a_turn_is_sent_in_the_next_one() -> None:
    bench = Bench()
    late = [numbered(1), numbered(2)]

    def put_more() -> None:
        if late:
            bench.outbox.put(late.pop(0))
        else:
            bench.outbox.close(FlushingClose(1000))

    bench.transport.before_send = put_more
    bench.outbox.put(numbered(0))
    bench.start().join()
    assert bench.transport.frames() == [*payloads(3), CLOSE_PAYLOAD]


def test_two_writers_of_a_flood_take_turns() -> None:
    turnstile = Turnstile(1)
    order: list[str] = []
    benches = [Bench(turnstile=turnstile) for _ in range(2)]
    for name, bench in zip("ab", benches, strict=True):
        bench.transport.before_send = lambda name=name: order.append(name)  # type: ignore[misc]
        for _ in range(3):
            bench.outbox.put(Text(bytes(200_000)))
        bench.outbox.close(FlushingClose(1000))
    for bench in benches:
        bench.start()
    for bench in benches:
        finish(bench.writer.thread)
    assert free_permits(turnstile) == 1
    assert order == ["a", "b"] * 3


# -- partial writes ------------------------------------------------------------------------------------


def test_a_partial_write_is_finished_before_anything_else_leaves() -> None:
    bench = Bench(FakeTransport(most=1))
    bench.outbox.put(numbered(0))
    bench.outbox.put(numbered(1))
    bench.transport.when_full = lambda _: bench.outbox.put(Ping(b"!"))
    bench.transport.before_send = lambda: (
        bench.outbox.close(FlushingClose(1000)) if len(bench.transport.sent) > 20 else None
    )
    bench.start().join()
    assert bench.transport.frames()[:3] == [b"0", b"1", b"!"]
    assert bench.transport.frames()[-1] == CLOSE_PAYLOAD
    assert set(bench.transport.sizes) == {1}
    assert bench.transport.finished == 1


def test_a_refused_byte_makes_the_outbox_blocked_and_frees_the_permit() -> None:
    bench = Bench(FakeTransport(most=2))
    seen: list[tuple[State, int]] = []
    bench.transport.when_full = lambda _: seen.append((bench.outbox.state, free_permits(bench.turnstile)))
    bench.outbox.put(numbered(0))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert seen == [(State.BLOCKED, 1)] * 3


def test_a_half_frame_is_fatal_and_nothing_follows_it() -> None:
    bench = Bench(FakeTransport(most=2))

    def lose(_: float) -> None:
        def fail() -> None:
            raise LOST

        bench.transport.before_send = fail

    bench.transport.when_full = lose
    bench.outbox.put(numbered(0))
    bench.outbox.put(Ping())
    bench.start().join()
    assert bench.failures == [LOST]
    assert len(bench.transport.sent) == 2
    assert bench.transport.finished == 0


def test_a_real_socket_gets_every_byte_of_a_flood() -> None:
    """A socketpair with the smallest buffers there are, and a reader that takes a little at a time."""

    class SocketTransport(FakeTransport):
        def send(self, data: bytes | memoryview) -> int:
            try:
                return ours.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return 0

        def finish(self) -> None:
            ours.shutdown(socket.SHUT_WR)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        theirs.settimeout(PATIENCE)
        bench = Bench(SocketTransport()).start()
        received = bytearray()

        def read() -> None:
            while data := theirs.recv(3001):
                received.extend(data)

        reader = start(read)
        for i in range(300):
            bench.outbox.put(Text(frames.encode(frames.TEXT, b"%d" % i * 500)), timeout=PATIENCE)
        bench.outbox.close(FlushingClose(1000))
        finish(reader)
        bench.join()
    assert [payload for _, payload in split_frames(bytes(received))] == [
        *(b"%d" % i * 500 for i in range(300)),
        CLOSE_PAYLOAD,
    ]


# -- the deadline --------------------------------------------------------------------------------------


def test_a_take_that_is_not_accepted_in_time_is_3009() -> None:
    bench = Bench(FakeTransport(most=2))

    def stall(timeout: float) -> None:
        bench.transport.most = 0
        bench.clock.advance(timeout)

    bench.transport.when_full = stall
    bench.outbox.put(Text(frames.encode(frames.TEXT, b"hello")))
    bench.start().join()
    assert bench.transport.waits == [10.0]
    assert [(reason.code, reason.reason) for reason in bench.failures] == [
        (3009, "the peer took 0 bytes in 10 s, and 5 are left")
    ]


def test_a_byte_now_and_then_does_not_move_that_deadline() -> None:
    bench = Bench(FakeTransport(most=1))
    bench.transport.when_full = lambda timeout: bench.clock.advance(min(3, timeout))
    bench.outbox.put(Text(frames.encode(frames.TEXT, b"hello")))
    bench.start().join()
    assert bench.transport.waits == [10.0, 7.0, 4.0, 1.0]
    assert [reason.code for reason in bench.failures] == [3009]


def test_a_peer_that_reads_60_kb_a_second_stays() -> None:
    bench = Bench(FakeTransport(most=6_000))
    bench.transport.when_full = lambda _: bench.clock.advance(0.1)
    for _ in range(100):
        bench.outbox.put(Text(frames.encode(frames.TEXT, bytes(10_000))))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert bench.failures == []
    assert len(bench.transport.frames()) == 101
    assert bench.clock() > 1016


def test_a_frame_of_any_size_leaves_as_long_as_it_moves() -> None:
    """5 MB, which take 83 s."""
    bench = Bench(FakeTransport(most=6_000))
    bench.transport.when_full = lambda _: bench.clock.advance(0.1)
    bench.outbox.put(Text(frames.encode(frames.TEXT, bytes(5_000_000))))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert bench.failures == []
    assert len(bench.transport.frames()[0]) == 5_000_000
    assert bench.clock() > 1080


@pytest.mark.parametrize(("rate", "enough"), [(6_500, True), (6_300, False)])
def test_a_frame_moves_where_the_socket_takes_6400_bytes_a_second(rate: int, enough: bool) -> None:
    bench = Bench(FakeTransport(most=rate))
    bench.transport.when_full = lambda _: bench.clock.advance(1)
    bench.outbox.put(Text(frames.encode(frames.TEXT, bytes(500_000))))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert [reason.code for reason in bench.failures] == ([] if enough else [3009])


def test_lumps_of_a_third_of_a_buffer_are_progress_enough() -> None:
    """At 60 KB/s, as the kernel of a peer that reads steadily makes them."""
    bench = Bench(FakeTransport(most=43_000))
    bench.transport.when_full = lambda _: bench.clock.advance(0.72)
    bench.outbox.put(Text(frames.encode(frames.TEXT, bytes(5_000_000))))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert bench.failures == []


def test_one_that_goes_silent_in_the_middle_is_given_up_in_time() -> None:
    bench = Bench(FakeTransport(most=100_000))

    def stall(_: float) -> None:
        bench.clock.advance(1)
        if len(bench.transport.sent) >= 300_000:
            bench.transport.most = 0

    bench.transport.when_full = stall
    bench.outbox.put(Text(frames.encode(frames.TEXT, bytes(500_000))))
    bench.start().join()
    assert [reason.code for reason in bench.failures] == [3009]
    assert bench.clock() == 1012


def test_time_in_which_the_process_was_stopped_is_not_the_peers() -> None:
    bench = Bench(FakeTransport(most=2))
    waits: list[float] = []

    def stopped(timeout: float) -> None:
        waits.append(timeout)
        bench.clock.advance(500 if len(waits) == 1 else 1)

    bench.transport.when_full = stopped
    bench.outbox.put(Text(frames.encode(frames.TEXT, b"hello")))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert bench.failures == []
    assert bench.transport.frames() == [b"hello", CLOSE_PAYLOAD]


def test_a_steady_reader_is_progress_for_the_puts_that_wait() -> None:
    bench = Bench(FakeTransport(most=1))
    since: list[float] = []

    def tick(_: float) -> None:
        since.append(bench.outbox._blocked_since)
        bench.clock.advance(1)

    bench.transport.when_full = tick
    bench.outbox.put(numbered(0))
    bench.outbox.close(FlushingClose(1000))
    bench.start().join()
    assert since == [1000.0 + i for i in range(6)]


# -- the end -------------------------------------------------------------------------------------------


def test_the_writer_ends_while_idle() -> None:
    bench = Bench().start()
    bench.outbox.put(numbered(0))
    bench.outbox.end(LOST)
    bench.join()


def test_the_writer_ends_while_it_stands_in_the_line() -> None:
    bench = Bench()
    holder = Holder(bench.turnstile)
    bench.start()
    bench.outbox.put(numbered(0))
    assert bench.outbox.state is State.LISTED
    bench.outbox.end(LOST)
    assert bench.writer.thread.is_alive(), "it has a permit coming"
    holder.give_back()
    bench.join()
    assert bench.transport.sent == b""


def test_the_writer_ends_between_being_listed_and_entering_the_line() -> None:
    bench = Bench().start()
    listed: list[Outbox] = []
    assert bench.outbox.offer(numbered(0), listed) is Answer.YES
    bench.outbox.end(LOST)
    assert bench.outbox.state is State.LISTED
    assert bench.writer.thread.is_alive(), "its publisher will enter it"
    bench.turnstile.enter(listed)
    bench.join()


def test_an_urgent_frame_between_being_listed_and_entering_lists_nobody_twice() -> None:
    bench = Bench().start()
    listed: list[Outbox] = []
    bench.outbox.offer(numbered(0), listed)
    bench.outbox.put(Ping(b"!"))
    bench.outbox.close(FlushingClose(1000))
    bench.turnstile.enter(listed)
    bench.join()
    assert bench.transport.frames() == [b"!", b"0", CLOSE_PAYLOAD]


def test_the_writer_ends_while_it_runs() -> None:
    bench = Bench()
    bench.transport.before_send = lambda: bench.outbox.end(LOST)
    bench.outbox.put(numbered(0))
    bench.start().join()


def test_the_writer_ends_while_it_is_blocked() -> None:
    bench = Bench(FakeTransport(most=1))
    bench.transport.when_full = lambda _: bench.outbox.end(LOST)
    bench.outbox.put(numbered(0))
    bench.start().join()
    assert bench.transport.frames() == [b"0"], "the frame that was begun is finished"


@pytest.mark.parametrize("settled", [State.IDLE, State.LISTED])
@pytest.mark.parametrize("most", [1 << 30, 1])
def test_an_end_just_after_a_turn_was_settled_costs_no_permit(settled: State, most: int) -> None:
    """Whoever was made LISTED has a permit coming: the writer may not be gone when it comes."""
    bench = Bench(FakeTransport(most))
    settle = bench.outbox.settle
    calls: list[State] = []

    def settle_and_end() -> State:
        if not calls and settled is State.LISTED:
            bench.outbox.put(numbered(1))
        calls.append(settle())
        if len(calls) == 1:
            finish(start(lambda: bench.outbox.end(LOST)))
        return calls[-1]

    bench.outbox.settle = settle_and_end  # type: ignore[method-assign]
    bench.outbox.put(numbered(0))
    bench.start().join()
    assert calls == [settled, State.RUNNING]


def test_no_end_of_stream_is_sent_where_nothing_was() -> None:
    bench = Bench().start()
    bench.outbox.end(LOST)
    bench.join()
    assert bench.transport.finished == 0


# -- failures ------------------------------------------------------------------------------------------


def test_a_lost_connection_gives_its_permit_back() -> None:
    bench = Bench()

    def lose() -> None:
        raise LOST

    bench.transport.before_send = lose
    bench.outbox.put(numbered(0))
    bench.start().join()
    assert bench.failures == [LOST]


def test_an_error_in_the_code_is_logged_and_gives_its_permit_back(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def fail() -> None:
        raise ZeroDivisionError

    bench.transport.before_send = fail
    bench.outbox.put(numbered(0))
    with caplog.at_level(logging.ERROR):
        bench.start().join()
    assert [reason.code for reason in bench.failures] == [1011]
    assert "writer-7 failed" in caplog.text


def test_all_permits_come_back_however_writers_end() -> None:
    """Floods, closes, losses and failures at random; in the end nothing is listed and no permit gone."""
    dice = random.Random(7)
    with switching():
        turnstile = Turnstile(2)
        benches = [Bench(FakeTransport(dice.choice([1 << 30, 1, 7])), turnstile) for _ in range(60)]
        for bench in benches:
            bench.start()
        enders = [
            (bench, dice.choice([bench.outbox.end, bench.fail, None]), dice.randrange(20))
            for bench in benches
        ]

        def publish() -> None:
            for i in range(20):
                listed: list[Outbox] = []
                for bench in benches:
                    bench.outbox.offer(numbered(i), listed)
                turnstile.enter(listed)

        def end() -> None:
            for i in range(20):
                for bench, how, when in enders:
                    if i == when and how is not None:
                        how(LOST)
                    else:
                        bench.outbox.put(Ping())

        run_all([publish, publish, end])
        for bench, how, _ in enders:
            if how is None:
                bench.outbox.close(FlushingClose(1000))
        for bench in benches:
            finish(bench.writer.thread)
    assert free_permits(turnstile) == 2
    for bench, how, _ in enders:
        assert bench.ends == 1
        if how is None:
            sent = [payload for opcode, payload in split_frames(bytes(bench.transport.sent)) if opcode == 1]
            assert sorted(sent) == sorted(payloads(20) * 2)
