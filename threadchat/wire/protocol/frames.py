"""The bytes of WebSocket frames: encodes those of either role, and opens the commonest of the other.

Server frames carry no mask (RFC 6455 5.1), so one encoding serves every connection it goes to. Each of a
client's has a mask of its own.
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
"""Beside an opcode: the message that begins here is compressed (RFC 7692 6.1); the reserved bit RSV1."""

_FIN: Final = 0x80
_MASKED: Final = 0x80
MAX_CONTROL: Final = 125
"""Bytes of payload that a control frame holds (5.5)."""
_MAX_CLOSE_REASON: Final = MAX_CONTROL - 2  # bytes: the code takes two

Encode = Callable[[int, bytes], bytes]
"""One whole frame, of an opcode and a payload, as one of the two roles sends it."""


def encode(opcode: int, payload: bytes) -> bytes:
    """One unmasked, unfragmented frame: a server's."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def encode_masked(opcode: int, payload: bytes) -> bytes:
    """One masked, unfragmented frame: a client's.

    The mask is the system's randomness, anew for each frame, so that nobody who chooses a payload chooses
    what is on the wire (RFC 6455 5.3, 10.3).
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
    """A Close frame; the reason is cut at a character's boundary where it is too long."""
    text = reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2, "big") + text)


class Header(NamedTuple):
    """What the first bytes of a frame say."""

    opcode: int
    final: bool
    body: int  # where its payload begins
    end: int
    deflated: bool

    @property
    def size(self) -> int:
        """Bytes of payload that the frame declares."""
        return self.end - self.body


def read_header(data: bytes, start: int) -> Header | None:
    """The header of the frame that begins at `start`; None where it is not there whole."""
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
    """Masks, or undoes a mask (RFC 6455 5.3), as one XOR of two large integers."""
    size = len(payload)
    key = (mask * ((size >> 2) + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def read_text(data: bytes, start: int, max_size: int) -> tuple[str, int] | None:
    """The commonest frame of a client without ceremony: whole, masked, final text, no extensions.

    Returns its text and where the next frame begins; None for anything else, errors included:
    those are wsproto's to judge.
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
            return None  # longer than it need be: an error (5.2)
    end = body + size
    if size < 0 or size > max_size or end > len(data):
        return None
    try:
        return apply_mask(data[body:end], data[body - 4 : body]).decode(), end
    except UnicodeDecodeError:
        return None


def read_unmasked_text(data: bytes, start: int, max_size: int) -> tuple[str, int] | None:
    """The same for a server's commonest frame, which has no mask."""
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
            return None  # longer than it need be: an error (5.2)
    end = body + size
    if size > max_size or end > len(data):
        return None
    try:
        return data[body:end].decode(), end
    except UnicodeDecodeError:
        return None
