"""Loads the server's certificate, reloads it while the server runs, and does the TLS handshake."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from threadchat.errors import ConfigError
from threadchat.server.http.request import PeerGone
from threadchat.wire.tls import TlsSocket

log = logging.getLogger(__name__)

HANDSHAKE_RECORD: Final = b"\x16"  # the first byte of TLS (RFC 8446 5.1); no HTTP method starts with it


class Identity(Protocol):
    """The part of `Certificates` that a server uses."""

    @property
    def context(self) -> ssl.SSLContext:
        """The context for new connections."""

    def reload(self) -> bool:
        """Loads the certificate again; returns whether it could be used."""


class _Locked(Exception):
    """The private key is protected by a passphrase."""


class Certificates:
    """One certificate with its key, in PEM files.

    `reload` may be called by one thread at a time; any thread may read `context` meanwhile. A context in use
    is never changed: `reload` creates a new one, and existing connections keep theirs.
    """

    def __init__(self, chain: str, key: str) -> None:
        """`chain` holds the certificate and its intermediates. Raises ConfigError, which says why."""
        self._chain = chain
        self._key = key
        self.context = _load(chain, key)

    def reload(self) -> bool:
        """Reads both files again; returns whether they could be used. If not, the former ones stay in use."""
        try:
            self.context = _load(self._chain, self._key)
        except ConfigError as error:
            log.error("the former certificate stays in use: %s", error)
            return False
        log.info("new connections use the present certificate in %s", self._chain)
        return True


def secure(
    sock: socket.socket, context: ssl.SSLContext, deadline: float, clock: Callable[[], float]
) -> TlsSocket | None:
    """Does the TLS handshake with an accepted peer; None if the peer does not use TLS, and nothing was read.

    `deadline` is a time of `clock`. Raises PeerGone if the handshake fails. Runs on: the connection's own
    thread.
    """
    try:
        sock.settimeout(max(0.001, deadline - clock()))
        first = sock.recv(1, socket.MSG_PEEK)
        if first != HANDSHAKE_RECORD:
            if not first:
                raise PeerGone("it sent nothing")
            return None
        tls = TlsSocket(sock, context, server_side=True)
        tls.handshake(deadline - clock(), clock)
    except OSError as error:
        raise PeerGone(f"the TLS handshake failed: {error}") from error
    return tls


def _load(chain: str, key: str) -> ssl.SSLContext:
    for name, path in (("tls_cert", chain), ("tls_key", key)):
        _check_readable(name, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A peer could demand renegotiation again and again, and a writer would have to wait for its reader.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # No tickets for TLS 1.3. They follow the handshake, when a client on threads, such as websockets.sync,
    # reads in one thread and sends its request in another, with one OpenSSL object. That is undefined: of
    # 200 such clients, one lost its request or received garbage.
    context.num_tickets = 0
    with contextlib.suppress(NotImplementedError):  # a TLS library without ALPN
        context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(chain, key, _refuse_passphrase)
    except _Locked:
        raise ConfigError(
            f"tls_key={key}: the key has a passphrase; use one without, in a file that others cannot read"
        ) from None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(_why_unusable(chain, key, error)) from error
    return context


def _refuse_passphrase() -> str:
    """Called for a key with a passphrase; without this function, OpenSSL would ask on the terminal."""
    raise _Locked


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            content = file.read(1 << 20)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}={path}: {getattr(error, 'strerror', None) or error}") from error
    wanted = b"PRIVATE KEY-----" if name == "tls_key" else b"-----BEGIN CERTIFICATE-----"
    if wanted not in content:
        what = "private key" if name == "tls_key" else "certificate"
        raise ConfigError(f"{name}={path}: this file contains no {what} in PEM format")


def _why_unusable(chain: str, key: str, error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"tls_key={key}: this key does not belong to the certificate tls_cert={chain}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return f"tls_cert={chain} and tls_key={key} cannot be used: {reason}"
