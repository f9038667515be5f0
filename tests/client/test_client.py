"""Covers threadchat/client/client.py and commands.py: every command, replies, refusals, events, the end."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.client.fakes import PATIENCE, Doing, FakeServer, in_room, online
from tests.e2e.process import until
from threadchat.client import ChatEvent, Client, Joined, Page, Person, Published, RoomInfo, State, Unread
from threadchat.client.changes import Changed
from threadchat.client.client import chat_url
from threadchat.client.moderation import Sanctioned, SanctionInfo
from threadchat.client.protocol import Delivered, Refreshed, Renamed, Reply
from threadchat.errors import (
    BadUrl,
    CommandError,
    ConfigError,
    ConnectionClosed,
    ErrorCode,
    ThreadchatError,
)
from threadchat.server.protocol.all_commands import COMMANDS
from threadchat.testing import LiveServer

EVENT = {"id": 3, "chatroomId": "lobby", "type": "message", "from": "bob", "message": "hi", "unixTime": 9}
WANTED = ChatEvent(id=3, room="lobby", type="message", nickname="bob", message="hi", time=9)

# command, call, fields sent, fields replied, what is returned
TABLE: list[tuple[str, Callable[[Client], Any], dict[str, Any], dict[str, Any], Any]] = [
    (
        "profile",
        lambda chat: chat.profile("bo", "me"),
        {"nickname": "bo", "about": "me"},
        {"resume": "r"},
        Renamed("r"),
    ),
    ("refresh", lambda chat: chat.refresh("t"), {"token": "t"}, {"expires": 9}, Refreshed(9)),
    (
        "join",
        lambda chat: chat.join("x", (4, "e"), types=["message"], users=[1]),
        {"room": "x", "since": {"offset": 4, "epoch": "e"}, "types": ["message"], "users": [1]},
        {"offset": 4, "epoch": "e", "recovered": True},
        Joined(4, "e", True),
    ),
    (
        "subscribe",
        lambda chat: chat.subscribe("x"),
        {"room": "x"},
        {"offset": 9, "epoch": "e"},
        Joined(9, "e"),
    ),
    ("leave", lambda chat: chat.leave("x"), {"room": "x"}, {}, Reply()),
    ("unsubscribe", lambda chat: chat.unsubscribe("x"), {"room": "x"}, {}, Reply()),
    (
        "message",
        lambda chat: chat.message("x", "hi", key="k"),
        {"room": "x", "message": "hi", "key": "k"},
        {"offset": 5},
        Published(5),
    ),
    ("direct", lambda chat: chat.direct(2, "hi"), {"to": 2, "message": "hi"}, {}, Delivered()),
    (
        "direct",
        lambda chat: chat.direct("bob", "hi", key="k"),
        {"to": "bob", "message": "hi", "key": "k"},
        {"stored": True},
        Delivered(True),
    ),
    ("call", lambda chat: chat.call("x.y", {"a": 1}), {"name": "x.y", "data": {"a": 1}}, {"data": [2]}, [2]),
    ("call", lambda chat: chat.call("x.y"), {"name": "x.y"}, {}, None),
    (
        "subscribe",
        lambda chat: chat.subscribe("x", names=["a", "b"]),
        {"room": "x", "names": ["a", "b"]},
        {"offset": 9, "epoch": "e"},
        Joined(9, "e"),
    ),
    ("typing", lambda chat: chat.typing("x"), {"room": "x"}, {}, Reply()),
    ("typing_to", lambda chat: chat.typing_to(7), {"to": 7}, {}, Reply()),
    (
        "history",
        lambda chat: chat.history("x", (1, "e"), limit=2, reverse=True),
        {"room": "x", "since": {"offset": 1, "epoch": "e"}, "limit": 2, "reverse": True},
        {"events": [EVENT], "offset": 8, "epoch": "e"},
        Page((WANTED,), 8, "e"),
    ),
    (
        "count",
        lambda chat: chat.count("x", types=["join"], users=[3]),
        {"room": "x", "types": ["join"], "users": [3]},
        {"count": 7},
        7,
    ),
    (
        "who",
        lambda chat: chat.who("x"),
        {"room": "x"},
        {"users": [{"id": 1, "nickname": "ann", "sessions": 2, "about": "me"}]},
        (Person(1, "ann", 2, "me"),),
    ),
    (
        "who",
        lambda chat: (listing := chat.who("x", 7), listing.more),
        {"room": "x", "after": 7},
        {"users": [], "more": True},
        ((), True),
    ),
    (
        "rooms",
        lambda chat: (listing := chat.rooms("a/"), listing.more),
        {"prefix": "a/"},
        {"rooms": [], "more": True},
        ((), True),
    ),
    (
        "rooms",
        lambda chat: chat.rooms(),
        {},
        {"rooms": [{"name": "x", "people": 1, "offset": 3}]},
        (RoomInfo("x", 1, 3),),
    ),
    ("ping", lambda chat: chat.ping() >= 0, {}, {}, True),
    ("block", lambda chat: chat.block(7), {"user": 7}, {}, Reply()),
    ("unblock", lambda chat: chat.unblock("x"), {"user": "x"}, {}, Reply()),
    ("blocked", lambda chat: chat.blocked(), {}, {"users": [7, "x"]}, (7, "x")),
    ("logout", lambda chat: chat.logout(), {}, {}, Reply()),
    (
        "kick",
        lambda chat: chat.kick(7, "x", reason="r"),
        {"user": 7, "room": "x", "reason": "r"},
        {"ended": 2},
        2,
    ),
    (
        "ban",
        lambda chat: chat.ban(7, room="x", seconds=60, reason="r", with_address=True),
        {"user": 7, "room": "x", "seconds": 60, "reason": "r", "with_address": True},
        {"sanctions": [{"kind": "ban", "user": 7, "room": "x", "until": 9, "reason": "r", "by": 1}]},
        (SanctionInfo("ban", 7, "", "x", 9, "r", 1),),
    ),
    (
        "mute",
        lambda chat: chat.mute(address="192.0.2.7"),
        {"address": "192.0.2.7", "room": "", "reason": ""},
        {"sanctions": [{"kind": "mute", "address": "192.0.2.7"}]},
        (SanctionInfo("mute", None, "192.0.2.7"),),
    ),
    ("unban", lambda chat: chat.unban(7, room="x"), {"user": 7, "room": "x"}, {"lifted": True}, True),
    ("unmute", lambda chat: chat.unmute(7), {"user": 7, "room": ""}, {"lifted": False}, False),
    (
        "sanctions",
        lambda chat: chat.sanctions("x"),
        {"room": "x"},
        {"sanctions": [], "count": 0},
        Sanctioned((), 0),
    ),
    (
        "message",
        lambda chat: chat.message("x", "hi", key="k", reply_to=3, epoch="e"),
        {"room": "x", "message": "hi", "key": "k", "reply_to": 3, "epoch": "e"},
        {"offset": 5},
        Published(5),
    ),
    (
        "edit",
        lambda chat: chat.edit("x", 3, "ho", epoch="e"),
        {"room": "x", "event": 3, "message": "ho", "epoch": "e"},
        {"offset": 9},
        Published(9),
    ),
    (
        "react",
        lambda chat: chat.react("x", 3, "🎉"),
        {"room": "x", "event": 3, "emoji": "🎉"},
        {"offset": 9},
        Changed(9),
    ),
    (
        "unreact",
        lambda chat: chat.unreact("x", 3, "🎉"),
        {"room": "x", "event": 3, "emoji": "🎉"},
        {},
        Changed(),
    ),
    ("read", lambda chat: chat.read("x", 3, "e"), {"room": "x", "event": 3, "epoch": "e"}, {}, Reply()),
    (
        "rooms",
        lambda chat: chat.unread(),
        {},
        {"rooms": [], "unread": {"x": {"offset": 3, "epoch": "e", "messages": 2, "mentions": 1}}},
        {"x": Unread(3, "e", 2, 1)},
    ),
    ("delete", lambda chat: chat.delete("x", 3), {"room": "x", "event": 3}, {"offset": 9}, Published(9)),
    (
        "delete",
        lambda chat: chat.delete("x", 3, epoch="e"),
        {"room": "x", "event": 3, "epoch": "e"},
        {"offset": 9},
        Published(9),
    ),
    ("close", lambda chat: chat.close_room("x"), {"room": "x"}, {}, Reply()),
]


def test_the_table_has_every_command() -> None:
    assert {row[0] for row in TABLE} | {"hello"} == set(COMMANDS)


@pytest.mark.parametrize(("command", "call", "sent", "replied", "returned"), TABLE, ids=[r[0] for r in TABLE])
def test_a_command_sends_its_fields_and_returns_its_reply(
    command: str, call: Callable[[Client], Any], sent: dict[str, Any], replied: dict[str, Any], returned: Any
) -> None:
    chat, link = online(FakeServer())
    with chat:
        doing = Doing(lambda: call(chat))
        frame = link.heard(command)
        link.reply(frame, **replied)
        assert doing.result() == returned
        assert {**frame, "type": command, "id": frame["id"]} == frame
        assert {name: frame[name] for name in frame if name not in ("type", "id")} == sent


@pytest.mark.parametrize(("command", "call"), [row[:2] for row in TABLE], ids=[r[0] for r in TABLE])
def test_a_refused_command_raises_its_code(command: str, call: Callable[[Client], Any]) -> None:
    chat, link = online(FakeServer())
    with chat:
        doing = Doing(lambda: call(chat))
        link.refuse(link.heard(command), 111, temporary=True)
        with pytest.raises(CommandError) as caught:
            doing.result()
        assert (caught.value.code, caught.value.temporary) == (ErrorCode.TOO_MANY_REQUESTS, True)
        assert chat.joined == ()


@pytest.mark.parametrize(("command", "call"), [row[:2] for row in TABLE], ids=[r[0] for r in TABLE])
def test_a_command_times_out_with_words_for_what_it_waited(
    command: str, call: Callable[[Client], Any]
) -> None:
    chat, link = online(FakeServer())
    chat.timeout = 0.01
    with chat:
        with pytest.raises(
            TimeoutError, match=f"no reply to {command}.* within 0.01 s; 1 commands are unans"
        ):
            call(chat)
        link.heard(command)


def test_a_code_of_a_newer_server_is_told() -> None:
    chat, link = online(FakeServer())
    with chat:
        doing = Doing(chat.rooms)
        link.refuse(link.heard("rooms"), 999)
        with pytest.raises(CommandError, match="999 no"):
            doing.result()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda chat: chat.message("x", "\udcff"), "message cannot be sent: .*surrogates not allowed"),
        (lambda chat: chat.message("x", b"hi"), "message: message is bytes; decode\\(\\) them"),
        (lambda chat: chat.post("x", object()), "message cannot be sent: .*object"),
    ],
)
def test_what_cannot_be_said_in_json_is_refused_at_once(call: Callable[[Client], Any], words: str) -> None:
    chat, link = online(FakeServer())
    with chat:
        with pytest.raises(CommandError, match=words) as caught:
            call(chat)
        assert caught.value.code == ErrorCode.BAD_REQUEST
        assert link.silent()
        assert "unanswered=0" in repr(chat)


def test_a_nickname_that_is_no_text_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()
    server.next_link()
    with pytest.raises(CommandError, match="hello cannot be sent"):
        Client("ws://fake", "\udcff", opener=server.open)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout=0: must be above 0 and at most 86400 seconds"),
        ({"timeout": float("inf")}, "timeout=inf: must be above 0"),
        ({"timeout": float("nan")}, "timeout=nan: must be above 0"),
        ({"events": 0}, "events=0: must be at least 1"),
        ({"event_bytes": -1}, "event_bytes=-1: must be at least 1"),
    ],
)
def test_numbers_that_cannot_be_used(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Client("ws://fake", opener=FakeServer().open, **options)


def test_a_command_may_wait_as_long_as_one_likes() -> None:
    chat, link = online(FakeServer())
    with chat:
        doing = Doing(lambda: chat.count("x", timeout=float("inf")))
        link.reply(link.heard("count"), count=1)
        assert doing.result() == 1


def test_a_callback_that_would_wait_for_itself_is_told_so() -> None:
    chat, link = online(FakeServer())
    with chat:
        errors: queue.Queue[Exception] = queue.Queue()

        def ask(_: object) -> None:
            try:
                chat.rooms()
            except ThreadchatError as error:
                errors.put(error)

        chat.post("lobby", "hi").add_done_callback(ask)
        link.reply(link.heard("message"), offset=1)
        assert "rooms: a callback of a future cannot wait" in str(errors.get(timeout=5))
        assert link.silent()


def test_replies_may_come_in_any_order() -> None:
    chat, link = online(FakeServer())
    with chat:
        first = Doing(lambda: chat.count("a"))
        one = link.heard("count")
        second = Doing(lambda: chat.count("b"))
        two = link.heard("count")
        link.reply(two, count=2)
        link.reply(one, count=1)
        assert (first.result(), second.result()) == (1, 2)


def test_a_late_reply_to_join_still_counts() -> None:
    chat, link = online(FakeServer())
    with chat:
        with pytest.raises(TimeoutError):
            chat.join("lobby", timeout=0.01)
        link.let_in()
        link.event(1)
        assert chat.next_event(5).id == 1
        assert chat.joined == ("lobby",)


# -- events ------------------------------------------------------------------------------------------


def test_events_of_all_kinds() -> None:
    chat, link = in_room(FakeServer())
    with chat:
        link.event(1)
        link.say(type="direct", sender=4, to=1, nickname="cy", message="psst", unixTime=5)
        link.say(type="typing", chatroomId="lobby", userId=4, sender="cy")
        link.say(type="live", chatroomId="lobby")
        link.event(2)
        first, direct, typing, second = (chat.next_event(5) for _ in range(4))
    assert (first.type, first.id, first.user, first.nickname, first.message) == ("message", 1, 7, "bob", "hi")
    assert direct == ChatEvent(type="direct", user=4, nickname="cy", to=1, message="psst", time=5)
    assert typing == ChatEvent(type="typing", room="lobby", user=4, nickname="cy")
    assert second.id == 2


def test_events_come_once_and_only_those_of_the_rooms_one_is_in() -> None:
    chat, link = in_room(FakeServer(), offset=1)
    with chat:
        for number in (1, 2, 2, 3, 1):
            link.event(number)
        link.event(1, room="other")
        link.event(4)
        assert [chat.next_event(5).id for _ in range(3)] == [2, 3, 4]
        leaving = Doing(lambda: chat.leave("lobby"))
        link.reply(link.heard("leave"))
        leaving.result()
        link.event(5)
        link.say(type="direct", sender=4, to=1, nickname="cy", message="psst", unixTime=5)
        assert chat.next_event(5).type == "direct"


def test_who_is_thrown_out_of_a_room_is_told_and_does_not_go_back() -> None:
    server = FakeServer()
    chat, link = in_room(server)
    with chat:
        link.event(1)
        link.say(type="kicked", chatroomId="lobby", reason="you were kicked out of room lobby: spam")
        link.event(2)
        assert chat.next_event(5).id == 1
        kicked = chat.next_event(5)
        assert (kicked.type, kicked.room) == ("kicked", "lobby")
        assert kicked.message == "you were kicked out of room lobby: spam"
        assert chat.joined == ()
        link.cut()
        back = server.next_link()
        back.welcome(resumed="proof-1")
        assert [chat.next_event(5).type for _ in range(2)] == ["disconnected", "connected"]
        assert back.silent(), "it is in no room any more"


def test_no_event_in_time() -> None:
    chat, _ = online(FakeServer())
    with chat, pytest.raises(TimeoutError, match="no event came within 0 s"):
        chat.next_event(0)


def test_iteration_ends_quietly_with_close() -> None:
    chat, link = in_room(FakeServer())
    link.event(1)
    seen = []
    for event in chat:
        seen.append(event.id)
        chat.close()
    assert seen == [1]


def test_iteration_ends_with_what_ended_the_client_after_all_that_came() -> None:
    chat, link = in_room(FakeServer())
    link.event(1)
    link.cut(3503, "kicked")
    seen = []
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012  # what came before counts
        for event in chat:
            seen.append(event.id)
    assert (caught.value.code, seen) == (3503, [1])
    with pytest.raises(ConnectionClosed):
        chat.rooms()


# -- the end -----------------------------------------------------------------------------------------


def test_close_wakes_everybody() -> None:
    chat, _ = online(FakeServer())
    waiting = [Doing(chat.next_event), Doing(chat.rooms), Doing(lambda: list(chat))]
    posted = chat.post("lobby", "hi")
    chat.close()
    for doing in waiting[:2]:
        with pytest.raises(ConnectionClosed, match="closed by this program"):
            doing.result()
    assert waiting[2].result() == []
    assert isinstance(posted.exception(5), ConnectionClosed)
    assert (chat.state, chat.connected) == (State.CLOSED, False)
    chat.close()


def test_close_from_the_callback_of_a_future() -> None:
    chat, link = online(FakeServer())
    closed = threading.Event()
    posted = chat.post("lobby", "hi")
    posted.add_done_callback(lambda future: (chat.close(), closed.set()))
    link.reply(link.heard("message"), offset=1)
    assert closed.wait(5)
    assert posted.result(5) == Published(1)


def test_nothing_is_sent_by_a_closed_client() -> None:
    chat, _ = online(FakeServer())
    chat.close()
    with pytest.raises(ConnectionClosed):
        chat.message("lobby", "hi")


def test_repr_and_properties_show_the_live_state() -> None:
    chat, link = in_room(FakeServer())
    with chat:
        chat.post("lobby", "hi")
        link.heard("message")
        assert repr(chat) == "<Client ann#1 ws://fake/chat ONLINE rooms=1 unanswered=1 events=0>"
        assert (chat.user, chat.nickname, chat.session, chat.url) == (1, "ann", "s", "ws://fake/chat")
        assert (chat.connected, chat.joined) == (True, ("lobby",))
    assert "CLOSED" in repr(chat)


def test_the_websocket_is_opened_with_what_the_caller_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def connect(url: str, **options: Any) -> None:
        asked.append((url, options))
        raise ConnectionRefusedError

    monkeypatch.setattr("threadchat.plain.client.connect", connect)
    context = ssl.create_default_context()
    with pytest.raises(ConnectionRefusedError):
        Client("https://host", headers={"Cookie": "a=b"}, ssl=context, compression=True, timeout=7)
    with pytest.raises(ConnectionRefusedError):
        Client("http://host")
    (url, options), (_, usual) = asked
    assert url == "wss://host/chat"
    assert (options["open_timeout"], options["ssl"], options["compression"]) == (7, context, "deflate")
    assert (usual["ssl"], usual["compression"]) == (None, None)
    assert options["additional_headers"] == {"Cookie": "a=b"}


@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True)])
def test_messages_are_compressed_where_both_want_it(ours: bool, theirs: bool) -> None:
    text = "so they say, " * 1000
    with LiveServer(compression=theirs) as server, Client(server.url, "ann", compression=ours) as ann:
        ann.join("lobby")
        ann.message("lobby", text)
        while (event := ann.next_event(PATIENCE)).type != "message":
            pass
        assert event.message == text
        link: Any = ann._in_flight._link
        counters = link.threaded.connection.counters
        if not (ours and theirs):  # the writer counts after it has sent
            until(lambda: counters.bytes_out > len(text), "the message to be counted")
        for size in (counters.bytes_in, counters.bytes_out):
            assert (size < len(text) / 4) == (ours and theirs)


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("ws://host:1/chat", "ws://host:1/chat"),
        ("http://host:1/", "ws://host:1/chat"),
        ("https://host", "wss://host/chat"),
        ("wss://host/elsewhere?a=b#c", "wss://host/elsewhere?a=b"),
        ("ws://[::1]:80", "ws://[::1]:80/chat"),
    ],
)
def test_an_address(text: str, url: str) -> None:
    assert chat_url(text) == url


def test_an_address_that_no_request_can_name() -> None:
    with pytest.raises(BadUrl, match="without spaces or control characters"):
        chat_url("ws://ho st/")


def test_a_password_is_used_and_not_shown() -> None:
    server = FakeServer()
    link = server.next_link()
    opening = Doing(lambda: Client("ws://ann:secret@fake", "ann", opener=server.open))
    link.welcome()
    with opening.result() as chat:
        assert server.opened == ["ws://ann:secret@fake/chat"]
        assert chat.url == "ws://...@fake/chat"
        assert "secret" not in repr(chat)
    with pytest.raises(BadUrl) as caught:
        chat_url("ws://ann:secret@fake:99999")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "host:80", "ftp://host/", "ws://", "ws://host:99999", "ws://host:x", "ws://[::1"]
)
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadUrl, match=r"is not a chat address such as ws://127.0.0.1:8080/chat: "):
        chat_url(text)
