"""What an application's own tests need: a live server, a fake clock, peers that stall, ends without a port.

Plain classes, for any test runner; each is a context manager where it has an end.

- `LiveServer`: a whole chat server on a free port of loopback, in this process.
- `Peer`: a WebSocket client without a thread, which reads only when the test says so;
  `StallingPeer` stops reading, `SlowPeer` reads so many bytes a second.
- `InMemory`: connects peers to a WSGI application, a mounted chat among it, without any port.
- `Pair`: one connection in memory, both of its ends in the test's hands.
- `FakeClock`: for whatever takes `clock=`; deadlines go off where the test says so.

With pytest they are fixtures, there as soon as threadchat is installed: `threadchat_server`,
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

# Imported when asked for: pytest loads this package at every start, in projects that never use it too.
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'threadchat.testing' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
