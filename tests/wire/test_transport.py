"""Decoding, and what a socket is told."""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tests.wire.helpers import (
    ENVIRON,
    PATIENCE,
    Peer,
    Turnless,
    client_frame,
    close_frame,
    finish,
    reset,
    run_all,
    start,
    steady,
    switching,
    tcp_pair,
    text_frame,
    until,
)
from threadchat.errors import ConnectionClosed
from threadchat.wire.protocol import frames, incoming
from threadchat.wire.protocol.parser import CorrectedFrames
from threadchat.wire.protocol.state_machine import ClientProtocol, Protocol, ServerProtocol
from threadchat.wire.socket_state import LONGEST_POLL
from threadchat.wire.transport import _READ_SIZE, _READ_SIZE_BUSY, Transport

CONTINUATION, TEXT, BINARY, PING, PONG = 0, 1, 2, 9, 10


class ChunkSocket:
    """A socket that receives what the test says, piece by piece, then the end of the stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = [chunk for chunk in chunks if chunk]
        self.sizes: list[int] = []

    def recv(self, size: int) -> bytes:
        self.sizes.append(size)
        if not self._chunks:
            return b""
        chunk = self._chunks.pop(0)
        if len(chunk) > size:
            chunk, rest = chunk[:size], chunk[size:]
            self._chunks.insert(0, rest)
        return chunk


class Outcome(NamedTuple):
    """What came of some bytes: messages, payloads of the pongs that are due, and the code of the end."""

    messages: list[str | bytes]
    pongs: list[bytes]
    code: int


def make_transport(
    sock: Any,
    *,
    trailing: bytes = b"",
    pongs: list[bytes] | None = None,
    protocol: Protocol | None = None,
    **options: Any,
) -> Transport:
    protocol = protocol or ServerProtocol(ENVIRON)
    protocol.listen(([] if pongs is None else pongs).append, lambda payload: None)
    return Transport(sock, protocol, trailing, **options)


def receive_all(
    chunks: Iterable[bytes],
    trailing: bytes = b"",
    max_message_size: int = 1 << 30,
    protocol: Protocol | None = None,
    *,
    stopped: bool = False,
) -> Outcome:
    """Reads to the end; `stopped`: as after a Close of ours."""
    pongs: list[bytes] = []
    transport = make_transport(
        ChunkSocket(chunks),
        trailing=trailing,
        pongs=pongs,
        max_message_size=max_message_size,
        protocol=protocol,
    )
    if stopped:
        transport.stop()
    messages: list[str | bytes] = []
    while True:
        try:
            messages += transport.receive()
        except ConnectionClosed as reason:
            return Outcome(messages, pongs, reason.code)


def as_wsproto_reads(data: bytes, role: ConnectionType = ConnectionType.SERVER) -> Outcome:
    """What wsproto, corrected as in protocol.py, makes of all the bytes at once."""
    reader = Connection(role)
    reader._proto = CorrectedFrames(reader.client)
    reader.receive_data(data)
    messages: list[str | bytes] = []
    pongs: list[bytes] = []
    parts: list[Any] = []
    for event in reader.events():
        if isinstance(event, CloseConnection):
            return Outcome(messages, pongs, int(event.code))
        if isinstance(event, Ping):
            pongs.append(bytes(event.payload))
        elif isinstance(event, TextMessage | BytesMessage):
            parts.append(event.data)
            if event.message_finished:
                messages.append(type(parts[0])().join(parts))
                parts = []
    return Outcome(messages, pongs, 1006)


def record_passed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is passed to wsproto from now on."""
    passed: list[bytes] = []
    feed = Protocol.feed

    def record(protocol: Protocol, data: bytes) -> None:
        passed.append(data)
        feed(protocol, data)

    monkeypatch.setattr(Protocol, "feed", record)
    return passed


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` in pieces that end where `cuts` say."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


# -- messages ------------------------------------------------------------------------------------------


def test_two_messages_and_a_close_in_one_chunk_are_all_there() -> None:
    chunk = text_frame("one") + text_frame("two") + close_frame(3000, "bye")
    assert receive_all([chunk]) == Outcome(["one", "two"], [], 3000)


def test_the_reason_of_the_peer_is_told_and_told_again() -> None:
    transport = make_transport(ChunkSocket([close_frame(3000, "bye")]))
    assert transport.receive() == []
    for _ in range(2):
        with pytest.raises(ConnectionClosed) as caught:
            transport.receive()
        assert (caught.value.code, caught.value.reason) == (3000, "bye")
    assert transport.peer_closed


def test_a_close_without_code_is_1005() -> None:
    assert receive_all([close_frame(None)]) == Outcome([], [], 1005)


def test_what_follows_a_close_is_not_read() -> None:
    chunk = close_frame() + text_frame("late") + client_frame(PING, b"late")
    assert receive_all([chunk]) == Outcome([], [], 1000)


def test_text_and_binary_of_every_size() -> None:
    for size in (0, 1, 125, 126, 65_535, 65_536, 511_999):
        text, data = "x" * size, bytes(size)
        chunks = [text_frame(text) + client_frame(BINARY, data)]
        assert receive_all(chunks) == Outcome([text, data], [], 1006)


def test_what_was_read_past_the_request_comes_first() -> None:
    data = text_frame("one") + text_frame("two")
    for cut in range(len(data) + 1):
        assert receive_all([data[cut:]], trailing=data[:cut]).messages == ["one", "two"]


def test_byte_by_byte() -> None:
    data = b"".join(
        (
            text_frame("grüße"),
            client_frame(TEXT, "grü".encode()[:3], final=False),
            client_frame(PING, b"?"),
            client_frame(CONTINUATION, "grü".encode()[3:]),
            text_frame("x" * 200),
            client_frame(BINARY, b"\0\1"),
            close_frame(1001, "tschüß"),
        )
    )
    pieces = [data[i : i + 1] for i in range(len(data))]
    assert receive_all(pieces) == Outcome(["grüße", "grü", "x" * 200, b"\0\1"], [b"?"], 1001)


def test_fragments_with_control_frames_between_them() -> None:
    chunk = b"".join(
        (
            client_frame(TEXT, b"a", final=False),
            client_frame(PING, b"1"),
            client_frame(CONTINUATION, b"b", final=False),
            client_frame(PONG, b"nobody asked"),
            client_frame(CONTINUATION, b"", final=False),
            client_frame(PING, b"2"),
            client_frame(CONTINUATION, b"c"),
            text_frame("next"),
        )
    )
    assert receive_all([chunk]) == Outcome(["abc", "next"], [b"1", b"2"], 1006)


def test_many_pings_are_as_many_pongs_and_a_pong_is_none() -> None:
    chunk = b"".join(client_frame(PING, b"%d" % i) for i in range(50)) + client_frame(PONG, b"x" * 125)
    assert receive_all([chunk]).pongs == [b"%d" % i for i in range(50)]


def test_a_flood_of_frames_lets_others_have_the_interpreter_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not so the commonest ones, which cost next to nothing."""
    pauses: list[float] = []
    monkeypatch.setattr(incoming, "sleep", pauses.append)
    assert len(receive_all([], trailing=client_frame(PING, b"p") * 640).pongs) == 640
    assert len(pauses) == 10
    assert len(receive_all([], trailing=client_frame(TEXT, b"hi") * 640).messages) == 640
    assert len(pauses) == 10


def test_after_our_close_a_peers_is_found_behind_what_was_on_its_way() -> None:
    data = text_frame("late") * 200 + client_frame(PING) * 50 + close_frame(1001)
    assert receive_all([data], stopped=True).code == 1001


@pytest.mark.parametrize("frame", [text_frame("late"), client_frame(PING, b"x")])
def test_after_our_close_a_flood_is_not_decoded_to_its_end(frame: bytes) -> None:
    outcome = receive_all([frame * 5000, frame * 5000, close_frame(1001)], stopped=True)
    assert outcome.code == 1006
    assert 0 < len(outcome.messages + outcome.pongs) <= incoming._LAST_FRAMES


def test_nothing_is_kept_once_it_was_received() -> None:
    """simple-websocket's own buffer has no bound."""
    transport = make_transport(ChunkSocket([text_frame("x") * 100] * 3))
    for _ in range(3):
        assert len(transport.receive()) == 100
        assert transport.protocol.input_buffer == []


def test_a_full_read_makes_the_next_one_larger() -> None:
    sock = ChunkSocket([text_frame("x" * 100) * 1000, text_frame("y")])
    transport = make_transport(sock)
    for _ in range(4):
        transport.receive()
    with pytest.raises(ConnectionClosed):
        transport.receive()
    assert sock.sizes[:2] == [_READ_SIZE, _READ_SIZE_BUSY]
    assert sock.sizes[-1] == _READ_SIZE, "a waiting reader holds a small buffer"


@pytest.mark.parametrize("before", [b"", text_frame("short"), text_frame("x" * 900)])
@pytest.mark.parametrize("size", [1000, 4000, _READ_SIZE_BUSY - 8])
def test_a_message_longer_than_a_read_is_decoded_once_it_is_whole(
    monkeypatch: pytest.MonkeyPatch, size: int, before: bytes
) -> None:
    """wsproto, which takes pieces, takes several times as long."""
    passed = record_passed(monkeypatch)
    outcome = receive_all([before + text_frame("y" * size) + text_frame("after")])
    assert outcome.messages[-2:] == ["y" * size, "after"]
    assert passed == []


@pytest.mark.parametrize(
    "frame",
    [
        text_frame("x" * _READ_SIZE_BUSY),
        client_frame(BINARY, bytes(4000)),
        client_frame(TEXT, b"x" * 4000, final=False),
        client_frame(TEXT, b"", final=False) + client_frame(CONTINUATION, b"x" * 4000),
    ],
)
def test_another_frame_longer_than_a_read_is_passed_on_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch, frame: bytes
) -> None:
    passed = record_passed(monkeypatch)
    transport = make_transport(ChunkSocket([frame]))
    transport.receive()
    assert sum(map(len, passed)) == _READ_SIZE


def test_a_message_of_which_a_read_has_little_does_not_wait_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a peer that sends byte by byte would have all that came copied for each byte."""
    passed = record_passed(monkeypatch)
    frame = text_frame("x" * 4000)
    transport = make_transport(ChunkSocket([frame[:_READ_SIZE], frame[_READ_SIZE:2000], frame[2000:]]))
    transport.receive()
    assert (passed, transport.is_within, transport.held) == ([], True, _READ_SIZE)
    begun = transport.progress
    transport.receive()
    assert passed == [frame[:2000]]
    assert transport.is_within
    assert transport.progress != begun
    assert transport.receive() == []
    assert transport.receive() == ["x" * 4000]
    assert (transport.is_within, transport.held) == (False, 0)


def test_a_message_too_long_is_refused_by_its_header_at_once() -> None:
    transport = make_transport(ChunkSocket([text_frame("x" * 4000)]), max_message_size=3999)
    transport.receive()
    with pytest.raises(ConnectionClosed) as caught:
        transport.receive()
    assert caught.value.code == 1009


def test_what_is_not_wanted_any_more_is_let_go() -> None:
    transport = make_transport(ChunkSocket([text_frame("x" * 4000)]))
    transport.receive()
    transport.drop()
    with pytest.raises(ConnectionClosed):
        transport.receive()
    assert transport.held == 0


# -- errors of the peer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (text_frame("hi", mask=None), 1002),
        (text_frame("hi", reserved=1), 1002),
        (text_frame("hi", form=2), 1002),
        (text_frame("x" * 126, form=8), 1002),
        (client_frame(3, b"?"), 1002),
        (client_frame(CONTINUATION, b"of nothing"), 1002),
        (client_frame(TEXT, b"a", final=False) + text_frame("b"), 1002),
        (client_frame(PING, b"x", final=False), 1002),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(8, b"\x03"), 1002),
        (client_frame(8, b"\x03\xed"), 1002),  # 1005
        (client_frame(8, b"\x03\xe8\xff"), 1007),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"x" * 999 + b"\xff"), 1007),
        (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
        (client_frame(TEXT, b"\xc3"), 1007),
        (client_frame(TEXT, b"\xc3", final=False) + client_frame(CONTINUATION, b"x"), 1007),
        (client_frame(TEXT, b"\xc3", final=False) + client_frame(CONTINUATION, b""), 1007),
        (client_frame(TEXT, b"\xed\xa0", final=False), 1007),
        (client_frame(TEXT, b"\xed", final=False) + client_frame(CONTINUATION, b"\xbf", final=False), 1007),
        (client_frame(TEXT, b"", declared=1 << 63), 1002),
        (client_frame(BINARY, b"", declared=(1 << 64) - 1), 1002),
    ],
)
@pytest.mark.parametrize("step", [1, 1000, 5000])
def test_a_protocol_error_ends_the_stream_after_what_came_before(frame: bytes, code: int, step: int) -> None:
    data = text_frame("before") + frame + text_frame("after")
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    assert receive_all(pieces, max_message_size=1000) == Outcome(["before"], [], code)


@pytest.mark.parametrize("frame", [text_frame("hi"), client_frame(PING), close_frame()])
def test_a_client_takes_no_masked_frame(frame: bytes) -> None:
    """RFC 6455 5.1."""
    data = text_frame("before", mask=None) + frame
    assert receive_all([data], protocol=ClientProtocol()) == Outcome(["before"], [], 1002)


def test_a_client_refuses_what_is_too_big_by_what_it_declares() -> None:
    header = client_frame(TEXT, b"", declared=1001, mask=None)
    found = receive_all([header], max_message_size=1000, protocol=ClientProtocol())
    assert found == Outcome([], [], 1009)


def test_an_error_is_not_the_peers_close() -> None:
    """It still may send its own, and has to be read until then."""
    transport = make_transport(ChunkSocket([text_frame("hi", mask=None)]))
    transport.receive()
    with pytest.raises(ConnectionClosed):
        transport.receive()
    assert not transport.peer_closed


def test_the_largest_message_is_allowed() -> None:
    whole = text_frame("x" * 1000) + client_frame(BINARY, bytes(1000))
    fragments = client_frame(TEXT, b"x" * 999, final=False) + client_frame(CONTINUATION, b"x")
    outcome = receive_all([whole + fragments], max_message_size=1000)
    assert outcome == Outcome(["x" * 1000, bytes(1000), "x" * 1000], [], 1006)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1001, 65_536, (1 << 63) - 1])
def test_a_message_is_too_big_by_what_it_declares(opcode: int, size: int) -> None:
    """Its header is enough; not one byte of the payload is waited for, or passed on."""
    header = client_frame(opcode, b"", declared=size)
    transport = make_transport(ChunkSocket([text_frame("before") + header]), max_message_size=1000)
    fed: list[bytes] = []
    transport.protocol.feed = fed.append  # type: ignore[assignment, method-assign]
    assert transport.receive() == ["before"]
    with pytest.raises(ConnectionClosed, match=f"{size} bytes, at most 1000") as caught:
        transport.receive()
    assert caught.value.code == 1009
    assert fed == []


def test_a_message_is_too_big_by_the_sum_of_its_fragments() -> None:
    chunks = [
        client_frame(TEXT, b"x" * 600, final=False),
        client_frame(PING, b"x" * 100),
        client_frame(CONTINUATION, b"x" * 400, final=False),
        client_frame(CONTINUATION, b"", final=False),
        client_frame(CONTINUATION, b"", declared=1),
    ]
    assert receive_all(chunks, max_message_size=1000) == Outcome([], [b"x" * 100], 1009)


@pytest.mark.parametrize("size", [(1 << 63) - 1, (1 << 63) - 2])
def test_a_sum_that_is_an_illegal_length_is_too_big_all_the_same(size: int) -> None:
    chunks = [client_frame(TEXT, b"xx", final=False), client_frame(CONTINUATION, b"", declared=size)]
    assert receive_all(chunks, max_message_size=1000).code == 1009


def test_sizes_are_counted_anew_for_each_message() -> None:
    message = client_frame(TEXT, b"x" * 500, final=False) + client_frame(CONTINUATION, b"x" * 500)
    assert receive_all([message * 20], max_message_size=1000).messages == ["x" * 1000] * 20


# -- all that a peer may send, in all pieces -----------------------------------------------------------

pieces = st.one_of(
    st.text(max_size=8).map(lambda text: text.encode(errors="replace")),
    st.binary(max_size=8),
    st.sampled_from([b"\xc3", b"\xbc", b"x" * 125, b"x" * 126, b"x" * 300]),
)


Masks = st.SearchStrategy[bytes | None]
of_clients: Masks = st.binary(min_size=4, max_size=4)
of_servers: Masks = st.none()


def pings(masks: Masks) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda payload, mask: client_frame(PING, payload, mask=mask), st.binary(max_size=20), masks
    )


@st.composite
def messages(draw: st.DrawFn, masks: Masks) -> bytes:
    """One message in one or more fragments, with pings between them."""
    parts = draw(st.lists(pieces, min_size=1, max_size=4))
    opcode = draw(st.sampled_from([TEXT, TEXT, BINARY]))
    found = []
    for i, part in enumerate(parts):
        mask = draw(masks)
        found.append(client_frame(CONTINUATION if i else opcode, part, final=part is parts[-1], mask=mask))
        if draw(st.booleans()):
            found.append(draw(pings(masks)))
    return b"".join(found)


@st.composite
def odd_frames(draw: st.DrawFn, masks: Masks) -> bytes:
    """A frame that may be wrong in any way."""
    return client_frame(
        draw(st.integers(0, 15)),
        draw(pieces),
        final=draw(st.booleans()),
        reserved=draw(st.sampled_from([0, 0, 0, 1, 4])),
        mask=draw(st.one_of(masks, masks, masks, st.sampled_from([b"abcd", None]))),
        form=draw(st.sampled_from([None, None, 2, 8])) if draw(st.booleans()) else None,
    )


@st.composite
def texts(draw: st.DrawFn, masks: Masks) -> bytes:
    return text_frame(draw(st.text(max_size=30)).encode(errors="replace").decode(), mask=draw(masks))


def streams(masks: Masks) -> st.SearchStrategy[bytes]:
    sorts = (texts(masks), texts(masks), messages(masks), pings(masks), odd_frames(masks))
    return st.lists(st.one_of(*sorts), max_size=8).map(b"".join)


@steady
@given(streams(of_clients), st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 3000))
@example(client_frame(TEXT, b"\xc3", final=False) + client_frame(CONTINUATION, b"\xbc"), [7], 0)
@example(client_frame(TEXT, b"\xed\xa0", final=False) + client_frame(PING), [7, 8], 0)
def test_every_stream_is_read_as_wsproto_reads_it(data: bytes, cuts: list[int], trailing: int) -> None:
    first, *chunks = split(data, [trailing]) if not cuts else split(data, cuts)
    assert receive_all(chunks, trailing=first) == as_wsproto_reads(data)


@steady
@given(streams(of_servers), st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 3000))
def test_every_stream_of_a_server_is_read_as_wsproto_reads_it(
    data: bytes, cuts: list[int], trailing: int
) -> None:
    first, *chunks = split(data, [trailing]) if not cuts else split(data, cuts)
    found = receive_all(chunks, trailing=first, protocol=ClientProtocol())
    assert found == as_wsproto_reads(data, ConnectionType.CLIENT)


# -- the socket ----------------------------------------------------------------------------------------


@pytest.fixture
def tcp() -> Any:
    ours, theirs = tcp_pair(small=True)
    theirs.settimeout(PATIENCE)
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


def writing(transport: Transport) -> Transport:
    """Makes the test the writer."""
    transport.writer_thread = threading.current_thread()
    return transport


def test_only_the_writer_may_send(tcp: Pair) -> None:
    transport = make_transport(tcp[0])
    with pytest.raises(AssertionError, match="only its writer"):
        transport.send(b"x")
    writing(transport)
    failures: list[AssertionError] = []

    def send() -> None:
        with pytest.raises(AssertionError) as caught:
            transport.send(b"x")
        failures.append(caught.value)

    finish(start(send))
    assert failures
    assert transport.send(b"x") == 1


def test_send_takes_what_fits_and_never_blocks(tcp: Pair) -> None:
    """It tells how much: simple-websocket would have dropped the rest in silence."""
    transport = writing(make_transport(tcp[0]))
    total = 0
    while sent := transport.send(bytes(100_000)):
        assert sent < 100_000
        total += sent
    received = 0
    while received < total:
        received += len(tcp[1].recv(1 << 20))
    while not transport.send(b"x"):
        transport.wait_writable(PATIENCE)
    assert tcp[1].recv(1) == b"x"


def test_waiting_to_write_is_done_in_short_pieces(tcp: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux calls a socket writable long after a send would have succeeded: the writer tries in between."""
    waits: list[int] = []

    class Poll:
        def register(self, sock: socket.socket, events: int) -> None:
            assert (sock, events) == (tcp[0], select.POLLOUT)

        def poll(self, milliseconds: int) -> None:
            waits.append(milliseconds)

    transport = make_transport(tcp[0])
    monkeypatch.setattr(select, "poll", Poll)
    for seconds in (10, 0.1, 0.0001):
        transport.wait_writable(seconds)
    assert waits == [LONGEST_POLL * 1000, 100, 1]


def test_a_lost_connection_is_1006_to_both_sides(tcp: Pair) -> None:
    transport = writing(make_transport(tcp[0]))
    reset(tcp[1])
    with pytest.raises(ConnectionClosed) as caught:
        transport.receive()
    assert caught.value.code == 1006
    with pytest.raises(ConnectionClosed) as caught:
        transport.send(b"x")
    assert caught.value.code == 1006


def test_an_end_of_stream_without_close_is_1006(tcp: Pair) -> None:
    transport = make_transport(tcp[0])
    tcp[1].shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionClosed, match="ended the stream") as caught:
        transport.receive()
    assert caught.value.code == 1006


def test_waiting_to_write_ends_with_its_time() -> None:
    ours, theirs = socket.socketpair()  # TCP would make room by itself, a little later
    with ours, theirs:
        transport = writing(make_transport(ours))
        while transport.send(bytes(100_000)):
            pass
        transport.wait_writable(0)
        assert transport.send(b"x") == 0


def test_an_abort_wakes_reader_and_writer(tcp: Pair) -> None:
    transport = writing(make_transport(tcp[0]))
    while transport.send(bytes(100_000)):
        pass
    codes: list[int] = []

    def read() -> None:
        with pytest.raises(ConnectionClosed) as caught:
            transport.receive()
        codes.append(caught.value.code)

    reader = start(read)
    writer = start(lambda: transport.wait_writable(PATIENCE * 10))
    transport.abort()
    finish(reader, writer)
    assert codes == [1006]
    with pytest.raises(ConnectionClosed):
        transport.send(b"x")


def test_an_abort_drops_what_the_kernel_still_holds(tcp: Pair) -> None:
    transport = writing(make_transport(tcp[0]))
    while transport.send(bytes(100_000)):
        pass
    transport.abort()
    assert transport.release() is False
    assert transport.release() is True
    assert Peer(tcp[1]).drain()


def test_a_forked_process_ends_no_connection_of_its_parents(
    tcp: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pinger, say, and its producers meet a connection whose descriptor it has, too."""
    transport = make_transport(tcp[0])
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        transport.abort()
        transport.finish()
    assert writing(transport).send(b"x") == 1
    assert tcp[1].recv(1) == b"x"


def test_a_finished_side_still_reads(tcp: Pair) -> None:
    transport = writing(make_transport(tcp[0]))
    transport.send(b"last")
    transport.finish()
    assert tcp[1].recv(100) == b"last"
    assert tcp[1].recv(100) == b""
    tcp[1].sendall(text_frame("hi"))
    assert transport.receive() == ["hi"]


def test_discarding_reads_until_the_end(tcp: Pair) -> None:
    transport = make_transport(tcp[0])
    tcp[1].sendall(b"no frame at all")
    assert transport.discard()
    tcp[1].shutdown(socket.SHUT_WR)
    assert not transport.discard()
    reset(tcp[1])
    assert not transport.discard()


# -- the descriptor ------------------------------------------------------------------------------------


def test_whoever_releases_last_closes(tcp: Pair) -> None:
    transport = make_transport(tcp[0])
    assert transport.release() is False
    assert tcp[0].fileno() >= 0
    assert transport.release() is True
    assert tcp[0].fileno() == -1


def test_who_comes_too_late_does_no_harm_to_the_next_owner_of_the_number(tcp: Pair) -> None:
    ours, theirs = socket.socketpair()
    transport = make_transport(tcp[0])
    number = tcp[0].fileno()
    transport.release()
    transport.release()
    with ours, theirs:
        os.dup2(ours.fileno(), number)
        try:
            transport.abort()
            transport.finish()
            theirs.sendall(b"x")
            assert ours.recv(1) == b"x"
            ours.sendall(b"y")
            assert theirs.recv(1) == b"y"
        finally:
            os.close(number)


def test_aborts_and_releases_at_once() -> None:
    with switching():
        for _ in range(50):
            ours, theirs = socket.socketpair()
            with theirs:
                transport = make_transport(ours)
                last: list[bool] = []
                release = [lambda: last.append(transport.release())] * 2  # noqa: B023
                run_all([*release, transport.abort, transport.abort, transport.finish])
                assert sorted(last) == [False, True]
                assert ours.fileno() == -1


def test_frames_of_both_kinds_make_the_way_through_a_real_socket(tcp: Pair) -> None:
    transport = writing(make_transport(tcp[0]))
    tcp[1].sendall(text_frame("hi") + client_frame(BINARY, b"\0"))
    found: list[str | bytes] = []
    while len(found) < 2:
        found += transport.receive()
    assert found == ["hi", b"\0"]
    transport.send(frames.encode(frames.TEXT, b"hi"))
    assert tcp[1].recv(100) == b"\x81\x02hi"


# -- who is behind ------------------------------------------------------------------------------------------


def test_a_reader_is_behind_until_it_comes_back_for_more() -> None:
    ours, theirs = tcp_pair()
    theirs.sendall(client_frame(TEXT, b"before"))
    assert ours.recv(9)  # by who read the handshake
    transport = make_transport(ours, trailing=b"123")
    assert transport.is_behind(), "of what came behind the handshake"
    transport = make_transport(ours)
    ours.recv(64)
    transport = make_transport(ours)
    assert not transport.is_behind()
    theirs.sendall(client_frame(TEXT, b"one"))
    until(transport.is_behind)
    assert transport.receive() == ["one"]
    assert transport.is_behind(), "somebody deals with it now"
    reader = start(transport.receive)  # comes back, and waits
    until(lambda: not transport.is_behind())
    theirs.sendall(client_frame(TEXT, b"more"))
    finish(reader)
    theirs.close()
    for _ in range(2):
        transport.release()
    assert not transport.is_behind(), "it is over"


def test_a_reader_without_a_turn_is_behind() -> None:
    ours, theirs = tcp_pair()
    transport = make_transport(ours)
    transport.socket = turnless = Turnless(ours)  # type: ignore[assignment]
    got: list[str | bytes] = []
    reader = start(lambda: got.extend(transport.receive()))
    assert not transport.is_behind()
    theirs.sendall(client_frame(TEXT, b"one"))
    assert turnless.taken.wait(PATIENCE)
    assert transport.is_behind(), "although nothing is left in the socket"
    turnless.turn.set()
    finish(reader)
    assert got == ["one"]
    for sock in (ours, theirs):
        sock.close()
