"""A complete chat server for one test, on a free port of the loopback interface, in the test's process."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from threadchat.config.settings import Config
from threadchat.server.chat import Chat


class LiveServer:
    """A chat server that listens while the test runs and is drained after it.

    ```python
    from threadchat.testing import LiveServer, Peer

    with LiveServer(history_size=10) as server:
        with Peer(server.url) as ann:
            ann.ask("hello", nickname="ann")
            assert ann.ask("message", room="lobby", message="hi")["offset"] == 1
        [record] = server.chat.hub.room("lobby").history().records
        assert record.event.message == "hi"
    ```

    Pass either settings of `Config`, or a `Chat` of the application with its hooks, configured with `port=0`.
    """

    def __init__(self, chat: Chat | None = None, /, **settings: Any) -> None:
        """Raises ConfigError, and TypeError if both a chat and settings are given."""
        if chat is not None and settings:
            raise TypeError(f"a Chat has its own settings; pass these to its Config: {', '.join(settings)}")
        self.chat = chat or Chat(Config(**{"port": 0, **settings}))
        """The chat; `chat.hub` gives access to rooms and people."""

    @property
    def page(self) -> str:
        """The URL of the page, such as http://127.0.0.1:40123/; available once the server is started."""
        return self.chat.url

    @property
    def url(self) -> str:
        """The URL to which clients connect, such as ws://127.0.0.1:40123/chat."""
        return self.at("/chat")

    def at(self, path: str) -> str:
        """The URL of another WebSocket endpoint of this server, such as `at("/ws")`."""
        return f"ws{self.page.removeprefix('http').removesuffix('/')}{path}"

    def start(self) -> Self:
        """Binds and listens; returns the server. Raises OSError. Runs on: any thread, once."""
        self.chat.listen()
        return self

    def stop(self) -> None:
        """Closes all connections (3001) and waits until all threads have ended.

        Raises AssertionError if a part of the server still runs after its `drain_timeout`.
        """
        timeout = self.chat.config.drain_timeout
        if not self.chat.drain(timeout):
            raise AssertionError(f"a listener, hook or connection was still running after {timeout:g} s")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
