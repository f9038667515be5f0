"""Chooses the subprotocol of a handshake, and finds the token that may come with it; no I/O."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

HEADER: Final = "HTTP_SEC_WEBSOCKET_PROTOCOL"
"""The header's name in an environ. Its value may hold a token, so it is never logged."""

_BEARER: Final = "bearer"


class Choice(NamedTuple):
    """The choice from an offer. `name` is empty for no subprotocol; `token` is None if there was none."""

    name: str = ""
    token: str | None = None


_NOTHING_OFFERED: Final = Choice()


def choose(environ: dict[str, Any], accepted: Collection[str]) -> Choice:
    """Chooses the first offered subprotocol that is `accepted`, else `bearer` if it is offered.

    The item after `bearer` is a token: `new WebSocket(url, ["bearer", token])`. A page needs this because it
    cannot set the Authorization header of a WebSocket.
    """
    if HEADER not in environ:
        return _NOTHING_OFFERED
    offered = [name.strip(" \t") for name in environ[HEADER].split(",")]
    at = next((place for place, name in enumerate(offered) if name.lower() == _BEARER), None)
    if at is None:
        return Choice(next((name for name in offered if name in accepted), ""))
    token = offered.pop(at + 1) if at + 1 < len(offered) else ""
    return Choice(next((name for name in offered if name in accepted), offered[at]), token)
