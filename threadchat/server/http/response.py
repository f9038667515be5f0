"""Runs a WSGI application to its end, and encodes its reply, which is the only one of the connection."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIApplication

from threadchat.wire.transport import Socket

LINGER_BYTES = 1024 * 1024  # bytes that are read and discarded at most before a connection is closed
_STATUS = re.compile(r"[1-9][0-9]{2} [ -~]*")
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = ("connection", "content-length", "transfer-encoding", "keep-alive", "date")


@dataclass(slots=True)
class Response:
    """One reply. `status` is a code and a phrase, as in WSGI; `headers` are those of the application."""

    status: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @classmethod
    def error(cls, status: HTTPStatus, sentence: str, *headers: tuple[str, str]) -> Response:
        """A plain-text reply of one sentence."""
        plain = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
        return cls(f"{status.value} {status.phrase}", [*plain, *headers], f"{sentence}\n".encode())

    def add(self, header: tuple[str, str]) -> None:
        """One more header, where the application has not set it."""
        if header[0].lower() not in (name.lower() for name, _ in self.headers):
            self.headers.append(header)

    def encode(self, *, head_only: bool = False) -> bytes:
        """The bytes of the whole reply. Raises ValueError for a header with line ends or invalid characters.

        The connection's own headers replace the application's. A reply that never has a body keeps the
        Content-Length it was given: for HEAD and 304, this is the length that a GET would have.
        """
        names = {name.lower(): value for name, value in self.headers}
        bodiless = head_only or self.status.startswith(("204", "304"))
        # RFC 9110 section 7.8: a sender of Upgrade must also list it in Connection.
        lines = [
            f"HTTP/1.1 {self.status}",
            f"Date: {formatdate(usegmt=True)}",
            "Connection: close, Upgrade" if "upgrade" in names else "Connection: close",
        ]
        if not self.status.startswith("204"):  # RFC 9110 section 8.6 forbids a length there
            given = names.get("content-length") if bodiless and not self.body else None
            if given is not None or not self.status.startswith("304"):
                lines.append(f"Content-Length: {given or len(self.body)}")
        for name, value in self.headers:
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r}: {value!r} cannot be sent")
            if name.lower() not in _OURS:
                lines.append(f"{name}: {value}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if bodiless else head + self.body


def run(application: WSGIApplication, environ: dict[str, Any]) -> Response | None:
    """Call the application and collect its reply; None if it never called `start_response`.

    Raises whatever the application raises. Nothing is sent before the application has ended, so until then
    it can replace its reply by calling `start_response` with `exc_info`.
    """
    begun: list[Response] = []
    chunks: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if begun and not exc_info:
            raise RuntimeError("start_response was called twice; the second call needs exc_info")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"the status {status!r} is not a code and a phrase such as '200 OK'")
        begun[:] = [Response(status, list(headers))]
        chunks.clear()
        return chunks.append

    result = application(environ, start_response)
    try:
        for chunk in result:
            chunks.append(chunk)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    if not begun:
        return None
    begun[0].body = b"".join(chunks)
    return begun[0]


def linger(sock: Socket, seconds: float, clock: Callable[[], float]) -> None:
    """End our half of the connection and discard what the peer still sends, before the caller closes it.

    Closing a socket with unread bytes resets the connection, and the peer may lose the reply. Returns when
    the peer ends its half, after `seconds`, or after LINGER_BYTES. Raises OSError if the peer is gone.
    """
    sock.shutdown(socket.SHUT_WR)
    deadline = clock() + seconds
    left = LINGER_BYTES
    while left > 0 and (remaining := deadline - clock()) > 0:
        sock.settimeout(remaining)
        data = sock.recv(min(left, 65536))
        if not data:
            return
        left -= len(data)
