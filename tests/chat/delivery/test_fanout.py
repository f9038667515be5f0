"""Who gets what from `chat/delivery/fanout.py`, in which order, and when publishers have to wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.chat.helpers import (
    MARKER,
    PATIENCE,
    Clock,
    Peer,
    RecordingSink,
    Tickets,
    frames_of,
    ids_of,
    join,
    producers,
    put,
    records,
    run,
    say,
)
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.subscription import ALL, Filter, Subscription
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Position, Record
from threadchat.chat.log.sequencer import Sequencer
from threadchat.errors import RoomClosed
from threadchat.wire.outbox import Answer, State
from threadchat.wire.turnstile import Turnstile


class Stage:
    """A fan-out behind a sequencer, without a room around them."""

    def __init__(self, name: str = "r", history_size: int = 1024, clock: Clock | None = None) -> None:
        self.fanout = Fanout(name, history_size, clock=clock or Clock())
        self.channel = Sequencer(name)
        self.channel.attach(self.fanout)

    def say(self, *texts: str, user: int | str = "ann") -> list[int]:
        return put(self.channel, *say(*texts, user=user))

    def listen(self, sink: Any, encode: Any = ids_of, **options: Any) -> Subscription:
        subscription = self.fanout.subscribe(sink, encode, **options)
        subscription.start()
        return subscription

    def publish(self, *texts: str) -> None:
        """As a room does: waits at the gate."""
        while isinstance(answer := self.channel.publish(say(*texts)), Gate):
            answer.wait(PATIENCE)


@pytest.fixture
def stage() -> Stage:
    return Stage()


# -- offering ----------------------------------------------------------------------------------------


def test_everybody_gets_everything_in_order(stage: Stage) -> None:
    sinks = [RecordingSink() for _ in range(3)]
    for sink in sinks:
        stage.listen(sink)
    stage.say("a")
    stage.say("b", "c")
    assert [sink.got for sink in sinks] == [[1, 2, 3]] * 3


def test_eight_publishers_and_four_subscribers_agree_on_one_order(stage: Stage) -> None:
    sinks = [RecordingSink() for _ in range(4)]
    for sink in sinks:
        stage.listen(sink)
    together = threading.Barrier(8)

    def publish() -> None:
        together.wait(PATIENCE)
        for index in range(100):
            stage.say(*["x"] * (index % 3 + 1))

    join(run(*[publish] * 8))
    head = stage.fanout.head.offset
    assert head == 8 * (34 * 1 + 33 * 2 + 33 * 3)
    assert [sink.got for sink in sinks] == [list(range(1, head + 1))] * 4


def test_an_event_is_encoded_once_for_all_of_an_audience(stage: Stage) -> None:
    calls: list[tuple[str, list[int]]] = []

    def plain(items: Sequence[Record]) -> list[int]:
        calls.append(("plain", ids_of(items)))
        return ids_of(items)

    def fancy(items: Sequence[Record]) -> list[int]:
        calls.append(("fancy", ids_of(items)))
        return ids_of(items)

    for encode in [plain, fancy] * 50:
        stage.listen(RecordingSink(), encode)
    stage.say("a")
    stage.say("b", "c")
    assert sorted(calls) == [("fancy", [1]), ("fancy", [2, 3]), ("plain", [1]), ("plain", [2, 3])]


def test_nothing_is_encoded_for_nobody(stage: Stage) -> None:
    def encode(items: Sequence[Record]) -> list[int]:
        pytest.fail("nobody listens")

    stage.listen(RecordingSink(), encode).stop()
    stage.say("a")
    assert list(stage.fanout._audience) == []
    assert stage.fanout._audience._by_encoding == {}


def test_all_that_one_message_lists_enters_the_line_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Turnstile()
    entered: list[int] = []
    monkeypatch.setattr(line, "enter", lambda entrants: entered.append(len(list(entrants))))
    peers = [Peer(line) for _ in range(5)]
    for peer in peers:
        stage.listen(peer, frames_of)
    stage.say("a", "b")
    stage.say("c")  # they are LISTED already
    monkeypatch.undo()
    assert entered == [5]
    line.enter([peer.outbox for peer in peers])
    for peer in peers:
        assert peer.offsets_up_to(3) == [1, 2, 3]
        peer.hang_up()


def test_unrelated_rooms_never_wait_for_each_other() -> None:
    """One room is held in the middle of an offer, another one's gate is shut; a third goes on."""
    held, shut, free = Stage(), Stage(), Stage()
    inside, go_on = threading.Event(), threading.Event()

    class Holding(RecordingSink):
        def offer(self, payload: list[int], listed: list[Any]) -> Answer:
            inside.set()
            assert go_on.wait(PATIENCE)
            return super().offer(payload, listed)

    held.listen(Holding())
    shut.listen(RecordingSink(Answer.HIGH))
    shut.say("a")
    assert isinstance(shut.channel.publish(say("b")), Gate)
    threads = run(lambda: held.say("a"))
    assert inside.wait(PATIENCE)
    sink = RecordingSink()
    free.listen(sink)
    free.say("a")
    assert sink.got == [1]
    go_on.set()
    join(threads)


# -- the gate ----------------------------------------------------------------------------------------


def test_high_shuts_the_gate_until_the_ticket_passes(stage: Stage) -> None:
    sink = RecordingSink(Answer.HIGH)
    stage.listen(sink)
    stage.publish("a")
    sink.answer = Answer.YES
    publishers = run(lambda: stage.publish("b"), lambda: stage.publish("c"))
    (ticket,) = sink.line.given
    for _ in publishers:
        assert ticket.waiting.acquire(timeout=PATIENCE)
    assert sink.got == [1]
    ticket.let_pass()
    join(publishers)
    assert sink.got == [1, 2, 3]
    assert len(sink.line.given) == 1
    assert stage.fanout.gate is None


def test_of_two_publishers_at_one_gate_the_second_waits_again(stage: Stage) -> None:
    """Both were let go by the same ticket; the first one's event fills the outbox anew."""
    sink = RecordingSink(Answer.HIGH)
    stage.listen(sink)
    stage.publish("a")
    publishers = run(lambda: stage.publish("b"), lambda: stage.publish("c"))
    first = sink.line.given[0]
    for _ in publishers:
        assert first.waiting.acquire(timeout=PATIENCE)
    first.let_pass()
    sink.wait_for(lambda sink: len(sink.got) == 2)
    for _ in range(2):
        assert sink.line.taken.acquire(timeout=PATIENCE)
    assert sink.line.given[1].waiting.acquire(timeout=PATIENCE)
    assert sink.got == [1, 2], "nobody overfills it"
    sink.answer = Answer.YES
    sink.line.given[1].let_pass()
    join(publishers)
    assert sink.got == [1, 2, 3]


def test_outboxes_of_one_line_cost_one_ticket_and_streams_one_each(stage: Stage) -> None:
    line = Tickets()
    lines = [line, line, line, Tickets(), Tickets()]
    for each in lines:
        stage.listen(RecordingSink(Answer.HIGH, each))
    stage.say("a")
    assert [len(each.given) for each in lines] == [1] * 5


def test_a_filtered_one_shuts_the_gate_too(stage: Stage) -> None:
    sink = RecordingSink(Answer.HIGH)
    stage.listen(sink, wanted=Filter(users=["ann"]))
    stage.say("a")
    assert stage.fanout.gate is not None


def test_the_ticket_is_taken_behind_those_that_were_listed(stage: Stage) -> None:
    steps: list[str] = []

    class Line(Tickets):
        def ticket(self) -> Any:
            steps.append("ticket")
            return super().ticket()

        def enter(self, entrants: Any) -> None:
            steps.append("enter")

    class Listing(RecordingSink):
        def offer(self, payload: list[int], listed: list[Any]) -> Answer:
            listed.append(self)
            return super().offer(payload, listed)

    stage.listen(Listing(Answer.HIGH, Line()))
    stage.say("a")
    assert steps == ["enter", "ticket"]


def test_a_blocked_outbox_never_holds_a_publisher(stage: Stage) -> None:
    peer = Peer(Turnstile(), reads=False)
    subscription = stage.listen(peer, frames_of)
    stage.say("a")
    assert peer.blocked.wait(PATIENCE)
    assert peer.outbox.state is State.BLOCKED
    for _ in range(100):
        stage.say("b")
        assert stage.fanout.gate is None
    assert subscription.live, "its outbox is full to the last message now"
    stage.say("c")  # and no event holds anybody when it is demoted
    assert stage.fanout.gate is None
    assert not subscription.live
    peer.read()
    assert peer.offsets_up_to(102) == list(range(1, 103))
    peer.hang_up()


def test_two_thousand_messages_without_a_pause_demote_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    demoted: list[Subscription] = []
    monkeypatch.setattr(stage.fanout, "_demote_locked", lambda subscription, _: demoted.append(subscription))
    line = Turnstile()
    peers = [Peer(line) for _ in range(200)]
    for peer in peers:
        stage.listen(peer, frames_of)
    for _ in range(2_000):
        stage.publish("x" * 80)
    for peer in peers:
        assert peer.offsets_up_to(2_000) == list(range(1, 2_001))
    assert demoted == []
    for peer in peers:
        peer.hang_up()


# -- those who fell behind ---------------------------------------------------------------------------


def test_one_that_refuses_is_demoted_and_the_others_go_on(stage: Stage) -> None:
    slow, quick = RecordingSink(), RecordingSink()
    slow.has_room = False
    subscription = stage.listen(slow)
    stage.listen(quick)
    stage.say("a")
    slow.answer = Answer.NO
    stage.say("b", "c")
    assert slow.feeding.acquire(timeout=PATIENCE)
    assert not subscription.live
    stage.say("d")
    assert (slow.got, quick.got) == ([1], [1, 2, 3, 4])
    slow.answer = Answer.YES
    slow.set(has_room=True)
    slow.wait_for(lambda sink: sink.got == [1, 2, 3, 4])
    assert stage.fanout.gate is None


def test_a_filtered_one_is_demoted_too(stage: Stage) -> None:
    sink = RecordingSink(Answer.NO)
    stage.listen(sink, wanted=Filter(users=["bob"]))
    stage.say("a")
    assert stage.fanout._behind == set(), "nothing was offered"
    stage.say("b", user="bob")
    sink.wait_for(lambda sink: sink.got == [2])


# -- whispers ----------------------------------------------------------------------------------------


def test_a_whisper_goes_to_members_but_the_sender(stage: Stage) -> None:
    def other(items: Sequence[Record]) -> list[int]:
        return ids_of(items)

    sinks = {
        name: RecordingSink()
        for name in ("sender", "again", "member", "choosy", "guest", "other", "unstarted")
    }
    stage.listen(sinks["sender"], owner=1)
    stage.listen(sinks["again"], owner=1)
    stage.listen(sinks["member"], owner=2)
    stage.listen(sinks["choosy"], owner=3, wanted=Filter(types=["message"]))
    stage.listen(sinks["guest"])
    stage.listen(sinks["other"], other, owner=4)
    stage.fanout.subscribe(sinks["unstarted"], ids_of, owner=5)
    stage.fanout.whisper("typing", [ids_of], but=1)
    heard = {name for name, sink in sinks.items() if sink.light == ["typing"]}
    assert heard == {"member", "choosy"}
    assert stage.fanout.head.offset == 0
    assert all(sink.got == [] for sink in sinks.values())


def test_a_whisper_is_shed_where_an_outbox_is_half_full(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Turnstile()
    monkeypatch.setattr(line, "enter", lambda entrants: None)  # no writer runs
    busy, quiet = Peer(line, max_messages=10), Peer(line, max_messages=10)
    stage.listen(busy, frames_of, owner=1)
    stage.say("1")
    stage.listen(quiet, frames_of, owner=2)
    stage.say("2", "3", "4", "5")
    assert (busy.outbox.qsize(), quiet.outbox.qsize()) == (5, 4)
    for _ in range(2):  # the first one fills the half of it
        stage.fanout.whisper(MARKER, [frames_of], but=3)
        assert (busy.outbox.qsize(), quiet.outbox.qsize()) == (5, 5)
    monkeypatch.undo()
    line.enter([quiet.outbox, busy.outbox])
    quiet.hang_up()
    busy.hang_up()


def test_a_whisper_wakes_writers(stage: Stage) -> None:
    peer = Peer(Turnstile())
    stage.listen(peer, frames_of, owner=1)
    stage.fanout.whisper(MARKER, [frames_of], but=2)
    peer.wait_for(lambda got: got == [{"type": "live"}])
    peer.hang_up()


# -- positions ---------------------------------------------------------------------------------------


def test_a_subscription_begins_at_the_head(stage: Stage) -> None:
    stage.say("a", "b")
    sink = RecordingSink()
    subscription = stage.listen(sink)
    assert subscription.origin == stage.fanout.head == Position(2, stage.channel.epoch)
    assert subscription.recovered is None
    assert subscription.live
    stage.say("c")
    assert sink.got == [3]


def test_a_tail_begins_where_its_channel_stood() -> None:
    channel = Sequencer("r")
    put(channel, *say("a", "b"))
    fanout = Fanout("r")
    channel.attach(fanout)
    assert fanout.head == Position(2, channel.epoch)
    subscription = fanout.subscribe(RecordingSink(), ids_of, since=Position(1, channel.epoch))
    assert subscription.recovered is False, "the tail has only what came since"


def test_count(stage: Stage) -> None:
    assert stage.fanout.count(Filter()) == 0
    stage.say("a", "b")
    stage.say("c", user="bob")
    assert stage.fanout.count(Filter()) == 3
    assert stage.fanout.count(Filter(users=["bob"])) == 1
    assert stage.fanout.count(Filter(types=["join"])) == 0


def test_count_is_of_what_the_log_still_has() -> None:
    stage = Stage(history_size=5)
    stage.say(*"abcdefgh")
    assert stage.fanout.count(Filter()) == 5


# -- the end -----------------------------------------------------------------------------------------


def test_a_closed_one_takes_no_subscription(stage: Stage) -> None:
    assert stage.fanout.close()
    assert not stage.fanout.close()
    assert stage.fanout.closed
    with pytest.raises(RoomClosed, match="room r is closed"):
        stage.fanout.subscribe(RecordingSink(), ids_of)


def test_close_reaches_everybody(stage: Stage) -> None:
    sinks = [RecordingSink() for _ in range(4)]
    sinks[3].has_room = False
    stage.listen(sinks[0])
    stage.listen(sinks[1], wanted=Filter(types=[], users=[]))
    unstarted = stage.fanout.subscribe(sinks[2], ids_of)
    stage.listen(sinks[3], since=Position(0, stage.channel.epoch), wanted=Filter(types=["join"]))
    sinks[3].answer = Answer.NO
    put(stage.channel, Draft("join", "ann"))
    stage.fanout.close()
    stage.channel.close()
    unstarted.start()
    sinks[3].set(has_room=True)
    sinks[2].wait_for(lambda sink: sink.got == [1, 2])
    sinks[3].wait_for(lambda sink: sink.got == [1, 2])
    assert (sinks[0].got, sinks[1].got) == ([1, 2], [2])


@pytest.mark.parametrize("state", ["live", "choosy", "unstarted", "behind"])
def test_it_is_in_use_while_somebody_listens(state: str) -> None:
    clock = Clock()
    stage = Stage(clock=clock)
    sink = RecordingSink()
    wanted = Filter(types=["message"]) if state == "choosy" else Filter()
    subscription = stage.fanout.subscribe(sink, ids_of, wanted=wanted)
    if state != "unstarted":
        subscription.start()
    if state == "behind":
        sink.answer, sink.has_room = Answer.NO, False
        stage.say("a")
        assert sink.feeding.acquire(timeout=PATIENCE)
    clock.now += 1_000
    assert stage.fanout.idle_for() == 0
    assert not stage.fanout.close(idle_for=300)
    assert not stage.fanout.close(idle_for=0)
    subscription.stop()
    subscription.stop()
    assert not stage.fanout.close(idle_for=300), "somebody listened just now"
    clock.now += 300
    assert stage.fanout.idle_for() == 300
    assert stage.fanout.close(idle_for=300)
    assert not stage.fanout.close(idle_for=300)


def test_what_is_said_keeps_it_from_being_idle() -> None:
    clock = Clock()
    stage = Stage(clock=clock)
    clock.now += 200
    stage.say("a")
    clock.now += 200
    assert stage.fanout.idle_for() == 200
    assert not stage.fanout.close(idle_for=300)


def test_a_background_subscription_does_not_keep_it() -> None:
    clock = Clock()
    stage = Stage(clock=clock)
    subscription = stage.listen(RecordingSink(), background=True)
    clock.now += 300
    assert stage.fanout.close(idle_for=300)
    subscription.stop()


def test_one_that_ends_by_itself_does_not_keep_it() -> None:
    clock = Clock()
    stage = Stage(history_size=2, clock=clock)
    sink = RecordingSink(Answer.NO)
    subscription = stage.fanout.subscribe(sink, ids_of)
    stage.say("a", "b", "c")
    subscription.start()
    assert sink.fell_behind == 1
    clock.now += 300
    assert stage.fanout.close(idle_for=300)


# -- what goes wrong on the way ---------------------------------------------------------------------------


def test_one_that_closes_starts_no_producer_and_holds_nobody(stage: Stage) -> None:
    sink, healthy = RecordingSink(Answer.GONE), RecordingSink()
    subscription = stage.listen(sink)
    stage.listen(healthy)
    stage.say("a")
    stage.say("b")
    assert not sink.feeding.acquire(blocking=False)
    assert subscription.live
    assert stage.fanout.gate is None
    assert healthy.got == [1, 2]


def test_those_who_were_listed_enter_the_line_whatever_fails_after_them(stage: Stage) -> None:
    peer = Peer(Turnstile())

    def encode(items: Sequence[Record]) -> list[int]:
        raise ValueError("cannot be encoded")

    stage.listen(peer, frames_of)
    stage.listen(RecordingSink(), encode)
    with pytest.raises(ValueError, match="cannot be encoded"):
        stage.say("a")
    assert set(peer.offsets_up_to(1)) == {1}, "twice is better than never"
    peer.hang_up()
    join(producers(""))


# -- a log that does not go on -----------------------------------------------------------------------


def test_where_another_log_begins_all_who_listen_fall_behind_but_in_the_background() -> None:
    fanout = Fanout("r")
    fanout.begin(Position(0, "old"))
    fanout.deliver(records(1, 3))
    live, choosy, waiting, background = RecordingSink(), RecordingSink(), RecordingSink(), RecordingSink()
    fanout.subscribe(live, ids_of).start()
    fanout.subscribe(choosy, ids_of, wanted=Filter(["message"])).start()
    fanout.subscribe(waiting, ids_of)
    fanout.subscribe(background, ids_of, background=True, lasting=True).start()
    fanout.begin(Position(7, "new"))
    assert [sink.fell_behind for sink in (live, choosy, waiting, background)] == [1, 1, 1, 0]
    fanout.deliver(records(8, 9))
    assert [sink.got for sink in (live, choosy, waiting, background)] == [[], [], [], [8, 9]]
    assert fanout.head == Position(9, "new")
    assert fanout.count(ALL) == 2, "what was there before is gone"
    assert fanout.subscribe(RecordingSink(), ids_of, since=Position(7, "new")).recovered
    assert fanout.subscribe(RecordingSink(), ids_of, since=Position(3, "old")).recovered is False
    assert fanout.idle_for() == 0


def test_who_was_behind_in_the_background_goes_on_with_the_new_log() -> None:
    fanout = Fanout("r")
    fanout.begin(Position(0, "old"))
    late = RecordingSink()
    subscription = fanout.subscribe(late, ids_of, background=True, lasting=True)
    fanout.deliver(records(1, 3))
    fanout.begin(Position(4, "new"))
    fanout.deliver(records(5, 6))
    subscription.start()
    late.wait_for(lambda sink: sink.got == [5, 6])
