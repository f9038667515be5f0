"""Takes over the socket of a WSGI request from the server that accepted it."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple
from wsgiref.types import StartResponse

from threadchat.errors import NoSocket
from threadchat.server.http.connection import HANDOVER
from threadchat.server.http.listener import tune
from threadchat.server.http.tls_relay import relayed
from threadchat.wire.transport import SEND_BUFFER, Socket

WAY_OUT: Final = (
    "serve WebSockets on a second port in the same process, with "
    "chat.listen(port) or threadchat.serve(handler, host, port)"
)
_KEYS: Final = {"gunicorn": "gunicorn.socket", "werkzeug": "werkzeug.socket"}  # of the environ
_GREENLETS: Final = ("gevent", "eventlet")
TAKEN_BEFORE: Final = "threadchat.taken_before"
"""A key of the environ: a socket that was taken over already, which the next `take_socket` returns."""
_TAKEN: Final = "threadchat.taken"  # a key of the environ

Finish = Callable[[StartResponse], Iterable[bytes]]


class Taken(NamedTuple):
    """A socket that now belongs to the caller, and how to finish the request in the former server.

    `sock` is connected and blocking, without a timeout; the caller must close it. `trailing`: bytes that the
    server had read past the request. `leaves_thread`: the request's thread belongs to a small pool, so a long
    session should run on another thread. `number`: the server's number for the connection, if it has one.
    `server`: the name of the server.
    """

    sock: Socket
    trailing: bytes
    leaves_thread: bool
    number: int | None
    server: str
    finish: Finish
    """Must be the application's last call, as `return taken.finish(start_response)`. The server writes its
    reply into the closed stand-in and ends the request. Other libraries raise StopIteration under gunicorn
    instead; error monitoring would then report an error for each WebSocket.
    """


def take_socket(environ: dict[str, Any]) -> Taken:
    """Takes over the connection of a WSGI request; the server keeps a closed stand-in for its socket.

    Supports the servers threadchat, gunicorn (workers gthread and sync) and Werkzeug. Call it once for each
    request. Raises NoSocket, whose text says what to do instead, and OSError if no file descriptor is left;
    in both cases the request can still be answered. Runs on: the request's thread.
    """
    before: Taken | None = environ.pop(TAKEN_BEFORE, None)
    if before is not None:
        return before
    if HANDOVER in environ:
        sock, trailing = environ[HANDOVER].take()
        return Taken(sock, trailing, False, environ[HANDOVER].number, "threadchat", _return_nothing)
    for server, key in _KEYS.items():
        if key in environ:
            _check(environ, environ[key])
            return _take_from(environ, environ[key], server)
    raise NoSocket(_why_none(environ))


def has_small_pool(environ: dict[str, Any]) -> bool:
    """Whether the thread of a request belongs to a small pool, so that a long session must not stay on it."""
    alone = "werkzeug.socket" in environ and not environ.get("wsgi.multithread", True)
    return HANDOVER not in environ and ("gunicorn.socket" in environ or alone)


def shows_socket(environ: dict[str, Any]) -> bool:
    """Whether the server lets an application take over the connection."""
    return HANDOVER in environ or any(key in environ for key in _KEYS.values())


def _take_from(environ: dict[str, Any], theirs: socket.socket, server: str) -> Taken:
    ours = relayed(theirs) if isinstance(theirs, ssl.SSLSocket) else _swap(theirs)
    environ[_TAKEN] = True
    if server == "gunicorn":
        return Taken(ours, _left_by_gunicorn(environ), True, None, server, _say_switched)
    alone = not environ.get("wsgi.multithread", True)  # a session would block all other requests
    return Taken(ours, _left_by_werkzeug(environ), alone, None, server, _say_switched)


def _swap(theirs: socket.socket) -> socket.socket:
    """Duplicates the connection's descriptor and replaces the original, under the same number, by a stand-in.

    Afterwards the server polls, shuts down and closes its socket object, and uncounts the connection. With
    the connection itself, that would end it. With a detached object, it would fail, and gunicorn 27 would
    uncount the connection twice: it would no longer wait for requests in flight when it stops.
    """
    ours = theirs.dup()
    try:
        stand_in, other_end = socket.socketpair()
        other_end.close()  # so a read returns the end of the stream, and a write fails with a broken pipe
        with stand_in:
            os.dup2(stand_in.fileno(), theirs.fileno(), inheritable=False)
        ours.settimeout(None)
        if ours.family == socket.AF_UNIX:  # a proxy on this machine
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        else:
            tune(ours)
    except BaseException:
        ours.close()
        raise
    return ours


# The bytes that the server read past the request. The stand-in is in place, so a further read ends at once.


def _left_by_gunicorn(environ: dict[str, Any]) -> bytes:
    reader = getattr(environ.get("wsgi.input"), "reader", None)
    unreader = getattr(reader, "unreader", None)
    return bytes(unreader.read()) if unreader is not None else b""


def _left_by_werkzeug(environ: dict[str, Any]) -> bytes:
    peek = getattr(environ.get("wsgi.input"), "peek", None)
    return bytes(peek()) if peek is not None else b""


# Values of `finish`


def _return_nothing(start_response: StartResponse) -> Iterable[bytes]:
    return []


def _say_switched(start_response: StartResponse) -> Iterable[bytes]:
    """Returns a status, because these servers require one and write it to the access log."""
    start_response("101 Switching Protocols", [])
    return []


# Connections that cannot be taken over


def _check(environ: dict[str, Any], sock: Any) -> None:
    module = type(sock).__module__.partition(".")[0]
    if module in _GREENLETS:
        raise NoSocket(_greenlets(module))
    if environ.get("SERVER_PROTOCOL", "").startswith("HTTP/2"):
        raise NoSocket("this request shares its connection with others (HTTP/2); use HTTP/1.1")
    if environ.get(_TAKEN) or sock.fileno() < 0:
        raise NoSocket("the socket of this request was taken over or closed already")
    if environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise NoSocket("a request for a WebSocket must not have a body", "400 Bad Request")


def _why_none(environ: dict[str, Any]) -> str:
    software = str(environ.get("SERVER_SOFTWARE", ""))
    if "eventlet.input" in environ:
        return _greenlets("eventlet")
    if software.startswith("gevent"):
        return _greenlets("gevent")
    name = f"this server ({software})" if software else "this server"
    return f"{name} gives applications no access to the socket, so it cannot be taken over; {WAY_OUT}"


def _greenlets(library: str) -> str:
    return (
        f"this server uses greenlets of {library}, and threadchat needs threads: start gunicorn with its "
        f"gthread worker (--threads 4), or {WAY_OUT}"
    )
