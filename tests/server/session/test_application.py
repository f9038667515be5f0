"""The application's commands: typed data, errors, order, the pool, and what a caller can do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest

from tests.wire.helpers import PATIENCE
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ConfigError, ErrorCode, Refuse
from threadchat.server.chat import Chat
from threadchat.server.session.caller import MAX_POOLED, Caller
from threadchat.testing import InMemory, Peer


class Order(msgspec.Struct):
    id: int
    note: str = ""


@dataclass
class Place:
    x: int


class Shape(TypedDict):
    sides: int


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(), authenticate=lambda environ: environ.get("HTTP_X_USER")) as made:
        yield made


@pytest.fixture
def memory(chat: Chat) -> Iterator[InMemory]:
    with InMemory(chat) as made:
        made.chat = chat  # type: ignore[attr-defined]
        yield made


def enter(memory: InMemory, user: str = "ann", **headers: str) -> Peer:
    peer = memory.connect(headers={"X-User": user, **headers})
    peer.welcome = peer.ask("hello", nickname=user)  # type: ignore[attr-defined]
    return peer


def refused(peer: Peer, name: str, data: object = None) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        peer.ask("call", name=name, data=data)
    return int(caught.value.code), caught.value.reason


def test_a_command_is_called_with_who_calls_and_the_data(chat: Chat, memory: InMemory) -> None:
    seen: list[Any] = []

    @chat.command("order.cancel")
    def cancel(caller: Caller, data: Order) -> dict[str, int]:
        seen.append((caller.user.id, caller.user.nickname, caller.session, caller.address, data))
        seen.append((caller.environ["HTTP_COOKIE"], caller.environ["PATH_INFO"]))
        caller.state["calls"] = caller.state.get("calls", 0) + 1
        return {"left": caller.state["calls"]}

    ann, other = enter(memory, Cookie="a=b"), enter(memory, Cookie="c=d")
    assert ann.ask("call", name="order.cancel", data={"id": 7})["data"] == {"left": 1}
    assert ann.ask("call", name="order.cancel", data={"id": 8, "note": "x"})["data"] == {"left": 2}
    assert other.ask("call", name="order.cancel", data={"id": 9})["data"] == {"left": 1}, "a state of its own"
    session = ann.welcome["session"]  # type: ignore[attr-defined]
    assert seen[0] == ("ann", "ann", session, "127.0.0.1", Order(7))
    assert seen[1] == ("a=b", "/chat")
    assert seen[5] == ("c=d", "/chat")


@pytest.mark.parametrize(
    ("kind", "value", "bad", "where"),
    [
        (Order, Order(7), {"id": "7"}, "$.id"),
        (Order, Order(7, "x"), {}, "`id`"),
        (Place, Place(1), {"x": None}, "$.x"),
        (Shape, {"sides": 3}, {"sides": []}, "$.sides"),
        (list[int], [1, 2], [1, "2"], "$[1]"),
        (str, "x", 7, "Expected `str`"),
        (Any, {"a": [None]}, None, None),
    ],
)
def test_data_is_decoded_into_what_it_is_annotated_with(
    memory: InMemory, kind: Any, value: object, bad: object, where: str | None
) -> None:
    chat, good = memory.chat, msgspec.to_builtins(value)  # type: ignore[attr-defined]
    seen: list[object] = []

    def command(caller: Caller, data: Any) -> None:
        seen.append(data)

    command.__annotations__["data"] = kind
    chat.command("c")(command)
    ann = enter(memory)
    assert "data" not in ann.ask("call", name="c", data=good)
    assert seen == [value]
    if where is not None:
        code, reason = refused(ann, "c", bad)
        assert code == ErrorCode.BAD_REQUEST
        assert reason.startswith("c: ")
        assert where in reason
        assert len(seen) == 1


def test_a_command_may_take_no_data_or_any(chat: Chat, memory: InMemory) -> None:
    chat.command("alone")(lambda caller: 1)
    chat.command("any")(lambda caller, data: data)
    chat.command("rest")(lambda *arguments: len(arguments))
    ann = enter(memory)
    assert [ann.ask("call", name=name, data=[7])["data"] for name in ("alone", "any", "rest")] == [1, [7], 2]
    assert "data" not in ann.ask("call", name="any"), "null in, null out"
    large = [{"a": [number]} for number in range(2000)]
    assert ann.ask("call", name="any", data=large)["data"] == large


def test_what_a_command_raises(chat: Chat, memory: InMemory, caplog: pytest.LogCaptureFixture) -> None:
    def command(caller: Caller, data: str) -> object:
        if data == "refuse":
            raise Refuse("not yours")
        if data == "limit":
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, "three are enough", temporary=True)
        if data == "exit":
            raise SystemExit(3)
        return {1, 2} if data == "set" else object() if data == "object" else 1 / 0

    chat.command("c")(command)
    ann = enter(memory)
    assert refused(ann, "c", "refuse") == (103, "not yours")
    assert refused(ann, "c", "limit") == (106, "three are enough")
    assert ann.ask("call", name="c", data="set")["data"] == [1, 2]
    with caplog.at_level(logging.ERROR):
        for data in ("object", "exit", "else"):
            code, reason = refused(ann, "c", data)
            assert (code, reason) == (100, "internal error"), "nothing of the inside is told"
    assert caplog.text.count("the command c failed") == 3
    assert refused(ann, "d") == (104, "the application has no command 'd'")


def test_nobody_calls_before_hello_and_authorize_is_asked(chat: Chat, memory: InMemory) -> None:
    asked: list[Any] = []

    @chat.authorize
    def may(user: Any, action: str, what: object) -> bool:
        asked.append((user.id, action, what))
        return what != "secret"

    chat.command("open")(lambda caller: 1)
    chat.command("secret")(lambda caller: 2)
    stranger = memory.connect(headers={"X-User": "ann"})
    assert refused(stranger, "open")[0] == ErrorCode.UNAUTHORIZED
    ann = enter(memory)
    ann.ask("call", name="open")
    assert refused(ann, "secret") == (103, "you may not call secret")
    assert asked == [("ann", "call", "open"), ("ann", "call", "secret")]


@pytest.mark.parametrize("name", ["", "Order", "a b", "x" * 65, "é", 7, "a\n"])
def test_a_command_has_a_name_that_can_be_one(chat: Chat, name: Any) -> None:
    with pytest.raises(ConfigError, match=r"it must be 1 to 64 of a-z"):
        chat.command(name)(lambda caller: None)


def test_what_is_no_command(chat: Chat) -> None:
    chat.command("c")(lambda caller: None)
    with pytest.raises(ConfigError, match="exists already"):
        chat.command("c")(lambda caller: None)
    with pytest.raises(ConfigError, match="must take a caller"):
        chat.command("d")(lambda: None)
    with pytest.raises(ConfigError, match="must take a caller"):
        chat.command("d")(lambda caller, data, more: None)
    with pytest.raises(ConfigError, match="reader or pool"):
        chat.command("d", thread="own")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot be called"):
        chat.command("d")(7)  # type: ignore[type-var]

    async def later(caller: Caller) -> None:
        pass

    with pytest.raises(ConfigError, match="is async"):
        chat.command("d")(later)


def test_the_commands_of_a_connection_are_done_in_order(chat: Chat, memory: InMemory) -> None:
    seen: list[object] = []
    chat.command("note")(lambda caller, data: seen.append(data))
    ann = enter(memory)
    for number in range(50):
        ann.send({"type": "call", "name": "note", "data": number})
    ann.ask("ping")
    assert seen == list(range(50))


def test_what_is_on_the_pool_keeps_no_other_command_waiting(chat: Chat, memory: InMemory) -> None:
    may_end = threading.Event()

    @chat.command("slow", thread="pool")
    def slow(caller: Caller, data: Order) -> str:
        assert may_end.wait(PATIENCE)
        if data.id == 13:
            raise Refuse("unlucky")
        return f"{threading.current_thread().name[:7]} {data.id}"

    ann = enter(memory)
    for number in (12, 13):
        ann.send({"type": "call", "id": number, "name": "slow", "data": {"id": number}})
    assert ann.ask("ping")["type"] == "ok"
    may_end.set()
    replies = {reply["re"]: reply for reply in (ann.next(), ann.next())}
    assert replies[12]["data"] == "command 12"
    assert (replies[13]["code"], replies[13]["reason"]) == (103, "unlucky")


def test_one_connection_has_only_so_many_calls_on_the_pool(chat: Chat, memory: InMemory) -> None:
    may_end = threading.Event()
    chat.command("slow", thread="pool")(lambda caller: may_end.wait(PATIENCE))
    ann, bob = enter(memory), enter(memory, "bob")
    for number in range(MAX_POOLED):
        ann.send({"type": "call", "id": f"s{number}", "name": "slow"})
    assert refused(ann, "slow")[0] == ErrorCode.TOO_MANY_REQUESTS
    bob.send({"type": "call", "id": "s", "name": "slow"})
    may_end.set()
    assert bob.next()["data"] is True
    assert {ann.next()["re"] for _ in range(MAX_POOLED)} == {f"s{number}" for number in range(MAX_POOLED)}
    ann.ask("call", name="slow")


def test_a_call_whose_caller_has_gone_is_nobodys(chat: Chat, memory: InMemory) -> None:
    started, may_end, failed = threading.Event(), threading.Event(), []

    @chat.command("slow", thread="pool")
    def slow(caller: Caller) -> str:
        started.set()
        assert may_end.wait(PATIENCE)
        try:
            caller.join("r")
        except CommandError as error:
            failed.append(error.code)
            raise
        return "done"

    ann = enter(memory)
    ann.send({"type": "call", "id": 1, "name": "slow"})
    assert started.wait(PATIENCE)
    ann.reset()
    memory.close()  # waits until the application has let go of the connection
    may_end.set()
    chat.calls.pool.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("command-"):
            thread.join(PATIENCE)
    assert failed == [ErrorCode.NOT_AVAILABLE]
    assert chat.in_room("r") == [], "nobody is left behind in the room"


# -- what a caller can do ----------------------------------------------------------------------------


def test_a_caller_comes_and_goes_with_this_tab_only(chat: Chat, memory: InMemory) -> None:
    deeds: list[Any] = []

    @chat.command("do")
    def do(caller: Caller, data: list[str]) -> bool:
        action, room = data
        done: bool = getattr(caller, action)(room)
        deeds.append(done)
        return done

    ann, other = enter(memory), enter(memory)
    assert ann.ask("call", name="do", data=["join", "orders-17"])["data"] is True
    joined, came = ann.next(), ann.next()
    assert joined.pop("epoch")
    assert joined == {"type": "joined", "chatroomId": "orders-17", "offset": 0}
    assert (came["type"], came["userId"]) == ("join", "ann")
    assert ann.ask("call", name="do", data=["join", "orders-17"])["data"] is False
    [occupant] = chat.in_room("orders-17")
    assert (occupant.user, len(occupant.sessions)) == ("ann", 1)
    chat.emit("orders-17", "order.created", {"id": 1})
    assert ann.next()["data"] == {"id": 1}
    assert ann.ask("call", name="do", data=["unsubscribe", "orders-17"])["data"] is False, "a member is more"
    assert ann.ask("call", name="do", data=["leave", "orders-17"])["data"] is True
    assert ann.next() == {"type": "left", "chatroomId": "orders-17"}
    assert chat.in_room("orders-17") == []
    assert ann.ask("call", name="do", data=["subscribe", "feed"])["data"] is True
    assert ann.next()["type"] == "subscribed"
    assert ann.ask("call", name="do", data=["unsubscribe", "feed"])["data"] is True
    assert ann.next() == {"type": "unsubscribed", "chatroomId": "feed"}
    assert other.ask("ping")["re"] == 2, "the other tab heard nothing: its next message is the reply"
    assert refused(ann, "do", ["join", "/ws"])[0] == ErrorCode.PERMISSION_DENIED
    chat.ban("ann", room="closed")
    assert refused(ann, "do", ["join", "closed"])[0] == ErrorCode.PERMISSION_DENIED


def test_a_caller_tells_this_tab_something(chat: Chat, memory: InMemory) -> None:
    chat.command("hint")(lambda caller: caller.emit("hint", {"text": "…"}))
    ann, other = enter(memory), enter(memory)
    ann.ask("call", name="hint")
    told = ann.next()
    assert told.pop("unixTime")
    assert told == {"type": "event", "name": "hint", "data": {"text": "…"}}
    other.ask("ping")


def test_the_server_puts_a_person_into_a_room_with_all_tabs(chat: Chat, memory: InMemory) -> None:
    tabs, bob = [enter(memory) for _ in range(2)], enter(memory, "bob")
    assert chat.sessions("ann") == [tab.welcome["session"] for tab in tabs]  # type: ignore[attr-defined]
    assert (chat.connected("ann"), chat.connected("ann2"), chat.connected(7)) == (True, False, False)
    assert chat.join("ann", "lobby") == 2
    assert chat.join("ann", "lobby") == 0
    [occupant] = chat.in_room("lobby")
    assert sorted(occupant.sessions) == sorted(chat.sessions("ann"))
    for tab in tabs:
        assert tab.next()["type"] == "joined"
        assert tab.next()["type"] in ("join", "add")
    assert chat.leave("ann", "lobby") == 2
    assert chat.leave("ann", "lobby") == 0
    assert chat.in_room("lobby") == chat.in_room("nowhere") == []
    bob.ask("ping")
    assert chat.join("nobody", "lobby") == 0
    with pytest.raises(CommandError, match="must be a user id"):
        chat.join(0.5, "lobby")  # type: ignore[arg-type]
