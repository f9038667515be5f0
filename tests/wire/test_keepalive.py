"""Pings of a connection's own: when they come, what their pongs tell, and who counts as silent."""

from __future__ import annotations

from typing import Any

from tests.wire.helpers import Hand, RecordingLine
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.keepalive import Keepalive
from threadchat.wire.limits import DEFAULT_LIMITS
from threadchat.wire.outbox import Outbox
from threadchat.wire.pinger import Deadlines
from threadchat.wire.protocol import frames


class Kept:
    """A keepalive whose time the test lets pass."""

    def __init__(self, share: float = 1.0, **limits: float | None) -> None:
        self.hand = Hand()
        clock = self.hand.clock
        self.outbox = Outbox(RecordingLine(), clock=clock)
        self.counters = ConnectionCounters()
        self.deadlines = Deadlines(self.hand.pinger)
        self.keepalive = Keepalive(self.deadlines, self.outbox, frames.encode, self.counters, clock)
        self.keepalive.reading_since = clock()
        self.silences = 0
        self.behind = False
        given: Any = DEFAULT_LIMITS._replace(**limits)  # type: ignore[arg-type]
        self.keepalive.start(given, share, self._silent, lambda: self.behind)

    def _silent(self) -> None:
        self.silences += 1

    def advance(self, seconds: float) -> bytes:
        """What is to be written after so many seconds."""
        self.hand.advance(seconds)
        return self.outbox.take()


PING = frames.encode(frames.PING, b"")


def test_the_first_ping_comes_after_its_share_of_the_interval() -> None:
    kept = Kept(share=0.5)
    assert [kept.advance(14.9), kept.advance(0.1), kept.advance(29.9), kept.advance(0.1)] == [
        b"",
        PING,
        b"",
        PING,
    ]


def test_a_pong_tells_the_round_trip() -> None:
    kept = Kept()
    assert kept.counters.round_trip is None
    kept.advance(30)
    kept.hand.clock.advance(0.25)
    kept.keepalive.answered()
    assert kept.counters.round_trip == 0.25


def test_a_ping_that_stays_unanswered_is_measured_from_the_first() -> None:
    """Its pong may be that of any of them; to take it for the last one's would be flattery."""
    kept = Kept()
    kept.advance(30)
    kept.advance(30)
    kept.hand.clock.advance(1)
    kept.keepalive.answered()
    assert kept.counters.round_trip == 31
    kept.keepalive.answered()
    assert kept.counters.round_trip == 31, "the second pong has no ping of its own to measure"


def test_a_pong_that_nobody_asked_for_measures_nothing() -> None:
    kept = Kept()
    kept.keepalive.answered()
    assert kept.counters.round_trip is None


def test_silence_is_told_when_it_lasts() -> None:
    kept = Kept()
    kept.advance(60)
    kept.keepalive.reading_since = kept.hand.clock()
    kept.advance(119)
    assert kept.silences == 0
    kept.advance(1)
    assert kept.silences == 1


def test_nobody_is_silent_while_the_reader_does_not_listen() -> None:
    kept = Kept()
    kept.keepalive.reading_since = None
    for _ in range(10):
        kept.advance(120)
    assert kept.silences == 0


def test_without_an_interval_nothing_is_ever_due() -> None:
    assert Kept(ping_interval=None).hand.pinger.run_due() is None


def test_closed_deadlines_are_the_end_of_it() -> None:
    kept = Kept()
    kept.deadlines.close()
    assert kept.advance(1000) == b""
    assert kept.silences == 0


def test_time_in_which_the_process_was_stopped_is_nobodys_silence() -> None:
    """Both deadlines are over when it goes on: first comes the ping, and then the time for a pong."""
    kept = Kept()
    assert kept.advance(30) == PING
    kept.hand.clock.advance(1000)
    kept.hand.pinger.resumed_at = kept.hand.clock()
    assert kept.advance(0) == PING
    kept.advance(119)
    assert kept.silences == 0
    kept.advance(1)
    assert kept.silences == 1


def test_nobody_is_silent_who_was_not_pinged() -> None:
    kept = Kept()
    kept.deadlines.clear("ping")
    kept.advance(120)
    assert kept.silences == 0


def test_a_peer_is_not_silent_while_the_ping_waits_for_the_end_of_a_large_message() -> None:
    kept = Kept(ping_interval=20, pong_timeout=40)
    kept.outbox.block()
    for _ in range(5):
        kept.hand.advance(20)  # the writer is in the middle of a frame, and the socket takes it slowly
        assert kept.silences == 0
    assert kept.outbox.take() == PING
    for _ in range(3):
        kept.advance(13)
        assert kept.silences == 0, "its time counts from when the ping left"
    kept.advance(21)
    assert kept.silences == 1


def test_silence_counts_from_the_first_ping_that_left() -> None:
    kept = Kept(ping_interval=30, pong_timeout=120)
    for _ in range(3):
        assert kept.advance(30) == PING
    assert kept.silences == 0
    kept.advance(30)
    assert kept.silences == 1


def test_pings_that_are_not_answered_until_the_next_are_counted() -> None:
    kept = Kept()
    assert kept.keepalive.asked_at is None
    kept.advance(30)
    assert (kept.counters.pings_unanswered, kept.keepalive.asked_at) == (0, kept.hand.clock())
    kept.advance(30)
    kept.advance(30)
    assert (kept.counters.pings_unanswered, kept.keepalive.asked_at) == (2, kept.hand.clock() - 60)
    kept.keepalive.answered()
    assert kept.keepalive.asked_at is None
    kept.advance(30)
    assert kept.counters.pings_unanswered == 2


def test_a_pong_that_waits_for_its_reader_is_no_silence() -> None:
    kept = Kept()
    kept.behind = True
    kept.advance(120)
    assert kept.silences == 0
    kept.advance(1)
    kept.keepalive.answered()  # now the reader had a turn
    kept.keepalive.reading_since = kept.hand.clock()
    kept.behind = False
    kept.advance(118)
    assert kept.silences == 0


def test_a_reader_that_is_behind_all_the_time_is_waited_for_once_more() -> None:
    kept = Kept()
    kept.behind = True
    kept.advance(239)
    assert kept.silences == 0
    kept.advance(120)
    assert kept.silences == 1
