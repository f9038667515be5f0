"""The parts of a room on this node, and how it starts from scratch in a forked process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from threadchat.chat.comings import COMINGS, Comings
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.log.events import UserId
from threadchat.chat.log.sequencer import Channel, Sequencer
from threadchat.chat.presence import Occupant, People
from threadchat.chat.room_names import RoomNames
from threadchat.errors import ConfigError
from threadchat.wire.threads.forking import begin_anew_after_fork


class RoomState:
    """A room's log, subscribers, people and their streams. Room documents the locks."""

    def __init__(
        self,
        name: str,
        history_size: int,
        history_bytes: int,
        channel: Channel | None,
        clock: Callable[[], float],
    ) -> None:
        """Raises ConfigError if `name` is not text."""
        if not isinstance(name, str):
            raise ConfigError(f"name is a {type(name).__name__}; it must be text, the name of the room")
        self.name = name
        self._history_size = history_size
        self._history_bytes = history_bytes
        self._clock = clock
        self._alone = channel is None
        self._begin(channel)
        if self._alone:  # otherwise its hub takes care of that
            begin_anew_after_fork(self)

    @property
    def closed(self) -> bool:
        """Whether the room accepts neither members nor events any more."""
        return self.fanout.closed

    @property
    def changes(self) -> int:
        """How often the people of this node in the room have changed."""
        return self._people.changes

    def who_is_here(self) -> list[Occupant]:
        """Everybody in the room on this node."""
        with self._lock:
            return self._people.who()

    def leave_behind(self) -> None:
        """Starts again with nobody in the room. A hub's room is closed, and the hub makes a new one.

        Runs on: the only thread of a forked process, before anything else.
        """
        closed = self.closed or not self._alone
        for stream in self._streams.values():
            stream.leave_behind()
        self._begin(None)
        if closed:
            self.fanout.close()
            self.channel.close()

    def _begin(self, channel: Channel | None) -> None:
        self._announcing = threading.Lock()
        self._lock = threading.Lock()
        self._people = People()  # of this node
        self.names = RoomNames(self._clock)
        self._streams: dict[tuple[UserId, str], EventStream] = {}
        self.fanout = Fanout(self.name, self._history_size, self._history_bytes, clock=self._clock)
        self.subscribe, self.events_after = self.fanout.subscribe, self.fanout.events_after
        self.channel = channel or Sequencer(self.name, clock=self._clock)
        self.channel.attach(self.fanout)
        self._comings = Comings(self._history_size, self.fanout.newest, self.fanout.count(COMINGS))
