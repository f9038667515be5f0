"""The limits of one connection: sizes and timeouts."""

from __future__ import annotations

from typing import Final, NamedTuple

from threadchat.wire import outbox as box
from threadchat.wire.transport import MAX_MESSAGE_SIZE
from threadchat.wire.writer import WRITE_TIMEOUT


class Limits(NamedTuple):
    """The limits of one connection in seconds, bytes and messages; see the settings of the same names.

    With `compression`, permessage-deflate (RFC 7692) is negotiated with peers that support it.

    Without a `ping_interval` (None or 0) no pings are sent and no pong is expected. Without a `pong_timeout`
    pings are sent, but a silent peer is never disconnected. Without a
    `message_timeout` a message may begin and never end.
    """

    outbox_messages: int = box.MAX_MESSAGES
    outbox_bytes: int = box.MAX_BYTES
    max_message_size: int = MAX_MESSAGE_SIZE
    send_timeout: float = 3.0
    write_timeout: float = WRITE_TIMEOUT
    ping_interval: float | None = 30.0
    pong_timeout: float | None = 120.0
    message_timeout: float | None = 30.0
    compression: bool = False


DEFAULT_LIMITS: Final = Limits()
