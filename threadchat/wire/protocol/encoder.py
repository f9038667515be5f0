"""A connection's messages as frames: of its role, and compressed where that was agreed on."""

from __future__ import annotations

from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Packed, Text
from threadchat.wire.protocol.state_machine import Protocol


class FrameEncoder:
    """Encodes for one peer, or for all who are spoken to alike. Runs on: any thread."""

    def __init__(self, protocol: Protocol) -> None:
        self.deflater = protocol.deflater
        """What compresses messages for this peer; None where they go as they are."""
        self._encode = self.encode = protocol.encode

    def text(self, message: str) -> Text:
        """A text message in a frame of this connection's role. Raises ValueError for a lone surrogate.

        A server's may be put on others with the same `deflater` too; a client's has a mask and may not
        (RFC 6455 5.3).
        """
        return self._message(frames.TEXT, message.encode())

    def encoded_text(self, message: bytes) -> Text:
        """A text message that is UTF-8 already, which is not looked at; see `text`."""
        return self._message(frames.TEXT, message)

    def binary(self, message: bytes) -> Text:
        """A binary message; see `text`."""
        return self._message(frames.BINARY, message)

    @property
    def deflates(self) -> bool:
        """Whether messages may go to this peer compressed."""
        return self.deflater is not None

    def packed(self, text: Text) -> Text:
        """A server's `text`, compressed where the peer takes that and it is worth it. Runs on: any thread.

        `send` does it by itself; whoever `offer`s to one connection only asks for it. A client's frames are
        masked already, and stay as they are.
        """
        if self.deflater is None or self._encode is not frames.encode:
            return text
        return self.deflater.pack(text)

    def _message(self, opcode: int, payload: bytes) -> Text:
        if self.deflater is None:
            return Text(self._encode(opcode, payload))
        return Packed(self._encode(*self.deflater.shrink(opcode, payload)))
