"""Covers client/event_queue.py and positions.py: bounds, falling behind, and reading what was missed."""

from __future__ import annotations

import pytest

from tests.client.fakes import Doing, FakeLink, FakeServer, in_room
from threadchat.client.event import ChatEvent
from threadchat.client.event_queue import SPARE, EventQueue
from threadchat.client.positions import Filter, MissedRange, Positions, RoomPosition
from threadchat.client.protocol import Joined, Page
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode


def event(number: int, *, room: str = "lobby", kind: str = "message", user: int = 7) -> ChatEvent:
    return ChatEvent(type=kind, id=number, room=room, user=user)


def taken(queue: EventQueue) -> list[int]:
    return [queue.take(0).id for _ in range(len(queue))]


# -- the queue ---------------------------------------------------------------------------------------


def test_a_full_inbox_says_no_by_number_and_by_bytes() -> None:
    queue = EventQueue(2, 100)
    assert [queue.put(event(number), 1) for number in (1, 2, 3)] == [True, True, False]
    assert taken(queue) == [1, 2]
    assert [queue.put(event(number), 60) for number in (1, 2)] == [True, False]
    assert taken(queue) == [1]
    assert queue.put(event(3), 1000), "one that is larger than all of it enters an empty queue"
    assert repr(queue) == "<EventQueue 1/2>"


def test_what_no_log_keeps_may_exceed_it_up_to_a_bound_and_then_the_loss_is_told() -> None:
    queue = EventQueue(1, 100)
    for number in range(SPARE + 3):
        queue.put_unlogged(event(number))
    assert [queue.take(0).id for _ in range(SPARE + 1)] == list(range(SPARE + 1))
    lost = queue.take(0)
    assert (lost.type, lost.room) == ("gap", "")
    assert lost.message == "2 private messages or notices did not fit into the queue and are lost"
    assert len(queue) == 0


def test_what_nobody_misses_goes_first() -> None:
    queue = EventQueue(4, 100)
    for number in range(4):
        queue.put_droppable(event(number), 1)
    assert taken(queue) == [0, 1]


def test_the_first_end_stays_and_comes_after_what_waits() -> None:
    queue = EventQueue()
    queue.put(event(1), 1)
    queue.end(ConnectionClosed(3503), drop=False)
    queue.end(ConnectionClosed(1000), drop=False)
    assert queue.take(0).id == 1
    with pytest.raises(ConnectionClosed, match="3503"):
        queue.take(None)
    queue.put(event(2), 1)
    queue.end(ConnectionClosed(1000), drop=True)
    with pytest.raises(ConnectionClosed, match="3503"):
        queue.take(None)


def test_room_is_reported_from_half_on() -> None:
    queue = EventQueue(4, 100)
    for number in range(3):
        queue.put(event(number), 10)
    assert queue.free == 0
    queue.take(0)
    assert queue.free == 2
    queue.put(event(4), 50)
    assert queue.free == 0, "bytes count too"


# -- positions by themselves ----------------------------------------------------------------------------


def positions(queue: EventQueue, **filters: list[str]) -> Positions:
    made = Positions(queue)
    made.enter(RoomPosition("join", "lobby", Filter(filters.get("types")), Joined(0, "e")))
    return made


def test_a_room_falls_behind_and_catches_up_from_the_log() -> None:
    queue = EventQueue(4, 1000)
    rooms = positions(queue)
    for number in range(1, 8):
        rooms.event_received(event(number), 1)
    assert rooms.next_missed() is None, "no room yet"
    assert [queue.take(0).id for _ in range(3)] == [1, 2, 3]
    missed = rooms.next_missed()
    assert missed == MissedRange("lobby", {"offset": 4, "epoch": "e"}, 3)
    assert rooms.next_missed() is None, "one at a time"
    rooms.event_received(event(8), 1)
    rooms.page_received(missed, Page(tuple(event(n) for n in (5, 6, 7)), 8, "e"))
    assert taken(queue) == [4, 5, 6, 7]
    missed = rooms.next_missed()
    assert missed == MissedRange("lobby", {"offset": 7, "epoch": "e"}, 4)
    rooms.page_received(missed, Page((event(8),), 8, "e"))
    rooms.event_received(event(9), 1)
    assert taken(queue) == [8, 9]
    assert rooms.next_missed() is None


def test_a_live_event_that_overtook_the_page_is_not_lost() -> None:
    """The page was made before event 4, which came before the page."""
    queue = EventQueue(2, 1000)
    rooms = positions(queue)
    for number in (1, 2, 3):
        rooms.event_received(event(number), 1)
    assert taken(queue) == [1, 2]
    missed = rooms.next_missed()
    assert missed is not None
    rooms.event_received(event(4), 1)
    rooms.page_received(missed, Page((event(3),), 3, "e"))
    assert taken(queue) == [3]
    assert rooms.next_missed() == MissedRange("lobby", {"offset": 3, "epoch": "e"}, 2)


def test_a_page_that_does_not_fit_is_taken_in_part() -> None:
    queue = EventQueue(2, 1000)
    rooms = positions(queue)
    for number in (1, 2, 3, 4):
        rooms.event_received(event(number), 1)
    queue.take(0)
    missed = rooms.next_missed()
    assert missed == MissedRange("lobby", {"offset": 2, "epoch": "e"}, 1)
    queue.put(event(1, room="other"), 1)
    rooms.page_received(missed, Page((event(3),), 4, "e"))
    taken(queue)
    assert rooms.next_missed() == MissedRange("lobby", {"offset": 2, "epoch": "e"}, 2)


def test_the_filter_holds_for_the_log_too() -> None:
    queue = EventQueue(2, 1000)
    rooms = positions(queue, types=["message"])
    for number in (1, 3, 5):
        rooms.event_received(event(number), 1)
    assert taken(queue) == [1, 3]
    missed = rooms.next_missed()
    assert missed is not None
    rooms.page_received(missed, Page((event(4, kind="join"), event(5), event(6, kind="leave")), 6, "e"))
    assert taken(queue) == [5]
    assert rooms.next_missed() is None


def test_what_the_log_has_no_more_is_told() -> None:
    queue = EventQueue(2, 1000)
    rooms = positions(queue)
    for number in (1, 2, 3, 4):
        rooms.event_received(event(number), 1)
    taken(queue)
    missed = rooms.next_missed()
    assert missed is not None
    rooms.page_refused(missed, CommandError(ErrorCode.UNRECOVERABLE_POSITION))
    gap = queue.take(0)
    assert (gap.type, gap.room, gap.id) == ("gap", "lobby", 4)
    assert gap.message == "unrecoverable position: the events after 2, up to 4, are missing"
    rooms.event_received(event(5), 1)
    assert taken(queue) == [5]


def test_an_interruption_makes_every_room_level() -> None:
    queue = EventQueue(1, 1000)
    rooms = positions(queue)
    rooms.event_received(event(1), 1)
    rooms.event_received(event(2), 1)
    taken(queue)
    assert rooms.next_missed() is not None
    rooms.interrupted()
    assert rooms.next_missed() is None
    rooms.event_received(event(2), 1)
    assert taken(queue) == [2]


def test_a_busy_room_does_not_keep_the_others_waiting() -> None:
    queue = EventQueue(1, 1000)
    rooms = positions(queue)
    rooms.enter(RoomPosition("join", "garden", Filter(), Joined(0, "e")))
    queue.put_unlogged(event(0))
    asked = []
    for number in range(1, 5):
        rooms.event_received(event(number), 1)
        rooms.event_received(event(number, room="garden"), 1)
        taken(queue)
        missed = rooms.next_missed()
        assert missed is not None
        asked.append(missed.room)
        rooms.fetch_failed()
        queue.put_unlogged(event(0))
    assert asked == ["lobby", "garden", "lobby", "garden"]


def test_an_errand_that_could_not_be_sent_is_had_again() -> None:
    queue = EventQueue(1, 1000)
    rooms = positions(queue)
    rooms.event_received(event(1), 1)
    rooms.event_received(event(2), 1)
    taken(queue)
    missed = rooms.next_missed()
    rooms.fetch_failed()
    assert missed is not None
    assert rooms.next_missed() == missed


def test_what_comes_for_a_room_that_was_left_is_nothing() -> None:
    queue = EventQueue()
    rooms = positions(queue)
    rooms.leave("lobby")
    rooms.event_received(event(1), 1)
    missed = MissedRange("lobby", {"offset": 0, "epoch": "e"}, 1)
    rooms.page_received(missed, Page((event(1),), 1, "e"))
    rooms.page_refused(missed, CommandError(ErrorCode.UNKNOWN_ROOM))
    rooms.resumed("lobby", Joined(1, "e", False))
    assert len(queue) == 0
    assert len(rooms) == 0


def test_an_answer_that_came_too_late_for_its_errand_changes_nothing() -> None:
    """A thread had an missed, and asked only when the connection after it was there."""
    queue = EventQueue(1, 1000)
    rooms = positions(queue)
    rooms.event_received(event(1), 1)
    rooms.event_received(event(2), 1)
    taken(queue)
    late = rooms.next_missed()
    assert late is not None
    rooms.interrupted()
    rooms.resumed("lobby", Joined(1, "e", True))
    rooms.page_refused(late, CommandError(ErrorCode.UNRECOVERABLE_POSITION))
    rooms.event_received(event(1), 1)
    assert len(queue) == 0, "event 1 is known, and nothing is missing"
    for number in (2, 3):
        rooms.event_received(event(number), 1)
    rooms.page_received(late, Page((event(2), event(3)), 3, "e"))
    rooms.page_refused(late, CommandError(ErrorCode.UNRECOVERABLE_POSITION))
    assert taken(queue) == [2]
    assert rooms.next_missed() == MissedRange("lobby", {"offset": 2, "epoch": "e"}, 1)


# -- in a client -------------------------------------------------------------------------------------


def overfill(link: FakeLink, count: int) -> None:
    for number in range(1, count + 1):
        link.event(number)


def test_replies_come_through_a_full_inbox() -> None:
    chat, link = in_room(FakeServer(), events=4)
    with chat:
        overfill(link, 100)
        asking = Doing(lambda: chat.count("lobby"))
        link.reply(link.heard("count"), count=100)
        assert asking.result() == 100


def test_whoever_takes_events_again_gets_all_of_them_in_order() -> None:
    chat, link = in_room(FakeServer(), events=4)
    with chat:
        overfill(link, 9)
        asking = Doing(chat.rooms)
        link.reply(link.heard("rooms"), rooms=[])
        asking.result()  # all nine have been read
        assert [chat.next_event(5).id for _ in range(2)] == [1, 2]
        page = link.heard("history")
        assert (page["since"], page["limit"]) == ({"offset": 4, "epoch": "e"}, 2)
        answer = [{"id": n, "chatroomId": "lobby", "type": "message", "unixTime": 1} for n in (5, 6)]
        link.reply(page, events=answer, offset=9, epoch="e")
        assert [chat.next_event(5).id for _ in range(4)] == [3, 4, 5, 6]
        page = link.heard("history")
        answer = [{"id": n, "chatroomId": "lobby", "type": "message", "unixTime": 1} for n in range(7, 10)]
        link.reply(page, events=answer[: page["limit"]], offset=9, epoch="e")
        assert [chat.next_event(5).id for _ in range(page["limit"])] == [7, 8, 9][: page["limit"]]


@pytest.mark.parametrize(("code", "temporary"), [(112, False), (100, True)])
def test_a_log_that_does_not_answer(code: int, temporary: bool) -> None:
    server = FakeServer()
    chat, link = in_room(server, events=1)
    with chat:
        overfill(link, 2)
        asking = Doing(chat.rooms)
        link.reply(link.heard("rooms"), rooms=[])
        asking.result()
        assert chat.next_event(5).id == 1
        again = server.next_link()
        link.refuse(link.heard("history"), code, temporary=temporary)
        if not temporary:
            assert (chat.next_event(5).type, chat.joined) == ("gap", ("lobby",))
            return
        again.welcome(resumed="proof-1")
        assert again.let_in("join", 1, recovered=True)["since"] == {"offset": 1, "epoch": "e"}
        assert [chat.next_event(5).type for _ in range(2)] == ["disconnected", "connected"]
        again.event(2)
        assert chat.next_event(5).id == 2
