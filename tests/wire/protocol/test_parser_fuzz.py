"""Bytes from a peer who means no good: however they are cut up, the same comes of them, and no surprise."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.wire.helpers import ENVIRON, client_frame
from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.wire.protocol.state_machine import ClientProtocol, Protocol, ServerProtocol
from threadchat.wire.transport import Transport

few = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

ENDS = {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT, CloseCode.MESSAGE_TOO_BIG, CloseCode.ABNORMAL}
"""With what a stream may end that has no Close in it."""

TEXTS = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.sampled_from(
        [b"\xc3", b"\xbc", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"\xf0\x9f", b"\xff", b"x" * 126, b"y" * 300]
    ),
    st.binary(max_size=40),
)
PAYLOADS = st.one_of(
    TEXTS,
    st.sampled_from(
        [b"", b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xec", b"\x03\xee", b"\x03\xf6", b"\x0b\xb8\xff"]
    ),
)


class Piece(NamedTuple):
    """A frame, good or bad, as `client_frame` takes it."""

    opcode: int
    payload: bytes
    final: bool
    reserved: int
    masked: bool
    packed: bool  # compressed, and said to be so
    form: int | None
    declared: int | None


class Role(NamedTuple):
    """Who reads: a server, whose peers mask, or a client; and whether compression was agreed on."""

    masks: bool
    inflates: bool


def pieces(role: Role) -> st.SearchStrategy[list[Piece]]:
    """Frames for one role: mostly right in each respect, so that a stream lives for a while."""

    def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from([usual] * 24 + list(others))

    piece = st.builds(
        Piece,
        st.sampled_from([1, 1, 1, 1, 0, 0, 2, 9, 9, 10, 8, 3, 11]),
        PAYLOADS,
        st.sampled_from([True, True, False]),
        mostly(0, 1, 2, 4, 7),
        mostly(role.masks, not role.masks),
        st.sampled_from([False, role.inflates]),
        mostly(None, 0, 2, 8),
        mostly(None, 0, 5, 1000, 65_536, 1 << 31),
    )
    return st.lists(piece, max_size=8)


def encode(frames: Iterable[Piece]) -> bytes:
    """Their bytes; a length that does not fit its form takes the form that it needs."""
    data = b""
    for piece in frames:
        payload = deflated(piece.payload) if piece.packed else piece.payload
        size = len(payload) if piece.declared is None else piece.declared
        form = piece.form
        if form is not None and size >= {0: 126, 2: 1 << 16, 8: 1 << 63}[form]:
            form = None
        data += client_frame(
            piece.opcode,
            payload,
            final=piece.final,
            reserved=piece.reserved | 4 * piece.packed,
            mask=b"\x37\xfa\x21\x3d" if piece.masked else None,
            form=form,
            declared=piece.declared,
        )
    return data


def deflated(payload: bytes) -> bytes:
    """A whole message compressed (RFC 7692 7.2.1), long runs among it many times over."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    more = payload * 9 if len(payload) > 100 else payload
    return (stream.compress(more) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Chunks:
    """A socket that receives these pieces, then the end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = [chunk for chunk in reversed(list(chunks)) if chunk]

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        if not self._chunks:
            return b""
        chunk = self._chunks.pop()
        if len(chunk) > size:
            self._chunks.append(chunk[size:])
        return chunk[:size]


class Outcome(NamedTuple):
    """What came of it: the end above all, which is one of ENDS where the peer sent no Close."""

    messages: list[str | bytes]
    pings: list[bytes]
    pongs: list[bytes]
    code: int
    closed_by_peer: bool


def read(chunks: Iterable[bytes], role: Role, trailing: bytes = b"", most: int = 1000) -> Outcome:
    """All that one of that role makes of what it receives."""
    protocol: Protocol
    if role.masks:
        protocol = ServerProtocol(ENVIRON, inflate_to=most if role.inflates else None)
        assert protocol.inflates is role.inflates
    else:
        protocol = ClientProtocol()
        protocol.handshake()
    pings: list[bytes] = []
    pongs: list[bytes] = []
    protocol.listen(pings.append, pongs.append)
    transport = Transport(Chunks(chunks), protocol, trailing, max_message_size=most)  # type: ignore[arg-type]
    messages: list[str | bytes] = []
    while True:
        try:
            messages += transport.receive()
        except ConnectionClosed as end:
            return Outcome(messages, pings, pongs, end.code, transport.peer_closed)


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted(each % (len(data) + 1) for each in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def check_segmentation(data: bytes, role: Role, cuts: list[int], most: int) -> Outcome:
    """However it is cut, the same comes of it; and nothing longer than allowed."""
    whole = read([data], role, most=most)
    assert read([data[at : at + 1] for at in range(len(data))], role, most=most) == whole
    assert read(cut(data, cuts), role, most=most) == whole
    first, *rest = cut(data, cuts[:1])
    assert read(rest, role, trailing=first, most=most) == whole
    for message in whole.messages:
        assert len(message.encode() if isinstance(message, str) else message) <= most
    assert all(len(payload) <= 125 for payload in (*whole.pings, *whole.pongs))
    if not whole.closed_by_peer:
        assert whole.code in ENDS
    return whole


def check_frames(frames: list[Piece], role: Role, cuts: list[int], most: int) -> None:
    """Frames in any order, most of them right."""
    check_segmentation(encode(frames), role, cuts, most)


def check_mutated(frames: list[Piece], role: Role, cuts: list[int], at: int, change: tuple[int, int]) -> None:
    """Frames of which a byte was changed, and some are missing."""
    byte, gone = change
    data = bytearray(encode(frames))
    if data:
        data[at % len(data)] = byte
        begin = (at * 31) % len(data)
        del data[begin : begin + gone]
    check_segmentation(bytes(data), role, cuts, 1000)


def check_bytes(data: bytes, role: Role, cuts: list[int]) -> None:
    """Anything."""
    check_segmentation(data, role, cuts, 1000)


ROLES = st.sampled_from([Role(True, False), Role(True, True), Role(False, False)])
CHANGES = st.tuples(st.integers(0, 255), st.sampled_from([0, 0, 0, 1, 3]))
CUTS = st.lists(st.integers(0, 4000), max_size=6)
MOST = st.sampled_from([125, 200, 1000])
FRAMES = ROLES.flatmap(lambda role: st.tuples(pieces(role), st.just(role)))

TARGETS = {
    "frames in pieces": (lambda both, cuts, most: check_frames(*both, cuts, most), (FRAMES, CUTS, MOST)),
    "frames with a byte changed": (
        lambda both, cuts, at, change: check_mutated(*both, cuts, at, change),
        (FRAMES, CUTS, st.integers(0, 4000), CHANGES),
    ),
    "bytes for frames": (check_bytes, (st.binary(max_size=200), ROLES, CUTS)),
}
"""What scripts/fuzz runs for longer: a check, and what to give it."""


@few
@given(FRAMES, CUTS, MOST)
def test_frames_however_they_are_cut(both: tuple[list[Piece], Role], cuts: list[int], most: int) -> None:
    check_frames(*both, cuts, most)


@few
@given(FRAMES, CUTS, st.integers(0, 4000), CHANGES)
def test_frames_with_a_byte_changed(
    both: tuple[list[Piece], Role], cuts: list[int], at: int, change: tuple[int, int]
) -> None:
    check_mutated(*both, cuts, at, change)


@few
@given(st.binary(max_size=200), ROLES, CUTS)
def test_any_bytes(data: bytes, role: Role, cuts: list[int]) -> None:
    check_bytes(data, role, cuts)


def test_a_message_within_another_is_an_error_of_the_protocol_whatever_it_holds() -> None:
    begun = client_frame(1, b"", final=False)
    for inner in (client_frame(1, b"00", reserved=4), client_frame(2, deflated(b"fine"), reserved=4)):
        assert check_segmentation(begun + inner, Role(True, True), [8, 9, 14], 125).code == 1002
