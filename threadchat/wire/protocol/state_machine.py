"""The protocol state machines of a server and a client, built on simple-websocket and wsproto.

No I/O happens here: bytes go in and messages come out; the connection sends what has to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import simple_websocket
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.utilities import generate_accept_token

from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.deflate import Deflater, Inflater
from threadchat.wire.protocol.extensions import Agreement, accept_offer
from threadchat.wire.protocol.parser import Frames

Headers = list[tuple[str, str]]

_SUBPROTOCOL: Final = "HTTP_SEC_WEBSOCKET_PROTOCOL"


class _NoThread:
    """Replaces the reader thread that simple-websocket would start. One serves all connections."""

    name = ""

    def start(self) -> None:
        pass


class _NoEvent:
    """Replaces the event that tells simple-websocket's reader of a message; ours needs none."""

    def set(self) -> None:
        pass


_NO_THREAD: Final = _NoThread()
_NO_EVENT: Final = _NoEvent()
_INSTEAD: Final = {"thread_class": lambda target: _NO_THREAD, "event_class": lambda: _NO_EVENT}


class _Nowhere:
    """Replaces simple-websocket's socket after the handshake: the connection answers a Close itself."""

    @staticmethod
    def send(data: bytes) -> None:
        pass


def _nobody(payload: bytes) -> None:
    """The listener after the end."""


class Protocol:
    """What both roles have in common, beside simple-websocket's base. Runs on: the reader thread."""

    ws: Any
    input_buffer: list[str | bytes]
    incoming_message: str | bytes | bytearray | None
    connected: bool
    close_reason: int
    close_message: str | None
    subprotocol: str | None
    _handle_events: Callable[[], bool]

    encode: frames.Encode
    """Encodes one frame as this role sends it."""
    read_text: Callable[[bytes, int, int], tuple[str, int] | None]
    """Decodes the most common frame of the other role without wsproto."""
    response: bytes = b""
    """The server's response to the handshake, to be sent before any frame."""
    headers: Sequence[tuple[str, str]] = ()
    """A client: the headers of the server's response."""
    deflater: Deflater | None = None
    """Compresses messages for the peer, if that was negotiated."""
    inflates: bool = False
    """Whether the peer's messages may be compressed."""
    extensions: str = ""
    """The negotiated extensions, as in the server's response."""

    def begin(self, role: ConnectionType, agreed: Agreement | None, most: int) -> None:
        """Begins the exchange of frames; frees the handshake's state, which takes kilobytes."""
        inflater = None
        if agreed is not None:
            inflater = Inflater(most, keeps_window=agreed.keeps_window)
            self.inflates, self.deflater, self.extensions = True, agreed.deflater, agreed.answer
        self.ws = Frames(role, inflater)
        self.sock = _Nowhere

    def listen(self, on_ping: Callable[[bytes], None], on_pong: Callable[[bytes], None]) -> None:
        """Sets the callbacks for the payloads of pings, which the caller has to answer, and of pongs."""
        self.ws.on_ping = on_ping
        self.ws.on_pong = on_pong

    def forget(self) -> None:
        """Drops the callbacks and the parser, once nothing more is read."""
        self.listen(_nobody, _nobody)
        self.ws.end()

    def feed(self, data: bytes) -> None:
        """Parses bytes of frames; messages are appended to `input_buffer`."""
        self.ws.receive_data(data)
        self.connected = self._handle_events()

    @property
    def peer_closed(self) -> bool:
        """Whether the peer sent a Close, after which nothing needs to be read."""
        return self.ws.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)


class ServerProtocol(Protocol, simple_websocket.Server):  # type: ignore[misc]  # it has no type hints
    """A server's side of a connection, after the handshake with the request in `environ`.

    `inflate_to` is the size limit of an inflated message in bytes; None turns compression off. Raises
    ConnectionClosed (1002) if the request is not a handshake.
    """

    encode = staticmethod(frames.encode)
    read_text = staticmethod(frames.read_text)

    def __init__(
        self,
        environ: Mapping[str, Any],
        subprotocols: Sequence[str] | None = None,
        *,
        inflate_to: int | None = None,
    ) -> None:
        # Server's own constructor answers the request through wsproto, which has h11 write and parse it anew:
        # a fifth of what a new connection costs. It would also inflate without a limit.
        super(simple_websocket.Server, self).__init__(connection_type=ConnectionType.SERVER, **_INSTEAD)
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {_accept_token(environ)}\r\n"
        )
        if subprotocols and (name := _choose(environ, subprotocols)) is not None:
            self.subprotocol = name
            answer += f"Sec-WebSocket-Protocol: {name}\r\n"
        agreed = None
        if inflate_to is not None:
            agreed = accept_offer(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
        if agreed is not None:
            answer += f"Sec-WebSocket-Extensions: {agreed.answer}\r\n"
        self.response = f"{answer}\r\n".encode()
        self.begin(ConnectionType.SERVER, agreed, inflate_to or 0)

    def handshake(self) -> None:
        """Lets simple-websocket believe that the request was answered."""
        self.connected = True


def _accept_token(environ: Mapping[str, Any]) -> str:
    """What Sec-WebSocket-Accept has to be. Raises ConnectionClosed if the request is not a handshake."""
    connection = environ.get("HTTP_CONNECTION", "")
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    problem = ""
    if "websocket" not in _members(environ.get("HTTP_UPGRADE", "").lower()):
        problem = "'Upgrade: websocket' is missing"
    elif "upgrade" not in _members(connection.lower()):
        problem = "'Connection: Upgrade' is missing"
    elif environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
        problem = "'Sec-WebSocket-Version: 13' is missing"
    elif not key:
        problem = "Sec-WebSocket-Key is missing"
    elif not f"{connection}{key}{environ.get(_SUBPROTOCOL, '')}".isascii():
        problem = "a header has letters beyond ASCII"
    if problem:
        raise ConnectionClosed(CloseCode.PROTOCOL_ERROR, f"not a WebSocket handshake: {problem}")
    return generate_accept_token(key.encode()).decode()


def _choose(environ: Mapping[str, Any], ours: Sequence[str]) -> str | None:
    return next((name for name in _members(environ.get(_SUBPROTOCOL, "")) if name in ours), None)


def _members(header: str) -> list[str]:
    return [member.strip() for member in header.split(",")]


class ClientProtocol(Protocol, simple_websocket.Client):  # type: ignore[misc]  # it has no type hints
    """A client's side of a connection, after a handshake that resulted in `subprotocol` and `headers`.

    `agreed` is the negotiated compression, and `inflate_to` the size limit of an inflated message in bytes.
    """

    encode = staticmethod(frames.encode_masked)
    read_text = staticmethod(frames.read_unmasked_text)

    def __init__(
        self,
        subprotocol: str | None = None,
        headers: Headers | None = None,
        *,
        agreed: Agreement | None = None,
        inflate_to: int | None = None,
    ) -> None:
        self._agreed = agreed
        self._inflate_to = inflate_to or 0
        # Client's own constructor looks up the host and connects without a deadline; its parent's does not.
        super(simple_websocket.Client, self).__init__(connection_type=ConnectionType.CLIENT, **_INSTEAD)
        self.subprotocol = subprotocol
        self.headers = headers or []

    def handshake(self) -> None:
        """Begins the exchange of frames; `ClientHandshake` has done the handshake."""
        self.begin(ConnectionType.CLIENT, self._agreed, self._inflate_to)
        self.connected = True
