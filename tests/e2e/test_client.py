"""The client against real servers: cut connections, killed processes, a consumer that falls behind."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.client.fakes import Doing
from tests.e2e.process import ServerProcess
from tests.e2e.unreliable import Cut, UnreliableProxy
from threadchat.client import Backoff, ChatEvent, Client, Published
from threadchat.errors import CommandError, ConnectionClosed

PATIENCE = 30.0  # seconds for what survives an outage


def at_once() -> Backoff:
    """Comes back soon, and not all the time."""
    return Backoff(0.05, 0.2)


def messages_in_log(chat: Client, room: str) -> list[str]:
    """What was said in a room, from its log, oldest first."""
    page = chat.history(room, limit=1)
    said: list[str] = []
    position = (0, page.epoch)
    while position[0] < page.offset:
        part = chat.history(room, position, limit=1000)
        said += [event.message for event in part.events if event.type == "message"]
        position = (part.events[-1].id, page.epoch)
    return said


def said(events: Iterator[ChatEvent], count: int) -> list[ChatEvent]:
    """The next `count` messages; whatever else happens is passed over, except a loss."""
    found: list[ChatEvent] = []
    for event in events:
        assert event.type not in ("gap", "reset"), event
        if event.type == "message":
            found.append(event)
        if len(found) == count:
            return found
    raise AssertionError("the iteration ended")


# -- connections that are cut ------------------------------------------------------------------------


def cuts(direction: str, seed: int) -> list[Cut]:
    """Places to cut: within greetings, frames and replies, and sometimes right behind them."""
    draw = random.Random(seed)
    most = 2500 if direction == "upstream" else 1000  # replies are short
    places = [draw.randrange(100, most) for _ in range(25)]
    return [Cut(1000, 1000), *(Cut(**{direction: place}) for place in places)]


@pytest.mark.parametrize("direction", ["upstream", "downstream"])
@pytest.mark.parametrize("how", ["one by one", "many at a time"])
def test_each_message_arrives_once_and_in_order_however_the_connection_is_cut(
    direction: str, how: str, chat_server: ServerProcess
) -> None:
    texts = [f"message {number} {'x' * 40}" for number in range(300)]
    with UnreliableProxy(chat_server.port, cuts(direction, 1)) as proxy:
        with Client(proxy.url, "ann", backoff=at_once(), timeout=PATIENCE) as chat:
            if how == "one by one":
                offsets = [chat.message("lobby", text).offset for text in texts]
            else:
                posted = [chat.post("lobby", text) for text in texts]
                offsets = [future.result(PATIENCE).offset for future in posted]
        assert proxy.accepted > 10, "it was cut often"
    assert offsets == list(range(1, 301))
    with Client(chat_server.url, "bob") as reader:
        assert messages_in_log(reader, "lobby") == texts


def test_each_event_comes_once_and_in_order_however_the_connection_is_cut(chat_server: ServerProcess) -> None:
    with (
        UnreliableProxy(chat_server.port, cuts("downstream", 2)) as proxy,
        Client(proxy.url, "ann", backoff=at_once(), timeout=PATIENCE) as listener,
        Client(chat_server.url, "bob") as speaker,
    ):
        listener.subscribe("lobby")
        reading = Doing(lambda: said(iter(listener), 500))
        for number in range(500):
            speaker.post("lobby", str(number))
        events = reading.result()
    assert [event.message for event in events] == [str(number) for number in range(500)]
    assert [event.id for event in events] == list(range(1, 501))


def test_a_reply_that_is_lost(chat_server: ServerProcess) -> None:
    """After the server did it, and before the client heard of it."""
    with (
        UnreliableProxy(chat_server.port) as proxy,
        Client(chat_server.url, "bob") as bob,
        Client(proxy.url, "ann", backoff=at_once(), timeout=PATIENCE) as ann,
    ):
        bob.join("lobby")
        assert bob.next_event(PATIENCE).type == "join"
        proxy.mute()
        private = Doing(lambda: ann.direct(bob.user or 0, "psst"))
        assert bob.next_event(PATIENCE).message == "psst"
        public = Doing(lambda: ann.message("lobby", "hi"))
        heard = bob.next_event(PATIENCE)
        proxy.cut()
        with pytest.raises(CommandError, match="direct to user 1 may or may not have been done") as caught:
            private.result()
        assert caught.value.temporary
        assert public.result().offset == heard.id
        ann.message("lobby", "the end")
        assert bob.next_event(PATIENCE).message == "the end", "neither was said twice"


# -- servers that are killed -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["one by one", "many at a time"])
def test_1000_messages_while_the_server_is_killed_are_all_in_the_log_once_and_in_order(
    how: str, serve: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = serve("--broker", f"sqlite:{tmp_path / 'chat.db'}", "--history-size", "5000")
    texts = [str(number) for number in range(1000)]
    posted: list[Future[Published]] = []

    def publish(chat: Client) -> list[int]:
        if how == "one by one":
            return [chat.message("lobby", text).offset for text in progress(texts)]
        for number, text in enumerate(texts, 1):  # posting does not wait; replies count
            posted.append(chat.post("lobby", text))
            if number in reached:
                posted[-1].add_done_callback(lambda _, number=number: reached[number].set())
        return [future.result(PATIENCE).offset for future in posted]

    reached = {200: threading.Event(), 500: threading.Event(), 800: threading.Event()}

    def progress(texts: list[str]) -> Iterator[str]:
        for number, text in enumerate(texts):
            if number in reached:
                reached[number].set()
            yield text

    with (
        Client(server.url, "ann", backoff=at_once(), timeout=PATIENCE) as chat,
        Client(server.url, "bob", backoff=at_once(), timeout=PATIENCE) as listener,
    ):
        listener.subscribe("lobby")
        listening = Doing(lambda: said(iter(listener), 1000), PATIENCE)
        publishing = Doing(lambda: publish(chat), PATIENCE)
        for mark in reached.values():
            assert mark.wait(PATIENCE)
            server.stop(signal.SIGKILL)
            server.start()
        assert publishing.result() == list(range(1, 1001))
        events = listening.result()
        assert messages_in_log(chat, "lobby") == texts
    assert [event.message for event in events] == texts
    assert [event.id for event in events] == list(range(1, 1001))


def test_a_server_that_forgets_is_told_and_talked_to(chat_server: ServerProcess) -> None:
    with Client(chat_server.url, "ann", backoff=at_once(), timeout=PATIENCE) as chat:
        chat.join("lobby")
        chat.message("lobby", "before")
        chat_server.restart()
        chat.message("lobby", "after")
        happened = [chat.next_event(PATIENCE)]
        while happened[-1].message != "after":
            happened.append(chat.next_event(PATIENCE))
    assert [event.message for event in happened if event.type == "message"] == ["before", "after"]
    assert {"reset", "connected"} <= {event.type for event in happened}
    [lost] = [event for event in happened if event.type == "disconnected"]
    assert lost.message == "3001 shutdown; trying to reconnect"


# -- a consumer that does other things ---------------------------------------------------------------


def test_whoever_takes_no_events_keeps_talking_and_gets_them_all_later(
    serve: Callable[..., ServerProcess],
) -> None:
    server = serve("--history-size", "5000")
    with Client(server.url, "ann", events=64, timeout=PATIENCE) as chat:
        chat.join("lobby")
        for number in range(3000):
            chat.post("lobby", str(number))
        assert chat.count("lobby") == 3001
        assert "events=64" in repr(chat)
        events = said(iter(chat), 3000)
    assert [event.id for event in events] == list(range(2, 3002))


def test_commands_from_within_the_iteration(chat_server: ServerProcess) -> None:
    """Each event asks a question, while more come than fit."""
    with Client(chat_server.url, "ann", events=8, timeout=PATIENCE) as chat:
        chat.join("lobby")
        for number in range(500):
            chat.post("lobby", str(number))
        taken = 0
        for event in chat:
            assert chat.count("lobby") == 501
            taken += event.type == "message"
            if taken == 500:
                break


def test_a_kick_ends_the_iteration_with_its_code(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--profile-timeout", "0.2")
    with Client(server.url, backoff=at_once()) as nobody, pytest.raises(ConnectionClosed, match="3502 stale"):
        nobody.next_event(PATIENCE)
