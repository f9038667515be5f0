"""Peers that read too little: one that stops reading, and one that reads a number of bytes a second."""

from __future__ import annotations

import select
from collections.abc import Mapping

from threadchat.errors import ConnectionClosed
from threadchat.testing.peer import TIMEOUT, Peer


class StallingPeer(Peer):
    """A client that can stop reading, like a suspended laptop: its connection stays open but accepts nothing.

    ```python
    from threadchat.testing import LiveServer, StallingPeer

    with LiveServer(send_timeout=60) as server, StallingPeer(server.url) as bob:
        bob.ask("hello", nickname="bob")
        bob.ask("join", room="lobby")
        bob.stall()
        lobby = server.chat.hub.room("lobby")
        for number in range(1000):
            lobby.message("ann", f"{number:04}" * 250)  # a megabyte, more than the kernels hold; never blocks
        bob.resume()
        assert bob.next()["type"] == "join"
        assert [bob.next()["message"][:4] for _ in range(1000)] == [f"{n:04}" for n in range(1000)]
    ```

    The kernel buffers some 260 KB between it and the server, nearly all of them at the server's end. Further
    messages wait in the outbox, then in the room's log. If the server cannot send for `send_timeout`, it
    closes the connection (3008), which the peer sees as a reset: `ConnectionClosed` with code 1006.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 1,
        timeout: float = TIMEOUT,
    ) -> None:
        """Like `Peer`, with the smallest receive buffer that the system allows (2,304 bytes on Linux)."""
        super().__init__(url, headers=headers, receive_buffer=receive_buffer, timeout=timeout)
        self.stalled = False
        """Whether the peer has stopped reading."""

    def stall(self) -> None:
        """Stops reading, and so answering pings; `send` still works."""
        self.stalled = True

    def resume(self) -> None:
        """Allows the next `recv`, `next` or `ask` to read again, from where the peer stopped."""
        self.stalled = False

    def close(self, code: int = 1000) -> None:
        """Like `Peer.close`; resumes reading first, because otherwise the server would have to reset it."""
        self.resume()
        super().close(code)

    def _read(self, size: int) -> int:
        if self.stalled:
            raise RuntimeError("this peer is stalled and cannot read; call resume() first")
        return super()._read(size)


class SlowPeer(Peer):
    """A client that reads `bytes_per_second`, in steps that the test makes: no real time is needed.

    ```python
    from threadchat.testing import LiveServer, SlowPeer

    with LiveServer() as server, SlowPeer(server.url, bytes_per_second=1000) as bob:
        bob.ask("hello", nickname="bob")
        bob.ask("join", room="lobby")
        server.chat.hub.room("lobby").message("ann", "x" * 10_000)
        steps = 1
        while not any("xxx" in text for text in bob.step()):  # each step reads the bytes of one second
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
        """Like `Peer`, with the smallest receive buffer that the system allows."""
        super().__init__(url, headers=headers, receive_buffer=receive_buffer, timeout=timeout)
        self.bytes_per_second = bytes_per_second
        self._fraction = 0.0  # of a byte, left over from the last step

    def step(self, seconds: float = 1.0) -> list[str | bytes]:
        """Reads as many bytes as this peer reads in `seconds`; returns the messages that are complete now.

        It reads fewer bytes only if the server has no more to send; they are not made up for later. It waits
        for the first byte and within a message, up to `timeout` each time. Raises ConnectionClosed if there
        is no message before the end, and TimeoutError if nothing arrives.
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
        """Whether the last message is complete and no byte of another one has arrived."""
        return not self._data and not select.select([self.socket], [], [], 0)[0]
