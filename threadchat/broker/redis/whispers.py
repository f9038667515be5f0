"""Sends typing notices, which are in no log and may be lost, to other nodes through a room's channel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

import msgspec

from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.chat.broker_interface import Whispered
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError

WHISPER: Final = b"~"
"""Begins a message of the room's channel that is in no log. No epoch begins with it."""


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
