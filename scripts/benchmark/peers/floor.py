"""The floor of a thread a connection, for one message at a time: each thread sends it and wakes the next.

It is no server to use. The threads are on one core under SCHED_BATCH, and hand a lock round; all that they do
otherwise is the one system call. The main thread reads, takes what arrives in one piece for one frame, and
waits for the end of a round before it begins the next.
"""

from __future__ import annotations

import base64
import hashlib
import os
import select
import socket
import sys
import threading
from contextlib import suppress

PORT = int(sys.argv[1])

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STACK = 256 * 1024
SHORT = 126  # bytes: from here on a frame's length is written elsewhere
MASK = 4


class Room:
    """Everybody; the threads form a chain, whose first is the one that came last."""

    def __init__(self) -> None:
        self.frame = b""
        self.over = threading.Lock()
        self.over.acquire()
        self.first = self.over

    def enter(self, sock: socket.socket) -> None:
        mine = threading.Lock()
        mine.acquire()
        threading.Thread(target=self._run, args=(sock, mine, self.first), daemon=True).start()
        self.first = mine

    def _run(self, sock: socket.socket, mine: threading.Lock, following: threading.Lock) -> None:
        while True:
            mine.acquire()
            with suppress(OSError):
                sock.send(self.frame, socket.MSG_DONTWAIT)
            following.release()

    def publish(self, frame: bytes) -> None:
        self.frame = frame
        self.first.release()
        self.over.acquire()


def accepted(request: bytes) -> bytes:
    """Return the answer to an upgrade request."""
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def unmasked(frame: bytes) -> bytes:
    """Return a client's text frame as a server sends it on."""
    start = 2 if frame[1] & 0x7F < SHORT else 4
    mask, payload = frame[start : start + MASK], frame[start + MASK :]
    plain = bytes(byte ^ mask[i % MASK] for i, byte in enumerate(payload))
    return bytes([frame[0], frame[1] & 0x7F]) + frame[2:start] + plain


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.setswitchinterval(0.05)
    threading.stack_size(STACK)
    room, ready, connections = Room(), select.epoll(), {}
    with socket.create_server(("127.0.0.1", PORT), backlog=4096) as listener:
        ready.register(listener, select.EPOLLIN)
        while True:
            for descriptor, _ in ready.poll():
                if descriptor == listener.fileno():
                    sock, _ = listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[sock.fileno()] = sock
                    ready.register(sock, select.EPOLLIN)
                    continue
                sock = connections[descriptor]
                data = sock.recv(65536)
                if not data:
                    ready.unregister(sock)
                elif data.startswith(b"GET "):
                    sock.send(accepted(data))
                    room.enter(sock)
                elif data[0] & 0x0F == 1:
                    room.publish(unmasked(data))


main()
