"""One connection from the upgrade to its end, on real sockets, with a fake clock."""

from __future__ import annotations

import gc
import logging
import queue
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wire.helpers import (
    ENVIRON,
    PATIENCE,
    Hand,
    Peer,
    Served,
    client_frame,
    close_frame,
    finish,
    free_permits,
    open_descriptors,
    reset,
    run_all,
    split_frames,
    start,
    switching,
    tcp_pair,
    text_frame,
    until,
)
from threadchat.errors import Cancelled, CloseCode, ConnectionClosed
from threadchat.wire.connection import DEFAULT_LIMITS, Connection, ConnectionState
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.pinger import Deadlines
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Ping, Text
from threadchat.wire.turnstile import Turnstile

TEXT, BINARY, CLOSE, PING, PONG = frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG


def a_text(text: str) -> Text:
    return Text(frames.encode(TEXT, text.encode()))


def echo(connection: Connection, messages: list[str | bytes]) -> None:
    for message in messages:
        connection.send(a_text(str(message)))


def a_close(code: int, reason: str | None = None) -> tuple[int, bytes]:
    """A Close as the peer sees it."""
    text = CloseCode.describe(code) if reason is None else reason
    return CLOSE, code.to_bytes(2, "big") + text.encode()


def offer(connection: Connection, text: Text) -> Answer:
    """Offers as a publisher does."""
    listed: list[Outbox] = []
    answer = connection.offer(text, listed)
    connection.line.enter(listed)
    return answer


def watch_reader(served: Served) -> Callable[[], None]:
    """What waits until the reader has gone back to waiting for the peer, once for each message sent."""
    waits: queue.Queue[None] = queue.Queue()
    receive = served.connection._transport.receive

    def tell() -> list[str | bytes]:
        waits.put(None)
        return receive()

    served.connection._transport.receive = tell  # type: ignore[method-assign]

    def wait() -> None:
        waits.get(timeout=PATIENCE)
        until(lambda: not served.connection.is_behind())

    return wait


def stall(served: Served) -> None:
    """Fills the way to a peer that does not read, until the connection's writer polls, BLOCKED."""
    blocked = threading.Event()
    wait_writable = served.connection._transport.wait_writable

    def tell(timeout: float) -> None:
        blocked.set()
        wait_writable(timeout)

    served.connection._transport.wait_writable = tell  # type: ignore[method-assign]
    assert offer(served.connection, Text(frames.encode(BINARY, bytes(1 << 20)))) is Answer.HIGH
    assert blocked.wait(PATIENCE)


def living_connections() -> int:
    """How many connections somebody still holds."""
    gc.collect()
    return sum(type(entry) is Connection for entry in gc.get_objects())


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds handlers back until set; never for longer than the test."""
    event = threading.Event()
    yield event
    event.set()


# -- reading and writing -------------------------------------------------------------------------------


def test_messages_come_in_and_replies_go_out() -> None:
    with Served(echo) as served:
        served.peer.send(text_frame("one"), text_frame("two"))
        assert [served.peer.frame() for _ in range(2)] == [(TEXT, b"one"), (TEXT, b"two")]
        served.peer.send(client_frame(BINARY, b"\0"))
        served.peer.frame()
        assert served.received == ["one", "two", b"\0"]


def test_two_threads_named_after_the_connection() -> None:
    names: list[str] = []
    with Served(lambda *_: names.append(threading.current_thread().name), number=17) as served:
        served.peer.send(text_frame("hi"), close_frame())
        served.join()
        assert (names, served.writer.name) == (["reader-17"], "writer-17")
        assert served.writer.daemon


def test_whoever_constructs_a_connection_keeps_its_name_until_it_reads() -> None:
    hand, before = Hand(), threading.current_thread().name
    ours, theirs = tcp_pair()
    with theirs:
        connection = Connection(1, ours, ENVIRON, turnstile=Turnstile(), pinger=hand.pinger)
        assert threading.current_thread().name == before
        assert connection.state == ConnectionState.CONNECTED
        connection.abort(1006)
        connection.end_reading()
        finish(connection._writer.thread)


def test_what_came_with_the_handshake_is_read() -> None:
    with Served(echo, trailing=text_frame("early")[:3]) as served:
        served.peer.send(text_frame("early")[3:])
        assert served.peer.frame() == (TEXT, b"early")


def test_messages_that_came_together_are_one_burst() -> None:
    bursts: list[list[str | bytes]] = []
    trailing = text_frame("one") + text_frame("two")
    with Served(lambda _, messages: bursts.append(messages), trailing=trailing) as served:
        served.peer.send(close_frame())
        served.join()
    assert bursts == [["one", "two"]]


def test_a_pong_leaves_before_the_answer_to_what_came_after_its_ping() -> None:
    with Served(echo, trailing=text_frame("one") + client_frame(PING, b"?") + text_frame("two")) as served:
        answers = [served.peer.frame() for _ in range(3)]
        assert answers[0] == (PONG, b"?")
        assert answers[1:] == [(TEXT, b"one"), (TEXT, b"two")]


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_ping_in_two_reads_is_answered_at_once(cut: int) -> None:
    ping = client_frame(PING, b"what")
    assert len(ping) == 10
    with Served(echo, trailing=ping[:cut]) as served:
        served.peer.send(ping[cut:])
        assert served.peer.frame() == (PONG, b"what")


@pytest.mark.parametrize(("pings", "answered"), [(1, 1), (16, 16), (17, 1), (4000, 1)])
def test_of_pings_that_pile_up_the_last_is_answered(pings: int, answered: int) -> None:
    trailing = b"".join(client_frame(PING, b"%d" % i) for i in range(pings)) + text_frame("hi")
    with Served(echo, trailing=trailing) as served:
        pongs = [(PONG, b"%d" % i) for i in range(pings - answered, pings)]
        assert [served.peer.frame() for _ in range(answered + 1)] == [*pongs, (TEXT, b"hi")]


def test_a_read_with_control_frames_is_told_of_with_their_number() -> None:
    ours, theirs = tcp_pair()
    told: list[int] = []
    with theirs:
        connection = Connection(1, ours, ENVIRON, turnstile=Turnstile(), pinger=Hand().pinger)
        peer = Peer(theirs)
        peer.send(client_frame(PING, b"1") + client_frame(PONG) + text_frame("hi") + client_frame(PING))
        for _ in connection.bursts(told.append):
            peer.close()
        connection.end_reading()
    assert told == [3]


def test_a_ping_overtakes_a_hundred_queued_texts_on_the_wire() -> None:
    turnstile = Turnstile(1)
    held = threading.Event()

    class Holder:
        def wake(self) -> bool:
            held.set()
            return True

    with Served(turnstile=turnstile) as served:
        holder = Holder()
        turnstile.enter((holder,))
        assert held.wait(PATIENCE)  # nobody writes now
        for i in range(100):
            offer(served.connection, a_text(str(i)))
        assert offer(served.connection, a_text("one too many")) is Answer.NO
        served.hand.advance(30)
        turnstile.leave(holder, again=False)
        assert served.peer.frame() == (PING, b"")
        assert [served.peer.frame() for _ in range(100)] == [(TEXT, b"%d" % i) for i in range(100)]


def test_a_ping_overtakes_what_waits_for_a_slow_peer() -> None:
    """The frame that was begun is finished; the ping is the next."""
    with Served(small=True, limits=DEFAULT_LIMITS._replace(ping_interval=5)) as served:
        stall(served)
        for i in range(99):
            offer(served.connection, a_text(str(i)))
        served.hand.advance(5)
        assert served.peer.frame() == (BINARY, bytes(1 << 20))
        assert served.peer.frame() == (PING, b"")
        assert [served.peer.frame() for _ in range(99)] == [(TEXT, b"%d" % i) for i in range(99)]


def test_every_byte_of_a_flood_arrives_through_the_smallest_buffers() -> None:
    with Served(small=True) as served:
        texts = [f"{i} " * 3000 for i in range(60)]

        def put() -> None:
            for text in texts:
                served.connection.outbox.put(a_text(text))

        producer = start(put)
        assert [served.peer.frame() for _ in texts] == [(TEXT, text.encode()) for text in texts]
        finish(producer)


# -- pings and silence ---------------------------------------------------------------------------------


def test_pings_come_at_their_interval_the_first_one_sooner() -> None:
    with Served(jitter=0.5) as served:
        for seconds in (15, 30, 30):
            assert served.hand.pinger.run_due() == seconds
            served.hand.advance(seconds)
            assert served.peer.frame() == (PING, b"")


def test_no_pong_is_3012() -> None:
    with Served() as served:
        served.hand.advance(119.9)
        assert served.connection.closed is None
        served.hand.advance(0.1)
        assert served.peer.rest()[-1] == a_close(3012)
        served.peer.close()
        assert served.join().code == 3012


@pytest.mark.parametrize("sign", [client_frame(PONG), text_frame("hi"), client_frame(PING)])
def test_any_sign_of_life_counts(sign: bytes) -> None:
    with Served() as served:
        back_in_receive = watch_reader(served)
        served.hand.advance(100)
        served.peer.send(sign)
        back_in_receive()
        served.hand.advance(119.9)
        assert served.connection.closed is None
        served.hand.advance(0.1)
        assert served.connection.closed is not None
        assert served.connection.closed.code == 3012


def test_silence_does_not_count_while_the_reader_is_busy(gate: threading.Event) -> None:
    entered = threading.Event()

    def handler(connection: Connection, messages: list[str | bytes]) -> None:
        entered.set()
        gate.wait(PATIENCE)

    with Served(handler) as served:
        back_in_receive = watch_reader(served)
        served.peer.send(text_frame("hi"))
        assert entered.wait(PATIENCE)
        for _ in range(10):
            served.hand.advance(120)
        assert served.connection.closed is None
        gate.set()
        back_in_receive()
        served.hand.advance(119.9)
        assert served.connection.closed is None
        served.hand.advance(0.1)
        assert served.connection.closed is not None


def no_pings_are_due(served: Served) -> bool:
    """Whether an hour of silence passes without a ping or an end."""
    served.hand.advance(3600)
    served.connection.send(served.connection.text("now"))
    return served.peer.frame() == (TEXT, b"now") and served.connection.closed is None


@pytest.mark.parametrize("never", [None, 0])
def test_without_an_interval_nobody_is_pinged_and_no_pong_is_missed(never: float | None) -> None:
    with Served(limits=DEFAULT_LIMITS._replace(ping_interval=never)) as served:
        assert no_pings_are_due(served)


@pytest.mark.parametrize("never", [None, 0])
def test_without_a_pong_timeout_silence_is_borne(never: float | None) -> None:
    with Served(limits=DEFAULT_LIMITS._replace(pong_timeout=never)) as served:
        for _ in range(10):
            served.hand.advance(30)
            assert served.peer.frame() == (PING, b"")
        assert served.connection.closed is None


def test_a_ping_of_ones_own_is_answered_with_its_round_trip_on_the_reader_thread() -> None:
    answers: queue.Queue[tuple[float, str]] = queue.Queue()
    with Served() as served:
        served.connection.ping(b"mine", lambda took: answers.put((took, threading.current_thread().name)))
        assert served.peer.frame() == (PING, b"mine")
        served.hand.clock.advance(1.5)
        served.peer.send(client_frame(PONG, b"mine"))
        assert answers.get(timeout=PATIENCE) == (1.5, "reader-7")


def test_pings_of_ones_own_and_the_pingers_do_not_disturb_each_other() -> None:
    """Neither stands in for the other, although all are unwritten; the pinger's pong answers none of ours."""
    turnstile, hand = Turnstile(), Hand()
    answers: queue.Queue[tuple[str, float]] = queue.Queue()
    ours, theirs = tcp_pair()
    connection = Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger, jitter=lambda: 0.0)
    hand.advance(0)  # the pinger's
    connection.ping(b"1", lambda took: answers.put(("1", took)))
    connection.ping(on_pong=lambda took: answers.put(("2", took)))
    connection.outbox.put(Ping())  # one too many for the pinger, as ever

    def read() -> None:
        assert list(connection.bursts()) == []
        connection.end_reading()

    reader = start(read)
    with theirs:
        peer = Peer(theirs)
        peer.response()
        pings = [peer.frame() for _ in range(3)]
        assert pings[:2] == [(PING, b""), (PING, b"1")]
        opcode, payload = pings[2]
        assert opcode == PING
        assert len(payload) == 4
        hand.clock.advance(1)
        peer.send(client_frame(PONG, b""), client_frame(PONG, b"1"))
        assert answers.get(timeout=PATIENCE) == ("1", 1)
        hand.clock.advance(1)
        peer.send(client_frame(PONG, payload))
        assert answers.get(timeout=PATIENCE) == ("2", 2)
        assert answers.empty()
        connection.close(1000)
        assert peer.rest() == [a_close(1000)]
    finish(reader, connection._writer.thread)


def test_a_ping_overtakes_text_and_needs_an_open_connection() -> None:
    with Served(small=True) as served:
        stall(served)
        for i in range(99):
            offer(served.connection, a_text(str(i)))
        served.connection.ping(b"mine")
        assert served.peer.frame() == (BINARY, bytes(1 << 20))
        assert served.peer.frame() == (PING, b"mine")
        served.connection.close(1001)
        with pytest.raises(ConnectionClosed, match="1001"):
            served.connection.ping()
        assert served.peer.rest()[-1] == a_close(1001)


# -- closing -------------------------------------------------------------------------------------------


def test_the_server_closes() -> None:
    with Served() as served:
        offer(served.connection, a_text("last words"))
        served.connection.close(3005)
        assert served.connection.state.name == "TO_BE_DISCONNECTED"
        assert served.peer.rest() == [(TEXT, b"last words"), a_close(3005)]
        finish(served.writer)
        served.peer.send(close_frame(3005))
        served.peer.close()
        assert served.join().code == 3005
        assert served.connection.state.name == "DISCONNECTED"
        assert served.ended_by == "reader-7"


def test_a_reason_of_ones_own() -> None:
    with Served() as served:
        served.connection.close(3503, "spam")
        assert served.peer.rest() == [a_close(3503, "spam")]


@pytest.mark.parametrize(
    ("sent", "answered", "code"),
    [
        (close_frame(1000, "bye"), a_close(1000, "bye"), 1000),
        (close_frame(4999), a_close(4999, ""), 4999),
        (close_frame(None), (CLOSE, b""), 1005),
    ],
)
def test_the_peer_closes_and_is_answered_alike_after_all_replies(
    sent: bytes, answered: tuple[int, bytes], code: int
) -> None:
    with Served(echo) as served:
        served.peer.send(text_frame("one"), text_frame("two"), sent)
        assert served.peer.rest() == [(TEXT, b"one"), (TEXT, b"two"), answered]
        assert served.join().code == code


def test_the_first_reason_wins() -> None:
    codes = [3000 + i for i in range(16)]
    with switching(1e-5), Served() as served:
        run_all([lambda code=code: served.connection.close(code, str(code)) for code in codes])  # type: ignore[misc]
        ends = served.peer.rest()
        served.peer.close()
        first = served.join()
    assert first.code in codes
    assert ends == [a_close(first.code, str(first.code))]


def test_both_close_at_once() -> None:
    with switching(1e-5):
        for _ in range(25):
            with Served() as served:
                run_all(
                    [
                        lambda: served.connection.close(1001, "server"),
                        lambda: served.peer.send(close_frame(1000, "peer")),
                    ]
                )
                (close,) = served.peer.rest()
                assert served.join().code in (1000, 1001)
                assert close in (a_close(1001, "server"), a_close(1000, "peer"))


def test_after_a_close_no_byte_follows() -> None:
    with switching(1e-5):
        for _ in range(10):
            with Served() as served:

                def flood(connection: Connection = served.connection) -> None:
                    for i in range(50):
                        offer(connection, a_text(str(i)))
                        connection.outbox.put(Ping())

                run_all([flood, flood, lambda: served.connection.close(1001)])
                assert offer(served.connection, a_text("late")) is Answer.GONE
                ends = served.peer.rest()
                assert ends[-1] == a_close(1001)
                assert [opcode for opcode, _ in ends].count(CLOSE) == 1


def test_nothing_that_comes_in_after_our_close_is_handed_on() -> None:
    with Served(echo) as served:
        served.connection.close(1001)
        served.peer.send(text_frame("late"), client_frame(PING), close_frame(1001))
        assert served.peer.rest() == [a_close(1001)]
        served.join()
        assert served.received == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (text_frame("hi", mask=None), 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"", declared=512_001), 1009),
    ],
)
def test_errors_of_the_peer_are_answered_and_it_may_hang_up(frame: bytes, code: int) -> None:
    with Served(echo) as served:
        served.peer.send(text_frame("before"), frame, text_frame("after"))
        text, (opcode, payload) = served.peer.rest()
        assert text == (TEXT, b"before")
        assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big"))
        served.peer.close()
        assert served.join().code == code


def test_a_peer_still_sending_gets_the_close_of_a_too_big_message() -> None:
    """What it sent in the meantime is read and dropped: unread, it would become a reset."""
    with Served() as served:
        served.peer.send(client_frame(BINARY, b"", declared=1 << 30))
        sender = start(lambda: served.peer.send(bytes(3_000_000)))
        ((opcode, payload),) = served.peer.rest()
        finish(sender)
        assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))


def test_a_handler_that_fails_ends_the_connection_with_1011() -> None:
    def handler(connection: Connection, messages: list[str | bytes]) -> None:
        raise ConnectionClosed(0, "stands for any exception")

    with Served(handler) as served:
        served.peer.send(text_frame("hi"))
        assert served.peer.rest() == [a_close(1011)]
        served.peer.close()
        assert served.join().code == 1011


def test_a_subscription_that_fell_behind_ends_it_with_3010() -> None:
    with Served() as served:
        served.connection.fall_behind()
        assert served.peer.rest() == [a_close(3010)]


# -- the end of the TCP connection, whatever the peer does -----------------------------------------------


def test_a_peer_that_does_not_answer_a_close() -> None:
    with Served() as served:
        served.connection.close(1001)
        assert served.peer.rest() == [a_close(1001)]
        served.hand.advance(1.9)
        assert served.thread.is_alive()
        served.hand.advance(0.1)
        assert served.join().code == 1001


def test_a_peer_that_does_not_read() -> None:
    with Served(small=True) as served:
        stall(served)
        served.connection.close(1001)
        served.hand.advance(2)
        assert served.join().code == 1001
        assert served.peer.drain(), "a reset: what the kernel held is gone"


def test_a_peer_that_closes_and_does_not_read() -> None:
    with Served(small=True) as served:
        stall(served)
        served.peer.send(close_frame(1000))
        finish(served.thread)
        assert served.writer.is_alive()
        served.hand.advance(2)
        assert served.join().code == 1000


def test_a_peer_that_never_stops_sending() -> None:
    with Served() as served:

        def send() -> None:
            try:
                while True:
                    served.peer.send(client_frame(PING, bytes(100)))
            except OSError:
                pass

        sender = start(send)
        served.connection.close(1001)
        finish(served.writer)
        served.hand.advance(2)
        assert served.join().code == 1001
        finish(sender)


def test_a_handler_that_hangs(gate: threading.Event) -> None:
    entered = threading.Event()

    def handler(connection: Connection, messages: list[str | bytes]) -> None:
        entered.set()
        gate.wait(PATIENCE)

    with Served(handler) as served:
        served.peer.send(text_frame("hi"))
        assert entered.wait(PATIENCE)
        served.connection.close(1001)
        assert served.peer.rest() == [a_close(1001)]
        served.hand.advance(2)
        finish(served.writer)
        gate.set()
        assert served.join().code == 1001


def test_an_abort_is_a_reset() -> None:
    with Served(small=True) as served:
        stall(served)
        served.connection.abort(3008)
        assert served.join().code == 3008
        assert served.peer.drain()


@pytest.mark.parametrize("how", ["reset", "end of stream"])
def test_a_peer_that_vanishes_is_1006(how: str) -> None:
    with Served() as served:
        reset(served.peer.socket) if how == "reset" else served.peer.close()
        assert served.join().code == 1006


def test_the_last_word_is_the_writers_where_it_ends_last() -> None:
    turnstile = Turnstile(1)

    class Holder:
        def wake(self) -> bool:
            return True

    with Served(turnstile=turnstile) as served:
        holder = Holder()
        while free_permits(turnstile) == 0:  # the writer of the handshake goes home
            pass
        turnstile.enter((holder,))
        served.peer.send(close_frame())
        finish(served.thread)
        descriptors = open_descriptors()
        turnstile.leave(holder, again=False)
        served.join()
        assert served.ended_by == "writer-7"
        assert open_descriptors() == descriptors - 1


# -- slow peers ----------------------------------------------------------------------------------------


def test_a_reply_that_the_peer_does_not_take_is_3008() -> None:
    waits = threading.Event()

    def handler(connection: Connection, messages: list[str | bytes]) -> None:
        connection.send(Text(bytes(1 << 20)))  # there is nothing else, so it has room
        wait = connection.outbox.not_full.wait

        def tell(timeout: float | None = None) -> bool:
            waits.set()
            return wait(PATIENCE)

        connection.outbox.not_full.wait = tell  # type: ignore[method-assign]
        connection.send(a_text("a reply"))

    with Served(handler, small=True, limits=DEFAULT_LIMITS._replace(write_timeout=1e6)) as served:
        stall(served)
        served.peer.send(text_frame("hi"))
        assert waits.wait(PATIENCE)
        while served.thread.is_alive():  # the kernel may have found room for some more bytes yet
            served.hand.clock.advance(0.5)  # a leap would count as a stop of this process
            served.connection.nudge()
            served.thread.join(0.02)
        reason = served.join()
        assert (reason.code, reason.reason) == (3008, "the peer took no byte for 3 s")
        assert isinstance(served.failure, ConnectionClosed)
        assert served.failure.code == 3008
        assert served.peer.drain()


def test_a_take_that_the_peer_does_not_accept_whole_is_3009() -> None:
    with Served(small=True) as served:
        stall(served)
        served.hand.clock.advance(10)
        served.peer.socket.recv(100_000)  # a little, so that the writer looks
        assert served.join().code == 3009
        assert served.peer.drain()


def test_a_fed_event_waits_for_half_an_outbox_and_can_be_called_off() -> None:
    with Served(small=True) as served:
        stall(served)
        for i in range(50):
            served.connection.feed(a_text(str(i)), lambda: False)
        cancelled = threading.Event()
        outcome: list[BaseException] = []

        def feed() -> None:
            try:
                served.connection.feed(a_text("too much"), cancelled.is_set)
            except Cancelled as error:
                outcome.append(error)

        feeder = start(feed)
        cancelled.set()
        served.connection.nudge()
        finish(feeder)
        assert outcome
        assert served.connection.outbox.qsize() == 50


# -- messages of a server ------------------------------------------------------------------------------


def test_a_message_is_encoded_once_for_many_connections() -> None:
    with Served() as one, Served() as other:
        text, binary = one.connection.text("grüße"), one.connection.binary(b"\0\1")
        for served in (one, other):
            served.connection.send(text)
            served.connection.send(binary)
            frames_ = [served.peer.frame() for _ in range(2)]
            assert frames_ == [(TEXT, "grüße".encode()), (BINARY, b"\0\1")]


def test_half_a_character_cannot_be_sent() -> None:
    with Served() as served, pytest.raises(ValueError, match="surrogates not allowed"):
        served.connection.text("\ud800")


def test_a_subprotocol_is_agreed_on() -> None:
    environ = {**ENVIRON, "HTTP_SEC_WEBSOCKET_PROTOCOL": "old, chat"}
    with Served(environ=environ, subprotocols=["chat"]) as served:
        assert served.connection.subprotocol == "chat"
    with Served() as served:
        assert served.connection.subprotocol is None


# -- odds and ends -------------------------------------------------------------------------------------


def test_a_state_is_never_left_for_an_earlier_one() -> None:
    with Served() as served:
        connection = served.connection
        connection.advance(ConnectionState.IN_CHAT)
        connection.advance(ConnectionState.CONNECTED)
        assert connection.state.name == "IN_CHAT"
        connection.close(1001)
        connection.advance(ConnectionState.IN_CHAT)
        assert connection.state.name == "TO_BE_DISCONNECTED"


def test_a_connection_shows_what_it_does() -> None:
    with Served(number=17) as served:
        served.connection.label = "ann"
        served.connection.advance(ConnectionState.IN_CHAT)
        assert repr(served.connection) == "<Connection 17 ann IN_CHAT outbox=0/100>"


def test_the_end_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "threadchat.wire.connection"), Served(number=17) as served:
        served.connection.label = "ann"
        served.connection.abort(3008, "slow")
        served.join()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "connection 17 (ann) closed: 3008 slow")
    ]


def test_the_words_of_a_peer_are_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "threadchat.wire.connection"), Served(number=17) as served:
        served.connection.abort(4000, "x\n2026-01-01 INFO connection 18 (root) closed: 1000")
        served.join()
    assert caplog.records[0].message.splitlines() == [caplog.records[0].message]


def test_a_bad_handshake_leaves_the_socket_to_the_caller() -> None:
    ours, theirs = tcp_pair()
    turnstile, hand = Turnstile(), Hand()
    with ours, theirs:
        with pytest.raises(ConnectionClosed):
            Connection(1, ours, {**ENVIRON, "HTTP_UPGRADE": ""}, turnstile=turnstile, pinger=hand.pinger)
        assert ours.fileno() >= 0
        assert free_permits(turnstile) == turnstile.permits


@pytest.mark.parametrize("thread", ["writer-1", "pinger"])
def test_where_no_thread_can_be_started_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    """The handshake's response waits in the outbox by then, and must not have entered the line."""
    turnstile, hand, before = Turnstile(), Hand(), living_connections()
    if thread == "pinger":
        hand.pinger._stopped = False
    begin = threading.Thread.start

    def run_out(self: threading.Thread) -> None:
        if self.name == thread:
            raise RuntimeError("can't start new thread")
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", run_out)
    monkeypatch.setattr(threading.current_thread(), "_name", "MainThread")
    ours, theirs = tcp_pair()
    with ours, theirs:
        with pytest.raises(RuntimeError, match="can't start"):
            Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger)
        assert free_permits(turnstile) == turnstile.permits
        assert ours.fileno() >= 0
        assert living_connections() == before
        hand.advance(1000)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_the_writer_starts_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Ctrl-C in `Thread.start`: before the thread is there, or while it is waited for."""
    turnstile, hand, before = Turnstile(), Hand(), living_connections()
    begin, writers = threading.Thread.start, []

    def interrupted(self: threading.Thread) -> None:
        writers.append(self)
        if begun:
            begin(self)
        raise KeyboardInterrupt

    ours, theirs = tcp_pair()
    with ours, theirs:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger)
        if not begun:  # the system was about to
            writers[0].start()
        finish(*writers)
        writers.clear()
        assert free_permits(turnstile) == turnstile.permits
        assert ours.fileno() >= 0
        assert living_connections() == before
        hand.advance(1000)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_an_interrupted_close_is_done_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with Served() as served:
        with monkeypatch.context() as patch:
            patch.setattr(served.connection.outbox, "close", interrupted)
            with pytest.raises(KeyboardInterrupt):
                served.connection.close(4000, "first")
        served.connection.close(4001, "second")
        assert served.peer.frame() == (frames.CLOSE, b"\x0f\xa0first")


def test_the_dead_are_not_kept_alive_by_a_far_deadline() -> None:
    served = Served()
    served.connection.deadlines.set("age", 12 * 3600, lambda: None)
    served.connection.close(1000)
    served.peer.close()
    served.join()
    remains: list[weakref.ref[Any]] = [weakref.ref(served.connection), weakref.ref(served.connection.outbox)]
    del served.connection
    gc.collect()
    assert [remain() for remain in remains] == [None, None]


def test_a_connection_has_one_entry_on_the_heap() -> None:
    hand = Hand()
    with Served(hand=hand) as served:
        assert isinstance(served.connection.deadlines, Deadlines)
        for _ in range(3):
            hand.advance(30)
            served.peer.frame()
            assert len(hand.pinger._heap) == 1


# -- many ----------------------------------------------------------------------------------------------


def test_200_connects_and_disconnects_leave_threads_and_descriptors_where_they_were() -> None:
    hand, turnstile = Hand(), Turnstile()
    threads, descriptors = threading.active_count(), open_descriptors()

    def end(served: Served, how: int) -> None:
        if how == 0:
            served.connection.close(1001)
            served.peer.rest()
            served.peer.close()
        elif how == 1:
            served.peer.send(close_frame())
            served.peer.rest()
            served.peer.close()
        elif how == 2:
            reset(served.peer.socket)
        elif how == 3:
            served.peer.close()
        else:
            served.connection.abort(3503)
        served.join()
        served.peer.close()

    for i in range(200):
        end(Served(hand=hand, turnstile=turnstile), i % 5)
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors
    assert free_permits(turnstile) == turnstile.permits


def test_resets_in_the_middle_of_a_flood_cost_no_permit_and_nobody_else_a_message() -> None:
    """A publisher paced by tickets, forty healthy members, twenty that leave by RST on the way."""
    events = [a_text(f"event {i}") for i in range(300)]
    turnstile, hand = Turnstile(), Hand()
    doomed = [Served(hand=hand, turnstile=turnstile, small=bool(i % 2)) for i in range(20)]
    healthy = [Served(hand=hand, turnstile=turnstile) for _ in range(40)]
    everybody = [*healthy, *doomed]
    refused: set[Served] = set()
    answers: dict[Served, list[tuple[int, bytes]]] = {}

    def publish() -> None:
        for event in events:
            listed: list[Outbox] = []
            high = False
            for served in everybody:
                answer = served.connection.offer(event, listed)
                high = high or answer is Answer.HIGH
                if answer is Answer.NO:
                    refused.add(served)
            turnstile.enter(listed)
            if high:
                turnstile.ticket().wait(PATIENCE)

    def leave(served: Served, after: int) -> None:
        for _ in range(after):
            served.peer.frame()
        reset(served.peer.socket)

    readers = [
        start(lambda served=served: answers.update({served: served.peer.rest()}))  # type: ignore[misc]
        for served in healthy
    ]
    leavers = [start(lambda s=served, n=5 * i: leave(s, n)) for i, served in enumerate(doomed)]  # type: ignore[misc]
    with switching(1e-4):
        publish()
    finish(*leavers)
    for served in doomed:
        finish(served.thread, served.writer)
        assert served.connection.closed is not None
        assert served.connection.closed.code == 1006
    for served in healthy:
        served.connection.close(1001)
    finish(*readers)
    for served in healthy:
        served.peer.close()
        finish(served.thread, served.writer)
    assert refused.isdisjoint(healthy)
    expected = [*split_frames(b"".join(event.frame for event in events)), a_close(1001)]
    assert all(answers[served] == expected for served in healthy)
    assert free_permits(turnstile) == turnstile.permits
    assert all(served.gone == 1 for served in everybody)


def test_limits_come_from_outside() -> None:
    limits = DEFAULT_LIMITS._replace(outbox_messages=10, ping_interval=5, pong_timeout=12, max_message_size=8)
    with Served(limits=limits) as served:
        assert served.connection.outbox.maxsize == 10
        served.hand.advance(5)
        assert served.peer.frame() == (PING, b"")
        served.peer.send(text_frame("x" * 9))
        assert Peer.rest(served.peer)[-1][1][:2] == (1009).to_bytes(2, "big")


# -- opening -------------------------------------------------------------------------------------------


def test_nothing_leaves_before_it_is_opened_and_the_handshake_leaves_first() -> None:
    turnstile, hand = Turnstile(), Hand()
    ours, theirs = tcp_pair()
    with theirs:
        connection = Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger, jitter=lambda: 0.0)
        hand.advance(0)  # a ping is due at once
        assert offer(connection, a_text("from a room")) is Answer.YES
        connection.send(a_text("a greeting"))
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        theirs.setblocking(True)
        connection.open()
        peer = Peer(theirs)
        assert b" 101 " in peer.response()
        assert [peer.frame() for _ in range(3)] == [
            (frames.PING, b""),
            (frames.TEXT, b"from a room"),
            (frames.TEXT, b"a greeting"),
        ]
        connection.abort(1006)
        connection.end_reading()
        connection._writer.thread.join(PATIENCE)
    assert free_permits(turnstile) == turnstile.permits


def test_one_that_is_lost_before_it_is_opened_ends_all_the_same() -> None:
    turnstile, hand = Turnstile(), Hand()
    ours, theirs = tcp_pair()
    with theirs:
        connection = Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger)
        connection.abort(1006)
        connection.end_reading()
        connection._writer.thread.join(PATIENCE)
        assert not connection._writer.thread.is_alive()
    assert ours.fileno() == -1
    assert free_permits(turnstile) == turnstile.permits


def test_a_close_before_it_is_opened_follows_the_handshake() -> None:
    turnstile, hand = Turnstile(), Hand()
    ours, theirs = tcp_pair()
    with theirs:
        connection = Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger)
        connection.close(3001)
        peer = Peer(theirs)
        reader = start(connection.end_reading)
        assert b" 101 " in peer.response()
        opcode, payload = peer.frame()
        assert (opcode, payload[:2]) == (frames.CLOSE, (3001).to_bytes(2, "big"))
        theirs.close()
        finish(reader)
        connection._writer.thread.join(PATIENCE)
    assert free_permits(turnstile) == turnstile.permits


def test_an_end_of_stream_after_our_close_leaves_the_close_to_be_sent() -> None:
    """As when a drain ends the reading of one that is just being connected."""
    turnstile, hand = Turnstile(), Hand()
    ours, theirs = tcp_pair()
    with theirs:
        connection = Connection(1, ours, ENVIRON, turnstile=turnstile, pinger=hand.pinger)
        connection.close(3001)
        ours.shutdown(socket.SHUT_RD)
        assert list(connection.bursts()) == []
        connection.end_reading()
        peer = Peer(theirs)
        assert b" 101 " in peer.response()
        opcode, payload = peer.frame()
        assert (opcode, payload[:2]) == (frames.CLOSE, (3001).to_bytes(2, "big"))
        connection._writer.thread.join(PATIENCE)
    assert free_permits(turnstile) == turnstile.permits
