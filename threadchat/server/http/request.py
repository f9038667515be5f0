"""Reads one HTTP request from a socket, within limits and one deadline; h11 does the parsing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO

import h11

from threadchat.errors import ThreadchatError
from threadchat.wire.transport import Socket

HEAD_BYTES = 16 * 1024  # request line and header lines together, with the empty line that ends them
REQUEST_LINE_BYTES = 8 * 1024  # bytes; RFC 9112 section 3 wants at least 8,000; less than HEAD_BYTES
HEADER_LINES = 128  # the request line is not counted
BODY_BYTES = 64 * 1024  # bytes; what is served without the API needs no more
RECEIVE_BYTES = 16 * 1024  # bytes asked of one recv, and so the most that can follow a head

_END_OF_HEAD = re.compile(rb"\n\r?\n")  # as h11 finds it: RFC 9112 section 2.2 allows a bare LF
_FOLDED_LINE = re.compile(rb"\n[ \t]")
_CONTENT_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,20}[ \t]*")
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+;=%-]*)(?::[0-9]*)?")
_TARGET = re.compile(
    r"(?:https?://(?P<authority>[^/?#]+))?(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?", re.IGNORECASE
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class RequestError(ThreadchatError):
    """The request gets an error reply; `sentence` says what was wrong and what would be right."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(f"{status.value} {sentence}")
        self.status = status
        self.sentence = sentence


class PeerGone(ThreadchatError):
    """The peer left; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `target` and `headers` are as sent. `trailing` is what arrived behind it.

    `body` is received as it is read: nothing of it is kept for a request that is refused by its head. Reading
    raises RequestError and PeerGone.
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

    The deadline covers head and body together: each `recv` may only take what is left of it, so a
    peer that sends a byte now and then gains nothing. `read` receives the head; the body follows on
    demand. The parsing is h11's; what h11 lets through and a server should not (folded lines, repeated
    lengths, odd targets) is refused here.
    """

    def __init__(
        self, sock: Socket, deadline: float, clock: Callable[[], float], *, max_body: int = BODY_BYTES
    ) -> None:
        """`max_body`: bytes of a body; a longer one is refused by its declared length."""
        self._sock = sock
        self._max_body = max_body
        self._deadline = deadline
        self._clock = clock
        self._received = bytearray()

    @property
    def asked_for_head(self) -> bool:
        """Whether the method is HEAD, so that even an error reply has no body."""
        return self._received.startswith(b"HEAD ")

    def read(self) -> Request:
        """Return the request; raises RequestError for one to refuse and PeerGone where nobody is left."""
        head = self._read_head()
        length = _check_head(head, self._max_body)
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(head)
        try:
            event = parser.next_event()
            assert isinstance(event, h11.Request)  # the head is whole, so there is no other outcome
            _check_request(event)
        except h11.RemoteProtocolError as error:
            # h11 raises it in a method of its own: it would refer to itself, and so to all that called.
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
        return _request(event, body, behind[length:])

    def _read_head(self) -> bytes:
        """Receive until the head is whole and return it; what follows it stays in `_received` too."""
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
        """Up to `most` bytes, and at least one. Raises RequestError and PeerGone."""
        remaining = self._deadline - self._clock()
        try:
            if remaining <= 0:
                raise TimeoutError
            self._sock.settimeout(remaining)
            data = self._sock.recv(most)
        except TimeoutError:
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
    """Refuse a head that is too large, complete or not, and what cannot become one."""
    if received and received[0] <= 0x20:
        # No method begins so. Above all it is a TLS hello, which would otherwise sit out its deadline.
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "This is not an HTTP request; speak plain HTTP on this port, not TLS."
        )
    if head_size > REQUEST_LINE_BYTES and received.find(b"\n", 0, REQUEST_LINE_BYTES) < 0:
        raise RequestError(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"The request line is too long; {REQUEST_LINE_BYTES} bytes are the most.",
        )
    lines = received.count(b"\n", 0, head_size) - 1
    if head_size > HEAD_BYTES or lines > HEADER_LINES + 1:
        raise RequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The header is too large; {HEAD_BYTES} bytes and {HEADER_LINES} lines are the most.",
        )


def _check_head(head: bytes, max_body: int) -> int:
    """Return the length of the body, and refuse what h11 would repair without a word.

    It joins folded lines, merges equal lengths, and before 0.15 fell over a length of 5,000 digits.
    """
    if _FOLDED_LINE.search(head):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "A header line begins with white space; put each header on one line."
        )
    lengths = _CONTENT_LENGTH.findall(head)
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "Content-Length is doubled or no number; send it once, in decimal digits."
        )
    length = int(lengths[0]) if lengths else 0
    if length > max_body:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is too large; {max_body} bytes are the most."
        )
    return length


def _check_request(event: h11.Request) -> None:
    """Refuse what is well-formed, so that h11 accepts it, but not served here."""
    if event.http_version not in (b"1.1", b"1.0"):
        raise RequestError(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "This version of HTTP is not spoken here; use HTTP/1.1."
        )
    for name, value in event.headers:
        if name == b"transfer-encoding":
            raise RequestError(
                HTTPStatus.BAD_REQUEST, "Transfer-Encoding is not accepted; send a body with Content-Length."
            )
        if name == b"host":
            _check_authority(value.decode("latin-1"))


def _check_authority(text: str) -> None:
    if not _HOST.fullmatch(text):
        raise RequestError(HTTPStatus.BAD_REQUEST, "The host is malformed; send it as name or name:port.")


def _request(event: h11.Request, body: BinaryIO, trailing: bytes) -> Request:
    method = event.method.decode("ascii")
    target = event.target.decode("ascii")
    authority, path, query = _split_target(method, target)
    headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
    version = "HTTP/" + event.http_version.decode("ascii")
    return Request(method, authority, path, query, version, headers, body, trailing, target)


def _split_target(method: str, target: str) -> tuple[str | None, str, str]:
    """Split a request target (RFC 9112 section 3.2) into authority, path and query."""
    if method == "CONNECT" or (method == "OPTIONS" and target == "*"):
        return None, target, ""  # neither names a page; the application refuses the method
    match = _TARGET.fullmatch(target)
    if not match or not (match["authority"] or match["path"]) or _BAD_ESCAPE.search(match["path"] or ""):
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "The request target is malformed; it is a path such as /chat?room=lobby."
        )
    if match["authority"] is not None:
        _check_authority(match["authority"])
    return match["authority"], match["path"] or "/", match["query"] or ""
