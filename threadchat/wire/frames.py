"""The bytes of WebSocket frames: encodes a server's, tells apart and opens a client's commonest.

Server frames carry no mask (RFC 6455 5.1), so one encoding serves every connection it goes to.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_MASKED: Final = 0x80
_MAX_CLOSE_REASON: Final = 123  # bytes: a control frame holds 125, two of them the code (5.5)


def encode(opcode: int, payload: bytes) -> bytes:
    """One unmasked, unfragmented frame."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def encode_close(code: int, reason: str) -> bytes:
    """A Close frame; the reason is cut at a character's boundary where it is too long."""
    text = reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2, "big") + text)


def control_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Splits unmasked control frames, as wsproto encodes them, into opcode and payload."""
    frames = []
    at = 0
    while at < len(data):
        end = at + 2 + data[at + 1]
        frames.append((data[at] & 0x0F, data[at + 2 : end]))
        at = end
    return frames


class Header(NamedTuple):
    """What the first bytes of a frame say."""

    opcode: int
    final: bool
    body: int  # where its payload begins
    end: int

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
    return Header(first & 0x0F, first & _FIN != 0, body, body + size)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Undoes a client's masking (RFC 6455 5.3), as one XOR of two large integers."""
    size = len(payload)
    key = (mask * ((size >> 2) + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def read_text(data: bytes, start: int, max_size: int) -> tuple[str, int] | None:
    """The commonest frame without ceremony: one whole, masked, final text frame without extensions.

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
        return unmask(data[body:end], data[body - 4 : body]).decode(), end
    except UnicodeDecodeError:
        return None
