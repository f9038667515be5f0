"""Encodes WebSocket frames of both roles, reads their headers, and decodes the most common ones.

Server frames are not masked (RFC 6455 5.1), so one encoded frame serves all connections. Each client frame
has its own mask.
"""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from typing import Final, NamedTuple

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

DEFLATED: Final = 0x40
"""The reserved bit RSV1, set beside an opcode: the message that begins is compressed (RFC 7692 6.1)."""

_FIN: Final = 0x80
_MASKED: Final = 0x80
MAX_CONTROL: Final = 125
"""Largest payload of a control frame in bytes (5.5)."""
_MAX_CLOSE_REASON: Final = MAX_CONTROL - 2  # bytes: the code takes two

Encode = Callable[[int, bytes], bytes]
"""Encodes an opcode and a payload as one complete frame of a server or of a client."""


def encode(opcode: int, payload: bytes) -> bytes:
    """Returns one unmasked, unfragmented frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def encode_masked(opcode: int, payload: bytes) -> bytes:
    """Returns one masked, unfragmented frame, as a client sends it.

    Each mask comes from the system's random source, so that a chosen payload does not determine the bytes
    on the wire (RFC 6455 5.3, 10.3).
    """
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    mask = urandom(4)
    return b"".join((head, mask, apply_mask(payload, mask)))


def encode_close(code: int, reason: str, encode: Encode = encode) -> bytes:
    """Returns a Close frame. A reason that is too long is cut between two characters."""
    text = reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2, "big") + text)


class Header(NamedTuple):
    """The header of a frame, with offsets into the data that it was read from."""

    opcode: int
    final: bool
    body: int  # where the payload begins
    end: int  # where the next frame begins
    deflated: bool

    @property
    def size(self) -> int:
        """The declared length of the payload in bytes."""
        return self.end - self.body


def read_header(data: bytes, start: int) -> Header | None:
    """Reads the header of the frame that begins at `start`; returns None if it is incomplete."""
    have = len(data) - start
    if have < 2:
        return None
    first, second = data[start], data[start + 1]
    size = second & 0x7F
    body = start + 2
    if size == 126:
        body += 2
        if have < 4:
            return None
        size = int.from_bytes(data[start + 2 : body], "big")
    elif size == 127:
        body += 8
        if have < 10:
            return None
        size = int.from_bytes(data[start + 2 : body], "big")
    if second & _MASKED:
        body += 4
        if body > len(data):
            return None
    return Header(first & 0x0F, first & _FIN != 0, body, body + size, first & DEFLATED != 0)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Masks or unmasks a payload (RFC 6455 5.3) with one XOR of two large integers."""
    size = len(payload)
    key = (mask * ((size >> 2) + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def read_text(data: bytes, start: int, max_size: int) -> tuple[str, int] | None:
    """Decodes a client's most common frame without wsproto: complete, masked, final, uncompressed text.

    Returns the text and where the next frame begins, or None for any other frame, even an invalid one, which
    wsproto then handles.
    """
    body = start + 6
    if len(data) < body or data[start] != _FIN | TEXT:
        return None
    size = data[start + 1] - _MASKED
    if size > 125:
        if size == 127 or len(data) < body + 2:
            return None
        size = int.from_bytes(data[start + 2 : start + 4], "big")
        body += 2
        if size < 126:
            return None  # not the shortest encoding of the length, so an error (5.2)
    end = body + size
    if size < 0 or size > max_size or end > len(data):
        return None
    try:
        return apply_mask(data[body:end], data[body - 4 : body]).decode(), end
    except UnicodeDecodeError:
        return None


def read_unmasked_text(data: bytes, start: int, max_size: int) -> tuple[str, int] | None:
    """Like `read_text`, for a server's most common frame, which is not masked."""
    body = start + 2
    if len(data) < body or data[start] != _FIN | TEXT:
        return None
    size = data[start + 1]
    if size > 125:
        if size != 126 or len(data) < body + 2:
            return None
        size = int.from_bytes(data[body : body + 2], "big")
        body += 2
        if size < 126:
            return None  # not the shortest encoding of the length, so an error (5.2)
    end = body + size
    if size > max_size or end > len(data):
        return None
    try:
        return data[body:end].decode(), end
    except UnicodeDecodeError:
        return None
