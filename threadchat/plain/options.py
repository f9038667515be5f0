"""Checks the options that serve, connect and accept take, and makes limits of a connection of them."""

from __future__ import annotations

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


def limits(
    *,
    ping_interval: float | None,
    ping_timeout: float | None,
    max_size: int | tuple[int | None, int | None] | None,
    send_timeout: float | None = None,
    outbox_messages: int = MAX_OUT_MESSAGES,
    outbox_bytes: int = MAX_OUT_BYTES,
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
        send_timeout=_DEFAULT.send_timeout if send_timeout is None else send_timeout,
    )


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


def refuse_extensions(compression: str | None, extensions: object) -> None:
    """Extensions are not spoken, which a peer has to bear (RFC 6455 9.1). Raises ConfigError.

    `compression="deflate"`, the default in `websockets`, is taken and not offered.
    """
    if compression not in (None, "deflate"):
        raise ConfigError(f"compression={compression!r}: must be None; messages are sent as they are")
    if extensions:
        raise ConfigError("extensions: there are none here; leave the option out")
