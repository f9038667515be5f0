"""Ids of users that are text, in sessions: whom one is, writes to, filters by, and bans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.session_helpers import Person, World
from threadchat.config.settings import Config
from threadchat.errors import CloseCode, ThreadchatError
from threadchat.server.admin.api import CALLS
from threadchat.server.auth.users import User, as_user
from threadchat.server.chat import Chat
from threadchat.server.session.legacy import DirectSession
from threadchat.testing import InMemory


@pytest.fixture
def world() -> Iterator[World]:
    with World(profile_timeout=60) as made:
        made.hooks.set("authenticate", lambda environ: None)  # whoever has an identity is known
        made.hooks.set("moderates", lambda user, room: user.id == "mod")
        yield made


def enter(world: World, user: User) -> Person:
    person = world.connect(identity=user)
    person.welcome = person.ask("hello")
    return person


def test_7_and_its_text_are_two_people(world: World) -> None:
    text, number = enter(world, User("7", "text")), enter(world, User(7, "number"))
    assert (text.welcome["user"], number.welcome["user"]) == ("7", 7)
    for person in (text, number):
        person.ask("join", room="r")
    people = text.ask("who", room="r")["users"]
    assert [(person["id"], person["nickname"]) for person in people] == [(7, "number"), ("7", "text")]
    assert text.ask("count", room="r", users=["7"])["count"] == 1
    assert text.ask("count", room="r", users=[7, "7"])["count"] == 2
    text.unheard(), number.unheard()  # what both heard of coming
    world.hub.direct("7", "psst", sender=7)
    assert text.next()["from"] == 7
    assert number.unheard() == []


def test_a_ban_of_one_leaves_the_other(world: World) -> None:
    mod = enter(world, User("mod", "mod"))
    text, number = enter(world, User("7", "text")), enter(world, User(7, "number"))
    assert mod.ask("ban", user="7")["sanctions"] == [{"kind": "ban", "user": "7", "by": "mod"}]
    assert text.close_code() == CloseCode.FORCE_DISCONNECT
    assert number.ask("ping")["type"] == "ok"
    assert mod.ask("kick", user=7)["ended"] == 1


def test_resume_gives_no_text_id_away(world: World) -> None:
    ann = enter(world, User("ann", "ann"))
    thief = world.connect()
    welcome = thief.ask("hello", resume=ann.welcome["resume"], nickname="ann")
    assert welcome["user"] < 0, "the known come in by login only"


def test_the_direct_dialect_takes_both(world: World) -> None:
    ann, bob = (world.connect(DirectSession, identity=User(user)) for user in ("ann", 7))
    assert (ann.next(), bob.next()) == ({"id": "ann"}, {"id": 7})
    bob.send({"to": "ann", "message": "hi"})
    assert ann.next() == {"from": 7, "message": "hi"}
    ann.send({"to": "7", "message": "hi"})
    assert "error" in ann.next()


def test_the_known_may_listen_without_a_nickname_for_ever(world: World) -> None:
    known, stranger = enter(world, User("ann")), world.connect()
    assert stranger.ask("hello")["user"] < 0
    assert known.ask("subscribe", room="r")["type"] == "ok"
    world.advance(61)
    assert stranger.close_code() == CloseCode.STALE
    assert known.ask("ping")["type"] == "ok"
    assert known.refused("join", room="r2") == 103, "whoever is seen has a name"


def test_a_program_speaks_as_somebody_whose_id_is_text() -> None:
    """`Room.message("ann", …)` and `publish(user="ann")` mean the same."""
    with Chat(Config(), authenticate=lambda environ: "ann") as chat, InMemory(chat) as memory:
        ann = memory.connect()
        assert ann.ask("hello")["user"] == "ann"
        ann.ask("subscribe", room="r")
        chat.publish("r", "hi", user="robot")
        chat.hub.room("r").message("robot", "hi")
        events = [event for event in (ann.next() for _ in range(3)) if event["type"] == "message"]
        assert [(event["userId"], event["from"]) for event in events] == [("robot", "robot")] * 2


NFC, NFD = "Ren\xe9", "Rene\u0301"


def test_an_id_in_two_spellings_is_one_person(world: World) -> None:
    assert as_user(NFD) == User(NFC)
    rene, ann = enter(world, User(NFC, "rene")), enter(world, User("ann", "ann"))
    assert ann.ask("direct", to=NFD, message="hi")["type"] == "ok"
    assert rene.next()["message"] == "hi"
    for person in (rene, ann):
        person.ask("join", room="r")
    rene.ask("message", room="r", message="hi")
    assert ann.ask("count", room="r", users=[NFD])["count"] == 2
    mod = enter(world, User("mod", "mod"))
    assert mod.ask("kick", user=NFD)["ended"] == 1
    assert [item["user"] for item in mod.ask("ban", user=NFD)["sanctions"]] == [NFC]


@pytest.mark.parametrize("to", ["", "a\n", "a\u200b", "a\u034f", "\u3164"])
def test_nobody_has_an_id_that_nobody_sees(world: World, to: str) -> None:
    ann = enter(world, User("ann", "ann"))
    assert ann.refused("direct", to=to, message="hi") == 108
    with pytest.raises(ThreadchatError):
        as_user(to)


def test_the_application_writes_an_id_either_way() -> None:
    with Chat(Config(), authenticate=lambda environ: NFC) as chat, InMemory(chat) as memory:
        rene = memory.connect()
        rene.ask("hello")
        assert chat.connected(NFD)
        assert chat.sessions(NFD) != []
        assert chat.join(NFD, "r") == 1
        chat.emit(user=NFD, name="order")
        assert [event for event in (rene.next() for _ in range(4)) if event["type"] == "event"] != []
        assert CALLS["disconnect"](user=NFD).answer(chat) == {"connections": 1}  # type: ignore[call-arg]
