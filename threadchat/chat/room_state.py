"""What a room consists of on this node, and how it begins anew in a forked process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.log.events import UserId
from threadchat.chat.log.sequencer import Channel, Sequencer
from threadchat.chat.presence import People
from threadchat.wire.threads.forking import begin_anew_after_fork


class RoomState:
    """Its log, its subscribers, its people and their streams; the locks are explained at Room."""

    def __init__(
        self,
        name: str,
        history_size: int,
        history_bytes: int,
        channel: Channel | None,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._history_size = history_size
        self._history_bytes = history_bytes
        self._clock = clock
        self._alone = channel is None
        self._begin(channel)
        if self._alone:  # else its hub sees to that
            begin_anew_after_fork(self)

    @property
    def closed(self) -> bool:
        """Whether the room takes nobody and nothing any more."""
        return self.fanout.closed

    def leave_behind(self) -> None:
        """Begins anew, with nobody in it; a hub's is closed, and the hub makes another one of that name.

        Runs on: the only thread of a forked process, first.
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
        self._streams: dict[tuple[UserId, str], EventStream] = {}
        self.fanout = Fanout(self.name, self._history_size, self._history_bytes, clock=self._clock)
        self.subscribe = self.fanout.subscribe
        self.channel = channel or Sequencer(self.name, clock=self._clock)
        self.channel.attach(self.fanout)
