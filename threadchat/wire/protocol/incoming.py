"""Turns the bytes that come from a peer into messages, and refuses those that are too long."""

from __future__ import annotations

from time import sleep
from typing import Final

from threadchat.errors import CloseCode, CloseFrame, ConnectionClosed
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.state_machine import Protocol

_FRAMES_PER_PAUSE: Final = 64
"""Frames that the reader decodes with wsproto between two pauses; they take about a millisecond."""
PAUSE: Final = 0.00005
"""Seconds of such a pause. A thread that computes without a pause keeps the interpreter for a whole switch
interval. During a flood of pings (one read holds ten thousand), another user's message, which passes through
three threads, took more than a second."""
_HELD: Final = 64 << 10
"""Bytes of the longest frame that is kept until it is whole, where it goes on after a read that was full.
wsproto, which takes frames in pieces, takes 50 microseconds for two of them."""
_LAST_FRAMES: Final = 256
"""Frames that are decoded after our Close, to find the peer's Close among them; the rest is discarded."""


class Incoming:
    """What has come of the present message and frame. The reader thread calls all but `stop`."""

    def __init__(self, protocol: Protocol, max_message_size: int) -> None:
        self.protocol = protocol
        self._read_text = protocol.read_text
        self._max_message_size = max_message_size
        self._closed: ConnectionClosed | None = None  # once set, nothing more is read
        self._head = b""  # the bytes of an incomplete header, or of a frame that the next read makes whole
        self._passing = 0  # bytes of the current frame that are still to be passed to wsproto
        self._message_size = 0  # bytes of the current message's frames so far
        self._most = max_message_size  # bytes that these frames may have
        # Compression enlarges what it cannot shrink: by 4 % if a peer uses zlib's lowest memory level.
        self._most_deflated = max_message_size + (max_message_size // 8 + 64) * protocol.inflates
        self._fragmented = False
        self._in_data = False  # the present frame, or else the last one, is no control frame
        self.controls = 0  # whole control frames received
        self._stopped = False
        self._last_frames = _LAST_FRAMES

    def stop(self) -> None:
        """Ignores all that arrives but the peer's Close; see `_LAST_FRAMES`. Runs on: any thread."""
        self._stopped = True

    @property
    def is_within(self) -> bool:
        """Whether a message has begun that is not whole."""
        return bool(self._fragmented or self._passing or self._head)

    @property
    def held(self) -> int:
        """Bytes of a message that is not whole; characters, as long as its first piece is all there is."""
        return len(self.protocol.incoming_message or b"") + len(self._head)

    @property
    def peer_closed(self) -> bool:
        """Whether the peer sent a Close, after which nothing needs to be read."""
        return self.protocol.peer_closed

    @property
    def peer_close(self) -> CloseFrame | None:
        """The peer's Close; None until it arrives."""
        if not self.protocol.peer_closed:
            return None
        return CloseFrame(int(self.protocol.close_reason), self.protocol.close_message or "")

    def _decode(self, protocol: Protocol, data: bytes, was_full: bool) -> None:
        """Decodes the frames in `data`, and keeps an incomplete header for the next read.

        `was_full`: the read was as long as it could be, so more has probably come, and the next one is long.
        """
        read_text = self._read_text
        at = 0
        if self._passing:
            at = min(self._passing, len(data))
            self._passing -= at
            protocol.feed(data[:at])
            self.controls += not (self._in_data or self._passing)
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
            if not decoded % _FRAMES_PER_PAUSE:
                sleep(PAUSE)
            header = frames.read_header(data, at)
            if header is None or (was_full and header.end > size and self._is_worth_holding(header, at)):
                self._head = data[at:]
                break
            self._in_data = header.opcode < frames.CLOSE
            self._check_size(header)
            if not protocol.connected:
                break
            end = min(header.end, size)
            self._passing = header.end - end
            protocol.feed(data[at:end])
            self.controls += not (self._in_data or self._passing)
            at = end

    def _is_worth_holding(self, header: frames.Header, start: int) -> bool:
        """Whether `read_text` may decode the frame once the rest of it has come."""
        return (
            header.opcode == frames.TEXT
            and header.final
            and not (self._fragmented or header.deflated)
            and header.size <= self._max_message_size
            and header.end - start <= _HELD
        )

    def _is_worth_reading(self) -> bool:
        """Counts the frames after our Close; after `_LAST_FRAMES` the connection counts as lost."""
        self._last_frames -= 1
        if self._last_frames < 0:
            self.protocol.connected = False
            self._closed = ConnectionClosed(CloseCode.ABNORMAL, "the peer goes on after a Close")
        return self._last_frames >= 0

    def _check_size(self, header: frames.Header) -> None:
        """Refuses a message by its declared length, which is summed over its fragments.

        The size of a compressed message is checked again while it is inflated.
        """
        if header.opcode >= frames.CLOSE or header.size >> 63:  # wsproto refuses such a length (RFC 6455 5.2)
            return
        if not self._fragmented:
            self._message_size = 0
            self._most = self._most_deflated if header.deflated else self._max_message_size
        self._message_size += header.size
        self._fragmented = not header.final
        if self._message_size > self._most:
            reason = f"message too big: {self._message_size} bytes, at most {self._most} are allowed"
            self.protocol.connected = False
            self._closed = ConnectionClosed(CloseCode.MESSAGE_TOO_BIG, reason)
