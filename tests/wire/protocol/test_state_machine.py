"""The handshakes of both roles; what is known about simple-websocket and wsproto is held here."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Callable

import pytest
from wsproto.connection import ConnectionState

from tests.wire.helpers import ENVIRON, client_frame, close_frame, text_frame
from threadchat.errors import CannotConnect, ConnectionClosed, HandshakeRefused
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.client_handshake import MAX_BODY, ClientHandshake
from threadchat.wire.protocol.state_machine import (
    ClientProtocol,
    Protocol,
    ServerProtocol,
)

ROLES: list[Callable[[], Protocol]] = [lambda: ServerProtocol(ENVIRON), ClientProtocol]


def peer_frame(protocol: Protocol, opcode: int, payload: bytes = b"") -> bytes:
    """A frame as the other role sends it."""
    mask = b"abcd" if isinstance(protocol, ServerProtocol) else None
    return client_frame(opcode, payload, mask=mask)


# -- a server's handshake ------------------------------------------------------------------------------


def test_the_answer_is_kept_and_nothing_is_started() -> None:
    threads = threading.active_count()
    protocol = ServerProtocol(ENVIRON)
    assert threading.active_count() == threads, "simple-websocket starts no reader of its own"
    head = protocol.response.decode().split("\r\n")
    assert head[0].startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455 1.3
    assert protocol.response.endswith(b"\r\n\r\n")
    assert protocol.subprotocol is None
    assert list(protocol.headers) == []


def test_compression_is_offered_by_the_client_and_not_accepted() -> None:
    assert "permessage-deflate" in ENVIRON["HTTP_SEC_WEBSOCKET_EXTENSIONS"]
    assert b"extensions" not in ServerProtocol(ENVIRON).response.lower()


@pytest.mark.parametrize(
    ("asked", "ours", "chosen"),
    [
        ("old, chat", ["chat"], "chat"),
        ("old, chat", ["chat", "old"], "old"),
        ("old", ["chat"], None),
        ("old", None, None),
        ("", ["chat"], None),
    ],
)
def test_the_first_subprotocol_of_the_peer_that_is_known_is_chosen(
    asked: str, ours: list[str] | None, chosen: str | None
) -> None:
    environ = {**ENVIRON, "HTTP_SEC_WEBSOCKET_PROTOCOL": asked} if asked else ENVIRON
    protocol = ServerProtocol(environ, ours)
    assert protocol.subprotocol == chosen
    line = f"Sec-WebSocket-Protocol: {chosen}\r\n".encode()
    assert (line in protocol.response) is (chosen is not None)


@pytest.mark.parametrize("host", ["", "a..b", "[::1]:8080", "ü.example", "x" * 70 + ".example"])
def test_an_odd_host_is_not_judged_here(host: str) -> None:
    assert ServerProtocol({**ENVIRON, "HTTP_HOST": host}).response


@pytest.mark.parametrize(
    ("header", "value", "told"),
    [
        ("HTTP_SEC_WEBSOCKET_VERSION", "8", "'Sec-WebSocket-Version: 13' is missing"),
        ("HTTP_SEC_WEBSOCKET_VERSION", None, "'Sec-WebSocket-Version: 13' is missing"),
        ("HTTP_SEC_WEBSOCKET_KEY", None, "Sec-WebSocket-Key is missing"),
        ("HTTP_SEC_WEBSOCKET_KEY", "dGhl\xfc", "beyond ASCII"),
        ("HTTP_UPGRADE", "h2c", "'Upgrade: websocket' is missing"),
        ("HTTP_UPGRADE", None, "'Upgrade: websocket' is missing"),
        ("HTTP_CONNECTION", "keep-alive", "'Connection: Upgrade' is missing"),
        ("HTTP_CONNECTION", None, "'Connection: Upgrade' is missing"),
        ("HTTP_CONNECTION", "upgrade, \xfc", "beyond ASCII"),
        ("HTTP_SEC_WEBSOCKET_PROTOCOL", "\xfc", "beyond ASCII"),
    ],
)
def test_what_is_no_handshake_is_refused(header: str, value: str | None, told: str) -> None:
    environ = {name: text for name, text in ENVIRON.items() if name != header}
    if value is not None:
        environ[header] = value
    with pytest.raises(ConnectionClosed, match=f"not a WebSocket handshake: .*{told}") as caught:
        ServerProtocol(environ)
    assert caught.value.code == 1002


def test_the_whole_answer() -> None:
    environ = {**ENVIRON, "HTTP_SEC_WEBSOCKET_PROTOCOL": "a,  chat ,b"}
    assert ServerProtocol(environ, ("chat", "b"), inflate_to=1000).response == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
        b"client_no_context_takeover\r\n\r\n"
    )


@pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket", " websocket ,foo"])
def test_upgrade_may_be_a_list(upgrade: str) -> None:
    assert ServerProtocol({**ENVIRON, "HTTP_UPGRADE": upgrade}).response


# -- frames --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_pings_and_pongs_go_to_whoever_listens_and_messages_are_kept(role: Callable[[], Protocol]) -> None:
    protocol = role()
    pings: list[bytes] = []
    pongs: list[bytes] = []
    protocol.listen(pings.append, pongs.append)
    for opcode, payload in ((9, b"1"), (1, b"hi"), (10, b"2"), (9, b""), (2, b"\0")):
        protocol.feed(peer_frame(protocol, opcode, payload))
    assert (pings, pongs, protocol.input_buffer) == ([b"1", b""], [b"2"], ["hi", b"\0"])
    assert protocol.connected


@pytest.mark.parametrize("role", ROLES)
def test_the_peers_close(role: Callable[[], Protocol]) -> None:
    protocol = role()
    assert not protocol.peer_closed
    protocol.feed(peer_frame(protocol, frames.CLOSE, b"\x0b\xb8bye"))
    assert (protocol.close_reason, protocol.close_message) == (3000, "bye")
    assert protocol.peer_closed
    assert not protocol.connected


@pytest.mark.parametrize("role", ROLES)
def test_a_frame_masked_as_by_the_same_role_is_an_error(role: Callable[[], Protocol]) -> None:
    """RFC 6455 5.1: a server takes no frame without a mask, a client none with one."""
    protocol = role()
    mask = None if isinstance(protocol, ServerProtocol) else b"abcd"
    assert protocol.read_text(text_frame("hi", mask=mask), 0, 100) is None
    protocol.feed(text_frame("hi", mask=mask))
    assert protocol.close_reason == 1002
    assert not protocol.connected
    assert not protocol.peer_closed


@pytest.mark.parametrize("role", ROLES)
def test_what_one_role_encodes_the_other_reads(role: Callable[[], Protocol]) -> None:
    protocol = role()
    other = ClientProtocol() if isinstance(protocol, ServerProtocol) else ServerProtocol(ENVIRON)
    frame = protocol.encode(frames.TEXT, b"hi")
    assert other.read_text(frame, 0, 100) == ("hi", len(frame))
    other.feed(frame)
    assert other.input_buffer == ["hi"]


ALLOWED_CODES = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
RESERVED_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("code", ALLOWED_CODES)
def test_codes_that_a_close_may_have(role: Callable[[], Protocol], code: int) -> None:
    """RFC 6455 7.4 and IANA's registry, which has 1012 to 1014 as well; wsproto does not know 1014."""
    protocol = role()
    protocol.feed(peer_frame(protocol, frames.CLOSE, code.to_bytes(2, "big") + "tschüß".encode()))
    assert (protocol.close_reason, protocol.close_message) == (code, "tschüß")
    assert protocol.peer_closed


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("code", RESERVED_CODES)
def test_codes_that_no_close_may_have(role: Callable[[], Protocol], code: int) -> None:
    protocol = role()
    protocol.feed(peer_frame(protocol, frames.CLOSE, code.to_bytes(2, "big")))
    assert protocol.close_reason == 1002
    assert not protocol.peer_closed


@pytest.mark.parametrize("code", ALLOWED_CODES)
def test_the_reason_of_a_close_has_to_be_text(code: int) -> None:
    protocol = ServerProtocol(ENVIRON)
    protocol.feed(client_frame(frames.CLOSE, code.to_bytes(2, "big") + b"\xed\xa0\x80"))
    assert protocol.close_reason == 1007
    assert not protocol.peer_closed


def characters_begin_with() -> set[bytes]:
    """The first two bytes of every character that has more than one in UTF-8 (RFC 3629 4)."""
    points = [*range(0x80, 0x800), *range(0x800, 0xD800, 0x40), *range(0xE000, 0x110000, 0x40)]
    return {chr(point).encode()[:2] for point in points}


def test_text_is_refused_at_the_first_byte_that_no_character_has_there() -> None:
    """Python's decoder waits for the third byte of half a surrogate pair, ED A0 80 say (RFC 6455 8.1)."""
    beginnings = characters_begin_with()
    wrong = []
    for lead in range(0x80, 0x100):
        for second in (0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xED, 0xFF):
            protocol = ClientProtocol()
            protocol.feed(client_frame(frames.TEXT, b"x" + bytes((lead, second)), final=False, mask=None))
            outcome = protocol.close_reason if not protocol.connected else None
            if outcome != (None if bytes((lead, second)) in beginnings else 1007):
                wrong.append((f"{lead:02X} {second:02X}", outcome))
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_half_a_surrogate_pair_is_refused_across_fragments(role: Callable[[], Protocol]) -> None:
    protocol = role()
    mask = None if isinstance(protocol, ClientProtocol) else b"abcd"
    protocol.feed(client_frame(frames.TEXT, b"x\xed", final=False, mask=mask))
    assert protocol.connected
    protocol.feed(client_frame(frames.CONTINUATION, b"\xa0", final=False, mask=mask))
    assert not protocol.connected
    assert protocol.close_reason == 1007
    assert not protocol.peer_closed
    assert protocol.input_buffer == []


@pytest.mark.parametrize("text", ["\ud7ff", "\ue000", "\U00010000", "\U0010ffff"])
def test_the_characters_beside_surrogates_may_be_cut_anywhere(text: str) -> None:
    protocol = ClientProtocol()
    for i, byte in enumerate(text.encode()):
        opcode = frames.CONTINUATION if i else frames.TEXT
        protocol.feed(client_frame(opcode, bytes((byte,)), final=False, mask=None))
    protocol.feed(client_frame(frames.CONTINUATION, mask=None))
    assert protocol.input_buffer == [text]


def test_a_client_connects_nowhere_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """simple-websocket's would."""

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "socket", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    protocol = ClientProtocol("chat", [("Server", "x")])
    assert (protocol.subprotocol, protocol.headers) == ("chat", [("Server", "x")])
    assert protocol.response == b""
    assert protocol.ws.state is ConnectionState.OPEN


# -- a client's handshake ------------------------------------------------------------------------------


def a_handshake(subprotocols: tuple[str, ...] = ("old", "chat")) -> ClientHandshake:
    return ClientHandshake("example.com:81", "/x?y=1", [("Origin", "https://ö.example")], subprotocols)


def accept_of(handshake: ClientHandshake) -> str:
    """What the server owes to the request's key (RFC 6455 4.2.2)."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", handshake.request)
    assert found
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


def answer(handshake: ClientHandshake, *more: str, without: str = "") -> bytes:
    lines = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_of(handshake)}",
        *more,
    ]
    kept = [line for line in lines if not without or not line.startswith(without)]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *kept, "", ""]).encode()


def test_a_request_has_what_it_needs_and_offers_no_extension() -> None:
    handshake = a_handshake()
    head = handshake.request.decode("latin-1").split("\r\n")
    assert head[0] == "GET /x?y=1 HTTP/1.1"
    for line in (
        "Host: example.com:81",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: old, chat",
        "Origin: https://ö.example",
    ):
        assert line in head
    assert "xtension" not in handshake.request.decode("latin-1")


def test_each_request_has_a_key_of_its_own() -> None:
    keys = {accept_of(a_handshake()) for _ in range(50)}
    assert len(keys) == 50


def test_a_yes_is_a_protocol() -> None:
    handshake = a_handshake()
    protocol = handshake.receive(
        answer(handshake, "Sec-WebSocket-Protocol: chat", "Server: x", "Set-Cookie: a=b")
    )
    assert protocol is not None
    assert protocol.subprotocol == "chat"
    assert list(protocol.headers) == [("server", "x"), ("set-cookie", "a=b")]


def test_no_subprotocol_is_a_yes_too() -> None:
    handshake = a_handshake()
    protocol = handshake.receive(answer(handshake))
    assert protocol is not None
    assert protocol.subprotocol is None


@pytest.mark.parametrize(
    ("more", "without", "reason"),
    [
        ("", "Sec-WebSocket-Accept", "accept"),
        ("", "Upgrade", "Upgrade"),
        ("", "Connection", "Upgrade"),
        ("Sec-WebSocket-Protocol: new", "", "subprotocol new"),
        ("Sec-WebSocket-Protocol: old, chat", "", "subprotocol old, chat"),
        ("Sec-WebSocket-Extensions: permessage-deflate", "", "extension"),
        ("Sec-WebSocket-Accept: wrong", "", "accept"),
        ("no header", "", "HTTP"),
    ],
)
def test_a_wrong_yes_is_an_error(more: str, without: str, reason: str) -> None:
    handshake = a_handshake()
    data = answer(handshake, *([more] if more else []), without=without)
    with pytest.raises(CannotConnect, match=rf"not a WebSocket handshake: .*{reason}") as caught:
        handshake.receive(data)
    assert not isinstance(caught.value, HandshakeRefused)


def refusal(*pieces: bytes, ends: bool = False) -> HandshakeRefused:
    """What an answer in pieces comes to; `ends`: nothing follows."""
    handshake = a_handshake()
    try:
        for piece in pieces:
            assert handshake.receive(piece) is None
        if ends:
            handshake.end()
    except HandshakeRefused as refused:
        return refused
    raise AssertionError("it waits for more")


@pytest.mark.parametrize("step", [1, 1000])
def test_a_no_has_status_headers_and_body(step: int) -> None:
    body = "wär net".encode()
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\nX-Why: \xfc\r\n\r\n"
    refused = refusal(head, *(body[i : i + step] for i in range(0, len(body), step)))
    assert str(refused) == "the server refused the WebSocket handshake with status 403"
    assert (refused.status, refused.body) == (403, "wär net")
    assert refused.headers == [("content-length", "8"), ("x-why", "ü")]


def test_a_redirect_is_a_no_that_says_where_to() -> None:
    refused = refusal(b"HTTP/1.1 301 Moved\r\nLocation: wss://other.example/\r\nContent-Length: 0\r\n\r\n")
    assert refused.status == 301
    assert "(to wss://other.example/: redirects are not followed)" in str(refused)


def test_a_body_is_kept_up_to_its_bound() -> None:
    pieces = (b"x" * 1000 for _ in range(MAX_BODY))
    assert refusal(b"HTTP/1.1 500 No\r\n\r\n", *pieces).body == "x" * MAX_BODY


def test_a_body_that_ends_early_is_what_is_there() -> None:
    head = b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n"
    assert refusal(head, b"some", ends=True).body == "some"


def test_a_body_that_is_wrong_does_not_hide_the_status() -> None:
    head = b"HTTP/1.1 429 Slow down\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(head, b"no chunk\r\n").status == 429


def test_an_end_before_any_answer_is_an_error() -> None:
    with pytest.raises(CannotConnect, match="before it answered"):
        a_handshake().end()


def test_a_close_of_a_client_is_masked_and_a_servers_is_not() -> None:
    assert frames.encode_close(1000, "bye") == b"\x88\x05\x03\xe8bye"
    masked = frames.encode_close(1000, "bye", ClientProtocol.encode)
    assert masked[:2] == b"\x88\x85"
    server = ServerProtocol(ENVIRON)
    server.feed(masked)
    assert (server.close_reason, server.close_message) == (1000, "bye")
    assert len(close_frame(1000, "bye")) == len(masked)
