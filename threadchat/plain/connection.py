"""One WebSocket of either side in the shape of `websockets.sync`: send, recv, iteration, ping, close."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self, overload

from threadchat.errors import (
    CloseCode,
    CloseFrame,
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
)
from threadchat.plain.http import Request, Response
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.wire.connection import CLOSE_TIMEOUT, Connection
from threadchat.wire.protocol.requests import Text

BytesLike = bytes | bytearray | memoryview
Message = str | BytesLike
_GOOD_ENDS: Final = (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)
_NOT_TO_SEND: Final = (1004, 1005, 1006, 1015)  # RFC 6455 7.4.1


class WebSocket:
    """One connection. Every method may be called on any thread, unless it says otherwise.

    Messages are `str` for text and `bytes` for binary. What is received while nobody calls `recv` waits in
    a queue of `max_queue` messages; then the peer is not read any more until there is room. `send` and `ping`
    raise ConnectionClosed once the connection closes: ConnectionClosedOK after 1000 and 1001,
    ConnectionClosedError after anything else. Use it as a context manager, and it is closed at the end.
    """

    response: Response
    """The server's part of the handshake."""

    threaded: ThreadedConnection
    """What the shape is laid over; `broadcast` offers to it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.id: uuid.UUID = uuid.uuid4()
        self._receiving = threading.Lock()  # held by the one who receives; nobody waits for it

    def begin(self, threaded: ThreadedConnection) -> None:
        """The connection is open. Runs on: the thread that opened it, before anybody else has it."""
        self.threaded = threaded

    # Receiving

    @overload
    def recv(self, timeout: float | None = None, *, decode: Literal[True]) -> str: ...
    @overload
    def recv(self, timeout: float | None = None, *, decode: Literal[False]) -> bytes: ...
    @overload
    def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes: ...

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes:
        """The next message; waits for it `timeout` seconds, for ever where that is None.

        `decode=True` makes text of binary messages, False bytes of text. Raises TimeoutError,
        ConnectionClosed after the last message, and ConcurrencyError while another thread receives.
        """
        if not self._receiving.acquire(blocking=False):
            raise ConcurrencyError("another thread receives from this connection; only one can at a time")
        try:
            message = self.threaded.receive_queue.get(timeout)
        except EOFError:
            raise self._ended() from None
        finally:
            self._receiving.release()
        if decode is True and isinstance(message, bytes):
            return self._decoded(message)
        return message.encode() if decode is False and isinstance(message, str) else message

    def __iter__(self) -> Iterator[str | bytes]:
        """Messages until the connection ends with 1000 or 1001; another end raises ConnectionClosedError."""
        try:
            while True:
                yield self.recv()
        except ConnectionClosedOK:
            return

    # Sending

    def send(self, message: Message | Iterable[Message], *, text: bool | None = None) -> None:
        """Sends one message: text for str, binary for bytes; `text` says otherwise.

        Returns once it waits for the connection's writer. Where much waits already it waits for room,
        as long as the peer takes something; a peer that takes nothing for `send_timeout` loses the
        connection (3008). An iterable is one message in pieces, which is sent whole, and not at all where
        there are none. Raises ConnectionClosed, and TypeError for anything else.
        """
        whole = message if isinstance(message, Message) else joined(message)
        if whole is None:
            return
        try:
            self.threaded.send(encoded(self.threaded.connection, whole, text))
        except ConnectionClosed as error:
            raise self._ended() from error

    def ping(self, data: Message | None = None) -> threading.Event:
        """Sends a ping, ahead of what waits; the event is set by its pong, and `latency` with it.

        `data`: up to 125 bytes that no other ping on its way has. Raises ValueError, ConnectionClosed, and
        TooManyPings while 16 are unanswered.
        """
        payload = data.encode() if isinstance(data, str) else None if data is None else bytes(data)
        answered = threading.Event()
        try:
            self.threaded.ping(payload, lambda seconds: answered.set())
        except ConnectionClosed as error:
            raise self._ended() from error
        return answered

    # Closing

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Sends what waits, says goodbye, and waits until the connection is gone; later calls do nothing.

        What waits may take `close_timeout` seconds, while the peer takes it, and the peer 2 s to answer.
        `reason` is cut at 123 bytes. Raises ValueError for a code that must not be sent.
        """
        if code in _NOT_TO_SEND or not (1000 <= code < 1016 or 3000 <= code < 5000):
            raise ValueError(f"close code {code}: must be 1000, 1001, or from 3000 to 4999 (RFC 6455 7.4)")
        threaded = self.threaded
        threaded.close(code, reason)
        patience = threaded.flush_timeout
        threaded.wait_gone(None if patience is None else patience + 2 * CLOSE_TIMEOUT)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Waits until the connection is gone, at most `timeout` seconds; whether it is."""
        return self.threaded.wait_gone(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes with 1000, or with 1011 where the block failed."""
        self.close(CloseCode.NORMAL if kind is None else CloseCode.INTERNAL_ERROR)

    # What is known of it

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on, if they did."""
        return self.threaded.connection.subprotocol

    @property
    def latency(self) -> float:
        """Seconds from the last answered ping to its pong, those of `ping_interval` too; 0.0 before any."""
        return self.threaded.latency

    @property
    def local_address(self) -> Any:
        """Host and port of this side, as of `socket.getsockname`."""
        return self.threaded.local_address

    @property
    def remote_address(self) -> Any:
        """Host and port of the peer; behind a proxy, the proxy's."""
        return self.threaded.remote_address

    @property
    def close_code(self) -> int | None:
        """Why the connection closed, 1006 where it was lost; None while it is open."""
        closed = self.threaded.connection.closed
        return None if closed is None else closed.code

    @property
    def close_reason(self) -> str | None:
        """The words that went with `close_code`."""
        closed = self.threaded.connection.closed
        return None if closed is None else closed.reason

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.threaded!r}>" if hasattr(self, "threaded") else super().__repr__()
        )

    # Helpers

    def _decoded(self, message: bytes) -> str:
        try:
            return message.decode()
        except UnicodeDecodeError:
            self.threaded.close(CloseCode.INVALID_TEXT)
            raise self._ended() from None

    def _ended(self) -> ConnectionClosed:
        closed = self.threaded.connection.closed
        assert closed is not None, "a receive queue ends after its connection"
        kind = ConnectionClosedOK if closed.code in _GOOD_ENDS else ConnectionClosedError
        ended = kind(closed.code, closed.reason)
        if closed.code != CloseCode.ABNORMAL:
            frame = CloseFrame(closed.code, closed.reason)
            ended.rcvd = frame if self.threaded.peer_closed else None
            ended.sent = frame
        return ended


def encoded(connection: Connection, message: Message, text: bool | None = None) -> Text:
    """`message` in a frame of the connection's role; raises TypeError for what is none."""
    if isinstance(message, str):
        return connection.binary(message.encode()) if text is False else connection.text(message)
    if isinstance(message, BytesLike):
        return connection.text(bytes(message).decode()) if text else connection.binary(bytes(message))
    raise TypeError(f"a message is str or bytes, not {type(message).__name__}")


def joined(pieces: Iterable[Message]) -> Message | None:
    """The pieces of one message, which are all text or all bytes; None where there are none."""
    if isinstance(pieces, Mapping):
        raise TypeError("a message is no mapping; send its keys(), or json.dumps of it")
    if not isinstance(pieces, Iterable):
        raise TypeError(f"a message is str, bytes, or an iterable of either, not {type(pieces).__name__}")
    found = list(pieces)
    if not found:
        return None
    if all(isinstance(piece, str) for piece in found):
        return "".join(piece for piece in found if isinstance(piece, str))
    if all(isinstance(piece, BytesLike) for piece in found):
        return b"".join(piece for piece in found if not isinstance(piece, str))
    raise TypeError("the pieces of a message are all str or all bytes")
