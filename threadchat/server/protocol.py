"""JSON text to commands, events to frames, for all three dialects; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from threadchat.chat.events import EVENT_TYPES, MESSAGE, Direct, Position, Record, UserId
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.commands import COMMANDS, AnyCommand, CommandId
from threadchat.wire import frames
from threadchat.wire.requests import Text

BROADCAST_ROOM: Final = "/ws"
"""The room of the broadcast dialect; the native one does not reach it."""


class _Envelope(msgspec.Struct):
    """As much of a bad command as an error needs."""

    type: Any = None
    id: Any = None


class BroadcastMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that there is in the broadcast dialect, both ways."""

    sender: str = msgspec.field(name="from")
    message: str


class DirectMessage(msgspec.Struct, frozen=True):
    """What a client of the direct dialect sends."""

    to: int
    message: str


Decoded = TypeVar("Decoded")

_encode = msgspec.json.Encoder().encode
_decode_command = msgspec.json.Decoder(AnyCommand).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_broadcast = msgspec.json.Decoder(BroadcastMessage).decode
_decode_direct = msgspec.json.Decoder(DirectMessage).decode


# Commands


def decode_command(text: str) -> AnyCommand:
    """One native command. Raises BadCommand."""
    try:
        command: AnyCommand = _decode_command(text)
        return command
    except (msgspec.DecodeError, RecursionError) as error:
        raise _explain(text, error) from error


class BadCommand(CommandError):
    """A command that could not be read; `id` is its id, as far as that could be."""

    def __init__(self, code: ErrorCode, reason: str, command_id: CommandId = None) -> None:
        super().__init__(code, reason)
        self.id = command_id


def _explain(text: str, error: Exception) -> BadCommand:
    try:
        envelope = _decode_envelope(text)
    except msgspec.ValidationError as invalid:
        return BadCommand(ErrorCode.BAD_REQUEST, f"{invalid}; a command is a JSON object, such as {_EXAMPLE}")
    except (msgspec.DecodeError, RecursionError) as malformed:
        return BadCommand(ErrorCode.BAD_REQUEST, f"not JSON: {malformed}")
    command_id = envelope.id if type(envelope.id) in (int, str) else None  # not a bool, which is an int too
    if envelope.type is None:
        return BadCommand(ErrorCode.BAD_REQUEST, f"a command has a type, as in {_EXAMPLE}", command_id)
    if envelope.type not in COMMANDS:
        known = ", ".join(COMMANDS)
        return BadCommand(
            ErrorCode.UNKNOWN_COMMAND, f"unknown command {envelope.type!r:.40}; there are {known}", command_id
        )
    return BadCommand(ErrorCode.BAD_REQUEST, f"{envelope.type}: {error}", command_id)


_EXAMPLE: Final = '{"type": "hello", "id": 1, "nickname": "ann"}'


def check_types(types: Sequence[str] | None) -> None:
    """Raises CommandError 107 for an event type that does not exist."""
    unknown = sorted(set(types or ()) - EVENT_TYPES)
    if unknown:
        known = ", ".join(sorted(EVENT_TYPES))
        raise CommandError(ErrorCode.BAD_REQUEST, f"types: {unknown[0]!r:.40} is none of {known}")


def decode_broadcast(text: str) -> BroadcastMessage:
    """One message of the broadcast dialect. Raises CommandError 107."""
    return _decode(_decode_broadcast, text, '{"from": "ann", "message": "hi"}')


def decode_direct(text: str) -> DirectMessage:
    """One message of the direct dialect. Raises CommandError 107."""
    return _decode(_decode_direct, text, '{"to": 2, "message": "hi"}')


def _decode(decode: Callable[[str], Decoded], text: str, example: str) -> Decoded:
    try:
        return decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CommandError(ErrorCode.BAD_REQUEST, f"{error}; a message is {example}") from error


# Frames


def text_frame(value: Any) -> bytes:
    """A text frame of some value's JSON."""
    return frames.encode(frames.TEXT, _encode(value))


def json_text(value: Any) -> Text:
    """A request to send some value as JSON."""
    return Text(text_frame(value))


def ok_frame(command_id: CommandId, **fields: Any) -> bytes:
    """The reply to a command that was done."""
    return text_frame({"type": "ok", "re": command_id, **fields})


def error_text(error: CommandError, command_id: CommandId) -> Text:
    """The reply to a command that was refused."""
    fields = {"code": int(error.code), "reason": error.reason, "temporary": error.temporary}
    identity = {} if command_id is None else {"re": command_id}
    return json_text({"type": "error", **identity, **fields})


def native_events(records: Sequence[Record]) -> Text:
    """Events for the native dialect, any number in one request."""
    if len(records) == 1:
        return Text(frames.encode(frames.TEXT, records[0].json))
    return Text(b"".join([frames.encode(frames.TEXT, item.json) for item in records]), len(records))


def broadcast_events(records: Sequence[Record]) -> Text:
    """Events for the broadcast dialect: messages, and nothing else."""
    messages = [
        text_frame(BroadcastMessage(item.event.nickname, item.event.message))
        for item in records
        if item.event.type == MESSAGE
    ]
    return Text(b"".join(messages), len(messages))


def live_text(room: str) -> Text:
    """Says that a replay is over."""
    return json_text({"type": "live", "chatroomId": room})


def typing_text(room: str, user: UserId, nickname: str) -> Text:
    """Says that somebody is typing."""
    return json_text({"type": "typing", "chatroomId": room, "userId": user, "from": nickname})


def native_direct(direct: Direct) -> Text:
    """A direct message in the native dialect."""
    return json_text(direct)


def classic_direct(direct: Direct) -> Text:
    """A direct message in the direct dialect."""
    return json_text({"from": direct.sender, "message": direct.message})


def position_fields(position: Position) -> dict[str, Any]:
    """A position as replies carry it."""
    return {"offset": position.offset, "epoch": position.epoch}
