"""What the tests of wire/ share: clocks, client frames, a TCP pair, and a connection with its reader."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

from hypothesis import HealthCheck, settings

from threadchat.errors import ConnectionClosed
from threadchat.testing import FakeClock
from threadchat.wire.connecting.dial import dial
from threadchat.wire.connection import DEFAULT_LIMITS, Connection, Limits
from threadchat.wire.pinger import Pinger
from threadchat.wire.protocol import frames
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.unfinished import UnfinishedBudget

steady = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
"""For every property: nothing is timed on a machine that others use too."""

PATIENCE = 60.0
"""Seconds after which a thread that should have moved counts as stuck; no test waits it out."""

ENVIRON = {
    "HTTP_HOST": "chat.example",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; client_max_window_bits",
}


class Hand:
    """A pinger without a thread: time passes, and deadlines go off, where the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pinger = Pinger(self.clock)
        self.pinger.stop()  # never starts one

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pinger.run_due()


class RecordingLine:
    """A turnstile that gives no permits: notes who entered and who was urged."""

    def __init__(self) -> None:
        self.entered: list[Any] = []
        self.urged: list[Any] = []

    def enter(self, outboxes: Any) -> None:
        self.entered += outboxes

    def urge(self, outbox: Any) -> None:
        self.urged.append(outbox)


class Turnless:
    """A socket whose reader takes what comes, as the system lets it, and has no turn until `turn` is set."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.taken = threading.Event()
        self.turn = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        data: bytes = self._sock.recv(size)
        self.taken.set()
        assert self.turn.wait(PATIENCE)
        return data


# -- frames ------------------------------------------------------------------------------------------


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    form: int | None = None,
    declared: int | None = None,
) -> bytes:
    """A client's frame, also a wrong one: without mask, with a length of another form, or a false one."""
    size = len(payload) if declared is None else declared
    if form is None:
        form = 0 if size < 126 else 2 if size < 1 << 16 else 8
    first = (0x80 if final else 0) | reserved << 4 | opcode
    second = {0: size, 2: 126, 8: 127}[form] | (0x80 if mask is not None else 0)
    head = bytes((first, second)) + (size.to_bytes(form, "big") if form else b"")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def text_frame(text: str, **options: Any) -> bytes:
    return client_frame(frames.TEXT, text.encode(), **options)


def close_frame(code: int | None = 1000, reason: str = "") -> bytes:
    payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
    return client_frame(frames.CLOSE, payload)


def split_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The opcode and payload of every frame in what a server sent; there has to be no remainder."""
    found = []
    at = 0
    while at < len(data):
        header = frames.read_header(data, at)
        assert header is not None
        assert header.end <= len(data), "a frame was cut off"
        found.append((header.opcode, data[header.body : header.end]))
        at = header.end
    return found


# -- sockets -----------------------------------------------------------------------------------------


def tcp_pair(*, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """An accepted socket and the client's; `small`: as little as the kernel allows fits in between."""
    with socket.socket() as listener:
        client = socket.socket()
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if small:
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return accepted, client


def reset(sock: socket.socket) -> None:
    """Closes with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Peer:
    """The other end of a connection: plain bytes in, frames out."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(PATIENCE)
        self._data = b""

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def response(self) -> bytes:
        """The head of the handshake's response."""
        while b"\r\n\r\n" not in self._data:
            self._fill()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        return head

    def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        while True:
            header = frames.read_header(self._data, 0)
            if header is not None and header.end <= len(self._data):
                payload, self._data = self._data[header.body : header.end], self._data[header.end :]
                return header.opcode, payload
            self._fill()

    def rest(self) -> list[tuple[int, bytes]]:
        """All frames until the server ends the stream."""
        parts = [self._data]
        while data := self.socket.recv(1 << 20):
            parts.append(data)
        self._data = b""
        return split_frames(b"".join(parts))

    def drain(self) -> bool:
        """Reads until the end; whether that was a reset."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        self.socket.close()

    def _fill(self) -> None:
        data = self.socket.recv(1 << 16)
        assert data, "the server ended the stream"
        self._data += data


# -- connections -------------------------------------------------------------------------------------

Handler = Callable[[Connection, "list[str | bytes]"], None]


def ignore(connection: Connection, messages: list[str | bytes]) -> None:
    """Answers nothing."""


class Served:
    """A connection and the thread that is its reader; what comes in is handed to `handler` and kept."""

    def __init__(
        self,
        handler: Handler = ignore,
        *,
        hand: Hand | None = None,
        turnstile: Turnstile | None = None,
        limits: Limits = DEFAULT_LIMITS,
        trailing: bytes = b"",
        small: bool = False,
        number: int = 7,
        jitter: float = 1.0,
        environ: dict[str, str] = ENVIRON,
        subprotocols: list[str] | None = None,
        budget: UnfinishedBudget | None = None,
    ) -> None:
        self.hand = hand or Hand()
        self.turnstile = turnstile or Turnstile()
        self.received: list[str | bytes] = []
        self.failure: BaseException | None = None
        self.gone = 0
        self.ended_by = ""
        self._handler = handler
        self._environ = environ
        self._subprotocols = subprotocols
        self._budget = budget
        self._ready = threading.Event()
        accepted, client = tcp_pair(small=small)
        self.peer = Peer(client)
        self.thread = threading.Thread(
            target=self._read, args=(accepted, trailing, limits, number, jitter), daemon=True
        )
        self.thread.start()
        assert self._ready.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        self.writer = self.connection._writer.thread
        assert b" 101 " in self.peer.response()

    def _read(
        self, accepted: socket.socket, trailing: bytes, limits: Limits, number: int, jitter: float
    ) -> None:
        try:
            self.connection = connection = Connection(
                number,
                accepted,
                self._environ,
                trailing,
                subprotocols=self._subprotocols,
                turnstile=self.turnstile,
                pinger=self.hand.pinger,
                limits=limits,
                jitter=lambda: jitter,
                on_gone=self._on_gone,
                budget=self._budget,
            )
        except BaseException as error:
            self.failure = error
            accepted.close()
            return
        finally:
            self._ready.set()
        try:
            for messages in connection.bursts():
                self.received += messages
                self._handler(connection, messages)
        except ConnectionClosed as error:
            self.failure = error
        finally:
            connection.end_reading()

    def _on_gone(self, connection: Connection) -> None:
        assert connection is self.connection
        self.gone += 1
        self.ended_by = threading.current_thread().name

    def join(self) -> ConnectionClosed:
        """Waits for both threads and for the descriptor's end; returns why the connection closed."""
        for thread in (self.thread, self.writer):
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} did not end"
        assert self.gone == 1
        assert self.connection._transport.socket.fileno() == -1
        assert self.connection.closed is not None
        # Other connections of the test may have a turn; this one has nothing more.
        assert self.connection.outbox not in {*self.turnstile.holders, *self.turnstile._line}
        return self.connection.closed

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.close()
        if self.thread.is_alive() or self.writer.is_alive():
            self.connection.abort(1006)
        self.join()


class Dialed:
    """A client's connection and the thread that reads it; what comes in is kept."""

    def __init__(self, url: str, *, hand: Hand | None = None, **options: Any) -> None:
        self.hand = hand or Hand()
        self.turnstile = Turnstile()
        self.received: list[str | bytes] = []
        self.gone = 0
        self.connection = dial(
            url, turnstile=self.turnstile, pinger=self.hand.pinger, number=3, on_gone=self._on_gone, **options
        )
        self._came = threading.Condition()
        self.thread = start(self._read)

    def _read(self) -> None:
        try:
            for messages in self.connection.bursts():
                with self._came:
                    self.received += messages
                    self._came.notify_all()
        finally:
            self.connection.end_reading()

    def _on_gone(self, connection: Connection) -> None:
        self.gone += 1

    def wait_for(self, count: int) -> list[str | bytes]:
        """The first `count` messages, once they are there."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.received) >= count, PATIENCE)
            return self.received[:count]

    def join(self) -> ConnectionClosed:
        """Waits for both threads and for the descriptor's end; returns why the connection closed."""
        finish(self.thread, self.connection._writer.thread)
        assert self.gone == 1
        assert self.connection._transport.socket.fileno() == -1
        assert self.connection.closed is not None
        assert free_permits(self.turnstile) == self.turnstile.permits
        return self.connection.closed

    def __enter__(self) -> Dialed:
        return self

    def __exit__(self, *_: object) -> None:
        if self.thread.is_alive() or self.connection._writer.thread.is_alive():
            self.connection.abort(1006)
        self.join()


def free_permits(turnstile: Turnstile) -> int:
    """How many permits are nobody's, once nobody has one for a moment only."""
    with turnstile._lock:
        assert not turnstile._line
        return turnstile.permits - len(turnstile.holders)


# -- threads and descriptors -------------------------------------------------------------------------


def run_all(bodies: list[Callable[[], None]]) -> None:
    """Runs every body on a thread of its own, all from one barrier, and raises what they raised."""
    barrier = threading.Barrier(len(bodies))
    failures: list[BaseException] = []

    def run(body: Callable[[], None]) -> None:
        try:
            barrier.wait(PATIENCE)
            body()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread is stuck"
    if failures:
        raise failures[0]


@contextlib.contextmanager
def short_of_threads(name: str, times: int = 1) -> Iterator[list[str]]:
    """The next `times` that a thread is to start whose name begins so, the system has no more of them.

    Gives the names of those that did not start.
    """
    genuine = threading.Thread.start
    failed: list[str] = []

    def fail_or_start(thread: threading.Thread) -> None:
        if thread.name.startswith(name) and len(failed) < times:
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        genuine(thread)

    threading.Thread.start = fail_or_start  # type: ignore[method-assign]
    try:
        yield failed
    finally:
        threading.Thread.start = genuine  # type: ignore[method-assign]


def start(body: Callable[[], Any]) -> threading.Thread:
    """A thread that runs `body`."""
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def finish(*threads: threading.Thread) -> None:
    """Waits for threads that have to end."""
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread.name} did not end"


def until(condition: Callable[[], object]) -> None:
    """Looks again and again, where nothing tells when it happens."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "it never happened"
        sleep(0.0005)


@contextlib.contextmanager
def switching(interval: float = 1e-6) -> Iterator[None]:
    """Makes the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def hole() -> Iterator[tuple[str, int]]:
    """An address whose backlog is full: on Linux it answers no SYN, and refuses none."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        endpoint: tuple[str, int] = listener.getsockname()
        for _ in range(3):  # until none fits into its line
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(endpoint)
        yield endpoint
