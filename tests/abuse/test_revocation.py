"""What was given to somebody can be taken back: tokens, `resume`, and the connections made with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.abuse.doors import port_of
from tests.abuse.places import SECRET, Places, end_of
from tests.broker.redis_server import why_not
from tests.e2e.process import until
from threadchat import Chat, CommandError, Config, ConnectionClosed, HandshakeRefused
from threadchat.chat.access import revocations
from threadchat.chat.access.revocations import MOST_LOGOUTS, Proof, Revocation, Revocations
from threadchat.chat.access.sanctions import Sanctions
from threadchat.chat.log.ids import LARGEST_ID
from threadchat.testing import InMemory
from threadchat.testing.peer import Peer


def token(user: str = "7", ago: float = 5.0, **claims: Any) -> str:
    """A token that was issued some seconds ago; a claim that is None is left out."""
    now = time.time()
    said = {"sub": user, "iat": now - ago, "exp": now + 600, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, SECRET, "HS256")


def code_of_hello(memory: InMemory, **fields: Any) -> int:
    peer = memory.connect()
    peer.send({"type": "hello", **fields})
    return end_of(peer).code


# -- by the application ------------------------------------------------------------------------------


def test_a_token_from_before_is_good_nowhere(places: Places) -> None:
    chat, memory = places()
    shown = token()
    ann = memory.connect()
    assert ann.ask("hello", token=shown, nickname="ann")["user"] == 7
    chat.revoke(7)
    assert (end_of(ann).code, end_of(ann).reason) == (3503, "revoked; sign in again")
    assert code_of_hello(memory, token=shown) == 3500
    with pytest.raises(HandshakeRefused) as refused:
        memory.connect(headers={"Authorization": f"Bearer {shown}"})
    assert refused.value.status == 401
    assert memory.connect().ask("hello", token=token(ago=-1), nickname="ann")["user"] == 7, "a newer one"
    assert memory.connect().ask("hello", token=token("8"), nickname="bob")["user"] == 8, "somebody else's"
    assert code_of_hello(memory, token=token(iat=None)) == 3500, "nobody can tell how old it is"


def test_it_is_of_one_user_whatever_the_id_looks_like(places: Places) -> None:
    chat, memory = places()
    text, number = token(user="x7"), token()
    chat.revoke("x7")
    assert code_of_hello(memory, token=text) == 3500
    assert memory.connect().ask("hello", token=number, nickname="ann")["user"] == 7


def test_one_token_by_its_jti(places: Places) -> None:
    chat, memory = places()
    first, second = token(jti="first"), token(jti="second")
    peers = [memory.connect() for _ in range(2)]
    for peer, shown in zip(peers, (first, second), strict=True):
        peer.ask("hello", token=shown, nickname="ann")
    chat.revoke(7, token_id="first")
    assert end_of(peers[0]).code == 3503
    assert peers[1].ask("ping")["type"] == "ok"
    assert code_of_hello(memory, token=first) == 3500
    assert memory.connect().ask("hello", token=second, nickname="ann")["user"] == 7


def test_a_refresh_with_a_revoked_token_is_refused(places: Places) -> None:
    chat, memory = places()
    stolen = token(jti="stolen", ago=50)
    ann = memory.connect()
    ann.ask("hello", token=token(ago=-1), nickname="ann")
    chat.revoke(7)
    assert ann.ask("ping")["type"] == "ok", "it is newer"
    with pytest.raises(CommandError) as caught:
        ann.ask("refresh", token=stolen)
    assert caught.value.code == 101


def test_a_strangers_resume(places: Places) -> None:
    chat, memory = places()
    eve = memory.connect()
    welcome = eve.ask("hello", nickname="eve")
    chat.revoke(welcome["user"])
    assert end_of(eve).code == 3503
    again = memory.connect().ask("hello", resume=welcome["resume"], nickname="eve")
    assert again["user"] != welcome["user"]
    assert "resumed" not in again


def test_nor_one_that_was_issued_before_the_connection_was_closed(places: Places) -> None:
    chat, memory = places()
    eve = memory.connect()
    welcome = eve.ask("hello", nickname="eve")
    chat.hub.broker.revocations.connect(lambda revocation: None)  # it is carried out too late
    chat.revoke(welcome["user"])
    later = eve.ask("profile", nickname="eva")["resume"]
    assert memory.connect().ask("hello", resume=later)["user"] != welcome["user"]


def test_a_known_persons_resume_no_longer_gives_their_nickname(places: Places) -> None:
    chat, memory = places()
    welcome = memory.connect().ask("hello", token=token(), nickname="ann")
    chat.revoke(7)
    assert "resumed" not in memory.connect().ask("hello", token=token(ago=-1), resume=welcome["resume"])


@pytest.mark.parametrize("path", ["/ws", "/"])
def test_the_short_dialects(path: str) -> None:
    with Chat(Config(port=0, token_key=SECRET)) as chat:
        chat.listen()
        url = f"ws://127.0.0.1:{port_of(chat)}{path}"
        bearer = {"Authorization": f"Bearer {token()}"}
        with Peer(url, headers=bearer) as ann:
            until(lambda: chat.connected(7), "she is there")
            chat.revoke(7)
            assert end_of(ann).code == 3503
        with pytest.raises(HandshakeRefused):
            Peer(url, headers=bearer)


def test_people_whom_a_hook_knows_are_disconnected_and_asked_about_again() -> None:
    banned: set[str] = set()
    chat = Chat(authenticate=lambda environ: None if "7" in banned else 7, anonymous=False)
    with chat, InMemory(chat) as memory:
        ann = memory.connect()
        ann.ask("hello", nickname="ann")
        banned.add("7")
        chat.revoke(7)
        assert end_of(ann).code == 3503
        with pytest.raises(HandshakeRefused):
            memory.connect()
        banned.clear()
        assert memory.connect().ask("hello", nickname="ann")["user"] == 7


@pytest.mark.parametrize("path", ["hello", "handshake"])
def test_one_that_comes_between_token_and_arrival_holds(
    path: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token was good when it was verified, and the session was unknown when it was revoked."""
    chat, memory = places()
    arrive = chat.hub.arrive

    def revoke_first(session: Any) -> None:
        chat.revoke(session.user)
        arrive(session)

    monkeypatch.setattr(chat.hub, "arrive", revoke_first)
    shown = token()
    headers = {"Authorization": f"Bearer {shown}"} if path == "handshake" else {}
    ann = memory.connect(headers=headers)
    with pytest.raises((CommandError, ConnectionClosed)) as caught:
        ann.ask("hello", nickname="ann", **({} if headers else {"token": shown}))
    assert "revoked" in str(caught.value)
    until(lambda: not chat.hub.is_online(7), "she is gone")


# -- by the person -----------------------------------------------------------------------------------


def test_logging_out_ends_a_strangers_resume(places: Places) -> None:
    _, memory = places()
    eve, twin, bob = (memory.connect() for _ in range(3))
    welcome = eve.ask("hello", nickname="eve")
    assert twin.ask("hello", resume=welcome["resume"])["user"] == welcome["user"]
    bob.ask("hello", nickname="bob")
    assert eve.ask("logout") == {"type": "ok", "re": 2}
    assert (end_of(eve).code, end_of(eve).reason) == (1000, "logged out")
    assert end_of(twin).code == 3503, "a copy of the tab is the same person"
    assert memory.connect().ask("hello", resume=welcome["resume"])["user"] != welcome["user"]
    assert bob.ask("ping")["type"] == "ok"


@pytest.mark.parametrize("claims", [{"jti": "x"}, {}])
def test_logging_out_ends_the_token_and_no_other(places: Places, claims: dict[str, str]) -> None:
    _, memory = places()
    here, elsewhere = token(**claims), token(ago=4)
    ann, phone = memory.connect(), memory.connect()
    ann.ask("hello", token=here, nickname="ann")
    phone.ask("hello", token=elsewhere, nickname="ann")
    ann.ask("logout")
    assert end_of(ann).code == 1000
    assert code_of_hello(memory, token=here) == 3500
    header, payload, signature = here.split(".")
    last = signature[-1]
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":  # spare bits of base64
        if other != last:
            assert code_of_hello(memory, token=f"{header}.{payload}.{signature[:-1]}{other}") == 3500
    assert phone.ask("ping")["type"] == "ok"


def test_before_hello_there_is_nobody_to_log_out() -> None:
    chat = Chat()
    with chat, InMemory(chat) as memory, pytest.raises(CommandError, match="say hello first"):
        memory.connect().ask("logout")


# -- kept, bounded, told -----------------------------------------------------------------------------


def test_all_nodes_of_a_cluster_know(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    places = Places("redis", tmp_path)
    try:
        (here, _), (there, elsewhere) = places(), places()
        shown = token()
        ann, eve = elsewhere.connect(), elsewhere.connect()
        ann.ask("hello", token=shown, nickname="ann")
        stranger = eve.ask("hello", nickname="eve")
        here.revoke(7)
        here.revoke(stranger["user"])
        assert end_of(ann).code == end_of(eve).code == 3503
        until(lambda: there.hub.revocations.refuses(7, Proof(0)), "the node heard of it")
        assert code_of_hello(elsewhere, token=shown) == 3500
        _, late = places()
        assert code_of_hello(late, token=shown) == 3500, "a node that comes later"
        assert late.connect().ask("hello", resume=stranger["resume"])["user"] != stranger["user"]
    finally:
        places.close()


def test_a_restart_over_sqlite_forgets_nothing(tmp_path: Path) -> None:
    places = Places("sqlite", tmp_path)
    chat, memory = places()
    shown = token()
    welcome = memory.connect().ask("hello", nickname="eve")
    chat.revoke(7)
    chat.revoke(welcome["user"])
    places.close()
    places = Places("sqlite", tmp_path)
    _, memory = places()
    assert code_of_hello(memory, token=shown) == 3500
    assert memory.connect().ask("hello", resume=welcome["resume"])["user"] != welcome["user"]
    places.close()


class Table:
    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.store = Sanctions(clock=lambda: self.now)
        self.revocations = Revocations(self.store, lambda user: ())


def test_it_is_forgotten_after_its_time_and_not_before() -> None:
    table = Table()
    table.revocations.revoke(7, 600)
    table.revocations.revoke(8, 60)
    table.revocations.revoke(7, 60)  # what the first one ended must not come back with the second
    table.now += 599
    assert table.revocations.refuses(7, Proof(0))
    assert not table.revocations.refuses(8, Proof(0))
    assert not table.revocations.refuses("7", Proof(0))
    table.now += 1
    assert not table.revocations.refuses(7, Proof(0))


def test_people_who_log_out_leave_room_for_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST_LOGOUTS", 3)
    table = Table()
    for user in range(3):
        table.revocations.log_out(-1 - user, table.now + 60)
    with pytest.raises(CommandError) as caught:
        table.revocations.log_out(-9, table.now + 60)
    assert (caught.value.code, caught.value.temporary) == (106, True)
    table.revocations.revoke(7, 60)
    table.now += 60
    table.revocations.log_out(-9, table.now + 60)
    assert MOST_LOGOUTS == 5_000


def test_a_logout_that_is_refused_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST_LOGOUTS", 0)
    chat = Chat()
    with chat, InMemory(chat) as memory:
        eve = memory.connect()
        welcome = eve.ask("hello", nickname="eve")
        with pytest.raises(CommandError) as caught:
            eve.ask("logout")
        assert caught.value.code == 106
        chat.revoke(welcome["user"])
        assert end_of(eve).code == 3503, "it is an ordinary connection again"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"user": 2**53}, "must be a user id"),
        ({"user": None}, "must be a user id"),
        ({"user": 7, "token_id": 7}, "jti of a token"),
        ({"user": 7, "seconds": 0}, "must be above 0"),
        ({"user": 7, "seconds": float("nan")}, "must be above 0"),
    ],
)
def test_what_cannot_be_revoked(arguments: dict[str, Any], wrong: str) -> None:
    with Chat() as chat, pytest.raises(CommandError, match=wrong):
        chat.revoke(**arguments)


def test_the_store_keeps_all_of_it(places: Places) -> None:
    chat, _ = places()
    store: Callable[[], list[Any]] = chat.hub.broker.revocations.list
    chat.revoke(-LARGEST_ID, seconds=60)
    chat.revoke("x", token_id="id" * 5000)
    first, second = sorted(store(), key=lambda item: str(item.by))
    assert isinstance(first, Revocation)
    assert isinstance(second, Revocation)
    assert (first.subject, first.by, first.kind) == (-LARGEST_ID, -LARGEST_ID, "user")
    assert 0 < first.since <= time.time()
    assert len(str(second.subject)) == 65
    assert chat.sanctions() == [], "they are no bans"
