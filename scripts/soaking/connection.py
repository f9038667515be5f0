"""One connection of a person, on the driver's only thread: sends and receives frames, also invalid ones."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import zlib
from collections.abc import Callable
from typing import Any

from soaking.sockets import TlsSocket
from tests.e2e.crowd import MASK, PING, TEXT, Client, Crowd, encode

DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
COMPRESSED = 0x40  # the first reserved bit
TAIL = b"\x00\x00\xff\xff"  # removed from the end of a compressed message (RFC 7692, 7.2.1)
BIG = 600_000  # bytes of a message that is too big for the server's default


class Connection(Client):
    """A connection that reports every message, and its end, to its person."""

    def __init__(
        self,
        crowd: Crowd,
        port: int,
        heard: Callable[[Connection, dict[str, Any]], None],
        lost: Callable[[Connection, int], None],
        *,
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
        compressed: bool = False,
        token: str = "",
    ) -> None:
        self._heard = heard
        self._lost = lost
        self.opened = False  # a frame was received, so the handshake is complete
        self.frames = 0
        self._compressed = compressed
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", port))
        headers = f"Sec-WebSocket-Extensions: {DEFLATE}\r\n" if compressed else ""
        headers += f"Authorization: Bearer {token}\r\n" if token else ""
        super().__init__(crowd, TlsSocket(sock, tls) if tls else sock, "/chat", headers)

    def on_text(self, payload: bytes) -> None:
        """Passes a message to the person."""
        self.frames += 1
        self._heard(self, json.loads(payload))

    @property
    def idle(self) -> bool:
        """Whether everything was sent."""
        return not self._unsent

    def send_text(self, *texts: str) -> None:
        """Sends messages, compressed if that was agreed."""
        if self._compressed and self.upgraded:
            self._write(b"".join(encode(COMPRESSED | TEXT, deflated(text.encode())) for text in texts))
        else:
            super().send_text(*texts)

    def say(self, *commands: dict[str, Any]) -> None:
        """Sends commands in one piece."""
        self.send_text(*map(json.dumps, commands))

    # Ways to break it

    def half_close(self) -> None:
        """Ends our half of the stream only."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def tear(self) -> None:
        """Sends half a frame, then resets the connection."""
        self._write(encode(TEXT, b"x" * 4000)[:2000])
        self.reset()

    def spoil(self, how: str) -> None:
        """Sends a frame that ends the connection; `how` is a key of SPOILED."""
        self._write(SPOILED[how][0])

    def _take(self, first: int, payload: bytes) -> None:
        if self._compressed and first & COMPRESSED:
            first, payload = first & ~COMPRESSED, inflated(payload)
        super()._take(first, payload)

    def _end(self, code: int) -> None:
        before = self.closed
        super()._end(code)
        if before is None:
            if self.faults:
                code = -1
            self._lost(self, code)


def deflated(data: bytes) -> bytes:
    """One message, compressed by itself."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def inflated(data: bytes) -> bytes:
    """The message that was compressed."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data + TAIL)


SPOILED: dict[str, tuple[bytes, int]] = {
    "binary": (encode(0x2, b"\0\1"), 1003),
    "no text": (encode(TEXT, b"\xff\xfe"), 1007),
    "reserved bits": (bytes((0xF1, 0x80)) + MASK, 1002),
    "no mask": (bytes((0x81, 2)) + b"hi", 1002),
    "long ping": (encode(PING, b"x" * 126), 1002),
    "no opcode": (bytes((0x83, 0x80)) + MASK, 1002),
    "out of turn": (bytes((0x80, 0x80)) + MASK, 1002),
    "too big": (bytes((0x81, 0xFF)) + BIG.to_bytes(8, "big") + MASK + b"x" * 1000, 1009),
    "bad close": (encode(0x8, b"\x03"), 1002),
}
"""Bytes that end a connection, and the close code that follows."""

GARBAGE = (
    "",
    "hello?",
    "{",
    "[]",
    "null",
    '{"type": "no such thing"}',
    '{"type": 7}',
    '{"type": "join"}',
    '{"type": "join", "room": 5}',
    '{"type": "history", "room": "r0", "limit": 100000}',
    '{"type": "message", "room": "r0"}',
    "[" * 3000,
    '{"a":' * 700,
    "\N{PILE OF POO}" * 100,
)
"""Text that is answered with an error and does not end the connection."""
