"""How a subscription of `chat/delivery/subscription.py` catches up, goes live, falls behind and stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.chat.helpers import (
    MARKER,
    PATIENCE,
    REPLY,
    Peer,
    RecordingSink,
    Watched,
    frames_of,
    ids_of,
    join,
    producers,
    put,
    run,
    say,
)
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.delivery.subscription import REPLAY_BYTES, REPLAY_STEP, Filter, Subscription
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Position, Record
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.room import Room
from threadchat.errors import ConnectionClosed, SlowConsumer
from threadchat.wire.outbox import Answer, State
from threadchat.wire.turnstile import Turnstile

LIVE = "live"


def tell(items: Sequence[Record]) -> list[Any]:
    """An encoding that keeps what kind of event it was."""
    return [item.event.type for item in items]


class Scene:
    """A room's inside, with events in its log."""

    def __init__(self, events: int = 0, history_size: int = 1024) -> None:
        self.fanout = Fanout("r", history_size)
        self.channel = Sequencer("r")
        self.channel.attach(self.fanout)
        if events:
            self.say(*["x"] * events)

    def say(self, *texts: str, user: int | str = "ann") -> None:
        put(self.channel, *say(*texts, user=user))

    def at(self, offset: int) -> Position:
        return Position(offset, self.channel.epoch)

    def subscribe(
        self, sink: Any, since: int | None = None, encode: Any = ids_of, **more: Any
    ) -> Subscription:
        position = None if since is None else self.at(since)
        return self.fanout.subscribe(sink, encode, since=position, name="sub", **more)


def end_of_producer() -> None:
    """Blocks until no producer of these tests runs."""
    join(producers("sub"))


# -- the beginning -----------------------------------------------------------------------------------


def test_nothing_reaches_a_sink_before_start() -> None:
    scene, sink = Scene(events=3), RecordingSink()
    subscription = scene.subscribe(sink, since=0)
    scene.say("a")
    assert sink.got == []
    assert not subscription.live
    subscription.start()
    sink.wait_for(lambda sink: sink.got == [1, 2, 3, 4])


def test_level_at_the_start_it_goes_live_without_a_thread() -> None:
    scene, sink = Scene(events=3), RecordingSink()
    subscription = scene.subscribe(sink)
    subscription.start()
    assert subscription.live
    assert producers("sub") == []
    scene.say("a")
    assert sink.got == [4]
    assert not sink.feeding.acquire(blocking=False)


def test_behind_at_the_start_a_producer_catches_up_and_ends() -> None:
    scene, sink = Scene(events=100), RecordingSink()
    sink.has_room = False
    subscription = scene.subscribe(sink, since=10)
    subscription.start()
    assert sink.feeding.acquire(timeout=PATIENCE)
    (thread,) = producers("sub")
    assert thread.daemon
    assert "catching up from 10" in repr(subscription)
    sink.set(has_room=True)
    join([thread])
    assert sink.got == list(range(11, 101))
    assert subscription.live
    assert "live" in repr(subscription)
    scene.say("a")
    assert sink.got[-1] == 101


def test_a_reply_that_was_put_before_start_precedes_every_event() -> None:
    scene, line = Scene(), Turnstile()
    peer = Peer(line)
    subscription = scene.subscribe(peer, encode=frames_of)
    scene.say("a")
    peer.outbox.put(REPLY)
    scene.say("b")
    subscription.start()
    scene.say("c")
    got = peer.wait_for(lambda items: items and items[-1].get("id") == 3)
    assert [item.get("id", item["type"]) for item in got] == ["ok", 1, 2, 3]
    peer.hang_up()


@pytest.mark.parametrize(
    ("since", "recovered", "expected"),
    [
        (None, None, [21]),
        (20, True, [21]),
        (15, True, [16, 17, 18, 19, 20, 21]),
        (10, True, list(range(11, 22))),
        (9, False, [21]),  # a hole
        (0, False, [21]),
        (-1, False, [21]),
        (21, False, [21]),  # the future
    ],
)
def test_recovered(since: int | None, recovered: bool | None, expected: list[int]) -> None:
    scene, sink = Scene(events=20, history_size=10), RecordingSink()
    subscription = scene.subscribe(sink, since=since)
    assert subscription.recovered is recovered
    assert subscription.origin == scene.at(since if recovered and since is not None else 20)
    subscription.start()
    end_of_producer()
    scene.say("a")
    sink.wait_for(lambda sink: sink.got == expected)


def test_another_epoch_is_not_recovered() -> None:
    scene, sink = Scene(events=20), RecordingSink()
    subscription = scene.fanout.subscribe(sink, ids_of, since=Position(20, "other"))
    assert subscription.recovered is False
    subscription.start()
    scene.say("a")
    assert sink.got == [21]


def test_an_empty_room_is_recovered_from_0() -> None:
    assert Scene().subscribe(RecordingSink(), since=0).recovered is True


# -- the marker --------------------------------------------------------------------------------------


def test_the_marker_comes_at_once_where_there_is_nothing_to_replay() -> None:
    scene, sink = Scene(events=5), RecordingSink()
    scene.subscribe(sink, marker=[LIVE]).start()
    scene.say("a")
    assert sink.got == [LIVE, 6]


def test_the_marker_follows_the_replay_once() -> None:
    scene, sink = Scene(events=40), RecordingSink()
    subscription = scene.subscribe(sink, since=0, marker=[LIVE])
    subscription.start()
    end_of_producer()
    scene.say("a")
    expected = [*range(1, 41), LIVE, 41]
    assert sink.got == expected
    sink.answer = Answer.NO  # being demoted later brings no second one
    scene.say("b")
    sink.wait_for(lambda sink: sink.got == [*expected, 42])
    end_of_producer()
    assert subscription.live


@pytest.mark.parametrize("events", [0, 5])
def test_a_marker_that_has_no_room_is_fed(events: int) -> None:
    """Level, but the outbox is full; what is said meanwhile comes after the marker."""
    scene, sink = Scene(events=events), RecordingSink(Answer.NO)
    subscription = scene.subscribe(sink, since=0, marker=[LIVE])
    sink.has_room = events > 0
    subscription.start()
    if events:
        sink.wait_for(lambda sink: len(sink.got) >= events)
        end_of_producer()
        assert sink.got == [*range(1, events + 1), LIVE]
        return
    assert sink.feeding.acquire(timeout=PATIENCE)
    scene.say("a", "b")
    assert sink.got == []
    sink.set(has_room=True)
    end_of_producer()
    assert sink.got == [LIVE, 1, 2]
    assert subscription.live


def test_a_marker_that_is_fed_to_a_closed_connection() -> None:
    scene, sink = Scene(), RecordingSink(Answer.NO)
    sink.failure = ConnectionClosed(1001)
    subscription = scene.subscribe(sink, marker=[LIVE])
    sink.has_room = False
    subscription.start()
    end_of_producer()
    assert subscription.stopped
    assert sink.got == []


def test_the_marker_is_the_last_thing_before_live_events_of_a_real_outbox() -> None:
    scene, peer = Scene(events=300), Peer(Turnstile())
    scene.subscribe(peer, since=0, encode=frames_of, marker=MARKER).start()
    peer.wait_for(lambda items: items and items[-1]["type"] == LIVE)
    scene.say("a")
    got = peer.wait_for(lambda items: items and items[-1].get("id") == 301)
    assert [item.get("id", LIVE) for item in got] == [*range(1, 301), LIVE, 301]
    peer.hang_up()


# -- catching up -------------------------------------------------------------------------------------


def test_a_producer_puts_few_events_at_a_time() -> None:
    scene, sink, sizes = Scene(events=100), RecordingSink(), []

    def encode(items: Sequence[Record]) -> list[int]:
        sizes.append(len(items))
        return ids_of(items)

    scene.subscribe(sink, since=0, encode=encode).start()
    end_of_producer()
    assert sink.got == list(range(1, 101))
    assert max(sizes) == REPLAY_STEP


def test_a_producer_puts_few_bytes_at_a_time() -> None:
    """A put is written whole or the connection dies: large events would not leave within the timeout."""
    scene, sink, sizes = Scene(), RecordingSink(), []
    scene.say(*["x" * (REPLAY_BYTES // 3)] * 20, "y" * REPLAY_BYTES * 2, "z")

    def encode(items: Sequence[Record]) -> list[int]:
        sizes.append(sum(len(item.json) for item in items))
        return ids_of(items)

    scene.subscribe(sink, since=0, encode=encode).start()
    end_of_producer()
    assert sink.got == list(range(1, 23))
    assert [size for size in sizes if size > REPLAY_BYTES] == [max(sizes)]


def test_one_that_was_demoted_catches_up_by_a_thread_that_ends_when_level() -> None:
    scene, sink = Scene(), RecordingSink()
    subscription = scene.subscribe(sink)
    subscription.start()
    scene.say("a")
    sink.answer = Answer.NO
    sink.has_room = False
    scene.say("b", "c")
    assert sink.feeding.acquire(timeout=PATIENCE)
    (thread,) = producers("sub")
    scene.say(*["x"] * 50)
    assert producers("sub") == [thread]
    sink.answer = Answer.YES
    sink.set(has_room=True)
    join([thread])
    assert sink.got == list(range(1, 54))
    assert subscription.live


def test_it_may_be_demoted_again_and_again() -> None:
    scene, sink = Scene(), RecordingSink()
    scene.subscribe(sink).start()
    for number in range(50):
        sink.answer = Answer.NO if number % 2 else Answer.YES
        scene.say("a", "b", "c")
    end_of_producer()
    assert sink.got == list(range(1, 151))


def test_a_real_outbox_that_was_full_gets_everything() -> None:
    scene, peer = Scene(), Peer(Turnstile(), reads=False, max_messages=10)
    subscription = scene.subscribe(peer, encode=frames_of)
    subscription.start()
    scene.say("first")
    assert peer.blocked.wait(PATIENCE)
    for _ in range(50):
        scene.say("x")
    assert not subscription.live
    assert peer.outbox.state is State.BLOCKED
    peer.read()
    assert peer.offsets_up_to(51) == list(range(1, 52))
    end_of_producer()
    assert subscription.live
    peer.hang_up()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(types=["message"]), [1, 3, 4, 6, 7, 9]),
        (Filter(users=["bob"]), [2, 3, 5, 6, 8, 9]),
        (Filter(types=["message"], users=["bob"]), [3, 6, 9]),
        (Filter(types=[]), []),
        (Filter(types=["join", "message"], users=["ann", "bob"]), list(range(1, 10))),
    ],
)
def test_filters_while_catching_up_and_live(wanted: Filter, expected: list[int]) -> None:
    scene, sink = Scene(), RecordingSink()

    def happen() -> None:
        put(scene.channel, *say("a"), Draft("join", "bob"), *say("b", user="bob"))

    happen()
    sink.has_room = False
    subscription = scene.subscribe(sink, since=0, wanted=wanted, marker=[LIVE])
    subscription.start()
    if expected:
        assert sink.feeding.acquire(timeout=PATIENCE)
    happen()
    sink.set(has_room=True)
    end_of_producer()
    assert subscription.live
    happen()
    end_of_producer()
    assert [item for item in sink.got if item != LIVE] == expected
    assert sink.got.count(LIVE) == 1  # type: ignore[arg-type]
    scene.fanout.close()
    scene.channel.close()
    assert sink.got[-1] == 10, "a room's end is for everybody"


def test_filters_do_not_mistake_users() -> None:
    scene, sink = Scene(), RecordingSink()
    scene.subscribe(sink, wanted=Filter(users=[1])).start()
    scene.say("a", user="1")
    scene.say("b", user=1)
    assert sink.got == [2]


# -- out of reach ------------------------------------------------------------------------------------


def test_a_log_that_no_longer_reaches_back_ends_the_subscription() -> None:
    scene, sink = Scene(history_size=10), RecordingSink()
    subscription = scene.subscribe(sink)
    subscription.start()
    scene.say("a")
    sink.answer = Answer.NO
    sink.has_room = False
    scene.say("b")
    assert sink.feeding.acquire(timeout=PATIENCE)
    scene.say(*["x"] * 11)
    sink.set(has_room=True)
    end_of_producer()
    assert sink.got == [1, 2], "no part of what comes after the hole"
    assert sink.fell_behind == 1
    assert subscription.stopped
    scene.say("c")
    assert sink.got == [1, 2]


def test_one_that_starts_too_late_falls_behind() -> None:
    scene, sink = Scene(history_size=10), RecordingSink()
    subscription = scene.subscribe(sink, marker=[LIVE])
    scene.say(*["x"] * 11)
    subscription.start()
    assert (sink.got, sink.fell_behind) == ([], 1)
    assert subscription.stopped


# -- stop --------------------------------------------------------------------------------------------


def test_nothing_follows_a_stop_while_live() -> None:
    scene, sink = Scene(), RecordingSink()
    subscription = scene.subscribe(sink)
    subscription.start()
    scene.say("a")
    subscription.stop()
    scene.say("b")
    assert sink.got == [1]
    assert subscription.is_stopped()
    assert "stopped" in repr(subscription)


def test_nothing_follows_a_stop_while_a_producer_waits() -> None:
    scene, sink = Scene(events=5), RecordingSink()
    sink.has_room = False
    subscription = scene.subscribe(sink, since=0, marker=[LIVE])
    subscription.start()
    assert sink.feeding.acquire(timeout=PATIENCE)
    subscription.stop()
    sink.set(has_room=True)
    end_of_producer()
    assert (sink.got, sink.fell_behind) == ([], 0)


def test_nothing_follows_a_stop_while_a_producer_waits_at_a_full_outbox() -> None:
    scene, peer = Scene(events=50), Peer(Turnstile(), reads=False, max_messages=10)
    peer.outbox.put(MARKER)
    assert peer.blocked.wait(PATIENCE)
    subscription = scene.subscribe(peer, since=0, encode=frames_of)
    condition = peer.outbox.not_full = Watched(peer.outbox.mutex)
    subscription.start()
    assert condition.waiting.acquire(timeout=PATIENCE)
    assert peer.outbox.qsize() == REPLAY_STEP
    subscription.stop()
    peer.read()
    end_of_producer()
    peer.outbox.put(REPLY)
    got = peer.wait_for(lambda items: items and items[-1]["type"] == "ok")
    assert [item.get("id") for item in got] == [None, *range(1, REPLAY_STEP + 1), None]
    peer.hang_up()


@pytest.mark.parametrize("since", [None, 0])
def test_a_stop_before_the_start_and_a_second_stop(since: int | None) -> None:
    scene, sink = Scene(events=5), RecordingSink()
    subscription = scene.subscribe(sink, since=since, marker=[LIVE])
    subscription.stop()
    subscription.stop()
    subscription.start()
    scene.say("a")
    end_of_producer()
    assert (sink.got, sink.fell_behind) == ([], 0)


def test_one_that_is_stopped_in_the_moment_it_is_demoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the room's lock and the start of the producer, the subscriber goes."""
    scene, sink = Scene(), RecordingSink()
    subscription = scene.subscribe(sink)
    subscription.start()
    sink.answer = Answer.NO
    catch_up = subscription.catch_up

    def stop_first() -> None:
        subscription.stop()
        catch_up()

    monkeypatch.setattr(subscription, "catch_up", stop_first)
    scene.say("a")
    end_of_producer()
    assert sink.got == []
    assert scene.fanout._behind == set()


@pytest.mark.parametrize("attempt", range(30))
def test_nothing_follows_a_stop_in_the_middle_of_a_flood(attempt: int) -> None:
    scene, sink = Scene(events=20, history_size=100_000), RecordingSink()
    end, stopped = threading.Event(), threading.Event()

    def flood() -> None:
        for number in range(100_000):
            if end.is_set():
                return
            sink.answer = Answer.NO if number % 7 == attempt % 7 else Answer.YES
            scene.say("x")

    subscription = scene.subscribe(sink, since=0)
    threads = run(flood)
    subscription.start()
    sink.wait_for(lambda sink: len(sink.got) > 20 + attempt)
    subscription.stop()
    with sink.changed:
        got = list(sink.got)
    stopped.set()
    end.set()
    join(threads)
    end_of_producer()
    assert sink.got == got == list(range(1, len(got) + 1))


# -- what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [ConnectionClosed(1001), SlowConsumer("slow")])
def test_a_sink_that_ended_ends_its_subscription(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    scene, sink = Scene(events=5), RecordingSink()
    sink.has_room, sink.failure = False, failure
    subscription = scene.subscribe(sink, since=0)
    subscription.start()
    end_of_producer()
    assert subscription.stopped
    assert sink.fell_behind == 0
    assert caplog.records == []


def test_a_producer_that_fails_is_logged_and_ends_the_sink(caplog: pytest.LogCaptureFixture) -> None:
    scene, sink, other = Scene(events=5), RecordingSink(), RecordingSink()
    scene.subscribe(other, since=0).start()
    sink.has_room, sink.failure = False, ZeroDivisionError()
    subscription = scene.subscribe(sink, since=0)
    subscription.start()
    end_of_producer()
    assert subscription.stopped
    assert sink.fell_behind == 1
    assert "producer-sub failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert other.got == [1, 2, 3, 4, 5]


def test_a_producer_that_cannot_start_is_logged_and_ends_the_sink(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene, sink, other = Scene(), RecordingSink(), RecordingSink()
    for each in (sink, other):
        scene.subscribe(each).start()
    sink.answer = Answer.NO

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    scene.say("a")
    assert sink.fell_behind == 1
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
    assert "producer-sub cannot start" in caplog.text
    scene.say("b")
    assert (sink.got, other.got) == ([], [1, 2])


# -- subscribing during a flood ----------------------------------------------------------------------

FLOOD = 400
LAST = 2 * (50 + FLOOD)


def race(scene: Scene, *subscribers: Callable[[], object]) -> None:
    """Two publishers and all subscribers set off together, with some events in the log already."""
    together = threading.Barrier(2 + len(subscribers))

    def publish() -> None:
        scene.say(*["early"] * 50)
        together.wait(PATIENCE)
        for _ in range(FLOOD):
            while isinstance(answer := scene.channel.publish(say("x" * 50)), Gate):
                answer.wait(PATIENCE)

    def after_all(subscribe: Callable[[], object]) -> None:
        together.wait(PATIENCE)
        subscribe()

    join(run(publish, publish, *(partial(after_all, subscribe) for subscribe in subscribers)))
    assert scene.fanout.head.offset == LAST


@pytest.mark.parametrize("attempt", range(20))
def test_outboxes_that_subscribe_during_a_flood(attempt: int) -> None:
    """First the log, then live events: no hole, no duplicate, and the marker between them once."""
    scene, line = Scene(), Turnstile()
    peers = [Peer(line) for _ in range(4)]
    origins: dict[Peer, int] = {}

    def subscribe(peer: Peer) -> None:
        since = [None, 0, attempt][attempt % 3]
        subscription = scene.subscribe(peer, since=since, encode=frames_of, marker=MARKER)
        peer.outbox.put(REPLY)
        subscription.start()
        origins[peer] = subscription.origin.offset

    race(scene, *(partial(subscribe, peer) for peer in peers))
    for peer in peers:
        # The marker comes after the last event where nobody was quicker.
        got = peer.wait_for(partial(is_whole, following=origins[peer] < LAST))
        assert got[0] == {"type": "ok"}
        assert offsets(got) == list(range(origins[peer] + 1, LAST + 1))
        assert got.count({"type": LIVE}) == 1
        peer.hang_up()


def is_whole(items: list[dict[str, Any]], following: bool) -> bool:
    """Whether the marker is here, and the last event, where any follow."""
    return {"type": LIVE} in items and (LAST in offsets(items[-2:]) or not following)


def offsets(items: list[dict[str, Any]]) -> list[int]:
    return [item["id"] for item in items if "id" in item]


@pytest.mark.parametrize("attempt", range(20))
def test_streams_that_subscribe_during_a_flood(attempt: int) -> None:
    scene = Scene()
    results: list[tuple[int, list[int]]] = []

    def consume() -> None:
        stream = EventStream(64, PATIENCE)
        since = [None, 0, attempt][attempt % 3]
        subscription = scene.subscribe(stream, since=since, encode=events_of)
        subscription.start()
        origin = subscription.origin.offset
        results.append((origin, [stream.get(PATIENCE).id for _ in range(LAST - origin)]))  # type: ignore[union-attr]

    race(scene, *[consume] * 4)
    assert len(results) == 4
    for origin, got in results:
        assert got == list(range(origin + 1, LAST + 1))


# -- publishers wait for one that the log threatens to leave behind ----------------------------------


def lagging(scene: Scene, sink: RecordingSink, by: int) -> Subscription:
    """Live, demoted, and its producer waits with one event; the log goes on."""
    subscription = scene.subscribe(sink)
    subscription.start()
    sink.answer, sink.has_room = Answer.NO, False
    scene.say("a")
    assert sink.feeding.acquire(timeout=PATIENCE)
    scene.say(*["x"] * (by - 1))
    return subscription


def test_a_publisher_waits_for_the_next_step_of_one_that_is_far_behind() -> None:
    scene, sink = Scene(history_size=20), RecordingSink()
    lagging(scene, sink, by=10)
    assert scene.fanout.gate is None, "half of the log is still to be had"
    scene.say("y")
    gate = scene.fanout.gate
    assert gate is not None
    publishers = run(lambda: gate.wait(PATIENCE))
    assert publishers[0].is_alive()
    sink.set(has_room=True)
    join(publishers)
    end_of_producer()
    assert scene.fanout.gate is None
    assert sink.got == list(range(1, 12))


def test_a_publisher_never_waits_for_a_peer_that_takes_nothing() -> None:
    scene, sink = Scene(history_size=20), RecordingSink()
    sink.stalled = True
    lagging(scene, sink, by=11)
    assert scene.fanout.gate is None
    scene.say(*["x"] * 15)
    assert scene.fanout.gate is None
    sink.set(has_room=True)
    end_of_producer()
    assert sink.fell_behind == 1


def test_a_peer_that_stops_taking_lets_a_waiting_publisher_go() -> None:
    scene, sink = Scene(history_size=20), RecordingSink()
    subscription = lagging(scene, sink, by=11)
    gate = scene.fanout.gate
    assert gate is not None
    publishers = run(lambda: gate.wait(PATIENCE))
    sink.stalled = True
    join(publishers)
    assert gate.passed
    subscription.stop()
    end_of_producer()


def test_a_publisher_does_not_wait_for_one_that_has_no_producer_or_is_gone() -> None:
    scene, sink = Scene(history_size=20), RecordingSink()
    unstarted = scene.subscribe(RecordingSink())
    scene.say(*["x"] * 19)
    assert scene.fanout.gate is None
    unstarted.stop()
    subscription = lagging(scene, sink, by=11)
    gate = scene.fanout.gate
    assert gate is not None
    subscription.stop()
    gate.wait(PATIENCE)
    assert gate.passed
    end_of_producer()


@pytest.mark.parametrize("attempt", range(5))
def test_a_healthy_peer_that_subscribes_in_a_long_flood_does_not_fall_behind(attempt: int) -> None:
    room, peer = Room("r"), Peer(Turnstile())
    under_way, subscribed = threading.Event(), threading.Event()

    def flood() -> None:
        for number in range(6_000):
            room.message("ann", "x")
            if number == 500:
                under_way.set()
                assert subscribed.wait(PATIENCE)

    threads = run(flood)
    assert under_way.wait(PATIENCE)
    subscription = room.subscribe(peer, frames_of, since=Position(0, room.fanout.head.epoch), name="sub")
    subscribed.set()
    subscription.start()
    join(threads)
    assert peer.offsets_up_to(6_000) == list(range(1, 6_001))
    peer.hang_up()
    end_of_producer()


def test_a_step_that_another_one_follows_is_passed() -> None:
    scene, sink = Scene(), RecordingSink()
    subscription = lagging(scene, sink, by=2)
    first = subscription.ticket()
    second = subscription.ticket()
    assert first.passed
    assert not second.passed
    sink.set(has_room=True)
    end_of_producer()
    assert second.passed
