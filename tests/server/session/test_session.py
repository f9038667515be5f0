"""Tests of a session's lifecycle: every deadline with its code, errors, states, and what an end leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.chat.helpers import RecordingSink, ids_of
from tests.server.session_helpers import Dialect, Json, Person, World, burst, until, worlds
from tests.wire.helpers import client_frame
from threadchat.chat.log.events import Record
from threadchat.errors import CloseCode, CommandError, ErrorCode, RoomClosed
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.server.session.native import NativeSession
from threadchat.server.session.session import MAX_ERRORS, Session
from threadchat.wire.connection import ConnectionState
from threadchat.wire.protocol import frames

DIALECTS: list[Dialect] = [NativeSession, DirectSession, BroadcastSession]
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

STATES = [
    ConnectionState.UNDEFINED,
    ConnectionState.CONNECTED,
    ConnectionState.IN_CHAT,
    ConnectionState.TO_BE_DISCONNECTED,
    ConnectionState.DISCONNECTED,
]


@pytest.fixture
def world() -> Iterator[World]:
    with worlds() as world:
        yield world


# -- deadlines ---------------------------------------------------------------------------------------


def test_no_hello_is_stale(world: World) -> None:
    ann = world.connect()
    world.advance(4.99)
    assert ann.unheard() == []
    world.advance(0.01)
    assert ann.close_code() == 3502
    assert ann.wait_gone().reason == "stale"


def test_time_in_which_the_process_was_stopped_is_no_delay_of_a_hello(world: World) -> None:
    ann = world.connect()
    pinger = world.hand.pinger
    pinger.resumed_at = pinger.clock() + 60  # as the pinger's thread would note it, when it wakes too late
    world.advance(60)
    assert ann.unheard() == []
    ann.ask("hello", nickname="ann")
    world.advance(5)
    assert ann.unheard() == []


def test_an_error_is_no_hello(world: World) -> None:
    ann = world.connect()
    assert ann.refused("rooms") == 101
    assert ann.refused("hello", nickname="") == 107
    ann.wait_until_idle()
    world.advance(5)
    assert ann.close_code() == 3502


def test_hello_in_time_clears_the_deadline(world: World) -> None:
    ann = world.enter("ann")
    world.advance(5)
    assert ann.unheard() == []


def test_no_profile_is_stale() -> None:
    with worlds(pong_timeout=3600) as world:
        ann = world.connect()
        ann.ask("hello")
        world.advance(299.99)
        assert ann.unheard() == []
        world.advance(0.01)
        assert ann.close_code() == 3502


def test_a_profile_in_time_clears_the_deadline() -> None:
    with worlds(pong_timeout=3600) as world:
        ann = world.connect()
        ann.ask("hello")
        ann.ask("profile", nickname="ann")
        world.advance(301)
        assert ann.unheard() == []


@every_dialect
def test_age_ends_every_connection(dialect: Dialect) -> None:
    with worlds(pong_timeout=3600, hello_timeout=3600, max_age=1000) as world:
        ann = world.connect(dialect)
        world.advance(999)
        assert ann.connection.closed is None
        world.advance(1)
        assert ann.close_code() == 3005
        assert ann.wait_gone().reason == "expired"


@every_dialect
def test_silence_counts_as_no_pong(dialect: Dialect) -> None:
    with worlds(hello_timeout=3600) as world:
        ann = world.connect(dialect)
        while ann.connection.closed is None:  # again, should a pong have come in between
            # Only then silence is the peer's.
            until(lambda: ann.connection.keepalive.reading_since is not None)
            world.advance(121)
        assert ann.close_code() == 3012
        assert ann.wait_gone().reason == "no pong"


@every_dialect
def test_a_kick_ends_every_connection_at_once(world: World, dialect: Dialect) -> None:
    ann = world.connect(dialect)
    ann.session.close(CloseCode.FORCE_DISCONNECT)
    assert ann.close_code() == 3503
    assert ann.wait_gone().reason == "force disconnect"


def test_the_hub_kicks_a_person_with_all_sessions(world: World) -> None:
    ann, bob = world.join("ann", "r"), world.join("bob", "r")
    again = world.connect()
    again.ask("hello", resume=ann.welcome["resume"])
    assert world.hub.disconnect(1) == 2
    assert ann.close_code() == again.close_code() == 3503
    ann.wait_gone()
    again.wait_gone()
    assert [event["type"] for event in bob.take(1)] == ["leave"]
    assert world.hub.disconnect(1) == 0
    assert not world.hub.is_online(1)


def test_what_waits_is_flushed_before_the_close(world: World) -> None:
    ann, bob = world.enter("ann"), world.enter("bob")
    for i in range(50):
        bob.ask("direct", to=1, message=str(i))
    world.hub.disconnect(1)
    assert ann.close_code() == 3503
    assert [m["message"] for m in ann.heard_at_last()] == [str(i) for i in range(50)]


# -- errors ------------------------------------------------------------------------------------------


def wrong(dialect: Dialect) -> Json:
    """What that dialect refuses."""
    return {"type": "nonsense"} if dialect is NativeSession else {"to": 99, "message": "hi"}


@every_dialect
def test_too_many_errors_within_a_minute_end_the_connection(world: World, dialect: Dialect) -> None:
    ann = world.connect(dialect)
    answered = 1 if dialect is DirectSession else 0  # its greeting
    for _ in range(MAX_ERRORS - 1):
        ann.send(wrong(dialect))
    ann.take(answered + MAX_ERRORS - 1)
    assert ann.connection.closed is None
    ann.send(wrong(dialect))
    assert ann.close_code() == 3509
    assert len(ann.heard_at_last()) == 1, "the last error is answered too"


def test_errors_that_come_slowly_are_forgiven() -> None:
    with worlds(hello_timeout=3600, pong_timeout=3600) as world:
        ann = world.connect()
        for _ in range(3 * MAX_ERRORS):
            ann.refused("nonsense")
            world.advance(0.96)  # 63 of them in just over a minute
        assert ann.unheard() == []


def test_after_a_pause_the_count_begins_anew() -> None:
    with worlds(hello_timeout=3600, pong_timeout=3600) as world:
        ann = world.connect()
        for pause in (61, 61, 0):
            for _ in range(MAX_ERRORS - 1):
                ann.refused("nonsense")
            world.advance(pause)
        ann.send({"type": "nonsense"})
        assert ann.close_code() == 3509


AWAY = CommandError(ErrorCode.INTERNAL, "the message store is away, try again later")
FULL = CommandError(ErrorCode.LIMIT_EXCEEDED, "there is no room; try again later", temporary=True)
HASTY = CommandError(ErrorCode.TOO_MANY_REQUESTS, "try again later")


@pytest.mark.parametrize("error", [AWAY, FULL, HASTY], ids=["away", "full", "hasty"])
@every_dialect
def test_whoever_is_told_to_try_again_may_do_so(
    world: World, dialect: Dialect, error: CommandError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during a failover, in which a client that tries again ten times a second gets many errors."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    ann = world.connect(dialect)
    said: Json = {"from": "ann", "message": "hi"}
    if dialect is NativeSession:
        ann.ask("hello", nickname="ann")
        ann.ask("join", room="r")
        said = {"type": "message", "room": "r", "message": "hi"}
    elif dialect is DirectSession:
        ann.take(1)
        said = {"to": 1, "message": "hi"}
    for method in ("publish", "direct"):
        monkeypatch.setattr(world.hub, method, refuse)
    for _ in range(3):
        ann.send_together(*[said] * MAX_ERRORS)
        refusals = [answer for answer in ann.take(MAX_ERRORS) if answer.get("type") != "join"]
        assert all("try again later" in str(refusal) for refusal in refusals)
    assert ann.connection.closed is None
    assert sum(ann.session.work.errors.values()) >= 3 * MAX_ERRORS - 1, "they are counted for /metrics"


def test_nothing_is_done_after_one_error_too_many(world: World) -> None:
    ann = world.connect(
        trailing=burst(
            {"type": "hello", "nickname": "ann"},
            *["nonsense"] * MAX_ERRORS,
            {"type": "message", "room": "r", "message": "unheard"},
        )
    )
    assert ann.close_code() == 3509
    ann.wait_gone()
    assert world.hub.rooms() == []


@every_dialect
def test_binary_is_not_understood(world: World, dialect: Dialect) -> None:
    ann = world.connect(dialect)
    ann.send(b"\x00\x01")
    assert ann.close_code() == 1003
    assert ann.wait_gone().code == 1003


# -- failures ----------------------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("method", ["begin", "handle"])
def test_an_exception_in_a_session_is_an_internal_error(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    dialect: Dialect,
    method: str,
) -> None:
    def fail(self: Session, *_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(dialect, method, fail)
    ann = world.connect(dialect)
    if method == "handle":
        ann.send("x")
    assert ann.close_code() == 1011
    ann.wait_gone()
    assert "a bug" in caplog.text


def test_an_exception_in_a_session_leaves_no_member_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, ann = world.join("bob", "r"), world.join("ann", "r")
    bob.next()

    def fail(text: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ann.session, "handle", fail)
    ann.send("x")
    assert ann.close_code() == 1011
    assert bob.next()["type"] == "leave"
    ann.wait_gone()
    assert not world.hub.is_online(2)


def test_a_person_is_not_online_any_more_when_others_hear_that_they_left(world: World) -> None:
    seen: list[tuple[str, bool]] = []

    def look(records: Sequence[Record]) -> list[int]:
        seen.append((records[0].event.type, world.hub.is_online(1)))
        return ids_of(records)

    ann = world.join("ann", "r")
    world.hub.find("r").subscribe(RecordingSink(), look).start()
    ann.leave()
    assert seen == [("leave", False)]


def test_an_exception_while_leaving_ends_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bob, ann = world.join("bob", "s"), world.join("ann", "r", "s")
    bob.next()

    def fail(user: object, session: str) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(world.hub.find("r"), "leave", fail)
    ann.leave()
    assert bob.next()["type"] == "leave", "the other room is left all the same"
    assert not world.hub.is_online(2)
    assert "could not leave" in caplog.text
    monkeypatch.undo()
    world.hub.find("r").leave(2, ann.session.session)  # type: ignore[attr-defined]


@every_dialect
def test_a_hub_that_closed_before_the_greeting_says_shutdown(
    world: World, caplog: pytest.LogCaptureFixture, dialect: Dialect
) -> None:
    def begin(session: Session) -> None:
        raise RoomClosed("the hub is closed")

    def spoil(session: Session) -> None:
        session.begin = lambda: begin(session)  # type: ignore[method-assign]

    ann = world.connect(dialect, ready=spoil)
    assert ann.close_code() == 3001
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- what an end leaves ------------------------------------------------------------------------------


def closes(person: Person) -> None:
    person.client.close()


def resets(person: Person) -> None:
    person.reset()


def hangs_up(person: Person) -> None:
    person.client.socket.shutdown(2)


@pytest.mark.parametrize("end", [closes, resets, hangs_up])
def test_every_end_leaves_rooms_and_the_hub(world: World, end: Callable[[Person], None]) -> None:
    bob, ann = world.join("bob", "r", "s"), world.join("ann", "r", "s")
    ann.ask("subscribe", room="t")
    bob.take(2)
    end(ann)
    left = bob.take(2)
    assert {event["chatroomId"] for event in left} == {"r", "s"}
    assert {(event["type"], event["userId"]) for event in left} == {("leave", 2)}
    reason = ann.wait_gone()
    assert reason.code == (1000 if end is closes else 1006)
    assert not world.hub.is_online(2)
    assert world.hub.find("t").fanout._attended == 0
    assert bob.refused("direct", to=2, message="hi") == 108


@every_dialect
def test_a_peers_close_is_answered_alike(world: World, dialect: Dialect) -> None:
    ann = world.connect(dialect)
    ann.client.close(4001, "bye")
    assert ann.client.close_code == 4001
    reason = ann.wait_gone()
    assert (reason.code, reason.reason) == (4001, "bye")


def test_the_sender_of_a_close_is_heard_to_the_end(world: World) -> None:
    bob = world.join("bob", "r")
    ann = world.connect(
        trailing=burst(
            {"type": "hello", "nickname": "ann"}, {"type": "message", "room": "r", "message": "bye"}
        )
        + client_frame(frames.CLOSE, (1000).to_bytes(2, "big"))
    )
    ann.wait_gone()
    assert bob.next()["message"] == "bye"


# -- states ------------------------------------------------------------------------------------------


def distinct(person: Person) -> list[ConnectionState]:
    """The states that it went through."""
    states = person.connection.states
    return [state for i, state in enumerate(states) if not i or states[i - 1] is not state]


@every_dialect
def test_a_connection_goes_through_all_states_one_way(world: World, dialect: Dialect) -> None:
    ann = world.connect(dialect)
    if dialect is NativeSession:
        ann.ask("hello", nickname="ann")
    elif dialect is BroadcastSession:
        ann.send({"from": "ann", "message": "hi"})
        ann.next()
    else:
        ann.next()
    assert ann.connection.state is ConnectionState.IN_CHAT
    ann.leave()
    assert distinct(ann) == STATES


def test_one_who_never_said_hello_was_never_in_the_chat(world: World) -> None:
    ann = world.connect()
    ann.leave()
    assert distinct(ann) == [state for state in STATES if state is not ConnectionState.IN_CHAT]


def test_a_hello_behind_a_close_does_not_lead_back(world: World) -> None:
    def kick(session: Session) -> None:
        arrive = session.hub.arrive

        def arrive_and_kick(newcomer: Session) -> None:  # as another thread might, in this moment
            arrive(newcomer)
            newcomer.close(CloseCode.FORCE_DISCONNECT)
            session.hub.arrive = arrive  # type: ignore[method-assign]

        session.hub.arrive = arrive_and_kick  # type: ignore[method-assign,assignment]

    ann = world.connect(trailing=burst({"type": "hello", "id": 1, "nickname": "ann"}), ready=kick)
    assert ann.close_code() == 3503
    ann.wait_gone()
    assert not world.hub.is_online(1)
