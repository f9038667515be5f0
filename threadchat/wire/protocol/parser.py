"""Parses frames with wsproto, corrected where wsproto differs from the specifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from wsproto import WSConnection
from wsproto.connection import Connection as FrameConnection
from wsproto.connection import ConnectionType
from wsproto.events import Event, Ping, Pong
from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    MessageDecoder,
    Opcode,
    ParseFailed,
    RsvBits,
)

from threadchat.errors import ConnectionClosed
from threadchat.wire.protocol.deflate import Inflater

_BAD_GATEWAY: Final = (1014).to_bytes(2, "big")
_KNOWN_CODE: Final = (1013).to_bytes(2, "big")
_RSV1_ALONE: Final = RsvBits(rsv1=True, rsv2=False, rsv3=False)


def retire(handshake: WSConnection) -> None:
    """Discards wsproto's frame parser after the handshake.

    The parser is a generator that refers to its owner. As long as it is suspended, this cycle stays in
    memory until the garbage collector runs.
    """
    connection = handshake.handshake.connection
    if connection is not None:
        del connection._proto._parse_more


class _Inflating(Extension):
    """The receiving side of permessage-deflate, with a size limit, which wsproto's own extension lacks."""

    name = "permessage-deflate"

    def __init__(self, inflater: Inflater) -> None:
        self._inflater = inflater
        self._message_is_open = False  # more frames of it will follow
        self._message_is_deflated = False
        self._frame_is_control = False
        self._frame_is_deflated = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        """Never called, because the handshake is over."""
        raise NotImplementedError

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Checks RSV1, which only the first frame of a message may set (RFC 7692 6.1).

        A message that begins within another one is refused here. Otherwise its bytes might be inflated first,
        and the close code would depend on how the bytes arrive.
        """
        begins = opcode in (Opcode.TEXT, Opcode.BINARY)
        if (begins and self._message_is_open) or (rsv.rsv1 and not begins):
            return CloseReason.PROTOCOL_ERROR
        if begins:
            self._message_is_deflated = rsv.rsv1
            self._inflater.begin()
        self._frame_is_control = opcode.iscontrol()
        self._frame_is_deflated = self._message_is_deflated and not self._frame_is_control
        return _RSV1_ALONE

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Returns a part of a frame's payload, inflated if the message is compressed."""
        return _or_parse_failure(self._inflater.feed, data) if self._frame_is_deflated else data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """Ends the frame, and the message if `fin` is set; returns what inflating still holds."""
        if not self._frame_is_control:
            self._message_is_open = not fin
        if not (fin and self._frame_is_deflated):
            return None
        self._message_is_deflated = False
        return _or_parse_failure(self._inflater.end)


def _or_parse_failure(inflate: Callable[..., bytes], *data: bytes) -> bytes:
    """Turns our error into wsproto's, so that wsproto still returns the messages before it."""
    try:
        return inflate(*data)
    except ConnectionClosed as closed:
        raise ParseFailed(closed.reason, CloseReason(closed.code)) from closed


class _Messages(MessageDecoder):
    """wsproto's messages; text fails at the first byte that makes it invalid UTF-8 (RFC 6455 8.1).

    Python's decoder does this too, except for surrogates (ED A0 80 to ED BF BF), where it fails only at the
    third byte.
    """

    def process_frame(self, frame: Frame) -> Frame:
        frame = super().process_frame(frame)
        if self.decoder is not None:  # otherwise the message is binary or complete
            waiting, _ = self.decoder.getstate()
            if waiting[:1] == b"\xed" and waiting[1:] >= b"\xa0":
                raise ParseFailed("a surrogate is no character", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        return frame


class CorrectedFrames(FrameProtocol):
    """wsproto's frames, with the corrections of this module."""

    def __init__(self, client: bool, inflater: Inflater | None = None) -> None:
        super().__init__(client, [] if inflater is None else [_Inflating(inflater)])
        self._message_decoder = _Messages()

    def _process_close(self, frame: Frame) -> Frame:
        """Accepts 1014 (bad gateway) too, which is in IANA's registry (RFC 6455 11.7) but not in wsproto."""
        payload = frame.payload
        if not isinstance(payload, bytes | bytearray) or payload[:2] != _BAD_GATEWAY:
            return super()._process_close(frame)
        frame = super()._process_close(frame._replace(payload=_KNOWN_CODE + payload[2:]))
        return frame._replace(payload=(int.from_bytes(_BAD_GATEWAY, "big"), str(frame.payload[1])))


class Frames(FrameConnection):
    """wsproto's connection; pings and pongs are not events, but go to `on_ping` and `on_pong`."""

    on_ping: Callable[[bytes], None]
    on_pong: Callable[[bytes], None]

    def __init__(self, role: ConnectionType, inflater: Inflater | None = None) -> None:
        super().__init__(role)
        del self._proto._parse_more  # see `retire`
        self._proto = CorrectedFrames(self.client, inflater)

    def end(self) -> None:
        """Discards the parser after the last frame; see `retire`."""
        del self._proto._parse_more

    def events(self) -> Iterator[Event]:  # type: ignore[override]  # the parent returns a Generator
        for event in super().events():
            if isinstance(event, Ping):
                self.on_ping(bytes(event.payload))
            elif isinstance(event, Pong):
                self.on_pong(bytes(event.payload))
            else:
                yield event
