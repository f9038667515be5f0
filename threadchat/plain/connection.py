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

    Messages are `str` for text and `bytes` for binary. What is received while nobody calls `recv` waits in
    a queue of `max_queue` messages; then the peer is not read any more until there is room. `send`, `ping`
    and `pong` raise ConnectionClosed once the connection closes: ConnectionClosedOK after 1000 and 1001,
    ConnectionClosedError after anything else. Use it as a context manager, and it is closed at the end.
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
        """The next message as an iterator of its pieces, which has to be gone through to its end.

        A message in fragments comes as one piece, since `max_size` bounds what is kept of it anyway. Raises
        what `recv` does.
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
        connection (3008). An iterable is one message, whose pieces go out as they are produced, each in a
        frame of its own; meanwhile nothing else can be sent. Where it fails, the connection ends (1011).
        Raises ConnectionClosed, ConcurrencyError, and TypeError for anything else.
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
        """Sends a ping, ahead of what waits; the event is set by its pong, and `latency` with it.

        `data`: up to 125 bytes that no other ping on its way has. With `ack_on_close` the end of the
        connection sets the event too. Raises TypeError, ProtocolError for more bytes, ConcurrencyError for
        the same ones, ConnectionClosed, and TooManyPings while 16 are unanswered.
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
        """Sends a pong that nobody asked for. Raises TypeError, ProtocolError and ConnectionClosed."""
        self._open().connection.pong(_control(data))

    # Closing

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Sends what waits, says goodbye, and waits until the connection is gone; later calls do nothing.

        All that may take `close_timeout` seconds; a peer that has not answered by then counts as lost (1006).
        Raises ProtocolError for a code that must not be sent, and for more than 123 bytes of reason.
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
    def state(self) -> State:
        """Where it is between its handshake and its end."""
        return endings.state(self.threaded) if hasattr(self, "threaded") else State.CONNECTING

    @property
    def protocol(self) -> endings.ProtocolView:
        """What is known of the protocol's state: see ProtocolView."""
        return endings.ProtocolView(self)

    @property
    def socket(self) -> Socket:
        """The connection's socket, for its options; whoever reads or writes on it breaks the connection."""
        return self.threaded.connection.socket

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
        """The peer's close code; 1006 where the connection was lost, or why it was ended; None before."""
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
