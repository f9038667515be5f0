"""Helpers for tests of applications: a live server, peers that stall, connections in memory, a fake clock.

They are plain classes for any test runner. Those that must be closed are context managers.

- `LiveServer`: a complete chat server on a free port of the loopback interface, in this process.
- `Peer`: a WebSocket client without a thread, which reads only when the test calls it;
  `StallingPeer` can stop reading, and `SlowPeer` reads a number of bytes a second.
- `InMemory`: connects peers to a WSGI application, with or without a mounted chat, without a port.
- `Pair`: one connection in memory; the test controls both ends.
- `FakeClock`: for everything that takes `clock=`; deadlines expire when the test advances the clock.

With pytest they are available as fixtures as soon as threadchat is installed: `threadchat_server`,
`threadchat_serve`, `threadchat_peer`, `threadchat_stalling_peer`, `threadchat_slow_peer`,
`threadchat_in_memory`, `threadchat_pair` and `threadchat_clock`; see `pytest --fixtures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadchat.testing.clock import FakeClock
    from threadchat.testing.live import LiveServer
    from threadchat.testing.memory import InMemory
    from threadchat.testing.pair import Pair
    from threadchat.testing.peer import Peer
    from threadchat.testing.slow import SlowPeer, StallingPeer

# Imported on first use, because pytest loads this package in every project, even if it is not used there.
_HOMES = {
    "FakeClock": "threadchat.testing.clock",
    "InMemory": "threadchat.testing.memory",
    "LiveServer": "threadchat.testing.live",
    "Pair": "threadchat.testing.pair",
    "Peer": "threadchat.testing.peer",
    "SlowPeer": "threadchat.testing.slow",
    "StallingPeer": "threadchat.testing.slow",
}
__all__ = ["FakeClock", "InMemory", "LiveServer", "Pair", "Peer", "SlowPeer", "StallingPeer"]


if not TYPE_CHECKING:  # with it, type checkers would accept misspelt names

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'threadchat.testing' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
