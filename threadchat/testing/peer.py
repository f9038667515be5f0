"""A WebSocket client without a thread: it reads and answers only while the test calls it."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode, HandshakeRefused
from threadchat.wire.protocol import frames

TIMEOUT: Final = 10.0
"""Seconds for each wait of a peer for the server; a test that waits this long has failed."""
_READ_SIZE: Final = 64 << 10
_END: Final = b"\r\n\r\n"  # the end of a response's head
_TEXT_OR_BINARY: Final = (frames.TEXT, frames.BINARY)


class Peer:
    """A client that does nothing by itself: frames that it does not read wait at the server.

    ```python
    from threadchat.testing import LiveServer, Peer

    with LiveServer() as server, Peer(server.url) as ann, Peer(server.url) as bob:
        for peer, nickname in ((ann, "ann"), (bob, "bob")):
            peer.ask("hello", nickname=nickname)
        bob.ask("join", room="lobby")
        assert bob.next()["type"] == "join"  # bob's own
        ann.ask("message", room="lobby", message="hi")
        assert bob.next()["message"] == "hi"
        server.chat.emit("lobby", "order.created", {"id": 17})
        assert bob.event("order.created")["data"] == {"id": 17}
    ```

    It answers pings while it reads. Use it on one thread only.
    """

    def __init__(
        self,
        url: str,
        *,
        sock: socket.socket | None = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
        timeout: float = TIMEOUT,
        settle: Callable[[], object] = bool,
    ) -> None:
        """Connects to a ws:// URL and opens the WebSocket. `sock`: a connected socket to use instead.

        `headers` are sent with the request. `receive_buffer`: bytes that the kernel buffers for this end;
        None leaves the size to the system. `timeout`: seconds for each wait for the server. Raises OSError,
        and HandshakeRefused if the server answers with anything but 101.
        """
        parts = urlsplit(url)
        if parts.scheme != "ws" or not parts.hostname:
            raise ValueError(f"a peer connects to ws://host:port/path, not to {url!r}")
        self._data = b""  # bytes that were read and are not a whole frame yet
        self._settle = settle  # called once a command was answered
        self._asked = itertools.count(1)
        self._waiting: deque[str | bytes] = deque()  # messages that were read before they were asked for
        self.closed: ConnectionClosed | None = None
        """Why the connection ended; None until the peer has read its end."""
        self.socket = sock or _connect((parts.hostname, parts.port or 80), receive_buffer, timeout)
        self.socket.settimeout(timeout)
        try:
            target = f"{parts.path or '/'}?{parts.query}".removesuffix("?")
            self._upgrade(parts.netloc, target, headers or {})
        except BaseException:
            self.socket.close()
            raise

    # Messages

    def send(self, message: str | bytes | dict[str, Any]) -> None:
        """Sends text, bytes, or an object as JSON.

        Raises ConnectionClosed if the server is gone, and TimeoutError if it accepted nothing for `timeout`
        seconds; the connection cannot be used after that.
        """
        if isinstance(message, dict):
            message = json.dumps(message)
        if isinstance(message, str):
            self._send(frames.TEXT, message.encode())
        else:
            self._send(frames.BINARY, message)

    def recv(self) -> str | bytes:
        """The next message. Raises ConnectionClosed at the end, TimeoutError after `timeout` seconds."""
        while not self._waiting:
            self._read(_READ_SIZE)
        return self._waiting.popleft()

    def next(self) -> dict[str, Any]:
        """The next message, which must be a JSON object. Raises the errors of `recv`."""
        message = json.loads(self.recv())
        if not isinstance(message, dict):
            raise ValueError(f"the server sent {message!r}, which is not a JSON object; read it with recv()")
        return message

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Sends a command of the chat and returns its reply. Messages that come before it wait for `next`.

        Raises CommandError with the code of a refusal, and the errors of `recv`.
        """
        number = next(self._asked)
        self.send({"type": command, "id": number, **fields})
        before: list[str | bytes] = []
        while True:
            text = self.recv()
            reply = json.loads(text)
            if isinstance(reply, dict) and reply.get("re") == number:
                break
            before.append(text)
        self._settle()
        self._waiting.extendleft(reversed(before))
        if reply["type"] == "error":
            code = next(code for code in ErrorCode if code == reply["code"])
            raise CommandError(code, reply["reason"], temporary=reply["temporary"])
        return reply

    def call(self, name: str, data: object = None) -> Any:
        """Calls a command of the application and returns its result. Raises the errors of `ask`."""
        return self.ask("call", name=name, data=data).get("data")

    def event(self, name: str) -> dict[str, Any]:
        """The next application event with this name, of a room or the inbox.

        Messages that come before it wait for `next`. Raises the errors of `recv`.
        """
        before: list[str | bytes] = []
        try:
            while True:
                text = self.recv()
                message = json.loads(text)
                if isinstance(message, dict) and (message.get("type"), message.get("name")) == (
                    "event",
                    name,
                ):
                    return message
                before.append(text)
        finally:
            self._waiting.extendleft(reversed(before))

    # The end

    def close(self, code: int = CloseCode.NORMAL) -> None:
        """Sends a Close if the connection is open, reads until the server ends the stream, and closes."""
        if self.socket.fileno() < 0:
            return
        try:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                if self.closed is None:
                    self._send(frames.CLOSE, code.to_bytes(2, "big"))
                while self.closed is None:
                    self._read(_READ_SIZE)
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                while self.socket.recv(_READ_SIZE):
                    pass
        finally:
            self.socket.close()

    def reset(self) -> None:
        """Resets the connection, without a close handshake."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"closed: {self.closed}" if self.closed else "open"
        return f"<{type(self).__name__} {state}, {len(self._waiting)} messages wait>"

    # Helpers

    def _upgrade(self, host: str, target: str, headers: Mapping[str, str]) -> None:
        own = {
            "Host": host,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in (own | dict(headers)).items())
        self.socket.sendall(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        status, *fields = self._read_head().removesuffix(_END).decode("latin-1").split("\r\n")
        if status.split(" ")[1:2] != ["101"]:
            raise self._refusal(status, fields)

    def _read_head(self) -> bytes:
        """Reads exactly the head of the response; what follows stays in the socket for the test to read."""
        head = b""
        while not head.endswith(_END) and (seen := self._receive(_READ_SIZE, socket.MSG_PEEK)):
            end = (head + seen).find(_END)
            head += self.socket.recv(len(seen) if end < 0 else end + len(_END) - len(head))
        return head

    def _refusal(self, status: str, fields: list[str]) -> HandshakeRefused:
        body = b""
        with contextlib.suppress(TimeoutError, ConnectionClosed):  # a server may keep it open, or reset it
            while data := self._receive(_READ_SIZE):
                body += data
        protocol, _, rest = status.partition(" ")
        code = int(rest[:3]) if protocol.startswith("HTTP/") and rest[:3].isdigit() else 0
        headers = [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        return HandshakeRefused(code, headers, body.decode("utf-8", "replace"))

    def _send(self, opcode: int, payload: bytes) -> None:
        try:
            self.socket.sendall(frames.encode_masked(opcode, payload))
        except TimeoutError:
            raise TimeoutError(f"the server accepted nothing for {self.socket.gettimeout():g} s") from None
        except OSError as error:
            self.closed = self.closed or ConnectionClosed(CloseCode.ABNORMAL, str(error))
            raise self.closed from error

    def _read(self, size: int) -> int:
        """Reads up to `size` bytes from the socket, waiting for the first; returns their number.

        Messages that are complete now wait for `recv`.
        """
        if self.closed is not None:
            raise self.closed
        data = self._receive(size)
        if not data:
            self._data = b""
            self.closed = ConnectionClosed(CloseCode.ABNORMAL, "the server ended the stream")
            raise self.closed
        self._data += data
        self._take_frames()
        return len(data)

    def _receive(self, size: int, flags: int = 0) -> bytes:
        try:
            return self.socket.recv(size, flags)
        except TimeoutError:
            raise TimeoutError(f"nothing came within {self.socket.gettimeout():g} s") from None
        except ConnectionError as error:
            self.closed = ConnectionClosed(CloseCode.ABNORMAL, str(error))
            raise self.closed from error

    def _take_frames(self) -> None:
        at = 0
        data = self._data
        while (header := frames.read_header(data, at)) is not None and header.end <= len(data):
            self._handle(header, data[header.body : header.end])
            at = header.end
        self._data = data[at:]

    def _handle(self, header: frames.Header, payload: bytes) -> None:
        if header.opcode in _TEXT_OR_BINARY and header.final:
            self._waiting.append(payload.decode() if header.opcode == frames.TEXT else payload)
        elif header.opcode == frames.PING:
            self._send(frames.PONG, payload)
        elif header.opcode == frames.CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else CloseCode.NO_STATUS
            with contextlib.suppress(ConnectionClosed):  # the server may be gone after its Close
                self._send(frames.CLOSE, payload[:2])
            self.closed = ConnectionClosed(code, payload[2:].decode())
        elif header.opcode != frames.PONG:
            raise ValueError("the server sent a fragment, which threadchat never does")


def _connect(address: tuple[str, int], receive_buffer: int | None, timeout: float) -> socket.socket:
    sock = socket.socket()
    try:
        if receive_buffer is not None:  # before connecting, because it bounds the announced TCP window
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock
