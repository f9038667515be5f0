"""What one stranger may take over all connections; a newcomer beside it, and an office, meet no limit."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wire.helpers import client_frame
from threadchat import Chat, Config, ConnectionClosed
from threadchat.chat.access.sanctions import MOST
from threadchat.testing import LiveServer, Peer
from threadchat.wire.protocol import frames

EVE, ANN, OFFICE = "192.0.2.66", "198.51.100.7", "203.0.113.80"
Connect = Callable[..., Peer]


class Place:
    """A server behind a proxy that says where everybody comes from."""

    def __init__(self, stack: contextlib.ExitStack, **settings: Any) -> None:
        self._stack = stack
        people = {"1": {"id": 1, "nickname": "ann"}, "2": {"id": 2, "nickname": "eve"}}
        self.chat = Chat(
            Config(port=0, trusted_proxy="127.0.0.1", **settings),
            authenticate=lambda environ: people.get(environ["QUERY_STRING"]),
            moderates=lambda user, room: user.id == 1 or room == "eve's",
        )
        self._server = stack.enter_context(LiveServer(self.chat))

    def enter(self, address: str, nickname: str = "", user: str = "") -> Peer:
        """Somebody from an address who has said hello."""
        url = self._server.url + (f"?{user}" if user else "")
        peer = self._stack.enter_context(Peer(url, headers={"X-Forwarded-For": address}))
        peer.ask("hello", **({"nickname": nickname or "somebody"} if not user else {}))
        return peer

    def newcomer_joins_and_talks(self, address: str = ANN) -> None:
        """A newcomer opens a room of their own, says something, and reads it."""
        ann = self.enter(address, "ann")
        ann.ask("join", room=f"room of {address}")
        said = ann.ask("message", room=f"room of {address}", message="hi")
        assert ann.ask("history", room=f"room of {address}")["offset"] == said["offset"]


@pytest.fixture
def place() -> Iterator[Callable[..., Place]]:
    with contextlib.ExitStack() as stack:
        yield lambda **settings: Place(stack, **settings)


def ask_all(peer: Peer, *commands: dict[str, Any]) -> list[dict[str, Any]]:
    """Sends all at once; the replies, in the order of the commands."""
    numbered = [{**command, "id": f"c{number}"} for number, command in enumerate(commands)]
    peer.socket.sendall(b"".join(client_frame(frames.TEXT, json.dumps(each).encode()) for each in numbered))
    replies: dict[str, dict[str, Any]] = {}
    while len(replies) < len(numbered):
        message = peer.next()
        if "re" in message:
            replies[message["re"]] = message
    return [replies[each["id"]] for each in numbered]


def codes(replies: list[dict[str, Any]]) -> list[int]:
    return [reply.get("code", 0) for reply in replies]


def subscribe_to(*rooms: str) -> list[dict[str, Any]]:
    return [{"type": "subscribe", "room": room} for room in rooms]


def test_one_address_cannot_take_all_rooms(place: Callable[..., Place]) -> None:
    here = place(max_rooms=300, rooms_per_address=40)
    answers = []
    for number in range(3):
        eve = here.enter(EVE)
        answers += ask_all(eve, *subscribe_to(*[f"{number}-{i}" for i in range(30)]))
    assert codes(answers).count(0) == 40
    refused = answers[-1]
    assert (refused["code"], refused["temporary"]) == (106, True)
    assert "at most" in refused["reason"]
    assert "rooms_per_address" in refused["reason"]
    here.newcomer_joins_and_talks()


def test_nor_where_everybody_has_one_address(place: Callable[..., Place]) -> None:
    here = place(max_rooms=100, address_exempt=EVE, rooms_per_connection=20)
    answers = []
    for number in range(6):
        eve = here.enter(EVE)
        answers += ask_all(eve, *subscribe_to(*[f"{number}-{i}" for i in range(20)]))
    assert "max_rooms" in answers[-1]["reason"]
    here.newcomer_joins_and_talks(EVE)


def test_a_flood_of_rooms_takes_the_place_of_the_floods_own(place: Callable[..., Place]) -> None:
    here = place(max_rooms=300, rooms_per_address=20)
    ann = here.enter(ANN, "ann")
    ann.ask("message", room="precious", message="hi")
    eve = here.enter(EVE)
    flood = [{"type": "message", "room": f"r{i}", "message": "x"} for i in range(400)]
    assert set(codes(ask_all(eve, *flood))) == {0}
    assert ann.ask("history", room="precious")["offset"] == 1
    assert len(here.chat.hub.rooms()) <= 21


def test_subscriptions_count_over_all_connections(place: Callable[..., Place]) -> None:
    here = place(subscriptions_per_address=10)
    answers = [ask_all(here.enter(EVE), *subscribe_to("a", "b", "c", "d")) for _ in range(4)]
    assert [codes(each).count(0) for each in answers] == [4, 4, 2, 0]
    assert "at most 10 subscriptions (subscriptions_per_address)" in answers[3][0]["reason"]
    here.newcomer_joins_and_talks()


def test_what_has_ended_no_longer_counts(place: Callable[..., Place]) -> None:
    here = place(subscriptions_per_address=4)
    eve = here.enter(EVE)
    for _ in range(3):
        assert codes(ask_all(eve, *subscribe_to("a", "b", "c", "d"))) == [0] * 4
        ask_all(eve, *({"type": "unsubscribe", "room": room} for room in "abcd"))
    eve.ask("join", room="a")
    here.chat.kick(eve_id := here.chat.in_room("a")[0].user, room="a")
    assert eve_id
    assert codes(ask_all(eve, *subscribe_to("a", "b", "c", "d"))) == [0] * 4


def test_a_known_user_has_one_budget_from_many_addresses(place: Callable[..., Place]) -> None:
    here = place(subscriptions_per_address=10)
    answers = [ask_all(here.enter(f"192.0.2.{i}", user="2"), *subscribe_to("a", "b")) for i in range(4)]
    assert [codes(each).count(0) for each in answers] == [2, 2, 1, 0], "half of what an address has"
    assert "half of subscriptions_per_address" in answers[3][0]["reason"]
    assert codes(ask_all(here.enter(ANN, user="1"), *subscribe_to("a", "b"))) == [0, 0]


def test_messages_a_second_count_over_all_connections(place: Callable[..., Place]) -> None:
    here = place(message_rate_per_address=10)  # 160 at once
    flood = [{"type": "message", "room": "r", "message": "x"}] * 100
    answers = [codes(ask_all(eve, *flood)) for eve in [here.enter(EVE) for _ in range(3)]]
    assert answers[0] == [0] * 100
    assert 40 < answers[1].count(0) < 80
    assert answers[2].count(111) > 80
    here.newcomer_joins_and_talks()


def test_bytes_a_second_do_too(place: Callable[..., Place]) -> None:
    here = place(byte_rate_per_address=10_000)  # 160,000 at once
    flood = [{"type": "message", "room": "r", "message": "x" * 50_000}]
    answers = [ask_all(eve, *flood, *flood)[1] for eve in [here.enter(EVE) for _ in range(4)]]
    assert codes(answers[-1:]) == [111]
    assert "10000 bytes a second (byte_rate_per_address)" in answers[-1]["reason"]
    assert "try again in" in answers[-1]["reason"]
    here.newcomer_joins_and_talks()


def test_a_network_of_ipv6_is_one_address_and_its_site_four(place: Callable[..., Place]) -> None:
    here = place(subscriptions_per_address=2)
    taken = 0
    for i in range(8):
        eve = here.enter(f"2001:db8:0:{i}::{i}")
        taken += codes(ask_all(eve, *subscribe_to("a", "b", "c"))).count(0)
    assert taken == 8
    here.newcomer_joins_and_talks("2001:db8:1::1")


def test_the_time_of_questions_is_in_the_budget(place: Callable[..., Place]) -> None:
    here = place(query_time_per_address=1)  # 32 ms at once
    here.chat.publish("r", "hi", nickname="ann")
    for _ in range(1000):
        here.chat.publish("r", "x" * 200, nickname="ann")
    question = {"type": "count", "room": "r", "users": list(range(100))}
    refused: list[dict[str, Any]] = []
    while not refused:
        answers = ask_all(here.enter(EVE), *[question] * 50)
        refused = [answer for answer in answers if answer.get("code")]
    assert refused[0]["code"] == 111
    assert "1 ms of CPU time a second (query_time_per_address); try again in" in refused[0]["reason"]
    for command in ("history", "who", "rooms"):
        # The questions before it take what has come into the budget meanwhile.
        *_, answer = ask_all(here.enter(EVE), *[question] * 30, {"type": command, "room": "r"})
        assert answer["code"] == 111
    here.newcomer_joins_and_talks()


def test_a_moderator_of_one_room_cannot_take_all_sanctions(place: Callable[..., Place]) -> None:
    here = place(message_rate_per_address=0)
    eve, ann = here.enter(EVE, user="2"), here.enter(ANN, user="1")
    answers: list[dict[str, Any]] = []
    for start in range(0, MOST // 2 + 50, 50):
        some = range(start + 1000, start + 1050)
        answers += ask_all(eve, *({"type": "mute", "user": i, "room": "eve's"} for i in some))
    assert codes(answers).count(0) == MOST // 2
    assert "eve's" in answers[-1]["reason"]
    assert ann.ask("ban", user=999, room="")["sanctions"]
    assert ann.ask("mute", user=999, room="another")["sanctions"]


def test_no_direct_messages_for_the_absent_by_reconnecting(place: Callable[..., Place]) -> None:
    here = place()
    stored = 0
    for number in range(4):
        eve = here.enter(EVE, user="2")
        directs = [{"type": "direct", "to": 10_000 + 100 * number + i, "message": "x"} for i in range(40)]
        stored += codes(ask_all(eve, *directs)).count(0)
    assert stored <= 101


def test_an_exempt_address_has_no_budget_but_its_users_have(place: Callable[..., Place]) -> None:
    here = place(subscriptions_per_address=2, address_exempt="203.0.113.0/24")
    for _ in range(3):
        assert codes(ask_all(here.enter(OFFICE), *subscribe_to("a", "b"))) == [0, 0]
    assert codes(ask_all(here.enter(OFFICE, user="2"), *subscribe_to("a", "b"))) == [0, 106]


def test_who_goes_on_regardless_is_cut_off(place: Callable[..., Place]) -> None:
    here = place(message_rate_per_address=10)
    eve = here.enter(EVE)
    with pytest.raises(ConnectionClosed, match="3013"):
        ask_all(eve, *[{"type": "message", "room": "r", "message": "x"}] * 2000)
    here.newcomer_joins_and_talks()


def office(here: Place, people: int, rooms: int, messages: int) -> list[int]:
    """People behind one address who all come at once and talk in one room; the codes of all replies.

    Everybody reads until they have everything that was said.
    """
    found: list[int] = []

    def visit(number: int) -> None:
        peer = here.enter(OFFICE, f"n{number}")
        come = [{"type": "join", "room": "lobby"}, *subscribe_to(*[f"room {i}" for i in range(rooms)])]
        ask = [{"type": kind, "room": "lobby"} for kind in ("history", "who", "count")]
        found.extend(codes(ask_all(peer, *come, *ask, {"type": "rooms"})))
        everybody.wait(60)
        talk = [
            {"type": "message", "room": "lobby", "message": "hi", "key": f"k{i}"} for i in range(messages)
        ]
        replies, heard = 0, 0
        for each in talk:
            peer.send({**each, "id": each["key"]})
        while replies < messages or heard < people * messages:
            message = peer.next()
            replies += "re" in message
            heard += message["type"] == "message"
            if "re" in message:
                found.append(message.get("code", 0))

    everybody = threading.Barrier(people)
    threads = [threading.Thread(target=visit, args=(number,), daemon=True) for number in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return found


def test_fifty_talkative_people_behind_one_address_meet_no_limit(place: Callable[..., Place]) -> None:
    found = office(place(), 50, 5, 40)
    assert (len(found), set(found)) == (50 * (1 + 5 + 4 + 40), {0})


def test_a_team_of_two_hundred_behind_one_address_meets_no_limit(place: Callable[..., Place]) -> None:
    found = office(place(), 200, 10, 2)
    assert (len(found), set(found)) == (200 * (1 + 10 + 4 + 2), {0})
