"""Checks the options that serve, connect and accept take, and makes limits of a connection of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple

from threadchat.errors import ConfigError
from threadchat.plain.inbox import MAX_MESSAGES, Inbox
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
    """The TLS of a program that made its own context, and changes it by itself."""

    context: ssl.SSLContext

    def reload(self) -> bool:
        """There is nothing to be read again."""
        return True


class Terms(NamedTuple):
    """What holds for the connections that one call of serve or connect opens."""

    limits: Limits
    open_timeout: float
    close_timeout: float | None
    make_inbox: Callable[[], Inbox]


def terms(
    *,
    compression: str | None,
    open_timeout: float | None,
    ping_interval: float | None,
    ping_timeout: float | None,
    close_timeout: float | None,
    send_timeout: float | None,
    max_size: int | tuple[int | None, int | None] | None,
    max_queue: int | tuple[int | None, int | None] | None,
    outbox_messages: int,
    outbox_bytes: int,
) -> Terms:
    """The options that serve and connect have in common. Raises ConfigError, which says what is right."""
    if compression not in (None, "deflate"):
        raise ConfigError(f"compression={compression!r}: must be 'deflate', or None for messages as they are")
    patience = positive("open_timeout", open_timeout)
    found = limits(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_size=max_size,
        send_timeout=send_timeout,
        outbox_messages=outbox_messages,
        outbox_bytes=outbox_bytes,
        compression=compression is not None,
    )
    inbox(max_queue)
    return Terms(
        found,
        NEVER if patience is None else patience,
        positive("close_timeout", close_timeout),
        lambda: inbox(max_queue),
    )


def limits(
    *,
    ping_interval: float | None,
    ping_timeout: float | None,
    max_size: int | tuple[int | None, int | None] | None,
    send_timeout: float | None = None,
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
    positive("send_timeout", send_timeout)
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
        send_timeout=_DEFAULT.send_timeout if send_timeout is None else send_timeout,
        compression=compression,
    )


def server_tls(context: ssl.SSLContext | None) -> GivenContext | None:
    """What `serve(ssl=...)` means. Raises ConfigError for what no server can use."""
    if context is None:
        return None
    if not isinstance(context, ssl.SSLContext):
        raise ConfigError(f"ssl={context!r:.60}: must be an ssl.SSLContext, or None for plain TCP")
    if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ConfigError("ssl: this context is for clients; make it with ssl.PROTOCOL_TLS_SERVER")
    return GivenContext(context)


def positive(name: str, seconds: float | None) -> float | None:
    """`seconds` as they are. Raises ConfigError for none, for fewer, and for what is no number."""
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"{name}={seconds}: must be above 0 seconds, or None")
    return seconds


def inbox(max_queue: int | tuple[int | None, int | None] | None = MAX_MESSAGES) -> Inbox:
    """An inbox of `max_queue` messages, or of the higher mark of two. Raises ConfigError."""
    most = max_queue[0] if isinstance(max_queue, tuple) else max_queue
    if most is None or most < 1:
        raise ConfigError(
            f"max_queue={max_queue}: must be a number of messages, at least 1; none is unlimited"
        )
    return Inbox(most)
