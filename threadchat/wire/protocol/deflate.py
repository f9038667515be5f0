"""Compresses each message by itself, and inflates a peer's messages up to a limit (RFC 7692 7.2)."""

from __future__ import annotations

import sys
import zlib
from typing import Final

from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Packed, Text

MIN_SIZE: Final = 128
"""Bytes of payload that are worth compressing; less fits into one packet anyway, and hardly shrinks."""
_LEVEL: Final = 4
"""Compression level, 1 to 9. For long messages 4 takes half the time of the usual 6 and produces 5 % more
bytes; for short ones there is no difference."""
_TAIL: Final = b"\x00\x00\xff\xff"  # ends each compressed message, but is not sent (7.2.1)
_MAX_RESTARTS: Final = 16
"""Final blocks that may occur within one message (7.2.3.4); zlib has to restart after each."""
_MOST: Final = sys.maxsize - 1  # bytes; the largest number that zlib takes, for callers that want no limit
_LARGEST_WINDOW: Final = 15  # bits; inflates what was compressed with any window


class Deflater:
    """Compresses with one window size. It has no state, so all connections and threads share it.

    With a window of 4 KiB and a low memory level, a message of 300 bytes takes 5 us instead of the 55 us of
    zlib's defaults, which clear a quarter of a megabyte first; the result is hardly longer.
    """

    def __init__(self, window_bits: int, memory_level: int) -> None:
        self.window_bits = window_bits
        self._memory_level = memory_level

    def shrink(self, opcode: int, payload: bytes) -> tuple[int, bytes]:
        """Returns the opcode and payload to send: compressed if that saves bytes. Runs on: any thread."""
        if len(payload) < MIN_SIZE:
            return opcode, payload
        smaller = self._deflated(payload)
        if len(smaller) >= len(payload):
            return opcode, payload
        return opcode | frames.DEFLATED, smaller

    def pack(self, text: Text) -> Text:
        """Returns a server's `text` with each frame compressed if that saves bytes. Runs on: any thread."""
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
"""For peers that ask for a window smaller than `WIDE`'s."""
DEFLATERS: Final = (WIDE, NARROW)
"""All deflaters, the largest window first. A broadcast is compressed once for each that a receiver needs."""


class Inflater:
    """Inflates the messages of one peer. Runs on: the reader thread.

    `most` is the size limit of an inflated message in bytes; no more than that is ever kept. `keeps_window`
    says that the peer's messages may refer back to its earlier ones, which is the default (7.1.1).
    """

    __slots__ = ("_keeps_window", "_left", "_most", "_restarts", "_stream")

    def __init__(self, most: int, *, keeps_window: bool = False) -> None:
        self._most = min(most, _MOST)
        self._keeps_window = keeps_window
        self._stream = zlib.decompressobj(-_LARGEST_WINDOW) if keeps_window else None
        self._left = self._most
        self._restarts = 0

    def begin(self) -> None:
        """Begins a compressed message."""
        self._left = self._most
        self._restarts = 0

    def feed(self, data: bytes) -> bytes:
        """Inflates a part of the message.

        Raises ConnectionClosed: 1009 at the first byte above the limit, 1007 for invalid data.
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
        """Ends the message; returns the rest of it. Raises the same errors as `feed`."""
        rest = self.feed(_TAIL)
        if not self._keeps_window:
            self._stream = None
        return rest

    def _restart(self) -> None:
        """Starts a new stream after a final block. Raises ConnectionClosed (1007) for an attack by many."""
        self._stream = None
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            reason = f"more than {_MAX_RESTARTS} final blocks in one message"
            raise ConnectionClosed(CloseCode.INVALID_TEXT, reason)
