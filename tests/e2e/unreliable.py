"""A TCP proxy that cuts connections: after so many bytes of one direction, in the middle of whatever."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

NEVER = 1 << 60


class Cut(NamedTuple):
    """One connection's end: when so many bytes of one direction have passed, and not one more."""

    upstream: int = NEVER
    downstream: int = NEVER


class UnreliableProxy:
    """Listens on a free port of loopback and forwards to `port`; a context manager.

    Each connection that is accepted gets the next of `cuts`, and once there are none, is left alone.
    """

    def __init__(self, port: int, cuts: Iterable[Cut] = ()) -> None:
        self._target = ("127.0.0.1", port)
        self._cuts = iter(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()  # guarded by `_lock`
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self.accept, name="proxy-accept", daemon=True)]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._muted = threading.Event()
        self._threads[0].start()

    def accept(self) -> None:
        """Runs on: the thread `proxy-accept`."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            cut = next(self._cuts, Cut())
            with self._lock:
                self._open |= {client, server}
            muted = self._muted = threading.Event()
            for way in ((client, server, cut.upstream), (server, client, cut.downstream, muted)):
                thread = threading.Thread(target=self.forward, args=way, name="proxy", daemon=True)
                self._threads.append(thread)
                thread.start()

    def mute(self) -> None:
        """From here on nothing that the server says reaches the newest connection."""
        self._muted.set()

    def cut(self) -> None:
        """Ends every connection."""
        for sock in list(self._open):
            self._reset(sock)

    def forward(
        self, source: socket.socket, sink: socket.socket, most: int, muted: threading.Event | None = None
    ) -> None:
        """Passes at most `most` bytes, then resets both sides. Runs on: a thread of its own."""
        passed = 0
        try:
            while passed < most and (data := source.recv(min(65536, most - passed))):
                passed += len(data)
                if muted is None or not muted.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            self._reset(source)
            self._reset(sink)

    def _reset(self, sock: socket.socket) -> None:
        with self._lock:
            if sock not in self._open:
                return
            self._open.discard(sock)
        try:
            # `shutdown` wakes the other thread, which `close` does not; what was sent before still arrives.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()

    def __enter__(self) -> UnreliableProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
