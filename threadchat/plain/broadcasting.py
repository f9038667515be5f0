"""Sends one message on many connections, encoded once, without waiting for any of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from time import monotonic
from typing import Literal, Protocol

from threadchat.errors import CloseCode, ConfigError
from threadchat.plain.link import Link
from threadchat.plain.websocket import Message, encoded
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.protocol.deflate import Deflater
from threadchat.wire.protocol.requests import Text

OnFull = Literal["close", "skip"]


class Linked(Protocol):
    """Whatever has a connection of the plain layer: from serve, from connect, or from accept."""

    @property
    def link(self) -> Link: ...


def broadcast(
    connections: Iterable[Linked], message: Message, *, text: bool | None = None, on_full: OnFull = "close"
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
    full: list[tuple[Link, Text]] = []
    high: Link | None = None
    taken = 0

    def offer(listed: list[Outbox]) -> None:
        nonlocal high, taken
        for connection in connections:
            link = connection.link
            frame = shared.get(link.connection.deflater)
            if frame is None:
                frame = encoded(link.connection, message, text)
                if not link.masks:
                    shared[link.connection.deflater] = frame
            answer = link.offer(frame, listed)
            if answer is Answer.YES:
                taken += 1
            elif answer is Answer.HIGH:
                taken += 1
                high = link
            elif answer is Answer.NO:
                full.append((link, frame))

    entering(offer)
    for link, frame in full:
        if _offered_again(link, frame):
            taken += 1
        elif on_full == "close" and link.is_open:
            link.connection.abort(CloseCode.SLOW, "too slow: the outbox is full")
    if high is not None:
        _let_writers_go_first(high)
    return taken


def _offered_again(link: Link, frame: Text) -> bool:
    """Once more for one that is full only because its writer waits for its turn; the socket takes all."""
    deadline = monotonic() + link.connection.limits.send_timeout
    while not link.connection.stalled and monotonic() < deadline:
        _let_writers_go_first(link)
        answer = entering(partial(link.offer, frame))
        if answer is not Answer.NO:
            return answer is not Answer.GONE
    return False


def _let_writers_go_first(link: Link) -> None:
    link.connection.line.ticket().wait(link.connection.limits.send_timeout)
