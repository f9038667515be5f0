"""What nobody decided is closed: strangers beside tokens, what a token does not grant, other tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.abuse.doors import handshake
from tests.server.session_helpers import Person, World, worlds
from tests.server.token_helpers import NOW, SECRET, Wall, private_key, public_pem, token
from threadchat import Chat, Config
from threadchat.errors import BadToken
from threadchat.server.auth.admission import Admission
from threadchat.server.auth.tokens import Tokens
from threadchat.server.session.legacy import DirectSession
from threadchat.server.session.native import NativeSession
from threadchat.server.session.session import Session


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=86400) as world:
        world.admission = Admission(Tokens(Config(token_key=SECRET), clock=Wall()))
        yield world


def with_token(world: World, dialect: type[Session] = NativeSession, **claims: Any) -> Person:
    tokens = world.admission.tokens
    assert tokens is not None
    shown = tokens.verify(token(**claims))
    person = world.connect(dialect, identity=shown.user, shown=shown)
    if dialect is NativeSession:
        assert person.ask("hello", nickname="ann")["user"] == shown.user.id
    return person


# -- anonymous ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws", "/"])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_with_a_key_nobody_comes_in_without_a_token(
    path: str, algorithm: str, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    keys = tmp_path / "keys.pem"
    keys.write_bytes(public_pem(private_key()))
    settings = {"token_key": SECRET} if algorithm == "HS256" else {"token_keys": str(keys)}
    with Chat(Config(port=0, **settings)) as chat:
        chat.listen()
        assert handshake(chat, path) == 401
    assert f"{next(iter(settings))} is set: only people with a token may connect" in caplog.text


def test_the_native_dialect_waits_for_the_token_of_hello() -> None:
    from threadchat import Client, CommandError

    with Chat(Config(port=0, token_key=SECRET)) as chat:
        chat.listen()
        assert handshake(chat, "/chat") == 101
        with pytest.raises(CommandError, match="without a token"):
            Client(chat.url, nickname="eve")


@pytest.mark.parametrize(
    ("settings", "admitted"),
    [
        ({}, True),
        ({"token_key": SECRET}, False),
        ({"token_keys": "keys.pem"}, False),
        ({"token_key": SECRET, "anonymous": True}, True),
        ({"token_key": SECRET, "anonymous": "yes"}, True),
        ({"anonymous": False}, False),
        ({"anonymous": "auto"}, True),
    ],
)
def test_who_says_so_lets_strangers_in(settings: dict[str, Any], admitted: bool) -> None:
    assert Config(**settings).admits_anonymous is admitted


def test_who_decided_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    for anonymous in (True, False):
        Chat(Config(token_key=SECRET, anonymous=anonymous)).close()
        Chat(Config(token_key=SECRET), anonymous=anonymous).close()
    Chat(Config()).close()
    assert "may connect" not in caplog.text


# -- permissions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rooms", [{}, [], {"lobby": "rw"}, {"*": "rwm"}, ["*"]])
def test_a_token_that_names_rooms_opens_only_what_it_names(world: World, rooms: Any) -> None:
    bob = world.enter("bob")
    ann = with_token(world, rooms=rooms)
    assert ann.refused("direct", to=bob.welcome["user"], message="hi") == 103
    assert ann.refused("call", name="anything") == 103
    assert bob.unheard() == []


def test_the_short_dialect_asks_for_the_same_letter(world: World) -> None:
    bob = world.enter("bob")
    for rooms, said in (({"*": "rw"}, 0), ({"*": "d"}, 1), (None, 1)):
        ann = with_token(world, DirectSession, rooms=rooms)
        assert ann.next() == {"id": 7}
        ann.send({"to": bob.welcome["user"], "message": "hi"})
        if said:
            assert bob.next()["message"] == "hi"
        else:
            assert "you may not write to user" in ann.next()["error"]


def test_letters_open_direct_and_call(world: World) -> None:
    bob = world.enter("bob")
    ann = with_token(world, rooms={"lobby": "r", "*": "d"})
    assert ann.ask("direct", to=bob.welcome["user"], message="hi")["type"] == "ok"
    assert ann.refused("call", name="anything") == 103
    assert ann.refused("message", room="ops", message="hi") == 103
    cy = with_token(world, sub="8", rooms={"*": "c"})
    assert cy.refused("call", name="anything") == 104  # there is no such command, but it was asked for
    assert cy.refused("direct", to=bob.welcome["user"], message="hi") == 103


def test_without_the_claim_all_of_it_is_open(world: World) -> None:
    bob = world.enter("bob")
    ann = with_token(world)
    assert ann.ask("direct", to=bob.welcome["user"], message="hi")["type"] == "ok"
    assert ann.refused("call", name="anything") == 104


@pytest.mark.parametrize("rooms", [{"lobby": "rwd"}, {"*": "rw", "team-*": "c"}])
def test_a_letter_without_a_room_belongs_to_no_room(rooms: Any) -> None:
    with pytest.raises(BadToken, match="may have d and c"):
        Tokens(Config(token_key=SECRET), clock=Wall()).verify(token(rooms=rooms))


# -- typ ---------------------------------------------------------------------------------------------


def typed(kind: object) -> str:
    claims = {"sub": "7", "exp": NOW + 3600}
    return jwt.encode(claims, SECRET, "HS256", headers={"typ": kind})


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "application/JWT"])
def test_tokens_for_access_are_taken(kind: str) -> None:
    assert Tokens(Config(token_key=SECRET), clock=Wall()).verify(typed(kind)).user.id == 7


def test_typ_may_be_missing() -> None:
    assert Tokens(Config(token_key=SECRET), clock=Wall()).verify(typed(None)).user.id == 7


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "dpop+jwt", "JWE", 7, ["JWT"]])
def test_tokens_that_are_for_something_else_are_refused(kind: object) -> None:
    with pytest.raises(BadToken, match="typ must be JWT or at"):
        Tokens(Config(token_key=SECRET), clock=Wall()).verify(typed(kind))


@pytest.mark.parametrize("command", ["edit", "react", "unreact", "delete"])
def test_a_message_in_a_closed_room_is_not_changed(world: World, command: str) -> None:
    """Nor is told whether there is such a room, or such a message."""
    bob = world.enter("bob")
    bob.ask("message", room="ops", message="hi")
    ann = with_token(world, rooms={"lobby": "rw"})
    for room in ("ops", "nothing"):
        for event in (1, 99):
            fields = {"edit": {"message": "x"}, "delete": {}}.get(command, {"emoji": "\N{THUMBS UP SIGN}"})
            assert ann.refused(command, room=room, event=event, **fields) == 103
