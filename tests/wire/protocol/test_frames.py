"""The bytes of frames, against wsproto's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import FrameProtocol, XorMaskerSimple

from tests.wire.helpers import client_frame, steady, text_frame
from threadchat.wire.protocol import frames

EDGES = (0, 1, 125, 126, 65_535, 65_536)


def wsproto_events(data: bytes, role: ConnectionType = ConnectionType.SERVER) -> list[Event]:
    """What wsproto makes of it."""
    reader = Connection(role)
    reader.receive_data(data)
    return list(reader.events())


# -- encoding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", EDGES)
def test_data_is_encoded_as_wsproto_does(size: int) -> None:
    text = "x" * size
    assert frames.encode(frames.TEXT, text.encode()) == FrameProtocol(False, []).send_data(text)
    assert frames.encode(frames.BINARY, b"x" * size) == FrameProtocol(False, []).send_data(b"x" * size)


@steady
@given(st.binary(max_size=125))
def test_control_frames_are_encoded_as_wsproto_does(payload: bytes) -> None:
    assert frames.encode(frames.PING, payload) == FrameProtocol(False, []).ping(payload)
    assert frames.encode(frames.PONG, payload) == FrameProtocol(False, []).pong(payload)


@steady
@given(st.sampled_from([1000, 1001, 1011, 3008, 4999]), st.text(max_size=300))
def test_a_close_is_encoded_and_cut_as_wsproto_does(code: int, reason: str) -> None:
    reason = reason.encode(errors="replace").decode()
    assert frames.encode_close(code, reason) == FrameProtocol(False, []).close(code, reason)


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("opcode", [frames.TEXT, frames.BINARY])
def test_a_clients_data_is_what_a_server_reads(size: int, opcode: int) -> None:
    frame = frames.encode_masked(opcode, b"x" * size)
    (event,) = wsproto_events(frame)
    assert isinstance(event, TextMessage if opcode == frames.TEXT else BytesMessage)
    assert event.data == ("x" * size if opcode == frames.TEXT else b"x" * size)
    mask = frame[-size - 4 : -size] if size else frame[-4:]
    assert frame == client_frame(opcode, b"x" * size, mask=mask)


@steady
@given(st.binary(max_size=125))
def test_a_clients_control_frames_are_what_a_server_reads(payload: bytes) -> None:
    assert wsproto_events(frames.encode_masked(frames.PING, payload)) == [Ping(payload=payload)]
    assert wsproto_events(frames.encode_masked(frames.PONG, payload)) == [Pong(payload=payload)]


@steady
@given(st.sampled_from([1000, 1001, 1011, 3008, 4999]), st.text(max_size=300))
def test_a_clients_close_is_what_a_server_reads(code: int, reason: str) -> None:
    reason = reason.encode(errors="replace").decode()
    (event,) = wsproto_events(frames.encode_close(code, reason, frames.encode_masked))
    assert isinstance(event, CloseConnection)
    assert event.code == code
    assert event.reason is not None
    assert reason.startswith(event.reason)


def test_every_frame_has_a_mask_of_its_own_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frames.encode_masked
    assert len({frame(frames.TEXT, b"")[2:6] for _ in range(100)}) > 95, (
        "four random bytes, drawn a hundred times"
    )
    masks = iter([b"abcd", b"\0\0\0\0"])
    monkeypatch.setattr(frames, "urandom", lambda size: next(masks)[:size])
    assert frame(frames.TEXT, b"hi") == b"\x81\x82abcd" + bytes((ord("h") ^ ord("a"), ord("i") ^ ord("b")))
    assert frame(frames.PONG, b"hi") == b"\x8a\x82\0\0\0\0hi", "any value is allowed, this one too"


def test_a_long_reason_is_cut_at_a_character() -> None:
    frame = frames.encode_close(3000, "é" * 100)
    assert len(frame) == 2 + 2 + 122
    assert frame[4:].decode() == "é" * 61


# -- headers -----------------------------------------------------------------------------------------

payload_sizes = st.one_of(st.sampled_from(EDGES), st.integers(0, 300))


@steady
@given(
    before=st.binary(max_size=5),
    opcode=st.integers(0, 15),
    final=st.booleans(),
    mask=st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
    size=payload_sizes,
)
def test_a_header_is_read_as_soon_as_it_is_whole(
    before: bytes, opcode: int, final: bool, mask: bytes | None, size: int
) -> None:
    frame = client_frame(opcode, bytes(size), final=final, mask=mask)
    body = len(before) + len(frame) - size
    expected = frames.Header(opcode, final, body, body + size, deflated=False)
    for cut in range(len(before), body):
        assert frames.read_header((before + frame)[:cut], len(before)) is None
    for cut in (body, body + size, body + size + 1):
        assert frames.read_header((before + frame + b"?")[:cut], len(before)) == expected
    assert expected.size == size


@steady
@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
def test_unmasking_is_what_wsproto_does(payload: bytes, mask: bytes) -> None:
    assert frames.apply_mask(payload, mask) == XorMaskerSimple(mask).process(bytearray(payload))


# -- the short way for whole text frames ---------------------------------------------------------------

payloads = st.one_of(
    st.text(max_size=40).map(lambda text: text.encode(errors="replace")),
    st.binary(max_size=40),
    st.sampled_from([*(b"x" * size for size in EDGES), "ü".encode() * 100, b"\xed\xa0\x80"]),
)


@st.composite
def frames_of_all_sorts(draw: st.DrawFn) -> bytes:
    """Text frames for the most part; some that are none, some that are wrong, some cut off."""
    payload = draw(payloads)
    shortest = 0 if len(payload) < 126 else 2 if len(payload) < 1 << 16 else 8
    frame = client_frame(
        draw(st.sampled_from([1, 1, 1, 1, 0, 2, 3, 8, 9, 10])),
        payload,
        final=draw(st.sampled_from([True, True, True, False])),
        reserved=draw(st.sampled_from([0, 0, 0, 0, 1, 2, 4])),
        mask=draw(st.one_of(st.binary(min_size=4, max_size=4), st.sampled_from([b"\0\0\0\0", None]))),
        form=draw(st.sampled_from([form for form in (shortest, shortest, 2, 8) if form >= shortest])),
    )
    return frame[: draw(st.integers(0, len(frame)))] if draw(st.integers(0, 3)) == 0 else frame


@pytest.mark.parametrize(
    ("read_text", "reader"),
    [(frames.read_text, ConnectionType.SERVER), (frames.read_unmasked_text, ConnectionType.CLIENT)],
)
@steady
@given(
    before=st.binary(max_size=8),
    frame=frames_of_all_sorts(),
    after=st.binary(max_size=8),
    max_size=st.sampled_from([0, 10, 125, 126, 1000, 1 << 20]),
)
def test_what_is_read_the_short_way_is_what_wsproto_reads(
    *,
    read_text: Callable[[bytes, int, int], tuple[str, int] | None],
    reader: ConnectionType,
    before: bytes,
    frame: bytes,
    after: bytes,
    max_size: int,
) -> None:
    found = read_text(before + frame + after, len(before), max_size)
    if found is None:
        return
    text, end = found
    (event,) = wsproto_events((before + frame + after)[len(before) : end], reader)
    assert isinstance(event, TextMessage)
    assert (event.data, event.message_finished) == (text, True)
    assert len(text.encode()) <= max_size


@steady
@given(text=st.text(max_size=200), after=st.binary(max_size=8), cut=st.integers(0, 1000))
def test_every_whole_short_text_of_a_server_is_read_the_short_way(text: str, after: bytes, cut: int) -> None:
    frame = text_frame(text.encode(errors="replace").decode(), mask=None)
    assert frames.read_unmasked_text(frame + after, 0, 1 << 20) == (
        text.encode(errors="replace").decode(),
        len(frame),
    )
    assert frames.read_unmasked_text(frame[: cut % len(frame)], 0, 1 << 20) is None


@pytest.mark.parametrize(
    "frame",
    [
        text_frame("hi"),
        text_frame("x" * 200),
        text_frame("x" * 70_000),
        text_frame("hi", mask=None, final=False),
        text_frame("hi", mask=None, reserved=4),
        text_frame("hi", mask=None, form=2),
        text_frame("x" * 126, mask=None, form=8),
        text_frame("x" * 65_536, mask=None),
        client_frame(frames.TEXT, b"\xff", mask=None),
        client_frame(frames.BINARY, b"hi", mask=None),
        client_frame(frames.PING, b"hi", mask=None),
        text_frame("x" * 1001, mask=None),
    ],
)
def test_whatever_is_not_simple_for_a_client_is_left_to_wsproto(frame: bytes) -> None:
    assert frames.read_unmasked_text(frame, 0, 1000) is None


@steady
@given(text=st.text(max_size=200), mask=st.binary(min_size=4, max_size=4), after=st.binary(max_size=8))
def test_every_whole_short_text_is_read_the_short_way(text: str, mask: bytes, after: bytes) -> None:
    text = text.encode(errors="replace").decode()
    frame = text_frame(text, mask=mask)
    assert frames.read_text(frame + after, 0, 1 << 20) == (text, len(frame))


@steady
@given(st.text(max_size=200), st.data())
def test_a_text_that_is_not_there_whole_is_not_read(text: str, data: st.DataObject) -> None:
    frame = text_frame(text.encode(errors="replace").decode())
    assert frames.read_text(frame[: data.draw(st.integers(0, len(frame) - 1))], 0, 1 << 20) is None


@pytest.mark.parametrize(
    "frame",
    [
        text_frame("hi", mask=None),
        text_frame("hi", final=False),
        text_frame("hi", reserved=4),
        text_frame("hi", form=2),
        text_frame("x" * 126, form=8),
        text_frame("x" * 65_536),
        client_frame(frames.TEXT, b"\xff"),
        client_frame(frames.BINARY, b"hi"),
        client_frame(frames.PING, b"hi"),
        text_frame("x" * 1001),
    ],
)
def test_whatever_is_not_simple_is_left_to_wsproto(frame: bytes) -> None:
    assert frames.read_text(frame, 0, 1000) is None
