"""A TLS connection that behaves like a plain socket which does not block."""

from __future__ import annotations

import socket
import ssl
from typing import Final

HANDSHAKE: Final = 30.0
"""Seconds that a handshake may take; the driver waits for it."""


class TlsSocket(socket.socket):
    """The socket methods that the driver uses, over TLS; options and descriptor belong to the TCP socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(HANDSHAKE)
        self._tls = context.wrap_socket(sock, server_hostname="127.0.0.1")
        super().__init__(fileno=self._tls.fileno())
        self.setblocking(False)
        self._tls.setblocking(False)

    def recv(self, most: int, flags: int = 0) -> bytes:
        """Reads at least all of a TLS record that was begun, because a selector does not see its rest."""
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
        """Sends as much as the connection accepts now."""
        try:
            return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def close(self) -> None:
        """Closes the descriptor, which both objects share."""
        self._tls.detach()
        super().close()
