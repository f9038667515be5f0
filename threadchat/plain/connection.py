"""One WebSocket of either side in the shape of `websockets.sync`: send, recv, iteration, ping, close."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Literal, Self, overload

from threadchat.errors import CloseCode
from threadchat.errors import ConnectionClosed as _Closed
from threadchat.plain import endings
from threadchat.plain.http import Request, Response
from threadchat.plain.messages import BytesLike, Message, check_iterable, encoded, send_fragments
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.plain.websockets.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedOK,
    ProtocolError,
)
from threadchat.plain.websockets.protocol import Side, State
from threadchat.wire.connection import CLOSE_TIMEOUT
from threadchat.wire.protocol.frames import MAX_CONTROL
from threadchat.wire.transport import Socket

_NOT_TO_SEND: Final = (1004, 1005, 1006, 1015)  # RFC 6455 7.4.1
_MAX_REASON: Final = MAX_CONTROL - 2  # bytes, beside the code


class WebSocket:
    """One connection. Every method may be called on any thread, unless it says otherwise.

    Messages are `str` for text and `bytes` for binary. Messages that arrive while nobody calls `recv` wait
    in a queue of `max_queue` messages. If it is full, the peer is not read until there is room. `send`,
    `ping` and `pong` raise ConnectionClosed once the connection closes: ConnectionClosedOK after 1000 and
    1001, ConnectionClosedError after any other code. As a context manager, the connection is closed at the
    end of the block.
    """

    side: Side

    response: Response
    """The server's part of the handshake."""

    threaded: ThreadedConnection
    """What the shape is laid over; `broadcast` offers to it."""

    logger: logging.Logger | logging.LoggerAdapter[Any] = logging.getLogger(__name__)

    def __init__(self, request: Request, *_: Any, **__: Any) -> None:
        """What else a subclass hands on is not needed."""
        self.request = request
        self.id: uuid.UUID = uuid.uuid4()
        self._receiving = threading.Lock()  # held by the one who receives; nobody waits for it

    def begin(self, threaded: ThreadedConnection) -> None:
        """Marks the connection as open. Runs on: the thread that opened it, first."""
        self.threaded = threaded

    # Receiving

    @overload
    def recv(self, timeout: float | None = None, *, decode: Literal[True]) -> str: ...
    @overload
    def recv(self, timeout: float | None = None, *, decode: Literal[False]) -> bytes: ...
    @overload
    def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes: ...

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> str | bytes:
        """Returns the next message; waits at most `timeout` seconds, or without limit if that is None.

        `decode=True` returns binary messages as text, and False returns text as bytes. Raises TimeoutError,
        ConnectionClosed after the last message, and ConcurrencyError while another thread receives.
        """
        self._begin_to_receive("recv")
        try:
            message = self.threaded.receive_queue.get(timeout)
        except EOFError:
            self.threaded.wait_gone(CLOSE_TIMEOUT)
            raise self._ended() from None
        finally:
            self._receiving.release()
        return self._as_asked(message, decode)

    def recv_streaming(self, decode: bool | None = None) -> Iterator[str | bytes]:
        """Returns the next message as an iterator of its pieces, which must be exhausted.

        A message that arrives in fragments is one piece, because `max_size` limits its memory anyway. Raises
        the same errors as `recv`.
        """
        self._begin_to_receive("recv_streaming")
        try:
            message = self.threaded.receive_queue.get()
        except EOFError:
            self._receiving.release()
            self.threaded.wait_gone(CLOSE_TIMEOUT)
            raise self._ended() from None
        except BaseException:
            self._receiving.release()
            raise
        yield self._as_asked(message, decode)
        self._receiving.release()

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterates over messages until 1000 or 1001; any other end raises ConnectionClosedError."""
        try:
            while True:
                yield self.recv()
        except ConnectionClosedOK:
            return

    # Sending

    def send(self, message: Message | Iterable[Message], *, text: bool | None = None) -> None:
        """Sends one message: text for str, binary for bytes, unless `text` says otherwise.

        Returns once the message is in the queue of the connection's writer. If the queue is full, waits for
        room while the peer accepts anything. If the peer accepts nothing for `send_timeout`, the connection
        is closed (3008). An iterable is a single message, whose pieces are sent as they are produced, each
        in a frame of its own. Nothing else can be sent meanwhile. If the iterable raises, the connection is
        closed (1011). Raises ConnectionClosed, ConcurrencyError, and TypeError for any other type.
        """
        threaded = self._open()
        try:
            if isinstance(message, Message):
                threaded.send(encoded(threaded.connection, message, text))
            else:
                self._send_pieces(threaded, check_iterable(message), text)
        except _Closed as error:
            raise self._ended() from error

    def ping(self, data: Message | None = None, *, ack_on_close: bool = False) -> threading.Event:
        """Sends a ping ahead of waiting messages. Its pong sets the returned event, and `latency`.

        `data` has up to 125 bytes, which no other unanswered ping may have. With `ack_on_close` the end of
        the connection sets the event too. Raises TypeError, ProtocolError if `data` is too long,
        ConcurrencyError if another ping has it, ConnectionClosed, and TooManyPings while 16 pings are
        unanswered.
        """
        threaded = self._open()
        payload = None if data is None else _control(data)
        answered = threading.Event()
        try:
            threaded.ping(payload, lambda seconds: answered.set())
        except ValueError as error:
            raise ConcurrencyError(str(error)) from error
        except _Closed as error:
            raise self._ended() from error
        if ack_on_close:
            threaded.call_when_gone(answered.set)
        return answered

    def pong(self, data: Message = b"") -> None:
        """Sends an unsolicited pong. Raises TypeError, ProtocolError and ConnectionClosed."""
        self._open().connection.pong(_control(data))

    # Closing

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Sends what waits and a Close, and waits until the connection is closed. Later calls do nothing.

        Takes at most `close_timeout` seconds. If the peer has not answered by then, the connection counts as
        lost (1006). Raises ProtocolError for a code that must not be sent, and for a reason longer than 123
        bytes.
        """
        threaded = self.threaded
        if threaded.is_open:
            if code in _NOT_TO_SEND or not (1000 <= code < 1015 or 3000 <= code < 5000):
                raise ProtocolError(
                    f"close code {code}: must be 1000, 1001, or from 3000 to 4999 (RFC 6455 7.4)"
                )
            if len(reason.encode()) > _MAX_REASON:
                raise ProtocolError(f"the reason of a close has at most {_MAX_REASON} bytes")
            threaded.close(code, reason)
        patience = threaded.close_timeout
        threaded.wait_gone(None if patience is None else patience + CLOSE_TIMEOUT)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Waits at most `timeout` seconds until the connection is closed; returns whether it is."""
        return self.threaded.wait_gone(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes with 1000, or with 1011 if the block raised an exception."""
        self.close(CloseCode.NORMAL if kind is None else CloseCode.INTERNAL_ERROR)

    # What is known of it

    @property
    def state(self) -> State:
        """The state of the connection, from its handshake to its end."""
        return endings.state(self.threaded) if hasattr(self, "threaded") else State.CONNECTING

    @property
    def protocol(self) -> endings.ProtocolView:
        """The state of the protocol; see ProtocolView."""
        return endings.ProtocolView(self)

    @property
    def socket(self) -> Socket:
        """The connection's socket, for its options. Reading or writing it breaks the connection."""
        return self.threaded.connection.socket

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol, or None."""
        return self.threaded.connection.subprotocol

    @property
    def latency(self) -> float:
        """The round-trip time of the last answered ping in seconds; 0.0 before the first one."""
        return self.threaded.latency

    @property
    def local_address(self) -> Any:
        """Host and port of this side, as from `socket.getsockname`."""
        return self.threaded.local_address

    @property
    def remote_address(self) -> Any:
        """Host and port of the peer, or of the proxy in between."""
        return self.threaded.remote_address

    @property
    def close_code(self) -> int | None:
        """The peer's close code; 1006 or the local code if it sent none; None before the end."""
        return endings.close_code(self.threaded)

    @property
    def close_reason(self) -> str | None:
        """The text that went with `close_code`."""
        return endings.close_reason(self.threaded)

    def __repr__(self) -> str:
        if not hasattr(self, "threaded"):
            return super().__repr__()
        return f"<{type(self).__name__} {self.threaded!r}>"

    # Helpers

    def _open(self) -> ThreadedConnection:
        if not self.threaded.is_open:
            raise self._ended()
        return self.threaded

    def _begin_to_receive(self, what: str) -> None:
        if not self._receiving.acquire(blocking=False):
            raise ConcurrencyError(f"cannot call {what}: another thread is in recv or recv_streaming")

    def _send_pieces(
        self, threaded: ThreadedConnection, pieces: Iterable[Message], text: bool | None
    ) -> None:
        with threaded.fragments() as send:
            try:
                send_fragments(threaded.connection, send, pieces, text)
            except _Closed:
                raise
            except BaseException:  # half a message is on the wire
                threaded.close(CloseCode.INTERNAL_ERROR, "error in fragmented message")
                threaded.wait_gone(CLOSE_TIMEOUT)
                raise

    def _as_asked(self, message: str | bytes, decode: bool | None) -> str | bytes:
        if decode is False and isinstance(message, str):
            return message.encode()
        if decode is True and isinstance(message, bytes):
            try:
                return message.decode()
            except UnicodeDecodeError as error:
                self.threaded.close(CloseCode.INVALID_TEXT, f"{error.reason} at position {error.start}")
                raise self._ended() from error
        return message

    def _ended(self) -> ConnectionClosed:
        return endings.closed(self.threaded)


def _control(data: Message) -> bytes:
    if not isinstance(data, str | BytesLike):
        raise TypeError(f"the data of a ping or pong is str or bytes, not {type(data).__name__}")
    payload = data.encode() if isinstance(data, str) else bytes(data)
    if len(payload) > MAX_CONTROL:
        raise ProtocolError(f"a ping or pong holds at most {MAX_CONTROL} bytes, not {len(payload)}")
    return payload
