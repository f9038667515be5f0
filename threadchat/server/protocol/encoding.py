"""Decodes JSON text to commands and encodes events to frames, for all three dialects; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from threadchat.chat.emitting import check_names
from threadchat.chat.log.events import EVENT_TYPES, MESSAGE, Direct, Position, Record, UserId, is_inbox
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.protocol.all_commands import COMMANDS, AnyCommand
from threadchat.server.protocol.commands import CommandId, Words
from threadchat.server.protocol.malformed import find_half_character, find_id
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Latest, Text

BROADCAST_ROOM: Final = "/ws"
"""The room of the broadcast dialect. The native dialect cannot reach it."""


class _Envelope(msgspec.Struct):
    """The part of an invalid command that its error reply needs."""

    type: msgspec.Raw = msgspec.Raw(b"null")
    id: msgspec.Raw = msgspec.Raw(b"null")


class BroadcastMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The only message of the broadcast dialect, in both directions."""

    sender: str = msgspec.field(name="from")
    message: Words


class DirectMessage(msgspec.Struct, frozen=True):
    """What a client of the direct dialect sends."""

    to: int | str
    message: Words


Decoded = TypeVar("Decoded")

_encode = msgspec.json.Encoder().encode
_decode_command = msgspec.json.Decoder(AnyCommand).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_broadcast = msgspec.json.Decoder(BroadcastMessage).decode
_decode_direct = msgspec.json.Decoder(DirectMessage).decode
_decode_id = msgspec.json.Decoder(int | str).decode
_decode_type = msgspec.json.Decoder(str).decode

MOST_NESTED: Final = 500
"""Levels of arrays and objects in one message. Python 3.12 and 3.13 allow a decoder 10,000 levels. That
overflows a thread's stack of 1 MiB, and the process would crash."""
# A string without its closing quote extends to the end of the text.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


_STEPS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
_NO_BRACKETS: Final = re.compile(r"[^\[\]{}]+")


def check_depth(text: str) -> None:
    """Raises CommandError 107 for text that may be nested too deeply to decode."""
    if text.count("[") + text.count("{") <= MOST_NESTED:
        return
    bare = _STRING.sub("", text)
    if bare.count("[") + bare.count("{") <= MOST_NESTED:
        return
    steps = map(_STEPS.__getitem__, _NO_BRACKETS.sub("", bare))
    if max(accumulate(steps), default=0) > MOST_NESTED:
        reason = f"arrays and objects are nested more than {MOST_NESTED} levels deep; a message needs a few"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)


# Commands


def decode_command(text: str) -> AnyCommand:
    """Decodes one command of the native dialect. Raises BadCommand."""
    try:
        if len(text) > MOST_NESTED:  # most commands are shorter and need no check
            check_depth(text)
        command: AnyCommand = _decode_command(text)
        return command
    except CommandError as error:
        raise BadCommand(error.code, error.reason, find_id(text)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _explain(text, error) from error


def command_id(text: str) -> CommandId:
    """The id of a command that is refused undecoded; None if it has none, or none that can be read."""
    try:
        check_depth(text)
        return _id_of(_decode_envelope(text))
    except (CommandError, msgspec.DecodeError, RecursionError):
        return find_id(text)


def _id_of(envelope: _Envelope) -> CommandId:
    try:
        found: int | str = _decode_id(envelope.id)
        return found
    except msgspec.DecodeError:
        return None


class BadCommand(CommandError):
    """A command that could not be decoded; `id` is its id, if that could be read."""

    def __init__(self, code: ErrorCode, reason: str, command_id: CommandId = None) -> None:
        super().__init__(code, reason)
        self.id = command_id


def _explain(text: str, error: Exception) -> BadCommand:
    try:
        envelope = _decode_envelope(text)
    except msgspec.ValidationError as invalid:
        return BadCommand(ErrorCode.BAD_REQUEST, f"{invalid}; a command is a JSON object, such as {_EXAMPLE}")
    except (msgspec.DecodeError, RecursionError) as malformed:
        half = find_half_character(text)
        wrong = malformed if half is None else f"{half} is half a surrogate pair; cut text between characters"
        return BadCommand(ErrorCode.BAD_REQUEST, f"not JSON: {wrong}", find_id(text))
    found = _id_of(envelope)
    kind = bytes(envelope.type)
    if kind == b"null":
        return BadCommand(ErrorCode.BAD_REQUEST, f"a command has a type, as in {_EXAMPLE}", found)
    try:
        name = _decode_type(kind)
    except msgspec.DecodeError:
        name = ""
    if name not in COMMANDS:
        shown = repr(name) if name else kind.decode()
        reason = f"unknown command {shown:.40}; there are {', '.join(COMMANDS)}"
        return BadCommand(ErrorCode.UNKNOWN_COMMAND, reason, found)
    return BadCommand(ErrorCode.BAD_REQUEST, f"{name}: {error}", found)


_EXAMPLE: Final = '{"type": "hello", "id": 1, "nickname": "ann"}'


def check_reachable(room: str) -> None:
    """Raises CommandError 103 for the rooms that clients may not name: that of `/ws`, and inboxes."""
    if room == BROADCAST_ROOM:
        reason = f"{BROADCAST_ROOM} is the broadcast endpoint's room"
        raise CommandError(ErrorCode.PERMISSION_DENIED, reason)
    if is_inbox(room):
        raise CommandError(ErrorCode.PERMISSION_DENIED, "only its owner can read an inbox")


def check_filter(types: Sequence[str] | None, names: Sequence[str] | None = None) -> None:
    """Raises CommandError 107 for an unknown event type, and for an invalid event name."""
    check_names(names)
    unknown = sorted(set(types or ()) - EVENT_TYPES)
    if unknown:
        known = ", ".join(sorted(EVENT_TYPES))
        raise CommandError(ErrorCode.BAD_REQUEST, f"types: {unknown[0]!r:.40} is none of {known}")


def decode_broadcast(text: str) -> BroadcastMessage:
    """Decodes one message of the broadcast dialect. Raises CommandError 107."""
    return _decode(_decode_broadcast, text, '{"from": "ann", "message": "hi"}')


def decode_direct(text: str) -> DirectMessage:
    """Decodes one message of the direct dialect. Raises CommandError 107."""
    return _decode(_decode_direct, text, '{"to": 2, "message": "hi"}')


def _decode(decode: Callable[[str], Decoded], text: str, example: str) -> Decoded:
    try:
        check_depth(text)
        return decode(text)
    except (CommandError, msgspec.DecodeError, RecursionError) as error:
        raise CommandError(ErrorCode.BAD_REQUEST, f"{error}; a message is {example}") from error


# Frames


def text_frame(value: Any) -> bytes:
    """A text frame with a value as JSON."""
    return frames.encode(frames.TEXT, _encode(value))


def json_text(value: Any) -> Text:
    """A request to send a value as JSON."""
    return Text(text_frame(value))


def ok_frame(command_id: CommandId, **fields: Any) -> bytes:
    """The reply to a command that succeeded."""
    return text_frame({"type": "ok", "re": command_id, **fields})


def error_text(error: CommandError, command_id: CommandId) -> Text:
    """The reply to a command that was refused."""
    fields = {"code": int(error.code), "reason": error.reason, "temporary": error.temporary}
    identity = {} if command_id is None else {"re": command_id}
    return json_text({"type": "error", **identity, **fields})


def native_events(records: Sequence[Record]) -> Text:
    """Any number of events for the native dialect, in one request."""
    if len(records) == 1:
        [(event, json)] = records
        frame = frames.encode(frames.TEXT, json)
        # An event without an id is in no log. A newer one of the same name, or about the same person who
        # comes or goes, replaces it in the outbox.
        return Text(frame) if event.id else Latest(frame, (event.room, event.name, event.user))
    return Text(b"".join([frames.encode(frames.TEXT, item.json) for item in records]), len(records))


def broadcast_events(records: Sequence[Record]) -> Text:
    """Events for the broadcast dialect, which has only messages."""
    messages = [
        text_frame(BroadcastMessage(item.event.nickname, item.event.message))
        for item in records
        if item.event.type == MESSAGE
    ]
    return Text(b"".join(messages), len(messages))


def live_text(room: str | None) -> Text:
    """Tells a client that the replay of a room, or with None of the inbox, is complete."""
    return json_text({"type": "live", **({"inbox": True} if room is None else {"chatroomId": room})})


def inbox_text(position: Position) -> Text:
    """Tells a client the position of its inbox, if there was no inbox at hello."""
    return json_text({"type": "inbox", **position_fields(position)})


def moved_text(kind: str, room: str, **fields: Any) -> Text:
    """Tells a client that the application made it join or leave a room."""
    return json_text({"type": kind, "chatroomId": room, **fields})


def typing_text(room: str, user: UserId, nickname: str) -> Text:
    """Tells a client that somebody is typing."""
    return json_text({"type": "typing", "chatroomId": room, "userId": user, "from": nickname})


def kicked_text(room: str, reason: str) -> Text:
    """Tells a client that it was removed from a room."""
    return json_text({"type": "kicked", "chatroomId": room, "reason": reason})


def native_direct(direct: Direct) -> Text:
    """A direct message in the native dialect."""
    return json_text(direct)


def legacy_direct(direct: Direct) -> Text:
    """A direct message in the direct dialect."""
    return json_text({"from": direct.sender, "message": direct.message})


def position_fields(position: Position) -> dict[str, Any]:
    """The fields of a position in a reply."""
    return {"offset": position.offset, "epoch": position.epoch}
