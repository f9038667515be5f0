"""Compressing and inflating messages, by themselves."""

from __future__ import annotations

import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.helpers import split_frames, steady
from threadchat.errors import ConnectionClosed
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.deflate import DEFLATERS, MIN_SIZE, NARROW, WIDE, Deflater, Inflater
from threadchat.wire.protocol.requests import Packed, Text

TAIL = b"\x00\x00\xff\xff"
CHATTER = b'{"type": "message", "message": "' + b"so they say, " * 40 + b'"}'
NOISE = bytes(range(256))  # nothing comes twice
EMPTY_FINAL_BLOCK = b"\x03\x00"


def inflated(payload: bytes, *, wbits: int = 15) -> bytes:
    return zlib.decompressobj(-wbits).decompress(payload + TAIL)


def inflate(inflater: Inflater, *pieces: bytes) -> bytes:
    inflater.begin()
    return b"".join([inflater.feed(piece) for piece in pieces] + [inflater.end()])


def deflate(*messages: bytes, wbits: int = 15) -> list[bytes]:
    """As one with context takeover does it: later messages refer back to earlier ones."""
    stream = zlib.compressobj(wbits=-wbits)
    return [(stream.compress(each) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4] for each in messages]


# -- compressing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("deflater", DEFLATERS)
def test_what_is_compressed_is_small_and_can_be_inflated_with_its_window(deflater: Deflater) -> None:
    opcode, payload = deflater.shrink(frames.TEXT, CHATTER * 20)
    assert opcode == frames.TEXT | frames.DEFLATED
    assert len(payload) < len(CHATTER)
    assert inflated(payload, wbits=deflater.window_bits) == CHATTER * 20


def test_small_messages_go_as_they_are() -> None:
    message = b"x" * (MIN_SIZE - 1)
    assert WIDE.shrink(frames.TEXT, message) == (frames.TEXT, message)
    assert WIDE.shrink(frames.TEXT, message + b"x")[0] == frames.TEXT | frames.DEFLATED


def test_what_does_not_get_smaller_goes_as_it_is() -> None:
    assert WIDE.shrink(frames.BINARY, NOISE) == (frames.BINARY, NOISE)


def test_every_frame_of_a_text_is_judged_by_itself() -> None:
    payloads = [CHATTER, b"short", NOISE, CHATTER[::-1]]
    text = Text(b"".join([frames.encode(frames.TEXT, payload) for payload in payloads]), 4)
    packed = WIDE.pack(text)
    assert packed.messages == 4
    assert packed.size == len(packed.frame) < text.size
    found = []
    at = 0
    while (header := frames.read_header(packed.frame, at)) is not None:
        payload = packed.frame[header.body : header.end]
        found.append((header.deflated, inflated(payload) if header.deflated else payload))
        at = header.end
    assert found == [(True, CHATTER), (False, b"short"), (False, NOISE), (True, CHATTER[::-1])]


def test_what_was_packed_or_is_small_is_not_looked_at_again() -> None:
    small, packed = Text(frames.encode(frames.TEXT, b"x")), Packed(frames.encode(frames.TEXT, CHATTER))
    assert WIDE.pack(small) is small
    assert WIDE.pack(packed) is packed
    assert split_frames(WIDE.pack(Text(packed.frame)).frame) != split_frames(packed.frame)


# -- inflating -----------------------------------------------------------------------------------------


@steady
@given(
    st.lists(st.one_of(st.binary(max_size=300), st.text("ab ", max_size=300).map(str.encode)), max_size=5),
    st.sampled_from([9, 12, 15]),
    st.integers(1, 50),
    st.booleans(),
)
def test_messages_come_out_as_they_went_in(
    messages: list[bytes], wbits: int, step: int, together: bool
) -> None:
    inflater = Inflater(1000, keeps_window=together)
    packed = (
        deflate(*messages, wbits=wbits) if together else [deflate(each, wbits=wbits)[0] for each in messages]
    )
    found = []
    for payload in packed:
        pieces = [payload[at : at + step] for at in range(0, len(payload), step)]
        found.append(inflate(inflater, *pieces))
    assert found == messages


@pytest.mark.parametrize("final_block", [False, True])
def test_examples_of_the_specification(final_block: bool) -> None:
    """RFC 7692 7.2.3.1 and 7.2.3.4."""
    payload = "f348cdc9c9070000" if final_block else "f248cdc9c90700"
    assert inflate(Inflater(100), bytes.fromhex(payload)) == b"Hello"


def test_shared_windows_of_the_specification() -> None:
    """RFC 7692 7.2.3.2: the second message refers to the first."""
    inflater = Inflater(100, keeps_window=True)
    assert inflate(inflater, bytes.fromhex("f248cdc9c90700")) == b"Hello"
    assert inflate(inflater, bytes.fromhex("f200110000")) == b"Hello"


def test_without_a_window_a_message_cannot_refer_to_another() -> None:
    inflater = Inflater(1000)
    first, second = deflate(CHATTER, CHATTER)
    assert inflate(inflater, first) == CHATTER
    with pytest.raises(ConnectionClosed) as caught:
        inflate(inflater, second)
    assert caught.value.code == 1007


@pytest.mark.parametrize("keeps_window", [False, True])
def test_just_the_largest_message_is_allowed(keeps_window: bool) -> None:
    inflater = Inflater(1000, keeps_window=keeps_window)
    at_most, too_much = deflate(bytes(1000))[0], deflate(bytes(1001))[0]
    assert inflate(inflater, at_most) == bytes(1000)
    with pytest.raises(ConnectionClosed, match="more than the 1000 bytes") as caught:
        inflate(Inflater(1000, keeps_window=keeps_window), too_much)
    assert caught.value.code == 1009


def test_a_bomb_makes_no_more_than_is_allowed() -> None:
    """64 KiB would be 64 MiB; what zlib hands out is one byte more than allowed, which ends it."""
    bomb = deflate(bytes(64 << 20))[0]
    assert len(bomb) < 66_000
    made: list[int] = []

    class Counting:
        def __init__(self) -> None:
            self._stream = zlib.decompressobj(-15)

        def decompress(self, data: bytes, most: int) -> bytes:
            part = self._stream.decompress(data, most)
            made.append(len(part))
            return part

    inflater = Inflater(512_000)
    inflater.begin()
    inflater._stream = Counting()  # type: ignore[assignment]
    with pytest.raises(ConnectionClosed) as caught:
        inflater.feed(bomb)
    assert caught.value.code == 1009
    assert made == [512_001]


def test_the_bound_is_for_a_message_and_not_for_a_piece() -> None:
    inflater = Inflater(1000)
    payload = deflate(bytes(1500))[0]
    with pytest.raises(ConnectionClosed, match="1000 bytes"):
        inflate(inflater, *[payload[at : at + 1] for at in range(len(payload))])


@pytest.mark.parametrize("most", [sys.maxsize - 1, sys.maxsize, 1 << 64])
def test_a_bound_that_is_none_is_none(most: int) -> None:
    assert inflate(Inflater(most), *deflate(CHATTER)) == CHATTER


def test_what_is_no_deflate_stream_is_1007() -> None:
    with pytest.raises(ConnectionClosed, match="cannot be inflated") as caught:
        inflate(Inflater(1000), b"\xff\xff\xff")
    assert caught.value.code == 1007


def test_a_message_of_several_streams_is_one_message() -> None:
    def whole(data: bytes) -> bytes:
        stream = zlib.compressobj(wbits=-15)
        return stream.compress(data) + stream.flush()

    assert inflate(Inflater(1000), whole(b"one ") + whole(b"two ") + deflate(b"three")[0]) == b"one two three"


def test_but_not_of_any_number_of_them() -> None:
    """Each would cost a new stream, for two bytes."""
    inflater = Inflater(1000)
    assert inflate(inflater, EMPTY_FINAL_BLOCK * 16 + deflate(b"x")[0]) == b"x"
    assert inflate(inflater, EMPTY_FINAL_BLOCK * 16 + deflate(b"x")[0]) == b"x"
    with pytest.raises(ConnectionClosed, match="16 final blocks"):
        inflate(inflater, *[EMPTY_FINAL_BLOCK] * 17)


def test_nothing_is_kept_between_messages_but_a_window_that_is_needed() -> None:
    inflater = Inflater(1000)
    inflate(inflater, deflate(CHATTER)[0])
    assert inflater._stream is None


def test_a_deflater_tells_its_window() -> None:
    assert [repr(each) for each in (WIDE, NARROW)] == [
        "<Deflater window_bits=12>",
        "<Deflater window_bits=9>",
    ]
