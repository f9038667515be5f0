"""One WebSocket of the plain layer in memory; the test controls both ends."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from threadchat.errors import HandshakeRefused
from threadchat.plain import options
from threadchat.plain.handshake import HandshakePolicy, ServerConnection
from threadchat.plain.wsgi import HandlerApplication
from threadchat.testing.memory import InMemory
from threadchat.testing.peer import TIMEOUT, Peer
from threadchat.wire.limits import Limits

_log = logging.getLogger(__name__)


class Pair:
    """A connection as `threadchat.serve` passes it to a handler, and the peer at its other end; no port.

    ```python
    from threadchat.testing import Pair

    def shout(connection):
        for message in connection:
            connection.send(message.upper())

    with Pair(shout) as pair:  # the handler runs on its own thread, as in a server
        pair.client.send("hi")
        assert pair.client.recv() == "HI"

    with Pair() as pair:  # without a handler, the test uses the server's end itself
        pair.client.send("hi")
        assert pair.server.recv() == "hi"
        pair.server.send("hello")
        assert pair.client.recv() == "hello"
    ```

    Leaving the block closes both ends and waits for all threads. Use it on one thread only, except `server`,
    which any thread may use.
    """

    def __init__(
        self,
        handler: Callable[[ServerConnection], object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """`headers` are sent with the client's request. `timeout`: seconds for each wait of the client."""
        self._handler = handler or self._hold
        self._opened: queue.Queue[ServerConnection] = queue.Queue(1)
        self._finished = threading.Event()
        self._memory = InMemory(_served(self._serve), timeout=timeout)
        try:
            self.client: Peer = self._memory.connect("/", headers=headers)
        except HandshakeRefused:
            self._memory.close()
            raise
        self.server: ServerConnection = self._opened.get(timeout=timeout)

    def close(self) -> None:
        """Closes both ends. Raises AssertionError if the handler still runs `timeout` seconds later."""
        self._finished.set()
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, connection: ServerConnection) -> None:
        """Runs on: the handler's thread."""
        self._opened.put(connection)
        self._handler(connection)

    def _hold(self, connection: ServerConnection) -> None:
        """The default handler: keeps the connection open for the test."""
        self._finished.wait()


def _served(handler: Callable[[ServerConnection], object]) -> HandlerApplication:
    """The application behind `threadchat.serve`, with its usual options."""
    anybody = HandshakePolicy(
        origins=None, subprotocols=None, select_subprotocol=None, process_request=None, logger=_log
    )
    return HandlerApplication(
        handler,
        anybody,
        limits=Limits(),
        make_receive_queue=options.receive_queue,
        close_timeout=TIMEOUT,
        logger=_log,
    )
