"""What the application does to a session from other threads, at the worst moments."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chat.helpers import Watched, join, run
from tests.server.session_helpers import until
from tests.wire.helpers import PATIENCE
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import UserId
from threadchat.chat.room import Room
from threadchat.config.settings import Config
from threadchat.errors import CommandError, Refuse
from threadchat.server.chat import Chat
from threadchat.server.session.application import ApplicationSession
from threadchat.testing import InMemory, Peer


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(), authenticate=lambda environ: environ.get("HTTP_X_USER")) as made:
        yield made


@pytest.fixture
def memory(chat: Chat) -> Iterator[InMemory]:
    with InMemory(chat) as made:
        yield made


def enter(memory: InMemory, user: str = "ann", **fields: Any) -> Peer:
    peer = memory.connect(headers={"X-User": user})
    peer.ask("hello", nickname=user, **fields)
    return peer


def memberships_of(chat: Chat, user: str) -> Any:
    [session] = chat.hub._sessions.of(user)
    assert isinstance(session, ApplicationSession)
    return session._memberships


class Held:
    """Stops everybody who enters a room, until the test lets them go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there, self.go = threading.Semaphore(0), threading.Event()
        enter = Room.enter

        def held(room: Room, *arguments: Any) -> None:
            self.there.release()
            assert self.go.wait(PATIENCE)
            enter(room, *arguments)

        monkeypatch.setattr(Room, "enter", held)


def test_whoever_goes_while_being_put_into_a_room_is_not_left_behind_there(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, held = enter(memory), Held(monkeypatch)
    memberships = memberships_of(chat, "ann")
    memberships._changed = watched = Watched()
    threads = run(lambda: chat.join("ann", "lobby"))
    assert held.there.acquire(timeout=PATIENCE)
    ann.reset()
    assert watched.waiting.acquire(timeout=PATIENCE), "the reader waits for whoever opens the membership"
    held.go.set()
    join(threads)
    memory.close()
    assert chat.in_room("lobby") == []
    with pytest.raises(CommandError, match="the connection has ended"):
        memberships.open(Wish("late"), None, None)


class Wish:
    """To subscribe to a room."""

    types = users = names = since = None

    def __init__(self, room: str) -> None:
        self.room = room


def test_a_leave_waits_for_the_join_that_it_ends(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, held = enter(memory), Held(monkeypatch)
    memberships_of(chat, "ann")._changed = watched = Watched()
    threads = run(lambda: chat.join("ann", "lobby"))
    assert held.there.acquire(timeout=PATIENCE)
    threads += run(lambda: chat.leave("ann", "lobby"))
    assert watched.waiting.acquire(timeout=PATIENCE)
    held.go.set()
    join(threads)
    assert chat.in_room("lobby") == []
    assert [ann.next()["type"] for _ in range(3)] in (["joined", "join", "left"], ["joined", "left", "join"])
    assert ann.ask("join", room="lobby")["type"] == "ok"


def test_two_who_put_one_into_a_room_do_it_once(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(memory)
    held, moved = Held(monkeypatch), []
    threads = run(*[lambda: moved.append(chat.join("ann", "lobby"))] * 2)
    assert held.there.acquire(timeout=PATIENCE)
    held.go.set()
    join(threads)
    assert sorted(moved) == [0, 1]
    [occupant] = chat.in_room("lobby")
    assert len(occupant.sessions) == 1


def test_a_ban_while_being_put_into_a_room_evicts(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, held = enter(memory), Held(monkeypatch)
    threads = run(lambda: chat.join("ann", "lobby"))
    assert held.there.acquire(timeout=PATIENCE)
    chat.ban("ann", room="lobby")
    held.go.set()
    join(threads)
    assert chat.in_room("lobby") == []
    kinds = [ann.next()["type"] for _ in range(3)]
    assert kinds[0] == "joined"
    assert "kicked" in kinds


def test_a_session_that_has_called_leaves_no_cycle(chat: Chat, memory: InMemory) -> None:
    chat.command("c")(lambda caller: caller.join("r"))
    ann = enter(memory)
    ann.ask("call", name="c")
    chat.emit(user="ann", name="notice")
    [session] = chat.hub._sessions.of("ann")
    gone = weakref.ref(session)
    del session
    gc.disable()
    try:
        memory.close()
        until(lambda: gone() is None)  # its writer and the call's thread may be about to end
    finally:
        gc.enable()


def test_whom_on_connect_refuses_is_in_no_room(chat: Chat, memory: InMemory) -> None:
    refuse = [True]

    @chat.on_connect
    def connected(info: Any) -> None:
        assert chat.join(info.user.id, "lobby") == 1
        if refuse.pop():
            refuse.append(False)
            raise Refuse("not today")

    ann = memory.connect(headers={"X-User": "ann"})
    with pytest.raises(CommandError, match="not today"):
        ann.ask("hello", nickname="ann")
    assert chat.in_room("lobby") == []
    ann.ask("hello", nickname="ann")
    assert [occupant.user for occupant in chat.in_room("lobby")] == ["ann"]


def test_what_comes_while_hello_looks_for_the_inbox_comes_behind_the_reply(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox begins between the look for it and the note that there is none."""
    find = Hub.find_inbox

    def look(hub: Hub, user: UserId) -> Room | None:
        found = find(hub, user)
        if found is None:
            join(run(lambda: chat.emit(user="ann", name="first")))
        return found

    monkeypatch.setattr(Hub, "find_inbox", look)
    ann = memory.connect(headers={"X-User": "ann"})
    ann.send({"type": "hello", "id": 1, "nickname": "ann", "inbox": {"offset": 0, "epoch": ""}})
    reply, event = ann.next(), ann.next()
    assert reply["re"] == 1
    assert reply["inbox"]["recovered"] is True
    assert event["name"] == "first"


def test_what_comes_before_the_reply_to_hello_follows_it(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = ApplicationSession.reply

    def late(session: ApplicationSession, *arguments: Any) -> None:
        if "session" in arguments[1]:
            join(run(lambda: chat.emit(user="ann", name="first")))
        reply(session, *arguments)

    monkeypatch.setattr(ApplicationSession, "reply", late)
    ann = memory.connect(headers={"X-User": "ann"})
    ann.send({"type": "hello", "id": 1, "nickname": "ann"})
    kinds = [ann.next() for _ in range(3)]
    assert [item["type"] for item in kinds] == ["ok", "inbox", "event"]
    assert kinds[1]["offset"] == 0
