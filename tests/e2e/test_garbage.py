"""What has ended is freed at once: nothing is left for the garbage collector, which stops every thread."""

from __future__ import annotations

import gc
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.process import until
from threadchat.config import Config
from threadchat.server.service import Chat
from threadchat.server.session import Session
from threadchat.wire.connection import Connection
from threadchat.wire.outbox import Outbox


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat(Config(port=0))
    chat.listen()
    yield chat
    chat.drain(10)


def alive() -> int:
    """How many objects there are that belong to one connection."""
    return sum(issubclass(type(thing), (Connection, Outbox, Session)) for thing in gc.get_objects())


def talk_and_close(url: str) -> None:
    with connect(url) as person:
        person.send('{"type":"hello","id":1,"nickname":"ann"}')
        person.recv()
        person.send('{"type":"join","id":2,"room":"lobby","since":{"offset":0,"epoch":"none"}}')
        person.recv()
        person.send('{"type":"message","id":3,"room":"lobby","message":"hi"}')
        person.recv()


def vanish(url: str) -> None:
    with connect(url) as person:
        person.send('{"type":"hello","id":1,"nickname":"bob"}')
        person.recv()
        person.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        person.socket.shutdown(socket.SHUT_RDWR)


def break_the_protocol(url: str) -> None:
    with connect(url) as person:
        person.socket.sendall(b"\x83\x80\x00\x00\x00\x00")  # an opcode that there is none of
        with pytest.raises(ConnectionClosed):
            person.recv()


@pytest.mark.parametrize("end", [talk_and_close, vanish, break_the_protocol])
@pytest.mark.usefixtures("without_collector")
def test_a_connection_that_ended_needs_no_collector(chat: Chat, end: Callable[[str], None]) -> None:
    before = alive()
    for _ in range(3):
        end(chat.url.replace("http", "ws") + "chat")
    until(lambda: alive() == before, "everything of the connections that ended is freed")
