"""Covers client/event_queue.py and positions.py: bounds, falling behind, and reading what was missed."""

from __future__ import annotations

import pytest

from tests.client.fakes import Doing, FakeLink, FakeServer, in_room
from threadchat.client.event_queue import SPARE, EventQueue
from threadchat.client.positions import Filter, MissedRange, Positions, RoomPosition
from threadchat.client.protocol import ChatEvent, Joined, Page
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode


def event(number: int, *, room: str = "lobby", kind: str = "message", user: int = 7) -> ChatEvent:
    return ChatEvent(type=kind, id=number, room=room, user=user)


def taken(inbox: EventQueue) -> list[int]:
    return [inbox.take(0).id for _ in range(len(inbox))]


# -- the inbox ---------------------------------------------------------------------------------------


def test_a_full_inbox_says_no_by_number_and_by_bytes() -> None:
    inbox = EventQueue(2, 100)
    assert [inbox.put(event(number), 1) for number in (1, 2, 3)] == [True, True, False]
    assert taken(inbox) == [1, 2]
    assert [inbox.put(event(number), 60) for number in (1, 2)] == [True, False]
    assert taken(inbox) == [1]
    assert inbox.put(event(3), 1000), "one that is larger than all of it enters an empty inbox"
    assert repr(inbox) == "<EventQueue 1/2>"


def test_what_no_log_keeps_may_exceed_it_up_to_a_bound_and_then_the_loss_is_told() -> None:
    inbox = EventQueue(1, 100)
    for number in range(SPARE + 3):
        inbox.put_spare(event(number))
    assert [inbox.take(0).id for _ in range(SPARE + 1)] == list(range(SPARE + 1))
    lost = inbox.take(0)
    assert (lost.type, lost.room) == ("gap", "")
    assert lost.message == "2 private messages or notices had no room and are lost"
    assert len(inbox) == 0


def test_what_nobody_misses_goes_first() -> None:
    inbox = EventQueue(4, 100)
    for number in range(4):
        inbox.put_light(event(number), 1)
    assert taken(inbox) == [0, 1]


def test_the_first_end_stays_and_comes_after_what_waits() -> None:
    inbox = EventQueue()
    inbox.put(event(1), 1)
    inbox.end(ConnectionClosed(3503), drop=False)
    inbox.end(ConnectionClosed(1000), drop=False)
    assert inbox.take(0).id == 1
    with pytest.raises(ConnectionClosed, match="3503"):
        inbox.take(None)
    inbox.put(event(2), 1)
    inbox.end(ConnectionClosed(1000), drop=True)
    with pytest.raises(ConnectionClosed, match="3503"):
        inbox.take(None)


def test_room_is_reported_from_half_on() -> None:
    inbox = EventQueue(4, 100)
    for number in range(3):
        inbox.put(event(number), 10)
    assert inbox.room == 0
    inbox.take(0)
    assert inbox.room == 2
    inbox.put(event(4), 50)
    assert inbox.room == 0, "bytes count too"


# -- places by themselves ----------------------------------------------------------------------------


def places(inbox: EventQueue, **filters: list[str]) -> Positions:
    made = Positions(inbox)
    made.enter(RoomPosition("join", "lobby", Filter(filters.get("types")), Joined(0, "e")))
    return made


def test_a_room_falls_behind_and_catches_up_from_the_log() -> None:
    inbox = EventQueue(4, 1000)
    rooms = places(inbox)
    for number in range(1, 8):
        rooms.admit(event(number), 1)
    assert rooms.missed() is None, "no room yet"
    assert [inbox.take(0).id for _ in range(3)] == [1, 2, 3]
    missed = rooms.missed()
    assert missed == MissedRange("lobby", {"offset": 4, "epoch": "e"}, 3)
    assert rooms.missed() is None, "one at a time"
    rooms.admit(event(8), 1)
    rooms.admit_page(missed, Page(tuple(event(n) for n in (5, 6, 7)), 8, "e"))
    assert taken(inbox) == [4, 5, 6, 7]
    missed = rooms.missed()
    assert missed == MissedRange("lobby", {"offset": 7, "epoch": "e"}, 4)
    rooms.admit_page(missed, Page((event(8),), 8, "e"))
    rooms.admit(event(9), 1)
    assert taken(inbox) == [8, 9]
    assert rooms.missed() is None


def test_a_live_event_that_overtook_the_page_is_not_lost() -> None:
    """The page was made before event 4, which came before the page."""
    inbox = EventQueue(2, 1000)
    rooms = places(inbox)
    for number in (1, 2, 3):
        rooms.admit(event(number), 1)
    assert taken(inbox) == [1, 2]
    missed = rooms.missed()
    assert missed is not None
    rooms.admit(event(4), 1)
    rooms.admit_page(missed, Page((event(3),), 3, "e"))
    assert taken(inbox) == [3]
    assert rooms.missed() == MissedRange("lobby", {"offset": 3, "epoch": "e"}, 2)


def test_a_page_that_does_not_fit_is_taken_in_part() -> None:
    inbox = EventQueue(2, 1000)
    rooms = places(inbox)
    for number in (1, 2, 3, 4):
        rooms.admit(event(number), 1)
    inbox.take(0)
    missed = rooms.missed()
    assert missed == MissedRange("lobby", {"offset": 2, "epoch": "e"}, 1)
    inbox.put(event(1, room="other"), 1)
    rooms.admit_page(missed, Page((event(3),), 4, "e"))
    taken(inbox)
    assert rooms.missed() == MissedRange("lobby", {"offset": 2, "epoch": "e"}, 2)


def test_the_filter_holds_for_the_log_too() -> None:
    inbox = EventQueue(2, 1000)
    rooms = places(inbox, types=["message"])
    for number in (1, 3, 5):
        rooms.admit(event(number), 1)
    assert taken(inbox) == [1, 3]
    missed = rooms.missed()
    assert missed is not None
    rooms.admit_page(missed, Page((event(4, kind="join"), event(5), event(6, kind="leave")), 6, "e"))
    assert taken(inbox) == [5]
    assert rooms.missed() is None


def test_what_the_log_has_no_more_is_told() -> None:
    inbox = EventQueue(2, 1000)
    rooms = places(inbox)
    for number in (1, 2, 3, 4):
        rooms.admit(event(number), 1)
    taken(inbox)
    missed = rooms.missed()
    assert missed is not None
    rooms.page_refused(missed, CommandError(ErrorCode.UNRECOVERABLE_POSITION))
    gap = inbox.take(0)
    assert (gap.type, gap.room, gap.id) == ("gap", "lobby", 4)
    assert gap.message == "unrecoverable position: what came after event 2, up to 4, is missing"
    rooms.admit(event(5), 1)
    assert taken(inbox) == [5]


def test_an_interruption_makes_every_room_level() -> None:
    inbox = EventQueue(1, 1000)
    rooms = places(inbox)
    rooms.admit(event(1), 1)
    rooms.admit(event(2), 1)
    taken(inbox)
    assert rooms.missed() is not None
    rooms.interrupted()
    assert rooms.missed() is None
    rooms.admit(event(2), 1)
    assert taken(inbox) == [2]


def test_a_busy_room_does_not_keep_the_others_waiting() -> None:
    inbox = EventQueue(1, 1000)
    rooms = places(inbox)
    rooms.enter(RoomPosition("join", "garden", Filter(), Joined(0, "e")))
    inbox.put_spare(event(0))
    asked = []
    for number in range(1, 5):
        rooms.admit(event(number), 1)
        rooms.admit(event(number, room="garden"), 1)
        taken(inbox)
        missed = rooms.missed()
        assert missed is not None
        asked.append(missed.room)
        rooms.missed_failed()
        inbox.put_spare(event(0))
    assert asked == ["lobby", "garden", "lobby", "garden"]


def test_an_errand_that_could_not_be_sent_is_had_again() -> None:
    inbox = EventQueue(1, 1000)
    rooms = places(inbox)
    rooms.admit(event(1), 1)
    rooms.admit(event(2), 1)
    taken(inbox)
    missed = rooms.missed()
    rooms.missed_failed()
    assert missed is not None
    assert rooms.missed() == missed


def test_what_comes_for_a_room_that_was_left_is_nothing() -> None:
    inbox = EventQueue()
    rooms = places(inbox)
    rooms.leave("lobby")
    rooms.admit(event(1), 1)
    missed = MissedRange("lobby", {"offset": 0, "epoch": "e"}, 1)
    rooms.admit_page(missed, Page((event(1),), 1, "e"))
    rooms.page_refused(missed, CommandError(ErrorCode.UNKNOWN_ROOM))
    rooms.back("lobby", Joined(1, "e", False))
    assert len(inbox) == 0
    assert len(rooms) == 0


def test_an_answer_that_came_too_late_for_its_errand_changes_nothing() -> None:
    """A thread had an missed, and asked only when the connection after it was there."""
    inbox = EventQueue(1, 1000)
    rooms = places(inbox)
    rooms.admit(event(1), 1)
    rooms.admit(event(2), 1)
    taken(inbox)
    late = rooms.missed()
    assert late is not None
    rooms.interrupted()
    rooms.back("lobby", Joined(1, "e", True))
    rooms.page_refused(late, CommandError(ErrorCode.UNRECOVERABLE_POSITION))
    rooms.admit(event(1), 1)
    assert len(inbox) == 0, "event 1 is known, and nothing is missing"
    for number in (2, 3):
        rooms.admit(event(number), 1)
    rooms.admit_page(late, Page((event(2), event(3)), 3, "e"))
    rooms.page_refused(late, CommandError(ErrorCode.UNRECOVERABLE_POSITION))
    assert taken(inbox) == [2]
    assert rooms.missed() == MissedRange("lobby", {"offset": 2, "epoch": "e"}, 1)


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
