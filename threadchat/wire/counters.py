"""What one connection has done so far, in plain numbers."""

from __future__ import annotations


class ConnectionCounters:
    """Counts that only grow, and the last of some times; each has one thread that writes it, anybody reads.

    A reader sees each number whole, but not all of one instant. Times are seconds of the connection's
    monotonic clock.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "frames_out",
        "last_write",
        "messages_in",
        "round_trip",
        "turns",
        "waited",
        "writes",
    )

    def __init__(self) -> None:
        # The reader thread's
        self.messages_in = 0  # whole ones, text and binary
        self.bytes_in = 0  # frames with all their headers, as the socket gave them
        self.round_trip: float | None = None  # from the last answered ping to its pong; None before any
        # The writer thread's
        self.frames_out = 0  # messages that the writer took; control frames do not count
        self.bytes_out = 0  # that the socket accepted, control frames and the handshake too
        self.writes = 0  # calls of the socket's send that were good for something
        self.last_write = 0.0  # when the last of them was, or its turn began; 0.0: never
        self.turns = 0  # that the writer had
        self.waited = 0.0  # seconds, in all, from there being something to write to the turn: the line's

    def __repr__(self) -> str:
        return f"<ConnectionCounters {' '.join(f'{name}={getattr(self, name)}' for name in self.__slots__)}>"
