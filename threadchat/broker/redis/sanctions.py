"""Bans and mutes that all nodes share: a hash in Redis, and on each node a copy that is kept level."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import time
from typing import TYPE_CHECKING, Final

import msgspec

from threadchat.broker.redis.connection import CLUSTER, TIMEOUT
from threadchat.chat.log.events import UserId
from threadchat.chat.sanctions import MOST, Sanction, Sanctions, Subject
from threadchat.errors import CommandError, ErrorCode

if TYPE_CHECKING:
    from threadchat.broker.redis.broker import RedisBroker

log = logging.getLogger(__name__)

_VERSION: Final = b"version"
_IMPOSED: Final = b"+"
_encode = msgspec.json.encode
_read_sanction = msgspec.json.Decoder(Sanction).decode
_read_key = msgspec.json.Decoder(tuple[str, UserId, str]).decode


class RedisSanctions(Sanctions):
    """See Sanctions: lookups ask the copy; changes go to Redis and come back to all nodes in one order.

    Each change has a number and names the one before it: whoever misses one reads everything anew. `_level`,
    which shares `_changing`, is told whenever the copy has got further. Every method may be called from any
    thread.
    """

    def __init__(self, broker: RedisBroker, *, clock: Callable[[], float] = time) -> None:
        super().__init__(clock=clock)
        self._broker = broker  # its parts are others after a fork
        self._level = threading.Condition(self._changing)
        self._newest = 0  # the number of the last change that the copy has

    # Changes

    def impose(self, sanction: Sanction) -> None:
        """See Sanctions. Once it returns, this node heeds it; others do as soon as they hear of it."""
        names = self._broker.names
        field, value = _encode(sanction.key), _encode(sanction)
        number = self._ask("impose", names.sanctions, field, value, MOST)
        if not number:
            reason = f"there are {MOST} bans and mutes already; lift some, or give them an end"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason)
        self._await(int(number))

    def lift(self, kind: str, subject: Subject, room: str = "") -> bool:
        """See Sanctions."""
        found = self._exact(kind, subject, room)
        number = self._ask("lift", self._broker.names.sanctions, _encode((kind, subject, room)))
        if number:
            self._await(int(number))
        return bool(number) and (found is None or found.holds(self.clock()))

    def list(self, room: str | None = None) -> list[Sanction]:
        """See Sanctions. Raises CommandError 100 where this node has not read them yet."""
        self._broker.await_ready()
        return super().list(room)

    def _ask(self, command: str, *arguments: object) -> bytes:
        self._broker.await_ready()
        names = self._broker.names
        answer: bytes = self._broker.connection.ask(CLUSTER((names.sanctions,), command, *arguments))[0]
        return answer

    def _await(self, number: int) -> None:
        """Waits until the copy has got so far; where that takes long, this node has just become deaf."""
        with self._level:
            if not self._level.wait_for(lambda: self._newest >= number, TIMEOUT):
                log.warning("a change of bans and mutes is heard here later")

    # Being level. Runs on: the listener's, the heartbeat's and workers' threads.

    def hear(self, payloads: Sequence[bytes]) -> None:
        """Takes over what any node, this one too, has changed. Runs on: the listener's thread."""
        imposed = []
        with self._level:
            for payload in payloads:
                before, number, change = payload.split(b" ", 2)
                if int(number) <= self._newest:
                    continue
                if int(before) != self._newest:
                    self._broker.workers.submit(self._catch_up)
                    break
                if (sanction := self._take_over_locked(change)) is not None:
                    imposed.append(sanction)
                self._newest = int(number)
            self._level.notify_all()
        self._have_carried_out(imposed)

    def inspect(self) -> None:
        """Finds out whether the last change was heard. Raises CommandError. Runs on: the heartbeat's thread."""
        connection, key = self._broker.connection, self._broker.names.sanctions
        if int(connection.execute(("HGET", key, _VERSION))[0] or 0) > self._newest:
            self.reload()

    def reload(self) -> None:
        """Makes the copy what Redis has; one that lost some data does not take them from here.

        Raises CommandError. Runs on: the heartbeat's thread, workers.
        """
        command = CLUSTER((self._broker.names.sanctions,), "sanctions")
        found = self._broker.connection.execute(command)[0]
        stored = dict(zip(found[::2], found[1::2], strict=True))
        number = int(stored.pop(_VERSION, 0))
        there = {sanction.key: sanction for sanction in map(_read_sanction, stored.values())}
        with self._level:
            if number <= self._newest:  # what was heard meanwhile is newer
                return
            for held in [item for some in self.held.values() for item in some]:
                if held.key not in there:
                    self._drop_locked(held)
            imposed = [item for item in there.values() if self._exact(*item.key) != item]
            for item in imposed:
                self._put_locked(item)
            self._newest = number
            self._level.notify_all()
        self._have_carried_out(imposed)

    # Helpers

    def _catch_up(self) -> None:
        try:
            self.reload()
        except CommandError as error:  # the heartbeat does it when Redis is back
            log.info("bans and mutes are read anew later: %s", error)

    def _take_over_locked(self, change: bytes) -> Sanction | None:
        """Makes one change here; the sanction, where it is a new one."""
        if change.startswith(_IMPOSED):
            sanction = _read_sanction(change[1:])
            if self._count >= self._most:
                self._purge_locked()  # Redis has dropped what is over, and tells nobody
            self._put_locked(sanction)
            return sanction
        found = self._exact(*_read_key(change[1:]))
        if found is not None:
            self._drop_locked(found)
        return None

    def _have_carried_out(self, imposed: Sequence[Sanction]) -> None:
        """On a worker's thread: whoever leaves a room has that announced, which asks Redis."""

        def carry_out() -> None:
            for sanction in imposed:
                self._carry_out(sanction)

        if imposed and not self._broker.workers.submit(carry_out):
            log.error("%d new bans are in force, but end nothing that is open: too much waits", len(imposed))
