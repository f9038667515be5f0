"""Checks the options of serve, connect and accept, and makes a connection's limits of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypedDict

from threadchat.errors import ConfigError
from threadchat.plain.receive_queue import MAX_MESSAGES, ReceiveQueue
from threadchat.wire.limits import Limits
from threadchat.wire.outbox import MAX_BYTES as MAX_OUT_BYTES
from threadchat.wire.outbox import MAX_MESSAGES as MAX_OUT_MESSAGES

MAX_SIZE = 1 << 20
"""Bytes of the largest message that is taken, unless somebody says otherwise; as in `websockets`."""
UNLIMITED = 1 << 62
"""Bytes: more than a frame can declare, less than a number that would be an error (RFC 6455 5.2)."""
NEVER = 20 * 86_400.0
"""Seconds: what a caller means who wants no timeout. More milliseconds do not fit into an int."""
_DEFAULT = Limits()


class GivenContext(NamedTuple):
    """A TLS context that the program made, and changes itself."""

    context: ssl.SSLContext

    def reload(self) -> bool:
        """Does nothing: the program reloads its context itself."""
        return True


class Options(TypedDict, total=False):
    """Options that serve and connect share. Times are in seconds, sizes in bytes; None means no limit.

    - `compression`: "deflate" for permessage-deflate (RFC 7692) with peers that support it. Messages of 128
      bytes and more are compressed, each once for all peers that `broadcast` sends it to. `max_size` limits
      the inflated messages of the peer. None (the default) sends messages as they are. `extensions` means
      the same, with the factories of `threadchat.plain.websockets.extensions.permessage_deflate`.
    - `open_timeout` (10): for TCP, TLS and handshake together.
    - `ping_interval`, `ping_timeout` (20 each): a peer that is silent for both together is gone (3012). The
      time in which the receive queue is full does not count.
    - `close_timeout` (10): for waiting messages, our Close and the peer's answer together.
    - `send_timeout` (3): how long the peer's socket may accept no byte while a `send` waits for room (3008).
    - `write_timeout` (10): time in which a full socket must accept 6,400 bytes for each second of it (3009).
    - `max_size` (1 MiB): larger messages are refused (1009). Of two numbers, the first counts.
    - `max_queue` (16): messages that may wait for `recv`; two numbers are a high and a low mark.
    - `outbox_messages`, `outbox_bytes` (100, 1 MiB): what may wait for the peer.
    """

    compression: str | None
    extensions: Sequence[Any] | None
    open_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float | None
    send_timeout: float | None
    write_timeout: float | None
    max_size: int | tuple[int | None, int | None] | None
    max_queue: int | tuple[int | None, int | None] | None
    outbox_messages: int
    outbox_bytes: int


LEFT_OUT: Final = {
    "proxy_ssl": "a proxy is spoken to without TLS; connect by yourself, and give connect(sock=...)",
    "proxy_server_hostname": "a proxy is spoken to without TLS; connect yourself, and give connect(sock=...)",
    "dualstack_ipv6": "give serve(sock=socket.create_server(..., dualstack_ipv6=True))",
    "thread_class": "each connection has its own threads already; there is nothing to choose",
    "event_class": "each connection has its own threads already; there is nothing to choose",
    "selector_class": "each connection has its own threads already; there is nothing to choose",
}
"""Options of the libraries whose shapes these are which have no meaning here, and what to do instead."""


def refuse_unknown(where: str, named: Iterable[str]) -> None:
    """Raises TypeError for an unknown option; the message says what to use instead."""
    for name in named:
        way = f"; {LEFT_OUT[name]}" if name in LEFT_OUT else ""
        raise TypeError(f"{where}() got an unexpected keyword argument {name!r}{way}")


class Terms(NamedTuple):
    """The settings of all connections that one call of serve or connect opens."""

    limits: Limits
    open_timeout: float
    close_timeout: float | None
    make_receive_queue: Callable[[], ReceiveQueue]


def terms(where: str, given: Options) -> Terms:
    """Interprets options. Raises ConfigError for an invalid one and TypeError for an unknown one."""
    refuse_unknown(where, given.keys() - Options.__annotations__.keys())
    patience = positive("open_timeout", given.get("open_timeout", 10.0))
    max_queue = given.get("max_queue", MAX_MESSAGES)
    receive_queue(max_queue)
    return Terms(
        limits(
            ping_interval=given.get("ping_interval", 20.0),
            ping_timeout=given.get("ping_timeout", 20.0),
            max_size=given.get("max_size", MAX_SIZE),
            send_timeout=given.get("send_timeout"),
            write_timeout=given.get("write_timeout"),
            outbox_messages=given.get("outbox_messages", MAX_OUT_MESSAGES),
            outbox_bytes=given.get("outbox_bytes", MAX_OUT_BYTES),
            compression=_compresses(given.get("compression"), given.get("extensions")),
        ),
        NEVER if patience is None else patience,
        positive("close_timeout", given.get("close_timeout", 10.0)),
        lambda: receive_queue(max_queue),
    )


def limits(
    *,
    ping_interval: float | None,
    ping_timeout: float | None,
    max_size: int | tuple[int | None, int | None] | None,
    send_timeout: float | None = None,
    write_timeout: float | None = None,
    outbox_messages: int = MAX_OUT_MESSAGES,
    outbox_bytes: int = MAX_OUT_BYTES,
    compression: bool = False,
) -> Limits:
    """Raises ConfigError, which says what would be right."""
    if isinstance(max_size, tuple):
        max_size = max_size[0]  # the second limits fragments: there are none that anybody sees
    if max_size is not None and max_size < 1:
        raise ConfigError(f"max_size={max_size}: must be at least 1 byte, or None for no limit")
    silence = None
    if positive("ping_interval", ping_interval) and positive("ping_timeout", ping_timeout):
        assert ping_interval is not None
        assert ping_timeout is not None
        silence = ping_interval + ping_timeout
    for name, bound, least in (("outbox_messages", outbox_messages, 4), ("outbox_bytes", outbox_bytes, 1024)):
        if bound < least:
            raise ConfigError(f"{name}={bound}: must be at least {least}; none is unlimited")
    return Limits(
        outbox_messages=outbox_messages,
        outbox_bytes=outbox_bytes,
        max_message_size=UNLIMITED if max_size is None else max_size,
        ping_interval=ping_interval,
        pong_timeout=silence,
        message_timeout=None,  # whoever streams fragments may take as long as they like
        send_timeout=positive("send_timeout", send_timeout) or _DEFAULT.send_timeout,
        write_timeout=positive("write_timeout", write_timeout) or _DEFAULT.write_timeout,
        compression=compression,
    )


def _compresses(compression: str | None, extensions: Sequence[Any] | None) -> bool:
    if compression not in (None, "deflate"):
        raise ConfigError(f"compression={compression!r}: must be 'deflate', or None for messages as they are")
    for extension in extensions or ():
        if getattr(extension, "name", None) != "permessage-deflate":
            raise TypeError(
                f"extensions: {extension!r:.60} cannot be used; permessage-deflate is the only one"
            )
    return compression is not None or bool(extensions)


def server_tls(context: ssl.SSLContext | None) -> GivenContext | None:
    """Interprets `serve(ssl=...)`. Raises ConfigError for a context that a server cannot use."""
    if context is None:
        return None
    if not isinstance(context, ssl.SSLContext):
        raise ConfigError(f"ssl={context!r:.60}: must be an ssl.SSLContext, or None for plain TCP")
    if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ConfigError("ssl: this context is for clients; make it with ssl.PROTOCOL_TLS_SERVER")
    return GivenContext(context)


def positive(name: str, seconds: float | None) -> float | None:
    """Returns `seconds`. Raises ConfigError if they are not a number above 0."""
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"{name}={seconds}: must be above 0 seconds, or None")
    return seconds


def receive_queue(max_queue: int | tuple[int | None, int | None] | None = MAX_MESSAGES) -> ReceiveQueue:
    """Makes a queue of `max_queue` messages, or with a high and a low mark. Raises ConfigError."""
    high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, None)
    if high is None:
        return ReceiveQueue(UNLIMITED, UNLIMITED)
    if high < 1 or (low is not None and not 0 <= low < high):
        raise ConfigError(f"max_queue={max_queue}: must be a number of messages, at least 1, or None")
    return ReceiveQueue(high, low_messages=low)
