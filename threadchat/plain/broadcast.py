"""Sends one message on many connections, encoded once, without waiting for any of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from time import monotonic
from typing import Final, Literal, Protocol

from threadchat.errors import CloseCode, ConfigError
from threadchat.errors import ConnectionClosed as _Closed
from threadchat.plain.messages import Message, encoded
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.plain.websockets.exceptions import ConcurrencyError, ConnectionClosedError
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.protocol.deflate import Deflater
from threadchat.wire.protocol.requests import Text

_FULL: Final = "too slow: the outbox is full"
OnFull = Literal["close", "skip"]


class HasThreadedConnection(Protocol):
    """A connection of the plain layer: from serve, connect or accept."""

    @property
    def threaded(self) -> ThreadedConnection: ...


def broadcast(
    connections: Iterable[HasThreadedConnection],
    message: Message,
    *,
    text: bool | None = None,
    on_full: OnFull = "close",
    raise_exceptions: bool = False,
) -> int:
    """Sends `message` on all of `connections`; returns how many took it. Skips closed connections.

    The message is encoded once, and once more for peers that take it compressed. The connections of a client
    each have a mask of their own (RFC 6455 5.3). `broadcast` does not wait for slow readers. If an outbox is
    full, its peer is behind by 100 messages or 1 MiB; `outbox_messages` and `outbox_bytes` of `serve` change
    that, and large messages need more room. With `on_full="close"` that connection is closed (3008), because
    a stream with an unnoticed gap is worse than one that ended: whoever reconnects can ask for the state.
    With "skip" the connection stays, and misses this message. Use that for messages that the next one makes
    obsolete.

    If the caller is faster than the writers, it waits until they have had a turn, for at most
    `send_timeout`. So a burst does not fill the outboxes of peers that keep up.

    A connection that is sending a message in fragments misses this one. With `raise_exceptions` an
    ExceptionGroup names the connections that missed it.

    Runs on: any thread. Raises TypeError for a message that is neither text nor bytes.
    """
    _check(message, on_full)
    shared: dict[Deflater | None, Text] = {}
    full: list[tuple[ThreadedConnection, Text]] = []
    high: ThreadedConnection | None = None
    failed: list[Exception] = []
    taken = 0

    def offer(listed: list[Outbox]) -> None:
        nonlocal high, taken
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
            elif answer is None:
                failed.append(ConcurrencyError(f"{connection!r} is sending a message in fragments"))

    entering(offer)
    for threaded, frame in full:
        if _offered_again(threaded, frame):
            taken += 1
        elif threaded.is_open:
            failed.append(_give_up(threaded, on_full))
    if high is not None:
        _let_writers_go_first(high)
    if failed and raise_exceptions:
        raise ExceptionGroup("skipped broadcast", failed)
    return taken


def _check(message: object, on_full: str) -> None:
    if on_full not in ("close", "skip"):
        raise ConfigError(f"on_full={on_full!r}: must be 'close' or 'skip'")
    if not isinstance(message, Message):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")


def _offered_again(threaded: ThreadedConnection, frame: Text) -> bool:
    """Offers the frame again to a connection that is full only because its writer waits for its turn."""
    deadline = monotonic() + threaded.connection.limits.send_timeout
    while not threaded.connection.stalled and monotonic() < deadline:
        _let_writers_go_first(threaded)
        answer = entering(partial(threaded.offer, frame))
        if answer is not Answer.NO:
            return answer not in (Answer.GONE, None)
    return False


def _give_up(threaded: ThreadedConnection, on_full: str) -> Exception:
    if on_full == "close":
        threaded.connection.abort(CloseCode.SLOW, _FULL)
    return ConnectionClosedError(verdict=_Closed(CloseCode.SLOW, _FULL))


def _let_writers_go_first(threaded: ThreadedConnection) -> None:
    threaded.connection.line.ticket().wait(threaded.connection.limits.send_timeout)
