"""What a connection knows of its peer: whether it has closed, and the addresses of both ends."""

from __future__ import annotations

from typing import Any

from threadchat.errors import CloseFrame
from threadchat.wire.transport import Socket, Transport


class Peer:
    """The part of a connection that only looks at its transport. Runs on: any thread."""

    _transport: Transport

    @property
    def peer_closed(self) -> bool:
        """Whether a Close of the peer has come. Runs on: any thread."""
        return self._transport.peer_closed

    @property
    def peer_close(self) -> CloseFrame | None:
        """What the Close of the peer said; None where there was none. Runs on: any thread."""
        return self._transport.peer_close

    @property
    def socket(self) -> Socket:
        """For its options and addresses; whoever reads or writes on it breaks the connection."""
        return self._transport.socket

    @property
    def local_address(self) -> Any:
        """Host and port of this side, as of `socket.getsockname`; None once the socket is gone."""
        return self._transport.addresses()[0]

    @property
    def remote_address(self) -> Any:
        """Host and port of the peer, or of the proxy it came through; None once the socket is gone."""
        return self._transport.addresses()[1]
