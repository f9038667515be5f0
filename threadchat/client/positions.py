"""The rooms that a client is in and its position in each: drops known events, and finds missing ones."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threadchat.chat.log.events import CLOSE, EVENT, UserId
from threadchat.client.event import GAP, REFUSED, RESET, ChatEvent, notice
from threadchat.client.event_queue import EventQueue
from threadchat.client.protocol import Joined, Page
from threadchat.errors import CommandError

LARGEST_PAGE: Final = 1000  # events, as the protocol allows
ENVELOPE: Final = 120  # approximate bytes of an event's JSON without its message


class Filter(NamedTuple):
    """Selects events of a room by their types, by their users, and application events by their names.

    None means all. If only `names` is given, only application events pass.
    """

    types: Sequence[str] | None = None
    users: Sequence[UserId] | None = None
    names: Sequence[str] | None = None

    def wants(self, event: ChatEvent) -> bool:
        """Whether an event passes. `close` always passes."""
        if event.type == CLOSE:
            return True
        types = (EVENT,) if self.types is None and self.names is not None else self.types
        return (
            (types is None or event.type in types)
            and (self.users is None or event.user in self.users)
            and (self.names is None or event.type != EVENT or event.name in self.names)
        )


class RoomPosition:
    """The position in one room: `offset` is the last event that was queued, in the log with id `epoch`.

    `command` is the command that entered the room; it is empty if the application added the client, and then
    the room is not entered again after a reconnect. `behind` is set once the queue was full: from then on the
    room's events are read from its log. `seen` is the newest event that the present connection brought.
    `last_fetch` is the number of the last request for a page of this room.
    """

    __slots__ = ("behind", "command", "epoch", "last_fetch", "offset", "room", "seen", "wanted")

    def __init__(self, command: str, room: str, wanted: Filter, start: Joined) -> None:
        self.command = command
        self.room = room
        self.wanted = wanted
        self.offset = start.offset
        self.epoch = start.epoch
        self.seen = 0
        self.last_fetch = 0
        self.behind = False

    @property
    def since(self) -> dict[str, Any]:
        """The position in the form that commands carry."""
        return {"offset": self.offset, "epoch": self.epoch}


def size_of(event: ChatEvent) -> int:
    """The approximate size of an event's JSON, in bytes."""
    data = 0 if event.data is None else len(msgspec.json.encode(event.data))
    return ENVELOPE + len(event.message) + data


class MissedRange(NamedTuple):
    """A page of a room's log that must be fetched."""

    room: str
    since: dict[str, Any]
    limit: int


class Positions:
    """The positions of one client in its rooms; puts the events of these rooms into its queue.

    Each event is queued once: an event whose id is not above the offset of its room is a repetition, from a
    reconnect or from a page. If the queue is full, the room is only marked as behind. When half of the queue
    is free again, `next_missed` says what to read from the room's log. So a client that takes no events
    blocks neither the server nor its own replies.

    `_lock` guards `_by_room`, `_fetches` and `_fetching`; the queue's lock is acquired under it.
    """

    def __init__(self, events: EventQueue) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._by_room: dict[str, RoomPosition] = {}
        self._fetches = itertools.count(1)
        self._fetching = False

    # Membership. Runs on: the reader thread, in the order of the server's replies.

    def enter(self, position: RoomPosition) -> None:
        """Accepts the room's events from now on."""
        with self._lock:
            self._by_room[position.room] = position

    def leave(self, room: str) -> None:
        """Drops the room's events from now on."""
        with self._lock:
            self._by_room.pop(room, None)

    def interrupted(self) -> None:
        """Handles a lost connection. No room is behind any more: resuming will deliver what was missed."""
        with self._lock:
            self._fetching = False
            self._by_room = {room: position for room, position in self._by_room.items() if position.command}
            for position in self._by_room.values():
                position.behind, position.seen = False, 0

    def resumed(self, room: str, reply: Joined) -> None:
        """Handles the reply for a room that was entered again after a reconnect."""
        with self._lock:
            position = self._by_room.get(room)
            if position is None:
                return
            before, position.offset = position.offset, reply.offset
            renewed = position.epoch != reply.epoch
            position.epoch = reply.epoch
        if reply.recovered is False:
            kind, why = (
                (RESET, "the log is a new one") if renewed else (GAP, "the log no longer reaches back")
            )
            self._report(kind, room, f"{why}: the events after {before} are missing", reply.offset)

    def resume_refused(self, room: str, error: CommandError) -> None:
        """Handles the server's refusal to let the client back into a room."""
        self.leave(room)
        self._events.put_unlogged(notice(REFUSED, f"{int(error.code)} {error.reason}", room=room))

    def all(self) -> list[RoomPosition]:
        """All rooms, in the order in which they were entered. Runs on: any thread."""
        with self._lock:
            return list(self._by_room.values())

    # Events. Runs on: the reader thread.

    def event_received(self, event: ChatEvent, size: int) -> None:
        """Handles an event of a room, `size` bytes long."""
        with self._lock:
            position = self._by_room.get(event.room)
            if position is None or event.id <= position.offset:
                return
            position.seen = max(position.seen, event.id)
            if not position.behind:
                position.behind = not self._put_locked(position, event, size)

    def page_received(self, missed: MissedRange, page: Page) -> None:
        """Handles a page that was fetched for `missed`."""
        with self._lock:
            self._fetching = False
            position = self._behind_locked(missed)
            if position is None:
                return
            for event in page.events:
                if event.id <= position.offset:
                    continue
                if not position.wanted.wants(event):
                    position.offset = event.id
                elif not self._put_locked(position, event, size_of(event)):
                    return
            reached = page.events[-1].id if page.events else page.offset
            position.behind = reached < position.seen

    def page_refused(self, missed: MissedRange, error: CommandError) -> None:
        """Handles a refused page: the log has lost the missed events, so the room continues after them."""
        with self._lock:
            self._fetching = False
            position = self._behind_locked(missed)
            if position is None:
                return
            before, position.offset, position.behind = position.offset, position.seen, False
            after = position.offset
        text = f"{error.reason}: the events after {before}, up to {after}, are missing"
        self._report(GAP, missed.room, text, after)

    def fetch_failed(self) -> None:
        """Handles a request for a page that could not be sent."""
        with self._lock:
            self._fetching = False

    def _behind_locked(self, missed: MissedRange) -> RoomPosition | None:
        """The room that a page continues; None if the room was left or resumed meanwhile."""
        position = self._by_room.get(missed.room)
        if position is None or not position.behind or position.since != missed.since:
            return None
        return position

    def _put_locked(self, position: RoomPosition, event: ChatEvent, size: int) -> bool:
        if not self._events.put(event, size):
            return False
        position.offset = event.id
        if event.type == CLOSE:  # nothing follows; a later room with this name is another one
            del self._by_room[position.room]
        return True

    def _report(self, kind: str, room: str, why: str, offset: int) -> None:
        self._events.put_unlogged(notice(kind, why, room=room, offset=offset))

    def next_missed(self) -> MissedRange | None:
        """The next page to fetch if the queue has space; None if there is none. Runs on: any thread.

        Only one page is fetched at a time. The caller must report the result with `page_received`,
        `page_refused`, `fetch_failed` or `interrupted`.
        """
        free = self._events.free
        if not free:
            return None
        with self._lock:
            if self._fetching:
                return None
            behind = [position for position in self._by_room.values() if position.behind]
            if not behind:
                return None
            # The room that was fetched longest ago, so that a busy room does not keep the others waiting.
            position = min(behind, key=lambda each: each.last_fetch)
            position.last_fetch = next(self._fetches)
            self._fetching = True
            return MissedRange(position.room, position.since, min(free, LARGEST_PAGE))

    def __len__(self) -> int:
        with self._lock:
            return len(self._by_room)
