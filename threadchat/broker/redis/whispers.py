"""What nodes tell each other that is in no log: typing notices, and reports about themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from threadchat.broker.redis.connection import RedisConnection, is_away
from threadchat.broker.redis.keys import KeyNames
from threadchat.chat.broker_interface import Whispered
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError

WHISPER: Final = b"~"
"""Begins a message of the room's channel that is in no log. No epoch begins with it."""

LIFE: Final = 3600
"""Seconds for which Redis keeps the reports of a cluster that has stopped."""


class Whispers:
    """The whispers of one node. Every method may be called from any thread."""

    def __init__(
        self, node: str, names: KeyNames, connection: RedisConnection, pass_on: Whispered | None
    ) -> None:
        self._node = node
        self._names = names
        self._connection = connection
        self.pass_on = pass_on

    def send(self, room: str, frame: bytes, but: UserId) -> None:
        """Sends a frame to the other nodes, if Redis is reachable."""
        heading = b"%b%b %b\n" % (WHISPER, self._node.encode(), msgspec.json.encode(but))
        if self._connection.ready:
            with contextlib.suppress(CommandError):
                self._connection.publish(self._names.room(room).channel, heading + frame)

    def receive(self, room: str, payloads: Iterable[bytes]) -> None:
        """Passes on whispers of other nodes. Runs on: the subscriber's thread."""
        for payload in payloads:
            heading, _, frame = payload.partition(b"\n")
            node, but = heading.removeprefix(WHISPER).split(b" ", 1)  # an id may contain spaces
            if node.decode() != self._node and self.pass_on is not None:
                self.pass_on(room, frame, msgspec.json.decode(but))


class RedisReports:
    """See NodeReports. All reports are in one hash: node -> report.

    The heartbeat's thread replaces `_reports` as a whole, and other threads only read it.
    """

    def __init__(self, key: str, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._reports: dict[str, tuple[bytes, float]] = {}  # each with the time at which it was new here
        self.own = b""

    def read(self) -> list[tuple[bytes, float]]:
        """See NodeReports."""
        now = self._clock()
        return [(report, max(0.0, now - since)) for report, since in self._reports.values()]

    def exchange(self, node: str, connection: RedisConnection) -> None:
        """Tells the other nodes about this one, and learns what they tell. Does nothing without a report.

        Raises CommandError if Redis is away. Runs on: the heartbeat's thread.
        """
        if not self.own:
            return
        try:
            _, _, found = connection.execute(
                ("HSET", self._key, node, self.own), ("EXPIRE", self._key, LIFE), ("HGETALL", self._key)
            )
        except CommandError as error:
            if is_away(error):
                raise
            return  # Redis is full, for example: a node that cannot report still serves
        now, known = self._clock(), self._reports
        fresh = {name.decode(): report for name, report in zip(found[::2], found[1::2], strict=True)}
        self._reports = {
            name: known[name] if name in known and known[name][0] == report else (report, now)
            for name, report in fresh.items()
        }

    def forget(self, node: str, connection: RedisConnection) -> None:
        """Removes the report of a node that is gone. Raises CommandError. Runs on: any thread."""
        connection.execute(("HDEL", self._key, node))
