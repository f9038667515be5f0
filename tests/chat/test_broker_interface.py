"""Tests of the hub where its broker is shared with other nodes, which the test plays."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.chat.helpers import PATIENCE, RecordingSink, WithoutInbox, ids_of, join, run, say
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.broker_interface import Alone, Cluster, Node, OpenInbox, Reach, RoomInfo, Whispered
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Direct, Draft, Position, UserId
from threadchat.chat.log.sequencer import Channel, Page
from threadchat.chat.presence import Occupant, Presence
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.outbox import Answer


class Elsewhere:
    """A presence that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def enter(self, *who: Any) -> None:
        self.told.append(("enter", *who))

    def leave(self, *who: Any) -> None:
        self.told.append(("leave", *who))

    def rename(self, *who: Any) -> None:
        self.told.append(("rename", *who))

    def who(self) -> list[Occupant]:
        return [Occupant(9, "from elsewhere", frozenset("x"))]


class Others(MemoryBroker):
    """A broker that many share: the others are what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.reach: Reach = None
        self.rooms_there = [RoomInfo("there", 3, 17)]
        self.presences: dict[int, Elsewhere] = {}
        self.opening = threading.Semaphore(0)
        self.may_open = threading.Event()
        self.may_open.set()
        self.failures = 0

    def open(self, room: str) -> Any:
        self.opening.release()
        assert self.may_open.wait(PATIENCE)
        if self.failures:
            self.failures -= 1
            raise CommandError(ErrorCode.INTERNAL, "away")
        return super().open(room)

    def close(self) -> None:
        self.calls.append(("close",))

    def connect(self, node: Node, whispered: Whispered, open_inbox: OpenInbox) -> None:
        self.node, self.whispered, self.open_inbox = node, whispered, open_inbox

    def presence(self, channel: Channel, announce_limit: int | None) -> Presence:
        return self.presences.setdefault(len(self.presences), Elsewhere())

    def read_log(self, room: str, since: Position | None, limit: int) -> Page | None:
        return None

    def exists(self, room: str) -> bool:
        return any(info.name == room for info in self.rooms_there)

    def rooms(self, here: list[RoomInfo]) -> list[RoomInfo]:
        return self.rooms_there + here

    def arrive(self, user: UserId) -> None:
        self.calls.append(("arrive", user))

    def depart(self, user: UserId) -> None:
        self.calls.append(("depart", user))

    def direct(self, direct: Direct, here: Reach) -> Reach:
        self.calls.append(("direct", direct.to, direct.message, here))
        return self.reach

    def disconnect(self, user: UserId, code: int, reason: str | None = None) -> int:
        self.calls.append(("disconnect", user, code, reason))
        return 5

    def kick(self, user: UserId, room: str, reason: str) -> int:
        self.calls.append(("kick", user, room, reason))
        return 3

    def addresses(self, user: UserId) -> set[str]:
        return {"192.0.2.9"}

    def whisper(self, room: str, frame: bytes, but: UserId) -> None:
        self.calls.append(("whisper", room, frame, but))

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        self.calls.append(("notify", user, json, kept))
        return bool(self.reach)

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position] | None:
        return None

    def sessions(self, user: UserId) -> list[str]:
        return ["there-1"]

    def is_connected(self, user: UserId) -> bool:
        return user == 9

    def move(self, user: UserId, action: str, room: str) -> int:
        self.calls.append(("move", user, action, room))
        return 2


class Someone(WithoutInbox):
    """A session."""

    about = ""
    address = "192.0.2.1"

    def __init__(self, user: int | None, answer: Answer = Answer.YES) -> None:
        self.user = user
        self.answer = answer
        self.got: list[str] = []
        self.codes: list[int] = []
        self.evicted: list[tuple[str, str]] = []

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        self.got.append(direct.message)
        return self.answer

    def close(self, code: int, reason: str | None = None) -> None:
        self.codes.append(code)

    def evict(self, room: str, reason: str) -> bool:
        self.evicted.append((room, reason))
        return room == "r"


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
def hub(others: Others) -> Hub:
    return Hub(others)


def test_who_shares_is_a_cluster_and_who_does_not_is_not(others: Others) -> None:
    assert isinstance(others, Cluster)
    assert isinstance(Alone(), Cluster)
    assert not isinstance(MemoryBroker(), Cluster)


# -- rooms -------------------------------------------------------------------------------------------


def test_a_room_that_others_have_is_found(hub: Hub) -> None:
    assert hub.find("there").name == "there"
    with pytest.raises(CommandError) as raised:
        hub.find("nowhere")
    assert raised.value.code is ErrorCode.UNKNOWN_ROOM


def test_all_rooms_are_listed(hub: Hub) -> None:
    hub.room("here").publish(say("a", "b"))
    hub.room("here").enter(1, "a", "ann")
    assert hub.list_rooms().rooms == [("there", 3, 17), ("here", 1, 2)]
    assert [room.name for room in hub.rooms()] == ["here"]


def test_who_waits_for_a_room_keeps_nobody_from_another(hub: Hub, others: Others) -> None:
    hub.room("open")
    assert others.opening.acquire(timeout=PATIENCE)
    others.may_open.clear()
    rooms: list[Room] = []
    threads = run(*[lambda: rooms.append(hub.room("slow"))] * 4)
    assert others.opening.acquire(timeout=PATIENCE)
    assert hub.room("open").name == "open"
    hub.arrive(Someone(1))
    assert [room.name for room in hub.rooms()] == ["open"]
    others.may_open.set()
    join(threads)
    assert set(rooms) == {hub.find("slow")}
    assert not others.opening.acquire(blocking=False), "it was opened once"


def test_a_room_that_cannot_be_opened_is_tried_by_the_next(hub: Hub, others: Others) -> None:
    others.failures = 1
    with pytest.raises(CommandError):
        hub.room("r")
    assert hub.rooms() == []
    assert hub.room("r").name == "r"


def test_a_room_that_opens_beside_the_end_is_closed(hub: Hub, others: Others) -> None:
    others.may_open.clear()
    refused: list[Exception] = []

    def come() -> None:
        try:
            hub.room("r")
        except RoomClosed as error:
            refused.append(error)

    threads = run(come)
    assert others.opening.acquire(timeout=PATIENCE)
    hub.close()
    others.may_open.set()
    join(threads)
    assert len(refused) == 1
    assert hub.rooms() == []


def test_the_broker_is_closed_before_the_rooms(hub: Hub, others: Others) -> None:
    ends: list[list[Any]] = []
    hub.attach_listener(lambda event: ends.append([event.type, *others.calls]))
    hub.room("r")
    assert hub.close()
    assert ends == [["close", ("close",)]]


# -- people in rooms ---------------------------------------------------------------------------------


def test_whoever_knows_all_the_people_announces_them(hub: Hub, others: Others) -> None:
    room = hub.room("r")
    sink = RecordingSink()
    room.subscribe(sink, ids_of).start()
    room.enter(1, "a", "ann", "about me")
    room.rename(1, "anna", "more")
    room.rename(2, "nobody")
    room.leave(1, "a")
    assert others.presences[0].told == [
        ("enter", 1, "a", "ann", "about me"),
        ("rename", 1, "anna", "more"),
        ("leave", 1, "a"),
    ]
    assert sink.got == [], "the room itself says nothing of it"
    assert room.people == 0


def test_who_is_there_is_who_is_on_any_node(hub: Hub) -> None:
    room = hub.room("r")
    room.enter(1, "a", "ann")
    assert [occupant.nickname for occupant in room.who()] == ["from elsewhere"]
    assert room.people == 1
    assert room.has(1, "a")
    assert not room.has(9, "x"), "that one is not here"
    room.close()
    assert [occupant.nickname for occupant in room.who()] == ["ann"], "a closed room asks nobody"


# -- people ------------------------------------------------------------------------------------------


def test_others_are_told_who_comes_and_goes(hub: Hub, others: Others) -> None:
    first, second, stranger = Someone(1), Someone(1), Someone(None)
    for session in (first, second):
        hub.arrive(session)
    for session in (first, first, second, stranger):
        hub.depart(session)
    assert others.calls == [("arrive", 1)] * 2 + [("depart", 1)] * 2


@pytest.mark.parametrize(
    ("answer", "here"), [(Answer.YES, True), (Answer.HIGH, True), (Answer.NO, False), (None, None)]
)
@pytest.mark.parametrize(("reach", "refused"), [(True, None), (False, 111), (None, 108)])
def test_what_became_of_a_direct_message_is_what_all_nodes_say(
    others: Others, *, answer: Answer | None, here: Reach, reach: Reach, refused: int | None
) -> None:
    hub = Hub(others)
    if answer is not None:
        hub.arrive(Someone(7, answer))
    others.reach = reach
    others.calls.clear()
    if refused is None:
        hub.direct(7, "hi")
    else:
        with pytest.raises(CommandError) as raised:
            hub.direct(7, "hi")
        assert raised.value.code == refused
    assert others.calls == [("direct", 7, "hi", here)]


def test_others_reach_the_people_here(hub: Hub, others: Others) -> None:
    someone, full = Someone(7), Someone(8, Answer.NO)
    for session in (someone, full):
        hub.arrive(session)
    answers = [others.node.offer(Direct(to=to, message="hi", time=0)) for to in (7, 8, 9)]
    assert answers == [True, False, None]
    assert someone.got == ["hi"]
    assert others.node.end(7, 3503) == 1
    assert someone.codes == [3503]
    assert hub.disconnect(8, reason="why") == 6
    assert others.calls[-1] == ("disconnect", 8, 3503, "why")


def test_a_kick_and_the_addresses_of_a_user_are_those_of_all_nodes(hub: Hub, others: Others) -> None:
    someone = Someone(7)
    hub.arrive(someone)
    assert hub.kick(7, "r", "spam") == 4
    assert others.calls[-1] == ("kick", 7, "r", "spam")
    assert others.node.evict(7, "r", "again") == 1
    assert others.node.evict(7, "elsewhere", "again") == 0
    assert someone.evicted == [("r", "spam"), ("r", "again"), ("elsewhere", "again")]
    assert hub.addresses(7) == {"192.0.2.1", "192.0.2.9"}
    assert others.node.addresses(7) == {"192.0.2.1"}
    assert others.node.addresses(8) == set()


# -- whispers ----------------------------------------------------------------------------------------


class Payload:
    frame = b"typing"


def test_a_whisper_goes_to_members_here_and_to_other_nodes(hub: Hub, others: Others) -> None:
    sink = RecordingSink()
    room = hub.room("r")
    room.subscribe(sink, ids_of, owner=1).start()
    payload = Payload()
    hub.whisper(room, payload, [ids_of], but=2)
    assert sink.light == [payload]
    assert others.calls[-1] == ("whisper", "r", b"typing", 2)


def test_a_whisper_from_elsewhere_is_passed_on_where_the_room_is_open(hub: Hub, others: Others) -> None:
    others.whispered("r", b"typing", 2)
    heard: list[tuple[str, bytes, UserId]] = []
    hub.room("r")
    others.whispered("r", b"typing", 2)
    hub.on_whisper(lambda room, frame, but: heard.append((room.name, frame, but)))
    others.whispered("r", b"typing", 2)
    others.whispered("another", b"typing", 2)
    assert heard == [("r", b"typing", 2)]
