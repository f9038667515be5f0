"""A whole chat server for one test: on a free port of loopback, in the test's own process."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from threadchat.config.settings import Config
from threadchat.server.chat import Chat


class LiveServer:
    """A chat server that listens while the test runs, and is drained after it.

    ```python
    from threadchat.testing import LiveServer, Peer

    with LiveServer(history_size=10) as server:
        with Peer(server.url) as ann:
            ann.ask("hello", nickname="ann")
            assert ann.ask("message", room="lobby", message="hi")["offset"] == 1
        [record] = server.chat.hub.room("lobby").history().records
        assert record.event.message == "hi"
    ```

    Takes settings of `Config`, or a `Chat` of the application's, with its hooks: one with `port=0`.
    """

    def __init__(self, chat: Chat | None = None, /, **settings: Any) -> None:
        """Raises ConfigError, and TypeError where both a chat and settings are given."""
        if chat is not None and settings:
            raise TypeError(f"a Chat has its settings; give these to its Config: {', '.join(settings)}")
        self.chat = chat or Chat(Config(**{"port": 0, **settings}))
        """The engine: `chat.hub` knows the rooms and who is online."""

    @property
    def page(self) -> str:
        """Where the page is, as http://127.0.0.1:40123/; the server has to be started."""
        return self.chat.url

    @property
    def url(self) -> str:
        """The native WebSocket, as ws://127.0.0.1:40123/chat: what a client connects to."""
        return self.at("/chat")

    def at(self, path: str) -> str:
        """The URL of another WebSocket of this server: `at("/ws")`."""
        return f"ws{self.page.removeprefix('http').removesuffix('/')}{path}"

    def start(self) -> Self:
        """Binds and listens; returns itself. Raises OSError. Runs on: any thread, once."""
        self.chat.listen()
        return self

    def stop(self) -> None:
        """Says goodbye to everybody (3001) and waits until all threads have ended.

        Raises AssertionError where something of the server still runs after its `drain_timeout`.
        """
        timeout = self.chat.config.drain_timeout
        if not self.chat.drain(timeout):
            raise AssertionError(f"a listener, a hook or a connection still ran {timeout:g} s after the end")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
