"""The names of keys and channels in Redis: all under one prefix, and those of a room under one hash tag."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from threadchat.chat.log.events import UserId

PREFIX: Final = "threadchat"

_ESCAPES: Final = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})
"""A brace in a room's name would end the hash tag early, and Redis ignores an empty tag."""


class RoomKeys(NamedTuple):
    """The keys that every command of room.lua gets, in this order. The script says what each holds."""

    meta: str
    log: str
    sessions: str
    people: str
    names: str
    deleted: str


class RoomNames(NamedTuple):
    """The names for one room: its keys, and the channel of its events."""

    keys: RoomKeys
    channel: str
    base: str

    def message_key(self, user: UserId | None, key: str) -> str:
        """The key that holds the position of what the user published with that message key."""
        return f"{self.base}:key:{msgspec.json.encode((user, key)).decode()}"


class KeyNames:
    """Makes names. Every method may be called from any thread."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self.users = f"{prefix}:users"
        self.users_run = f"{{{prefix}:users}}:run"  # in the same slot
        self.resume_key = f"{prefix}:resume-key"
        self.rooms = f"{prefix}:rooms"
        self.inboxes = f"{prefix}:inboxes"
        self.storage = f"{prefix}:storage"
        self.storage_lock = f"{prefix}:storage:lock"
        self.nodes = f"{prefix}:nodes"
        self.reports = f"{prefix}:reports"
        self.sanctions = f"{prefix}:sanctions"  # both a key and the channel of its changes
        self.revocations = f"{prefix}:revocations"  # likewise

    def room(self, name: str) -> RoomNames:
        """The names for one room."""
        base = f"{self._prefix}:{{{name.translate(_ESCAPES)}}}"
        keys = RoomKeys(*[f"{base}:{part}" for part in RoomKeys._fields])
        return RoomNames(keys, f"{base}:events", base)

    def person(self, user: UserId) -> str:
        """The channel for messages to a person, to which their nodes subscribe. 1 and "1" are two people."""
        return f"{self._prefix}:person:{msgspec.json.encode(user).decode()}"

    def blocks(self, owner: UserId) -> str:
        """The set of those whom a person blocks."""
        return f"{self._prefix}:blocks:{msgspec.json.encode(owner).decode()}"

    def reads(self, user: UserId) -> str:
        """The hash of a person's read positions: room -> epoch, offset, and when it was noted (ms)."""
        return f"{self._prefix}:reads:{msgspec.json.encode(user).decode()}"

    def node(self, node: str) -> str:
        """The channel of one node: canaries, and answers to its questions."""
        return f"{self._prefix}:node:{node}"

    def rooms_of(self, node: str) -> str:
        """The set of rooms in which a node may have people."""
        return f"{self._prefix}:node:{node}:rooms"
