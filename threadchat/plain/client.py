"""Connects to a WebSocket server, in the shape of `websockets.sync.client.connect`."""

from __future__ import annotations

import ssl as tls
from collections.abc import Iterable, Mapping, Sequence

from threadchat.errors import ConfigError
from threadchat.plain import options
from threadchat.plain.connection import WebSocket
from threadchat.plain.http import Headers, Request, Response
from threadchat.plain.receive_queue import MAX_MESSAGES
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.connecting.dial import dial
from threadchat.wire.outbox import MAX_BYTES as MAX_OUT_BYTES
from threadchat.wire.outbox import MAX_MESSAGES as MAX_OUT_MESSAGES


class ClientConnection(WebSocket):
    """The client's side of a connection."""


def connect(
    url: str,
    *,
    ssl: tls.SSLContext | None = None,
    origin: str | None = None,
    subprotocols: Sequence[str] | None = None,
    compression: str | None = None,
    additional_headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    user_agent_header: str | None = None,
    proxy: None = None,
    open_timeout: float | None = 10.0,
    ping_interval: float | None = 20.0,
    ping_timeout: float | None = 20.0,
    close_timeout: float | None = 10.0,
    send_timeout: float | None = None,
    max_size: int | tuple[int | None, int | None] | None = options.MAX_SIZE,
    max_queue: int | tuple[int | None, int | None] | None = MAX_MESSAGES,
    outbox_messages: int = MAX_OUT_MESSAGES,
    outbox_bytes: int = MAX_OUT_BYTES,
    cancellation: Cancellation | None = None,
) -> ClientConnection:
    """Connects to a `ws://` or `wss://` address, and returns the open connection: `with connect(url) as ws:`.

    Timeouts are in seconds, None for none, and sizes in bytes. `open_timeout`: for TCP, TLS and handshake
    together. `ping_interval`, `ping_timeout`: a peer that was silent for both together is gone (3012).
    `close_timeout`: what waits may take so long to leave at the close. `send_timeout` (3 s): see `send`.
    `max_size`: larger messages are refused (1009). `max_queue`: messages received ahead of `recv`.
    `outbox_messages`, `outbox_bytes`: what may wait for the peer (100, 1 MiB).
    `ssl`: the context of a `wss://` address, `ssl.create_default_context()` where it is None.

    `compression="deflate"` offers permessage-deflate (RFC 7692), by which messages of 128 bytes and more get
    smaller; `max_size` then is for what they become. `cancellation.cancel()`, of
    `threadchat.wire.connecting.cancellation`, has another thread end the attempt.

    Otherwise than in `websockets`, compression has to be asked for, proxies are not supported, and redirects
    are not followed.

    Runs on: any thread. Raises BadUrl, HandshakeRefused (`status`, `headers`, `body`), ConnectTimeout, and
    CannotConnect, which is a ConnectionError, for the rest; ConfigError for an option that cannot be used.
    """
    if proxy is not None:
        raise ConfigError(f"proxy={proxy!r}: proxies are not supported; connect to the server itself")
    headers = _headers(additional_headers, origin, user_agent_header)
    terms = options.terms(
        compression=compression,
        open_timeout=open_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        send_timeout=send_timeout,
        max_size=max_size,
        max_queue=max_queue,
        outbox_messages=outbox_messages,
        outbox_bytes=outbox_bytes,
    )
    threaded = ThreadedConnection(
        lambda slot, on_gone: dial(
            url,
            turnstile=slot.turnstile,
            pinger=slot.pinger,
            limits=terms.limits,
            number=slot.number,
            subprotocols=subprotocols,
            headers=headers,
            timeout=terms.open_timeout,
            ssl_context=ssl,
            on_gone=on_gone,
            cancellation=cancellation,
        ),
        terms.make_receive_queue(),
        masks=True,
        flush_timeout=terms.close_timeout,
    )
    connection = ClientConnection(Request.of_url(url, Headers(headers)))
    connection.response = Response(101, "Switching Protocols", Headers(threaded.connection.response_headers))
    connection.begin(threaded)
    return connection


def _headers(
    given: Mapping[str, str] | Iterable[tuple[str, str]] | None, origin: str | None, user_agent: str | None
) -> list[tuple[str, str]]:
    headers = list(given.items() if isinstance(given, Mapping) else given or ())
    if origin is not None:
        headers.append(("Origin", origin))
    if user_agent is not None:
        headers.append(("User-Agent", user_agent))
    return headers
