"""The moderator of one room learns nobody's address, and bans nobody by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Person, World, worlds
from tests.server.token_helpers import SECRET, Wall, token
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction
from threadchat.config.settings import Config
from threadchat.server.auth.admission import Admission
from threadchat.server.auth.sanction_check import SanctionCheck
from threadchat.server.auth.tokens import Tokens
from threadchat.server.auth.users import User
from threadchat.server.session.session import Session

OF_LOBBY, OF_ALL = 90, 91
FAR = "203.0.113.1"


def at(address: str) -> Callable[[Session], None]:
    def move(session: Session) -> None:
        session.identity.address = address
        session.sanction_check = SanctionCheck(session.hub.sanctions, address)

    return move


@pytest.fixture(params=["hook", "token"])
def moderators(request: pytest.FixtureRequest) -> Iterator[tuple[World, Person, Person, Person]]:
    """The moderators of the lobby and of everything, by either way, and ann, who is in the lobby."""
    with worlds(pong_timeout=3600) as world:
        passes: dict[int, Any] = {}
        tokens = Tokens(Config(token_key=SECRET), clock=Wall())
        world.admission = Admission(tokens)
        if request.param == "hook":
            world.hooks.set(
                "moderates", lambda user, room: user.id == OF_ALL or (user.id == OF_LOBBY and room == "lobby")
            )
        else:
            passes = {
                OF_LOBBY: tokens.verify(token(sub=str(OF_LOBBY), rooms={"lobby": "rwm", "*": "rw"})),
                OF_ALL: tokens.verify(token(sub=str(OF_ALL), rooms={"*": "rwm"})),
            }

        def enter(user: int, address: str) -> Person:
            person = world.connect(
                identity=User(user, f"user{user}"), shown=passes.get(user), ready=at(address)
            )
            assert person.ask("hello")["user"] == user
            assert person.ask("join", room="lobby")["type"] == "ok"
            return person

        yield world, enter(OF_LOBBY, FAR), enter(OF_ALL, FAR), enter(7, "192.0.2.7")


Moderators = tuple[World, Person, Person, Person]


def test_no_address_is_banned_along_for_one_room(moderators: Moderators) -> None:
    world, of_lobby, of_all, _ = moderators
    answer = of_lobby.ask("ban", user=7, room="lobby", with_address=True)
    assert (answer["code"], "192.0.2" in str(answer)) == (103, False)
    assert world.hub.sanctions.list() == []
    imposed = of_all.ask("ban", user=7, room="lobby", with_address=True)["sanctions"]
    assert [item.get("address") for item in imposed] == [None, "192.0.2.7"]


@pytest.mark.parametrize("command", ["ban", "mute", "unban", "unmute"])
@pytest.mark.parametrize("address", ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/1"])
def test_nobody_is_named_by_address_for_one_room(moderators: Moderators, command: str, address: str) -> None:
    world, of_lobby, of_all, ann = moderators
    before = list(world.hub.sanctions.list())
    assert of_lobby.refused(command, address=address, room="lobby") == 103
    assert world.hub.sanctions.list() == before
    assert all(message["type"] != "kicked" for message in ann.unheard())
    assert of_all.ask(command, address=address, room="lobby")["type"] == "ok"


def test_the_list_of_a_room_has_no_addresses_for_its_moderator(moderators: Moderators) -> None:
    world, of_lobby, of_all, _ = moderators
    for sanction in (Sanction(BAN, "192.0.2.0/24", "lobby"), Sanction(MUTE, 8, "lobby")):
        world.hub.sanctions.impose(sanction)
    listed = of_lobby.ask("sanctions", room="lobby")
    assert ([item.get("user") for item in listed["sanctions"]], listed["count"]) == ([8], 1)
    assert of_all.ask("sanctions", room="lobby")["count"] == 2


def test_by_id_a_moderator_does_what_they_did(moderators: Moderators) -> None:
    _, of_lobby, _, ann = moderators
    assert of_lobby.ask("ban", user=7, room="lobby")["sanctions"][0]["user"] == 7
    ann.next()
    assert ann.refused("join", room="lobby") == 103
    assert of_lobby.ask("unban", user=7, room="lobby")["lifted"] is True
