"""Which rooms a client is in, and how far: tells new events from known ones and finds what is missing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threadchat.chat.log.events import CLOSE, EVENT, UserId
from threadchat.client.event_queue import EventQueue
from threadchat.client.protocol import GAP, REFUSED, RESET, ChatEvent, Joined, Page, notice
from threadchat.errors import CommandError

LARGEST_PAGE: Final = 1000  # of the protocol
ENVELOPE: Final = 120  # bytes of an event's JSON around its message, about


class Filter(NamedTuple):
    """What one wants of a room: events of these types, of these people, and the application's of these names.

    None wants all; `names` alone want nothing else.
    """

    types: Sequence[str] | None = None
    users: Sequence[UserId] | None = None
    names: Sequence[str] | None = None

    def wants(self, event: ChatEvent) -> bool:
        """Whether an event passes; a room's end is for everybody."""
        if event.type == CLOSE:
            return True
        types = (EVENT,) if self.types is None and self.names is not None else self.types
        return (
            (types is None or event.type in types)
            and (self.users is None or event.user in self.users)
            and (self.names is None or event.type != EVENT or event.name in self.names)
        )


class RoomPosition:
    """One room: the last event that the inbox took is `offset`, in the log called `epoch`.

    `command` is what one came in by; empty where the application put one there, which is not asked for again.
    `behind` once the inbox had no room: from then on the room's events are read from its log. `seen` is the
    newest event that the present connection brought, `asked` the number of the last missed to the log.
    """

    __slots__ = ("asked", "behind", "command", "epoch", "offset", "room", "seen", "wanted")

    def __init__(self, command: str, room: str, wanted: Filter, start: Joined) -> None:
        self.command = command
        self.room = room
        self.wanted = wanted
        self.offset = start.offset
        self.epoch = start.epoch
        self.seen = 0
        self.asked = 0
        self.behind = False

    @property
    def since(self) -> dict[str, Any]:
        """The position to go on from, as commands carry it."""
        return {"offset": self.offset, "epoch": self.epoch}


def size_of(event: ChatEvent) -> int:
    """Bytes of an event's JSON, about."""
    data = 0 if event.data is None else len(msgspec.json.encode(event.data))
    return ENVELOPE + len(event.message) + data


class MissedRange(NamedTuple):
    """A page of a room's log that is to be fetched."""

    room: str
    since: dict[str, Any]
    limit: int


class Positions:
    """The rooms of one client, and the way of their events into its inbox.

    An event comes in once: what has no id above its room's offset was there before, and came again after a
    reconnect or with a page. One that the inbox has no room for costs nothing but the note that the room is
    behind; when half of the inbox is free again, `missed` says what to read from the room's log. So a client
    that takes no events holds neither its server nor its own replies up. `_lock` guards the places,
    `_missed_ranges` and `_fetching`; the inbox's lock is acquired under it.
    """

    def __init__(self, inbox: EventQueue) -> None:
        self._inbox = inbox
        self._lock = threading.Lock()
        self._places: dict[str, RoomPosition] = {}
        self._missed_ranges = itertools.count(1)
        self._fetching = False

    # Coming and going. Runs on: the reader thread, in the order in which the server said it.

    def enter(self, place: RoomPosition) -> None:
        """From here on the room's events are taken."""
        with self._lock:
            self._places[place.room] = place

    def leave(self, room: str) -> None:
        """From here on they are not."""
        with self._lock:
            self._places.pop(room, None)

    def interrupted(self) -> None:
        """The connection is lost, and what was under way on it; resuming makes every room level again."""
        with self._lock:
            self._fetching = False
            self._places = {room: place for room, place in self._places.items() if place.command}
            for place in self._places.values():
                place.behind, place.seen = False, 0

    def back(self, room: str, reply: Joined) -> None:
        """The server let one back into a room."""
        with self._lock:
            place = self._places.get(room)
            if place is None:
                return
            before, place.offset = place.offset, reply.offset
            renewed = place.epoch != reply.epoch
            place.epoch = reply.epoch
        if reply.recovered is False:
            kind, why = (
                (RESET, "the log is a new one") if renewed else (GAP, "the log no longer reaches back")
            )
            self._missed(kind, room, f"{why}: what came after event {before} is missing", reply.offset)

    def refused(self, room: str, error: CommandError) -> None:
        """The server did not let one back in."""
        self.leave(room)
        self._inbox.put_spare(notice(REFUSED, f"{int(error.code)} {error.reason}", room=room))

    def all(self) -> list[RoomPosition]:
        """Every room, in the order in which they were entered. Runs on: any thread."""
        with self._lock:
            return list(self._places.values())

    # Events. Runs on: the reader thread.

    def admit(self, event: ChatEvent, size: int) -> None:
        """One event of a room, `size` bytes long."""
        with self._lock:
            place = self._places.get(event.room)
            if place is None or event.id <= place.offset:
                return
            place.seen = max(place.seen, event.id)
            if not place.behind:
                place.behind = not self._put_locked(place, event, size)

    def admit_page(self, missed: MissedRange, page: Page) -> None:
        """What an missed brought."""
        with self._lock:
            self._fetching = False
            place = self._awaiting_locked(missed)
            if place is None:
                return
            for event in page.events:
                if event.id <= place.offset:
                    continue
                if not place.wanted.wants(event):
                    place.offset = event.id
                elif not self._put_locked(place, event, size_of(event)):
                    return
            reached = page.events[-1].id if page.events else page.offset
            place.behind = reached < place.seen

    def page_refused(self, missed: MissedRange, error: CommandError) -> None:
        """The log does not have what was missed any more: it goes on with what comes next."""
        with self._lock:
            self._fetching = False
            place = self._awaiting_locked(missed)
            if place is None:
                return
            before, place.offset, place.behind = place.offset, place.seen, False
            after = place.offset
        text = f"{error.reason}: what came after event {before}, up to {after}, is missing"
        self._missed(GAP, missed.room, text, after)

    def missed_failed(self) -> None:
        """The page could not even be asked for."""
        with self._lock:
            self._fetching = False

    def _awaiting_locked(self, missed: MissedRange) -> RoomPosition | None:
        """The room that an answer continues; None where it was left or made level meanwhile."""
        place = self._places.get(missed.room)
        return place if place is not None and place.behind and place.since == missed.since else None

    def _put_locked(self, place: RoomPosition, event: ChatEvent, size: int) -> bool:
        if not self._inbox.put(event, size):
            return False
        place.offset = event.id
        if event.type == CLOSE:  # nothing follows; a room of that name is another one
            del self._places[place.room]
        return True

    def _missed(self, kind: str, room: str, why: str, offset: int) -> None:
        self._inbox.put_spare(notice(kind, why, room=room, offset=offset))

    def missed(self) -> MissedRange | None:
        """What to fetch now that the inbox has room, one page at a time. Runs on: any thread.

        Whoever gets an missed sees to it that `admit_page`, `page_refused`, `missed_failed` or `interrupted`
        follows.
        """
        free = self._inbox.room
        if not free:
            return None
        with self._lock:
            if self._fetching:
                return None
            behind = [place for place in self._places.values() if place.behind]
            if not behind:
                return None
            place = min(behind, key=lambda place: place.asked)  # a busy room does not keep the others waiting
            place.asked = next(self._missed_ranges)
            self._fetching = True
            return MissedRange(place.room, place.since, min(free, LARGEST_PAGE))

    def __len__(self) -> int:
        with self._lock:
            return len(self._places)
