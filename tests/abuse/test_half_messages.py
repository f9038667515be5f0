"""Messages that begin and do not end hold nothing for long, however alive their connection seems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.wire.helpers import Hand, Served, client_frame
from threadchat import Chat, Config, ConfigError
from threadchat.wire.limits import DEFAULT_LIMITS
from threadchat.wire.protocol import frames
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.unfinished import GRACE, UnfinishedBudget

CONTINUATION = 0
QUIET = DEFAULT_LIMITS._replace(ping_interval=None)
HALVES = {
    "a fragment": client_frame(frames.TEXT, b"a" * 1000, final=False),
    "half a frame": client_frame(frames.TEXT, b"a" * 1000, declared=100_000),
    "half a header": client_frame(frames.TEXT, b"a" * 1000)[:3],
    "half a later fragment": client_frame(frames.TEXT, b"a" * 500, final=False)
    + client_frame(CONTINUATION, b"a" * 500, declared=9000, final=False),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def is_read(served: Served) -> None:
    """Waits until the reader has read all that was sent, and waits for more: its pong says so."""
    served.peer.send(client_frame(frames.PING, b"?"))
    assert served.peer.frame() == (frames.PONG, b"?")


def test_pings_between_fragments_are_no_progress(stack: ExitStack) -> None:
    served = stack.enter_context(Served(limits=QUIET))
    served.peer.send(HALVES["a fragment"])
    for _ in range(29):
        is_read(served)
        served.hand.advance(1)
    assert served.connection.closed is None
    served.hand.advance(1)
    served.hand.advance(GRACE)
    assert served.join().code == 3008


@pytest.mark.parametrize("what", HALVES)
def test_every_kind_of_half_message_has_its_end(stack: ExitStack, what: str) -> None:
    served = stack.enter_context(Served(limits=QUIET))
    served.peer.send(HALVES[what])
    while served.connection._unfinished._progress is None:
        served.thread.join(0.001)
    served.hand.advance(30)
    served.hand.advance(GRACE)
    assert served.join().code == 3008


def test_an_empty_fragment_is_no_progress_either(stack: ExitStack) -> None:
    served = stack.enter_context(Served(limits=QUIET))
    served.peer.send(HALVES["a fragment"])
    for _ in range(31):
        served.peer.send(client_frame(CONTINUATION, b"", final=False))
        if served.connection.closed is None:
            is_read(served)
            served.hand.advance(1)
    assert served.join().code == 3008


def test_a_slow_message_arrives(stack: ExitStack) -> None:
    served = stack.enter_context(Served(limits=QUIET))
    served.peer.send(client_frame(frames.TEXT, b"a", final=False))
    for _ in range(20):
        is_read(served)
        served.hand.advance(25)
        served.peer.send(client_frame(CONTINUATION, b"a", final=False))
    served.peer.send(client_frame(CONTINUATION, b"!", final=True))
    is_read(served)
    assert served.received == ["a" * 21 + "!"]


def test_the_largest_of_all_connections_goes(stack: ExitStack) -> None:
    budget, hand, turnstile = UnfinishedBudget(300_000), Hand(), Turnstile()
    all_of_them = [
        stack.enter_context(Served(budget=budget, hand=hand, turnstile=turnstile, limits=QUIET))
        for _ in range(3)
    ]
    for served, size in zip(all_of_them, (50_000, 200_000, 40_000), strict=True):
        served.peer.send(client_frame(frames.BINARY, b"a" * size, final=False))
        is_read(served)
    assert budget.total == 290_000
    all_of_them[0].peer.send(client_frame(CONTINUATION, b"a" * 20_000, final=False))
    is_read(all_of_them[0])
    closed = all_of_them[1].join()
    assert (closed.code, "unfinished_bytes" in closed.reason) == (3008, True)
    assert [it.connection.closed for it in all_of_them[::2]] == [None, None]
    for served in all_of_them[::2]:
        served.peer.send(client_frame(CONTINUATION, b"b", final=True))
        is_read(served)
    assert budget.total == 0


def test_the_settings_reach_every_connection() -> None:
    with Chat(Config(unfinished_bytes=600_000, message_timeout=7)) as chat:
        assert chat.unfinished._most == 600_000
        assert chat._limits.message_timeout == 7
    with pytest.raises(ConfigError, match="unfinished_bytes"):
        Config(unfinished_bytes=511_999)
