"""The socket of one WebSocket connection, and what is read from it as messages.

Reads and decodes on the reader's thread, sends on the writer's.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from time import sleep
from typing import Any, Final

from threadchat.errors import CloseCode, CloseFrame, ConnectionClosed
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.state_machine import Protocol
from threadchat.wire.tls import TlsSocket

Socket = socket.socket | TlsSocket

MAX_MESSAGE_SIZE: Final = 512_000
SEND_BUFFER: Final = 128 << 10
"""Bytes that a socket gets to send from; left to itself the kernel queues megabytes ahead of a ping."""
_READ_SIZE: Final = 1024
"""Bytes of a first read: a waiting recv holds a buffer of this size, for each connection."""
_READ_SIZE_BUSY: Final = 64 << 10
"""Bytes of a read after one that was full."""
_BREATH: Final = 64
"""Frames that are decoded the long way, through wsproto, between two pauses of the reader: a millisecond."""
_PAUSE: Final = 0.00005
"""Seconds of such a pause. Who computes without one keeps the interpreter for a whole switch interval. Beside
a flood of pings, of which a read holds ten thousand, the three threads that somebody else's word goes through
took more than a second."""
_LAST_FRAMES: Final = 256
"""Frames that are decoded after a Close of ours, to find the peer's among them; the rest is thrown away."""
_LONGEST_POLL: Final = 0.25
"""Seconds. Linux calls a socket writable only once a third of its buffer is free: at 60 KB/s that was seen to
take 3.8 s, longer than `send_timeout`, while a send would have succeeded after 2."""


class Transport:
    """One connection after its handshake: `receive` for the reader, `send` for the writer.

    Two holders keep the descriptor open, the reader and the writer; it is closed by whichever
    releases it last, never elsewhere, since its number is given to others at once. `_lock` guards
    `_holders`, and holds off the close while somebody shuts the socket down; of TLS, whose own
    lock is acquired under it.
    """

    def __init__(
        self,
        sock: Socket,
        protocol: Protocol,
        trailing: bytes = b"",
        *,
        max_message_size: int = MAX_MESSAGE_SIZE,
        counters: ConnectionCounters | None = None,
    ) -> None:
        self.socket = sock
        self._counters = counters or ConnectionCounters()
        self.writer_thread: threading.Thread | None = None
        self._protocol = protocol
        self._read_text = protocol.read_text
        self._lock = threading.Lock()
        self._holders = 2
        self._process = os.getpid()
        self._max_message_size = max_message_size
        self._closed: ConnectionClosed | None = None  # set: `receive` raises it
        self._trailing = trailing
        self._head = b""  # bytes of a header that is not there whole
        self._passing = 0  # bytes of the present frame that are still to be passed to wsproto
        self._message_size = 0  # bytes of the present fragmented message
        self._most = max_message_size  # bytes of the present message's frames
        # What cannot be compressed gets larger by it: by 4 % where a peer has chosen zlib's least memory.
        self._most_deflated = max_message_size + (max_message_size // 8 + 64) * protocol.inflates
        self._fragmented = False
        self._dropped = False  # what has come of a message is not wanted any more
        self._in_data = False  # the present frame, or else the last one, is no control frame
        self._read_size = _READ_SIZE
        self.controls = 0  # control frames that came; the reader's to count
        self._stopped = False
        self._last_frames = _LAST_FRAMES

    # The reader

    def receive(self) -> list[str | bytes]:
        """Blocks for one read; returns the messages that it completed, often none.

        Runs on: the reader thread. Raises ConnectionClosed after the peer's Close, its end of
        stream, a lost connection, a protocol error (1002, 1007) or a message above the limit
        (1009, before any of it is kept).
        """
        if self._closed is not None:
            # A new one: with a traceback, the kept one would refer to this frame, and so to itself.
            raise ConnectionClosed(self._closed.code, self._closed.reason)
        data, self._trailing = self._trailing, b""
        if not data:
            try:
                data = self.socket.recv(self._read_size)
            except OSError as error:
                raise ConnectionClosed(CloseCode.ABNORMAL, str(error)) from error
            if not data:
                raise ConnectionClosed(CloseCode.ABNORMAL, "the peer ended the stream")
            if self._dropped:  # after a shutdown, too, a socket gives what it had received
                self._protocol.incoming_message = None
                raise ConnectionClosed(CloseCode.ABNORMAL, "the rest is not wanted")
            self._read_size = _READ_SIZE_BUSY if len(data) >= self._read_size else _READ_SIZE
        counters = self._counters
        counters.bytes_in += len(data)
        if self._head:
            data, self._head = self._head + data, b""
        protocol = self._protocol
        self._decode(protocol, data)
        if not protocol.connected and self._closed is None:
            self._closed = ConnectionClosed(protocol.close_reason, protocol.close_message or "")
        messages = protocol.input_buffer
        if messages:
            counters.messages_in += len(messages)
            protocol.input_buffer = []
        return messages

    @property
    def is_within(self) -> bool:
        """Whether a message has begun that is not whole. Runs on: the reader thread, as what follows."""
        return bool(self._fragmented or self._passing or self._head)

    @property
    def progress(self) -> tuple[int, int]:
        """How many messages were whole, and how many bytes of the present one's frames have come."""
        return self._counters.messages_in, self._message_size - self._passing * self._in_data

    @property
    def held(self) -> int:
        """Bytes of a message that is not whole; characters, as long as its first piece is all there is."""
        return len(self._protocol.incoming_message or b"")

    @property
    def peer_closed(self) -> bool:
        """Whether the peer sent a Close: nothing follows that is worth reading."""
        return self._protocol.peer_closed

    @property
    def peer_close(self) -> CloseFrame | None:
        """What the Close of the peer said; None where there was none."""
        if not self._protocol.peer_closed:
            return None
        return CloseFrame(int(self._protocol.close_reason), self._protocol.close_message or "")

    def discard(self) -> bool:
        """Reads and forgets; False once the peer ended the stream. Runs on: the reader thread."""
        sleep(_PAUSE)  # whoever still floods a connection that is over does so in the others' time
        try:
            return bool(self.socket.recv(_READ_SIZE_BUSY))
        except OSError:
            return False

    def _decode(self, protocol: Protocol, data: bytes) -> None:
        """Decodes what frames there are in `data` and keeps a header that is not there whole."""
        read_text = self._read_text
        at = 0
        if self._passing:
            at = min(self._passing, len(data))
            self._passing -= at
            protocol.feed(data[:at])
        size = len(data)
        decoded = 0
        while at < size and protocol.connected:
            if self._stopped and not self._is_worth_reading():
                break
            if not self._fragmented and (short := read_text(data, at, self._max_message_size)):
                text, at = short
                protocol.input_buffer.append(text)
                continue
            decoded += 1
            if not decoded % _BREATH:
                sleep(_PAUSE)
            header = frames.read_header(data, at)
            if header is None:
                self._head = data[at:]
                break
            self._in_data = header.opcode < frames.CLOSE
            self.controls += not self._in_data
            self._judge_size(header)
            if not protocol.connected:
                break
            end = min(header.end, size)
            self._passing = header.end - end
            protocol.feed(data[at:end])
            at = end

    def _is_worth_reading(self) -> bool:
        """Counts the frames that come after our Close; after too many, what comes counts as the end."""
        self._last_frames -= 1
        if self._last_frames < 0:
            self._protocol.connected = False
            self._closed = ConnectionClosed(CloseCode.ABNORMAL, "the peer goes on after a Close")
        return self._last_frames >= 0

    def _judge_size(self, header: frames.Header) -> None:
        """Refuses a message by the length that it declares, fragments added up.

        A compressed one is judged once more, by what it becomes, while it is inflated.
        """
        if header.opcode >= frames.CLOSE or header.size >> 63:  # such a length is an error (5.2)
            return
        if not self._fragmented:
            self._message_size = 0
            self._most = self._most_deflated if header.deflated else self._max_message_size
        self._message_size += header.size
        self._fragmented = not header.final
        if self._message_size > self._most:
            reason = f"message too big: {self._message_size} bytes, at most {self._most} are allowed"
            self._protocol.connected = False
            self._closed = ConnectionClosed(CloseCode.MESSAGE_TOO_BIG, reason)

    # The writer

    def send(self, data: bytes | memoryview) -> int:
        """Sends what the socket takes without blocking; returns how many bytes. Runs on: the writer thread.

        The socket itself stays blocking: MSG_DONTWAIT under a Python timeout would wait it out.
        """
        assert threading.current_thread() is self.writer_thread, "only its writer sends on a socket"
        try:
            return self.socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionClosed(CloseCode.ABNORMAL, str(error)) from error

    def wait_writable(self, timeout: float) -> None:
        """Blocks until the socket takes bytes again, was shut down, or `timeout` seconds are over.

        Returns before that where another attempt may find room. Runs on: the writer thread.
        """
        seconds = min(timeout, _LONGEST_POLL)
        if isinstance(self.socket, TlsSocket):  # which may wait for something else than room
            self.socket.wait_writable(seconds)
            return
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        poll.poll(max(1, int(seconds * 1000)))

    def finish(self) -> None:
        """Ends our side of the stream, after the Close. Runs on: the writer thread."""
        self._shut_down(socket.SHUT_WR)

    # Both, and everybody

    def stop(self) -> None:
        """Nothing that comes is of interest but the peer's Close: see `_LAST_FRAMES`. Runs on: any thread."""
        self._stopped = True

    def drop(self) -> None:
        """Nothing that comes is kept; to be called before `abort`. Runs on: any thread."""
        self._dropped = True

    def addresses(self) -> tuple[Any, Any]:
        """Ours and the peer's; None for each where the socket is gone already. Runs on: any thread."""
        with self._lock:
            if not self._holders:
                return None, None
            try:
                # A twin: TLS has no such methods, and its socket is its own.
                with socket.socket(fileno=os.dup(self.socket.fileno())) as twin:
                    return twin.getsockname(), twin.getpeername()
            except OSError:
                return None, None

    def abort(self) -> None:
        """Wakes reader and writer out of their calls and drops what the kernel still holds.

        Without the linger option a peer that never reads keeps megabytes queued for minutes.
        Runs on: any thread.
        """
        self._shut_down(socket.SHUT_RDWR, reset=True)

    def release(self) -> bool:
        """Called once by the reader's and once by the writer's thread as it ends; the last closes: True."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return False
            with contextlib.suppress(OSError):  # ECONNRESET, of a connection that is gone anyway
                self.socket.close()
        self._protocol.forget()
        return True

    def _shut_down(self, how: int, *, reset: bool = False) -> None:
        with self._lock:
            # A forked process has the descriptor too, but the connection is its parent's.
            if self._holders and self._process == os.getpid():
                with contextlib.suppress(OSError):  # the peer was faster
                    if reset:
                        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.socket.shutdown(how)
