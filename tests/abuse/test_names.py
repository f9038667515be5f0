"""Names on the dialect /ws, and what people say about themselves, are what they seem to be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from threadchat import Chat, CommandError, Config
from threadchat.testing import LiveServer, Peer

INVISIBLE = [
    "  ",
    " ann",
    "ann ",
    "\u3164",
    "\u2800",
    "an\u200bn",
    "\u202eann",
    "ann\x00",
    "ann\x1b[2J",
    "ann\n",
    "\x85",
    "\x7f",
]
NAMES = {"1": {"id": 1, "nickname": "ann"}, "2": {"id": 2, "nickname": "bob"}, "3": {"id": 3}}


@pytest.fixture
def server() -> Iterator[LiveServer]:
    chat = Chat(Config(port=0), authenticate=lambda environ: NAMES.get(environ["QUERY_STRING"]))
    with LiveServer(chat) as server:
        yield server


def say(peer: Peer, name: str, message: str = "hi") -> dict[str, object]:
    peer.send({"from": name, "message": message})
    return peer.next()


@pytest.mark.parametrize("name", INVISIBLE)
def test_no_name_on_ws_that_cannot_be_seen(server: LiveServer, name: str) -> None:
    with Peer(server.at("/ws")) as peer:
        assert "from" in str(say(peer, name)["error"])
        assert say(peer, "ann")["from"] == "ann"
        assert say(peer, "")["from"] == ""  # says that it is nobody's


@pytest.mark.parametrize("control", ["\x00", "\x1b[2J", "\x07", "\x7f", "\x9b2J"])
def test_no_control_characters_on_ws(server: LiveServer, control: str) -> None:
    with Peer(server.at("/ws")) as peer:
        assert "control" in str(say(peer, "ann", f"a{control}b")["error"])
        assert say(peer, "ann", "two\n\tlines\r\n")["message"] == "two\n\tlines\r\n"


@pytest.mark.parametrize(
    "about", ["a\x00", "\x1b[31mred", "two\nlines", "\u202ebackwards", "in\u2060visible", "\u3164"]
)
def test_nor_in_what_somebody_says_about_themselves(server: LiveServer, about: str) -> None:
    with Peer(server.url) as peer:
        peer.ask("hello", nickname="cyd")
        with pytest.raises(CommandError, match="about has U") as caught:
            peer.ask("profile", nickname="dan", about=about)
        assert caught.value.code == 107
        peer.ask("join", room="r")
        assert peer.next()["from"] == "cyd"  # nothing of it was taken
        assert (
            peer.ask("profile", nickname="dan", about="Likes chess \u265f\ufe0f and caf\xe9s.")["type"]
            == "ok"
        )


def test_a_known_persons_name_is_theirs(server: LiveServer) -> None:
    with Peer(server.at("/ws")) as stranger, Peer(server.at("/ws?1")) as ann:
        assert say(ann, "ann")["from"] == "ann"
        assert stranger.next()["from"] == "ann"
        for name in ("ann", "Ann", "ANN"):
            assert "an authenticated user" in str(say(stranger, name)["error"])
        assert "your nickname here is ann" in str(say(ann, "bob")["error"])


def test_also_when_they_have_come_by_another_way_and_gone(server: LiveServer) -> None:
    with Peer(f"{server.url}?1") as ann:
        ann.ask("hello")
    with Peer(server.at("/ws")) as stranger, Peer(server.at("/ws?3")) as nameless:
        assert "an authenticated user" in str(say(stranger, "ann")["error"])
        assert "an authenticated user" in str(say(nameless, "ann")["error"])
        assert say(stranger, "cyd")["from"] == "cyd"


def test_two_who_are_known_may_have_the_same_name() -> None:
    people = {"1": {"id": 1, "nickname": "ann"}, "2": {"id": 2, "nickname": "ann"}}
    chat = Chat(Config(port=0), authenticate=lambda environ: people.get(environ["QUERY_STRING"]))
    with LiveServer(chat) as server, Peer(server.at("/ws?1")) as one, Peer(server.at("/ws?2")) as other:
        assert say(one, "ann")["from"] == "ann"
        other.next()
        assert say(other, "ann")["from"] == "ann"
