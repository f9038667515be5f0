"""What has ended is freed at once: nothing is left for the garbage collector, which stops every thread."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from wsproto.frame_protocol import FrameProtocol

from tests.e2e.process import PATIENCE, until
from tests.plain.helpers import echo, serving, url
from tests.wire.conftest import Certificate
from threadchat.config.settings import Config
from threadchat.plain.client import connect as plain_connect
from threadchat.server.chat import Chat
from threadchat.server.http.connection import HttpConnection
from threadchat.server.session.session import Session
from threadchat.wire.connection import Connection
from threadchat.wire.outbox import Outbox
from threadchat.wire.protocol.deflate import Inflater
from threadchat.wire.tls import TlsSocket

Dial = Callable[[], ClientConnection]
KINDS = (Connection, HttpConnection, FrameProtocol, Inflater, Outbox, Session, TlsSocket)


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["plain", "compressed", "tls"])
def chat(request: pytest.FixtureRequest) -> Iterator[Chat]:
    config = Config(port=0, compression=request.param == "compressed")
    if request.param == "tls":
        certificate: Certificate = request.getfixturevalue("certificate")
        config = Config(port=0, tls_cert=str(certificate.chain), tls_key=str(certificate.key))
    chat = Chat(config)
    chat.listen()
    yield chat
    chat.drain(10)


@pytest.fixture
def dial(chat: Chat, certificate: Certificate) -> Dial:
    address = chat.url.replace("http", "ws") + "chat"
    return partial(connect, address, ssl=certificate.client() if address.startswith("wss") else None)


def alive() -> int:
    """How many objects there are that belong to one connection."""
    return sum(issubclass(type(thing), KINDS) for thing in gc.get_objects())


def talk_and_close(dial: Dial) -> None:
    with dial() as person:
        person.send('{"type":"hello","id":1,"nickname":"ann"}')
        person.recv()
        person.send('{"type":"join","id":2,"room":"lobby","since":{"offset":0,"epoch":"none"}}')
        person.recv()
        person.send('{"type":"message","id":3,"room":"lobby","message":"hi"}')
        person.recv()


def vanish(dial: Dial) -> None:
    with dial() as person:
        person.send('{"type":"hello","id":1,"nickname":"bob"}')
        person.recv()
        person.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        person.socket.shutdown(socket.SHUT_RDWR)


def break_the_protocol(dial: Dial) -> None:
    # Within TLS the server may have ended the stream before this thread is back from its own call.
    ends = pytest.raises((ConnectionClosed, ssl.SSLZeroReturnError))
    with dial() as person, ends:
        person.socket.sendall(b"\x83\x80\x00\x00\x00\x00")  # an opcode that there is none of
        person.recv()


@pytest.mark.parametrize("end", [talk_and_close, vanish, break_the_protocol])
@pytest.mark.usefixtures("without_collector")
def test_a_connection_that_ended_needs_no_collector(dial: Dial, end: Callable[[Dial], None]) -> None:
    before = alive()
    for _ in range(3):
        end(dial)
    until(lambda: alive() == before, "everything of the connections that ended is freed")


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.usefixtures("without_collector")
def test_neither_does_one_of_the_plain_layer(compression: Literal["deflate"] | None) -> None:
    with serving(echo, compression=compression) as server:
        before = alive()
        for _ in range(3):
            with plain_connect(url(server), compression=compression) as client:
                client.send("x" * 1000)
                assert len(client.recv(PATIENCE)) == 1000
            del client
        until(lambda: alive() == before, "everything of both sides is freed")
