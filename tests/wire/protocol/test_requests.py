"""What may be put on an outbox, as bytes."""

from __future__ import annotations

import pytest

from tests.wire.helpers import client_frame
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import (
    Close,
    Control,
    Echo,
    FlushingClose,
    Ping,
    Pong,
    Request,
    Text,
    UserPing,
)


def test_a_text_knows_its_size() -> None:
    frame = frames.encode(frames.TEXT, b"hello")
    text = Text(frame)
    assert (text.frame, text.size, text.messages) == (frame, 7, 1)
    assert Text(frame * 3, messages=3).messages == 3


@pytest.mark.parametrize(
    ("request_", "frame"),
    [
        (Ping(), b"\x89\x00"),
        (Ping(b"hi"), b"\x89\x02hi"),
        (Pong(b"hi"), b"\x8a\x02hi"),
        (Close(1000), b"\x88\x02\x03\xe8"),
        (Close(3008, "slow"), b"\x88\x06\x0b\xc0slow"),
        (FlushingClose(1001, "bye"), b"\x88\x05\x03\xe9bye"),
        (Echo(), b"\x88\x00"),
    ],
)
def test_control_frames_are_ready_for_the_wire(request_: Control, frame: bytes) -> None:
    assert request_.frame == frame


@pytest.mark.parametrize(
    ("request_", "opcode", "payload"),
    [
        (Ping(b"hi", frames.encode_masked), frames.PING, b"hi"),
        (Ping(encode=frames.encode_masked), frames.PING, b""),
        (UserPing(b"hi", frames.encode_masked), frames.PING, b"hi"),
        (Pong(b"hi", frames.encode_masked), frames.PONG, b"hi"),
        (Close(3008, "slow", frames.encode_masked), frames.CLOSE, b"\x0b\xc0slow"),
        (FlushingClose(1001, "bye", frames.encode_masked), frames.CLOSE, b"\x03\xe9bye"),
        (Echo(frames.encode_masked), frames.CLOSE, b""),
    ],
)
def test_a_clients_are_masked(request_: Control, opcode: int, payload: bytes) -> None:
    mask = request_.frame[2:6]
    assert request_.frame == client_frame(opcode, payload, mask=mask)


def test_a_probe_is_no_ping_that_another_one_stands_in_for() -> None:
    assert UserPing(b"hi").frame == Ping(b"hi").frame
    assert not isinstance(UserPing(b"hi"), Ping)


def test_a_close_carries_its_code_and_reason() -> None:
    request = FlushingClose(3005, "expired")
    assert (request.code, request.reason) == (3005, "expired")


def test_an_answer_to_a_close_without_code_counts_as_1005() -> None:
    assert Echo().code == 1005


def test_both_ways_to_answer_a_close_let_replies_out_first() -> None:
    assert isinstance(FlushingClose(1000), Close)
    assert isinstance(Echo(), FlushingClose)


@pytest.mark.parametrize("request_", [Text(b""), Ping(), UserPing(b"x"), Pong(), Close(1000), Echo()])
def test_requests_are_small(request_: Request) -> None:
    assert not hasattr(request_, "__dict__"), "there is one for each message that waits"
