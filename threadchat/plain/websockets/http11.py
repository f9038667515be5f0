"""The request and the response of a handshake, by the names of `websockets.http11`."""

from __future__ import annotations

from threadchat.plain.http import SOFTWARE, Request, Response

__all__ = ["SERVER", "USER_AGENT", "Request", "Response"]

SERVER = USER_AGENT = SOFTWARE
"""What a server and a client of this package call themselves."""
