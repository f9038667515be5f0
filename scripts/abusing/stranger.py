"""One raw connection of an attacker: sends any bytes, and reports how the server answered."""

from __future__ import annotations

import itertools
import json
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.e2e.crowd import CLOSE, PING, PONG, TEXT, encode

PATIENCE = 60.0  # seconds until what does not happen is a failure; a busy machine gets all of it
OPEN = "served"  # how a connection was answered that the server goes on serving
RESET, END = "reset", "end"  # how it ended without a word
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

_numbers = itertools.count(1)


class Unanswered(Exception):
    """The server did not do what was expected; the message says what that was."""


def upgrade(path: str = "/chat", *more: str) -> bytes:
    """A valid handshake, with further header lines."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def text(value: object) -> bytes:
    """A text frame; a string is sent as it is, anything else as JSON."""
    return encode(TEXT, (value if isinstance(value, str) else json.dumps(value)).encode())


class Stranger:
    """A connection, used on one thread. `answer` says how it ended: a status, a close code, `reset`, `end`.

    `texts` holds the received messages, `pongs` counts pongs. Pings are not answered.
    """

    def __init__(
        self, address: tuple[str, int], receive_buffer: int | None = None, source: str = "127.0.0.1"
    ) -> None:
        self.texts: list[bytes] = []
        self.pongs = 0
        self.user = 0  # its id, once it has said hello
        self.head = b""  # of the response, once it is whole
        self._close_code = 0
        self._ended = ""
        self._data = b""
        self.sock = socket.socket()
        if receive_buffer is not None:  # before connecting: it bounds the window that is announced
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.setblocking(False)

    # What it does

    def send(self, data: bytes) -> None:
        """Sends all data without reading; stops if the server has closed the connection."""
        self.pump(data, reading=False)

    def send_reading(self, data: bytes) -> None:
        """Sends all data, and reads meanwhile."""
        self.pump(data)

    def upgrade(self, path: str = "/chat", *more: str) -> None:
        """Sends a valid handshake and waits for its answer, which must be 101."""
        self.send(upgrade(path, *more))
        self.wait_for(lambda: b"\r\n\r\n" in self.head, "an answer to the handshake")
        if self.status != "101":
            raise Unanswered(f"the handshake was answered with {self.head[:200]!r}")

    def ask(self, command: str, **fields: object) -> dict[str, Any]:
        """Sends a command and returns its reply, which may be an error. Raises Unanswered."""
        return self.ask_all([{"type": command, **fields}])[0]

    def ask_all(self, commands: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Sends commands without a pause; returns the reply to each. Raises Unanswered."""
        numbered = {str(next(_numbers)): command for command in commands}
        replies: dict[str, dict[str, Any]] = {}

        def all_answered() -> bool:
            for message in self.texts:
                frame = json.loads(message)
                if frame.get("re") in numbered:
                    replies[frame["re"]] = frame
            self.texts.clear()
            return len(replies) == len(numbered)

        self.texts.clear()
        data = b"".join(text({**command, "id": number}) for number, command in numbered.items())
        self.pump(data, all_answered, what="replies")
        if len(replies) < len(numbered):
            first = next(command for number, command in numbered.items() if number not in replies)
            raise Unanswered(f"{first['type']} was not answered: {self._answered()}")
        return [replies[number] for number in numbered]

    def served(self) -> str:
        """OPEN if the server still serves this connection; otherwise how the connection ended."""
        try:
            self.ask("ping")
        except Unanswered:
            return self.answer()
        return OPEN

    def answer(self) -> str:
        """Reads until the server ends the connection; a close code, else a status, else `reset` or `end`."""
        self.wait_for(lambda: bool(self._ended), "the end of the connection")
        return self._answered()

    def finish(self) -> None:
        """Half-closes the connection: sends nothing more."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has closed it already

    def reset(self) -> None:
        """Resets the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # Receiving

    @property
    def status(self) -> str:
        """The status of the HTTP answer; "" before it has arrived."""
        return self.head[9:12].decode("latin-1") if self.head.startswith(b"HTTP/1.1 ") else ""

    @property
    def ended(self) -> bool:
        """Whether the stream has been read to its end."""
        return bool(self._ended)

    @property
    def body(self) -> bytes:
        """The body of an answer that is not an upgrade."""
        return self._data

    def glance(self) -> None:
        """Reads what has arrived, without waiting."""
        if not self._ended:
            self._read()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Reads until the condition holds, or the stream has ended. Raises Unanswered."""
        self.pump(b"", condition, what=what)

    def pump(
        self,
        data: bytes,
        done: Callable[[], bool] = lambda: True,
        *,
        reading: bool = True,
        what: str = "all of it to be taken",
    ) -> None:
        """Sends `data`, and reads if `reading`, until all is sent and `done` is true, or the stream ends."""
        rest = memoryview(data)
        poll = select.poll()
        deadline = time.monotonic() + PATIENCE
        while not self._ended and (rest or not done()):
            poll.register(self.sock, (select.POLLIN if reading else 0) | (select.POLLOUT if rest else 0))
            if not (events := poll.poll(1000)):
                if time.monotonic() > deadline:
                    raise Unanswered(f"still waiting for {what}")
                continue
            deadline = time.monotonic() + PATIENCE
            if events[0][1] & (select.POLLERR | select.POLLHUP):
                self._read_all()
                return
            if events[0][1] & select.POLLIN:
                self._read()
            if events[0][1] & select.POLLOUT:
                rest = rest[self._send(rest) :]

    # Helpers

    def _answered(self) -> str:
        if self._close_code:
            return str(self._close_code)
        return self.status if self.status not in ("", "101") else self._ended or OPEN

    def _send(self, data: memoryview) -> int:
        try:
            return self.sock.send(data[: 1 << 20])
        except BlockingIOError:
            return 0
        except OSError:
            self._read_all()
            return 0

    def _read_all(self) -> None:
        """Reads what arrived before the end of the stream."""
        while not self._ended:
            self._read()

    def _read(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            self._ended = RESET
            return
        if not data:
            self._ended = END
            return
        self._data += data
        if not self.head:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            self.head, self._data = head + found, rest
        if self.status == "101":
            self._take_frames()

    def _take_frames(self) -> None:
        data = self._data
        at, size = 0, len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : body], "big")
            if body + length > size:
                break
            self._take(data[at] & 0x0F, data[body : body + length])
            at = body + length
        self._data = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.texts.append(payload)
        elif opcode == PONG:
            self.pongs += 1
        elif opcode == CLOSE:
            self._close_code = int.from_bytes(payload[:2], "big") or 1005
        elif opcode != PING:
            raise Unanswered(f"the server sent a frame of opcode {opcode:#x}")
