"""The server's certificate: loaded, loaded again while it serves, and shown to whoever comes by TLS."""

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

HANDSHAKE_RECORD: Final = b"\x16"  # what TLS begins with (RFC 8446 5.1), and no HTTP method


class Identity(Protocol):
    """What a server needs of its certificate."""

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""

    def reload(self) -> bool:
        """Asks for what is new; whether `context` can be used for it."""


class _Locked(Exception):
    """The key has a passphrase."""


class Certificates:
    """One certificate with its key, in PEM files.

    `reload` is for one thread at a time; `context` may be read by any meanwhile. A context is never changed
    once it is in use: connections that began with the former one live on.
    """

    def __init__(self, chain: str, key: str) -> None:
        """`chain`: the certificate and those that vouch for it. Raises ConfigError, which says why."""
        self._chain = chain
        self._key = key
        self.context = _load(chain, key)

    def reload(self) -> bool:
        """Reads both files again; whether they could be used. The former ones stay in force where not."""
        try:
            self.context = _load(self._chain, self._key)
        except ConfigError as error:
            log.error("the former certificate stays in use: %s", error)
            return False
        log.info("new connections are shown the certificate in %s as it is now", self._chain)
        return True


def secure(
    sock: socket.socket, context: ssl.SSLContext, deadline: float, clock: Callable[[], float]
) -> TlsSocket | None:
    """Agrees on TLS with an accepted peer; None, and nothing is read yet, where it does not speak TLS.

    `deadline` is a time of `clock`. Raises PeerGone where TLS came to nothing. Runs on: the connection's
    own thread.
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
        raise PeerGone(f"TLS came to nothing: {error}") from error
    return tls


def _load(chain: str, key: str) -> ssl.SSLContext:
    for name, path in (("tls_cert", chain), ("tls_key", key)):
        _check_readable(name, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Renegotiation is work for the asking, and would have a writer wait for what only its reader can read.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    with contextlib.suppress(NotImplementedError):  # a TLS library without it
        context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(chain, key, _refuse_passphrase)
    except _Locked:
        raise ConfigError(
            f"tls_key={key}: the key is locked with a passphrase; give one without, which others cannot read"
        ) from None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(_why_unusable(chain, key, error)) from error
    return context


def _refuse_passphrase() -> str:
    """Called for a key that is locked; without it, OpenSSL would ask on the terminal."""
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
        raise ConfigError(f"{name}={path}: there is no {what} in PEM in this file")


def _why_unusable(chain: str, key: str, error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"tls_key={key}: this key is not that of the certificate tls_cert={chain}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return f"tls_cert={chain} and tls_key={key} cannot be used: {reason}"
