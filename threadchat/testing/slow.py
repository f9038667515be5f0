"""Peers that read too little: one that stops, and one that takes so many bytes a second."""

from __future__ import annotations

import select
from collections.abc import Mapping

from threadchat.errors import ConnectionClosed
from threadchat.testing.peer import TIMEOUT, Peer


class StallingPeer(Peer):
    """A client that stops reading, as a suspended laptop does: its connection is open, and takes nothing.

    ```python
    from threadchat.testing import LiveServer, StallingPeer

    with LiveServer(send_timeout=60) as server, StallingPeer(server.url) as bob:
        bob.ask("hello", nickname="bob")
        bob.ask("join", room="lobby")
        bob.stall()
        lobby = server.chat.hub.room("lobby")
        for number in range(1000):
            lobby.message("ann", f"{number:04}" * 250)  # a megabyte: more than kernels hold; waits for nobody
        bob.resume()
        assert bob.next()["type"] == "join"
        assert [bob.next()["message"][:4] for _ in range(1000)] == [f"{n:04}" for n in range(1000)]
    ```

    The kernels hold some 260 KB between it and the server, nearly all of it at the server's end;
    what is said beyond that waits in its outbox, then in the room's log. A server whose messages
    find no place for `send_timeout` closes the connection (3008), which the peer reads as a reset:
    `ConnectionClosed` with code 1006.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 1,
        timeout: float = TIMEOUT,
    ) -> None:
        """As `Peer`, with the smallest receive buffer that the system gives (2,304 bytes on Linux)."""
        super().__init__(url, headers=headers, receive_buffer=receive_buffer, timeout=timeout)
        self.stalled = False
        """Whether it refuses to read."""

    def stall(self) -> None:
        """From here on not a byte is read, no ping answered; `send` still works."""
        self.stalled = True

    def resume(self) -> None:
        """Reads again where it stopped, at the next `recv`, `next` or `ask`."""
        self.stalled = False

    def close(self, code: int = 1000) -> None:
        """As `Peer.close`; it reads again for that, or the server would have to cut it off."""
        self.resume()
        super().close(code)

    def _read(self, size: int) -> int:
        if self.stalled:
            raise RuntimeError("this peer is stalled and reads nothing; call resume() first")
        return super()._read(size)


class SlowPeer(Peer):
    """A client that reads `bytes_per_second`, in steps that the test drives: no time passes by itself.

    ```python
    from threadchat.testing import LiveServer, SlowPeer

    with LiveServer() as server, SlowPeer(server.url, bytes_per_second=1000) as bob:
        bob.ask("hello", nickname="bob")
        bob.ask("join", room="lobby")
        server.chat.hub.room("lobby").message("ann", "x" * 10_000)
        steps = 1
        while not any("xxx" in text for text in bob.step()):  # each takes a second's worth
            steps += 1
        assert steps > 10
    ```
    """

    def __init__(
        self,
        url: str,
        bytes_per_second: float,
        *,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 1,
        timeout: float = TIMEOUT,
    ) -> None:
        """As `Peer`, with the smallest receive buffer that the system gives."""
        super().__init__(url, headers=headers, receive_buffer=receive_buffer, timeout=timeout)
        self.bytes_per_second = bytes_per_second
        self._fraction = 0.0  # of a byte, left over by the last step

    def step(self, seconds: float = 1.0) -> list[str | bytes]:
        """Reads what such a peer reads in so many seconds; returns the messages that became whole.

        It is fewer bytes only where the server has nothing more to say: what could not be read does not
        add up for later. Waits for the first byte and within a message, up to `timeout` each time.
        Raises ConnectionClosed where there is nothing but the end, and TimeoutError where nothing came.
        """
        allowed = seconds * self.bytes_per_second + self._fraction
        budget = int(allowed)
        self._fraction = allowed - budget
        begun = False
        while budget > 0 and not (begun and self._pauses()):
            try:
                budget -= self._read(budget)
            except ConnectionClosed:
                if not self._waiting:
                    raise
                break
            begun = True
        messages = list(self._waiting)
        self._waiting.clear()
        return messages

    def _pauses(self) -> bool:
        """Whether a message just ended and no byte of another is there."""
        return not self._data and not select.select([self.socket], [], [], 0)[0]
