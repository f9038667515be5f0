"""What became of an offer, and where an outbox's writer is."""

from __future__ import annotations

from enum import Enum, auto


class Answer(Enum):
    """What became of an offer. HIGH: taken, and the outbox is over three quarters full. GONE: closed."""

    YES = auto()
    HIGH = auto()
    NO = auto()
    GONE = auto()


class State(Enum):
    """Where an outbox's writer is. Guarded by the outbox's mutex."""

    IDLE = auto()  # nothing waits; the writer sleeps
    LISTED = auto()  # in the turnstile's line, or about to be put there by whoever listed it
    RUNNING = auto()  # holds a permit
    BLOCKED = auto()  # the socket is full; polls it, without a permit
    OVER = auto()  # has ended, or is about to, and takes no more permits
