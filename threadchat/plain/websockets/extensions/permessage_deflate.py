"""Requests permessage-deflate in an `extensions` option, with the names of `websockets`."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ClientPerMessageDeflateFactory", "ServerPerMessageDeflateFactory"]

_WAY: Final = "compression is negotiated here, and compressed once for all; give compression='deflate'"


class _Factory:
    name = "permessage-deflate"

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | bool | None = None,
        compress_settings: dict[str, Any] | None = None,
    ) -> None:
        """All but `compress_settings` is a wish: what is agreed on is in the response. Raises TypeError."""
        if compress_settings is not None:
            raise TypeError(f"compress_settings={compress_settings!r:.60}: {_WAY}")
        for name, bits in (("server", server_max_window_bits), ("client", client_max_window_bits)):
            if bits is not None and bits is not True and not 8 <= bits <= 15:
                raise ValueError(f"{name}_max_window_bits must be between 8 and 15")
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits


class ServerPerMessageDeflateFactory(_Factory):
    """For `serve(extensions=[...])`."""


class ClientPerMessageDeflateFactory(_Factory):
    """For `connect(extensions=[...])`."""
