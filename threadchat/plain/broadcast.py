"""Sends one message on many connections, encoded once, without waiting for any of them."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Literal, Protocol

from threadchat.errors import CloseCode, ConfigError
from threadchat.plain.connection import Message, encoded
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.protocol.deflate import Deflater
from threadchat.wire.protocol.requests import Text

OnFull = Literal["close", "skip"]


class HasThreadedConnection(Protocol):
    """Whatever has a connection of the plain layer: from serve, from connect, or from accept."""

    @property
    def threaded(self) -> ThreadedConnection: ...


def broadcast(
    connections: Iterable[HasThreadedConnection],
    message: Message,
    *,
    text: bool | None = None,
    on_full: OnFull = "close",
) -> int:
    """Sends `message` on all of `connections`; returns how many took it. Closed ones are passed over.

    It is encoded once, and once more for those who take it compressed (a client's connections each have a
    mask of their own, RFC 6455 5.3), and nobody is waited for who reads slowly. Where an outbox is full, its
    peer is behind by 100 messages or 1 MiB (which `outbox_messages` and `outbox_bytes` of `serve` change;
    large messages need more room). With `on_full="close"` that connection ends (3008): a stream with a hole
    that nobody knows of is worse than one that ended, and whoever comes back can ask for the state. With
    "skip" it misses this message and stays; for messages that the next one makes obsolete.

    A caller that is faster than the writers is held until they have had a turn, at most `send_timeout`, so
    that a burst does not overfill outboxes whose peers keep up.

    Runs on: any thread. Raises TypeError for a message that is neither text nor bytes.
    """
    if on_full not in ("close", "skip"):
        raise ConfigError(f"on_full={on_full!r}: must be 'close' or 'skip'")
    if not isinstance(message, Message):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    shared: dict[Deflater | None, Text] = {}
    listed: list[Outbox] = []
    full: list[tuple[ThreadedConnection, Text]] = []
    high: ThreadedConnection | None = None
    taken = 0
    for connection in connections:
        threaded = connection.threaded
        frame = shared.get(threaded.connection.deflater)
        if frame is None:
            frame = encoded(threaded.connection, message, text)
            if not threaded.masks:
                shared[threaded.connection.deflater] = frame
        answer = threaded.offer(frame, listed)
        if answer is Answer.YES:
            taken += 1
        elif answer is Answer.HIGH:
            taken += 1
            high = threaded
        elif answer is Answer.NO:
            full.append((threaded, frame))
    _enter(listed)
    for threaded, frame in full:
        if _offered_again(threaded, frame):
            taken += 1
        elif on_full == "close" and threaded.is_open:
            threaded.connection.abort(CloseCode.SLOW, "too slow: the outbox is full")
    if high is not None:
        _let_writers_go_first(high)
    return taken


def _offered_again(threaded: ThreadedConnection, frame: Text) -> bool:
    """Once more for one that is full only because its writer waits for its turn; the socket takes all."""
    deadline = monotonic() + threaded.connection.limits.send_timeout
    while not threaded.connection.stalled and monotonic() < deadline:
        _let_writers_go_first(threaded)
        listed: list[Outbox] = []
        answer = threaded.offer(frame, listed)
        _enter(listed)
        if answer is not Answer.NO:
            return answer is not Answer.GONE
    return False


def _let_writers_go_first(threaded: ThreadedConnection) -> None:
    threaded.connection.line.ticket().wait(threaded.connection.limits.send_timeout)


def _enter(listed: list[Outbox]) -> None:
    if listed:  # all have the one turnstile of this process
        listed[0].line.enter(listed)
