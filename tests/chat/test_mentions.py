"""Tests of who is mentioned in a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chat.helpers import say
from tests.wire.helpers import Hand, run_all, switching
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import JOIN, LEAVE, MESSAGE, Draft, UserId
from threadchat.chat.mentions import MAX_MENTIONS, MAX_TRIED, details_of, find_mentions
from threadchat.chat.presence import Occupant
from threadchat.chat.room import Room
from threadchat.chat.room_names import MAX_AGE, Names
from threadchat.errors import CommandError, ErrorCode


def names_of(users: dict[str, tuple[UserId, ...]]) -> Names:
    names = Names()
    for name, called_so in users.items():
        for user in called_so:
            names.add(name, user)
    return names


NAMES = names_of(
    {
        "Ann": (1,),
        "ann lee": (2,),
        "bob": (3, "3"),
        "café": (4,),
        "o'neil": (5,),
        "straße": (6,),
        "@": (7,),
    }
)


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("@ann", {1}),
        ("hi @ann!", {1}),
        ("(@ann)", {1}),
        ("@ANN", {1}),
        ("@ann lee", {2}),
        ("@Ann Lee: hi", {2}),
        ("@ann leeway", {1}),
        ("@anna", set()),
        ("@ann_", {1}),
        ("@ann's", {1}),
        ("ann@example.org", set()),
        ("x@ann", set()),
        ("@bob", {3, "3"}),
        ("@ann @bob @ann", {1, 3, "3"}),
        ("@CAFÉ @Cafe\u0301", {4}),
        ("@o'neil", {5}),
        ("@STRASSE", {6}),
        ("@@", {7}),
        ("@ ann", set()),
        ("@", set()),
        ("", set()),
    ],
)
def test_the_longest_name_that_ends_with_a_word_counts(text: str, users: set[UserId]) -> None:
    found, everybody = find_mentions(text, NAMES)
    assert (set(found), everybody) == (users, False)


def test_the_room_is_everybody_unless_somebody_is_called_so() -> None:
    assert find_mentions("@Room, listen", NAMES) == ((), True)
    assert find_mentions("@rooms", NAMES) == ((), False)
    assert find_mentions("@room", Names()) == ((), True)
    assert find_mentions("@room", names_of({"room": (8,)})) == ((8,), False)


def test_so_many_are_mentioned_and_so_many_are_tried() -> None:
    names = names_of({f"n{number}": (number,) for number in range(2 * MAX_MENTIONS)})
    found, _ = find_mentions(" ".join(f"@{name}" for name in names), names)
    assert found == tuple(range(MAX_MENTIONS))
    assert find_mentions("(@x" * MAX_TRIED + " @ann", names_of({"ann": (1,)})) == ((), False)


def test_many_people_whose_names_begin_alike_are_no_more_work() -> None:
    names = names_of({f"guest {number}": (number,) for number in range(1000)})
    assert names.lengths_at("@guest 77", 1) == (9, 8, 7)
    assert find_mentions("@guest 77, @Guest 7 and @guest 7777", names) == ((77, 7), False)


def current(room: Room) -> dict[str, set[UserId]]:
    return {name: set(users) for name, users in room.names.current(room).items()}


def test_names_are_those_of_the_people_there_and_of_the_log() -> None:
    room = Room("r")
    room.enter(1, "s", "Ann")
    room.publish(
        [Draft(MESSAGE, 2, "Bob", "bye"), Draft(MESSAGE, None, "job", "x"), Draft("leave", 3, "Cid")]
    )
    room.publish(say("hi"))
    assert current(room) == {"ann": {1, "ann"}, "bob": {2}}


def test_where_other_nodes_cannot_be_asked_the_log_says_who_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room("r")
    room.publish([Draft(MESSAGE, 2, "Bob", "bye"), Draft(JOIN, 3, "Cid"), Draft(LEAVE, 4, "Dan")])

    def away() -> list[Occupant]:
        raise CommandError(ErrorCode.INTERNAL, "away", temporary=True)

    monkeypatch.setattr(room, "who", away)
    assert current(room) == {"bob": {2}, "cid": {3}}


def test_who_comes_speaks_or_changes_their_name_is_found_at_once() -> None:
    room = Room("r", announce_limit=0, history_size=4)
    room.enter(1, "s", "Ann")
    assert current(room) == {"ann": {1}}
    room.enter(2, "t", "Bob")
    assert current(room) == {"ann": {1}, "bob": {2}}
    room.rename(2, "Rob", "")
    room.publish([Draft(MESSAGE, 3, "Cid", "hi")])
    assert current(room) == {"ann": {1}, "bob": {2}, "rob": {2}, "cid": {3}}
    room.publish([Draft(MESSAGE, number, f"n{number}", "hi") for number in range(4, 10)])
    assert set(current(room)) == {"ann", "bob", "rob", "cid", "n6", "n7", "n8", "n9"}, "what the log has"


def test_names_are_looked_up_while_others_are_added() -> None:
    room = Room("r", announce_limit=0)
    room.enter(1, "s", "guest 1")

    def speak(first: int) -> Callable[[], None]:
        def body() -> None:
            for user in range(first, first + 200):
                room.publish([Draft(MESSAGE, user, f"guest {user}", "hi")])
                found, _ = find_mentions(f"@guest 1 @guest {user}", room.names.current(room))
                assert found == (1, user)

        return body

    with switching():
        run_all([speak(1000 * number) for number in range(1, 5)])


def test_who_has_left_is_forgotten_after_a_while_and_a_broker_is_asked_as_often() -> None:
    hand = Hand()
    room = Room("r", announce_limit=0, clock=hand.clock)
    room.enter(1, "s", "Ann")
    room.enter(2, "t", "Bob")
    assert current(room) == {"ann": {1}, "bob": {2}}
    asked = []
    there = room.who
    room.who = lambda: asked.append(1) or there()  # type: ignore[method-assign, func-returns-value]
    room.leave(2, "t")
    room.enter(3, "u", "Cid")
    hand.advance(MAX_AGE - 0.1)
    assert current(room) == {"ann": {1}, "bob": {2}, "cid": {3}}
    assert asked == []
    hand.advance(0.2)
    assert current(room) == {"ann": {1}, "cid": {3}}
    assert asked == [1]


def test_without_an_at_sign_nobody_is_looked_for() -> None:
    def fail() -> Any:
        pytest.fail("nobody is asked")

    for text in ("hi", "ann@example.org", "7 @ 9", "@"):
        assert details_of(fail, text, may_say_room=fail) is None
    assert details_of(Names, "@nobody", may_say_room=fail) is None
    assert details_of(Names, "@room", may_say_room=lambda: False) is None
    told = details_of(Names, "@room", may_say_room=lambda: True)
    assert told is not None
    assert told.everybody


def test_looking_for_names_creates_no_room() -> None:
    hub = Hub(MemoryBroker())
    assert hub.details_of("r", "@ann", may_say_room=lambda: False) is None
    assert hub.rooms() == []
    hub.publish("r", [Draft(MESSAGE, 2, "Ann", "hi")])
    told = hub.details_of("r", "@ann", may_say_room=lambda: False)
    assert told is not None
    assert told.mentions == (2,)
    hub.close()


@pytest.mark.parametrize("more", ["", "x", "x" * 4000])
def test_a_word_that_is_longer_than_all_names_is_nobody(more: str) -> None:
    name = "n" * 30
    names = names_of({name: (1,), "ann": (2,)})
    assert find_mentions(f"@{name}{more} and @ann", names) == ((2,) if more else (1, 2), False)


def test_an_address_in_a_text_names_nobody() -> None:
    assert find_mentions("me@ann, _@ann, é@ann, @ann", NAMES) == ((1,), False)
    assert find_mentions("me@ann é@ann @ ann", NAMES) == ((), False)
