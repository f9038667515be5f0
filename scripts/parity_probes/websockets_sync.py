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
_LOW_LEVEL = "the Sans-I/O layer (`Frame`, `Protocol`): there is nothing to drive by hand"
_RFC = (
    "what is wrong with a handshake is answered as RFC 6455 4.2.2 and 4.4 have it: 426 and the version, "
    "where another one was asked for"
)
_WHOLE = (
    "a message comes whole, also from `recv_streaming`, and of two numbers for `max_size` the first counts"
)
_FACTORIES = "what cannot be an extension is a TypeError; permessage-deflate is the only one"
TABLE.on_purpose = {
    "name frames.Frame": _LOW_LEVEL,
    "name protocol.Protocol": _LOW_LEVEL,
    "peer closes: after half a message": (
        "a Close amid a message in fragments is answered by its own code, not by 1002"
    ),
    "a peer that answers no ping": (
        "a peer that is silent for `ping_interval` and `ping_timeout` together ends with 3012, not with 1011"
    ),
    "ping: seventeen that wait": "at most 16 pings of a connection are unanswered; the next is TooManyPings",
    "send: a peer that takes nothing": (
        "`send` waits 3 s (`send_timeout`) for a peer that takes nothing, not for ever: then the connection "
        "ends (3008)"
    ),
    "knock: no version": _RFC,
    "knock: version 8": _RFC,
    "knock: HTTP/1.0": _RFC,
    "answer HTTP/1.0": "a refusal in HTTP/1.0 is an InvalidStatus, with its status",
    "process_request answers 204": "a 204 has no body (RFC 9110 6.4.1)",
    "extensions: no list of factories": _FACTORIES,
    "extensions: compress_settings": (
        "`compress_settings` is a TypeError: a message is compressed once for all, with settings for that"
    ),
    "proxy by TLS": "a proxy is spoken to without TLS; connect by yourself, and give `connect(sock=...)`",
    "shutdown twice": "`shutdown` returns whether nothing is left; it takes a `timeout`",
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
