"""A TCP proxy that can hang and cut its connections, as a network does."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Final

from ports import free_port

CHUNK: Final = 1 << 16
PASS, HANG, CUT = "pass", "hang", "cut"


class Proxy:
    """Forwards from `port` to the port `target`, on a thread of its own.

    While it hangs, connections stay open and nothing moves, as if packets were dropped. While it is cut, it
    resets every connection. The methods may be called from any thread.
    """

    modes: tuple[str, ...] = (HANG, CUT)

    def __init__(self, target: int, *, host: str = "127.0.0.1", to: str = "127.0.0.1") -> None:
        """`host` is the address on which it listens, and `to` the one of `target`."""
        self.host = host
        self.port = free_port()
        self._to = to
        self._target = target
        self._mode = PASS
        self._lock = threading.Lock()  # guards `_target`, `_mode` and `_resets`
        self._resets: list[threading.Event] = []  # each to be set once the present connections are reset
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._listener = socket.create_server((host, self.port), backlog=512)
        self._listener.setblocking(False)
        self._woken, self._waker = socket.socketpair()
        self._stopped = False
        self._watched = False  # the thread looks at the connections; not while it hangs
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    def set(self, mode: str) -> None:
        """PASS, HANG or CUT. After CUT has returned, nothing moves any more."""
        done = threading.Event()
        with self._lock:
            self._mode = mode
            if mode == CUT:
                self._resets.append(done)
        self._waker.send(b"x")
        if mode == CUT:
            done.wait()

    def lead_to(self, target: int) -> None:
        """Forwards to another port. Once it has returned, nothing reaches the former one."""
        done = threading.Event()
        with self._lock:
            self._target = target
            self._resets.append(done)
        self._waker.send(b"x")
        done.wait()

    def stop(self) -> None:
        """Resets the connections and ends the thread."""
        self._stopped = True
        self._waker.send(b"x")
        self._thread.join()
        for end in (self._waker, self._woken):  # not by the thread, which may end before it is woken
            end.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopped:
                with self._lock:
                    mode, target = self._mode, self._target
                    resets, self._resets = self._resets, []
                if resets:
                    self._reset_all(selector)
                for done in resets:
                    done.set()
                if self._watched != (mode != HANG):
                    self._watch(selector, not self._watched)
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        self._woken.recv(CHUNK)
                        break  # look at the mode before anything else moves
                    if key.fileobj is self._listener:
                        self._accept(selector, mode, target)
                    elif key.fileobj in self._pairs:
                        assert isinstance(key.fileobj, socket.socket)
                        self._forward(selector, key.fileobj)
            self._reset_all(selector)

    def _watch(self, selector: selectors.BaseSelector, watched: bool) -> None:
        for sock in (self._listener, *self._pairs):
            if watched:
                selector.register(sock, selectors.EVENT_READ)
            else:
                selector.unregister(sock)
        self._watched = watched

    def _accept(self, selector: selectors.BaseSelector, mode: str, target: int) -> None:
        try:
            near, _ = self._listener.accept()
        except BlockingIOError:
            return
        try:
            if mode == CUT:
                raise ConnectionRefusedError
            far = socket.create_connection((self._to, target), timeout=5)
        except OSError:
            _reset(near)
            return
        near.settimeout(5)  # a peer that reads nothing for longer counts as gone
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            selector.register(one, selectors.EVENT_READ)

    def _forward(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        other = self._pairs[sock]
        try:
            data = sock.recv(CHUNK)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for each in (sock, other):
            selector.unregister(each)
            del self._pairs[each]
            each.close()

    def _reset_all(self, selector: selectors.BaseSelector) -> None:
        for sock in self._pairs:
            if self._watched:
                selector.unregister(sock)
            _reset(sock)
        self._pairs.clear()


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()
