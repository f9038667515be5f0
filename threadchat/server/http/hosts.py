"""Judges the host name of a request: a page whose name was pointed at this machine finds nothing here."""

from __future__ import annotations

from typing import Any

from threadchat.server.http.connection import HANDOVER
from threadchat.server.http.handshake import Refusal
from threadchat.server.http.proxies import PEER, Proxies, bare_host, is_loopback


class Hosts:
    """The host names that a server answers to, by the setting `allow_host`.

    DNS rebinding: a page of evil.example has its own name resolved to 127.0.0.1, and then asks the chat of
    whoever looks at it, as one of the same origin. What gives it away is the header Host. Without the setting
    only loopback names are answered by a server that listens on a loopback address, except to a trusted
    proxy; elsewhere every name is. Immutable, so every method runs on any thread.
    """

    def __init__(self, allowed: str = "", own: str = "", proxies: Proxies | None = None) -> None:
        """`allowed`: names with commas between them, `*.` before one for all below it, or `*` alone.

        `own` is the name or address that the server was told to listen on.
        """
        names = [bare_host(name) for name in allowed.split(",") if name.strip()]
        self._any = "*" in names
        self._names = frozenset(names)
        self._below = tuple(name[1:] for name in names if name.startswith("*."))
        self._own = bare_host(own)
        self._proxies = proxies or Proxies()

    def refuse(self, environ: dict[str, Any]) -> Refusal | None:
        """Why a request is not for this server; None where it is. A request without Host is no browser's."""
        name = bare_host(environ.get("HTTP_HOST", ""))
        if not name or self._any or is_loopback(name) or self._knows(name):
            return None
        if not self._names and not self._guards_loopback(environ, name):
            return None
        return Refusal(
            "403 Forbidden",
            "This server does not answer to that host name; to allow it, add the name to allow_host.",
        )

    def _knows(self, name: str) -> bool:
        return name in self._names or name.endswith(self._below)

    def _guards_loopback(self, environ: dict[str, Any], name: str) -> bool:
        """Whether only loopback names are right: by nobody's choice, at an address for this machine alone."""
        return (
            HANDOVER in environ  # else another server listens, and SERVER_NAME is anything
            and is_loopback(environ["SERVER_NAME"])
            and name != self._own
            and not self._proxies.trusts(environ.get(PEER, ""))
        )
