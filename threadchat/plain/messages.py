"""Puts the messages of a program into frames: as a whole, or in fragments as they are produced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from threadchat.wire.connection import Connection
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Packed, Text

BytesLike = bytes | bytearray | memoryview
Message = str | BytesLike
_FIN: Final = 0x80


def encoded(connection: Connection, message: Message, text: bool | None = None) -> Text:
    """The frame of a message, masked as the connection's role requires. Raises TypeError for other types.

    With `text=True` bytes are sent as text without a check; the caller must know that they are UTF-8.
    """
    if isinstance(message, str):
        return connection.binary(message.encode()) if text is False else connection.text(message)
    if isinstance(message, BytesLike):
        return connection.encoded_text(bytes(message)) if text else connection.binary(bytes(message))
    raise TypeError(f"a message is str, bytes, or an iterable of either, not {type(message).__name__}")


def send_fragments(
    connection: Connection, send: Callable[[Text], None], pieces: Iterable[Message], text: bool | None = None
) -> None:
    """Sends each piece in a frame of its own as soon as it is produced; sends nothing if there are none.

    Fragments are not compressed. Raises TypeError for pieces that are not all text or all bytes, and
    whatever the iterable raises. An unfinished message then leaves the connection unusable.
    """
    opcode = frames.CONTINUATION
    kind: Any = None
    for piece in pieces:
        if kind is None:
            kind = str if isinstance(piece, str) else BytesLike
            as_text = kind is str if text is None else text
            opcode = frames.TEXT if as_text else frames.BINARY
        if not isinstance(piece, kind) or not isinstance(piece, Message):
            raise TypeError("the pieces of a message are all str or all bytes")
        payload = piece.encode() if isinstance(piece, str) else bytes(piece)
        send(Packed(_fragment(connection, opcode, payload)))
        opcode = frames.CONTINUATION
    if kind is not None:
        send(Packed(connection.encode(frames.CONTINUATION, b"")))


def _fragment(connection: Connection, opcode: int, payload: bytes) -> bytes:
    frame = connection.encode(opcode, payload)
    return bytes((frame[0] & ~_FIN,)) + frame[1:]


def check_iterable(pieces: object) -> Iterable[Message]:
    """Returns `pieces` if they can be the pieces of a message. Raises TypeError."""
    if isinstance(pieces, Mapping):
        raise TypeError("a message is no mapping; send its keys(), or json.dumps of it")
    if not isinstance(pieces, Iterable):
        raise TypeError(f"a message is str, bytes, or an iterable of either, not {type(pieces).__name__}")
    return pieces
