"""The requests that may be put on an outbox: text, pings, pongs and closes, each as encoded frames.

Control frames are encoded with the `encode` of the role that sends them; the default is a server's.
"""

from __future__ import annotations

from collections.abc import Hashable

from threadchat.wire.protocol import frames


class Text:
    """Complete data frames of one or several messages, ready for the wire.

    A server's text may be put on any number of connections. A client's is masked and may be sent only once.
    """

    __slots__ = ("frame", "messages", "size")

    def __init__(self, frame: bytes, messages: int = 1) -> None:
        self.frame = frame
        self.size = len(frame)
        self.messages = messages


class Latest(Text):
    """Text that a newer one with the same `key` replaces while it waits, as a state replaces the last one."""

    __slots__ = ("key",)

    def __init__(self, frame: bytes, key: Hashable) -> None:
        super().__init__(frame)
        self.key = key


class Packed(Text):
    """A text that is compressed, or that is not worth compressing."""

    __slots__ = ()


class Control:
    """A frame that overtakes text."""

    __slots__ = ("frame",)

    def __init__(self, frame: bytes) -> None:
        self.frame = frame


class Handshake(Control):
    """The HTTP response that opens the connection. It is put first, so that no ping overtakes it."""

    __slots__ = ()


class Ping(Control):
    """A keepalive ping. While one waits, a further one is dropped."""

    __slots__ = ()

    def __init__(self, payload: bytes = b"", encode: frames.Encode = frames.encode) -> None:
        super().__init__(encode(frames.PING, payload))


class UserPing(Control):
    """A ping that a caller sent and whose pong it waits for. Unlike `Ping` it is never dropped."""

    __slots__ = ()

    def __init__(self, payload: bytes, encode: frames.Encode = frames.encode) -> None:
        super().__init__(encode(frames.PING, payload))


class Pong(Control):
    """Answers the peer's ping."""

    __slots__ = ()

    def __init__(self, payload: bytes = b"", encode: frames.Encode = frames.encode) -> None:
        super().__init__(encode(frames.PONG, payload))


class Close(Control):
    """Ends the connection at once; everything that waits is dropped."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str = "", encode: frames.Encode = frames.encode) -> None:
        super().__init__(frames.encode_close(code, reason, encode))
        self.code = code
        self.reason = reason


class FlushingClose(Close):
    """Ends the connection after everything that waits has been sent."""

    __slots__ = ()


class Echo(FlushingClose):
    """Answers a Close without a code by another one without a code (RFC 6455 5.5.1)."""

    __slots__ = ()

    def __init__(self, encode: frames.Encode = frames.encode) -> None:
        super().__init__(1005)
        self.frame = encode(frames.CLOSE, b"")


Request = Text | Control
