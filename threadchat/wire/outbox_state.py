"""The result of an offer to an outbox, and the states of an outbox's writer."""

from __future__ import annotations

from enum import Enum, auto


class Answer(Enum):
    """The result of an offer.

    YES: taken. HIGH: taken, and the outbox is over three quarters full. NO: full. GONE: closed.
    """

    YES = auto()
    HIGH = auto()
    NO = auto()
    GONE = auto()


class State(Enum):
    """What an outbox's writer does. Guarded by the outbox's mutex."""

    IDLE = auto()  # nothing waits, and the writer sleeps
    LISTED = auto()  # in the turnstile's line, or about to be entered by the thread that listed it
    RUNNING = auto()  # has a permit
    BLOCKED = auto()  # the socket is full; the writer polls it, without a permit
    OVER = auto()  # has ended or is about to; takes no more permits
