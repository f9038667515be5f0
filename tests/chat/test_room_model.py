"""A room against a plain list of its events: what is said, who comes and goes, what is kept, what is told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import MESSAGE, Draft, Event, Position
from threadchat.chat.log.sequencer import KEY_TTL
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.testing import FakeClock

PAGE_BYTES = 512 << 10

PEOPLE = st.sampled_from(["ann", "bob", "cem", 4])
SESSIONS = st.sampled_from(["1", "2", "3"])
TEXTS = st.sampled_from([0, 1, 2, 3, 300, 200_000])
"""What is said, by its kind: see `text_of`."""
KEYS = st.sampled_from(["", "a", "b"])
LIMITS = st.sampled_from([1, 2, 3, 10, 1000])


class Told(NamedTuple):
    """An event of the model, without its time."""

    id: int
    type: str
    user: Any
    nickname: str
    message: str
    session: str


def text_of(kind: int) -> str:
    """Short ones of all sorts, and long ones."""
    return ("", "hi", "grüße", '"\\\n')[kind] if kind < 4 else "x" * kind


def told(event: Event) -> Told:
    return Told(event.id, event.type, event.user, event.nickname, event.message, event.session)


class Member:
    """Somebody of the model: a name, and sessions."""

    def __init__(self, nickname: str) -> None:
        self.nickname = nickname
        self.about = ""
        self.sessions: set[str] = set()


class RoomModel(RuleBasedStateMachine):
    """The model: a list of events, members by their ids, keys with their ends."""

    @initialize(
        history_size=st.integers(1, 12),
        history_bytes=st.sampled_from([500, 5_000, 4 << 20]),
        announce_limit=st.sampled_from([None, 0, 2]),
    )
    def begin(self, history_size: int, history_bytes: int, announce_limit: int | None) -> None:
        self.clock = FakeClock()
        self.room = Room(
            "r",
            request_buffer=1 << 16,  # streams are read at the end only
            history_size=history_size,
            history_bytes=history_bytes,
            announce_limit=announce_limit,
            clock=self.clock,
        )
        self.most, self.most_bytes, self.announce_limit = history_size, history_bytes, announce_limit
        self.events: list[Told] = []
        self.sizes: list[int] = []
        self.people: dict[Any, Member] = {}
        self.keys: dict[tuple[Any, str], tuple[int, float]] = {}
        self.streams: list[tuple[int, int | None, EventStream]] = []  # with the first and last event's id
        self.heard: list[tuple[int, list[Event]]] = []
        self.joined: dict[tuple[Any, str], int] = {}  # a member's stream, as an index of `streams`
        self.closed = False
        self.epoch = self.room.history().head.epoch
        self.sessions = itertools.count()

    # The model's rules

    @property
    def head(self) -> int:
        return len(self.events)

    def happens(
        self, kind: str, user: Any, nickname: str, message: str = "", session: str = "", *, was: str = ""
    ) -> int:
        self.events.append(Told(self.head + 1, kind, user, nickname, message, session))
        event = Event(
            id=self.head,
            room="r",
            type=kind,
            user=user,
            nickname=nickname,
            message=message,
            session=session,
            was=was,
            time=1_700_000_000,  # as many digits as today
        )
        self.sizes.append(len(msgspec.json.encode(event)))
        return self.head

    def kept(self) -> int:
        """How many of the newest events the log still has."""
        for count in range(min(self.most, self.head), 1, -1):
            if sum(self.sizes[self.head - count :]) <= self.most_bytes:
                return count
        return min(1, self.head)

    def announced(self) -> bool:
        return self.announce_limit is None or len(self.people) <= self.announce_limit

    # What is said

    @rule(user=PEOPLE, text=TEXTS, key=KEYS, nickname=st.sampled_from(["", "Nick"]))
    def message(self, user: Any, text: int, key: str, nickname: str) -> None:
        said = text_of(text)
        place = self.room.message(user, said, nickname=nickname, key=key)
        if self.closed:
            assert place is None
        else:
            assert place == Position(self.say(user, nickname or str(user), said, key), self.epoch)

    @rule(drafts=st.lists(st.tuples(PEOPLE, TEXTS, KEYS), max_size=6), tries=st.booleans())
    def publish(self, drafts: list[tuple[Any, int, str]], tries: bool) -> None:
        batch = [Draft(MESSAGE, user, "n", text_of(text), "", key) for user, text, key in drafts]
        publish: Callable[..., Any] = self.room.try_publish if tries else self.room.publish
        if self.closed:
            with pytest.raises(RoomClosed):
                publish(batch)
            return
        places = publish(batch)
        assert not isinstance(places, Gate)
        expected = [self.say(user, "n", text_of(text), key) for user, text, key in drafts]
        assert places == [Position(offset, self.epoch) for offset in expected]

    def say(self, user: Any, nickname: str, text: str, key: str) -> int:
        known = self.keys.get((user, key)) if key else None
        if known is not None and known[1] > self.clock():
            return known[0]
        offset = self.happens("message", user, nickname, text)
        if key:
            self.keys[user, key] = offset, self.clock() + KEY_TTL
        return offset

    @rule(seconds=st.sampled_from([1.0, KEY_TTL - 1, KEY_TTL, KEY_TTL + 1]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # Who comes and goes

    @rule(user=PEOPLE, session=SESSIONS, streams=st.booleans())
    def come(self, user: Any, session: str, streams: bool) -> None:
        nickname = f"nick of {user}"
        known = self.people.get(user)
        error = None
        stream = None
        try:
            if streams:
                stream = self.room.add(user, session, nickname=nickname)
            else:
                self.room.enter(user, session, nickname)
        except (CommandError, RoomClosed) as refused:
            error = refused
        if self.closed:
            assert isinstance(error, RoomClosed)
            return
        if known is not None and session in known.sessions:
            assert isinstance(error, CommandError)
            assert error.code == ErrorCode.ALREADY
            return
        assert error is None
        first = self.head + 1
        member = self.people.setdefault(user, Member(nickname))
        member.nickname, member.about = nickname, ""  # whoever comes says who they are
        kind = "add" if member.sessions else "join"
        member.sessions.add(session)
        if self.announced():
            self.happens(kind, user, nickname, session=session)
        if stream is not None:
            self.joined[user, session] = len(self.streams)
            self.streams.append((first, None, stream))

    @rule(user=PEOPLE, session=SESSIONS, removes=st.booleans())
    def go(self, user: Any, session: str, removes: bool) -> None:
        member = self.people.get(user)
        here = member is not None and session in member.sessions
        end: Callable[..., None] = (
            self.room.remove if removes or (user, session) in self.joined else self.room.leave
        )
        if member is None or not here:
            with pytest.raises(CommandError) as caught:
                end(user, session)
            assert caught.value.code == ErrorCode.UNKNOWN_ROOM
            return
        end(user, session)
        at = self.joined.pop((user, session), None)
        if at is not None and not self.closed:
            first, _, stream = self.streams[at]
            self.streams[at] = first, self.head, stream
        announced = self.announced()
        member.sessions.remove(session)
        if not member.sessions:
            del self.people[user]
        if announced and not self.closed:
            self.happens("remove" if member.sessions else "leave", user, member.nickname, session=session)

    @rule(user=PEOPLE, nickname=st.sampled_from(["new", "newer"]), about=st.sampled_from(["", "says"]))
    def rename(self, user: Any, nickname: str, about: str) -> None:
        self.room.rename(user, nickname, about)
        if user in self.people:
            was = self.people[user].nickname
            self.people[user].nickname, self.people[user].about = nickname, about
            if nickname != was and self.announced() and not self.closed:
                self.happens("rename", user, nickname, was=was)

    # Who listens and asks

    @rule()
    def listen(self) -> None:
        heard: list[Event] = []
        try:
            thread = self.room.attach_listener(heard.append)
        except RoomClosed:
            assert self.closed
            return
        assert not self.closed
        self.heard.append((self.head + 1, heard))
        self.listeners = [*getattr(self, "listeners", []), thread]

    @rule(
        limit=LIMITS,
        reverse=st.booleans(),
        back=st.none() | st.integers(-2, 14),
        epoch=st.sampled_from(["this", "this", "this", "another"]),
    )
    def history(self, limit: int, reverse: bool, back: int | None, epoch: str) -> None:
        since = None
        if back is not None:
            since = Position(max(0, self.head - back), self.epoch if epoch == "this" else "another")
        oldest = self.head - self.kept()  # what comes after it is here
        numbers: list[int] | None
        if since is None or reverse:
            before = self.head + 1 if since is None else since.offset
            numbers = list(range(before - 1, oldest, -1))[:limit]
        else:
            numbers = list(range(since.offset + 1, self.head + 1))[:limit]
            if not oldest <= since.offset <= self.head:
                numbers = None
        if since is not None and (since.epoch != self.epoch or since.offset > self.head + 1):
            numbers = None
        if numbers is None:
            with pytest.raises(CommandError) as caught:
                self.room.history(since, limit, reverse)
            assert caught.value.code == ErrorCode.UNRECOVERABLE_POSITION
            return
        while len(numbers) > 1 and sum(self.sizes[number - 1] for number in numbers) > PAGE_BYTES:
            numbers.pop()
        if since is None and not reverse:
            numbers.reverse()
        page = self.room.history(since, limit, reverse)
        assert page.head == Position(self.head, self.epoch)
        assert [told(record.event) for record in page.records] == [self.events[n - 1] for n in numbers]
        assert [len(record.json) for record in page.records] == [self.sizes[n - 1] for n in numbers]

    @rule(
        types=st.sampled_from([None, ["message"], ["join", "leave"], []]), users=st.none() | st.lists(PEOPLE)
    )
    def count(self, types: list[str] | None, users: list[Any] | None) -> None:
        expected = [
            event
            for event in self.events[self.head - self.kept() :]
            if event.type == "close"
            or ((types is None or event.type in types) and (users is None or event.user in users))
        ]
        assert self.room.count(Filter(types, users)) == len(expected)

    # The end

    @precondition(lambda self: self.head > 3)
    @rule(sure=st.sampled_from([False, False, False, True]))
    def close(self, sure: bool) -> None:
        if sure:
            self.room.close()
            if not self.closed:
                self.closed = True
                self.happens("close", None, "")

    # What always holds

    @invariant()
    def the_room_agrees(self) -> None:
        if not hasattr(self, "room"):
            return
        assert self.room.fanout.head == Position(self.head, self.epoch)
        assert self.room.closed == self.closed
        assert self.room.people == len(self.people)
        assert {(each.user, each.nickname, each.sessions, each.about) for each in self.room.who()} == {
            (user, m.nickname, frozenset(m.sessions), m.about) for user, m in self.people.items()
        }
        for user, member in self.people.items():
            assert all(self.room.has(user, session) for session in member.sessions)

    def teardown(self) -> None:
        """Every stream and listener got what happened in its time, the end of all last."""
        if not hasattr(self, "room"):
            return
        self.room.close()
        if not self.closed:
            self.happens("close", None, "")
        for first, last, stream in self.streams:
            expected = self.events[first - 1 : last]
            assert [told(event) for event in stream] == expected
            assert last is not None or expected[-1].type == "close"
        for thread in getattr(self, "listeners", []):
            thread.thread.join(30)
            assert not thread.thread.is_alive()
        for first, heard in self.heard:
            assert [told(event) for event in heard] == self.events[first - 1 :]


TestRoom = RoomModel.TestCase
TestRoom.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),  # to explain a failure traces every line
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
