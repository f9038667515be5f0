"""Encodes a connection's messages as frames of its role, compressed if that was negotiated."""

from __future__ import annotations

from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Packed, Text
from threadchat.wire.protocol.state_machine import Protocol


class FrameEncoder:
    """Encodes messages for one peer, or for all with the same role and compression. Runs on: any thread."""

    def __init__(self, protocol: Protocol) -> None:
        self.deflater = protocol.deflater
        """Compresses messages for this peer; None if they are sent uncompressed."""
        self._encode = self.encode = protocol.encode

    def text(self, message: str) -> Text:
        """Encodes a text message. Raises ValueError for a lone surrogate.

        A server's result may be put on all connections with the same `deflater`. A client's is masked and may
        be sent only once (RFC 6455 5.3).
        """
        return self._message(frames.TEXT, message.encode())

    def encoded_text(self, message: bytes) -> Text:
        """Encodes a text message given as UTF-8, which is not checked; see `text`."""
        return self._message(frames.TEXT, message)

    def binary(self, message: bytes) -> Text:
        """Encodes a binary message; see `text`."""
        return self._message(frames.BINARY, message)

    @property
    def deflates(self) -> bool:
        """Whether messages to this peer may be compressed."""
        return self.deflater is not None

    def packed(self, text: Text) -> Text:
        """Compresses a server's `text` if the peer supports that and it saves bytes. Runs on: any thread.

        `send` calls this; call it yourself before an `offer` to a single connection. A client's frames are
        masked already, and are returned unchanged.
        """
        if self.deflater is None or self._encode is not frames.encode:
            return text
        return self.deflater.pack(text)

    def _message(self, opcode: int, payload: bytes) -> Text:
        if self.deflater is None:
            return Text(self._encode(opcode, payload))
        return Packed(self._encode(*self.deflater.shrink(opcode, payload)))
