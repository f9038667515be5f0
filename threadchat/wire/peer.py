"""The properties of a connection that its transport knows: what was agreed, the peer's Close, addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from threadchat.errors import CloseFrame
from threadchat.wire.transport import Socket, Transport


class Peer:
    """The part of a connection that only reads its transport. Runs on: any thread."""

    _transport: Transport

    @property
    def peer_closed(self) -> bool:
        """Whether the peer's Close has arrived. Runs on: any thread."""
        return self._transport.peer_closed

    @property
    def peer_close(self) -> CloseFrame | None:
        """The peer's Close; None until it arrives. Runs on: any thread."""
        return self._transport.peer_close

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was chosen; None without one."""
        return self._transport.protocol.subprotocol

    @property
    def extensions(self) -> str:
        """The extensions that were agreed, as in the server's response."""
        return self._transport.protocol.extensions

    @property
    def response_headers(self) -> Sequence[tuple[str, str]]:
        """A client: the headers of the server's response."""
        return self._transport.protocol.headers

    @property
    def socket(self) -> Socket:
        """The socket, for its options and addresses. Reading or writing breaks the connection."""
        return self._transport.socket

    @property
    def local_address(self) -> Any:
        """Host and port of this side, as `socket.getsockname` returns them; None once it is closed."""
        return self._transport.addresses()[0]

    @property
    def remote_address(self) -> Any:
        """Host and port of the peer, or of the proxy in front of it; None once the socket is closed."""
        return self._transport.addresses()[1]
