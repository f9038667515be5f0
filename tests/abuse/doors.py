"""What the tests of the doors share: requests byte by byte, to a chat that listens."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from threadchat import Chat

API_KEY = "a-key-of-the-doors-tests"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


def port_of(chat: Chat) -> int:
    port = urlsplit(chat.url).port
    assert port is not None
    return port


def head(method: str, path: str, *lines: str, host: str = "127.0.0.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def ask(chat: Chat, raw: bytes, until: bytes = b"") -> bytes:
    """What comes back, up to `until` or the end; nothing more is sent than `raw`."""
    with socket.create_connection(("127.0.0.1", port_of(chat)), timeout=10) as sock:
        sock.sendall(raw)
        got = b""
        while not until or until not in got:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                break
            if not data:
                break
            got += data
        return got


def status(chat: Chat, method: str, path: str, *lines: str, host: str = "127.0.0.1") -> int:
    return int(ask(chat, head(method, path, *lines, host=host), b"\r\n\r\n").split(b" ", 2)[1])


def handshake(chat: Chat, path: str = "/chat", *lines: str, host: str = "127.0.0.1") -> int:
    return status(chat, "GET", path, *UPGRADE, *lines, host=host)


def lines_of(headers: bytes) -> Sequence[bytes]:
    return headers.partition(b"\r\n\r\n")[0].split(b"\r\n")
