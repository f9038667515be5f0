"""Many raw WebSocket clients on one thread, which can read slowly, never, or leave by a reset."""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

PATIENCE = 60.0  # seconds after which what does not happen is a failure
TICK = 0.02  # seconds between two looks at clients that read at a pace, and at conditions
MASK = b"\x37\xfa\x21\x3d"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NO_CLOSE = 1006  # what `Client.closed` says where the stream ended without a Close

Frame = dict[str, Any]


def encode(opcode: int, payload: bytes) -> bytes:
    """One frame as clients send it: masked."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = (MASK * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + MASK + masked.to_bytes(size, "big")


class Client:
    """One connection; a subclass says in `on_text` what a message means.

    `closed` is None, then the code that the server closed with. `pace` is the most that is read, in
    bytes a second: None reads whatever comes, 0 nothing. `faults` tells where the server broke the protocol.
    """

    answers_pings = True

    def __init__(self, crowd: Crowd, sock: socket.socket, path: str, headers: str = "") -> None:
        self.crowd = crowd
        self.sock = sock
        self.closed: int | None = None
        self.faults: list[str] = []
        self.upgraded = False
        self._pace: int | None = None
        self._next_read = 0.0
        self._rest = b""
        self._unsent = b""
        self._close_code: int | None = None
        sock.setblocking(False)
        self._write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )

    def on_text(self, payload: bytes) -> None:
        """Called for each message."""

    @property
    def pace(self) -> int | None:
        """See the class."""
        return self._pace

    @pace.setter
    def pace(self, pace: int | None) -> None:
        self._pace = pace
        self._next_read = time.monotonic()
        self.crowd.watch(self)

    def send_text(self, *texts: str) -> None:
        """Sends messages without a pause; what the socket does not take now goes out in `Crowd.run`."""
        self._write(b"".join(encode(TEXT, text.encode()) for text in texts))

    def reset(self) -> None:
        """Leaves by a TCP reset, without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end(NO_CLOSE)

    def leave(self) -> None:
        """Begins a proper close; `closed` is set once the server answered."""
        self._write(encode(CLOSE, (1000).to_bytes(2, "big")))

    # For the crowd

    @property
    def wanted_events(self) -> int:
        """What the selector is to look for."""
        read = selectors.EVENT_READ if self._pace is None else 0
        return read | (selectors.EVENT_WRITE if self._unsent else 0)

    def read(self, most: int = 1 << 18) -> None:
        """Takes what came."""
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return
        except OSError:
            self._end(NO_CLOSE)
            return
        if not data:
            self._end(self._close_code or NO_CLOSE)
            return
        self._parse(self._rest + data)

    def read_at_pace(self, now: float) -> None:
        """Takes as much as the pace allows by now, and does not make up for a pause."""
        while self._pace and self.closed is None and now >= self._next_read:
            self._next_read = max(self._next_read, now - 1.0) + 4096 / self._pace
            self.read(4096)

    def flush(self) -> None:
        """Sends what waits."""
        data, self._unsent = self._unsent, b""
        self._write(data)

    # Helpers

    def _write(self, data: bytes) -> None:
        had_unsent = bool(self._unsent)
        if not had_unsent:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                data = b""  # reading tells what happened
        self._unsent += data
        self.crowd.watch(self)

    def _end(self, code: int) -> None:
        if self.closed is None:
            self.closed = code
            self.crowd.forget(self)
            self.sock.close()

    def _parse(self, data: bytes) -> None:
        at = 0
        if not self.upgraded:
            head, found, _ = data.partition(b"\r\n\r\n")
            if found:
                assert head.startswith(b"HTTP/1.1 101 "), head
                self.upgraded = True
                at = len(head) + 4
        size = len(data) if self.upgraded else 0
        while size - at >= 2:
            first, length = data[at], data[at + 1]
            body = at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                length = int.from_bytes(data[body : body + width], "big")
                body += width
            if body + length > size:
                break
            at = body + length
            self._take(first, data[body:at])
        self._rest = data[at:]

    def _take(self, first: int, payload: bytes) -> None:
        if self._close_code is not None:
            self.faults.append(f"frame {first:#x} after a Close")
        elif first == 0x80 | TEXT:
            self.on_text(payload)
        elif first == 0x80 | PING:
            if self.answers_pings:
                self._write(encode(PONG, payload))
        elif first == 0x80 | CLOSE:
            self._close_code = int.from_bytes(payload[:2], "big") or 1005
            self._write(encode(CLOSE, payload[:2]))
        elif first != 0x80 | PONG:
            self.faults.append(f"unexpected frame {first:#x}")


class Member(Client):
    """A client of the native dialect. What it says is answered into `replies`, by the command's id.

    `ids` are those of all events that came, `messages` the texts of those that are messages. `lives` says how
    many events had come when each `live` did; `others` is the rest.
    """

    def __init__(self, crowd: Crowd, sock: socket.socket, path: str) -> None:
        self.ids: list[int] = []
        self.messages: list[str] = []
        self.lives: list[int] = []
        self.others: list[Frame] = []
        self.replies: dict[int, Frame] = {}
        self._asked = 0
        super().__init__(crowd, sock, path)

    def on_text(self, payload: bytes) -> None:
        """Sorts what came."""
        frame: Frame = json.loads(payload)
        if "re" in frame:
            self.replies[frame["re"]] = frame
        elif "chatroomId" in frame and "id" in frame:
            self.ids.append(frame["id"])
            if frame["type"] == "message":
                self.messages.append(frame["message"])
        elif frame.get("type") == "live":
            self.lives.append(len(self.ids))
        else:
            self.others.append(frame)

    def command(self, command: str, **fields: object) -> int:
        """Sends a command that is answered; returns its id."""
        self._asked += 1
        self.send_text(json.dumps({"type": command, "id": self._asked, **fields}))
        return self._asked

    def say(self, room: str, messages: Iterable[str]) -> None:
        """Says all of `messages` without a pause; they are not answered."""
        commands = ({"type": "message", "room": room, "message": message} for message in messages)
        self.send_text(*map(json.dumps, commands))

    def has(self, messages: int) -> Callable[[], bool]:
        """Whether so many messages have come, or the connection has gone; for `Crowd.run`."""
        return lambda: len(self.messages) >= messages or self.closed is not None

    def has_no_hole(self) -> bool:
        """Whether the events that came are consecutive, each there once."""
        return not self.ids or self.ids == list(range(self.ids[0], self.ids[0] + len(self.ids)))


class Crowd:
    """All clients of one test; a context manager. Everything runs on the caller's thread."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = host, port
        self._selector = selectors.DefaultSelector()
        self._paced: set[Client] = set()
        self._clients: set[Client] = set()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in list(self._clients):
            client.reset()
        self._selector.close()

    def connect(self, count: int, path: str = "/chat", *, receive_buffer: int | None = None) -> list[Member]:
        """New members, upgraded; `receive_buffer` is their SO_RCVBUF in bytes."""
        members = []
        for _ in range(count):
            sock = socket.socket()
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.connect(self._address)
            members.append(Member(self, sock, path))
        self.run(lambda: all(member.upgraded for member in members))
        return members

    def enter(
        self, count: int, room: str, *, receive_buffer: int | None = None, **join: object
    ) -> list[Member]:
        """New members who said hello and joined `room`."""
        members = self.connect(count, receive_buffer=receive_buffer)
        self.ask_all(members, "hello", nickname="somebody")
        self.ask_all(members, "join", room=room, **join)
        return members

    def ask(self, member: Member, command: str, **fields: object) -> Frame:
        """Does one command; returns its reply."""
        return self.ask_all([member], command, **fields)[0]

    def ask_all(self, members: list[Member], command: str, **fields: object) -> list[Frame]:
        """Does one command on every connection; returns their replies, none of which is an error."""
        asked = [(member, member.command(command, **fields)) for member in members]
        self.run(lambda: all(number in member.replies for member, number in asked))
        replies = [member.replies[number] for member, number in asked]
        refused = [reply for reply in replies if reply["type"] != "ok"]
        assert not refused, refused[0]
        return replies

    def run(self, done: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Reads and writes until `done`. Raises TimeoutError after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not done():
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"not done after {patience:g} s")
            for client in list(self._paced):
                client.read_at_pace(now)
            for key, events in self._selector.select(TICK):
                client = key.data
                if events & selectors.EVENT_WRITE and client.closed is None:
                    client.flush()
                if events & selectors.EVENT_READ and client.closed is None:
                    client.read()

    # For clients

    def watch(self, client: Client) -> None:
        """Looks for what the client wants to know of its socket from now on."""
        if client.closed is not None:
            return
        self._clients.add(client)
        (self._paced.add if client.pace else self._paced.discard)(client)
        registered = self._selector.get_map().get(client.sock)
        before = registered.events if registered is not None else 0
        if client.wanted_events == before:
            return
        if not before:
            self._selector.register(client.sock, client.wanted_events, client)
        elif client.wanted_events:
            self._selector.modify(client.sock, client.wanted_events, client)
        else:
            self._selector.unregister(client.sock)

    def forget(self, client: Client) -> None:
        """Looks at nothing of this client any more."""
        self._clients.discard(client)
        self._paced.discard(client)
        if client.sock in self._selector.get_map():
            self._selector.unregister(client.sock)
