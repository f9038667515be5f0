"""What every broker does alike with edits, reactions, deletions and replies."""

from __future__ import annotations

import random
import threading
from typing import Any

import msgspec
import pytest

from tests.broker.brokers import Make, Opened, opened
from tests.chat.helpers import join, run, say
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.log.alterations import MAX_EMOJI, MAX_REACTIONS
from threadchat.chat.log.events import (
    DELETE,
    EDIT,
    EVENT,
    MESSAGE,
    REACT,
    UNREACT,
    Details,
    Draft,
    Event,
    Position,
    UserId,
)
from threadchat.errors import CommandError, ErrorCode

THUMB, HEART, DICE = "\N{THUMBS UP SIGN}", "\N{HEAVY BLACK HEART}\ufe0f", "\N{GAME DIE}"
NASTY = 'to, "edited":1152921504606846976, \\"edited\\":-1 \n %1 {}'


@pytest.fixture
def room(make: Make) -> Opened:
    """An empty room."""
    return opened(make())


def edit(room: Opened, target: int, text: str, epoch: str = "", mentions: tuple[UserId, ...] = ()) -> Draft:
    details = Details(mentions=mentions) if mentions else None
    return Draft(EDIT, "ann", "ann", text, target=Position(target, epoch or room.epoch), details=details)


def react(room: Opened, target: int, emoji: str = THUMB, user: UserId = "ann", kind: str = REACT) -> Draft:
    return Draft(kind, user, str(user), target=Position(target, room.epoch), details=Details(emoji=emoji))


def deletion(room: Opened, target: int) -> Draft:
    return Draft(DELETE, "ann", "ann", target=Position(target, room.epoch))


def page(room: Opened) -> list[Event]:
    """What the log has; each event is what its JSON says."""
    records = room.channel.history(None, 1000, False).records
    assert [item.event for item in records] == [
        msgspec.json.decode(item.json, type=Event) for item in records
    ]
    return [item.event for item in records]


def refusal(room: Opened, *drafts: Draft) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        room.publish(*drafts)
    return ErrorCode(caught.value.code)


def test_an_edited_message_has_its_last_text(room: Opened) -> None:
    assert room.put(*say("a", "b", "c")) == [1, 2, 3]
    assert room.put(edit(room, 2, NASTY, mentions=(7, "7"))) == [4]
    message = page(room)[1]
    assert (message.id, message.message, message.edited, message.mentions) == (2, NASTY, 4, (7, "7"))
    assert room.put(edit(room, 2, "third")) == [5]
    message, told = page(room)[1], page(room)[4]
    assert (message.message, message.edited, message.mentions) == ("third", 5, ())
    assert (told.type, told.target, told.message, told.user) == (EDIT, 2, "third", "ann")
    assert room.outlet.wait_for(5) == [1, 2, 3, 4, 5]
    assert [item.event.message for item in room.outlet.records] == ["a", "b", "c", NASTY, "third"]


def test_no_text_that_no_longer_counts_stays(room: Opened) -> None:
    room.put(*say("SECRET 1"))
    for number in range(2, 5):
        room.put(edit(room, 1, f"SECRET {number}"))
    events = page(room)
    assert [(event.message, event.deleted) for event in events] == [
        ("SECRET 4", False),
        ("", True),
        ("", True),
        ("SECRET 4", False),
    ]
    room.put(react(room, 1), deletion(room, 1))
    assert not any("SECRET" in event.message for event in page(room))
    assert page(room)[0] == Event(
        id=1,
        room="r",
        type=MESSAGE,
        user="ann",
        nickname=events[0].nickname,
        deleted=True,
        time=events[0].time,
    )


def test_a_reaction_counts_once_a_person(room: Opened) -> None:
    room.put(*say("a"))
    for user in (7, "7", -1):
        assert room.put(react(room, 1, user=user)) != [0]
    assert room.put(react(room, 1, user="7")) == [0], "it is there, and nothing is published"
    assert room.put(react(room, 1, HEART, user="7")) == [5]
    assert page(room)[0].reactions == {THUMB: (7, "7", -1), HEART: ("7",)}
    assert room.put(react(room, 1, user="7", kind=UNREACT)) == [6]
    assert room.put(react(room, 1, user="7", kind=UNREACT)) == [0]
    assert room.put(react(room, 1, DICE, kind=UNREACT)) == [0]
    assert page(room)[0].reactions == {THUMB: (7, -1), HEART: ("7",)}
    assert room.put(react(room, 1, HEART, user="7", kind=UNREACT)) == [7]
    assert page(room)[0].reactions == {THUMB: (7, -1)}
    assert room.outlet.wait_for(7) == [1, 2, 3, 4, 5, 6, 7]


def test_reactions_are_bounded(room: Opened) -> None:
    room.put(*say("a", "b"))
    room.put(*[react(room, 1, chr(0x1F600 + number)) for number in range(MAX_EMOJI - 1)])
    assert room.put(react(room, 1, DICE)) != [0]
    assert refusal(room, react(room, 1, THUMB)) == ErrorCode.LIMIT_EXCEEDED
    for user in range(MAX_REACTIONS - MAX_EMOJI):
        room.put(react(room, 1, DICE, user=user))
    assert refusal(room, react(room, 1, DICE, user="late")) == ErrorCode.LIMIT_EXCEEDED
    assert room.put(react(room, 1, DICE, user=1)) == [0], "this one is there already"
    assert room.put(react(room, 2, DICE, user="late")) != [0], "another message has its own"


def test_only_what_is_a_message_can_be_changed(room: Opened) -> None:
    room.put(*say("a", "b"), Draft(EVENT, "ann", "ann", name="x"))
    room.put(deletion(room, 2))
    head = room.put(*say("c"))[0]
    for target in (-1, 0, 2, 3, 4, head + 1):
        for draft in (edit(room, target, "x"), react(room, target), deletion(room, target)):
            assert refusal(room, draft) == ErrorCode.BAD_REQUEST, (target, draft.type)
    assert room.put(*say("d")) == [head + 1], "nothing was published"


def test_a_change_belongs_to_the_log_in_which_the_message_was_read(room: Opened) -> None:
    room.put(*say("a", "b"))
    stale = Position(2, "another")
    for draft in (
        Draft(EDIT, "ann", "ann", "x", target=stale),
        Draft(REACT, "ann", "ann", target=stale, details=Details(emoji=THUMB)),
        Draft(MESSAGE, "ann", "ann", "x", details=Details(stale)),
    ):
        assert refusal(room, *say("c", key="k"), draft) == ErrorCode.UNRECOVERABLE_POSITION, draft.type
    assert room.put(*say("d", key="k")) == [3], "neither its place nor its key was taken"
    assert [event.message for event in page(room)] == ["a", "b", "d"]


def test_a_reply_names_what_it_answers(room: Opened) -> None:
    room.put(*say("a"))
    reply = Draft(MESSAGE, 7, "ann", "b", "", "k", details=Details(Position(1, room.epoch), (8,), True))
    assert room.put(reply) == [2]
    assert room.put(reply) == [2], "its key counts"
    found = page(room)[1]
    assert (found.reply_to, found.mentions, found.everybody) == (1, (8,), True)


def test_messages_that_left_the_log_are_not_changed(make: Make) -> None:
    room = opened(make(history_size=4))
    room.put(*say("a", "b", "c"))
    assert room.put(react(room, 1)) == [4]
    assert room.put(*say("d")) == [5]
    assert refusal(room, react(room, 1)) == ErrorCode.BAD_REQUEST
    assert room.put(edit(room, 2, "x"), *say("e")) == [6, 7]
    assert [event.id for event in page(room)] == [4, 5, 6, 7]


def test_the_bytes_of_a_changed_message_count(make: Make) -> None:
    room = opened(make(history_bytes=4000))
    for number in range(30):
        [said] = room.put(*say(str(number)))
        room.put(edit(room, said, "x" * 300), react(room, said, user="u" * 100))
    events = page(room)
    bodies = sum(
        len(msgspec.json.encode(event)) - len('{"id":,"unixTime":1700000000}') - 2 for event in events
    )
    assert 3000 < bodies <= 4000


def test_reactions_at_the_same_time_all_count(room: Opened) -> None:
    room.put(*say("a"))
    barrier = threading.Barrier(8)

    def work(user: int) -> None:
        barrier.wait()
        for emoji in (THUMB, HEART, DICE):
            room.put(react(room, 1, emoji, user=user))
        room.put(react(room, 1, HEART, user=user, kind=UNREACT))

    join(run(*[lambda user=user: work(user) for user in range(8)]))
    reactions = page(room)[0].reactions or {}
    assert {emoji: sorted(users) for emoji, users in reactions.items()} == {
        THUMB: list(range(8)),
        DICE: list(range(8)),
    }
    assert [event.id for event in page(room)] == list(range(1, 1 + 1 + 8 * 4))


@pytest.mark.parametrize("seed", range(8))
def test_all_brokers_have_the_same_log_after_the_same_changes(make: Make, seed: int) -> None:
    """Whoever opens the room later has it, too: its outlet is given the log and its changes once more."""
    limits = {"history_size": 12} if seed % 2 else {}
    broker = make(**limits)
    here, model = opened(broker), opened(MemoryBroker())
    model.outlet._log._tail._max_events = limits.get("history_size", 1024)
    chance = random.Random(seed)
    for _ in range(60):
        number = model.outlet.newest
        answers = []
        choice, target = chance.random(), chance.randint(1, number + 1)
        emoji, user = chance.choice((THUMB, HEART)), chance.randint(1, 3)
        for room in (model, here):
            drafts: list[Draft] = say(f"text {number}")
            if choice < 0.3:
                drafts = [edit(room, target, f"edit {number} \u00e9 {NASTY}")]
            elif choice < 0.6:
                drafts = [react(room, target, emoji, user)]
            elif choice < 0.7:
                drafts = [react(room, target, emoji, user, UNREACT)]
            elif choice < 0.75:
                drafts = [deletion(room, target)]
            answers.append(attempt(room, *drafts))
        assert answers[0] == answers[1]
    here.outlet.wait_for(model.outlet.newest)
    expected = timeless(model.outlet.history(None, 1000, False).records)
    assert timeless(here.channel.history(None, 1000, False).records) == expected
    kept = here.outlet.history(None, len(expected), False).records  # it may keep more than the log does
    assert timeless(kept) == expected
    if hasattr(broker, "exists"):  # its logs outlive their rooms
        assert here.channel.retire(lambda: True)
        late = opened(broker)
        assert late.epoch == here.epoch
        assert timeless(late.outlet.history(None, 1000, False).records) == expected


def attempt(room: Opened, *drafts: Draft) -> Any:
    try:
        return room.put(*drafts)
    except CommandError as error:
        return error.code


def timeless(records: Any) -> list[Event]:
    return [msgspec.structs.replace(item.event, time=0) for item in records]
