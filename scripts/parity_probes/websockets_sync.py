"""Probes of websockets.sync: what its documentation says, asked of it and of the namespace in its shape."""

from __future__ import annotations

from typing import Any

from parity_probes import (
    websockets_connecting,
    websockets_connections,
    websockets_handshakes,
    websockets_serving,
    websockets_values,
)
from parity_probes.probing import Library, Table

TABLE = Table("websockets_sync", "threadchat.plain.websockets", least=200, share=0.95)
_LOW_LEVEL = "there is no Sans-I/O layer (`Frame`, `Protocol`)"
_RFC = (
    "an invalid handshake is answered as in RFC 6455 4.2.2 and 4.4: "
    "a wrong version gets 426 and the right one"
)
_WHOLE = "`recv_streaming` yields a message in one piece, and the first of two numbers for `max_size` counts"
_FACTORIES = "permessage-deflate is the only extension; others raise TypeError"
TABLE.on_purpose = {
    "name frames.Frame": _LOW_LEVEL,
    "name protocol.Protocol": _LOW_LEVEL,
    "peer closes: after half a message": (
        "a Close within a fragmented message is answered with its own code, not with 1002"
    ),
    "a peer that answers no ping": (
        "a peer that is silent for `ping_interval` and `ping_timeout` together ends with 3012, not with 1011"
    ),
    "ping: seventeen that wait": (
        "at most 16 pings of a connection may be unanswered; the next one raises TooManyPings"
    ),
    "send: a peer that takes nothing": (
        "if a peer reads nothing, `send` waits for 3 s (`send_timeout`), "
        "and then the connection is closed (3008)"
    ),
    "knock: no version": _RFC,
    "knock: version 8": _RFC,
    "knock: HTTP/1.0": _RFC,
    "answer HTTP/1.0": "a refusal in HTTP/1.0 raises InvalidStatus, which has the status",
    "process_request answers 204": "a 204 has no body (RFC 9110 6.4.1)",
    "extensions: no list of factories": _FACTORIES,
    "extensions: compress_settings": (
        "`compress_settings` raises TypeError, because a message is compressed once for all peers"
    ),
    "proxy by TLS": "connections to a proxy do not use TLS; to use it, pass a socket: `connect(sock=...)`",
    "shutdown twice": "`shutdown` has a `timeout`, and returns whether everything has ended",
    "a message in two fragments": _WHOLE,
    "max_size: of a fragment": _WHOLE,
}
for part in (
    websockets_values,
    websockets_connections,
    websockets_handshakes,
    websockets_connecting,
    websockets_serving,
):
    part.fill(TABLE)


def libraries() -> tuple[Any, Any]:
    """The peer, and ours."""
    return Library("websockets"), Library("threadchat.plain.websockets")
