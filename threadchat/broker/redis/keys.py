"""What things are called in Redis: keys and channels, all under one prefix, a room's under one hash tag."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from threadchat.chat.log.events import UserId

PREFIX: Final = "threadchat"

_ESCAPES: Final = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})
"""A brace in a room's name would end the hash tag early, and an empty tag is none."""


class RoomKeys(NamedTuple):
    """The keys that every command of room.lua gets, in its order; it says what each holds."""

    meta: str
    log: str
    sessions: str
    people: str
    names: str
    deleted: str


class RoomNames(NamedTuple):
    """One room's: its keys, and the channel of its events."""

    keys: RoomKeys
    channel: str
    base: str

    def message_key(self, user: UserId | None, key: str) -> str:
        """Where the place of what that user said with that key is."""
        return f"{self.base}:key:{msgspec.json.encode((user, key)).decode()}"


class KeyNames:
    """Makes names. To be called on any thread."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self.users = f"{prefix}:users"
        self.resume_key = f"{prefix}:resume-key"
        self.rooms = f"{prefix}:rooms"
        self.nodes = f"{prefix}:nodes"
        self.sanctions = f"{prefix}:sanctions"  # a key, and the channel of its changes

    def room(self, name: str) -> RoomNames:
        """All that belongs to one room."""
        base = f"{self._prefix}:{{{name.translate(_ESCAPES)}}}"
        keys = RoomKeys(*[f"{base}:{part}" for part in RoomKeys._fields])
        return RoomNames(keys, f"{base}:events", base)

    def person(self, user: UserId) -> str:
        """The channel on which nodes hear what is for a person whom they have; 1 and "1" are two people."""
        return f"{self._prefix}:person:{msgspec.json.encode(user).decode()}"

    def node(self, node: str) -> str:
        """The channel of one node: canaries, and answers to what it asked."""
        return f"{self._prefix}:node:{node}"

    def rooms_of(self, node: str) -> str:
        """The set of rooms where a node may have people."""
        return f"{self._prefix}:node:{node}:rooms"
