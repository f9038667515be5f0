"""Bans, mutes and revocations that all nodes share: hashes in Redis, copied to each node."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import time
from typing import Final

import msgspec

from threadchat.broker.redis.connection import CLUSTER, TIMEOUT
from threadchat.broker.redis.people import Services
from threadchat.chat.access.sanctions import MOST, Key, Sanction, Sanctions, Subject
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode

log = logging.getLogger(__name__)

_VERSION: Final = b"version"
_IMPOSED: Final = b"+"
_encode = msgspec.json.encode
_read_key = msgspec.json.Decoder(tuple[str, UserId, str]).decode


class RedisSanctions(Sanctions):
    """See Sanctions. Lookups use the copy. Changes go to Redis and come back to all nodes in the same order.

    Each change has a number and also names the previous one. A node that misses a change reads everything
    again. If Redis loses changes, the nodes that had received them make them again, unless they were
    overruled since. `_advanced`, which shares the lock `_changing`, is notified when the copy has advanced.
    The lock also guards `_newest`, `_numbers` and `_lost`. Every method may be called from any thread.
    """

    def __init__(
        self,
        broker: Services,
        key: str,
        record: type[Sanction] = Sanction,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        """`key` names the hash, and also the channel of its changes, which have the type `record`."""
        super().__init__(clock=clock)
        self._broker = broker  # its parts are replaced after a fork
        self._keys = key, f"{{{key}}}:versions"  # in the same slot
        self._read = msgspec.json.Decoder(record).decode
        self._loaded = False  # whether the copy was ever equal to what Redis has
        self._advanced = threading.Condition(self._changing)
        self._newest = 0  # the number of the last change that the copy has
        # For each sanction, lifted ones included, the number of its last change, or of a later change.
        self._numbers: dict[Key, int] = {}
        # Changes that Redis lost and must be told again; None for a sanction that was lifted.
        self._lost: dict[Key, Sanction | None] = {}

    def leave_behind(self) -> None:
        """See Sanctions."""
        super().leave_behind()
        self._advanced = threading.Condition(self._changing)
        self._newest = 0  # so that everything is read again
        self._loaded = False

    def subscribe(self) -> None:
        """Has changes received. Called once for each subscriber of the broker."""
        self._broker.subscriber.subscribe(self._keys[0], self.receive)

    # Changes

    def impose(self, sanction: Sanction) -> None:
        """See Sanctions. When this returns, the sanction is in force on this node.

        Others follow when they receive it.
        """
        with self._changing:
            self._check_room_locked(sanction)  # in the copy, which tells whose there are
        number = self._ask("impose", self._keys[0], _encode(sanction.key), _encode(sanction), MOST)
        if not number:
            reason = f"there are {MOST} bans and mutes already; lift some, or let them expire"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason)
        self._await(int(number))

    def lift(self, kind: str, subject: Subject, room: str = "") -> bool:
        """See Sanctions."""
        found = self._exact(kind, subject, room)
        number = self._ask("lift", self._keys[0], _encode((kind, subject, room)))
        if number:
            self._await(int(number))
        return bool(number) and (found is None or found.holds(self.clock()))

    def list(self, room: str | None = None) -> list[Sanction]:
        """See Sanctions. Raises CommandError 100 if this node has not read the sanctions yet."""
        self._broker.await_ready()
        return super().list(room)

    def await_loaded(self) -> None:
        """See Sanctions."""
        if not self._loaded:
            self._broker.await_ready()

    def _ask(self, command: str, *arguments: object) -> bytes:
        self._broker.await_ready()
        answer: bytes = self._broker.connection.ask(CLUSTER(self._keys, command, *arguments))[0]
        return answer

    def _await(self, number: int) -> None:
        """Waits until the copy has that change. If it takes long, the node has just lost its connection."""
        with self._advanced:
            if not self._advanced.wait_for(lambda: self._newest >= number, TIMEOUT):
                log.warning("this node will receive a change of bans and mutes later")

    # Keeping the copy up to date. Runs on: the subscriber's, the heartbeat's and workers' threads.

    def receive(self, payloads: Sequence[bytes]) -> None:
        """Applies changes of any node, including this one. Runs on: the subscriber's thread."""
        imposed = []
        with self._advanced:
            for payload in payloads:
                before, number, change = payload.split(b" ", 2)
                if int(number) <= self._newest:
                    continue
                if int(before) != self._newest:
                    self._broker.worker_pool.submit(self._catch_up)
                    break
                if (sanction := self._take_over_locked(change, int(number))) is not None:
                    imposed.append(sanction)
                self._newest = int(number)
            self._advanced.notify_all()
        self._have_carried_out(imposed)

    def inspect(self) -> None:
        """Checks whether the last change was received, and whether Redis still has it.

        Raises CommandError. Runs on: the heartbeat's thread.
        """
        connection, key = self._broker.connection, self._keys[0]
        if int(connection.execute(("HGET", key, _VERSION))[0] or 0) != self._newest:
            self.reload()
        elif self._lost:
            self._restore()
        self._loaded = True

    def reload(self) -> None:
        """Makes the copy equal to Redis, and tells Redis the changes that it lost.

        Raises CommandError. Runs on: the heartbeat's thread, workers.
        """
        seen = self._newest
        command = CLUSTER(self._keys, "sanctions")
        found, versions = self._broker.connection.execute(command)[0]
        stored = dict(zip(found[::2], found[1::2], strict=True))
        number = int(stored.pop(_VERSION, 0))
        there = {sanction.key: sanction for sanction in map(self._read, stored.values())}
        with self._advanced:
            if self._newest != seen or number == seen:  # a change received meanwhile is newer
                return
            common = _last_common(seen, number, list(map(int, versions)))
            lost = {key: self._exact(*key) for key, changed in self._numbers.items() if changed > common}
            self._lost.update((key, mine) for key, mine in lost.items() if there.get(key) != mine)
            for known in [item for some in self.by_subject.values() for item in some]:
                if known.key not in there and known.key not in self._lost:
                    self._drop_locked(known)
            wanted = [item for key, item in there.items() if key not in self._lost]
            imposed = [item for item in wanted if self._exact(*item.key) != item]
            for item in imposed:
                self._put_locked(item)
            self._numbers = dict.fromkeys(there, number)
            self._newest = number
            self._advanced.notify_all()
        self._have_carried_out(imposed)
        self._restore()

    # Helpers

    def _catch_up(self) -> None:
        try:
            self.reload()
        except CommandError as error:  # the heartbeat does this when Redis is back
            log.info("bans and mutes will be read again later: %s", error)

    def _restore(self) -> None:
        """Makes changes that Redis lost again. They are received like all others. Raises CommandError."""
        keys, channel = self._keys, self._keys[0]
        for key, sanction in list(self._lost.items()):
            if sanction is None:
                command = CLUSTER(keys, "lift", channel, _encode(key))
            else:
                command = CLUSTER(keys, "impose", channel, _encode(key), _encode(sanction), MOST)
            if sanction is None or sanction.holds(self.clock()):
                log.warning("Redis lost a change of bans and mutes: %s; it is made again", key)
                self._broker.connection.execute(command)
            self._lost.pop(key, None)

    def _take_over_locked(self, change: bytes, number: int) -> Sanction | None:
        """Applies one change to the copy. Returns the sanction if it is a new one."""
        if change.startswith(_IMPOSED):
            sanction = self._read(change[1:])
            self._note_locked(sanction.key, number)
            if self._count >= self._most:
                self._purge_locked()  # Redis drops expired sanctions without a message
            self._put_locked(sanction)
            return sanction
        key = _read_key(change[1:])
        self._note_locked(key, number)
        found = self._exact(*key)
        if found is not None:
            self._drop_locked(found)
        return None

    def _note_locked(self, key: Key, number: int) -> None:
        self._lost.pop(key, None)  # this change overrules the lost one
        self._numbers.pop(key, None)
        self._numbers[key] = number
        if len(self._numbers) > 2 * MOST:  # the one that was changed longest ago
            del self._numbers[next(iter(self._numbers))]

    def _have_carried_out(self, imposed: Sequence[Sanction]) -> None:
        """Carries out sanctions on a worker's thread: evicting somebody is announced, which needs Redis."""

        def carry_out() -> None:
            for sanction in imposed:
                self._carry_out(sanction)

        if imposed and not self._broker.worker_pool.submit(carry_out):
            log.error(
                "%d new bans are in force, but ended no connections: too much work is waiting", len(imposed)
            )


def _last_common(newest: int, number: int, versions: list[int]) -> int:
    """The number of the last change that both Redis and a copy have.

    `newest` is the copy's newest change and `number` that of Redis. `versions` are the latest changes in
    Redis. If the copy is only behind, this is `newest`. Otherwise Redis has lost the copy's changes after
    this number.
    """
    if newest in versions:
        return newest
    earlier = [version for version in versions if version < newest]
    if newest > number and not earlier:
        return number
    return max(earlier, default=newest)
