"""How messages look on the wire, with and without compression; what a client makes of the answers."""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.wire.helpers import ENVIRON, PATIENCE, Dialed, Hand, Served, client_frame, split_frames, start
from threadchat.errors import CannotConnect
from threadchat.wire.connection import DEFAULT_LIMITS, Connection
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.deflate import MIN_SIZE, NARROW, WIDE
from threadchat.wire.protocol.extensions import OFFER, STATELESS
from threadchat.wire.protocol.requests import Text
from threadchat.wire.turnstile import Turnstile

COMPRESSED = DEFAULT_LIMITS._replace(compression=True)
LONG = "so they say, " * 40


def payload_of(frame: bytes) -> tuple[bool, bytes]:
    """Whether a frame is compressed, and what is in it."""
    header = frames.read_header(frame, 0)
    assert header is not None
    payload = frame[header.body : header.end]
    if frame[1] & 0x80:
        payload = frames.apply_mask(payload, frame[header.body - 4 : header.body])
    if header.deflated:
        payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
    return header.deflated, payload


def test_a_server_compresses_what_is_worth_it() -> None:
    with Served(limits=COMPRESSED) as served:
        connection = served.connection
        assert connection.deflates
        assert payload_of(connection.text(LONG).frame) == (True, LONG.encode())
        assert payload_of(connection.text("hi").frame) == (False, b"hi")
        assert payload_of(connection.binary(bytes(MIN_SIZE)).frame) == (True, bytes(MIN_SIZE))


def test_without_an_offer_or_without_the_setting_nothing_is_compressed() -> None:
    without = {name: value for name, value in ENVIRON.items() if "EXTENSIONS" not in name}
    for environ, limits in ((without, COMPRESSED), (ENVIRON, DEFAULT_LIMITS)):
        with Served(environ=environ, limits=limits) as served:
            assert not served.connection.deflates
            text = Text(frames.encode(frames.TEXT, LONG.encode()))
            assert served.connection.packed(text) is text
            served.connection.send(text)
            assert served.peer.frame() == (frames.TEXT, LONG.encode())


def test_what_is_sent_as_frames_is_compressed_on_the_way() -> None:
    """A reply, which the chat makes without asking who gets it."""
    with Served(limits=COMPRESSED) as served:
        served.connection.send(Text(frames.encode(frames.TEXT, LONG.encode())))
        opcode, payload = served.peer.frame()
        assert opcode == frames.TEXT
        assert len(payload) < 100
        assert zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff") == LONG.encode()


def test_control_frames_are_never_compressed() -> None:
    with Served(limits=COMPRESSED) as served:
        served.connection.ping(b"x" * 125)
        assert served.peer.frame() == (frames.PING, b"x" * 125)
        served.connection.close(4000, "y" * 120)
        assert split_frames(frames.encode_close(4000, "y" * 120)) == [served.peer.frame()]


def test_a_peer_with_a_small_window_gets_what_fits_it() -> None:
    offer = {"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; server_max_window_bits=9"}
    with Served(environ=ENVIRON | offer, limits=COMPRESSED) as served:
        assert served.connection.deflater is NARROW
        assert served.connection.extensions.endswith("; server_max_window_bits=9")


# -- a client ------------------------------------------------------------------------------------------


@contextmanager
def answering(answer: str | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that says yes to one client with a Sec-WebSocket-Extensions of the test's; where it is, and
    the requests that came."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                data = b""
                while b"\r\n\r\n" not in data:
                    data += sock.recv(4096)
                requests.append(data)
                key = next(line for line in data.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
                environ = ENVIRON | {"HTTP_SEC_WEBSOCKET_KEY": key.partition(b": ")[2].decode()}
                environ |= {"HTTP_SEC_WEBSOCKET_EXTENSIONS": "none"}
                head = handshake(environ)
                line = b"" if answer is None else b"Sec-WebSocket-Extensions: %s\r\n" % answer.encode()
                sock.sendall(head[:-2] + line + b"\r\n")
                while sock.recv(4096):
                    pass

        thread = start(serve)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}", requests
        thread.join(PATIENCE)
        assert not thread.is_alive()


def handshake(environ: dict[str, str]) -> bytes:
    """The response to a request, as our server gives it."""
    ours, theirs = socket.socketpair()
    with theirs:
        hand = Hand()
        connection = Connection(1, ours, environ, turnstile=Turnstile(), pinger=hand.pinger)
        connection.open()
        head = b""
        while b"\r\n\r\n" not in head:
            head += theirs.recv(4096)
        connection.abort(1006)
        connection.end_reading()
        connection._writer.thread.join(PATIENCE)
    return head


def test_a_client_offers_compression_where_it_is_wanted() -> None:
    for limits, offered in ((COMPRESSED, True), (DEFAULT_LIMITS, False)):
        with answering(None) as (url, requests), Dialed(url, limits=limits) as dialed:
            assert not dialed.connection.deflates
            offer = f"Sec-WebSocket-Extensions: permessage-deflate; {OFFER}".encode()
            assert (offer in requests[0]) is offered
            assert (b"Extensions" in requests[0]) is offered


@pytest.mark.parametrize(
    ("answer", "deflater"),
    [
        (f"permessage-deflate; {STATELESS}", WIDE),
        ("permessage-deflate", WIDE),
        ("permessage-deflate; client_max_window_bits=10", NARROW),
        ("permessage-deflate; client_max_window_bits=8", None),
    ],
)
def test_a_client_compresses_within_the_window_that_the_server_has(answer: str, deflater: object) -> None:
    with answering(answer) as (url, _), Dialed(url, limits=COMPRESSED) as dialed:
        assert dialed.connection.deflater is deflater
        assert dialed.connection.extensions == answer
        masked = Text(frames.encode_masked(frames.TEXT, LONG.encode()))
        assert dialed.connection.packed(masked) is masked
        assert payload_of(dialed.connection.text(LONG).frame) == (deflater is not None, LONG.encode())


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate, permessage-deflate",
        "permessage-bzip2",
    ],
)
def test_an_answer_that_nobody_asked_for_is_no_connection(answer: str) -> None:
    with answering(answer) as (url, _), pytest.raises(CannotConnect, match="not a WebSocket handshake"):
        Dialed(url, limits=COMPRESSED)


def test_without_an_offer_no_extension_may_be_in_the_answer() -> None:
    with answering("permessage-deflate") as (url, _), pytest.raises(CannotConnect, match="unrecognized"):
        Dialed(url)


def test_a_compressed_message_counts_once_for_each_who_gets_it_and_comes_out_whole() -> None:
    got = threading.Event()

    def handler(connection: Connection, messages: list[str | bytes]) -> None:
        got.set()

    with Served(handler, limits=COMPRESSED) as served:
        payload = WIDE.shrink(frames.TEXT, LONG.encode())[1]
        served.peer.send(client_frame(frames.TEXT, payload, reserved=4))
        assert got.wait(PATIENCE)
        assert served.received == [LONG]
        assert served.connection.counters.messages_in == 1
        assert served.connection.counters.bytes_in == len(payload) + 6
