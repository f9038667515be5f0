"""People refuse private messages from whom they like: kept with the inbox, for strangers by the node."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.abuse.places import SECRET, Places
from tests.broker.redis_server import why_not
from tests.e2e.process import until
from threadchat import Chat, Client, CommandError, Config, Publisher
from threadchat.chat.access.blocks import MOST_BLOCKED, MOST_BLOCKED_BY_STRANGER, BlocksInMemory
from threadchat.testing import InMemory
from threadchat.testing.peer import Peer


def token(user: str) -> str:
    return jwt.encode({"sub": user, "nickname": f"user {user}", "exp": time.time() + 600}, SECRET, "HS256")


def known(memory: InMemory, user: str = "7") -> Peer:
    peer = memory.connect()
    peer.ask("hello", token=token(user))
    return peer


def stranger(memory: InMemory, **fields: Any) -> tuple[Peer, dict[str, Any]]:
    peer = memory.connect()
    return peer, peer.ask("hello", nickname="eve", **fields)


def code(peer: Peer, command: str, **fields: Any) -> int:
    with pytest.raises(CommandError) as caught:
        peer.ask(command, **fields)
    return caught.value.code


def heard(peer: Peer) -> str:
    """The next private message."""
    while (message := peer.next()).get("type") != "direct":
        pass
    return str(message["message"])


def test_the_sender_is_refused_and_nobody_else(places: Places) -> None:
    chat, memory = places()
    ann, bob, cy = (known(memory, user) for user in ("7", "8", "x"))
    ann.ask("block", user=8)
    ann.ask("block", user=8)
    assert code(bob, "direct", to=7, message="no") == 103
    cy.ask("direct", to=7, message="yes")
    chat.direct(7, "from the application")
    assert heard(ann) == "yes"
    assert heard(ann) == "from the application"
    ann.ask("direct", to=8, message="one may still write to them")
    assert heard(bob) == "one may still write to them"
    with pytest.raises(CommandError) as caught:
        chat.direct(7, "in the name of bob", user=8)
    assert caught.value.code == 103
    assert ann.ask("blocked")["users"] == [8]
    ann.ask("unblock", user=8)
    ann.ask("unblock", user=8)
    bob.ask("direct", to=7, message="again")
    assert heard(ann) == "again"


def test_who_is_blocked_is_not_seen_typing(places: Places) -> None:
    _, memory = places()
    ann, bob, cy = (known(memory, user) for user in ("7", "8", "x"))
    eve, welcome = stranger(memory)

    def typist(peer: Peer) -> str | int:
        while (frame := peer.next()).get("type") != "typing":
            pass
        return frame["userId"]  # type: ignore[no-any-return]

    for peer, user in ((ann, 7), (eve, welcome["user"])):
        bob.ask("typing_to", to=user)
        assert typist(peer) == 8
        peer.ask("block", user=8)
        bob.ask("typing_to", to=user)
        cy.ask("typing_to", to=user)
        assert typist(peer) == "x", "and nothing of bob before that"


def test_it_holds_while_one_is_away_and_on_every_tab(places: Places) -> None:
    _, memory = places()
    ann, bob = known(memory), known(memory, "8")
    ann.ask("block", user=8)
    ann.close()
    assert code(bob, "direct", to=7, message="no") == 103, "it is not stored either"
    again = memory.connect()
    assert again.ask("hello", token=token("7"), inbox={"offset": 0, "epoch": ""})["inbox"]["offset"] == 0
    assert again.ask("blocked")["users"] == [8]


def test_a_number_is_not_its_text(places: Places) -> None:
    _, memory = places()
    ann, number, text = known(memory), known(memory, "8"), known(memory, "x8")
    ann.ask("block", user="x8")
    assert code(text, "direct", to=7, message="no") == 103
    number.ask("direct", to=7, message="yes")
    ann.ask("block", user="8")
    number.ask("direct", to=7, message="yes")
    assert ann.ask("blocked")["users"] == ["8", "x8"]


def test_a_stranger_blocks_and_is_blocked(places: Places) -> None:
    _, memory = places()
    ann = known(memory)
    eve, welcome = stranger(memory)
    mal, other = stranger(memory)
    ann.ask("block", user=other["user"])
    assert code(mal, "direct", to=7, message="no") == 103
    eve.ask("block", user=other["user"])
    assert code(mal, "direct", to=welcome["user"], message="no") == 108, "as if one were not there"
    ann.ask("direct", to=welcome["user"], message="yes")
    assert heard(eve) == "yes"
    assert eve.ask("blocked")["users"] == [other["user"]]
    eve.close()
    back, _ = stranger(memory, resume=welcome["resume"])
    assert back.ask("blocked")["users"] == [other["user"]]
    assert code(mal, "direct", to=welcome["user"], message="no") == 108


def test_the_short_dialect_is_held_to_it(places: Places) -> None:
    chat, memory = places(config={"port": 0})
    chat.listen()
    ann = known(memory)
    eve, welcome = stranger(memory)
    url = chat.url.replace("http", "ws")
    with Peer(url, headers={"Authorization": f"Bearer {token('8')}"}) as bob:
        assert bob.next() == {"id": 8}
        ann.ask("block", user=8)
        eve.ask("block", user=8)
        until(lambda: chat.hub.blocks_of(7).holds(7, 8), "it is kept")
        bob.send({"to": 7, "message": "no"})
        assert bob.next() == {"error": "user 7 takes no private messages from you"}
        bob.send({"to": welcome["user"], "message": "no"})
        assert "is not online" in bob.next()["error"]
        for user, peer in ((7, ann), (welcome["user"], eve)):
            chat.direct(user, "the first")
            assert heard(peer) == "the first"


@pytest.mark.parametrize(
    ("command", "user", "wrong"),
    [("block", 7, "is you"), ("block", 2**53, "user is"), ("block", "", "user is"), ("block", 1.5, "user")],
)
def test_whom_nobody_blocks(places: Places, command: str, user: Any, wrong: str) -> None:
    _, memory = places()
    with pytest.raises(CommandError, match=wrong) as caught:
        known(memory).ask(command, user=user)
    assert caught.value.code == 107


def test_before_hello_nobody_blocks() -> None:
    chat = Chat()
    with chat, InMemory(chat) as memory:
        for command in ("block", "unblock"):
            assert code(memory.connect(), command, user=7) == 101
        assert code(memory.connect(), "blocked") == 101


def test_a_list_is_bounded(places: Places) -> None:
    chat, memory = places()
    blocks = chat.hub.broker.blocks
    for user in range(MOST_BLOCKED):
        blocks.block(7, 1_000 + user)
    ann = known(memory)
    assert code(ann, "block", user=8) == 106
    ann.ask("block", user=1_000)
    assert len(ann.ask("blocked")["users"]) == MOST_BLOCKED
    ann.ask("unblock", user=1_000)
    ann.ask("block", user=8)
    eve, _ = stranger(memory)
    for user in range(MOST_BLOCKED_BY_STRANGER):
        eve.ask("block", user=1_000 + user)
    assert code(eve, "block", user=8) == 106


def test_the_lists_of_strangers_are_bounded_together_and_those_present_keep_theirs() -> None:
    present = {-1}
    blocks = BlocksInMemory(2, 3, present.__contains__)
    for owner in (-1, -2, -3):
        blocks.block(owner, 7)
    blocks.block(-2, 8)  # changed last
    blocks.block(-4, 7)
    assert [owner for owner in range(-4, 0) if blocks.of(owner)] == [-4, -2, -1]
    present |= {-2, -4}
    with pytest.raises(CommandError) as caught:
        blocks.block(-5, 7)
    assert (caught.value.code, caught.value.temporary) == (106, True)
    with pytest.raises(CommandError):
        blocks.block(-2, 9)


def test_they_outlive_a_restart_over_sqlite(tmp_path: Path) -> None:
    for blocked in ([], [8]):
        places = Places("sqlite", tmp_path)
        _, memory = places()
        ann = known(memory)
        assert ann.ask("blocked")["users"] == blocked
        ann.ask("block", user=8)
        places.close()


def test_all_nodes_and_publishers_heed_them(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    places = Places("redis", tmp_path)
    try:
        (_, here), (_, there) = places(), places()
        ann, bob = known(here), known(there, "8")
        eve, welcome = stranger(here)
        ann.ask("block", user=8)
        eve.ask("block", user=8)
        assert code(bob, "direct", to=7, message="no") == 103
        assert code(bob, "direct", to=welcome["user"], message="no") == 108
        with Publisher(places.url) as publisher:
            with pytest.raises(CommandError) as caught:
                publisher.direct(7, "no", user=8)
            assert caught.value.code == 103
            publisher.direct(7, "yes", user=9)
        assert heard(ann) == "yes"
    finally:
        places.close()


def test_the_client_knows_them() -> None:
    with Chat(Config(port=0, token_key=SECRET)) as chat:
        chat.listen()
        with Client(chat.url, token=token("7")) as ann, Client(chat.url, token=token("8")) as bob:
            ann.block(8)
            assert ann.blocked() == (8,)
            with pytest.raises(CommandError, match="takes no private messages"):
                bob.direct(7, "no")
            ann.unblock(8)
            bob.direct(7, "yes")
            assert ann.blocked() == ()
