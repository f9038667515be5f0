"""Compresses events for the peers that accept it: a broadcast is compressed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from threadchat.chat.log.events import Record
from threadchat.server.protocol import encoding
from threadchat.wire.protocol.deflate import DEFLATERS, Deflater
from threadchat.wire.protocol.requests import Latest, Text

Encode = Callable[[Sequence[Record]], Text]


class CompressedEncoder:
    """Encodes events with `encode` and compresses the result.

    It remembers its last result: a room asks once for all subscriptions without a filter, and once for each
    with a filter. It may be called on any thread; at worst two threads compress the same events.
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
        if isinstance(text, Latest):  # it stays replaceable in the outbox, and it is small
            return text
        text = self._deflater.pack(text)
        self._last = wanted, text
        return text


def _by_deflater(encode: Encode) -> dict[Deflater | None, Encode]:
    return {None: encode, **{deflater: CompressedEncoder(encode, deflater) for deflater in DEFLATERS}}


NATIVE: Final = _by_deflater(encoding.native_events)
"""The encoders of the native dialect, by a connection's `deflater`."""
BROADCAST: Final = _by_deflater(encoding.broadcast_events)
"""The encoders of the broadcast dialect, by a connection's `deflater`."""
