"""Events for peers who take them compressed: a broadcast is compressed once, for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from threadchat.chat.log.events import Record
from threadchat.server.protocol import encoding
from threadchat.wire.protocol.deflate import DEFLATERS, Deflater
from threadchat.wire.protocol.requests import Latest, Text

Encode = Callable[[Sequence[Record]], Text]


class CompressedEncoder:
    """Encodes as `encode` does, then compresses.

    It remembers the last events that it was asked for: a room asks once for all who want everything, but for
    each of those with a filter by itself. To be called on any thread: at worst something is compressed twice.
    """

    __slots__ = ("_deflater", "_encode", "_last")

    def __init__(self, encode: Encode, deflater: Deflater) -> None:
        self._encode = encode
        self._deflater = deflater
        self._last: tuple[tuple[Record, ...], Text] | None = None

    def __call__(self, records: Sequence[Record]) -> Text:
        wanted = tuple(records)
        last = self._last
        if last is not None and last[0] == wanted:
            return last[1]
        text = self._encode(wanted)
        if isinstance(text, Latest):  # its place may be taken, and it is small; frames may differ in this
            return text
        text = self._deflater.pack(text)
        self._last = wanted, text
        return text


def _by_deflater(encode: Encode) -> dict[Deflater | None, Encode]:
    return {None: encode, **{deflater: CompressedEncoder(encode, deflater) for deflater in DEFLATERS}}


NATIVE: Final = _by_deflater(encoding.native_events)
"""What encodes events of the native dialect, by a connection's `deflater`."""
BROADCAST: Final = _by_deflater(encoding.broadcast_events)
"""The same of the broadcast dialect."""
