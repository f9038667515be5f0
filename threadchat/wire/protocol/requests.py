"""What may be put on an outbox: text, pings, pongs and closes, each a type and ready for the wire.

Control frames take the `encode` of the role that sends them, a server's where nobody says otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable

from threadchat.wire.protocol import frames


class Text:
    """Whole data frames, ready for the wire; several messages may share one request.

    A server's may be put on any number of connections; a client's is masked and goes out once.
    """

    __slots__ = ("frame", "messages", "size")

    def __init__(self, frame: bytes, messages: int = 1) -> None:
        self.frame = frame
        self.size = len(frame)
        self.messages = messages


class Latest(Text):
    """Text that is worth nothing once there is a newer one: that takes its place while it still waits."""

    __slots__ = ("key",)

    def __init__(self, frame: bytes, key: Hashable) -> None:
        """What has the same `key` is newer."""
        super().__init__(frame)
        self.key = key


class Packed(Text):
    """What was compressed already, or need not be."""

    __slots__ = ()


class Control:
    """A frame that overtakes text."""

    __slots__ = ("frame",)

    def __init__(self, frame: bytes) -> None:
        self.frame = frame


class Handshake(Control):
    """The response that opens the connection; put first, so that no ping is before it."""

    __slots__ = ()


class Ping(Control):
    """Asks the peer for a sign of life."""

    __slots__ = ()

    def __init__(self, payload: bytes = b"", encode: frames.Encode = frames.encode) -> None:
        super().__init__(encode(frames.PING, payload))


class UserPing(Control):
    """A ping that somebody waits for: unlike `Ping`, no other one stands in for it."""

    __slots__ = ()

    def __init__(self, payload: bytes, encode: frames.Encode = frames.encode) -> None:
        super().__init__(encode(frames.PING, payload))


class Pong(Control):
    """Answers the peer's ping."""

    __slots__ = ()

    def __init__(self, payload: bytes = b"", encode: frames.Encode = frames.encode) -> None:
        super().__init__(encode(frames.PONG, payload))


class Close(Control):
    """Ends the connection before anything that still waits."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str = "", encode: frames.Encode = frames.encode) -> None:
        super().__init__(frames.encode_close(code, reason, encode))
        self.code = code
        self.reason = reason


class FlushingClose(Close):
    """Ends the connection after everything that still waits."""

    __slots__ = ()


class Echo(FlushingClose):
    """Answers a Close that carried no code with one that carries none (RFC 6455 5.5.1)."""

    __slots__ = ()

    def __init__(self, encode: frames.Encode = frames.encode) -> None:
        super().__init__(1005)
        self.frame = encode(frames.CLOSE, b"")


Request = Text | Control
