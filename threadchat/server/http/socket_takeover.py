"""Takes the socket behind a WSGI request from the server that accepted it, whichever server that is."""

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
    "open a port for WebSockets beside the application, in the same process: "
    "chat.listen(port), or threadchat.serve(handler, host, port)"
)
_KEYS: Final = {"gunicorn": "gunicorn.socket", "werkzeug": "werkzeug.socket"}  # of the environ
_GREENLETS: Final = ("gevent", "eventlet")
TAKEN_BEFORE: Final = "threadchat.taken_before"
"""The key of the environ under which a Taken waits for whoever asks for the socket next."""
_TAKEN: Final = "threadchat.taken"  # a key of the environ

Finish = Callable[[StartResponse], Iterable[bytes]]


class Taken(NamedTuple):
    """A socket that is the caller's now, and what is left to do for the server it came from.

    `sock` is connected and blocking, without timeout; to close it is the caller's business. `trailing`:
    bytes that the server had read past the request. `leaves_thread`: the request's thread is one of
    a small pool, so whoever reads for long should do it on a thread of its own. `number`: what the
    server calls the connection, where it has a name for it. `server`: its name.
    """

    sock: Socket
    trailing: bytes
    leaves_thread: bool
    number: int | None
    server: str
    finish: Finish
    """What the application calls last, `return taken.finish(start_response)`: the server writes its reply
    into the dead end and lets go. Raising StopIteration, as others do under gunicorn, works too; but whatever
    watches an application for errors would report one for each WebSocket.
    """


def take_socket(environ: dict[str, Any]) -> Taken:
    """Takes the connection over that a WSGI request came on; the server keeps a dead end in its place.

    Knows the servers threadchat, gunicorn (workers gthread and sync) and Werkzeug. Once for each request.
    Raises NoSocket, whose text says what to do instead, and OSError where no descriptor is left; the request
    can then still be answered. Runs on: the request's thread.
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
    """Whether the thread of a request is one of a few, which somebody who stays on it takes from others."""
    alone = "werkzeug.socket" in environ and not environ.get("wsgi.multithread", True)
    return HANDOVER not in environ and ("gunicorn.socket" in environ or alone)


def shows_socket(environ: dict[str, Any]) -> bool:
    """Whether the server is one of those that let an application see the connection."""
    return HANDOVER in environ or any(key in environ for key in _KEYS.values())


def _take_from(environ: dict[str, Any], theirs: socket.socket, server: str) -> Taken:
    ours = relayed(theirs) if isinstance(theirs, ssl.SSLSocket) else _swap(theirs)
    environ[_TAKEN] = True
    if server == "gunicorn":
        return Taken(ours, _left_by_gunicorn(environ), True, None, server, _say_switched)
    alone = not environ.get("wsgi.multithread", True)  # then nobody else could be served meanwhile
    return Taken(ours, _left_by_werkzeug(environ), alone, None, server, _say_switched)


def _swap(theirs: socket.socket) -> socket.socket:
    """A second descriptor of the connection; the first one becomes a dead end, under the same number.

    The server goes on to poll, shut down and close its socket object, and counts the connection out as it
    does so. On the connection itself that would end it. On a detached object it fails, and then gunicorn 27
    counts the connection out twice: it no longer waits for requests in flight when it stops.
    """
    ours = theirs.dup()
    try:
        stand_in, other_end = socket.socketpair()
        other_end.close()  # reading finds the end of the stream, writing a broken pipe
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


# What the server read past the request. The stand-in is in place by now: a read beyond that ends at once.


def _left_by_gunicorn(environ: dict[str, Any]) -> bytes:
    reader = getattr(environ.get("wsgi.input"), "reader", None)
    unreader = getattr(reader, "unreader", None)
    return bytes(unreader.read()) if unreader is not None else b""


def _left_by_werkzeug(environ: dict[str, Any]) -> bytes:
    peek = getattr(environ.get("wsgi.input"), "peek", None)
    return bytes(peek()) if peek is not None else b""


# How the application ends


def _return_nothing(start_response: StartResponse) -> Iterable[bytes]:
    return []


def _say_switched(start_response: StartResponse) -> Iterable[bytes]:
    """Who insists on a status gets one, for the access log."""
    start_response("101 Switching Protocols", [])
    return []


# What cannot be taken


def _check(environ: dict[str, Any], sock: Any) -> None:
    module = type(sock).__module__.partition(".")[0]
    if module in _GREENLETS:
        raise NoSocket(_greenlets(module))
    if environ.get("SERVER_PROTOCOL", "").startswith("HTTP/2"):
        raise NoSocket("this request shares its connection with others (HTTP/2); ask for it with HTTP/1.1")
    if environ.get(_TAKEN) or sock.fileno() < 0:
        raise NoSocket("the socket of this request was taken over or closed already; there is only one")
    if environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise NoSocket("a request for a WebSocket has no body; send it without one", "400 Bad Request")


def _why_none(environ: dict[str, Any]) -> str:
    software = str(environ.get("SERVER_SOFTWARE", ""))
    if "eventlet.input" in environ:
        return _greenlets("eventlet")
    if software.startswith("gevent"):
        return _greenlets("gevent")
    name = f"this server ({software})" if software else "this server"
    return f"{name} shows its applications no socket, so a WebSocket cannot be taken over here; {WAY_OUT}"


def _greenlets(library: str) -> str:
    return (
        f"this server runs on {library}'s greenlets, and threadchat on threads: start gunicorn with its "
        f"gthread worker (--threads 4), or {WAY_OUT}"
    )
