"""Covers the client's reconnecting_connection.py, resumption.py and in_flight.py: what a loss means."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from tests.client.fakes import PATIENCE, Doing, FakeLink, FakeServer, client, in_room, online
from threadchat import serve
from threadchat.client import Backoff, Client, Published, State, pending
from threadchat.client import reconnecting_connection as line_module
from threadchat.client.in_flight import InFlightCommands
from threadchat.client.pending import KEY_SECONDS, MOST_WAITING, MOST_WAITING_BYTES, WINDOW, OnLoss, Request
from threadchat.client.protocol import Refreshed, Reply
from threadchat.errors import (
    CannotConnect,
    CloseCode,
    CommandError,
    ConnectionClosed,
    ErrorCode,
    HandshakeRefused,
)
from threadchat.plain.handshake import ServerConnection


def types_of(chat: Client, count: int) -> list[str]:
    return [chat.next_event(5).type for _ in range(count)]


# -- the first connection ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("nobody there"),
        HandshakeRefused(503, [], ""),
        TimeoutError("too slow"),
        ConnectionClosed(3001, "shutdown"),
    ],
)
def test_a_first_attempt_that_fails_is_the_callers_business(error: Exception) -> None:
    server = FakeServer()
    server.refuse(error)
    with pytest.raises(type(error), match=str(error)):
        client(server)
    assert server.opened == ["ws://fake/chat"]


@pytest.mark.parametrize("temporary", [False, True])
def test_a_refused_hello_is_too(temporary: bool) -> None:
    server = FakeServer()
    link = server.next_link()
    opening = Doing(lambda: client(server))
    link.refuse(link.heard("hello"), 107, temporary=temporary)
    with pytest.raises(CommandError, match="no"):
        opening.result()


def test_a_token_that_is_refused() -> None:
    server = FakeServer()
    link = server.next_link()
    opening = Doing(lambda: client(server, token="t"))
    assert link.heard("hello")["token"] == "t"
    link.cut(CloseCode.INVALID_TOKEN)
    with pytest.raises(ConnectionClosed, match="3500"):
        opening.result()


def test_a_server_that_says_nothing_is_given_up() -> None:
    server = FakeServer()
    server.next_link()
    with pytest.raises(TimeoutError, match="ws://fake/chat"):
        client(server, timeout=0.05)


def test_whoever_is_interrupted_does_not_wait_for_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(in_flight: InFlightCommands, timeout: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(InFlightCommands, "wait_until_open", interrupted)
    monkeypatch.setattr("threadchat.client.reconnecting_connection.JOIN_SECONDS", 60.0)
    server = FakeServer()
    try:
        with pytest.raises(KeyboardInterrupt):
            Doing(lambda: client(server)).result()
    finally:
        server.refuse(ConnectionRefusedError())  # the reader ends


def test_what_is_no_chat_is_told() -> None:
    server = FakeServer()
    link = server.next_link()
    link.raw("Hello, this is an echo server")
    with pytest.raises(
        ConnectionClosed, match=r"1002 the server sent 'Hello, this.*does not belong to the chat protocol"
    ):
        client(server)


# -- coming back -------------------------------------------------------------------------------------


def test_coming_back_as_the_same_person_into_the_same_rooms_where_one_left_off() -> None:
    server = FakeServer()
    chat, link = in_room(server, offset=4)
    with chat:
        subscribing = Doing(lambda: chat.subscribe("news", types=["message"], users=[7]))
        link.let_in("subscribe", epoch="n")
        subscribing.result()
        link.event(5)
        link.event(1, room="news")
        assert types_of(chat, 2) == ["message"] * 2
        again = server.next_link()
        link.cut()
        hello = again.welcome(resumed="proof-1")
        assert hello["nickname"] == "ann"
        assert again.let_in("join", 5, recovered=True)["since"] == {"offset": 5, "epoch": "e"}
        news = again.let_in("subscribe", 1, "n", recovered=True)
        assert (news["since"], news["types"], news["users"]) == (
            {"offset": 1, "epoch": "n"},
            ["message"],
            [7],
        )
        for number in (5, 6, 7):
            again.event(number)
        lost, *more = (chat.next_event(5) for _ in range(4))
        assert lost.message == "1006; trying to reconnect"
        assert sorted((event.type, event.id) for event in more) == [
            ("connected", 0),
            ("message", 6),
            ("message", 7),
        ]


def test_attempts_go_on_until_one_succeeds() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        server.refuse(ConnectionRefusedError("nobody there"))
        server.refuse(HandshakeRefused(502, [], ""))
        half = server.next_link()
        whole = server.next_link()
        link.cut()
        half.refuse(half.heard("hello"), 100, temporary=True)
        whole.welcome(user=2, resumed="proof-1")
        assert types_of(chat, 2) == ["disconnected", "connected"], "told once, however many attempts it takes"
        assert chat.user == 2


def test_pauses_are_asked_for_and_end_with_close() -> None:
    server = FakeServer()
    chat, link = online(server, backoff=Backoff(base=3600.0, cap=3600.0, jitter=lambda: 1.0))
    link.cut()
    assert chat.next_event(5).message == "1006; trying to reconnect"
    assert chat.state is State.AWAY
    with pytest.raises(TimeoutError, match=r"rooms could not be sent within 0.01 s; not connected: 1006"):
        chat.rooms(timeout=0.01)
    chat.close()
    assert len(server.opened) == 1


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1008, 1009, 3500, 3502, 3503, 3504, 3509, 4000])
def test_there_is_no_way_back_after_some_ends(code: int) -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        asking = Doing(chat.rooms)
        link.heard("rooms")
        link.cut(code, "why")
        with pytest.raises(ConnectionClosed, match=f"{code} why"):
            chat.next_event(5)
        with pytest.raises(ConnectionClosed, match=f"{code} why"):
            asking.result()
        assert len(server.opened) == 1


@pytest.mark.parametrize(
    "end", [HandshakeRefused(401, [], ""), HandshakeRefused(404, [], ""), ConnectionClosed(3500)]
)
def test_attempts_may_end_for_good_too(end: Exception) -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        server.refuse(end)
        link.cut()
        assert types_of(chat, 1) == ["disconnected"]
        with pytest.raises(type(end), match=str(end)):
            chat.next_event(5)


def test_a_hello_that_is_refused_later_ends_it() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        again = server.next_link()
        link.cut()
        again.refuse(again.heard("hello"), 107)
        assert types_of(chat, 1) == ["disconnected"]
        with pytest.raises(CommandError):
            chat.next_event(5)


def test_a_reply_that_cannot_be_read_ends_it_for_the_asker_too() -> None:
    chat, link = online(FakeServer())
    with chat:
        asking = Doing(lambda: chat.count("x"))
        link.reply(link.heard("count"), count="many")
        with pytest.raises(ConnectionClosed, match="1002"):
            asking.result()
        with pytest.raises(ConnectionClosed, match="1002"):
            chat.next_event(5)


# -- rooms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epoch", "kind"), [("e", "gap"), ("f", "reset")])
def test_what_is_missed_for_good_is_told(epoch: str, kind: str) -> None:
    server = FakeServer()
    chat, link = in_room(server, offset=9)
    with chat:
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        again.let_in("join", 3, epoch, recovered=False)
        again.event(4)
        events = {event.type: event for event in (chat.next_event(5) for _ in range(4))}
        assert (events[kind].room, events[kind].id) == ("lobby", 3)
        assert "the events after 9 are missing" in events[kind].message
        assert events["message"].id == 4
        last = server.next_link()
        again.cut()
        last.welcome(resumed="proof-1")
        assert last.let_in("join", 4, epoch, recovered=True)["since"] == {"offset": 4, "epoch": epoch}


def test_a_room_that_lets_one_in_no_more() -> None:
    server = FakeServer()
    chat, link = in_room(server)
    with chat:
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        again.refuse(again.heard("join"), 103)
        _, refused, _ = (chat.next_event(5) for _ in range(3))
        assert (refused.type, refused.room, refused.message) == ("refused", "lobby", "103 no")
        assert chat.joined == ()


def test_a_room_that_cannot_be_entered_just_now_is_tried_again_with_a_new_connection() -> None:
    server = FakeServer()
    chat, link = in_room(server)
    with chat:
        again, more = server.next_link(), server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        again.refuse(again.heard("join"), 100, temporary=True)
        more.welcome(resumed="proof-1")
        more.let_in("join", recovered=True)
        assert types_of(chat, 2) == ["disconnected", "connected"]
        assert chat.joined == ("lobby",)


def test_many_rooms_are_entered_some_at_a_time() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        for number in range(20):
            joining = Doing(lambda room=number: chat.join(f"room{room}"))
            link.let_in()
            joining.result()
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        first = [again.heard("join") for _ in range(16)]
        assert again.silent()
        for frame in first:
            again.reply(frame, offset=0, epoch="e", recovered=True)
        rest = [again.let_in("join", recovered=True) for _ in range(4)]
        assert [frame["room"] for frame in first + rest] == [f"room{number}" for number in range(20)]


def test_a_left_room_and_a_closed_one_are_not_entered_again() -> None:
    server = FakeServer()
    chat, link = in_room(server)
    with chat:
        joining = Doing(lambda: chat.join("old"))
        link.let_in()
        joining.result()
        link.say(id=1, chatroomId="old", type="close", unixTime=1)
        assert types_of(chat, 1) == ["close"]
        leaving = Doing(lambda: chat.leave("lobby"))
        link.heard("leave")
        again = server.next_link()
        link.cut()
        assert leaving.result() == Reply()
        again.welcome(resumed="proof-1")
        assert types_of(chat, 2) == ["disconnected", "connected"]
        assert again.silent()


def test_the_profile_is_said_again() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        renaming = Doing(lambda: chat.profile("anna", "me"))
        link.reply(link.heard("profile"), resume="proof-anna")
        renaming.result()
        again = server.next_link()
        link.cut()
        assert again.welcome(resumed="proof-anna")["nickname"] == "anna"
        profile = again.heard("profile")
        assert (profile["nickname"], profile["about"]) == ("anna", "me")
        again.reply(profile, resume="proof-2")
        last = server.next_link()
        again.cut()
        last.welcome(resumed="proof-2")


# -- commands ----------------------------------------------------------------------------------------


def test_unanswered_messages_are_sent_again_in_order_under_their_keys() -> None:
    server = FakeServer()
    chat, link = in_room(server)
    with chat:
        posted = [chat.post("lobby", str(number)) for number in range(5)]
        frames = [link.heard("message") for _ in posted]
        link.reply(frames[1], offset=2)
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        again.let_in("join", recovered=True)
        repeated = [again.heard("message") for _ in range(4)]
        assert repeated == [frames[0], *frames[2:]]
        assert len({frame["key"] for frame in frames}) == 5
        later = Doing(lambda: chat.message("lobby", "5"))
        for offset, frame in zip((1, 3, 4, 5), repeated, strict=True):
            again.reply(frame, offset=offset)
        again.reply(again.heard("message"), offset=6)
        assert [future.result(5).offset for future in posted] == [1, 2, 3, 4, 5]
        assert later.result() == Published(6)


def test_nothing_is_sent_between_what_is_sent_again() -> None:
    server = FakeServer()
    chat, link = in_room(server)
    with chat:
        chat.post("lobby", "first")
        link.heard("message")
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        join = again.heard("join")
        late = Doing(lambda: chat.post("lobby", "second"))
        assert types_of(chat, 1) == ["disconnected"]
        assert again.silent()
        again.reply(join, offset=0, epoch="e", recovered=True)
        assert again.heard("message")["message"] == "first"
        assert again.heard("message")["message"] == "second"
        late.result()


def test_questions_and_joins_are_asked_again() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        joining = Doing(lambda: chat.join("lobby"))
        link.heard("join")
        counting = Doing(lambda: chat.count("lobby"))
        link.heard("count")
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        again.let_in("join", 7)
        again.reply(again.heard("count"), count=7)
        assert (joining.result().offset, counting.result()) == (7, 7)


@pytest.mark.parametrize("command", ["direct", "typing"])
def test_what_must_not_be_done_twice_is_refused(command: str) -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        doing = Doing(lambda: chat.direct(2, "hi") if command == "direct" else chat.typing("lobby"))
        link.heard(command)
        again = server.next_link()
        link.cut(3001, "shutdown")
        with pytest.raises(
            CommandError, match=f"lost; {command}.* may or may not have been done: 3001"
        ) as caught:
            doing.result()
        assert (caught.value.code, caught.value.temporary) == (ErrorCode.NOT_AVAILABLE, True)
        again.welcome(resumed="proof-1")
        assert types_of(chat, 2) == ["disconnected", "connected"]
        assert again.silent()


def test_what_timed_out_is_not_sent_again() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        with pytest.raises(TimeoutError, match=r"no reply to message to room 'lobby' within 0.01 s"):
            chat.message("lobby", "hi", timeout=0.01)
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        assert types_of(chat, 2) == ["disconnected", "connected"]
        assert again.silent()


def test_a_full_window_holds_further_commands() -> None:
    chat, link = online(FakeServer())
    with chat:
        posted = [chat.post("lobby", str(number)) for number in range(WINDOW + 2)]
        with pytest.raises(TimeoutError, match=f"room 'lobby' could not be sent.*{WINDOW} commands"):
            chat.message("lobby", "one more", timeout=0.01)
        frames = [link.heard("message") for _ in range(WINDOW)]
        assert link.silent()
        for offset, held in ((1, WINDOW), (2, WINDOW + 1)):
            link.reply(frames[offset - 1], offset=offset)
            assert link.heard("message")["message"] == str(held)
        link.reply(frames[2], offset=3)
        assert posted[2].result(5) == Published(3)
        assert link.silent(), "what timed out is not sent"


def test_post_does_not_wait_while_there_is_no_connection() -> None:
    server = FakeServer()
    chat, link = online(server)
    with chat:
        link.cut()
        assert types_of(chat, 1) == ["disconnected"]
        posted = [chat.post("lobby", str(number)) for number in range(3)]  # on this thread, which goes on
        asked = Doing(lambda: chat.message("lobby", "3"))
        assert [future.done() for future in posted] == [False] * 3
        again = server.next_link()
        again.welcome(resumed="proof-1")
        for number in range(4):
            frame = again.heard("message")
            assert frame["message"] == str(number)
            again.reply(frame, offset=number + 1)
        assert [future.result(5).offset for future in posted] == [1, 2, 3]
        assert asked.result() == Published(4)


@pytest.mark.parametrize(("commands", "size"), [(3, 0), (MOST_WAITING, 1000)])
def test_a_full_line_takes_no_more(commands: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST_WAITING", commands)
    monkeypatch.setattr(pending, "MOST_WAITING_BYTES", 3 * size or MOST_WAITING_BYTES)
    server = FakeServer()
    chat, link = online(server)
    with chat:
        link.cut()
        assert types_of(chat, 1) == ["disconnected"]
        posted = [chat.post("lobby", "x" * size) for _ in range(3)]
        with pytest.raises(
            CommandError, match="room 'lobby': 3 commands already wait to be sent; not connected"
        ) as full:
            chat.post("lobby", "one more")
        assert (full.value.code, full.value.temporary) == (ErrorCode.TOO_MANY_REQUESTS, True)
        with pytest.raises(TimeoutError, match=r"rooms could not be sent within 0\.01 s; not connected"):
            chat.rooms(timeout=0.01)
        asking = Doing(chat.ping)
        again = server.next_link()
        again.welcome(resumed="proof-1")
        for number, future in enumerate(posted):
            again.reply(again.heard("message"), offset=number)
            assert future.result(5)
        again.reply(again.heard("ping"))
        asking.result()


def test_what_waits_is_refused_at_the_end() -> None:
    server = FakeServer()
    chat, link = online(server)
    server.next_link()
    link.cut()
    assert types_of(chat, 1) == ["disconnected"]
    posted = chat.post("lobby", "hi")
    chat.close()
    assert isinstance(posted.exception(5), ConnectionClosed)
    with pytest.raises(ConnectionClosed):
        chat.post("lobby", "ho")


def test_a_callback_may_post_in_a_full_window() -> None:
    chat, link = online(FakeServer())
    with chat:
        posted = [chat.post("lobby", str(number)) for number in range(WINDOW)]
        posted[0].add_done_callback(lambda future: chat.post("lobby", "again"))
        link.reply(link.heard("message"), offset=1)
        assert [link.heard("message") for _ in range(WINDOW)][-1]["message"] == "again"


def test_many_threads_share_one_client() -> None:
    chat, link = online(FakeServer())
    with chat:
        together = threading.Barrier(8)

        def talk(name: int) -> list[int]:
            together.wait(5)
            return [chat.message(f"room{name}", str(number)).offset for number in range(50)]

        talking = [Doing(lambda name=name: talk(name)) for name in range(8)]
        numbers = []
        for offset in range(400):
            frame = link.heard("message")
            numbers.append(frame["id"])
            link.reply(frame, offset=offset)
        offsets = [doing.result() for doing in talking]
    assert numbers == sorted(numbers), "on the wire in the order of their numbers"
    assert sorted(itertools.chain(*offsets)) == list(range(400))


# -- the in_flight by itself ------------------------------------------------------------------------------


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def in_flight_online(clock: Clock) -> tuple[InFlightCommands, FakeLink]:
    in_flight, link = InFlightCommands("ws://fake", clock), FakeLink()
    in_flight.connected(link)
    assert not in_flight.go_online(link)
    return in_flight, link


@pytest.mark.parametrize("at_loss", [True, False])
def test_a_message_whose_key_is_old_is_given_up(at_loss: bool) -> None:
    clock = Clock()
    in_flight, _ = in_flight_online(clock)
    old = in_flight.post(Request("message", {"room": "x"}, Reply, what="message", good_for=KEY_SECONDS))
    clock.now = 10
    young = in_flight.post(Request("message", {"room": "y"}, Reply, good_for=KEY_SECONDS))
    if at_loss:
        clock.now = KEY_SECONDS + 1
        in_flight.interrupted(ConnectionClosed(1006))
    else:
        in_flight.interrupted(ConnectionClosed(1006))
        clock.now = KEY_SECONDS + 1
    link = FakeLink()
    in_flight.connected(link)
    assert in_flight.go_online(link)
    with pytest.raises(TimeoutError, match="no reply to message; it may have arrived, and is too old"):
        old.future.result(5)
    assert link.heard("message")["room"] == "y"
    assert not young.future.done()
    in_flight.finish(ConnectionClosed(1000))


def test_nothing_is_asked_for_at_once_without_a_connection() -> None:
    in_flight, link = in_flight_online(Clock())
    request = Request("history", {}, Reply, on_loss=OnLoss.FORGOTTEN)
    assert in_flight.submit_now(request)
    link.heard("history")
    in_flight.interrupted(ConnectionClosed(1006))
    assert not in_flight.submit_now(request)
    assert len(in_flight) == 0


def test_a_connection_that_comes_after_the_end_is_not_used() -> None:
    in_flight = InFlightCommands("ws://fake", Clock())
    in_flight.finish(ConnectionClosed(1000, "closed"))
    with pytest.raises(ConnectionClosed, match="closed"):
        in_flight.connected(FakeLink())
    in_flight.interrupted(ConnectionClosed(1006))
    assert in_flight.state is State.CLOSED
    assert in_flight.finish(ConnectionClosed(1006)) is None


def test_errors_without_a_command_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    chat, link = online(FakeServer())
    with chat:
        link.say(type="error", code=107, reason="not JSON", temporary=False)
        link.say(type="error", re=12345, code=107, reason="of one that timed out", temporary=False)
        link.event(1, room="any")
        link.say(type="direct", sender=1, to=1, message="after it", unixTime=1)
        assert chat.next_event(5).message == "after it"
    assert "not JSON" in caplog.text
    assert "timed out" not in caplog.text


def test_a_failure_of_the_reader_ends_the_client_in_words(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()
    server.refuse(ZeroDivisionError("of the opener"))
    with pytest.raises(ConnectionClosed, match="1011 the client failed: ZeroDivisionError"):
        client(server)
    assert "ZeroDivisionError" in caplog.text


# -- tokens ------------------------------------------------------------------------------------------


def test_a_function_is_asked_for_a_token_for_each_connection() -> None:
    server = FakeServer()
    tokens = iter(["first", "second"])
    link = server.next_link()
    opening = Doing(lambda: client(server, token=lambda: next(tokens)))
    hello = link.heard("hello")
    assert hello["token"] == "first"
    link.reply(hello, user=7, session="s", resume="r", version="0", expires=1000)
    with opening.result() as chat:
        assert chat.expires == 1000
        back = server.next_link()
        link.cut(CloseCode.EXPIRED)
        assert back.heard("hello")["token"] == "second"


def test_a_function_that_fails_is_asked_again_and_at_first_ends_the_attempt() -> None:
    server = FakeServer()
    answers: list[str | Exception] = [ValueError("the shop is closed"), "first", KeyError("x"), "second"]

    def fetch() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server.next_link()
    with pytest.raises(
        CannotConnect, match=r"the token could not be fetched: ValueError\('the shop is closed'\)"
    ):
        client(server, token=fetch)
    link = server.next_link()
    opening = Doing(lambda: client(server, token=fetch))
    assert link.welcome()["token"] == "first"
    with opening.result() as chat:
        server.next_link()
        back = server.next_link()
        link.cut(CloseCode.EXPIRED)
        assert back.welcome(resumed="proof-1")["token"] == "second"
        assert chat.next_event(PATIENCE).type == "disconnected"


def test_a_refreshed_token_is_what_the_next_connection_begins_with() -> None:
    server = FakeServer()
    chat, link = online(server, token="first")
    with chat:
        refreshing = Doing(lambda: chat.refresh("second"))
        frame = link.heard("refresh")
        assert frame["token"] == "second"
        link.reply(frame, expires=2000)
        assert (refreshing.result(), chat.expires) == (Refreshed(2000), 2000)
        refusing = Doing(lambda: chat.refresh("third"))
        link.refuse(link.heard("refresh"), 101)
        with pytest.raises(CommandError):
            refusing.result()
        back = server.next_link()
        link.cut(CloseCode.EXPIRED)
        assert back.heard("hello")["token"] == "second"


def test_a_token_may_expire_while_it_is_refreshed() -> None:
    server = FakeServer()
    chat, link = online(server, token="first")
    with chat:
        refreshing = Doing(lambda: chat.refresh("second"))
        link.heard("refresh")
        back = server.next_link()
        link.cut(CloseCode.EXPIRED)
        assert back.welcome(resumed="proof-1")["token"] == "second"
        back.reply(back.heard("refresh"), expires=2000)
        assert refreshing.result().expires == 2000


def test_refreshing_asks_the_function_where_no_token_is_given() -> None:
    server = FakeServer()
    tokens = iter(["first", "second", "third"])
    chat, link = online(server, token=lambda: next(tokens))
    with chat:
        for given, shown in ((None, "second"), ("mine", "mine")):
            refreshing = Doing(lambda given=given: chat.refresh(given))
            frame = link.heard("refresh")
            assert frame["token"] == shown
            link.reply(frame, expires=2000)
            refreshing.result()
        back = server.next_link()
        link.cut(CloseCode.EXPIRED)
        assert back.heard("hello")["token"] == "third"


# -- closing in the middle of an attempt -------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_a_server_that_does_not_answer_does_not_hold_up_close(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt, or the one that comes back."""
    stuck, release = threading.Event(), threading.Event()
    monkeypatch.setattr(line_module, "JOIN_SECONDS", PATIENCE)
    requests = 0

    def hold(websocket: object, request: object) -> None:
        nonlocal requests
        requests += 1
        if requests > again:
            stuck.set()
            release.wait(PATIENCE * 2)

    def lose(websocket: ServerConnection) -> None:
        hello = json.loads(websocket.recv(PATIENCE))
        websocket.send(
            json.dumps({"type": "ok", "re": hello["id"], "user": 1, "session": "s", "resume": "r"})
        )
        websocket.close(1012)

    with serve(lose, "127.0.0.1", 0, process_request=hold) as server:
        try:
            chat = unopened(f"ws://127.0.0.1:{server.port}/")
            opening = Doing(chat._connection.open)
            assert stuck.wait(PATIENCE)
            if again:
                opening.result()
            chat.close()
            assert not chat._connection._thread.is_alive()
            assert not release.is_set()
            if not again:
                with pytest.raises(ConnectionClosed, match="closed by this program"):
                    opening.result()
        finally:
            release.set()


def unopened(url: str) -> Client:
    """A client that has yet to be opened, with which a test can do what Ctrl-C does to one that opens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_module.ReconnectingConnection, "open", lambda self: None)
        return Client(url, "ann", timeout=PATIENCE * 100, backoff=Backoff(jitter=lambda: 0.0))
