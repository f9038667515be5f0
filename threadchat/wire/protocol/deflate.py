"""Compresses messages, each by itself, and inflates a peer's, none of them beyond a bound (RFC 7692 7.2)."""

from __future__ import annotations

import sys
import zlib
from typing import Final

from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Packed, Text

MIN_SIZE: Final = 128
"""Bytes of payload. What is smaller than that fits into one packet either way, and gets hardly smaller."""
_LEVEL: Final = 4
"""Of 9. For long messages half the time of the usual 6, and a twentieth more bytes; short ones are alike."""
_TAIL: Final = b"\x00\x00\xff\xff"  # ends every message, and is not sent (7.2.1)
_MAX_RESTARTS: Final = 16
"""Final blocks that one message may have in its midst (7.2.3.4): each makes zlib begin anew."""
_MOST: Final = sys.maxsize - 1  # bytes; zlib takes no larger number, but callers mean no limit by one
_LARGEST_WINDOW: Final = 15  # bits: what was compressed with any window can be inflated with this


class Deflater:
    """Compresses with one size of window; keeps nothing, so all connections share it, on any thread.

    A window of 4 KiB with a small memory: 5 us for a message of 300 bytes where zlib's usual size takes 55,
    most of them to clear a quarter of a megabyte, and hardly a byte more.
    """

    def __init__(self, window_bits: int, memory_level: int) -> None:
        self.window_bits = window_bits
        self._memory_level = memory_level

    def shrink(self, opcode: int, payload: bytes) -> tuple[int, bytes]:
        """Opcode and payload of a frame as it should be sent: compressed, where that is worth it."""
        if len(payload) < MIN_SIZE:
            return opcode, payload
        smaller = self._deflated(payload)
        if len(smaller) >= len(payload):
            return opcode, payload
        return opcode | frames.DEFLATED, smaller

    def pack(self, text: Text) -> Text:
        """The same messages, whole frames of a server, compressed where that is worth it."""
        if text.size < MIN_SIZE or isinstance(text, Packed):
            return text
        data = text.frame
        parts = []
        at = 0
        while (header := frames.read_header(data, at)) is not None:
            parts.append(frames.encode(*self.shrink(header.opcode, data[header.body : header.end])))
            at = header.end
        return Packed(b"".join(parts), text.messages)

    def _deflated(self, payload: bytes) -> bytes:
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -self.window_bits, self._memory_level)
        return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]

    def __repr__(self) -> str:
        return f"<Deflater window_bits={self.window_bits}>"


WIDE: Final = Deflater(12, 5)
NARROW: Final = Deflater(9, 4)
"""For peers who have no more room than this, or hardly more."""
DEFLATERS: Final = (WIDE, NARROW)
"""All that there are: a broadcast is compressed once for each of them that somebody needs."""


class Inflater:
    """Inflates the messages of one peer. Runs on: the reader thread.

    `most`: bytes that a message may have; of a larger one never more than that is kept. `keeps_window`: the
    peer refers back to its earlier messages, as one does with whom nothing else was agreed on (7.1.1).
    """

    __slots__ = ("_keeps_window", "_left", "_most", "_restarts", "_stream")

    def __init__(self, most: int, *, keeps_window: bool = False) -> None:
        self._most = min(most, _MOST)
        self._keeps_window = keeps_window
        self._stream = zlib.decompressobj(-_LARGEST_WINDOW) if keeps_window else None
        self._left = self._most
        self._restarts = 0

    def begin(self) -> None:
        """A compressed message begins."""
        self._left = self._most
        self._restarts = 0

    def feed(self, data: bytes) -> bytes:
        """What some of its bytes become.

        Raises ConnectionClosed: 1009 at the first byte too many, 1007 for what cannot be inflated.
        """
        parts = []
        while True:
            stream = self._stream or zlib.decompressobj(-_LARGEST_WINDOW)
            self._stream = stream
            try:
                part = stream.decompress(data, self._left + 1)
            except zlib.error as error:
                raise ConnectionClosed(CloseCode.INVALID_TEXT, f"cannot be inflated: {error}") from error
            self._left -= len(part)
            if self._left < 0:
                reason = f"message too big: inflates to more than the {self._most} bytes that are allowed"
                raise ConnectionClosed(CloseCode.MESSAGE_TOO_BIG, reason)
            parts.append(part)
            if not stream.eof:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            data = stream.unused_data
            self._restart()

    def end(self) -> bytes:
        """The message is over; what is left of it. Raises as `feed`."""
        rest = self.feed(_TAIL)
        if not self._keeps_window:
            self._stream = None
        return rest

    def _restart(self) -> None:
        """After a final block another stream may follow; so many of them are no message but an attack."""
        self._stream = None
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            reason = f"more than {_MAX_RESTARTS} final blocks in one message"
            raise ConnectionClosed(CloseCode.INVALID_TEXT, reason)
