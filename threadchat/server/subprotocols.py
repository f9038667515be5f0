"""Chooses a handshake's subprotocol, and finds the token that a browser can show in no other way; no I/O."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

HEADER: Final = "HTTP_SEC_WEBSOCKET_PROTOCOL"
"""The header's name in an environ. What it offers may be a secret, so it is never logged."""

_BEARER: Final = "bearer"


class Choice(NamedTuple):
    """What an offer comes to. `name` is empty where none is spoken; `token` is None where none was shown."""

    name: str = ""
    token: str | None = None


def choose(environ: dict[str, Any], accepted: Collection[str]) -> Choice:
    """The first subprotocol offered that is `accepted`, else `bearer` if it is offered.

    `bearer` says that what follows it is a token: `new WebSocket(url, ["bearer", token])`. A page cannot set
    Authorization.
    """
    offered = [name.strip(" \t") for name in environ.get(HEADER, "").split(",")]
    at = next((place for place, name in enumerate(offered) if name.lower() == _BEARER), None)
    if at is None:
        return Choice(next((name for name in offered if name in accepted), ""))
    token = offered.pop(at + 1) if at + 1 < len(offered) else ""
    return Choice(next((name for name in offered if name in accepted), offered[at]), token)
