"""simple-websocket's state machine of either role, fed by hand; its only importer, and wsproto's handshake.

No I/O happens here: bytes go in, messages come out, and what is to be sent is left to the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import simple_websocket
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.extensions import Extension
from wsproto.utilities import ProtocolError, RemoteProtocolError

from threadchat.errors import CannotConnect, CloseCode, ConnectionClosed, HandshakeRefused
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.deflate import Deflater, Inflater
from threadchat.wire.protocol.extensions import NAME, WISH, Agreement, accept_offer, judge_answer
from threadchat.wire.protocol.parser import Frames, retire

Headers = list[tuple[str, str]]

MAX_BODY: Final = 64 << 10
"""Bytes of a refusal's body that are kept: enough to read what is wrong."""
_HANDSHAKE_HEADERS: Final = (
    # All that wsproto needs. Not Sec-WebSocket-Extensions: simple-websocket would accept
    # permessage-deflate, whose inflation has no bound.
    "HTTP_CONNECTION",
    "HTTP_UPGRADE",
    "HTTP_SEC_WEBSOCKET_KEY",
    "HTTP_SEC_WEBSOCKET_VERSION",
    "HTTP_SEC_WEBSOCKET_PROTOCOL",
)


class _NoThread:
    """simple-websocket starts a reader of its own; ours calls it instead."""

    name = ""

    def __init__(self, target: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass


class _NoEvent:
    """simple-websocket tells its waiting reader that a message came; ours looks by itself."""

    def set(self) -> None:
        pass


class _Captured:
    """The socket that simple-websocket holds: keeps what it was last told to send."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> None:
        self.data = data


class _Nowhere:
    """The socket after the handshake: simple-websocket's answer to a Close is the connection's to give."""

    @staticmethod
    def send(data: bytes) -> None:
        pass


def _nobody(payload: bytes) -> None:
    """Who listens after the end."""


class Protocol:
    """What both roles have in common, laid over simple-websocket's classes. Runs on: the reader thread."""

    ws: Any
    input_buffer: list[str | bytes]
    incoming_message: str | bytes | bytearray | None
    connected: bool
    close_reason: int
    close_message: str | None
    subprotocol: str | None
    _handle_events: Callable[[], bool]

    encode: frames.Encode
    """One frame as this role sends it."""
    read_text: Callable[[bytes, int, int], tuple[str, int] | None]
    """The short way for the commonest frame that the other role sends."""
    response: bytes = b""
    """What is to be sent before any frame: a server's part of the handshake."""
    headers: Sequence[tuple[str, str]] = ()
    """The headers of the server's response, to a client."""
    deflater: Deflater | None = None
    """What compresses messages for the peer, where that was agreed on."""
    inflates: bool = False
    """Whether the peer's messages may be compressed."""
    extensions: str = ""
    """What was agreed on, in the words of the server's response."""

    def begin(self, role: ConnectionType, agreed: Agreement | None, most: int) -> None:
        """The handshake is over, and h11's state is kilobytes: from here on the frames' half is enough."""
        inflater = None
        if agreed is not None:
            inflater = Inflater(most, keeps_window=agreed.keeps_window)
            self.inflates, self.deflater, self.extensions = True, agreed.deflater, agreed.answer
        self.ws = Frames(role, inflater)
        self.sock = _Nowhere

    def listen(self, on_ping: Callable[[bytes], None], on_pong: Callable[[bytes], None]) -> None:
        """Says who gets the payloads of pings, each of which is owed a pong, and of pongs."""
        self.ws.on_ping = on_ping
        self.ws.on_pong = on_pong

    def forget(self) -> None:
        """Lets go of who listened, once nothing is read any more."""
        self.listen(_nobody, _nobody)
        self.ws.end()

    def feed(self, data: bytes) -> None:
        """Takes bytes of frames; messages go to `input_buffer`."""
        self.ws.receive_data(data)
        self.connected = self._handle_events()

    @property
    def peer_closed(self) -> bool:
        """Whether the peer sent a Close: nothing follows that is worth reading."""
        return self.ws.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)


class ServerProtocol(Protocol, simple_websocket.Server):  # type: ignore[misc]  # it has no type hints
    """A server's half of a connection, after the handshake that `environ` asks for.

    `inflate_to`: bytes that a compressed message may become; None for no compression. Raises ConnectionClosed
    (1002) where the request is no handshake.
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
        headers: dict[str, Any] = {name: environ[name] for name in _HANDSHAKE_HEADERS if name in environ}
        headers["HTTP_HOST"] = "localhost"  # judged already; wsproto would stumble over an odd one
        if "websocket" in [token.strip().lower() for token in headers.get("HTTP_UPGRADE", "").split(",")]:
            headers["HTTP_UPGRADE"] = "websocket"  # wsproto takes no list here, RFC 9110 7.8 does
        headers["werkzeug.socket"] = captured = _Captured()
        try:
            super().__init__(headers, subprotocols, thread_class=_NoThread, event_class=_NoEvent)
        except (ProtocolError, UnicodeError) as error:  # wsproto decodes headers as ASCII
            raise ConnectionClosed(CloseCode.PROTOCOL_ERROR, f"no WebSocket handshake: {error}") from error
        self.response = captured.data
        agreed = None
        if inflate_to is not None:
            agreed = accept_offer(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
        if agreed is not None:
            line = f"Sec-WebSocket-Extensions: {agreed.answer}\r\n\r\n"
            self.response = self.response[: -len("\r\n")] + line.encode()
        retire(self.ws)
        self.begin(ConnectionType.SERVER, agreed, inflate_to or 0)


class ClientProtocol(Protocol, simple_websocket.Client):  # type: ignore[misc]  # it has no type hints
    """A client's half of a connection, after a handshake that ended with `subprotocol` and `headers`.

    `agreed` is what it ended with for compression, and `inflate_to` the bytes that a message may become.
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
        # Its own constructor looks up the host and connects, without a deadline; its parent's does not.
        super(simple_websocket.Client, self).__init__(
            connection_type=ConnectionType.CLIENT, thread_class=_NoThread, event_class=_NoEvent
        )
        self.subprotocol = subprotocol
        self.headers = headers or []

    def handshake(self) -> None:
        """It was done already: see ClientHandshake."""
        self.begin(ConnectionType.CLIENT, self._agreed, self._inflate_to)
        self.connected = True


class _Offer(Extension):
    """permessage-deflate in a client's handshake, and what the server makes of it."""

    name = NAME
    agreed: Agreement | None = None

    def offer(self) -> str:
        return WISH

    def finalize(self, offer: str) -> None:
        """The server's answer. Raises wsproto's error for one that is none, or a second one."""
        if self.agreed is not None:
            raise RemoteProtocolError(f"{self.name} is there twice")
        try:
            self.agreed = judge_answer(offer)
        except ValueError as error:
            raise RemoteProtocolError(str(error)) from error


class ClientHandshake:
    """A client's opening handshake (RFC 6455 4.1): the request, then whatever the server answers.

    With `inflate_to`, bytes, compression is offered; else no extension is, and none may be in the answer.
    """

    def __init__(
        self,
        host: str,
        target: str,
        headers: Headers,
        subprotocols: Sequence[str],
        *,
        inflate_to: int | None = None,
    ) -> None:
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._inflate_to = inflate_to
        self._offers = [] if inflate_to is None else [_Offer()]
        self._refusal: RejectConnection | None = None
        self._body = bytearray()
        extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.request: bytes = self._ws.send(
            Request(
                host=host,
                target=target,
                extensions=list(self._offers),
                extra_headers=extra,
                subprotocols=list(subprotocols),
            )
        )

    def receive(self, data: bytes) -> ClientProtocol | None:
        """Takes a piece of the answer, the head first and whole; returns the protocol that a yes leads to.

        Raises HandshakeRefused at the end of any other answer, CannotConnect where it is wrong.
        """
        try:
            self._ws.receive_data(data)
            events = list(self._ws.events())
        except (ProtocolError, UnicodeError) as error:
            if self._refusal is not None:  # what is wrong is only its body
                self.end()
            raise CannotConnect(f"the server's answer is no WebSocket handshake: {error}") from error
        for event in events:
            if isinstance(event, AcceptConnection):
                retire(self._ws)
                return ClientProtocol(
                    event.subprotocol,
                    _as_text(event.extra_headers),
                    agreed=self._offers[0].agreed if self._offers else None,
                    inflate_to=self._inflate_to,
                )
            if isinstance(event, RejectConnection):
                self._refusal = event
                if not event.has_body:
                    self.end()
            elif isinstance(event, RejectData):
                self._body += event.data
                if event.body_finished or len(self._body) >= MAX_BODY:
                    self.end()
        return None

    def end(self) -> NoReturn:
        """No more will come: raises HandshakeRefused with what is there."""
        if self._refusal is None:
            raise CannotConnect("the server ended the connection before it answered the handshake")
        body = bytes(self._body[:MAX_BODY]).decode(errors="replace")
        raise HandshakeRefused(self._refusal.status_code, _as_text(self._refusal.headers), body)


def _as_text(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
