"""The errors of a failed attempt to connect: they say which step failed, and are the system's errors too."""

from __future__ import annotations

import socket
import ssl

from threadchat.errors import CannotConnect


class AttemptFailed(CannotConnect):
    """The system returned an error. `errno` is the system's; the message says which step failed."""

    def __str__(self) -> str:
        return str(self.args[1])


class ConnectionRefused(AttemptFailed, ConnectionRefusedError):
    """No program listens at this address."""


class ConnectionReset(AttemptFailed, ConnectionResetError):
    """The peer reset the connection."""


class UnknownHost(AttemptFailed, socket.gaierror):
    """The lookup of the host's name failed."""


class TlsFailed(AttemptFailed, ssl.SSLError):
    """The TLS handshake failed."""


class CertificateRefused(TlsFailed, ssl.SSLCertVerificationError):
    """The peer's certificate could not be verified."""


_KINDS: dict[type[OSError], type[AttemptFailed]] = {  # each subclass before its parent
    ConnectionRefusedError: ConnectionRefused,
    ConnectionResetError: ConnectionReset,
    socket.gaierror: UnknownHost,
    ssl.SSLCertVerificationError: CertificateRefused,
    ssl.SSLError: TlsFailed,
}
_OF_TLS = ("reason", "library", "verify_code", "verify_message")  # attributes of TLS errors


def connect_error(error: OSError, where: str) -> CannotConnect:
    """Returns the exception to raise for `error`, a subclass of the system's; `where` names the step."""
    kind = next((ours for theirs, ours in _KINDS.items() if isinstance(error, theirs)), AttemptFailed)
    found = kind(error.errno, f"{where}: {error.strerror or error}")
    for name in _OF_TLS:
        if hasattr(error, name):
            setattr(found, name, getattr(error, name))
    return found
