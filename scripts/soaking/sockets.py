"""A TLS connection that behaves like a plain socket which does not block."""

from __future__ import annotations

import socket
import ssl
from typing import Final

HANDSHAKE: Final = 30.0
"""Seconds that a handshake may take; the driver waits for it."""


class TlsSocket(socket.socket):
    """What the driver uses of a socket, over TLS. What it says is always encrypted, what it does is TCP's."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(HANDSHAKE)
        self._tls = context.wrap_socket(sock, server_hostname="127.0.0.1")
        super().__init__(fileno=self._tls.fileno())
        self.setblocking(False)
        self._tls.setblocking(False)

    def recv(self, most: int, flags: int = 0) -> bytes:
        """What came, and all of a record that was begun: no selector knows of its rest."""
        data = b""
        while len(data) < most or self._tls.pending():
            try:
                chunk = self._tls.recv(1 << 14)
            except ssl.SSLWantReadError:
                if data:
                    break
                raise BlockingIOError from None
            except OSError:
                if data:
                    break
                raise
            if not chunk:
                break
            data += chunk
        return data

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """As much as the connection takes now."""
        try:
            return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def close(self) -> None:
        """Closes the one descriptor that both have."""
        self._tls.detach()
        super().close()
