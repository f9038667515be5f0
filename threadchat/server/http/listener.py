"""Binds the listening socket, and prepares the sockets that it accepts."""

from __future__ import annotations

import errno
import socket

from threadchat.wire.transport import SEND_BUFFER

UNIX_PEER = ("", 0)  # a peer on a Unix socket has no address
BACKLOG = 4096  # connections; enough for a thousand clients that reconnect at once

_NOT_ON_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a listening, non-blocking socket on the first address of `host` that this machine has.

    With `shared`, other sockets of this user may listen on the same port, and Linux distributes connections
    over them. Raises OSError, whose text says what to change, if this machine has none of the addresses, or
    if the first one is in use. A second address of the same name would be no substitute, because half of all
    clients would not try it.
    """
    sock = _bind_first(host, port, shared=shared)
    try:
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that reserves an address for `bind` with `shared`; it accepts no connections itself."""
    return _bind_first(host, port, shared=True)


def explained(error: OSError | UnicodeError, host: str, port: int) -> OSError:
    """The same error with a text that says why nobody can listen on an address, and what to change."""
    place = f"{host or 'every address'} port {port or 'any'}"
    if isinstance(error, UnicodeError | socket.gaierror):  # a label of the name is empty or too long
        why = getattr(error, "strerror", None) or error
        return socket.gaierror(socket.EAI_NONAME, f"host {host} cannot be resolved: {why}")
    match error.errno:
        case errno.EADDRINUSE:
            why = f"{place} is in use by another program; choose another port, or 0 for any free one"
        case errno.EACCES:
            why = f"{place} requires privileges; choose a port of 1024 or above"
        case errno.EADDRNOTAVAIL:
            why = f"{host} is not an address of this machine; choose a host that is"
        case _:
            why = f"cannot listen on {place}: {error.strerror or error}"
    return OSError(error.errno, why)


def _bind_first(host: str, port: int, *, shared: bool) -> socket.socket:
    try:
        return _bind_one_of(host, port, shared=shared)
    except (OSError, UnicodeError) as error:
        raise explained(error, host, port) from error


def _bind_one_of(host: str, port: int, *, shared: bool) -> socket.socket:
    passive = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in passive:
        try:
            return _bind(socket.socket(family, kind, protocol), address, shared=shared)
        except OSError as error:
            if error.errno not in _NOT_ON_THIS_MACHINE:
                raise
            unusable = error
    raise unusable


def _bind(sock: socket.socket, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def socket_address(sock: socket.socket) -> tuple[str, int]:
    """The host and port on which `sock` listens; the path and 0 for a Unix socket."""
    address = sock.getsockname()
    return (address, 0) if isinstance(address, str) else address[:2]


def tune(sock: socket.socket) -> None:
    """Set the options of an accepted socket; raises OSError if the peer is gone."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
