"""The pytest plugin: `threadchat.testing` as fixtures, which import nothing before they are used."""

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
    """Registers the marker."""
    config.addinivalue_line("markers", MARKER)


def _settings(node: Any) -> dict[str, Any]:
    """The settings of all markers of a test. Its own override those of its class, then of its module."""
    settings: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("threadchat"))):
        if marker.args:
            example = "@pytest.mark.threadchat(history_size=10)"
            pytest.fail(f"settings must be named, as in {example}, not {marker.args}", pytrace=False)
        settings |= marker.kwargs
    return settings


@pytest.fixture
def threadchat_serve() -> Iterator[Callable[..., LiveServer]]:
    """Starts chat servers in this process: `threadchat_serve(history_size=10)`, or with your own `Chat`.

    Each call returns a `LiveServer`; all are drained after the test.
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
    """A chat server on a free loopback port, drained after the test; connect to its `url`.

    Its settings come from markers: `@pytest.mark.threadchat(history_size=10)`.
    """
    return threadchat_serve(**_settings(request.node))


@pytest.fixture
def threadchat_peer() -> Iterator[Callable[..., Peer]]:
    """Connects clients that read only when called, and closes them: `threadchat_peer(url)` is a `Peer`."""
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
    """A clock that advances only in `advance(seconds)`, for everything that takes `clock=`."""
    from threadchat.testing import FakeClock

    return FakeClock()


def _enter(stack: ExitStack, make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Creates a context manager and enters it; it is closed after the test."""
    return stack.enter_context(make(*args, **options))
