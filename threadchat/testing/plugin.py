"""The pytest plugin: `threadchat.testing` as fixtures, none of which imports anything before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from threadchat.server.chat import Chat
    from threadchat.testing import FakeClock, InMemory, LiveServer, Pair, Peer, SlowPeer, StallingPeer

MARKER = "threadchat(**settings): settings of the chat server that `threadchat_server` starts for this test"

Item = TypeVar("Item")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", MARKER)


def _settings(node: Any) -> dict[str, Any]:
    """What the markers of a test say together; the test's own beats its class's, and that its module's."""
    settings: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("threadchat"))):
        if marker.args:
            example = "@pytest.mark.threadchat(history_size=10)"
            pytest.fail(f"settings have names: {example}, not {marker.args}", pytrace=False)
        settings |= marker.kwargs
    return settings


@pytest.fixture
def threadchat_serve() -> Iterator[Callable[..., LiveServer]]:
    """Starts chat servers in this process: `threadchat_serve(history_size=10)`, or with a `Chat` of yours.

    Returns a `LiveServer` each time; all are drained after the test.
    """
    from threadchat.testing import LiveServer

    with ExitStack() as stack:

        def serve(chat: Chat | None = None, /, **settings: Any) -> LiveServer:
            return stack.enter_context(LiveServer(chat, **settings))

        yield serve


@pytest.fixture
def threadchat_server(
    request: pytest.FixtureRequest, threadchat_serve: Callable[..., LiveServer]
) -> LiveServer:
    """A chat server on a free port of loopback, drained after the test; connect to its `url`.

    Its settings come from markers: `@pytest.mark.threadchat(history_size=10)`.
    """
    return threadchat_serve(**_settings(request.node))


@pytest.fixture
def threadchat_peer() -> Iterator[Callable[..., Peer]]:
    """Connects clients that read only when told to: `threadchat_peer(url)`, a `Peer`; closes them."""
    from threadchat.testing import Peer

    with ExitStack() as stack:
        yield partial(_enter, stack, Peer)


@pytest.fixture
def threadchat_stalling_peer() -> Iterator[Callable[..., StallingPeer]]:
    """Connects clients that can stop reading: `threadchat_stalling_peer(url)`; `stall()`, `resume()`."""
    from threadchat.testing import StallingPeer

    with ExitStack() as stack:
        yield partial(_enter, stack, StallingPeer)


@pytest.fixture
def threadchat_slow_peer() -> Iterator[Callable[..., SlowPeer]]:
    """Connects clients that read slowly: `threadchat_slow_peer(url, bytes_per_second=1000)`; `step()`."""
    from threadchat.testing import SlowPeer

    with ExitStack() as stack:
        yield partial(_enter, stack, SlowPeer)


@pytest.fixture
def threadchat_in_memory() -> Iterator[Callable[..., InMemory]]:
    """Connects to a WSGI application without a port: `threadchat_in_memory(app).connect()`, a `Peer`."""
    from threadchat.testing import InMemory

    with ExitStack() as stack:
        yield partial(_enter, stack, InMemory)


@pytest.fixture
def threadchat_pair() -> Iterator[Callable[..., Pair]]:
    """Connects a handler of `threadchat.serve` and a client without a port: `threadchat_pair(handler)`."""
    from threadchat.testing import Pair

    with ExitStack() as stack:
        yield partial(_enter, stack, Pair)


@pytest.fixture
def threadchat_clock() -> FakeClock:
    """A clock that stands still until `advance(seconds)`, for whatever takes `clock=`."""
    from threadchat.testing import FakeClock

    return FakeClock()


def _enter(stack: ExitStack, make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Makes a thing with an end, which comes with the test's."""
    return stack.enter_context(make(*args, **options))
