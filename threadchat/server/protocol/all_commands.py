"""All commands of the native dialect: as one type, by name, and in their normal form."""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from threadchat.normalize import NAMING, nfc, nfc_id
from threadchat.server.protocol import commands

AnyCommand = (
    commands.Hello
    | commands.Profile
    | commands.Refresh
    | commands.Join
    | commands.Subscribe
    | commands.Leave
    | commands.Unsubscribe
    | commands.Message
    | commands.Edit
    | commands.Delete
    | commands.React
    | commands.Unreact
    | commands.Read
    | commands.SendDirect
    | commands.Call
    | commands.Count
    | commands.History
    | commands.Who
    | commands.Rooms
    | commands.Typing
    | commands.TypingTo
    | commands.Ping
    | commands.Block
    | commands.Unblock
    | commands.Blocked
    | commands.Logout
    | commands.Kick
    | commands.Ban
    | commands.Unban
    | commands.Mute
    | commands.Unmute
    | commands.Close
    | commands.Sanctions
)
COMMANDS: Final = tuple(command.__struct_config__.tag for command in get_args(AnyCommand))


_NAMES: Final = {
    command: tuple(field for field in command.__struct_fields__ if field in (*NAMING, "users"))
    for command in get_args(AnyCommand)
}
"""The fields of each command that hold a name or an id."""


def normalized(command: AnyCommand) -> AnyCommand:
    """The same command, with names and text ids in NFC."""
    for field in _NAMES[type(command)]:
        name = getattr(command, field)
        if isinstance(name, str):
            if not name.isascii():
                command = msgspec.structs.replace(command, **{field: nfc(name)})
        elif isinstance(name, list):
            command = msgspec.structs.replace(command, **{field: [nfc_id(user) for user in name]})
    return command
