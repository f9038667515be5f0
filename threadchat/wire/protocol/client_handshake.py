"""A client's opening handshake (RFC 6455 section 4.1), built on wsproto. No I/O happens here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.extensions import Extension
from wsproto.utilities import ProtocolError, RemoteProtocolError

from threadchat.errors import CannotConnect, HandshakeRefused
from threadchat.wire.protocol.extensions import NAME, OFFER, Agreement, read_answer
from threadchat.wire.protocol.parser import retire
from threadchat.wire.protocol.state_machine import ClientProtocol, Headers

MAX_BODY: Final = 64 << 10
"""Bytes of a refusal's body that are kept, enough for an explanation."""


class _Offer(Extension):
    """permessage-deflate in a client's handshake: the offer and the server's answer."""

    name = NAME
    agreed: Agreement | None = None

    def offer(self) -> str:
        return OFFER

    def finalize(self, offer: str) -> None:
        """Reads the server's answer. Raises wsproto's error if it is invalid or a second one."""
        if self.agreed is not None:
            raise RemoteProtocolError(f"{self.name} is in the answer twice")
        try:
            self.agreed = read_answer(offer)
        except ValueError as error:
            raise RemoteProtocolError(str(error)) from error


class ClientHandshake:
    """A client's opening handshake (RFC 6455 4.1): the request and the server's answer.

    Compression is offered if `inflate_to` is a number of bytes; if it is None, no extension is offered.
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
        """Parses a part of the answer, first the complete head; returns the protocol if the server accepted.

        Raises HandshakeRefused at the end of any other answer, and CannotConnect for an invalid one.
        """
        try:
            self._ws.receive_data(data)
            events = list(self._ws.events())
        except (ProtocolError, UnicodeError) as error:
            if self._refusal is not None:  # only the body is invalid
                self.end()
            raise CannotConnect(f"the server's answer is not a WebSocket handshake: {error}") from error
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
        """Ends the handshake without a connection: raises HandshakeRefused with what has arrived."""
        if self._refusal is None:
            raise CannotConnect("the server ended the connection before it answered the handshake")
        body = bytes(self._body[:MAX_BODY]).decode(errors="replace")
        raise HandshakeRefused(self._refusal.status_code, _as_text(self._refusal.headers), body)


def _as_text(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
