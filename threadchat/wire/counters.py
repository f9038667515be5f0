"""Counts what one connection has received and sent."""

from __future__ import annotations


class ConnectionCounters:
    """Counters, which only grow, and a few times. One thread writes each of them, and any thread may read.

    The numbers that a thread reads one after the other may belong to different moments. Times are seconds
    of the connection's monotonic clock.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "frames_out",
        "last_write",
        "messages_in",
        "pings_unanswered",
        "round_trip",
        "turns",
        "waited",
        "writes",
    )

    def __init__(self) -> None:
        # Written by the reader thread
        self.messages_in = 0  # complete messages, text and binary
        self.bytes_in = 0  # bytes read from the socket, frame headers included
        self.round_trip: float | None = None  # seconds from the last answered ping to its pong
        # Written by the pinger thread
        self.pings_unanswered = 0  # pings without a pong when the next one was due
        # Written by the writer thread
        self.frames_out = 0  # messages that the writer took, without control frames
        self.bytes_out = 0  # bytes that the socket accepted, control frames and handshake included
        self.writes = 0  # calls of the socket's send that sent at least one byte
        self.last_write = 0.0  # when the last of these calls, or its turn, began; 0.0 before the first
        self.turns = 0  # turns that the writer had
        self.waited = 0.0  # seconds, added up, that the writer with something to write waited for a turn

    def __repr__(self) -> str:
        return f"<ConnectionCounters {' '.join(f'{name}={getattr(self, name)}' for name in self.__slots__)}>"
