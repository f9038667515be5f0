"""Compressed messages as a transport reads them, and what of them is an error."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.helpers import ENVIRON, client_frame, steady, text_frame
from tests.wire.test_transport import ChunkSocket, Outcome, make_transport, receive_all, split
from threadchat.errors import ConnectionClosed
from threadchat.wire.protocol.deflate import WIDE
from threadchat.wire.protocol.extensions import read_answer
from threadchat.wire.protocol.state_machine import ClientProtocol, Protocol, ServerProtocol

CONTINUATION, TEXT, BINARY, PING, PONG, CLOSE = 0, 1, 2, 9, 10, 8
RSV1 = 4
MOST = 1000


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def deflated(data: bytes, *, opcode: int = TEXT, cuts: Iterable[int] = (), between: bytes = b"") -> bytes:
    """A compressed message in frames, with something between each two."""
    pieces = split(deflate(data), cuts)
    found = [
        client_frame(
            CONTINUATION if i else opcode,
            piece,
            final=i == len(pieces) - 1,
            reserved=0 if i else RSV1,
        )
        for i, piece in enumerate(pieces)
    ]
    return between.join(found)


def server(most: int = MOST) -> Protocol:
    return ServerProtocol(ENVIRON, inflate_to=most)


def received(*chunks: bytes, most: int = MOST) -> Outcome:
    return receive_all(chunks, max_message_size=most, protocol=server(most))


def test_the_handshake_says_what_was_agreed_on() -> None:
    protocol = server()
    answer = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    assert protocol.response.endswith(b"\r\nSec-WebSocket-Extensions: " + answer + b"\r\n\r\n")
    assert protocol.response.count(b"\r\n\r\n") == 1
    assert (protocol.extensions.encode(), protocol.deflater, protocol.inflates) == (answer, WIDE, True)


@pytest.mark.parametrize("header", [{}, {"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; wrong"}])
def test_without_a_good_offer_a_connection_goes_without(header: dict[str, str]) -> None:
    environ = {name: value for name, value in ENVIRON.items() if "EXTENSIONS" not in name} | header
    protocol = ServerProtocol(environ, inflate_to=MOST)
    assert b"Extensions" not in protocol.response
    assert (protocol.extensions, protocol.deflater, protocol.inflates) == ("", None, False)


def test_an_offer_is_declined_where_compression_is_off() -> None:
    assert b"Extensions" not in ServerProtocol(ENVIRON).response
    assert receive_all([deflated(b"hi")]).code == 1002


def test_messages_of_all_kinds_come_out() -> None:
    chunk = b"".join(
        (
            deflated("grüße".encode()),
            text_frame("plain"),
            deflated(bytes(500), opcode=BINARY),
            deflated("grüße".encode() * 20, cuts=(1, 3, 9), between=client_frame(PING, b"?")),
            deflated(b""),
            client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, b"b"),
            deflated(b"last"),
        )
    )
    expected: list[str | bytes] = ["grüße", "plain", bytes(500), "grüße" * 20, "", "ab", "last"]
    assert received(chunk) == Outcome(expected, [b"?"] * 3, 1006)
    assert received(*[chunk[at : at + 1] for at in range(len(chunk))]) == Outcome(expected, [b"?"] * 3, 1006)


messages = st.lists(
    st.tuples(st.text(max_size=60), st.booleans(), st.lists(st.integers(0, 60), max_size=3)), max_size=5
)


@steady
@given(messages, st.lists(st.integers(0, 1000), max_size=8))
def test_any_messages_in_any_pieces(found: list[tuple[str, bool, list[int]]], cuts: list[int]) -> None:
    found = [(text.encode(errors="replace").decode(), packed, where) for text, packed, where in found]
    frames = [
        deflated(text.encode(), cuts=where, between=client_frame(PONG)) if packed else text_frame(text)
        for text, packed, where in found
    ]
    outcome = received(*split(b"".join(frames), cuts))
    assert outcome == Outcome([text for text, _, _ in found], [], 1006)


@pytest.mark.parametrize(
    "wrong",
    [
        client_frame(PING, b"", reserved=RSV1),
        client_frame(PONG, b"", reserved=RSV1),
        client_frame(CLOSE, b"\x03\xe8", reserved=RSV1),
        client_frame(TEXT, b"x", reserved=2),
        client_frame(TEXT, b"x", reserved=RSV1 | 1),
        client_frame(TEXT, b"", final=False) + client_frame(CONTINUATION, b"", reserved=RSV1),
        client_frame(TEXT, deflate(b"x"), final=False, reserved=RSV1)
        + client_frame(CONTINUATION, b"", reserved=RSV1),
        client_frame(CONTINUATION, deflate(b"x"), reserved=RSV1),
        deflated(b"x") + client_frame(CONTINUATION, b""),
    ],
)
def test_what_a_reserved_bit_may_not_say_is_1002(wrong: bytes) -> None:
    assert received(text_frame("before") + wrong).code == 1002


def test_half_a_character_is_1007_as_soon_as_it_cannot_be_one() -> None:
    stream = zlib.compressobj(wbits=-15)
    start = stream.compress(b"\xed\xa0") + stream.flush(zlib.Z_SYNC_FLUSH)
    outcome = received(client_frame(TEXT, start, final=False, reserved=RSV1))
    assert outcome.code == 1007


def test_what_cannot_be_inflated_is_1007_and_what_came_before_is_there() -> None:
    assert received(deflated(b"before") + client_frame(TEXT, b"\xff\xff", reserved=RSV1)) == Outcome(
        ["before"], [], 1007
    )


# -- sizes ---------------------------------------------------------------------------------------------


def test_the_bound_is_for_what_a_message_becomes() -> None:
    assert received(deflated(b"x" * 1000)).messages == ["x" * 1000]
    outcome = received(deflated(b"before") + deflated(b"x" * 1001) + deflated(b"after"))
    assert outcome == Outcome(["before"], [], 1009)


def test_the_bound_holds_over_fragments_and_reads() -> None:
    message = deflated(b"x" * 1001, cuts=(1, 2, 3, 4))
    assert received(*[message[at : at + 1] for at in range(len(message))]).code == 1009


def test_the_close_says_by_how_much() -> None:
    transport = make_transport(ChunkSocket([deflated(b"x" * 1001)]), max_message_size=MOST, protocol=server())
    assert transport.receive() == []
    with pytest.raises(ConnectionClosed, match="inflates to more than the 1000 bytes") as caught:
        transport.receive()
    assert caught.value.code == 1009


def test_a_bomb_is_refused_while_it_is_inflated() -> None:
    bomb = deflated(bytes(64 << 20), opcode=BINARY)
    transport = make_transport(ChunkSocket([bomb]), max_message_size=512_000, protocol=server(512_000))
    code = None
    while code is None:
        try:
            assert transport.receive() == []
        except ConnectionClosed as closed:
            code = closed.code
    assert code == 1009
    incoming = transport.protocol.incoming_message  # type: ignore[attr-defined]
    assert incoming is None or len(incoming) <= 512_000


def test_what_does_not_compress_may_be_a_little_longer_than_the_bound() -> None:
    """A peer that compresses everything makes noise longer by some bytes; the message is allowed."""
    noise = bytes(MOST)
    stored = zlib.compressobj(0, wbits=-15)  # as of noise: nothing of it gets smaller
    payload = (stored.compress(noise) + stored.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(payload) > MOST
    assert received(client_frame(BINARY, payload, reserved=RSV1)).messages == [noise]


def test_a_declared_length_is_judged_before_anything_is_inflated() -> None:
    header = client_frame(BINARY, b"", reserved=RSV1, declared=MOST + MOST // 8 + 65)
    assert received(header).code == 1009
    assert received(client_frame(BINARY, b"", reserved=RSV1, declared=MOST + MOST // 8 + 64)).code == 1006
    assert received(client_frame(BINARY, b"", declared=MOST + 1)).code == 1009, (
        "a plain one has no such leave"
    )


def test_sizes_are_counted_anew_for_each_message() -> None:
    assert received(deflated(b"x" * 1000, cuts=(2,)) * 20).messages == ["x" * 1000] * 20


# -- a client ------------------------------------------------------------------------------------------


def test_a_server_may_refer_back_to_earlier_messages_where_it_says_so() -> None:
    stream = zlib.compressobj(wbits=-15)

    def message(data: bytes) -> bytes:
        payload = (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        return client_frame(TEXT, payload, reserved=RSV1, mask=None)

    text = "a sentence that comes twice" * 10
    chunks = [message(text.encode()), client_frame(TEXT, b"plain", mask=None), message(text.encode())]
    assert len(chunks[2]) < len(chunks[0])
    keeping = ClientProtocol(agreed=read_answer("permessage-deflate"), inflate_to=MOST)
    assert receive_all(chunks, max_message_size=MOST, protocol=keeping).messages == [text, "plain", text]
    told = read_answer("permessage-deflate; server_no_context_takeover")
    forgetting = ClientProtocol(agreed=told, inflate_to=MOST)
    assert receive_all(chunks, max_message_size=MOST, protocol=forgetting) == Outcome(
        [text, "plain"], [], 1007
    )
