"""Who is in a room on all nodes: this node's people in its memory, everybody's in Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from threadchat.broker.redis.connection import Command, RedisConnection
from threadchat.broker.redis.log import RoomLog
from threadchat.chat.log.events import UserId
from threadchat.chat.presence import Occupant
from threadchat.errors import CommandError

log = logging.getLogger(__name__)

_SEPARATOR = b"\x1f"  # what JSON escapes in every text

_json = msgspec.json.encode
_value = msgspec.json.decode


Scope = tuple[bytes, int]
"""What room.lua needs to announce people: the room's name in JSON, and the most people (-1: any number)."""


def scope_of(room: str, announce_limit: int | None) -> Scope:
    """The scope of a room."""
    return _json(room), -1 if announce_limit is None else announce_limit


class Who(NamedTuple):
    """How a person calls themselves."""

    nickname: str
    about: str


class RedisPresence:
    """See Presence. room.lua decides which event a coming or going is and publishes it with the same step.

    What Redis could not be told is told with the next `sync`. `_changing` makes a change here and in
    Redis one step, so that a `sync` never brings back who just left; it is held for a round trip.
    """

    def __init__(
        self, log: RoomLog, connection: RedisConnection, node: Callable[[], str], scope: Scope, *, life: float
    ) -> None:
        """`node` tells under which name this node's people are known now; `life` is in seconds."""
        self._log = log
        self._connection = connection
        self._node = node
        self._scope = scope
        self._life = int(life * 1000)
        self._changing = threading.Lock()
        self._here: dict[tuple[UserId, str], Who] = {}

    def __len__(self) -> int:
        return len(self._here)

    def enter(self, user: UserId, session: str, nickname: str, about: str) -> None:
        """See Presence."""
        with self._changing:
            self._here[user, session] = who = Who(nickname, about)
            entry = _entry(user, session, who)
            self._tell(self._log.command("enter", self._life, *self._scope, self._node(), *entry))

    def leave(self, user: UserId, session: str) -> None:
        """See Presence."""
        with self._changing:
            self._here.pop((user, session), None)
            self._tell(self._log.command("leave", *self._scope, _json(user), _json(session)))

    def rename(self, user: UserId, nickname: str, about: str) -> None:
        """See Presence."""
        with self._changing:
            who = Who(nickname, about)
            for key in self._here:
                if key[0] == user:
                    self._here[key] = who
            self._tell(self._log.command("rename", _json(user), _json(nickname), _json(about)))

    def who(self) -> list[Occupant]:
        """See Presence."""
        keys = self._log.names.keys
        stored, named = self._connection.ask(("HGETALL", keys.sessions), ("HGETALL", keys.names))
        found: dict[UserId, set[str]] = {}
        for field in sorted(stored):
            user, session = field.split(_SEPARATOR)
            found.setdefault(_value(user), set()).add(_value(session))
        occupants = []
        for person, held in found.items():
            nickname, about = map(_value, named.get(_json(person), b'""\x1f""').split(_SEPARATOR))
            occupants.append(Occupant(person, nickname, frozenset(held), about))
        return occupants

    def sync(self) -> None:
        """Makes Redis's entries of this node what they are here, and announces what that changes.

        Raises CommandError. Runs on: the heartbeat's thread.
        """
        with self._changing:
            entries = [part for key, who in self._here.items() for part in _entry(*key, who)]
            self._connection.execute(
                self._log.command("sync", self._life, *self._scope, self._node(), *entries),
            )

    def _tell(self, command: Command) -> None:
        try:
            self._connection.ask(command)
        except CommandError as error:
            log.info("room %s: who is here is told to others later: %s", self._log.room, error)


def _entry(user: UserId, session: str, who: Who) -> tuple[bytes, bytes, bytes, bytes]:
    return _json(user), _json(session), _json(who.nickname), _json(who.about)
