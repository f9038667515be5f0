"""Reads one HTTP request from a socket, within limits and one deadline; h11 does the parsing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO

import h11

from threadchat.errors import ThreadchatError
from threadchat.wire.transport import Socket

HEAD_BYTES = 16 * 1024  # request line and header lines together, including the empty line at the end
REQUEST_LINE_BYTES = 8 * 1024  # bytes; RFC 9112 section 3 requires at least 8,000; less than HEAD_BYTES
HEADER_LINES = 128  # without the request line
BODY_BYTES = 64 * 1024  # bytes; without the API, no request needs more
RECEIVE_BYTES = 16 * 1024  # bytes requested from one recv, which bounds what can follow a head

_END_OF_HEAD = re.compile(rb"\n\r?\n")  # as in h11: RFC 9112 section 2.2 allows a bare LF
_FOLDED_LINE = re.compile(rb"\n[ \t]")
_CONTENT_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,20}[ \t]*")
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+;=%-]*)(?::[0-9]*)?")
_TARGET = re.compile(
    r"(?:https?://(?P<authority>[^/?#]+))?(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?", re.IGNORECASE
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_RawHeaders = list[tuple[bytes, bytes]]


class RequestError(ThreadchatError):
    """The request is answered with an error; `sentence` says what is wrong and what would be right."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(f"{status.value} {sentence}")
        self.status = status
        self.sentence = sentence


class PeerGone(ThreadchatError):
    """The peer has left, so no reply can be sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `target` and `headers` are as sent; `trailing` holds the bytes after it.

    `body` is received while it is read, so nothing is kept of a request that is refused by its head. Reading
    it raises RequestError and PeerGone.
    """

    method: str
    authority: str | None
    path: str
    query: str
    version: str
    headers: list[tuple[str, str]]
    body: BinaryIO
    trailing: bytes
    target: str = "/"


class RequestReader:
    """Reads one request from a blocking socket until `deadline`, a time of `clock`, in seconds.

    The deadline covers head and body together, so a peer that sends a byte now and then cannot extend it.
    `read` receives the head; the body follows on demand.
    h11 parses the request. This class refuses what h11 accepts and a server should not: folded lines,
    repeated lengths, and malformed targets.
    """

    def __init__(
        self,
        sock: Socket,
        deadline: float,
        clock: Callable[[], float],
        *,
        max_body: int = BODY_BYTES,
        throttle: AbstractContextManager[object] = nullcontext(),  # noqa: B008  # it has no state
    ) -> None:
        """`max_body`: bytes; a body is refused if its Content-Length is larger.

        A head is parsed while `throttle` is held.
        """
        self._sock = sock
        self._max_body = max_body
        self._throttle = throttle
        self._deadline = deadline
        self._clock = clock
        self._late = False
        self._received = bytearray()

    @property
    def asked_for_head(self) -> bool:
        """Whether the method is HEAD; then even an error reply has no body."""
        return self._received.startswith(b"HEAD ")

    def read(self) -> Request:
        """Return the request. Raises RequestError if it must be refused, PeerGone if the peer has left."""
        head = self._read_head()
        with self._throttle:
            return self._parse(head)

    def _parse(self, head: bytes) -> Request:
        length = _check_head(head, self._max_body)
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(head)
        try:
            event = parser.next_event()
            assert isinstance(event, h11.Request)  # the head is complete, so no other event is possible
            headers = event.headers.raw_items()  # a list, which is faster than h11's own sequence
            _check_request(event.http_version, headers)
        except h11.RemoteProtocolError as error:
            # Its traceback would refer to itself and to all frames of the callers, which is a cycle.
            error.__traceback__ = None
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                f"The request is malformed ({str(error)[:200]}); "
                "send a well-formed HTTP/1.1 request with exactly one Host header.",
            ) from error
        behind = bytes(self._received[len(head) :])
        body: BinaryIO = io.BytesIO()
        if length:
            waits = parser.they_are_waiting_for_100_continue
            body = io.BufferedReader(_Body(self, behind[:length], length, waits=waits))
        return _request(event, headers, body, behind[length:])

    def _read_head(self) -> bytes:
        """Receive until the head is complete, and return it; `_received` also holds what follows it."""
        received = self._received
        searched = 0
        while True:
            end = _END_OF_HEAD.search(received, max(0, searched - 2))
            _check_size(received, end.end() if end else len(received))
            if end:
                return bytes(received[: end.end()])
            searched = len(received)
            received += self.receive()

    def say_continue(self) -> None:
        """Asks for the body (RFC 9110 section 10.1.1). Raises PeerGone."""
        try:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError as error:
            raise PeerGone(str(error)) from error

    def receive(self, most: int = RECEIVE_BYTES) -> bytes:
        """Up to `most` bytes, and at least one. Raises RequestError and PeerGone.

        After the deadline, what waits in the socket is read once: then this thread was late.
        """
        remaining = self._deadline - self._clock()
        try:
            if self._late:
                raise TimeoutError
            self._late = remaining <= 0
            self._sock.settimeout(max(0.0, remaining))
            data = self._sock.recv(most)
        except (TimeoutError, BlockingIOError):
            raise RequestError(
                HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time; send all of it at once."
            ) from None
        except OSError as error:
            raise PeerGone(str(error)) from error
        if data:
            return data
        if not self._received:
            raise PeerGone("it sent nothing")
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "The request ended before it was complete; send head and body in full."
        )


class _Body(io.RawIOBase):
    """A body of `length` bytes, of which `begun` are there; who `waits` wants to be asked for it."""

    def __init__(self, reader: RequestReader, begun: bytes, length: int, *, waits: bool) -> None:
        self._reader = reader
        self._begun = begun
        self._left = length
        self._waits = waits and not begun

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """See RawIOBase; blocks up to the reader's deadline."""
        most = min(len(buffer), self._left, RECEIVE_BYTES)
        if not most:
            return 0
        if self._waits:
            self._waits = False
            self._reader.say_continue()
        data = self._begun[:most] or self._reader.receive(most)
        self._begun = self._begun[most:]
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def _check_size(received: bytearray, head_size: int) -> None:
    """Refuse a head that is too large, complete or not, and data that cannot be a head."""
    if received and received[0] <= 0x20:
        # No method begins with such a byte. It is usually a TLS hello, which would wait until the deadline.
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "This is not an HTTP request; use plain HTTP on this port, not TLS."
        )
    if head_size > REQUEST_LINE_BYTES and received.find(b"\n", 0, REQUEST_LINE_BYTES) < 0:
        raise RequestError(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"The request line is too long; the limit is {REQUEST_LINE_BYTES} bytes.",
        )
    lines = received.count(b"\n", 0, head_size) - 1
    if head_size > HEAD_BYTES or lines > HEADER_LINES + 1:
        raise RequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The header is too large; the limits are {HEAD_BYTES} bytes and {HEADER_LINES} lines.",
        )


def _check_head(head: bytes, max_body: int) -> int:
    """Return the length of the body, and refuse what h11 would silently accept.

    h11 joins folded lines and merges equal lengths; before 0.15, it failed on a length of 5,000 digits.
    """
    if _FOLDED_LINE.search(head):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "A header line begins with white space; put each header on one line."
        )
    lengths = _CONTENT_LENGTH.findall(head)
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "Content-Length is repeated or not a number; send it once, in digits."
        )
    length = int(lengths[0]) if lengths else 0
    if length > max_body:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is too large; the limit is {max_body} bytes."
        )
    return length


def _check_request(version: bytes, headers: _RawHeaders) -> None:
    """Refuse requests that are well-formed, so that h11 accepts them, but not supported here."""
    if version not in (b"1.1", b"1.0"):
        raise RequestError(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "This version of HTTP is not supported; use HTTP/1.1."
        )
    for written, value in headers:
        name = written.lower()
        if name == b"transfer-encoding":
            raise RequestError(
                HTTPStatus.BAD_REQUEST, "Transfer-Encoding is not accepted; send a body with Content-Length."
            )
        if name == b"host":
            _check_authority(value.decode("latin-1"))


def _check_authority(text: str) -> None:
    if not _HOST.fullmatch(text):
        raise RequestError(HTTPStatus.BAD_REQUEST, "The host is malformed; send it as name or name:port.")


def _request(event: h11.Request, raw: _RawHeaders, body: BinaryIO, trailing: bytes) -> Request:
    method = event.method.decode("ascii")
    target = event.target.decode("ascii")
    authority, path, query = _split_target(method, target)
    headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in raw]
    version = "HTTP/" + event.http_version.decode("ascii")
    return Request(method, authority, path, query, version, headers, body, trailing, target)


def _split_target(method: str, target: str) -> tuple[str | None, str, str]:
    """Split a request target (RFC 9112 section 3.2) into authority, path and query."""
    if method == "CONNECT" or (method == "OPTIONS" and target == "*"):
        return None, target, ""  # neither names a path; the application refuses the method
    match = _TARGET.fullmatch(target)
    if not match or not (match["authority"] or match["path"]) or _BAD_ESCAPE.search(match["path"] or ""):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "The request target is malformed; send a path such as /chat?room=lobby."
        )
    if match["authority"] is not None:
        _check_authority(match["authority"])
    return match["authority"], match["path"] or "/", match["query"] or ""
