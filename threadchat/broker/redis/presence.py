"""Who is in a room on all nodes: this node's people are in its memory, everybody is in Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.log import RoomLog
from threadchat.broker.redis.topology.interface import Command
from threadchat.chat.log.events import UserId
from threadchat.chat.presence import Occupant
from threadchat.errors import CommandError

log = logging.getLogger(__name__)

_SEPARATOR = b"\x1f"  # JSON escapes it, so it is in no encoded text

_json = msgspec.json.encode
_value = msgspec.json.decode


Scope = tuple[bytes, int]
"""What room.lua needs to announce people: the room's name as JSON, and the announce limit (-1: none)."""


def scope_of(room: str, announce_limit: int | None) -> Scope:
    """The scope of a room."""
    return _json(room), -1 if announce_limit is None else announce_limit


class Who(NamedTuple):
    """What a person calls themselves, and says of themselves."""

    nickname: str
    about: str


class RedisPresence:
    """See Presence. room.lua decides which event a change is, and publishes it in the same step.

    If Redis could not be told, or may not have been told, `on_unsettled` is called, and the next `sync` puts
    it right. `_changing` makes a change here and in Redis one step, so that a `sync` never brings back a
    session that just left. It is held for one round trip.
    """

    def __init__(
        self,
        log: RoomLog,
        connection: RedisConnection,
        node: Callable[[], str],
        scope: Scope,
        *,
        life: float,
        on_unsettled: Callable[[RoomLog], None],
    ) -> None:
        """`node` returns the name under which Redis lists this node's people now. `life` is in seconds.

        `on_unsettled` is called with the room's log. Runs on: any thread.
        """
        self._log = log
        self._connection = connection
        self._node = node
        self._scope = scope
        self._life = int(life * 1000)
        self._on_unsettled = on_unsettled
        self._ended = False
        self._changing = threading.Lock()
        self._here: dict[tuple[UserId, str], Who] = {}
        self._renamed: dict[UserId, Who] = {}  # Redis was not told yet

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
            if not self._tell(self._renaming(user, who)):
                self._renamed[user] = who

    def who(self) -> list[Occupant]:
        """See Presence."""
        keys = self._log.names.keys
        stored, named = self._connection.ask(("HGETALL", keys.sessions), ("HGETALL", keys.names))
        found: dict[UserId, set[str]] = {}
        for field in sorted(stored[::2]):
            user, session = field.split(_SEPARATOR)
            found.setdefault(_value(user), set()).add(_value(session))
        names = dict(zip(named[::2], named[1::2], strict=True))
        occupants = []
        for person, sessions in found.items():
            nickname, about = map(_value, names.get(_json(person), b'""\x1f""').split(_SEPARATOR))
            occupants.append(Occupant(person, nickname, frozenset(sessions), about))
        return occupants

    def sync(self) -> None:
        """Makes Redis's entries of this node equal to those here, and announces the differences.

        Raises CommandError. Runs on: the heartbeat's thread.
        """
        with self._changing:
            if self._ended:
                return
            renamed = [self._renaming(user, who) for user, who in self._renamed.items()]
            entries = [part for key, who in self._here.items() for part in _entry(*key, who)]
            self._connection.execute(
                *renamed,
                self._log.command("sync", self._life, *self._scope, self._node(), *entries),
            )
            self._renamed.clear()

    def end(self) -> None:
        """The room has ended here. A session that leaves later must not leave a new room of the same name.

        Runs on: any thread, including the subscriber's, so it takes no lock.
        """
        self._ended = True

    def _renaming(self, user: UserId, who: Who) -> Command:
        return self._log.command("rename", *self._scope, _json(user), _json(who.nickname), _json(who.about))

    def _tell(self, command: Command) -> bool:
        """Returns whether Redis was told, or need not be."""
        if self._ended:
            return True
        told = False
        try:
            if self._connection.ready:  # otherwise the heartbeat will tell Redis everything
                self._connection.ask(command)
                told = True
        except CommandError as error:
            log.info("room %s: other nodes will learn later who is here: %s", self._log.room, error)
        finally:  # also after an interrupt
            if not told:
                self._on_unsettled(self._log)
        return told


def _entry(user: UserId, session: str, who: Who) -> tuple[bytes, bytes, bytes, bytes]:
    return _json(user), _json(session), _json(who.nickname), _json(who.about)
