"""Probes of websockets.sync: what its documentation says, asked of it and of the namespace in its shape."""

from __future__ import annotations

from typing import Any

from parity_probes import websockets_connections, websockets_handshakes, websockets_values
from parity_probes.probing import Library, Table

TABLE = Table("websockets_sync", "threadchat.plain.websockets", least=200, share=0.95)
_RFC = "what is wrong with a handshake is answered as RFC 6455 4.2.2 and 4.4 have it: 426 and the version for another one"
TABLE.on_purpose = {
    "peer closes: after half a message": "a Close amid a message in fragments is answered by its own code, not by 1002",
    "knock: no version": _RFC,
    "knock: version 8": _RFC,
    "knock: HTTP/1.0": _RFC,
    "answer HTTP/1.0": "a refusal in HTTP/1.0 is an InvalidStatus, with its status",
    "process_request answers 204": "a 204 has no body (RFC 9110 6.4.1)",
    "extensions: no list of factories": "what cannot be an extension is a TypeError; permessage-deflate is the only one",
    "shutdown twice": "`shutdown` returns whether nothing is left; it takes a `timeout`",
    "max_size: of a fragment": "`max_size` of two numbers: the first counts; a message comes whole, also from `recv_streaming`",
    "name frames.Frame": "the Sans-I/O layer (`Frame`, `Protocol`): there is nothing to drive by hand",
    "name protocol.Protocol": "the Sans-I/O layer (`Frame`, `Protocol`): there is nothing to drive by hand",
}
for part in (websockets_values, websockets_connections, websockets_handshakes):
    part.fill(TABLE)


def libraries() -> tuple[Any, Any]:
    """The peer, and ours."""
    return Library("websockets"), Library("threadchat.plain.websockets")
