"""Tests of the two older dialects: direct messages between ids, and one broadcast room."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Json, Person, World, burst, standstill, worlds
from threadchat.chat.log.events import Direct, Draft
from threadchat.errors import CloseCode, CommandError
from threadchat.server.protocol.encoding import BROADCAST_ROOM
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.server.session.session import Session
from threadchat.wire.turnstile import Turnstile


@pytest.fixture(params=["directory", "router"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with worlds(routing=request.param) as world:
        yield world


def direct(world: World, **options: Any) -> Person:
    """Somebody on the direct dialect, who has heard its id."""
    person = world.connect(DirectSession, **options)
    greeting = person.next()
    assert set(greeting) == {"id"}
    person.welcome = greeting
    return person


def listening(world: World) -> Person:
    """Somebody on the broadcast dialect, who listens already."""
    person = world.connect(BroadcastSession)
    person.send({"from": "", "message": "here"})
    while person.next() != {"from": "", "message": "here"}:
        pass
    return person


def everything(person: Person) -> list[Json]:
    """All that came before the answer to something wrong."""
    person.send("not JSON")
    got = []
    while "error" not in (message := person.next()):
        got.append(message)
    return got


# -- direct ------------------------------------------------------------------------------------------


def test_ids_count_from_one_and_are_told(world: World) -> None:
    assert [direct(world).welcome["id"] for _ in range(3)] == [1, 2, 3]


def test_nothing_that_others_send_comes_before_ones_id(world: World) -> None:
    """Whoever floods the next id finds it as soon as the hub knows it, and before the handshake is out."""

    def flood(session: Session) -> None:
        arrive = world.hub.arrive

        def arrive_in_a_flood(arriving: Session) -> None:
            arrive(arriving)
            if arriving is session:
                for number in range(150):
                    with contextlib.suppress(CommandError):
                        world.hub.direct(1, str(number), sender=99)

        world.hub.arrive = arrive_in_a_flood  # type: ignore[method-assign]

    person = world.connect(DirectSession, ready=flood)
    assert person.next() == {"id": 1}
    assert person.next() == {"from": 99, "message": "0"}


def test_a_message_reaches_its_recipient_alone(world: World) -> None:
    first, second, third = direct(world), direct(world), direct(world)
    first.send('{"to":2,"message":"hi"}')
    assert second.next() == {"from": 1, "message": "hi"}
    assert everything(first) == everything(third) == []


def test_one_may_write_to_oneself(world: World) -> None:
    first = direct(world)
    first.send({"to": 1, "message": " "})
    assert first.next() == {"from": 1, "message": " "}
    first.send({"to": 1, "message": ""})
    assert "error" in first.next()


@pytest.mark.parametrize(
    "message",
    [
        {"to": 99, "message": "hi"},
        {"to": 0, "message": "hi"},
        {"to": -1, "message": "hi"},
        {"to": 10**30, "message": "hi"},
        {"to": "2", "message": "hi"},
        {"to": 2.5, "message": "hi"},
        {"to": True, "message": "hi"},
        {"to": None, "message": "hi"},
        {"to": 2},
        {"message": "hi"},
        {"to": 2, "message": 5},
        {},
        "[]",
        "null",
        "",
        "not JSON",
        '{"to": ' + "9" * 5000 + ', "message": "hi"}',
        '{"to": 2, "message": "\\ud800 alone"}',
        "[" * 100_000,
        '{"a":' * 700,
    ],
    ids=lambda message: str(message)[:30],
)
def test_what_cannot_be_passed_on_is_an_error_and_the_connection_lives(
    world: World, message: str | Json
) -> None:
    first, second = direct(world), direct(world)
    first.send(message)
    answer = first.next()
    assert list(answer) == ["error"]
    assert 0 < len(answer["error"]) < 300
    first.send({"to": 2, "message": "still here"})
    assert second.next()["message"] == "still here"


def test_who_left_is_unknown(world: World) -> None:
    first, second = direct(world), direct(world)
    second.leave()
    first.send({"to": 2, "message": "hi"})
    assert "not online" in first.next()["error"]


def test_a_full_outbox_is_an_error(world: World) -> None:
    first, second = direct(world), direct(world, turnstile=Turnstile())
    most = world.config.outbox_messages
    with standstill(second.turnstile):
        for i in range(most + 1):
            first.send({"to": 2, "message": str(i)})
        assert "takes no messages" in first.next()["error"]
    assert [m["message"] for m in second.take(most)] == [str(i) for i in range(most)]


def test_a_burst_is_answered_in_order(world: World) -> None:
    first = world.connect(
        DirectSession, trailing=burst(*[{"to": 1, "message": str(i)} for i in range(60)], "not JSON")
    )
    assert first.next() == {"id": 1}
    assert [m.get("message") for m in first.take(61)] == [*map(str, range(60)), None]


def test_ids_are_one_directory_for_all_dialects(world: World) -> None:
    first, ann = direct(world), world.enter("ann")
    first.send({"to": 2, "message": "from the old world"})
    message = ann.next()
    assert message.pop("unixTime")
    assert message == {"type": "direct", "from": 1, "to": 2, "message": "from the old world"}
    ann.ask("direct", to=1, message="from the new one")
    assert first.next() == {"from": 2, "message": "from the new one"}


def test_a_kick_reaches_the_direct_dialect(world: World) -> None:
    first = direct(world)
    assert world.hub.disconnect(1) == 1
    assert first.close_code() == CloseCode.FORCE_DISCONNECT


# -- broadcast ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {"from": "ann", "message": "hi"},
        {"message": "hi", "from": "ann"},
        {"from": "", "message": " "},
        {"from": "a b", "message": "\U0001f600 \u2028 \t\n <b>"},
        {"from": "n" * 1000, "message": "m" * 100_000},
    ],
    ids=lambda message: str(message)[:30],
)
def test_everybody_gets_the_same_object_the_sender_too(world: World, message: Json) -> None:
    people = [listening(world) for _ in range(3)]
    for person in people:
        everything(person)
    people[0].send(message)
    for person in people:
        assert person.next() == message
        assert everything(person) == []


@pytest.mark.parametrize(
    "message",
    [
        {"from": "ann"},
        {"from": "ann", "message": ""},
        {"message": "hi"},
        {"from": "ann", "message": 5},
        {"from": 1, "message": "hi"},
        {"from": None, "message": "hi"},
        {"from": "ann", "message": "hi", "color": "red"},
        {"from": "ann", "message": "hi", "id": 1},
        {},
        '["ann", "hi"]',
        "null",
        "",
        "not JSON",
        '{"from": "ann", "message": "\\ud800 alone"}',
        "[" * 100_000,
        '{"a":' * 700,
    ],
    ids=lambda message: str(message)[:30],
)
def test_what_is_not_two_strings_is_an_error_for_the_sender_alone(world: World, message: str | Json) -> None:
    ann, bob = listening(world), listening(world)
    everything(ann)
    ann.send(message)
    answer = ann.next()
    assert list(answer) == ["error"]
    assert '{"from": "ann", "message": "hi"}' in answer["error"]
    assert everything(bob) == []
    ann.send({"from": "ann", "message": "still here"})
    assert bob.next() == {"from": "ann", "message": "still here"}


def test_nothing_from_before_is_heard(world: World) -> None:
    listening(world)
    late = world.connect(BroadcastSession)
    assert everything(late) == []


def test_only_messages_are_heard(world: World) -> None:
    ann = listening(world)
    world.hub.publish(BROADCAST_ROOM, [Draft("join", 1, "bob"), Draft("message", None, "bob", "hi")])
    assert everything(ann) == [{"from": "bob", "message": "hi"}]


def test_the_order_is_the_same_for_everybody(world: World) -> None:
    people = [listening(world) for _ in range(3)]
    for person in people:
        everything(person)
    for i in range(30):
        for number, person in enumerate(people):
            person.send({"from": str(number), "message": str(i)})
    heard = [person.take(90) for person in people]
    assert heard[0] == heard[1] == heard[2]
    for number in range(3):
        assert [m["message"] for m in heard[0] if m["from"] == str(number)] == [str(i) for i in range(30)]


def test_who_broadcasts_has_no_id(world: World) -> None:
    listening(world)
    assert direct(world).welcome == {"id": 1}
    session = world.connect(BroadcastSession).session
    with pytest.raises(NotImplementedError):
        session.encode_direct(Direct(to=1, message="hi", time=1))


def test_after_the_hub_is_closed_a_message_is_an_error(world: World) -> None:
    ann = listening(world)
    first = direct(world)
    world.hub.close()
    ann.send({"from": "ann", "message": "hi"})
    assert ann.next() == {"error": "the server is closing"}
    first.send({"to": 99, "message": "hi"})
    assert "error" in first.next()


@pytest.mark.parametrize("dialect", [DirectSession, BroadcastSession])
def test_a_message_that_fails_is_an_error_and_the_connection_lives(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dialect: Any
) -> None:
    def fail(self: object, text: str) -> None:
        raise ZeroDivisionError("a bug")

    ann = world.connect(dialect)
    if dialect is DirectSession:
        ann.next()
    with monkeypatch.context() as patch:
        patch.setattr(dialect, "pass_on", fail)
        ann.send("x")
        assert ann.next() == {"error": "internal error"}
    assert everything(ann) == []
    assert "a bug" in caplog.text


def test_an_end_stops_listening(world: World) -> None:
    ann, bob = listening(world), listening(world)
    bob.leave()
    assert world.hub.find(BROADCAST_ROOM).fanout._attended == 1
    ann.send({"from": "ann", "message": "alone"})
    while ann.next()["message"] != "alone":
        pass
