"""Says of a failed attempt to connect where it failed, and stays the system's own error beside that."""

from __future__ import annotations

import socket
import ssl

from threadchat.errors import CannotConnect


class AttemptFailed(CannotConnect):
    """The system would not connect; `errno` is the system's, the text says where it happened."""

    def __str__(self) -> str:
        return str(self.args[1])


class ConnectionRefused(AttemptFailed, ConnectionRefusedError):
    """Nobody listens there."""


class ConnectionReset(AttemptFailed, ConnectionResetError):
    """The peer hung up."""


class UnknownHost(AttemptFailed, socket.gaierror):
    """The name of the host cannot be looked up."""


class TlsFailed(AttemptFailed, ssl.SSLError):
    """The peer does not speak TLS, or not as it should."""


class CertificateRefused(TlsFailed, ssl.SSLCertVerificationError):
    """The certificate of the peer is not to be trusted."""


_KINDS: dict[type[OSError], type[AttemptFailed]] = {  # a subclass before its parent
    ConnectionRefusedError: ConnectionRefused,
    ConnectionResetError: ConnectionReset,
    socket.gaierror: UnknownHost,
    ssl.SSLCertVerificationError: CertificateRefused,
    ssl.SSLError: TlsFailed,
}
_OF_TLS = ("reason", "library", "verify_code", "verify_message")  # attributes


def connect_error(error: OSError, where: str) -> CannotConnect:
    """The exception to raise for `error`, which happened `where`: a subclass of the system's own."""
    kind = next((ours for theirs, ours in _KINDS.items() if isinstance(error, theirs)), AttemptFailed)
    found = kind(error.errno, f"{where}: {error.strerror or error}")
    for name in _OF_TLS:
        if hasattr(error, name):
            setattr(found, name, getattr(error, name))
    return found
