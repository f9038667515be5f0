"""Deadlines for what a client has to do, where it did so and the server is too busy to notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.session_helpers import Person, World, worlds
from tests.wire.helpers import PATIENCE, Turnless
from threadchat.server.session.session import Session
from threadchat.wire.pinger import CATCHING_UP


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=86400) as world:
        yield world


def without_turns(world: World) -> tuple[Person, Turnless]:
    """Somebody whose reader takes what they send, and then has no turn."""
    sockets: list[Turnless] = []

    def ready(session: Session) -> None:
        transport = session.connection._transport
        sockets.append(Turnless(transport.socket))
        transport.socket = sockets[0]  # type: ignore[assignment]

    return world.connect(ready=ready), sockets[0]


def test_a_hello_that_waits_for_its_reader_is_in_time(world: World) -> None:
    ann, sock = without_turns(world)
    ann.send({"type": "hello", "id": 1, "nickname": "ann"})
    assert sock.taken.wait(PATIENCE)
    world.advance(world.config.hello_timeout)
    for _ in range(20):
        world.advance(1)
    assert ann.connection.closed is None
    sock.turn.set()
    assert ann.reply(1)["type"] == "ok"
    world.advance(100)
    assert ann.ask("ping")["type"] == "ok", "the deadline is over"


def test_a_profile_that_waits_for_its_reader_is_in_time(world: World) -> None:
    ann, sock = without_turns(world)
    sock.turn.set()
    assert ann.ask("hello")["type"] == "ok"
    sock.turn.clear()
    sock.taken.clear()
    ann.send({"type": "profile", "id": "me", "nickname": "ann"})
    assert sock.taken.wait(PATIENCE)
    world.advance(world.config.profile_timeout)
    world.advance(1)
    assert ann.connection.closed is None
    sock.turn.set()
    assert ann.reply("me")["type"] == "ok"


def test_a_hello_that_never_gets_a_turn_is_not_waited_for_without_end(world: World) -> None:
    ann, sock = without_turns(world)
    ann.send({"type": "hello", "id": 1, "nickname": "ann"})
    assert sock.taken.wait(PATIENCE)
    world.advance(world.config.hello_timeout)
    for _ in range(int(CATCHING_UP)):
        assert ann.connection.closed is None
        world.advance(1)
    assert ann.connection.closed is not None
    assert ann.connection.closed.code == 3502
    sock.turn.set()


def test_whoever_says_something_else_is_late(world: World) -> None:
    ann = world.connect()
    assert ann.ask("ping")["type"] == "ok"
    ann.wait_until_idle()
    world.advance(world.config.hello_timeout)
    assert ann.close_code() == 3502
